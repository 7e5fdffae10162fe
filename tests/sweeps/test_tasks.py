"""What can be swept, what is refused, and by what a result is known."""

import functools
import shutil
import sys

import pytest
import sweep_cells
from pendulum import PendulumParameters
from small_notebooks import OPEN, PERIOD, write_notebook, write_project

from physics_twins import runs
from physics_twins.parameters import ParameterError
from physics_twins.runs import provenance
from physics_twins.runs.notebooks import NotebookError
from physics_twins.sweeps import tasks
from physics_twins.sweeps.tasks import TaskError


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def notebook(project):
    return tasks.find_task(str(project / "notebooks" / "pendulum" / "1_simulate.ipynb"))


def key(task, **values):
    return task.key(task.check(values))


def test_a_function_is_found_by_its_name_and_by_itself():
    by_name, by_itself = tasks.find_task("sweep_cells:period"), tasks.find_task(sweep_cells.period)
    assert by_name.name == by_itself.name == "sweep_cells:period"
    assert by_name.sha256 == by_itself.sha256
    assert by_name.title == "Period of a pendulum."


def test_the_librarys_own_functions_need_no_first_name():
    short, full = (tasks.find_task(f"{first}sweeps.points:scaled") for first in ("", "physics_twins."))
    assert short.name == full.name == "physics_twins.sweeps.points:scaled"


def test_a_function_without_documentation_has_its_name_as_title():
    assert tasks.find_task(sweep_cells.noisy).title == "sweep_cells:noisy"


@pytest.mark.parametrize(
    "function",
    [
        sweep_cells.nameless,
        sweep_cells.maker(),
        sweep_cells.instance,
        sweep_cells.instance.method,
        functools.partial(sweep_cells.square, x=1.0),
        lambda x: x,
        len,
    ],
)
def test_what_workers_cannot_import_by_name_is_refused(function):
    with pytest.raises(TaskError):
        tasks.find_task(function)


def test_a_function_of_the_main_program_is_refused(monkeypatch):
    monkeypatch.setattr(sweep_cells.square, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "square", sweep_cells.square, raising=False)
    with pytest.raises(TaskError, match="workers cannot import __main__:square"):
        tasks.find_task(sweep_cells.square)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sweep_cells:none", "module sweep_cells has no function 'none'"),
        ("sweep_cells:number", "has no function 'number'"),
        ("sweep_cells:Callable", "has no function 'Callable'"),
        ("no_such_module:f", "there is no module no_such_module"),
        ("sweep_cells.inner:f", "there is no module sweep_cells.inner"),
        (":f", "cannot be imported: Empty module name"),
        ("sweep_cells:", "has no function ''"),
        ("..x:f", "cannot be imported: .*relative import"),
        ("sweep_cells:nameless", "define it at the top of a module file"),
        ("sweep_cells:without_annotation", "argument x of sweep_cells:without_annotation must be"),
        ("sweep_cells:positional_only", "argument x of sweep_cells:positional_only"),
        ("sweep_cells:unknown_annotation", "NoSuchThing"),
        ("sweep_cells:same_name_twice", "two arguments .* take length_m"),
        ("sweep_cells:shadowing", "argument copy of .* has a name that a parameter cannot have"),
    ],
)
def test_a_function_that_cannot_be_swept_is_refused_in_one_sentence(name, reason):
    with pytest.raises(TaskError, match=reason) as refusal:
        tasks.find_task(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import not_installed_here", "cannot be imported: No module named 'not_installed_here'"),
        ("import broke", "cannot be imported: No module named 'broke'"),
        ("1 / 0", "cannot be imported: division by zero"),
        ("def f(:", "cannot be imported: invalid syntax"),
    ],
)
def test_a_module_that_cannot_be_imported_tells_its_own_error(content, reason, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_cells.py").write_text(content)
    with pytest.raises(TaskError, match=f"broken_cells {reason}"):
        tasks.find_task("broken_cells:f")


def test_an_unknown_notebook_is_refused_as_by_twins_run():
    with pytest.raises(NotebookError, match="unknown notebook 'pulsar/9_dance'"):
        tasks.find_task("pulsar/9_dance")


def test_an_argument_with_a_model_takes_all_its_fields_and_a_plain_one_itself():
    assert list(tasks.find_task(sweep_cells.noisy).fields) == [
        *PendulumParameters.model_fields,
        *sweep_cells.NoiseParameters.model_fields,
        "scale",
    ]


def test_each_kind_of_argument_reaches_the_function(tmp_path):
    task = tasks.find_task(sweep_cells.every_kind)
    values = task.check({"a": "1.5", "n": "3", "damped": "yes"})
    assert values == {"a": 1.5, "n": 3, "damped": True, "label": "x"}
    found = task.compute(values, tmp_path)
    assert found == {"metrics": {"a": 1.5, "n": 3, "damped": True}}
    both = tasks.find_task(sweep_cells.noisy)
    assert both.compute(both.check({"length_m": 3.0, "noise_s": 0.5, "scale": 2}), tmp_path) == {
        "metrics": {"result": 6.5}
    }


def test_variable_arguments_stay_empty(tmp_path):
    task = tasks.find_task(sweep_cells.many)
    assert task.compute(task.check({}), tmp_path) == {"metrics": {"result": 1.0}}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "a is missing: give a number"),
        ({"a": "x"}, "a = 'x' is not a number"),
        ({"a": 1.0, "n": 1.5}, "n = 1.5 has the wrong type: allowed is a whole number"),
        ({"a": 1.0, "damped": "maybe"}, "damped = 'maybe' is not true or false"),
        ({"a": [1.0]}, r"a = \[1\.0\] has the wrong type"),
        ({"a": 1.0, "lable": "y"}, "unknown parameter 'lable'; did you mean 'label'"),
        ({"a": 1.0, "other": 1}, "unknown parameter 'other'"),
        ({"a": "nan"}, "a = nan"),
        ({"a": float("inf")}, "a = inf"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_is_allowed(values, reason):
    with pytest.raises(ParameterError, match=reason):
        tasks.find_task(sweep_cells.every_kind).check(values)


def test_a_notebooks_own_heavy_work_stays_in_its_kernel_unless_told_otherwise(notebook):
    assert notebook.check({})["on"] == "threads"
    assert notebook.check({"on": "slurm"})["on"] == "slurm"


def test_equal_things_have_equal_keys():
    by_name, by_object = tasks.find_task("sweep_cells:period"), tasks.find_task(sweep_cells.period)
    assert key(by_name, length_m="2", seed=1) == key(by_object, seed="1", length_m=2.0)
    assert key(by_name, length_m=2) == key(by_name, length_m=2.0, n_swings=3)


@pytest.mark.parametrize("change", [{"length_m": 2.1}, {"seed": 2}, {"label": "x"}, {"damped": True}])
def test_each_parameter_changes_the_key(change):
    task = tasks.find_task(sweep_cells.period)
    assert key(task, **{"length_m": 2.0, **change}) != key(task, length_m=2.0)


def test_another_function_with_the_same_parameters_has_another_key():
    square, text = tasks.find_task(sweep_cells.square), tasks.find_task(sweep_cells.returns_text)
    assert key(square, x=1.0) != key(text, x=1.0)


def test_changed_source_of_the_library_changes_the_key(monkeypatch):
    task = tasks.find_task(sweep_cells.square)
    before = key(task, x=1.0)
    monkeypatch.setattr(provenance, "source_sha256", lambda *_: "changed")
    assert key(task, x=1.0) != before


def test_a_function_of_a_twin_depends_on_that_twin_and_one_of_a_user_on_all():
    recovery = tasks.find_task("pulsar.recovery:recovery")
    assert recovery.twins == ("pulsar",)
    assert tasks.find_task(sweep_cells.square).twins is None


def test_a_changed_module_changes_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "changing_cells.py"
    path.write_text("def f(x: float) -> float:\n    return x\n")
    before = key(tasks.find_task("changing_cells:f"), x=1.0)
    path.write_text("def f(x: float) -> float:\n    return -x\n")
    assert key(tasks.find_task("changing_cells:f"), x=1.0) != before


def test_a_files_content_counts_and_its_place_does_not(tmp_path):
    task = tasks.find_task(sweep_cells.noisy)
    first, copy, other = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv"))
    first.write_text("1, 2")
    shutil.copy(first, copy)
    other.write_text("1, 3")
    keys = [key(task, times_path=str(path)) for path in (first, copy, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_file_that_changes_between_two_looks_has_a_new_key(tmp_path):
    task, path = tasks.find_task(sweep_cells.noisy), tmp_path / "a.csv"
    path.write_text("1, 2")
    before = key(task, times_path=str(path))
    path.write_text("1, 2, 3")
    assert key(task, times_path=str(path)) != before


def test_an_input_file_that_is_missing_is_refused():
    with pytest.raises(ParameterError, match=r"times_path = 'none\.csv': there is no such file"):
        tasks.find_task(sweep_cells.noisy).check({"times_path": "none.csv"})


def test_where_a_notebook_runs_does_not_change_its_key(notebook):
    assert key(notebook, on="slurm") == key(notebook, on="local") == key(notebook, run_dir="x")


def test_a_notebooks_key_is_the_identity_of_its_run(notebook, project, tmp_path, monkeypatch):
    monkeypatch.setattr("physics_twins.runs.execution.execute", lambda *_, **__: None)
    (tmp_path / "times.csv").write_text("1")
    values = {"length_m": 3.0, "log_path": str(tmp_path / "times.csv")}
    path = project / "notebooks" / "pendulum" / "1_simulate.ipynb"
    run = runs.run(path, values, root=tmp_path / "cells")
    source = run.provenance["code"]["source_sha256"]
    assert source == provenance.source_sha256(notebook.twins)
    assert run.provenance["identity"] == notebook.key(notebook.check(values))


def test_a_notebook_outside_of_the_project_is_named_by_its_path(tmp_path, project, monkeypatch):
    path = write_notebook(tmp_path / "my own.ipynb", OPEN, PERIOD)
    assert tasks.find_task(str(path)).name == str(path)
    monkeypatch.chdir(project)
    assert tasks.find_task("pendulum/1_simulate").name == "pendulum/1_simulate"


def computed(result, folder, monkeypatch):
    """What is kept of a function that returns `result`."""
    monkeypatch.setattr(sweep_cells, "GIVEN", result)
    return tasks.find_task(sweep_cells.given).compute({}, folder)


@pytest.mark.parametrize(
    ("result", "metrics"),
    [
        (2, {"result": 2}),
        (2.5, {"result": 2.5}),
        (float("nan"), {"result": None}),
        ({"a": 1, "b": {"value": 2.0, "error": 0.1, "unit": "s"}}, None),
        ({}, {}),
    ],
)
def test_numbers_and_metrics_are_results(result, metrics, tmp_path, monkeypatch):
    found = computed(result, tmp_path, monkeypatch)
    assert found == {"metrics": result if metrics is None else metrics}


@pytest.mark.parametrize("result", ["text", None, [1.0], {"a": "text"}, {"a": {"x": 1}}])
def test_anything_else_is_no_result(result, tmp_path, monkeypatch):
    wanted = "sweep_cells:given must return a number, a mapping of metrics or an xarray.Dataset"
    with pytest.raises(TaskError, match=wanted):
        computed(result, tmp_path, monkeypatch)
