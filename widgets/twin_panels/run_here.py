"""A command that a panel shows, run from there: beside, with what it says and a cancel."""

import shlex
import time
from collections.abc import Iterator
from html import escape
from typing import Any

import ipywidgets as ipw

from twin_panels.background import Background
from twin_panels.run_process import CommandProcess

LOOK_S = 0.3
N_LINES = 12
RUN, CANCEL = "Run now", "Cancel"


class RunHere:
    """A button that runs a command, and beneath it what the command says.

    It goes on when the panel has gone, as in a terminal. Pressed again it is asked to stop.

    Attributes:
        line: The command; "" hides the button.
        button: The button.
        widget: All of it.
    """

    def __init__(self) -> None:
        self.line, self._process = "", None
        self._background = Background(self._tell, settle_s=0.0)
        told = "Run this command here, in the background"
        self.button = ipw.Button(description=RUN, tooltip=told, icon="play", layout={"width": "auto"})
        self.button.on_click(lambda _: self.stop() if self._going else self.start())
        self._told = ipw.HTML()
        self.widget = ipw.VBox([self.button, self._told], layout={"display": "none"})

    @property
    def told(self) -> str:
        """What is shown beneath the button, as HTML."""
        return self._told.value

    def offer(self, line: str) -> None:
        """Offer another command, once the one that runs has ended; "" for none."""
        if not self._going:
            self.line, self._told.value = line, ""
            self.widget.layout.display = "" if line else "none"

    def start(self) -> None:
        """Run the command in a process of its own."""
        try:
            process = CommandProcess(shlex.split(self.line))
        except OSError as error:
            self._tell(error)
            return
        self._process = process
        self._say(CANCEL, "stop")
        self._background.ask(lambda: _followed(process))

    def stop(self) -> None:
        """Ask the command to stop; it keeps what it has done."""
        if self._process:
            self._process.stop()

    def wait(self) -> None:
        """Wait until the command has ended."""
        self._background.wait()

    @property
    def _going(self) -> bool:
        return self._process is not None and not self._process.has_ended

    def _tell(self, told: str | Exception) -> None:
        style = "max-height: 12em; overflow: auto; white-space: pre-wrap; word-break: break-all"
        self._told.value = f'<pre tabindex="0" role="status" style="{style}">{escape(str(told))}</pre>'
        if not self._going:
            self._say(RUN, "play")

    def _say(self, words: str, icon: str) -> None:
        self.button.description, self.button.icon = words, icon


def _followed(process: CommandProcess) -> Iterator[Any]:
    """Yield the last lines that a command has written, whenever there are new ones."""
    shown = None
    while not (ended := process.has_ended) or shown is None:
        told = _last(process) or "It starts …"
        yield told if told != shown and not ended else None
        shown = told
        time.sleep(LOOK_S)
    code = process.returncode
    how = "Done." if code == 0 else f"Ended with status {code}."
    yield "\n".join(filter(None, (_last(process), how)))


def _last(process: CommandProcess) -> str:
    """Return the last lines; of one that was written over, as a bar of progress, how it is now."""
    lines = [line.rpartition("\r")[2] for line in process.written.replace("\r\n", "\n").split("\n")]
    return "\n".join([line for line in lines if line.strip()][-N_LINES:])
