"""A run in a process of its own, which goes on when whoever started it has gone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from physics_twins.runs.notebooks import Notebook
from physics_twins.runs.folder import Run, default_root, find

_TAIL_BYTES = 4000


def arguments(notebook: Notebook, values: Mapping[str, Any]) -> list[str]:
    """Return what follows `twins run NOTEBOOK` for these values; the notebook's defaults are left out.

    Raises:
        ValueError: A value cannot be written on a command line.
    """
    changed = {k: v for k, v in values.items() if v != notebook.defaults[k] and k != "run_dir"}
    where = changed.pop("on", None)
    if none := [name for name, value in changed.items() if value is None]:
        raise ValueError(f"{none[0]} is empty, which a command line cannot say: give it a value")
    words = [word for name, value in changed.items() for word in ("-p", f"{name}={value}")]
    return words + (["--on", where] if where else [])


class BackgroundRun:
    """A command `twins run` that was started here.

    It has a session of its own: neither Ctrl-C here nor the end of this process stops it.
    """

    def __init__(self, notebook: Notebook, words: Sequence[str], root: Path | None = None) -> None:
        """Start it; this returns at once.

        Args:
            notebook: What is run.
            words: What follows the notebook on the command line.
            root: Where its runs are; its own folder of `runs.default_root` by default.
        """
        self._root = root or default_root() / notebook.name
        # Without a name: nothing is left of it. It is closed when the process has ended.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "physics_twins.cli", "run", str(notebook.path), *words],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._started = psutil.Process(self._process.pid).create_time()
        self._run: Run | None = None
        self._last_line = ""

    @property
    def run(self) -> Run | None:
        """The run, once its folder is there."""
        if self._run is None:
            for run in reversed(find(self._root)):
                if self._is_ours(run):
                    self._run = run
                    break
        return self._run

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; reading this also lets the system forget it."""
        ended = self._process.poll() is not None
        if ended and not self._log.closed:
            self._last_line = self.last_line
            self._log.close()
        return ended

    @property
    def last_line(self) -> str:
        """The last line that it printed, "" for none."""
        if self._log.closed:
            return self._last_line
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    @property
    def complaint(self) -> str:
        """Why it ended without a run, in a sentence; "" where it did not."""
        if not self.has_ended or not self._process.returncode or self.run:
            return ""
        return self.last_line.removeprefix("twins: ") or "it ended before the run began"

    def stop(self) -> None:
        """Ask it to stop; it marks its run cancelled."""
        if not self.has_ended:
            self._process.terminate()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        self._process.wait(timeout_s)

    def _is_ours(self, run: Run) -> bool:
        """Return whether a run is that of our process: its number may have been another's before."""
        machine = {} if run.status == "damaged" else run.provenance.get("machine", {})
        is_same = machine.get("pid") == self._process.pid
        return is_same and abs(machine["process_started"] - self._started) < 1.0
