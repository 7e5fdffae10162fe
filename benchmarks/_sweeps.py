"""Figures of sweeps: what survives which fault, and how fast they are."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from _table import Figure, Skipped, median_and_spread, this_machine
from physics_twins import clusters, sweeps

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))  # a private SLURM, and cells that workers import
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])

# How often a fault is provoked; the aim is none in 100.
N_ROUNDS = int(os.environ.get("PHYSICS_TWINS_ROUNDS", "5"))
N_REPEATS = 5
N_CELLS, N_RERUN, N_NOTEBOOKS = 8000, 1000, 80


def sweep_faults() -> Figure:
    """Sweeps on SLURM that end, through a cancelled job and a killed driver, as if undisturbed."""
    import sweep_faults as trouble
    from slurm import PrivateSlurm, why_not

    if reason := why_not():
        raise Skipped(reason)
    n_right = 0
    with tempfile.TemporaryDirectory() as folder, PrivateSlurm() as slurm:
        quiet = trouble.quiet_sweep(Path(folder) / "quiet")
        for seed in range(N_ROUNDS):
            begun = time.monotonic()
            place = Path(folder) / f"troubled-{seed}"
            wrong = trouble.faults(quiet, trouble.troubled_sweep(slurm, place, seed))
            n_right += not wrong
            words = "; ".join(wrong) or "right"
            _tell(f"round {seed + 1} of {N_ROUNDS}: {words} ({time.monotonic() - begun:.0f} s)")
            slurm.wait_until_empty(90)
    return Figure(n_right, unit=f"of {N_ROUNDS}", reference=N_ROUNDS, device=this_machine())


def cells_per_s() -> Figure:
    """Cells of a function of one millisecond, per second and core, records and dataset included."""
    import short_cells

    grid = sweeps.grid({"x": [float(n) for n in range(N_CELLS)]})
    speeds = []
    with clusters.connect("local") as client, _folder() as folder:
        threads: Any = client.nthreads()
        n_cores = sum(threads.values())
        for repeat in range(-1, N_REPEATS):
            cells = grid if repeat >= 0 else grid[:200]  # the first imports
            spent_s, _ = _sweep(short_cells.millisecond, cells, folder / str(repeat), client)
            speeds.append(len(cells) / spent_s / n_cores)
    value, error = median_and_spread(speeds[1:])
    # A function of 1 ms alone, on a core that also drives the sweep.
    return Figure(value, error, "1/s/core", reference=1000.0, device=this_machine())


def rerun() -> Figure:
    """How long a finished sweep takes to be found finished."""
    import short_cells

    grid = sweeps.grid({"x": [float(n) for n in range(N_RERUN)]})
    with _folder() as folder:
        _sweep(short_cells.millisecond, grid, folder, "threads")
        spent = []
        for _ in range(N_REPEATS):
            spent_s, sweep = _sweep(short_cells.millisecond, grid, folder, "threads")
            if sweep.computed:
                raise RuntimeError(f"{sweep.computed} cells were computed again")
            spent.append(spent_s)
    value, error = median_and_spread(spent)
    return Figure(value, error, "s", reference=0.3, device=this_machine())


def notebook_cells_per_s() -> Figure:
    """Notebooks per second on all cores, each a run of its own with report and provenance."""
    with _folder() as folder:
        notebook = _small_notebook(folder)
        with clusters.connect("local") as client:
            grid = sweeps.grid({"seed": range(N_NOTEBOOKS)})
            spent_s, _ = _sweep(str(notebook), grid, folder / "sweep", client)
    # Two notebooks at a time through plain papermill, as measured before this was written.
    return Figure(N_NOTEBOOKS / spent_s, None, "1/s", reference=1.15, device=this_machine())


def _sweep(what: Any, cells: Any, folder: Path, on: Any) -> tuple[float, sweeps.Sweep]:
    where: dict[str, Any] = {"on": on} if isinstance(on, str) else {"client": on}
    begun = time.perf_counter()
    sweep = sweeps.run(what, cells, out=folder, progress=False, **where)
    spent_s = time.perf_counter() - begun
    if sweep.status != "complete":
        raise RuntimeError(f"the sweep is {sweep.status}: {sweep.failures[:1]}")
    return spent_s, sweep


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _small_notebook(folder: Path) -> Path:
    """Write a notebook that records one number, in a project of its own."""
    values = 'seed = 1\non = "local"\nrun_dir = ""'
    code = 'from physics_twins import runs\nruns.open_run(run_dir).record({"double": 2.0 * seed})'
    parameters = new_code_cell(values, metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[parameters, new_code_cell(code)])
    declared = {"parameters": ["physics_twins.parameters:Execution"]}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook["metadata"] = {"physics_twins": declared, "kernelspec": kernel}
    path = folder / "notebooks" / "trivial" / "1_double.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    return path


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


BENCHMARKS = {
    "sweep_faults": sweep_faults,
    "cells_per_s": cells_per_s,
    "rerun_s": rerun,
    "notebook_cells_per_s": notebook_cells_per_s,
}
