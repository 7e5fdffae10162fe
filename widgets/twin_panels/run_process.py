"""A command `twins run` in a process of its own, which goes on when whoever started it has gone."""

import os
import platform
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from physics_twins import runs
from physics_twins.runs import Notebook, Run

MOST_BYTES = 100_000  # of what a command has written are looked at


def words(notebook: Notebook, values: Mapping[str, Any]) -> list[str]:
    """Return what follows `twins run NOTEBOOK` for these values; the notebook's defaults are left out.

    Raises:
        ValueError: A value cannot be written on a command line.
    """
    changed = {k: v for k, v in values.items() if v != notebook.defaults[k] and k != "run_dir"}
    where = changed.pop("on", None)
    if none := [name for name, value in changed.items() if value is None]:
        raise ValueError(f"{none[0]} is empty, which a command line cannot say: give it a value")
    settings = [word for name, value in changed.items() for word in ("-p", f"{name}={value}")]
    return settings + (["--on", where] if where else [])


def stop(run: Run) -> None:
    """Ask the command `twins run` that computes a run to stop; it marks the run cancelled.

    Raises:
        ValueError: The run does not go on, or not in a command of its own on this machine.
    """
    if (status := run.status) != "running":
        raise ValueError(f"{run} does not run any more: it is {status}")
    machine = run.provenance["machine"]
    if machine["host"] != platform.node():
        raise ValueError(f"{run} runs on {machine['host']}: stop it there")
    process = psutil.Process(machine["pid"])
    words = process.cmdline()
    if "run" not in words or not any("twins" in word for word in words):
        raise ValueError(f"{run} runs inside process {process.pid}, with other work: stop it there")
    process.terminate()


class CommandProcess:
    """A command that was started here.

    It has a session of its own: neither Ctrl-C here nor the end of this process stops it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; this returns at once.

        Raises:
            OSError: There is no such program.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - without a name: nothing is left of it
        weakref.finalize(self, self._log.close)
        self._process = psutil.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # what it says is read while it runs
        )

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; reading this also lets the system forget it."""
        return self._process.poll() is not None

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it goes on."""
        return self._process.returncode

    @property
    def written(self) -> str:
        """The last of what it has written so far."""
        size = os.fstat(self._log.fileno()).st_size
        last = os.pread(self._log.fileno(), MOST_BYTES, max(0, size - MOST_BYTES))
        return last.decode(errors="replace")

    def stop(self) -> None:
        """Ask it to stop; it keeps what it has done."""
        if not self.has_ended:
            self._process.terminate()


class RunProcess(CommandProcess):
    """A command `twins run` that was started here; asked to stop, it marks its run cancelled."""

    def __init__(self, notebook: Notebook, values: Mapping[str, Any], *, force: bool = False) -> None:
        """Start it; this returns at once.

        Args:
            notebook: What is run.
            values: Its parameters by name.
            force: Whether to compute again what has finished.
        """
        self._root = runs.default_root() / notebook.name
        more = [*words(notebook, values), *(["--force"] if force else [])]
        super().__init__([sys.executable, "-m", "physics_twins.cli", "run", str(notebook.path), *more])
        self._started = self._process.create_time()
        self._run: Run | None = None

    @property
    def run(self) -> Run | None:
        """The run, once its folder is there."""
        if self._run is None:
            self._run = next(filter(self._is_ours, reversed(runs.find(self._root))), None)
        return self._run

    @property
    def complaint(self) -> str:
        """Why it ended without a run, in a sentence; "" where it did not."""
        if not self.has_ended or not self._process.returncode or self.run:
            return ""
        last = ["it ended before the run began", *filter(None, self.written.split("\n"))][-1]
        return last.removeprefix("twins: ")

    def _is_ours(self, run: Run) -> bool:
        """Return whether a run is that of our process: its number may have been another's before."""
        machine = run.summary()["provenance"].get("machine", {})
        is_same = machine.get("pid") == self._process.pid
        return is_same and abs(machine["process_started"] - self._started) < 1.0
