"""The report notebooks of sweeps and studies, run headless: their results, not only that they run."""

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

import holoviews as hv
import nbformat
import pytest
import xarray as xr
from small_notebooks import write_notebook
from sources import TESTS

from physics_twins import clusters, runs, sweeps
from physics_twins.cli import sweeps as commands
from physics_twins.runs import Run
from physics_twins.sweeps.points import grid


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as client:
        yield client


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let kernels and workers import the functions of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))


def shown_by(name: str, folder: Path, tmp_path: Path) -> tuple[Run, str]:
    """The run of a report's code in this process, and all that its cells show, as HTML or text."""
    parameter = "sweep_dir" if name == "farms/1_sweep" else "study_dir"
    space: dict[str, Any] = {"seed": 1, "on": "threads"}
    space |= {"run_dir": str(tmp_path / "report"), parameter: str(folder)}
    cells = nbformat.read(runs.available()[name], as_version=4).cells
    shown = []
    for cell in [cell for cell in cells if cell.cell_type == "code"][1:]:
        *statements, last = ast.parse(cell.source).body
        exec(compile(ast.Module(statements, []), name, "exec"), space)
        code = ast.Expression(last.value) if isinstance(last, ast.Expr) else ast.Module([last], [])
        value = eval(compile(code, name, "eval" if isinstance(last, ast.Expr) else "exec"), space)  # noqa: S307
        shown.append(value.data if isinstance(value, hv.Div) else _as_html(value))
    return space["run"], "\n".join(shown)


def _as_html(value: Any) -> str:
    if isinstance(value, hv.Layout | hv.Overlay):
        hv.render(value, backend="bokeh")
        return "\n".join(part.data for part in value if isinstance(part, hv.Div))
    return value._repr_html_() if hasattr(value, "_repr_html_") else ""


def sweep(client, what, points, tmp_path, **options):
    usual = {"client": client, "out": tmp_path / "sweep", "progress": False}
    return sweeps.run(what, points, **(usual | options))


@pytest.mark.slow
def test_a_report_tells_what_failed_and_how_to_go_on(client, tmp_path):
    points = grid({"east": [0.1, 0.5, 0.9, 0.95], "north": [0.2, 0.9]})
    swept = sweep(client, "tuned:cliff", points, tmp_path)
    run = runs.run("farms/1_sweep", {"sweep_dir": str(swept.folder)}, out=tmp_path / "report")
    assert run.status == "complete", run.provenance["error"]
    page = (run.folder / "report.html").read_text()
    assert run.metrics == {"n_complete": 4, "n_failed": 4, "n_waiting": 0}
    assert "ValueError: nothing is east of 0.8, found 0.95" in page
    assert "tuned.py:" in page
    assert f"twins sweep {swept.folder} --retry-failed" in page
    assert swept.sha256[:12] in page


@pytest.mark.parametrize(
    ("what", "points", "told"),
    [
        ("tuned:cliff", [{"east": 0.9}, {"east": 0.95}], "No cell has a result"),
        ("tuned:needy", [{"east": 0.5}], "the same everywhere"),
        (
            "tuned:profile",
            grid({"east": [0.1, 0.4], "seed": [1, 2]}),
            "(east, seed, place_m)",
        ),
        ("tuned:depth", grid({"season": ["wet", "dry"], "steep": [True, False]}), "nothing failed"),
    ],
    ids=["all failed", "one cell", "datasets", "words and truth values"],
)
def test_a_report_can_be_made_of_any_sweep(client, tmp_path, what, points, told):
    swept = sweep(client, what, points, tmp_path)
    run, page = shown_by("farms/1_sweep", swept.folder, tmp_path)
    assert sum(run.metrics.values()) == len(points)
    assert told in page


def test_a_report_of_a_sweep_that_was_stopped_says_what_is_missing(client, tmp_path):
    points = grid({"east": [0.1, 0.2, 0.3]})
    swept = sweep(client, "tuned:cliff", points[:2], tmp_path)
    plan = json.loads((swept.folder / "plan.json").read_text())
    plan["points"].append(points[2])
    plan["keys"].append("0" * 64)
    (swept.folder / "plan.json").write_text(json.dumps(plan))
    run, page = shown_by("farms/1_sweep", swept.folder, tmp_path)
    assert run.metrics == {"n_complete": 2, "n_failed": 0, "n_waiting": 1}
    assert "2 complete, 1 waiting" in page


@pytest.mark.slow
def test_a_sweep_ends_with_its_report_and_another_one_takes_its_place(client, tmp_path):
    models = ("physics_twins.parameters:Execution", "physics_twins.sweeps:SweepChoice")
    values = 'seed = 1\non = "local"\nrun_dir = ""\nsweep_dir = ""'
    code = "from physics_twins import sweeps\nprint(sweeps.Sweep.load(sweep_dir).counts)"
    short = write_notebook(tmp_path / "1_short.ipynb", code, parameters=values, models=models)

    def reported(points):
        found = sweep(client, "tuned:luck", points, tmp_path)
        commands._report(found, str(short), wanted=True)
        return found.report.stat().st_mtime_ns

    written = reported([{"east": 0.1}])
    assert reported([{"east": 0.1}]) == written
    assert reported(grid({"east": [0.1, 0.2]})) > written
    assert [p.name for p in tmp_path.glob("sweep/report*")] == ["report"]


@pytest.mark.slow
def test_a_small_sweep_of_its_own_finds_more_of_the_brighter_pulses(tmp_path):
    run = runs.run("farms/1_sweep", {"on": "threads"}, out=tmp_path / "run")
    assert run.metrics == {"n_complete": 10, "n_failed": 0, "n_waiting": 0}
    found = xr.open_dataset(run.folder / "sweep" / "result.nc")
    recall = found["recall"].mean("seed")
    assert float(recall.sel(fluence_jy_ms=0.8)) > float(recall.sel(fluence_jy_ms=0.05)) + 0.5
    assert int(found["n_false"].sum()) == 0


@pytest.mark.slow
def test_a_report_of_a_study_tells_the_best_beside_the_defaults(client, tmp_path):
    study = sweeps.tune(
        "tuned:depth",
        metric="depth",
        ranges={"east_m": (0, 1), "width_m": (1e-4, 1)},
        fixed={"noise": 0.05},
        n_trials=15,
        client=client,
        parallel=1,
        out=tmp_path / "study",
        progress=False,
    )
    commands._report(study, "farms/2_tune", wanted=True)
    assert study.report is not None
    recorded = json.loads((study.folder / "report" / "metrics.json").read_text())
    assert recorded["best"]["value"] == study.metrics["best"].value
    assert recorded["gain_confirmed"]["value"] == pytest.approx(study.metrics["gain_confirmed"].value)
    page = study.report.read_text()
    assert "take the best point" in page
    assert "depth, 3 fresh seeds" in page
    assert "0.0001, 1 m" in page
    assert f"twins tune {study.folder} --trials 30" in page


def test_a_report_of_a_study_of_luck_advises_to_keep_the_defaults(client, tmp_path, capsys):
    options = {"client": client, "progress": False, "out": tmp_path / "study"}
    ranges = {"east": (0, 1)}
    # With these eight seeds the best of 30 is no better than the defaults by two errors.
    sweeps.tune("tuned:luck", metric="result", ranges=ranges, n_trials=30, confirm=8, **options)
    run, _ = shown_by("farms/2_tune", tmp_path / "study", tmp_path)
    assert "keep the defaults" in capsys.readouterr().out
    assert run.metrics["n_complete"] == 30


def test_a_report_of_a_study_of_which_everything_failed_says_why(client, tmp_path, capsys):
    ranges = {"east": (0.85, 1.0)}
    options = {"client": client, "progress": False, "out": tmp_path / "study"}
    sweeps.tune("tuned:cliff", metric="height", ranges=ranges, n_trials=3, **options)
    run, page = shown_by("farms/2_tune", tmp_path / "study", tmp_path)
    assert run.metrics["n_failed"] == 3
    assert "nothing is east of 0.8" in page
    assert "there is nothing to compare" in capsys.readouterr().out


@pytest.mark.slow
def test_a_small_study_of_its_own_compares_with_the_defaults(tmp_path):
    run = runs.run("farms/2_tune", {"on": "threads"}, out=tmp_path / "run")
    assert run.metrics["n_complete"] == 12
    study = sweeps.Study.load(run.folder / "study")
    assert study.trials[0].params == {"width_max_ms": 30.0, "dm_loss": 0.03}
    # The defaults lose little to the limit of a boxcar, 0.943; more would be luck.
    assert run.metrics["baseline_confirmed"]["value"] == pytest.approx(0.943, abs=0.1)
    assert abs(run.metrics["gain_confirmed"]["value"]) < 0.1


@pytest.mark.parametrize("name", ["farms/1_sweep", "farms/2_tune"])
def test_a_folder_that_holds_none_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(ValueError, match="it has no plan"):
        shown_by(name, tmp_path, tmp_path)
