"""How long the first ten minutes take whoever reads nothing, and when their first figure is there."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _table import Figure, Skipped, median_and_spread, this_machine_and_load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import first_minutes
from lab_browser import KERNEL_IS_IDLE, PIXELS, Lab, run_all_cells, running_browser, why_no_browser

AIM_MIN, FIRST_LIMIT_S = 5.0, 12.0
N_COLD = 3
SEED = 1  # of the notebook


def first_ten_minutes() -> Figure:
    """Minutes from the start page to the last number of the rerun, of computing and drawing alone."""
    if reason := why_no_browser():
        raise Skipped(reason)
    os.environ.pop("PHYSICS_TWINS_RUNS", None)
    with tempfile.TemporaryDirectory() as folder, running_browser() as browser:
        seconds = first_minutes.drive(Path(folder, "project"), browser)
    return Figure(sum(seconds.values()) / 60, None, "min", AIM_MIN, this_machine_and_load(), (SEED,))


def first_figure_s() -> Figure:
    """From "run all" in the tour to its first painted figure; the median of three labs just started.

    Nothing has been imported in the kernel, and no panel's script asked for by the page.
    """
    if reason := why_no_browser():
        raise Skipped(reason)
    os.environ.pop("PHYSICS_TWINS_RUNS", None)
    with running_browser() as browser:
        spent_s = [_first_figure_s(browser) for _ in range(N_COLD)]
    value, spread = median_and_spread(spent_s)
    return Figure(value, spread, "s", FIRST_LIMIT_S, this_machine_and_load(), (SEED,))


def _first_figure_s(browser: Any) -> float:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Lab(first_minutes.project(Path(folder, "project"))) as lab,
    ):
        tab = lab.open(browser, f"my/notebooks/{first_minutes.TOUR}.ipynb", height=1800)
        tab.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)
        begun = time.perf_counter()
        run_all_cells(tab)
        painted = f"() => ({PIXELS})().some((colours) => colours > 100)"
        tab.wait_for_function(painted, polling=50, timeout=120_000)
        spent_s = time.perf_counter() - begun
        tab.close()
    return spent_s


BENCHMARKS = {"first_figure_s": first_figure_s, "first_ten_minutes": first_ten_minutes}
