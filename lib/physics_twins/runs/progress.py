"""How far a run is, how long the next one will take, and how one is stopped."""

import os
import platform
import re
import signal
import statistics
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from physics_twins.data import read_json, write_json
from physics_twins.runs.folder import WORKERS, Run, RunError, default_root, find

PROGRESS = ".progress.json"  # there only while the run lasts
N_RECENT = 5

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Progress:
    """The cell that a run is in.

    Attributes:
        cell: Its number among the code cells, from 1.
        n_cells: How many code cells there are.
        title: The heading above it.
    """

    cell: int
    n_cells: int
    title: str


@dataclass(frozen=True)
class Expected:
    """How long a run will take.

    Attributes:
        time_s: In s; None where nothing is known.
        n_runs: From how many finished runs; 0 where the notebook alone says so.
        low_s: The shortest of them.
        high_s: The longest.
    """

    time_s: float | None
    n_runs: int = 0
    low_s: float = 0.0
    high_s: float = 0.0


def write(run: Run, progress: Progress) -> None:
    """Note which cell a run is in, for whoever looks from another process."""
    write_json(run.folder / PROGRESS, asdict(progress))


def read(run: Run) -> Progress | None:
    """Return which cell a run is in; None before the first one and after the end."""
    try:
        return Progress(**read_json(run.folder / PROGRESS))
    except (OSError, ValueError, TypeError):  # it has just ended
        return None


def tidy(run: Run) -> None:
    """Remove what is of interest only while a run lasts."""
    for name in (PROGRESS, WORKERS):
        (run.folder / name).unlink(missing_ok=True)


def elapsed_s(run: Run) -> float | None:
    """Return how long a run has lasted, or lasted in all, in s; None where it does not say."""
    record = run.provenance
    if record.get("duration_s") is not None:
        return float(record["duration_s"])
    if "started" not in record:
        return None
    started = datetime.fromisoformat(record["started"])
    return (datetime.now().astimezone() - started).total_seconds()


def expected(notebook: str, time: str = "", root: Path | None = None) -> Expected:
    """Return how long a notebook will take: the median of its last finished runs, or what it says.

    Args:
        notebook: Its name, as in `pulsar/4_infer`.
        time: What the notebook says itself, as in "60 s on a laptop".
        root: Where its runs are; its own folder of `runs.default_root` by default.
    """
    finished = find(root or default_root() / notebook, notebook=notebook, status="complete")
    spent = [s for run in finished[-N_RECENT:] if (s := run.provenance.get("duration_s")) is not None]
    if spent:
        return Expected(statistics.median(spent), len(spent), min(spent), max(spent))
    return Expected(seconds(time))


def seconds(text: str) -> float | None:
    """Return the first time in a text, in s.

    >>> seconds("1.5 min on a laptop; 10 s on a GPU"), seconds("a while")
    (90.0, None)
    """
    match = re.search(r"(\d+(?:\.\d+)?)\s*(s|min|h)\b", text)
    return float(match[1]) * _SECONDS[match[2]] if match else None


def stop(run: Run) -> None:
    """Ask the command `twins run` that computes a run to stop; it then marks the run cancelled.

    Raises:
        RunError: The run does not go on, or not in a command of its own on this machine.
    """
    if run.status != "running":
        raise RunError(f"{run} does not run any more: it is {run.status}")
    machine = run.provenance["machine"]
    if machine["host"] != platform.node():
        raise RunError(f"{run} runs on {machine['host']}: stop it there")
    try:
        words = psutil.Process(machine["pid"]).cmdline()
    except psutil.Error:
        words = []
    if "run" not in words or not any("twins" in word for word in words):
        raise RunError(f"{run} runs inside process {machine['pid']}, with other work: stop it there")
    os.kill(machine["pid"], signal.SIGTERM)
