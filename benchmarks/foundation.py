"""Figures of the environment and of its main job, the search of a telescope file for pulses."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from _table import Figure, median_and_spread, run_benchmarks, this_machine

N_PAIRS = 5
N_REFUSALS = 9
NAME = "trivial/1_print"


def run_overhead() -> Figure:
    """How much longer `twins run` takes than plain papermill on the same trivial notebook."""
    with _trivial_project() as project:
        out = str(project / "out.ipynb")
        papermill = ["papermill", f"notebooks/{NAME}.ipynb", out, "-p", "seed", "3"]
        twins = ["physics_twins.cli", "run", NAME, "-p", "seed=3", "--force"]
        extra_s = [_seconds(project, *twins) - _seconds(project, *papermill) for _ in range(N_PAIRS)]
    value, error = median_and_spread(extra_s)
    return Figure(value, error, "s", reference=1.0, device=this_machine())


def bad_parameter() -> Figure:
    """How long a wrong parameter takes to be refused, the start of the process included."""
    with _trivial_project() as project:
        wrong = ["physics_twins.cli", "run", NAME, "-p", "seed=-1"]
        spent_s = [_seconds(project, *wrong, status=2) for _ in range(N_REFUSALS)]
    value, error = median_and_spread(spent_s)
    return Figure(value, error, "s", reference=1.5, device=this_machine())


@contextmanager
def _trivial_project() -> Iterator[Path]:
    """Yield a project whose only notebook prints its seed."""
    cells = [
        new_code_cell('seed = 1\non = "local"\nrun_dir = ""', metadata={"tags": ["parameters"]}),
        new_code_cell("print(seed)"),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "physics_twins": {"parameters": ["physics_twins.parameters:Execution"]},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notebooks", f"{NAME}.ipynb")
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        yield Path(folder)


def _seconds(project: Path, module: str, *arguments: str, status: int = 0) -> float:
    """Return how long a Python command takes; it must end with the expected status."""
    shown = {key: value for key, value in os.environ.items() if key != "PHYSICS_TWINS_RUNS"}
    command = [sys.executable, "-m", module, *arguments]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=shown, capture_output=True, text=True, check=False)
    spent_s = time.perf_counter() - begun
    if done.returncode != status:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-300:]}")
    return spent_s


BENCHMARKS = {
    "run_overhead_s": run_overhead,
    "bad_parameter_s": bad_parameter,
}

if __name__ == "__main__":
    sys.exit(bool(run_benchmarks(BENCHMARKS)))
