"""A small project with a pendulum's notebooks, for tests that run notebooks."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

MODELS = ("physics_twins.parameters:Execution", "pendulum:PendulumParameters")
PARAMETERS = 'seed = 5\non = "local"\nrun_dir = ""\nlength_m = 2.0\nn_swings = 3\nlabel = ""'
PERIOD = "period_s = 2 * math.pi * math.sqrt(length_m / 9.81)"
OPEN = """import math

import xarray as xr

from physics_twins import runs

run = runs.open_run(run_dir)"""
SAVE = """passages = [period_s * n for n in range(n_swings)]
times = xr.Dataset({"time_s": ("swing", passages, {"units": "s"})})
run.save("swings", times)
run.save_table("swings", times.to_dataframe())
run.record({"period_s": {"value": period_s, "error": 0.01, "unit": "s"}, "n_swings": n_swings})
print("label:", label)"""


def write_notebook(
    path: Path, *code: str, parameters: str = PARAMETERS, models: tuple[str, ...] = MODELS
) -> Path:
    """Write a notebook with a title, a cell tagged `parameters` and further code cells."""
    cells = [
        new_markdown_cell("# A pendulum\nHow long is its period?"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Swing\n$T = 2 \\pi \\sqrt{l / g}$"),
        *map(new_code_cell, code),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "physics_twins": {"parameters": list(models)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def write_project(folder: Path) -> Path:
    """Write a project with a notebook that works and one that fails in its third cell."""
    write_notebook(folder / "notebooks" / "pendulum" / "1_simulate.ipynb", OPEN, PERIOD, SAVE)
    broken = ("# Divide\nprint('before')\n1 / 0", "print('never')")
    write_notebook(folder / "notebooks" / "pendulum" / "2_break.ipynb", OPEN, *broken)
    return folder
