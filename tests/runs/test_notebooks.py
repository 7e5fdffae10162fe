import io
import json
import re

import nbformat
import papermill
import pytest
from small_notebooks import OPEN, PERIOD, SAVE, write_notebook, write_project

from physics_twins import runs
from physics_twins.data import open_dataset
from physics_twins.parameters import ParameterError
from physics_twins.runs.notebooks import NotebookError

NAME = "pendulum/1_simulate"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("clone {of} mine"))


@pytest.fixture(autouse=True)
def inside(project, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="module")
def told():
    return io.StringIO()


@pytest.fixture(scope="module")
def done(project, told):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        values = {"length_m": "9.81", "label": "quotes \" ' and \n newline"}
        return runs.run(NAME, values, progress=told)


@pytest.fixture(scope="module")
def failed(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return runs.run("pendulum/2_break")


@pytest.fixture
def no_kernel(monkeypatch):
    """Make sure that nothing is executed."""
    monkeypatch.setattr(
        "physics_twins.runs.execution.execute", lambda *_, **__: pytest.fail("a kernel started")
    )


def test_the_given_parameter_reaches_the_result(done):
    assert done.status == "complete"
    # A pendulum as long as g in m swings in 2 pi s.
    assert done.metrics["period_s"] == {"value": pytest.approx(6.2831853), "unit": "s", "error": 0.01}


def test_parameters_that_the_cell_does_not_name_are_no_news(project, monkeypatch, caplog):
    monkeypatch.chdir(project)
    assert runs.run(NAME, {"length_m": 3.0}).status == "complete"
    assert [each.getMessage() for each in caplog.records if each.name == "papermill"] == []


def test_the_run_folder_has_all_that_is_promised(done, project):
    assert done.folder.parent == (project / "runs" / "pendulum" / "1_simulate").resolve()
    assert {p.name for p in done.folder.iterdir()} == {
        "1_simulate.ipynb",
        "metrics.json",
        "parameters.json",
        "provenance.json",
        "report.html",
        "swings.csv",
        "swings.nc",
    }
    assert open_dataset(done.folder / "swings.nc").time_s.size == 3


def test_the_recorded_parameters_are_complete_with_the_notebooks_defaults_before_the_models(done):
    assert done.parameters == {
        "seed": 5,
        "length_m": 9.81,
        "n_swings": 3,
        "damped": False,
        "label": "quotes \" ' and \n newline",
        "log_path": "",
    }


def test_progress_names_each_cell_and_passes_its_output_on(done, told):
    lines = told.getvalue().splitlines()
    assert lines[:2] == ["cell 1 of 4 (parameters)", "cell 2 of 4 (Swing)"]
    assert any(line.startswith("label: quotes") for line in lines)


def test_the_report_opens_without_a_network_and_shows_results_and_folded_code(done):
    page = (done.folder / "report.html").read_text()
    loaded = re.findall(r"(?:src=|href=|import\()[\"']?https?://([^\"'?]+)", page)
    assert loaded == []
    assert "<msqrt>" in page  # of the formula, which a browser draws by itself
    assert "label: quotes" in page
    assert "<details><summary>code</summary>" in page


def test_the_same_run_again_is_found_and_not_computed(done, no_kernel):
    again = runs.run(NAME, {"label": done.parameters["label"], "length_m": 9.81})
    assert (again.folder, again.reused) == (done.folder, True)


def test_a_copy_of_the_notebook_with_outputs_is_the_same_notebook(done, project, tmp_path):
    executed = nbformat.read(done.folder / "1_simulate.ipynb", as_version=4)
    stored = nbformat.read(project / "notebooks" / "pendulum" / "1_simulate.ipynb", as_version=4)
    stored.cells[-1].outputs = executed.cells[-1].outputs
    (tmp_path / "pendulum").mkdir()
    nbformat.write(stored, tmp_path / "pendulum" / "1_simulate.ipynb")
    copy = runs.notebook(tmp_path / "pendulum" / "1_simulate.ipynb")
    assert copy.sha256 == runs.notebook(NAME).sha256


def test_a_failed_notebook_keeps_its_output_and_tells_cell_and_error(failed):
    assert failed.status == "failed"
    assert failed.provenance["error"] == "ZeroDivisionError: division by zero"
    assert failed.provenance["cell"] == "3 of 4 (Divide)"
    cells = nbformat.read(failed.folder / "2_break.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.output_type == "stream"] == ["before\n"]
    assert "before" in (failed.folder / "report.html").read_text()


def test_a_kernel_that_dies_fails_the_run_and_keeps_what_it_wrote(project, tmp_path):
    code = ("print('half a line', end='')", "import os\nos._exit(3)")
    told = io.StringIO()
    run = runs.run(write_notebook(tmp_path / "die.ipynb", *code), progress=told)
    assert run.status == "failed"
    assert run.provenance["error"] == "DeadKernelError: Kernel died"
    assert "half a line" in told.getvalue()
    assert "half a line" in (run.folder / "die.ipynb").read_text()


def test_a_failed_run_is_tried_again_in_a_new_folder(failed, monkeypatch):
    monkeypatch.setattr("physics_twins.runs.execution.execute", lambda *_, **__: None)
    again = runs.run("pendulum/2_break")
    assert again.folder.name == failed.folder.name.replace("-1", "-2")


def test_plain_papermill_runs_the_same_notebook(project, tmp_path):
    source = project / "notebooks" / "pendulum" / "1_simulate.ipynb"
    values = {"length_m": 2.4525, "run_dir": str(tmp_path / "mine")}
    papermill.execute_notebook(
        str(source).replace("{", "{{").replace("}", "}}"), None, values, progress_bar=False
    )
    run = runs.resolve(tmp_path / "mine")
    assert run.metrics["period_s"]["value"] == pytest.approx(6.2831853 / 2)
    assert run.status == "interactive"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"lenght_m": 1.0}, "did you mean 'length_m'"),
        ({"length_m": 1000.0}, "0.01 to 100 m"),
        ({"n_swings": "many"}, "is not a whole number"),
        ({"seed\nimport os": 1}, "unknown parameter"),
        ({'seed"]': 1}, "unknown parameter"),
        ({"log_path": "nowhere.csv"}, "log_path = 'nowhere.csv': there is no such file"),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_kernel_starts(values, reason, no_kernel, project):
    before = sorted(project.rglob("provenance.json"))
    with pytest.raises(ParameterError, match=reason):
        runs.run(NAME, values)
    assert sorted(project.rglob("provenance.json")) == before


def test_an_unknown_cluster_is_refused_before_a_kernel_starts(no_kernel):
    with pytest.raises(ValueError, match="did you mean 'slurm'"):
        runs.run(NAME, on="slrum")


def test_an_input_file_is_recorded_with_its_hash_and_absolute_path(project, monkeypatch):
    monkeypatch.setattr("physics_twins.runs.execution.execute", lambda *_, **__: None)
    (project / "times.csv").write_bytes(b"abc")
    run = runs.run(NAME, {"log_path": "times.csv"})
    (described,) = run.provenance["inputs"]
    assert described["path"] == str(project / "times.csv")
    assert described["bytes"] == 3
    assert described["sha256"].startswith("ba7816bf")


def test_a_run_folder_given_as_parameter_is_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr("physics_twins.runs.execution.execute", lambda *_, **__: None)
    assert runs.run(NAME, {"run_dir": str(tmp_path / "mine")}).folder == tmp_path / "mine"


def test_notebooks_are_listed_from_any_folder_of_the_project(project, monkeypatch):
    monkeypatch.chdir(project / "notebooks" / "pendulum")
    ours = [name for name, path in runs.available().items() if path.is_relative_to(project)]
    assert ours == ["pendulum/1_simulate", "pendulum/2_break"]


def test_an_installed_package_brings_its_notebooks_along(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("physics_twins.data.places.__file__", str(project / "data" / "places.py"))
    assert runs.notebook(NAME).path == project / "notebooks" / "pendulum" / "1_simulate.ipynb"


def test_the_copies_that_jupyterlab_keeps_are_not_listed(project):
    hidden = project / "notebooks" / ".ipynb_checkpoints" / "1_simulate-checkpoint.ipynb"
    hidden.parent.mkdir()
    hidden.touch()
    assert all("checkpoint" not in name for name in runs.available())


def test_an_unknown_notebook_suggests_the_nearest():
    with pytest.raises(NotebookError, match="did you mean 'pendulum/1_simulate'"):
        runs.notebook("pendulum/simulate")
    with pytest.raises(NotebookError, match="there is no notebook"):
        runs.notebook("pendulum/none.ipynb")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("length_m = 1.0 + 1.0", "only plain values, found: length_m"),
        ("import os", "only plain values, found: import os"),
        ("length_m = -1.0", "length_m = -1.0 m is outside its range"),
        ("mass_kg = 1.0", "unknown parameter 'mass_kg'"),
        ("length_m = ", "invalid syntax"),
    ],
)
def test_a_parameters_cell_that_cannot_be_trusted_is_refused(cell, reason, tmp_path):
    path = write_notebook(tmp_path / "bad.ipynb", OPEN, parameters=cell)
    with pytest.raises(NotebookError, match=reason) as refusal:
        runs.notebook(path)
    assert "bad.ipynb" in str(refusal.value)


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ((), "must declare physics_twins.parameters:Execution"),
        (("physics_twins.parameters:Execution", "nowhere:Model"), "cannot be imported"),
        (("physics_twins.parameters:Execution", "json:dumps"), "no Parameters model"),
        (("physics_twins.parameters:Execution",) * 2, "two of its models declare on, run_dir, seed"),
    ],
)
def test_wrongly_declared_models_are_refused(models, reason, tmp_path):
    path = write_notebook(tmp_path / "bad.ipynb", OPEN, parameters="seed = 1", models=models)
    with pytest.raises(NotebookError, match=reason):
        runs.notebook(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 3}', json.dumps({"cells": [{}]})])
def test_a_file_that_is_no_notebook_is_named(content, tmp_path):
    path = tmp_path / "bad.ipynb"
    path.write_text(content)
    with pytest.raises(NotebookError, match=r"bad\.ipynb"):
        runs.notebook(path)


def test_reading_a_notebook_executes_nothing_in_it(tmp_path):
    bomb = f"open({str(tmp_path / 'touched')!r}, 'w')"
    path = write_notebook(tmp_path / "bomb.ipynb", bomb, parameters=f"seed = {bomb}")
    with pytest.raises(NotebookError):
        runs.notebook(path)
    assert not (tmp_path / "touched").exists()


def test_changed_code_is_another_notebook_and_a_changed_default_too(tmp_path):
    sources = [("seed = 1", OPEN, PERIOD), ("seed = 1", OPEN, SAVE), ("seed = 2", OPEN, PERIOD)]
    hashes = set()
    for cell, *code in sources:
        path = write_notebook(tmp_path / "a.ipynb", *code, parameters=cell)
        hashes.add(runs.notebook(path).sha256)
    assert len(hashes) == 3


def test_what_a_later_cell_would_refuse_is_refused_before_a_kernel_starts(
    tmp_path, monkeypatch, no_kernel
):
    path = write_notebook(tmp_path / "notebooks" / "pendulum" / "1_simulate.ipynb", OPEN)
    content = json.loads(path.read_text())
    content["metadata"]["physics_twins"]["checks"] = ["pendulum:refuse_long"]
    path.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="too long for the later cell"):
        runs.run(NAME, {"length_m": 9.0})
    content["metadata"]["physics_twins"]["checks"] = ["pendulum:nothing_there"]
    path.write_text(json.dumps(content))
    with pytest.raises(NotebookError, match="declared checks"):
        runs.notebook(NAME)
