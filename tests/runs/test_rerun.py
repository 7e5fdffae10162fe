"""A run can be done again by its name, an interactive one too, and is compared to the last digit."""

import pytest
from small_notebooks import write_project

from physics_twins import runs
from physics_twins.data import write_json
from physics_twins.parameters import ParameterError
from physics_twins.runs import compare, folder, remember, rerun
from physics_twins.runs.folder import RunError

NAME = "pendulum/1_simulate"


@pytest.fixture
def interactive(tmp_path, monkeypatch):
    """A run as a notebook in JupyterLab leaves it, with the period of a pendulum of 3 m."""
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    run = runs.open_run()
    period = {"value": 2 * 3.141592653589793 * (3.0 / 9.81) ** 0.5, "error": 0.01, "unit": "s"}
    run.record({"period_s": period, "n_swings": 3})
    return run


def differing(first, second):
    metrics = [each for each in compare(first, second) if each.kind == "metric"]
    assert metrics
    return [each for each in metrics if each.first != each.second]


def test_a_run_remembers_its_notebook_and_only_its_parameters(interactive):
    remember(interactive, NAME, {"length_m": 3.0, "seed": 7, "on": "threads", "other": object()})
    assert interactive.provenance["notebook"] == NAME
    assert interactive.status == "interactive"
    assert interactive.parameters.items() >= {"length_m": 3.0, "seed": 7, "n_swings": 3}.items()
    assert not {"on", "run_dir", "other"} & set(interactive.parameters)


def test_what_the_notebook_would_refuse_is_refused(interactive):
    with pytest.raises(ParameterError, match="length_m"):
        remember(interactive, NAME, {"length_m": -3.0})


def test_a_run_by_the_command_is_left_as_it_is(interactive):
    record = interactive.provenance | {"status": "running"}
    write_json(interactive.folder / folder.PROVENANCE, record)
    remember(interactive, NAME, {"length_m": 3.0})
    assert interactive.provenance == record


def test_a_run_that_does_not_know_its_notebook_says_so(interactive):
    with pytest.raises(RunError, match="does not say which notebook"):
        rerun(interactive.folder.name)


@pytest.mark.slow
def test_an_interactive_run_is_done_again_with_the_same_numbers(interactive):
    remember(interactive, NAME, {"length_m": 3.0})
    first, second = rerun(interactive.folder.name)
    assert (second.status, second.reused) == ("complete", False)
    assert second.parameters["length_m"] == 3.0
    assert differing(first, second) == []


@pytest.mark.slow
def test_a_number_that_has_changed_is_told(interactive):
    remember(interactive, NAME, {"length_m": 3.0})
    interactive.record({"n_swings": 4})
    assert differing(*rerun(interactive.folder.name)) == [("metric", "n_swings", 4, 3)]
