"""How far a run is and what its workers do, seen from another process."""

from sources import TESTS
import os
import time
from types import SimpleNamespace

import pytest
from small_notebooks import OPEN, write_notebook, write_project

from physics_twins import clusters, runs
from physics_twins.clusters import workers
from physics_twins.runs import BackgroundRun, folder
from physics_twins.runs.folder import RunError
from physics_twins.data import write_json

VALUES = {"length_m": 2.0, "on": "local", "run_dir": ""}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    return tmp_path


def begin(**changes):
    return folder.begin("pendulum/1_simulate", "hash", VALUES | changes)


def finished(duration_s, **changes):
    run = begin(**changes)
    run.end("complete")
    write_json(run.folder / runs.PROVENANCE, run.provenance | {"duration_s": duration_s})
    return run


def test_a_run_tells_in_its_provenance_which_cell_it_is_in():
    seen = []

    def told(line):
        if line.startswith("cell"):
            run = runs.find(notebook="pendulum/1_simulate")[0]
            seen.append(run.provenance["cell"])

    run = runs.run("pendulum/1_simulate", progress=told)
    assert [cell[:6] for cell in seen] == [f"{n} of 4" for n in (1, 2, 3, 4)]
    assert run.provenance["cell"] is None
    assert not list(run.folder.glob(".*"))


def test_a_finished_run_is_found_without_beginning_one():
    notebook = runs.notebook("pendulum/1_simulate")
    assert notebook.find_finished({"length_m": 3.0}) is None
    run = folder.begin(notebook.name, notebook.sha256, notebook.check({"length_m": 3.0}))
    assert notebook.find_finished({"length_m": 3.0}) is None
    run.end("complete")
    assert notebook.find_finished({"length_m": 3.0, "on": "threads"}) == run
    assert notebook.find_finished({"length_m": 3.1}) is None


def test_a_notebook_tells_the_names_in_its_parameters_cell_and_its_time(tmp_path):
    assert runs.notebook("pendulum/1_simulate").in_cell[-3:] == ("length_m", "n_swings", "label")
    assert runs.notebook("pendulum/1_simulate").time == ""
    here = str(TESTS)
    assert runs.notebook(f"{here}/../notebooks/pulsar/4_infer.ipynb").time == "60 s on a laptop"


def test_a_run_inside_another_program_is_not_stopped_from_outside():
    with pytest.raises(RunError, match="with other work: stop it there"):
        begin().stop()
    with pytest.raises(RunError, match="it is complete"):
        finished(1.0, length_m=9.0).stop()


def test_a_run_in_the_background_is_found_and_stopped_by_its_folder_alone(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    wait = "import time\ntime.sleep(60)"
    write_notebook(project / "notebooks" / "pendulum" / "3_wait.ipynb", OPEN, wait)
    notebook = runs.notebook("pendulum/3_wait")
    values = {"length_m": 3.0, "label": "a b", "on": "threads"}
    assert notebook.words(values) == ["-p", "length_m=3.0", "-p", "label=a b", "--on", "threads"]
    started = BackgroundRun(notebook, values)
    wait_until(lambda: started.run and started.run.provenance.get("cell"))
    runs.resolve(started.run.folder).stop()
    wait_until(lambda: started.has_ended, 20)
    assert started.run.status == "cancelled"
    assert started.run.parameters["label"] == "a b"


def test_a_run_that_never_began_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    notebook = runs.notebook("pendulum/1_simulate")
    started = BackgroundRun(notebook, {"length_m": -1.0})
    wait_until(lambda: started.has_ended)
    assert started.complaint.startswith("length_m = -1.0 m is outside its range")
    assert started.run is None


def test_workers_are_written_into_the_file_that_a_run_names_and_nowhere_else(project, monkeypatch):
    monkeypatch.delenv(workers.WORKERS_FILE, raising=False)
    before = set(project.rglob("*"))
    clusters.connect("threads").close()
    assert set(project.rglob("*")) == before
    monkeypatch.setenv(workers.WORKERS_FILE, "")  # put back afterwards
    run = runs.open_run(begin().folder)
    with clusters.connect("threads") as client:
        view = _view(run, lambda view: bool(view.workers))
        (worker,) = view.workers.values()
        assert worker.memory_bytes > 0
        assert time.time() - worker.seen < 10
        future = client.submit(time.sleep, 2.5)
        busy = _view(run, lambda view: any(each.n_tasks for each in view.workers.values()))
        assert [each.n_tasks for each in busy.workers.values()] == [1]
        future.result()
    assert _view(run, lambda view: view.is_closed).workers == {}


def test_a_worker_that_has_gone_is_remembered(tmp_path):
    facts = {"name": "0", "memory_limit": 0, "last_seen": 1.0, "metrics": {"memory": 5}}
    known = {"tcp://a": facts, "tcp://b": facts | {"name": "1"}}
    client = SimpleNamespace(
        scheduler_info=lambda n_workers: {"workers": known},
        processing=lambda: {"tcp://a": ["x", "y"]},
    )
    keeper = workers.Keeper(client, "local", tmp_path / "view.json")
    keeper.look()
    del known["tcp://a"]
    keeper.look()
    view = workers.read_workers(tmp_path / "view.json")
    assert view is not None
    assert [(each.name, each.n_tasks) for each in view.gone.values()] == [("0", 2)]
    assert list(view.workers) == ["tcp://b"]


def wait_until(is_true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.1)


def _paths():
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _view(run, is_reached):
    deadline = time.monotonic() + 15
    while (view := run.workers) is None or not is_reached(view):
        assert time.monotonic() < deadline, view
        time.sleep(0.1)
    return view
