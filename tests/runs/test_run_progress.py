"""How far a run is and what its workers do, seen from another process."""

from sources import TESTS
import os
import time
from types import SimpleNamespace

import pytest
from small_notebooks import OPEN, write_notebook, write_project

from physics_twins import clusters, runs
from physics_twins.clusters import workers
from physics_twins.data import write_json
from physics_twins.runs import RunError, background, lifecycle, notebooks, progress
from physics_twins.runs.progress import Progress

VALUES = {"length_m": 2.0, "on": "local", "run_dir": ""}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    return tmp_path


def begin(**changes):
    return lifecycle.begin("pendulum/1_simulate", "hash", VALUES | changes)


def finished(duration_s, **changes):
    run = begin(**changes)
    lifecycle.end(run, "complete")
    write_json(run.folder / runs.PROVENANCE, run.provenance | {"duration_s": duration_s})
    return run


def test_progress_is_read_as_it_was_written_and_gone_once_it_is_tidied():
    run, there = begin(), Progress(2, 4, "Swing")
    assert progress.read(run) is None
    progress.write(run, there)
    assert progress.read(run) == there
    progress.tidy(run)
    assert progress.read(run) is None


def test_a_notebook_leaves_its_progress_in_the_runs_folder_while_it_runs():
    seen = []

    def told(line):
        if line.startswith("cell"):
            run = runs.find(notebook="pendulum/1_simulate")[0]
            seen.append(progress.read(run))

    run = notebooks.run("pendulum/1_simulate", progress=told)
    assert [(each.cell, each.n_cells) for each in seen] == [(n, 4) for n in (1, 2, 3, 4)]
    assert not list(run.folder.glob(".*"))


def test_the_expected_time_is_the_median_of_finished_runs_or_what_the_notebook_says():
    said = progress.expected("pendulum/1_simulate", "1.5 min on a laptop")
    assert (said.time_s, said.n_runs) == (90.0, 0)
    for length_m, duration_s in ((1.0, 9.0), (2.0, 10.0), (3.0, 30.0)):
        finished(duration_s, length_m=length_m)
    begin(length_m=4.0)  # one that has not ended counts for nothing
    known = progress.expected("pendulum/1_simulate", "1.5 min on a laptop")
    assert (known.time_s, known.n_runs, known.low_s, known.high_s) == (10.0, 3, 9.0, 30.0)


def test_a_finished_run_is_found_without_beginning_one():
    notebook = notebooks.read("pendulum/1_simulate")
    assert notebooks.find_finished(notebook, {"length_m": 3.0}) is None
    run = lifecycle.begin(notebook.name, notebook.sha256, notebook.check({"length_m": 3.0}))
    assert notebooks.find_finished(notebook, {"length_m": 3.0}) is None
    lifecycle.end(run, "complete")
    assert notebooks.find_finished(notebook, {"length_m": 3.0, "on": "threads"}) == run
    assert notebooks.find_finished(notebook, {"length_m": 3.1}) is None


def test_a_notebook_tells_the_names_in_its_parameters_cell_and_its_time(tmp_path):
    assert notebooks.read("pendulum/1_simulate").in_cell[-3:] == ("length_m", "n_swings", "label")
    assert notebooks.read("pendulum/1_simulate").time == ""
    here = str(TESTS)
    assert notebooks.read(f"{here}/../notebooks/pulsar/4_infer.ipynb").time == "60 s on a laptop"


def test_a_run_inside_another_program_is_not_stopped_from_outside():
    with pytest.raises(RunError, match="with other work: stop it there"):
        progress.stop(begin())
    with pytest.raises(RunError, match="it is complete"):
        progress.stop(finished(1.0, length_m=9.0))


def test_a_run_in_the_background_is_found_and_stopped_by_its_folder_alone(project, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    wait = "import time\ntime.sleep(60)"
    write_notebook(project / "notebooks" / "pendulum" / "3_wait.ipynb", OPEN, wait)
    notebook = notebooks.read("pendulum/3_wait")
    words = background.arguments(notebook, {"length_m": 3.0, "label": "a b", "on": "threads"})
    assert words == ["-p", "length_m=3.0", "-p", "label=a b", "--on", "threads"]
    started = background.BackgroundRun(notebook, words)
    deadline = time.monotonic() + 60
    while not started.run or not progress.read(started.run):
        assert time.monotonic() < deadline, started.last_line
        time.sleep(0.1)
    progress.stop(runs.load(started.run.folder))
    started.wait(20)
    assert started.has_ended
    assert started.run.status == "cancelled"
    assert started.run.parameters["label"] == "a b"


def test_a_run_that_never_began_says_why(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *_paths()]))
    notebook = notebooks.read("pendulum/1_simulate")
    started = background.BackgroundRun(notebook, ["-p", "length_m=-1"])
    started.wait(60)
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


def _paths():
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _view(run, is_reached):
    deadline = time.monotonic() + 15
    while (view := workers.read_workers(run.folder / runs.WORKERS)) is None or not is_reached(view):
        assert time.monotonic() < deadline, view
        time.sleep(0.1)
    return view
