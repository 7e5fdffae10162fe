"""What panels share: controls beside a live figure, errors in a sentence, the way to a batch run."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import ClassVar, Generic

import ipywidgets as ipw
import xarray as xr
from bokeh.models import LayoutDOM
from IPython.display import display

from physics_twins.data import in_print
from physics_twins.figures import load_extension
from twin_panels import theme
from twin_panels.background import Background
from twin_panels.canvas import Canvas
from twin_panels.controls import WRAPPED, Controls, Model, in_red
from twin_panels.handover import Handover, button
from twin_panels.history import History
from twin_panels.keeping import Comparison

PICTURE_S = 60.0  # so long, at most, a panel in a run waits for what is computed beside it


class Panel(ABC, Generic[Model]):
    """Controls of a parameter model beside a figure that follows them.

    A twin's panel says which notebook runs the same in batch, and how to build, compute and show.
    `panel.controls["name"].value = ...` does what a hand does, without a browser too.

    Attributes:
        controls: One for each parameter.
        figure: The live figure.
        widget: All of it; a panel at the end of a cell is shown.
        error: Why the figure does not show the current parameters; "" if it does.
        note: A line about what is shown, above the figure; "" for none.
        comparison: What was shown before the last move, and what was pinned.
        drags: Whether what comes belongs to a move that has begun: axes may only grow then.
        handover: The way to files, batch runs, sweeps and code.
        buttons: All by what is written on them.
        figure_width: The least width, in screen pixels, of a figure beside its controls.
    """

    notebook: ClassVar[str]
    use: ClassVar[str]
    figure_width: ClassVar[int] = 440
    _background: Background  # what is computed beside
    _seed: int  # of what is drawn at random; it stands for SEED in `use`

    def __init__(self, start: Model, controls: Controls[Model] | None = None) -> None:
        """Show the first frame.

        Args:
            start: Parameters to begin with.
            controls: Theirs; one for each parameter by default.
        """
        self.controls: Controls[Model] = controls or Controls(start)
        self.error, self.note, self._begins, self.drags = "", "", False, False
        self._message, self._noted = ipw.HTML(), ipw.HTML()
        self.comparison: Comparison[Model] = Comparison()
        self.figure = self.build()
        self._canvas = Canvas(self.figure)
        self.update(start)
        self._history = History(start)
        self._steps = self._step_buttons()
        self.controls.observe(self._record)
        self.controls.observe(self.update)
        self.controls.observe(lambda _: self._history.rest())
        use = self.use.replace("SEED", str(self._seed))
        self.handover = Handover(self.controls, self.notebook, use, self.takes())
        own = self.extras()
        self.buttons = self._steps | own | self.handover.buttons
        self.widget = self._arranged(own)

    @abstractmethod
    def build(self) -> LayoutDOM:
        """Return the figure, still empty."""

    @abstractmethod
    def compute(self, parameters: Model) -> xr.Dataset:
        """Return what the figure shows for these parameters."""

    @abstractmethod
    def show(self, data: xr.Dataset) -> None:
        """Bring the figure to what `compute` returned."""

    def extras(self) -> dict[str, ipw.Button]:
        """Return a twin's own buttons by what is written on them; none by default."""
        return {}

    def takes(self) -> Callable[[Path], str] | None:
        """Return what takes a file of measured data and says what it is; None by default."""
        return None

    @property
    def parameters(self) -> Model:
        """The last valid parameters."""
        return self.controls.parameters

    @property
    def handed_over(self) -> str:
        """What is shown beneath the buttons for copying, as HTML."""
        return self.handover.shown.value

    def undo(self) -> None:
        """Go one step back; a drag is one step."""
        self.controls.set(self._history.undo())

    def redo(self) -> None:
        """Do an undone step again."""
        self.controls.set(self._history.redo())

    def pin(self) -> None:
        """Keep what is shown, to be compared with what comes; let it go where it is kept already."""
        with self._canvas.one_patch():
            if self.comparison.pinned == self.parameters:
                self.comparison.unpin()
            else:
                self.comparison.pin(self.parameters)

    def update(self, parameters: Model) -> None:
        """Compute and show; where that fails the last frame stays, and a sentence says why."""
        try:
            data = self.compute(parameters)
            with self._canvas.one_patch():
                if self._begins:
                    self.comparison.moved()
                self.show(data)
                self.comparison.follow(parameters)
        except (
            Exception
        ) as error:  # whatever it is, a reader must see it: a callback's traceback is lost
            self._say(str(error) or type(error).__name__)
        else:
            self._say("")

    def run_as_batch(self, path: str | Path = "") -> str:
        """Write the parameters to a new file and return the command that runs them in batch.

        Raises:
            OSError: The file exists already or cannot be written.
        """
        return self.handover.run_as_batch(path)

    def as_code(self) -> str:
        """Return Python code that computes with the same parameters."""
        return self.handover.as_code()

    def _ipython_display_(self) -> None:
        load_extension(again=False)
        if "PHYSICS_TWINS_RUN" in os.environ:  # nobody looks on, and its picture is to be whole
            self._background.wait(PICTURE_S)
        self._canvas.refresh()
        live = self.widget._repr_mimebundle_() or {}
        still = {"text/html": self._still(), "text/plain": "The panel as it stood."}
        for each in (still, live):  # each of its own: a widget without its kernel hides the other
            display(each, raw=True)

    def _still(self) -> str:
        """Return the panel as it is now for pages without a kernel: its figure, its parameters."""
        values = self.parameters.model_dump()
        rows = "".join(
            f"<tr><td>{escape(i.help)}</td><td>{escape(str(values[name]))} {in_print(i.unit)}</td></tr>"
            for name, i in self.parameters.describe().items()
        )
        words = "The panel as it stood; in JupyterLab it follows its sliders. Its parameters"
        parameters = f"<details><summary>{words}</summary><table>{rows}</table></details>"
        return f'<div class="{theme.STILL}">{self._canvas.still()}{parameters}</div>'

    def _say(self, error: str) -> None:
        if error != self.error:
            self.error = error
            self._message.value = in_red(f"Not shown: {error}" if error else "")

    def _tell(self, note: str) -> None:
        if note != self.note:
            self.note = note
            self._noted.value = f'<div style="line-height: 1.3">{escape(note)}</div>' if note else ""

    def _arranged(self, own: dict[str, ipw.Button]) -> ipw.Box:
        """Return controls beside the figure; where there is no room for both, above it."""
        steps = (*self._steps.values(), self.handover.state)
        rows = [ipw.Box(each, layout=WRAPPED) for each in (steps, tuple(own.values())) if each]
        beneath = ipw.Box([*rows, self.handover.widget], layout=WRAPPED)
        layout = {"flex": "1 1 310px", "min_width": "0", "padding": "0 12px 0 0"}
        left = ipw.VBox([self.controls.widget, beneath], layout=layout)
        shown = [self._message, self._noted, self.comparison.told, self._canvas]
        # It grows a thousand times as much as the controls: all of the room is its own.
        flex = f"1000 1 {self.figure_width}px"
        right = ipw.VBox(shown, layout={"flex": flex, "min_width": "0"})
        both = ipw.Box([theme.style(), left, right], layout=WRAPPED | {"width": "100%"})
        return both.add_class(theme.CLASS)

    def _step_buttons(self) -> dict[str, ipw.Button]:
        reset = button("Reset", "All parameters as they were at first", "refresh")
        undo = button("Undo", "Back to the parameters before the last change", "undo")
        redo = button("Redo", "Do what was undone again", "repeat")
        undo.disabled = redo.disabled = True
        reset.on_click(lambda _: self.controls.reset())
        undo.on_click(lambda _: self.undo())
        redo.on_click(lambda _: self.redo())
        undo.add_class("twin-undo")
        redo.add_class("twin-redo")
        pin = button("Pin", "Keep what is shown for comparison; again, to let it go", "thumb-tack")
        pin.on_click(lambda _: self.pin())
        return {"Undo": undo, "Redo": redo, "Reset": reset, "Pin": pin}

    def _record(self, parameters: Model) -> None:
        is_new = parameters != self._history.here
        self._begins = self._history.record(parameters)
        self.drags = is_new and not self._begins
        self._steps["Undo"].disabled = not self._history.can_undo
        self._steps["Redo"].disabled = not self._history.can_redo
