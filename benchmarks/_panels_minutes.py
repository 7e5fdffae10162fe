"""How long the first ten minutes take whoever reads nothing, in a real JupyterLab."""

import os
import sys
import tempfile
from pathlib import Path

from _table import Figure, Skipped, this_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import first_minutes
from lab_browser import running_browser, why_no_browser

AIM_MIN = 5.0
SEED = 1  # of the notebook


def first_ten_minutes() -> Figure:
    """Minutes from the start page to the last number of the rerun, of computing and drawing alone."""
    if reason := why_no_browser():
        raise Skipped(reason)
    os.environ.pop("PHYSICS_TWINS_RUNS", None)
    with tempfile.TemporaryDirectory() as folder, running_browser() as browser:
        seconds = first_minutes.drive(Path(folder, "project"), browser)
    return Figure(sum(seconds.values()) / 60, None, "min", AIM_MIN, this_machine(), (SEED,))


BENCHMARKS = {"first_ten_minutes": first_ten_minutes}
