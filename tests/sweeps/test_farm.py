"""Cells on the workers of a client: every one once, whatever becomes of the others."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import dask
import distributed  # noqa: F401 - its settings must be there before one of them is changed
import pytest
import sweep_cells

from physics_twins import clusters
from physics_twins.sweeps import farm as farms
from physics_twins.sweeps import tasks
from physics_twins.sweeps.farm import Farm, FarmError, Records
from physics_twins.sweeps.tasks import find_task


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as shared:
        yield shared


def cells_of(task, points):
    return {f"cell{n:04}": task.check(point) for n, point in enumerate(points)}


def computing(task, cells, folder, client):
    """Compute cells; yield the records that came in each step."""
    with Farm(task, find_task, folder, client) as farm:
        farm.add(cells)
        while farm.is_busy:
            yield farm.step()


def farm(function, points, folder, client):
    """Compute every point; return the records as they were yielded."""
    task = tasks.find_task(function)
    yielded = computing(task, cells_of(task, points), folder, client)
    return [record for found in yielded for record in found]


def left_in(folder):
    return [record for _, record in sorted(Records(folder).by_key.items())]


@pytest.fixture
def sizes(monkeypatch):
    """How many records each batch has left, in order."""
    found, leave = [], farms.leave

    def counting(folder, batch, rows):
        found.append(len(rows))
        leave(folder, batch, rows)

    monkeypatch.setattr(farms, "leave", counting)
    return found


def test_every_cell_is_computed_once_and_told_once(client, tmp_path):
    log = str(tmp_path / "log")
    points = [{"x": x, "log": log, "pause_s": 0.001} for x in range(300)]
    yielded = farm(sweep_cells.logged, points, tmp_path, client)
    assert sorted(record["key"] for record in yielded) == [f"cell{n:04}" for n in range(300)]
    assert [r["result"]["metrics"]["result"] for r in left_in(tmp_path)] == [*range(300)]
    assert Path(log).read_text().count("start") == 300


def test_short_cells_travel_together(client, tmp_path, sizes):
    farm(sweep_cells.square, [{"x": x} for x in range(2000)], tmp_path, client)
    assert sizes[0] == 1
    assert len(sizes) < 60
    assert sum(sizes) == 2000


def test_long_cells_travel_alone(client, tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(farms, "BATCH_S", 0.01)
    log = str(tmp_path / "log")
    points = [{"x": x, "log": log, "pause_s": 0.02} for x in range(12)]
    farm(sweep_cells.logged, points, tmp_path, client)
    assert sizes == [1] * 12


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("error", "ValueError: three is too much: error"),
        ("exit", "SystemExit: 3"),
        ("cancelled", "CancelledError: "),
        ("surrogate", "OSError: no file \\udcff"),
        ("mute", "MuteError: <exception str() failed>"),
    ],
)
def test_a_cell_that_fails_is_kept_with_its_error_and_the_others_complete(how, error, client, tmp_path):
    farm(sweep_cells.awkward, [{"x": x, "how": how} for x in range(40)], tmp_path, client)
    found = left_in(tmp_path)
    assert [record["status"] for record in found].count("complete") == 39
    failed = found[3]
    assert failed["error"] == error
    assert failed["result"] == {}
    assert 'sweep_cells.py", line' in failed["trace"]


@pytest.mark.parametrize("function", [sweep_cells.returns_text, sweep_cells.returns_nothing])
def test_a_result_of_no_known_kind_fails_its_cell(function, client, tmp_path):
    (record,) = farm(function, [{"x": 1.0}], tmp_path, client)
    assert record["status"] == "failed"
    assert "must return a number, a mapping of metrics or an xarray.Dataset" in record["error"]


def test_a_dataset_is_kept_as_a_file_that_the_record_names_by_hash(client, tmp_path):
    (record,) = farm(sweep_cells.swing, [{"length_m": 2.0}], tmp_path, client)
    (path,) = (tmp_path / "cells").iterdir()
    assert record["result"]["file"] == path.name
    assert record["result"]["bytes"] == path.stat().st_size
    assert len(record["result"]["sha256"]) == 64


def test_a_record_tells_when_where_and_how_long(client, tmp_path):
    begun = time.time()
    values = {"x": 1, "log": str(tmp_path / "log"), "pause_s": 0.05}
    (record,) = farm(sweep_cells.logged, [values], tmp_path, client)
    assert begun <= record["started"] <= record["finished"] <= time.time()
    assert 0.05 <= record["seconds"] < 5
    assert record["host"]


def test_a_folder_that_workers_do_not_see_stops_the_farm_and_fails_no_cell(client, tmp_path):
    batch = [("a", {"x": 1.0})]
    with pytest.raises(FarmError, match=r"does not see .*: use a folder that all machines share"):
        farms.compute_batch(
            find_task, "sweep_cells:square", "", "b", batch, str(tmp_path / "elsewhere")
        )


def test_a_worker_with_other_code_stops_the_farm_and_fails_no_cell(client, tmp_path, monkeypatch):
    older = replace(tasks.find_task(sweep_cells.square), sha256="of an older version")
    monkeypatch.setattr(farms, "_known", lambda find, name: older)
    with pytest.raises(FarmError, match="runs other code than was asked for: restart its workers"):
        farm(sweep_cells.square, [{"x": 1.0}, {"x": 2.0}], tmp_path, client)
    assert left_in(tmp_path) == []


def test_a_worker_that_cannot_write_stops_the_farm_with_its_reason(client, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(farms, "leave", full)
    with pytest.raises(
        FarmError, match=r"a worker cannot compute: OSError: .* No space left on device"
    ):
        farm(sweep_cells.square, [{"x": 1.0}], tmp_path, client)


def test_a_module_that_changed_since_it_was_imported_is_refused(client, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "edited_cells.py"
    path.write_text("def f(x: float) -> float:\n    return x\n")
    farm("edited_cells:f", [{"x": 1.0}], tmp_path, client)
    path.write_text("def f(x: float) -> float:\n    return -x\n")
    with pytest.raises(FarmError, match="restart its workers"):
        farm("edited_cells:f", [{"x": 2.0}], tmp_path, client)


def test_leaving_early_cancels_what_has_not_begun(client, tmp_path):
    log = tmp_path / "log"
    task = tasks.find_task(sweep_cells.logged)
    points = [{"x": x, "log": str(log), "pause_s": 0.1} for x in range(100)]
    iteration = computing(task, cells_of(task, points), tmp_path, client)
    while not next(iteration):
        pass
    iteration.close()
    time.sleep(0.6)
    n_begun = log.read_text().count("start")
    time.sleep(0.3)
    assert log.read_text().count("start") == n_begun <= 8


def test_a_cell_that_is_broken_off_with_its_worker_is_computed_again(client, tmp_path, monkeypatch):
    ending = iter([True])
    monkeypatch.setattr(farms, "_is_ending", lambda: next(ending, False))
    points = [{"x": x, "how": "error"} for x in (2, 3)]  # at three it raises
    told = farm(sweep_cells.awkward, points, tmp_path, client)
    assert [record["status"] for record in sorted(told, key=lambda r: r["key"])] == [
        "complete",
        "failed",
    ]
    assert left_in(tmp_path)[1]["attempts"] == 1


def test_a_batch_whose_worker_died_after_leaving_its_records_is_not_computed_again(tmp_path):
    task = tasks.find_task(sweep_cells.logged)
    (tmp_path / "cells").mkdir()
    log = tmp_path / "log"
    cells = cells_of(task, [{"x": x, "log": str(log), "pause_s": 0.0} for x in (1, 2)])
    arguments = (find_task, task.name, task.code, "batch", [*cells.items()], str(tmp_path))
    assert farms.compute_batch(*arguments) == farms.compute_batch(*arguments)
    assert log.read_text().count("start") == 2


def test_a_cell_that_an_earlier_drivers_worker_completes_is_not_sent_out_again(client, tmp_path):
    log = tmp_path / "log"
    task = tasks.find_task(sweep_cells.logged)
    cells = cells_of(task, [{"x": x, "log": str(log), "pause_s": 0.1} for x in range(12)])
    iteration = computing(task, cells, tmp_path, client)
    next(iteration)
    late = farms._record("cell0011", "complete", 1.0, 0.1, result={"metrics": {"result": 11}})
    farms.leave(tmp_path, "late", [late])
    told = [record["key"] for found in iteration for record in found]
    assert told.count("cell0011") == 1
    assert "start 11\n" not in log.read_text()
    assert len(left_in(tmp_path)) == 12


def test_a_cell_that_waits_at_a_worker_is_not_begun_when_its_record_came(client, tmp_path):
    log, block = tmp_path / "log", tmp_path / "block"
    block.touch()
    task = tasks.find_task(sweep_cells.logged)
    shared = {"log": str(log), "pause_s": 0.0, "block": str(block)}
    cells = cells_of(task, [{"x": x, **shared} for x in (4, 5, 6, 7)])
    iteration = computing(task, cells, tmp_path, client)
    assert next(iteration) == []  # 4 and 5 are blocked, 6 and 7 wait
    late = farms._record("cell0003", "complete", 1.0, 0.1, result={"metrics": {"result": 7}})
    farms.leave(tmp_path, "late", [late])
    told = next(iteration)
    block.unlink()
    told += [record for found in iteration for record in found]
    assert sorted(record["key"] for record in told) == [*cells]
    assert "start 6\n" in log.read_text()
    assert "start 7\n" not in log.read_text()


def test_a_cancelled_batch_is_sent_out_again(client, tmp_path):
    log, block = tmp_path / "log", tmp_path / "block"
    block.touch()
    task = tasks.find_task(sweep_cells.logged)
    shared = {"log": str(log), "pause_s": 0.0, "block": str(block)}
    cells = cells_of(task, [{"x": x, **shared} for x in (4, 5, 6, 7)])
    iteration = computing(task, cells, tmp_path, client)
    assert next(iteration) == []
    client.cancel([*iteration.gi_frame.f_locals["farm"]._out])
    block.unlink()
    told = [record["key"] for found in iteration for record in found]
    assert sorted(told) == [*cells]


@pytest.mark.slow
def test_a_cell_that_kills_its_worker_fails_and_those_that_waited_beside_it_complete(tmp_path):
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        clusters.connect("local", jobs=1) as client,
    ):
        farm(sweep_cells.awkward, [{"x": x, "how": "kill"} for x in range(12)], tmp_path, client)
    found = left_in(tmp_path)
    assert [r["key"] for r in found if r["status"] == "failed"] == ["cell0003"]
    assert len(found) == 12
    assert "several workers died" in found[3]["error"]


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_farm_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("physics_twins.clusters.client.CONNECT_TIMEOUT_S", 2.0)
    code = (
        "import time\nfrom physics_twins import clusters\n"
        "if __name__ == '__main__':\n"
        "    client = clusters.connect('local', jobs=1)\n"
        "    print(client.cluster.scheduler_address, flush=True)\n    time.sleep(60)\n"
    )
    places = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ | places
    )
    assert owner.stdout is not None
    with owner.stdout, clusters.connect(owner.stdout.readline().strip()) as client:
        task = tasks.find_task(sweep_cells.logged)
        points = [{"x": x, "log": str(tmp_path / "log"), "pause_s": 0.2} for x in range(50)]
        iteration = computing(task, cells_of(task, points), tmp_path, client)
        while not next(iteration):
            pass
        owner.kill()
        owner.wait()
        begun = time.monotonic()
        with pytest.raises(FarmError, match="the Dask scheduler is gone"):
            list(iteration)
        assert time.monotonic() - begun < 60
    assert len(left_in(tmp_path)) >= 1
