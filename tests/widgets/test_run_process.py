"""A run in a process of its own: found and stopped by its folder alone."""

import os
import time

import pytest
from small_notebooks import OPEN, write_notebook, write_project
from sources import TESTS

from physics_twins import runs
from physics_twins.runs import folder
from twin_panels.run_process import RunProcess, stop, words


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    return tmp_path


def begin(**values):
    notebook = runs.notebook("pendulum/1_simulate")
    return folder.begin(notebook, notebook.check(values))


def test_a_run_inside_another_program_is_not_stopped_from_outside():
    with pytest.raises(ValueError, match="with other work: stop it there"):
        stop(begin())
    done = begin(length_m=9.0)
    done.end("complete")
    with pytest.raises(ValueError, match="it is complete"):
        stop(done)


def test_a_run_in_the_background_is_found_and_stopped_by_its_folder_alone(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    wait = "import time\ntime.sleep(60)"
    write_notebook(project / "notebooks" / "pendulum" / "3_wait.ipynb", OPEN, wait)
    notebook = runs.notebook("pendulum/3_wait")
    values = {"length_m": 3.0, "label": "a b", "on": "threads"}
    assert words(notebook, values) == ["-p", "length_m=3.0", "-p", "label=a b", "--on", "threads"]
    started = RunProcess(notebook, values)
    wait_until(lambda: started.run and started.run.provenance.get("cell"))
    stop(runs.resolve(started.run.folder))
    wait_until(lambda: started.has_ended, 20)
    assert started.run.status == "cancelled"
    assert started.run.parameters["label"] == "a b"


def test_a_run_that_never_began_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    notebook = runs.notebook("pendulum/1_simulate")
    started = RunProcess(notebook, {"length_m": -1.0})
    wait_until(lambda: started.has_ended)
    assert started.complaint.startswith("length_m = -1.0 m is outside its range")
    assert started.run is None


def wait_until(is_true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.1)


def _paths():
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
