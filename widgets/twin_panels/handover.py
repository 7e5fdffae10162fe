"""What leads from a panel to files, batch runs, sweeps and code, and from a file back to the panel."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Generic

import ipywidgets as ipw

from twin_panels import batch
from twin_panels.controls import WRAPPED, Controls, Model, in_red
from twin_panels.run_here import RunHere
from twin_panels.sweeping import SweepChoice


class Handover(Generic[Model]):
    """Buttons beneath a panel's controls, and the text that they show for copying.

    Attributes:
        path: Which parameter file is written or loaded; typed.
        upload: A parameter file that comes from the reader's own computer.
        state: What differs from the defaults, as one line to be copied; another line is taken over.
        here: Runs the command that is shown.
        sweep: What a sweep varies.
        buttons: By what is written on them.
        shown: The text to be copied, or why there is none, as HTML.
        widget: Buttons and entries, one above the other, but `state`.
    """

    def __init__(
        self,
        controls: Controls[Model],
        notebook: str,
        use: str,
        take: Callable[[Path], str] | None = None,
    ) -> None:
        """Serve some controls.

        Args:
            controls: What is handed over, and what a loaded file goes to.
            notebook: Which notebook runs the same in batch.
            use: As for `batch.as_code`.
            take: Takes a measured file, of a name that does not end in .json, and says what it is.
        """
        self._take = take
        self._controls, self._notebook, self._use = controls, notebook, use
        self._twin, self._is_writing = notebook.split("/")[0], False
        self.shown = ipw.HTML(layout={"flex": "1 1 100%", "min_width": "0"})
        measured = ", or measured data to load" if take else ""
        self.path = ipw.Text(
            placeholder=f"parameters/{self._twin}-<time>.json{measured}",
            tooltip=f"Parameter file to load, or to write, never over one that exists{measured}",
            layout={"width": "auto", "flex": "1 1 160px"},
        )
        self.state = ipw.Text(
            batch.as_text(controls.parameters),
            continuous_update=False,
            description="State",
            tooltip="What differs from the defaults: copy this line, or paste another one's",
            style={"description_width": "initial"},
            layout={"width": "auto", "flex": "1 1 160px", "min_width": "0"},
        )
        self.state.observe(lambda change: self._restore(change["new"]), "value")
        controls.observe(lambda parameters: self._write(batch.as_text(parameters)))
        self.here = RunHere()
        self.upload = ipw.FileUpload(
            accept=".json",
            description="Upload",
            tooltip="Load a parameter file from this computer",
            layout=_WHOLE,
        )
        self.sweep = SweepChoice(controls)
        self.buttons = {
            "Run as batch": button(
                "Run as batch", "Write the parameter file, show the command", "play"
            ),
            "As code": button("As code", "Show Python code for the same parameters", "code"),
            "Load": button("Load", "Take the parameters from the file named beside", "folder-open"),
            "Sweep this": button("Sweep this", "Show the command that varies a parameter", "th"),
        }
        actions: tuple[Callable[[], None], ...] = (self._run, self._code, self._load, self._sweep)
        for each, action in zip(self.buttons.values(), actions, strict=True):
            each.on_click(lambda _, action=action: action())
        self.upload.observe(self._uploaded, "value")
        run, code, load, sweep = self.buttons.values()
        choice = ipw.Accordion([self.sweep.widget], titles=("What the sweep varies",))
        files = ipw.HBox([load, self.upload, sweep])
        rows = (ipw.HBox([run, code]), self.path, files, choice)
        self.here.widget.layout.flex = "1 1 100%"
        self.widget = ipw.Box([*rows, self.shown, self.here.widget], layout=WRAPPED)

    def run_as_batch(self, path: str | Path = "") -> str:
        """Write the parameters to a new file and return the command that runs them in batch.

        Args:
            path: The file; `parameters/TWIN-TIME.json` under the current folder by default.

        Raises:
            OSError: The file exists already or cannot be written.
        """
        chosen = Path(path) if str(path) else batch.default_path(self._twin)
        return batch.command_line(self._notebook, batch.write(self._controls.parameters, chosen))

    def load(self, path: str | Path) -> None:
        """Bring the controls to the parameters in a file.

        Raises:
            ParameterError: It holds no such parameters; the message names file and field.
            OSError: It cannot be read.
        """
        self._controls.set(batch.read(type(self._controls.parameters), Path(path)))

    def as_code(self) -> str:
        """Return Python code that computes with the same parameters."""
        return batch.as_code(self._controls.parameters, self._use)

    def sweep_line(self) -> str:
        """Return the command that computes at several values of the chosen parameter.

        Raises:
            ParameterError: The values are not allowed.
        """
        return self.sweep.line(self._notebook, self._controls.parameters)

    def restore(self, text: str) -> None:
        """Bring the controls to a line that `state` has shown.

        Raises:
            ParameterError: It is no such line, or a parameter is unknown or wrong; it is named.
        """
        self._controls.set(batch.from_text(type(self._controls.parameters), text))

    def offer(self, heading: str, line: Callable[[], str]) -> None:
        """Show a command to be copied, or run here; or why there is none, where that is refused."""
        self._show(heading, line, is_command=True)

    def _restore(self, text: str) -> None:
        if self._is_writing:
            return
        try:
            self.restore(text)
        except ValueError as error:
            self._refuse(f"Not taken over: {error}")
        else:
            self._write(batch.as_text(self._controls.parameters))
            self.here.offer("")
            self.shown.value = ""

    def _write(self, text: str) -> None:
        self._is_writing = True
        self.state.value = text
        self._is_writing = False

    def _run(self) -> None:
        def text() -> str:
            return self.run_as_batch(self.path.value)

        self._show("Parameters are written. In a terminal, or here:", text, is_command=True)

    def _code(self) -> None:
        self._show("The same in Python:", self.as_code)

    def _sweep(self) -> None:
        told = "In a terminal, or here; the same command goes on where it was stopped:"
        self._show(told, self.sweep_line, is_command=True)

    def _load(self) -> None:
        path = self.path.value
        if not path:
            self._refuse("No file is named: type its path beside Load, or take Upload")
            return
        told = f"Loaded from {path}."
        try:
            if self._take and not path.endswith(".json"):
                told = self._take(Path(path))
            else:
                self.load(path)
        except (OSError, ValueError) as error:
            self._refuse(f"Not loaded: {error}")
        else:
            self.here.offer("")
            self.shown.value = escape(told)

    def _uploaded(self, change: dict[str, Sequence[dict]]) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        self.upload.value = ()  # the same file may be loaded again
        try:
            model = type(self._controls.parameters)
            self._controls.set(batch.parse(model, bytes(file["content"]), file["name"]))
        except ValueError as error:
            self._refuse(f"Not loaded: {error}")
        else:
            self.shown.value = f"Loaded from {escape(file['name'])}."

    def _refuse(self, reason: str) -> None:
        self.here.offer("")
        self.shown.value = in_red(reason)

    def _show(self, heading: str, text: Callable[[], str], *, is_command: bool = False) -> None:
        """Show text that one click selects or copies as a whole, or why there is none."""
        try:
            shown = text()
        except (OSError, ValueError) as error:
            self._refuse(str(error))
            return
        self.here.offer(shown if is_command else "")
        self.shown.value = to_copy(heading, shown)


_WHOLE = {"width": "auto", "flex": "0 0 auto"}  # no text is cut


def to_copy(heading: str, text: str) -> str:
    """Return HTML of a text that one click selects as a whole, or copies, under a heading."""
    style = "user-select: all; padding: 6px; margin: 2px 0; white-space: pre-wrap; overflow: auto;"
    style += " word-break: break-all; background: var(--jp-layout-color2, #eee); max-height: 8em"
    small = "width: auto; height: 20px; line-height: 20px"
    copy = f'<button type="button" class="jupyter-button twin-copy" style="{small}">Copy</button>'
    block = f'<pre tabindex="0" style="{style}">{escape(text)}</pre>'
    return f'<div style="line-height: 20px">{escape(heading)} {copy}{block}</div>'


def button(text: str, tooltip: str, icon: str) -> ipw.Button:
    """Return a button as wide as its text."""
    return ipw.Button(description=text, tooltip=tooltip, icon=icon, layout=_WHOLE)
