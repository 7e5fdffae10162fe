"""What panels share: controls beside a live figure, errors in a sentence, the way to a batch run."""

from abc import ABC, abstractmethod
from html import escape
from pathlib import Path
from typing import ClassVar, Generic

import ipywidgets as ipw
import xarray as xr
from bokeh.models import LayoutDOM
from IPython.display import display

from physics_twins import plots
from twin_panels import batch
from twin_panels.canvas import Canvas
from twin_panels.controls import Controls, Model, in_red


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
        buttons: Reset, run as batch, as code.
        path: Where the parameter file goes.
    """

    notebook: ClassVar[str]
    use: ClassVar[str]

    def __init__(self, start: Model, controls: Controls[Model] | None = None) -> None:
        """Show the first frame.

        Args:
            start: Parameters to begin with.
            controls: Theirs; one for each parameter by default.
        """
        self.controls: Controls[Model] = controls or Controls(start)
        self.error, self.note = "", ""
        self._message, self._noted = ipw.HTML(), ipw.HTML()
        self._handover = ipw.HTML()
        self.figure = self.build()
        self._canvas = Canvas(self.figure)
        self.update(start)
        self.controls.observe(self.update)
        self.buttons = self._buttons()
        self.path = ipw.Text(
            placeholder=f"parameters/{self.notebook.split('/')[0]}-<time>.json",
            tooltip="Where the parameter file is written; never over a file that exists",
            layout={"width": "auto"},
        )
        self.widget = self._arranged()

    @abstractmethod
    def build(self) -> LayoutDOM:
        """Return the figure, still empty."""

    @abstractmethod
    def compute(self, parameters: Model) -> xr.Dataset:
        """Return what the figure shows for these parameters."""

    @abstractmethod
    def show(self, data: xr.Dataset) -> None:
        """Bring the figure to what `compute` returned."""

    @property
    def parameters(self) -> Model:
        """The last valid parameters."""
        return self.controls.parameters

    @property
    def handed_over(self) -> str:
        """What is shown beneath the figure for copying, as HTML."""
        return self._handover.value

    def update(self, parameters: Model) -> None:
        """Compute and show; where that fails the last frame stays, and a sentence says why."""
        try:
            data = self.compute(parameters)
            with self._canvas.one_patch():
                self.show(data)
        except (
            Exception
        ) as error:  # whatever it is, a reader must see it: a callback's traceback is lost
            self._say(str(error) or type(error).__name__)
        else:
            self._say("")

    def run_as_batch(self, path: str | Path = "") -> str:
        """Write the parameters to a new file and return the command that runs them in batch.

        Args:
            path: The file; `parameters/TWIN-TIME.json` under the current folder by default.

        Raises:
            OSError: The file exists already or cannot be written.
        """
        chosen = Path(path) if str(path) else batch.default_path(self.notebook.split("/")[0])
        return batch.command_line(self.notebook, batch.write(self.parameters, chosen))

    def as_code(self) -> str:
        """Return Python code that computes with the same parameters."""
        return batch.as_code(self.parameters, self.use)

    def _ipython_display_(self) -> None:
        plots.load_extension(again=False)
        self._canvas.update_from_model(self.figure)  # the frame of now, not that of the beginning
        display(self.widget)

    def _say(self, error: str) -> None:
        if error != self.error:
            self.error = error
            self._message.value = in_red(f"Not shown: {error}" if error else "")

    def _tell(self, note: str) -> None:
        if note != self.note:
            self.note = note
            self._noted.value = f'<div style="line-height: 1.3">{escape(note)}</div>' if note else ""

    def _arranged(self) -> ipw.HBox:
        below = [self.controls.widget, ipw.HBox(self.buttons), self.path]
        left = ipw.VBox(below, layout={"flex": "0 0 325px"})
        shown = [self._message, self._noted, self._canvas, self._handover]
        right = ipw.VBox(shown, layout={"flex": "1 1 auto", "min_width": "0"})
        return ipw.HBox([left, right], layout={"align_items": "flex-start", "width": "100%"})

    def _buttons(self) -> tuple[ipw.Button, ipw.Button, ipw.Button]:
        reset = _button("Reset", "All parameters as they were at first", "undo")
        run = _button("Run as batch", "Write the parameter file and show the command", "play")
        code = _button("As code", "Show Python code for the same parameters", "code")
        reset.on_click(lambda _: self.controls.reset())
        run.on_click(lambda _: self._hand_over(self.path.value))
        code.on_click(lambda _: self._show_text("The same in Python:", self.as_code()))
        return reset, run, code

    def _hand_over(self, path: str) -> None:
        try:
            command = self.run_as_batch(path)
        except OSError as error:
            self._handover.value = in_red(str(error))
        else:
            self._show_text("Parameters are written. In a terminal:", command)

    def _show_text(self, heading: str, text: str) -> None:
        """Show text that one click selects as a whole."""
        style = "user-select: all; padding: 6px; background: var(--jp-layout-color2, #eee)"
        self._handover.value = f'{escape(heading)}<pre style="{style}">{escape(text)}</pre>'


def _button(text: str, tooltip: str, icon: str) -> ipw.Button:
    return ipw.Button(description=text, tooltip=tooltip, icon=icon, layout={"width": "auto"})
