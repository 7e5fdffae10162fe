"""The run panel without a browser: what a hand does is done by setting values and calling methods."""

import dataclasses
import os
import re
import time

import pytest
from small_notebooks import OPEN, write_notebook, write_project
from sources import TESTS

from physics_twins import clusters, runs
from physics_twins.data import write_json
from physics_twins.parameters import ParameterError
from physics_twins.runs import folder
from physics_twins.runs.folder import WORKERS, begin
from twin_panels import run_views
from twin_panels.batch import twins
from twin_panels.run_panel import FrontDoor, RunPanel, UnknownNotebook
from twin_panels.run_views import Expected

NAME = "pendulum/1_simulate"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp("clone"))
    wait = "import time\ntime.sleep(60)"
    write_notebook(folder / "notebooks" / "pendulum" / "3_wait.ipynb", OPEN, wait)
    return folder


@pytest.fixture(autouse=True)
def inside(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(TESTS), *path])))


@pytest.fixture
def nothing_starts(monkeypatch):
    monkeypatch.setattr(
        "twin_panels.run_process.RunProcess", lambda *_, **__: pytest.fail("a process started")
    )


def begun(**values):
    """A run that this process, as another panel would, has begun."""
    notebook = runs.notebook(NAME)
    return begin(notebook, notebook.check(values))


def finished(**values):
    run = begun(**values)
    run.record({"period_s": {"value": 2.8, "error": 0.01, "unit": "s"}})
    run.end("complete")
    return run


def ready(name=NAME, **values):
    panel = RunPanel(name, values)
    panel.wait()
    return panel


def wait_until(is_true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


def test_the_controls_begin_with_the_notebooks_own_values_and_show_its_cell_alone():
    panel = ready()
    defaults = runs.notebook(NAME).defaults
    assert panel.values == {k: v for k, v in defaults.items() if k != "run_dir"}
    fold = panel.controls.widget.children[-1]
    assert fold.titles == ("Pendulum: 2 more",)
    assert fold.children[0].children == ()
    fold.selected_index = 0
    assert len(fold.children[0].children) == 2


def test_a_bad_value_is_refused_as_it_is_typed_with_field_unit_and_range(nothing_starts):
    panel = ready()
    entry = panel.controls["length_m"].entry
    assert entry.continuous_update
    assert not panel._start_button.disabled
    entry.value = -3.0
    assert panel.refusal == (
        "length_m = -3.0 m is outside its range: allowed is 0.01 to 100 m (Length of the string)"
    )
    assert panel.refusal in panel._refused.value
    assert panel._start_button.disabled
    panel.start()
    entry.value = 3.0
    assert (panel.refusal, panel._refused.value) == ("", "")
    assert not panel._start_button.disabled


def test_a_missing_file_and_a_value_in_a_fold_are_refused_too(nothing_starts):
    panel = ready()
    panel.controls["log_path"].value = "nowhere.csv"
    assert panel.refusal == "log_path = 'nowhere.csv': there is no such file"
    panel.start()


def test_values_to_begin_with_are_checked_and_an_unknown_notebook_is_told_in_a_sentence():
    assert ready(length_m=7.0).controls["length_m"].value == 7.0
    with pytest.raises(ParameterError, match="outside its range"):
        RunPanel(NAME, {"length_m": -1})
    with pytest.raises(UnknownNotebook) as caught:
        RunPanel("pendulum/1_simulte")
    assert caught.value._render_traceback_() == [
        "unknown notebook 'pendulum/1_simulte'; did you mean 'pendulum/1_simulate'?"
    ]


def test_the_expected_time_is_the_median_of_finished_runs_or_what_the_notebook_says():
    notebook = dataclasses.replace(runs.notebook(NAME), time="1.5 min on a laptop; 10 s on a GPU")
    assert run_views.expected(notebook) == Expected(90.0)
    assert run_views.expected(runs.notebook(NAME)) == Expected(None)
    for length_m, duration_s in ((1.0, 9.0), (2.0, 10.0), (3.0, 30.0)):
        finished(length_m=length_m).note({"duration_s": duration_s})
    begun(length_m=4.0)  # one that has not ended counts for nothing
    assert run_views.expected(notebook) == Expected(10.0, 3, 9.0, 30.0)


def test_the_estimate_says_from_how_many_runs_it_comes():
    assert "not known yet" in ready()._estimate.value
    for length_m in (3.0, 4.0):
        run = finished(length_m=length_m)
        record = run.provenance | {"duration_s": 10 * length_m}
        write_json(run.folder / folder.PROVENANCE, record)
    assert "about 35 s; the last 2 runs took 30 s to 40 s" in ready()._estimate.value


def test_a_finished_run_of_the_same_values_is_found_at_once_with_its_numbers_and_report():
    run = finished(length_m=4.0)
    run.report.touch()
    panel = ready()
    assert panel.run is None
    panel.controls["length_m"].value = 4.0
    panel.wait()
    assert panel.run == run
    assert "2.800 +- 0.010 s" in panel._results.value
    assert "report.html" in panel._links.children[0].outputs[0]["data"]["text/html"]
    assert panel._start_button.description == "Run again"
    panel.controls["length_m"].value = 5.0
    assert panel.run is None
    assert panel._start_button.description == "Run"


def test_a_run_is_chosen_from_the_list_and_its_values_are_used():
    first, second = finished(length_m=4.0), finished(length_m=5.0)
    panel = ready()
    assert panel._list.options[0][0].endswith("length_m=5.0")
    panel._list.value = first
    assert panel.run == first
    panel.use_values()
    panel.wait()
    assert panel.controls["length_m"].value == 4.0
    assert panel.run == first
    panel._list.value = second
    assert panel.run == second


def test_the_commands_are_those_that_do_the_same_in_a_terminal():
    panel = ready()
    panel.controls["length_m"].value = 3.0
    panel.controls["label"].value = "two words"
    panel.where.value = "threads"
    commands, rest = panel._commands, ("label=two words", "--on", "threads")
    assert commands.run == twins("run", *f"{NAME} -p length_m=3.0 -p".split(), *rest)
    commands.over.value = "length_m"
    assert commands.sweep == twins("sweep", NAME, "-p", *rest, "--grid", "length_m=1.5:6:5")
    panel.controls["length_m"].value = 90.0
    assert "--grid length_m=45:100:5" in commands.sweep


def test_a_batch_systems_script_is_shown_before_anything_can_be_submitted(monkeypatch, nothing_starts):
    monkeypatch.setattr(clusters, "job_script", lambda on: f"#SBATCH -J <{on}>")
    monkeypatch.setattr(clusters, "how_many", lambda on: (1, 3))
    panel = ready()
    panel.where.value = "slurm"
    assert panel._start_button.disabled
    panel.start()
    panel.wait()
    assert panel.where.script == "#SBATCH -J <slurm>"
    assert "1 to 3 jobs of slurm start with this script" in panel.where._shown.value
    assert "#SBATCH -J &lt;slurm&gt;" in panel.where._shown.value
    assert not panel._start_button.disabled


def test_a_cluster_that_is_not_there_is_told_and_disables_run(monkeypatch):
    def missing(on):
        raise clusters.ClusterError(f"{on}: its jobs are not described: set cores")

    monkeypatch.setattr(clusters, "job_script", missing)
    panel = ready()
    panel.where.value = "slurm-gpu"
    panel.wait()
    assert panel.refusal == "slurm-gpu: its jobs are not described: set cores"
    panel.where.value = "tcp:/here"
    assert panel.refusal.startswith("on = 'tcp:/here' is no cluster")
    assert panel._start_button.disabled
    panel.where.value = "local"
    assert not panel._start_button.disabled


def test_a_run_that_another_program_began_is_followed_and_not_stopped():
    run = begun(length_m=6.0)
    panel = RunPanel(NAME)
    wait_until(lambda: "Its kernel starts" in panel.standing)
    run.note({"cell": "2 of 4 (Swing)"})
    begun_s = time.monotonic()
    wait_until(lambda: "1 of 4 cells done · now: Swing" in panel.standing)
    assert time.monotonic() - begun_s < 2
    wait_until(lambda: panel._bar.value == 0.25)
    assert panel._start_button.disabled
    panel.cancel()
    assert "with other work: stop it there" in panel.message
    run.end("failed", error="ValueError: too long")
    panel.wait()
    assert "Failed in cell 2 of 4 (Swing): ValueError: too long." in panel.standing
    assert not panel._resume_button.disabled


def test_a_run_goes_to_its_end_and_is_then_found_by_a_new_panel():
    panel = ready(length_m=9.81)
    panel.start()
    assert panel.is_going
    assert not panel._cancel_button.disabled
    panel.wait(120)
    assert panel.standing.count("Complete in")
    assert "6.283 +- 0.010 s" in panel._results.value
    assert "as the one finished run took" in run_views.estimate(panel._expected, "")
    again = ready(length_m=9.81)
    assert again.run == panel.run


def test_a_run_is_cancelled_and_resumed_with_its_own_values(monkeypatch):
    panel = ready("pendulum/3_wait", length_m=3.0)
    panel.start()
    wait_until(lambda: "now: Swing" in panel.standing)
    panel.cancel()
    assert "It stops" in panel.standing or not panel.is_going
    panel.wait(30)
    assert "Cancelled in cell" in panel.standing
    assert panel._cancel_button.disabled
    started = []
    monkeypatch.setattr(RunPanel, "start", lambda self: started.append(self.values))
    panel._list.value = panel._listed[0]
    panel.resume()
    assert started[0]["length_m"] == 3.0


def test_workers_are_told_in_words_where_there_are_none(tmp_path):
    run = begun()

    def told(**facts):
        view = {"on": "slurm", "time": time.time(), "workers": {}, "gone": {}, "jobs": []}
        view |= {"is_closed": False} | facts
        write_json(run.folder / WORKERS, view)
        return run_views.workers(run)

    worker = {"name": "slurm-1", "n_tasks": 3, "seen": time.time() - 1}
    worker |= {"memory_bytes": 210_000_000, "limit_bytes": 1_500_000_000}
    assert run_views.workers(run).startswith("No cluster is used here so far")
    assert told(jobs=["job 12: PENDING Resources"]) == (
        "No worker has come yet: job 12: PENDING Resources."
    )
    table = re.sub(r"<[^>]*>", " ", told(workers={"tcp://a": worker}))
    assert "slurm-1 3 0.21 of 1.5 GB 1 s ago" in " ".join(table.split())
    dead = told(gone={"tcp://a": worker})
    assert "Worker slurm-1 has gone, last seen at" in dead
    assert "its tasks (3) wait for a new worker." in dead
    assert "Nothing was heard of the workers for 20 s" in told(
        workers={"tcp://a": worker}, time=time.time() - 20
    )
    assert told(is_closed=True) == "The notebook has closed its cluster (slurm)."


def test_remaining_time_is_told_and_being_late_too():
    run = begun()
    run.note({"cell": "1 of 4 (Swing)"})
    assert "remaining" in run_views.standing(run, Expected(1000.0, 1, 1000.0, 1000.0))
    assert "longer than the 0.0 s expected" in run_views.standing(run, Expected(0.0, 1))


def test_a_process_that_ends_before_its_run_begins_leaves_a_sentence(monkeypatch):
    monkeypatch.setattr("twin_panels.run_process.words", lambda *_: ["--on", "slrum"])
    panel = ready()
    panel.start()
    panel.wait()
    assert panel.message == "on = 'slrum' is no cluster; did you mean 'slurm'?"
    assert not panel._start_button.disabled


@pytest.mark.slow
def test_a_run_on_slurm_shows_its_script_its_workers_and_its_end(slurm, project):
    path = project / "notebooks" / "pendulum" / "4_farm.ipynb"
    farm = (
        "from physics_twins import clusters\nwith clusters.connect(on, jobs=1) as client:\n"
        "    client.submit(pow, 2, 5).result(60)\n    import time\n    time.sleep(1.5)\n"
        "run.record({'power': 32})"
    )
    write_notebook(path, OPEN, farm)
    with slurm.in_this_process():
        panel = ready("pendulum/4_farm")
        panel.where.value = "slurm"
        panel.wait()
        assert panel.where.script == clusters.job_script("slurm")
        assert "#SBATCH -p debug" in panel.where.script
        assert slurm.queue() == []
        panel.start()
        seen = set()
        while panel.is_going:
            seen.add(panel._workers.value)
            time.sleep(0.1)
        panel.wait()
    assert "Complete in" in panel.standing, panel.message
    assert any("<td" in each and "SLURMCluster-0" in each for each in seen), seen
    assert panel.run is not None
    assert panel.run.provenance["on"] == "slurm"
    path.unlink()


def test_the_front_door_shows_the_notebook_that_is_chosen_and_keeps_what_was_typed(nothing_starts):
    door = FrontDoor(NAME)
    assert set(door.choice.options) == set(runs.available())
    door.panel.controls["length_m"].value = 2.5
    door.choice.value = "pendulum/3_wait"
    assert door.panel.notebook.name == "pendulum/3_wait"
    door.choice.value = NAME
    assert door.panel.values["length_m"] == 2.5
    assert door.widget.children[1].children == (door.panel.widget,)


def test_the_front_door_refuses_what_is_no_notebook():
    with pytest.raises(UnknownNotebook, match="pendulum/1_simulate"):
        FrontDoor("pendulum/1_simulte")
