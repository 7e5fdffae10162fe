"""Sweeps: found again, resumed, retried, whatever interrupts them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import sweep_cells
from filelock import FileLock
from small_notebooks import write_project
from sources import TESTS
from units import check_units

from physics_twins import clusters, runs, sweeps
from physics_twins.clusters import ClusterError
from physics_twins.data import content_sha256, open_dataset
from physics_twins.parameters import ParameterError
from physics_twins.sweeps import Sweep, points
from physics_twins.sweeps import sweep as sweep_module
from physics_twins.sweeps.farm import Records
from physics_twins.sweeps.sweep import SweepError

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as shared:
        yield shared


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(folder))
    return folder


@pytest.fixture
def no_cluster(monkeypatch):
    """Make sure that nothing is computed."""
    monkeypatch.setattr(clusters, "connect", lambda *_: pytest.fail("a cluster started"))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.touch()
    return path


def logged(xs, log, client, **options):
    fixed = {"log": str(log), "pause_s": 0.0}
    listed = [{"x": x} for x in xs]
    return sweeps.run(sweep_cells.logged, listed, fixed=fixed, client=client, **QUIET, **options)


def starts(log):
    """How often each cell began."""
    lines = [line.split() for line in Path(log).read_text().splitlines()]
    xs = [int(x) for _, _, what, x in lines if what == "start"]
    return {x: xs.count(x) for x in sorted(set(xs))}


def environment(**others):
    """Let a process find the tests' modules, as pytest does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(TESTS)])} | others


def test_a_sweep_gives_one_dataset_with_the_parameters_as_coordinates(client):
    listed = points.grid({"length_m": [1.0, 4.0], "seed": [1, 2, 3]})
    sweep = sweeps.run(sweep_cells.period, listed, client=client, fixed={"n_swings": 7}, **QUIET)
    assert (sweep.status, sweep.computed) == ("complete", 6)
    stored = open_dataset(sweep.folder / "result.nc")
    assert stored.sizes == {"length_m": 2, "seed": 3}
    assert stored["period_s"].sel(length_m=4.0, seed=2) == pytest.approx(4.0121, abs=1e-3)
    assert stored["length_m"].attrs["units"] == "m"
    assert stored.attrs["n_swings"] == 7
    assert stored.attrs["task"] == "sweep_cells:period"
    assert sweep.sha256 == content_sha256(stored) == content_sha256(sweep.dataset())
    check_units(stored)


def test_the_same_call_finds_its_folder_and_computes_nothing(client, log, no_cluster):
    first = logged([1, 2, 3], log, client)
    again = logged([1, 2, 3], log, None)
    assert (again.folder, again.computed, again.sha256) == (first.folder, 0, first.sha256)
    assert starts(log) == {1: 1, 2: 1, 3: 1}


def test_cells_that_read_what_has_changed_since_are_computed_again(client, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("2")

    def swept():
        listed, fixed = points.grid({"x": [1.0, 2.0]}), {"table": str(table)}
        return sweeps.run(sweep_cells.reading, listed, fixed=fixed, client=client, **QUIET)

    assert swept().computed == 2
    assert swept().computed == 0
    table.write_text("3")
    again = swept()
    assert again.computed == 2
    assert open_dataset(again.folder / "result.nc")["result"].values.tolist() == [3.0, 6.0]


def test_a_finished_sweep_is_not_written_again(client, log, no_cluster):
    folder = logged([1, 2], log, client).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".lock"}
    logged([1, 2], log, None)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_points_have_another_folder_and_the_same_points_in_text_the_same(client):
    folders = [
        sweeps.run(sweep_cells.square, listed, client=client, **QUIET).folder
        for listed in ([{"x": 1.0}], [{"x": "1"}], [{"x": 2.0}])
    ]
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].parent == runs.default_root() / "sweeps"


def test_more_points_in_the_same_folder_compute_only_the_new_ones(client, log, tmp_path):
    out = tmp_path / "mine"
    logged([1, 2], log, client, out=out)
    more = logged([3, 1, 2, 4], log, client, out=out)
    assert (more.computed, more.counts["complete"]) == (2, 4)
    assert starts(log) == {1: 1, 2: 1, 3: 1, 4: 1}
    assert more.dataset()["result"].values.tolist() == [1, 2, 3, 4]


def test_fewer_points_in_the_same_folder_compute_nothing_and_give_fewer(
    client, log, tmp_path, no_cluster
):
    out = tmp_path / "mine"
    logged([1, 2, 3], log, client, out=out)
    fewer = logged([2], log, None, out=out)
    assert fewer.dataset()["x"].values.tolist() == [2]


def test_points_may_come_from_a_table_in_a_file(client, tmp_path):
    (tmp_path / "points.csv").write_text("length_m,n_swings\n1.5,3\n2,5\n")
    listed = pd.read_csv(tmp_path / "points.csv").to_dict("records")
    sweep = sweeps.run(sweep_cells.period, listed, client=client, **QUIET)
    assert sweep.plan["points"] == [{"length_m": 1.5, "n_swings": 3}, {"length_m": 2.0, "n_swings": 5}]


def test_equal_points_are_computed_once(client, log):
    sweep = logged([1, 2, 1, 2.0], log, client)
    assert (sweep.computed, len(sweep.plan["points"])) == (2, 2)


def test_points_that_leave_a_parameter_out_are_recorded_with_its_default(client):
    listed = [{"length_m": 2.0}, {"n_swings": 5}, {"length_m": 1.0, "n_swings": 3}]
    sweep = sweeps.run(sweep_cells.period, listed, client=client, **QUIET)
    assert sweep.plan["points"] == [
        {"length_m": 2.0, "n_swings": 3},
        {"length_m": 1.0, "n_swings": 5},
        {"length_m": 1.0, "n_swings": 3},
    ]


def test_a_failed_cell_is_kept_with_its_error_and_not_tried_again(client, no_cluster):
    listed = [{"x": x} for x in (2, 3, 4)]
    first = sweeps.run(sweep_cells.awkward, listed, client=client, **QUIET)
    again = sweeps.run(sweep_cells.awkward, listed, **QUIET)
    assert (first.status, again.status, again.computed) == ("failed", "failed", 0)
    (failure,) = again.failures
    assert failure["point"] == {"x": 3.0}
    assert failure["error"].startswith("ValueError: three is too much")
    assert "Traceback" in failure["trace"]
    assert again.dataset()["complete"].values.tolist() == [True, False, True]


def test_only_the_failed_cells_are_tried_again_on_request(client):
    listed = [{"x": x} for x in (2, 3, 4)]
    sweeps.run(sweep_cells.awkward, listed, client=client, **QUIET)
    again = sweeps.run(sweep_cells.awkward, listed, client=client, retry_failed=True, **QUIET)
    assert again.computed == 1
    assert again.failures[0]["attempts"] == 2


def test_a_cell_that_works_at_the_second_try_completes_the_sweep(client, tmp_path, monkeypatch):
    listed = [{"x": x, "how": "error"} for x in (2, 3)]
    failed = sweeps.run(sweep_cells.awkward, listed, client=client, **QUIET)
    before = failed.sha256
    monkeypatch.setattr(sweep_cells, "_misbehave", lambda how: None)
    sweep = sweeps.run(sweep_cells.awkward, listed, client=client, retry_failed=True, **QUIET)
    assert (sweep.status, sweep.failures) == ("complete", [])
    assert sweep.sha256 != before


def test_changed_code_computes_everything_again(client, log, monkeypatch):
    first = logged([1, 2], log, client)
    monkeypatch.setattr("physics_twins.runs.provenance.part_sha256s", lambda: {"": "changed"})
    again = logged([1, 2], log, client)
    assert (again.folder, again.computed) == (first.folder, 2)
    assert again.dataset().attrs["source_sha256"] == runs.source_sha256()


def test_a_changed_input_file_computes_its_cells_again(client, tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("1")
    listed = [{"length_m": 1.0, "times_path": str(path)}]
    sweeps.run(sweep_cells.noisy, listed, client=client, **QUIET)
    path.write_text("1, 2")
    assert sweeps.run(sweep_cells.noisy, listed, client=client, **QUIET).computed == 1


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")])
def test_a_cell_file_that_is_gone_or_cut_is_computed_again(damage, client):
    listed = [{"length_m": x} for x in (1.0, 2.0)]
    first = sweeps.run(sweep_cells.swing, listed, client=client, **QUIET)
    damage(next((first.folder / "cells").iterdir()))
    again = sweeps.run(sweep_cells.swing, listed, client=client, **QUIET)
    assert (again.computed, again.status, again.sha256) == (1, "complete", first.sha256)


def test_a_changed_cell_file_is_refused_until_it_is_deleted(client, log):
    listed = [{"length_m": x} for x in (1.0, 2.0)]
    first = sweeps.run(sweep_cells.swing, listed, client=client, **QUIET)
    path = next((first.folder / "cells").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (first.folder / "result.nc").unlink()
    with pytest.raises(ValueError, match=f"{path.name} has changed since it was written: delete it"):
        sweeps.run(sweep_cells.swing, listed, client=client, **QUIET)
    path.unlink()
    again = sweeps.run(sweep_cells.swing, listed, client=client, **QUIET)
    assert again.sha256 == first.sha256


def test_a_deleted_result_is_combined_again_without_computing(client, log, no_cluster):
    sweep = logged([1, 2], log, client)
    (sweep.folder / "result.nc").unlink()
    assert logged([1, 2], log, None).sha256 == sweep.sha256
    assert (sweep.folder / "result.nc").is_file()


def test_the_order_of_points_does_not_change_a_grids_content(client, tmp_path):
    listed = points.grid({"length_m": [1.0, 2.0], "n_times": [4]})
    hashes = {
        sweeps.run(sweep_cells.swing, order, client=client, out=tmp_path / name, **QUIET).sha256
        for name, order in (("a", listed), ("b", listed[::-1]))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("listed", "fixed", "error", "reason"),
    [
        ([], {}, SweepError, "a sweep needs one point or more"),
        ([{"x": 1}], {"x": 2}, SweepError, "x cannot be both fixed and varied"),
        ([{"x": 1}, {"y": 1}], {}, ParameterError, "unknown parameter 'y'"),
        ([{"x": 1}, {"x": "one"}], {}, ParameterError, "x = 'one' is not a number"),
        ([{}], {}, ParameterError, "x is missing"),
    ],
)
def test_a_wrong_point_is_refused_before_anything_is_computed(
    listed, fixed, error, reason, root, no_cluster
):
    with pytest.raises(error, match=reason):
        sweeps.run(sweep_cells.square, listed, fixed=fixed, **QUIET)
    assert not root.exists()


def test_an_unknown_cluster_is_refused_before_anything_is_written(root):
    with pytest.raises(ValueError, match="did you mean 'slurm'"):
        sweeps.run(sweep_cells.square, [{"x": 1}], on="slrum", **QUIET)
    assert not root.exists()


def test_a_cluster_that_cannot_be_used_leaves_a_sweep_that_goes_on_elsewhere(client, log, monkeypatch):
    monkeypatch.setattr("physics_twins.clusters.client.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        logged([1, 2], log, None, on="tcp://127.0.0.1:9")
    (sweep,) = Sweep.find()
    assert (sweep.status, sweep.counts["waiting"]) == ("unfinished", 2)
    assert sweep.resume(client=client, **QUIET).status == "complete"


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(client, tmp_path, no_cluster):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SweepError, match="holds other files: give another folder"):
        sweeps.run(sweep_cells.square, [{"x": 1}], out=tmp_path, **QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_with_a_sweep_of_something_else_is_refused(client, tmp_path, no_cluster):
    out = tmp_path / "mine"
    sweeps.run(sweep_cells.square, [{"x": 1}], client=client, out=out, **QUIET)
    with pytest.raises(SweepError, match="differs in task: give another folder"):
        sweeps.run(sweep_cells.swing, [{"length_m": 1}], out=out, **QUIET)


def test_a_folder_that_another_process_drives_is_refused_and_shown_as_running(client, log, monkeypatch):
    monkeypatch.setattr(sweep_module, "_LOOK_S", 0.05)
    sweep = logged([1], log, client)
    with FileLock(sweep.folder / "driver.lock", thread_local=False):
        second: list[BaseException] = []

        def drive():
            try:
                logged([1], log, client)
            except SweepError as error:
                second.append(error)

        thread = threading.Thread(target=drive)  # a lock counts for each thread by itself
        thread.start()
        thread.join()
        assert "is being computed by another process" in str(second[0])


def test_looking_at_a_sweep_does_not_keep_it_from_starting(client, log):
    sweep = logged([1], log, client)
    done = threading.Event()

    def look():
        while not done.is_set():
            assert sweep.status in ("running", "complete")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(10):
            logged([1], log, None)
    finally:
        done.set()
        thread.join()


def test_a_sweep_runs_on_with_the_points_that_its_folder_names(client, log):
    sweep = logged([1, 2, 3], log, client)
    Records(sweep.folder).forget(sweep.plan["keys"][1:2])
    assert Sweep.load(sweep.folder).status == "unfinished"
    again = sweep.resume(client=client, **QUIET)
    assert (again.computed, again.status, again.sha256) == (1, "complete", sweep.sha256)


def test_sweeps_are_found_oldest_first_and_named_by_the_begin_of_their_folders(client, log):
    made = [logged([x], log, client) for x in (1, 2)]
    assert [sweep.folder for sweep in Sweep.find()] == [sweep.folder for sweep in made]
    name = made[0].folder.name
    assert Sweep.resolve(name[:-2]).folder == made[0].folder
    assert Sweep.resolve(str(made[1].folder)).folder == made[1].folder
    for address, n in (("logged", 2), ("none", 0)):
        with pytest.raises(SweepError, match=f"'{address}' fits {n} sweeps"):
            Sweep.resolve(address)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trials": []}'])
def test_a_damaged_or_other_plan_does_not_hide_the_sweeps(content, client, log, root):
    sweep = logged([1], log, client)
    (root / "sweeps" / "other").mkdir()
    (root / "sweeps" / "other" / "plan.json").write_text(content)
    assert [found.folder for found in Sweep.find()] == [sweep.folder]


def test_a_cell_whose_record_is_damaged_is_computed_again(client, log):
    sweep = logged([1], log, client)
    (path,) = (sweep.folder / "records").iterdir()
    path.write_bytes(b"x" * 5000)
    assert Sweep.load(sweep.folder).status == "unfinished"
    again = logged([1], log, client)
    assert (again.computed, again.status, again.sha256) == (1, "complete", sweep.sha256)


@pytest.mark.parametrize("content", [None, "{}", "{"])
def test_a_folder_without_a_sweep_is_refused_by_name(content, tmp_path):
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(ValueError, match=tmp_path.name):
        Sweep.load(tmp_path)


def test_odd_but_allowed_parameters_survive_the_disk(client, no_cluster):
    fixed = {"label": "", "damped": True}
    listed = [{"length_m": x} for x in (1e-2, 0.1 + 0.2)]
    first = sweeps.run(sweep_cells.period, listed, fixed=fixed, client=client, **QUIET)
    stored = open_dataset(first.folder / "result.nc")
    assert stored.attrs["label"] == ""
    assert stored["length_m"].values[1] == 0.1 + 0.2
    assert content_sha256(stored) == first.sha256


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("clone"))


@pytest.mark.slow
def test_a_notebook_is_swept_by_worker_processes(project, root, monkeypatch):
    monkeypatch.chdir(project)
    listed = points.grid({"length_m": [1.0, 9.81], "n_swings": [2]})
    with clusters.connect("local", jobs=1) as client:
        sweep = sweeps.run("pendulum/1_simulate", listed, client=client, **QUIET)
        broken = sweeps.run("pendulum/2_break", [{"length_m": 1.0}], client=client, **QUIET)
    assert sweep.status == "complete"
    assert sweep.dataset()["period_s"].sel(length_m=9.81).values == pytest.approx(6.2831853)
    assert sweep.dataset()["period_s_error"].values.tolist() == [[0.01], [0.01]]
    assert "n_swings_" in sweep.dataset().coords  # the notebook records a metric of that name
    folders = [path for path in (sweep.folder / "cells").iterdir() if path.is_dir()]
    assert [runs.resolve(folder).status for folder in folders] == ["complete", "complete"]
    assert runs.find(root) == []
    (failure,) = broken.failures
    assert "TaskError: cell 3 of 4 (Divide): ZeroDivisionError: division by zero" in failure["error"]


def drive(out, log, block):
    """Begin a sweep of twelve cells by the command, with two workers of its own."""
    settings = {"log": log, "pause_s": 0.02, "block": block}
    command = [sys.executable, "-m", "physics_twins.cli", "sweep", "sweep_cells:logged"]
    command += ["--grid", "x=0:11:12", "--out", out, "--no-report", "--quiet"]
    command += [part for name, value in settings.items() for part in ("-p", f"{name}={value}")]
    return subprocess.Popen([*map(str, command)], env=environment(), stderr=subprocess.PIPE, text=True)


def wait_until(ready):
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_stopped_sweep_ends_soon_keeps_what_was_complete_and_goes_on(tmp_path, log, client):
    block = tmp_path / "block"
    block.touch()
    going = drive(tmp_path / "mine", log, block)
    wait_until(lambda: "start 4" in log.read_text())
    sweep = Sweep.load(tmp_path / "mine")
    assert sweep.status == "running"
    with pytest.raises(SweepError, match="is being computed by another process"):
        sweep.resume(client=client, **QUIET)
    going.send_signal(signal.SIGINT)
    begun = time.monotonic()
    messages = going.communicate(timeout=60)[1]
    assert time.monotonic() - begun < 10
    assert going.returncode == 130
    *others, last = messages.splitlines()
    assert last == "twins: stopped; what is complete is kept, the same command goes on"
    assert others == []
    assert sweep.status == "unfinished"
    n_before = sweep.counts["complete"]
    assert n_before >= 1  # of the batches that were computed whole
    block.unlink()
    again = sweep.resume(client=client, **QUIET)
    assert (again.status, again.computed) == ("complete", 12 - n_before)


@pytest.mark.slow
def test_what_was_complete_when_its_driver_was_killed_is_never_begun_again(tmp_path, log, client):
    block, out = tmp_path / "block", tmp_path / "mine"
    block.touch()
    going = drive(out, log, block)
    wait_until(lambda: "start 4" in log.read_text())
    going.kill()
    going.communicate()
    block.unlink()  # its workers go on for a moment, with nobody to tell
    sweep = Sweep.load(out).resume(client=client, **QUIET)
    assert sweep.status == "complete"
    finished = {
        point["x"]: record["finished"]
        for point, record in zip(sweep.plan["points"], sweep.records, strict=True)
        if record
    }
    begun = [line.split() for line in log.read_text().splitlines() if " start " in line]
    assert [each for each in begun if float(each[0]) > finished[float(each[3])]] == []
    fixed = {"log": str(log), "pause_s": 0.02, "block": str(block)}
    listed = [{"x": x} for x in range(12)]
    calm = sweeps.run(
        sweep_cells.logged, listed, fixed=fixed, client=client, out=tmp_path / "calm", **QUIET
    )
    assert sweep.sha256 == calm.sha256


def test_the_summary_is_plain_json(client, log):
    sweep = logged([1], log, client)
    summary = json.loads((sweep.folder / "summary.json").read_text())
    assert (summary["complete"], summary["failed"], summary["waiting"]) == (1, 0, 0)
