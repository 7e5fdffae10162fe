"""How far a run is and what its workers do, seen from another process."""

import io
import time
from types import SimpleNamespace

import pytest
from small_notebooks import write_project
from sources import TESTS

from physics_twins import clusters, runs
from physics_twins.clusters import workers
from physics_twins.runs import folder

VALUES = {"length_m": 2.0}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    return tmp_path


def begin(**changes):
    notebook = runs.notebook("pendulum/1_simulate")
    return folder.begin(notebook, notebook.check(VALUES | changes))


def test_a_run_tells_in_its_provenance_which_cell_it_is_in():
    seen = []

    class Told(io.StringIO):
        def write(self, text):
            if text.startswith("cell"):
                run = runs.find(notebook="pendulum/1_simulate")[0]
                seen.append(run.provenance["cell"])
            return super().write(text)

    run = runs.run("pendulum/1_simulate", progress=Told())
    assert [cell[:6] for cell in seen] == [f"{n} of 4" for n in (1, 2, 3, 4)]
    assert run.provenance["cell"] is None
    assert not list(run.folder.glob(".*"))


def test_a_finished_run_is_found_without_beginning_one():
    notebook = runs.notebook("pendulum/1_simulate")
    assert notebook.find_finished({"length_m": 3.0}) is None
    run = begin(length_m=3.0)
    assert notebook.find_finished({"length_m": 3.0}) is None
    run.end("complete")
    assert notebook.find_finished({"length_m": 3.0, "on": "threads"}) == run
    assert notebook.find_finished({"length_m": 3.1}) is None


def test_a_notebook_tells_the_names_in_its_parameters_cell_and_its_time(tmp_path):
    assert runs.notebook("pendulum/1_simulate").in_cell[-3:] == ("length_m", "n_swings", "label")
    assert runs.notebook("pendulum/1_simulate").time == ""
    here = str(TESTS)
    assert runs.notebook(f"{here}/../notebooks/pulsar/4_infer.ipynb").time == "60 s on a laptop"


def test_workers_are_written_into_the_file_that_a_run_names_and_nowhere_else(project, monkeypatch):
    monkeypatch.delenv(workers.WORKERS_FILE, raising=False)
    before = set(project.rglob("*"))
    clusters.connect("threads").close()
    assert set(project.rglob("*")) == before
    monkeypatch.setenv(workers.WORKERS_FILE, "")  # put back afterwards
    run = runs.open_run(begin().folder)
    with clusters.connect("threads") as client:
        view = _view(run, lambda view: bool(view["workers"]))
        (worker,) = view["workers"].values()
        assert worker["memory_bytes"] > 0
        assert time.time() - worker["seen"] < 10
        future = client.submit(time.sleep, 2.5)
        _view(run, lambda view: [each["n_tasks"] for each in view["workers"].values()] == [1])
        future.result()
    assert _view(run, lambda view: view["is_closed"])["workers"] == {}


def test_a_worker_that_has_gone_is_remembered():
    facts = {"name": "0", "memory_limit": 0, "last_seen": 1.0, "metrics": {"memory": 5}}
    known = {"tcp://a": facts, "tcp://b": facts | {"name": "1"}}
    client = SimpleNamespace(
        cluster=None,
        scheduler_info=lambda n_workers: {"workers": known},
        processing=lambda: {"tcp://a": ["x", "y"]},
    )
    first = workers.look(client, {"workers": {}, "gone": {}})
    del known["tcp://a"]
    view = workers.look(client, first)
    assert [(each["name"], each["n_tasks"]) for each in view["gone"].values()] == [("0", 2)]
    assert list(view["workers"]) == ["tcp://b"]


def _view(run, is_reached):
    deadline = time.monotonic() + 15
    while (view := run.workers) is None or not is_reached(view):
        assert time.monotonic() < deadline, view
        time.sleep(0.1)
    return view
