import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from physics_twins import runs
from physics_twins.data import file_sha256, read_json, replacing, write_json
from physics_twins.runs import folder, provenance
from physics_twins.runs.folder import RunError

VALUES = {"length_m": 2.0, "seed": 5, "log_path": "", "on": "local", "run_dir": ""}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


LOG = SimpleNamespace(input_file=True)
PENDULUM: Any = SimpleNamespace(
    name="pendulum/1_simulate", sha256="hash of the source", twins=None, fields={"log_path": LOG}
)


def begin(**changes):
    options = {key: changes.pop(key) for key in ("out", "force") if key in changes}
    return folder.begin(PENDULUM, VALUES | changes, **options)


def finished(**changes):
    run = begin(**changes)
    run.end("complete")
    return run


def test_a_run_is_named_after_its_notebook_and_identity(root):
    run = begin()
    assert run.folder.parent == (root / "pendulum" / "1_simulate").resolve()
    assert run.folder.name == run.provenance["identity"][:12] + "-1"


def test_a_finished_run_is_found_and_not_begun_again():
    first = finished()
    second = begin()
    assert (second.folder, second.reused) == (first.folder, True)


@pytest.mark.parametrize("how", [{"on": "slurm"}, {"run_dir": "elsewhere"}])
def test_where_and_how_a_notebook_runs_does_not_make_another_run(how):
    finished()
    assert begin(**how).reused


@pytest.mark.parametrize("what", [{"length_m": 3.0}, {"seed": 6}])
def test_another_parameter_makes_another_run(what):
    finished()
    assert not begin(**what).reused


def test_force_begins_again_beside_the_old_run():
    first = finished()
    second = begin(force=True)
    assert second.folder.name.endswith("-2")
    assert first.status == "complete"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_that_did_not_finish_stays_and_the_next_try_is_a_new_folder(status):
    first = begin()
    first.end(status, error="ZeroDivisionError: division by zero")
    second = begin()
    assert second.folder.name.endswith("-2")
    assert first.status == status
    assert first.provenance["error"] == "ZeroDivisionError: division by zero"


def test_an_input_file_counts_by_content_and_not_by_place(tmp_path):
    for name, content in [("a", b"1"), ("b", b"1"), ("c", b"2")]:
        (tmp_path / name).write_bytes(content)
    finished(log_path="a")
    assert begin(log_path="b").reused
    assert not begin(log_path="c").reused


def test_a_change_in_one_twin_leaves_the_runs_of_the_other_valid(monkeypatch):
    parts = dict(provenance.part_sha256s())
    assert parts.keys() >= {"", "pulsar", "calorimeter"}
    assert "cli" not in parts
    before = {twins: provenance.source_sha256(twins) for twins in (("pulsar",), ("calorimeter",), None)}
    parts["calorimeter"] = "changed"
    monkeypatch.setattr(provenance, "part_sha256s", lambda: parts)
    changed = [twins for twins, known in before.items() if provenance.source_sha256(twins) != known]
    assert changed == [("calorimeter",), None]
    parts[""] = "changed"
    assert provenance.source_sha256(["pulsar"]) != before["pulsar",]


def test_what_a_notebook_names_is_what_its_run_depends_on():
    known = {name: runs.notebook(name).twins for name in ("pulsar/4_infer", "calorimeter/5_twin")}
    assert known == {"pulsar/4_infer": ("pulsar",), "calorimeter/5_twin": ("calorimeter",)}
    assert provenance.named_twins("import numpy as np") is None
    assert provenance.named_twins("from physics_twins import calorimeter, pulsar") == (
        "calorimeter",
        "pulsar",
    )


def test_another_source_of_the_library_makes_another_run(monkeypatch):
    finished()
    monkeypatch.setattr(provenance, "source_sha256", lambda *_: "other")
    assert not begin().reused


def test_runs_that_begin_at_once_never_share_a_folder():
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: begin().folder, range(24)))
    assert len(set(folders)) == 24


def test_processes_that_claim_one_folder_at_once_leave_one_winner(tmp_path):
    code = "import sys; from physics_twins.runs import folder; from pathlib import Path;"
    code += "sys.stdin.read(1);"
    code += f"print(folder._claim(Path({str(tmp_path / 'one')!r})))"
    pipe = subprocess.PIPE
    rivals = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
        for _ in range(3)
    ]
    answers = [rival.communicate("x")[0].strip() for rival in rivals]
    assert sorted(answers) == ["False", "False", "True"]


def test_a_run_whose_process_is_gone_shows_as_interrupted():
    run = begin()
    assert run.status == "running"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    record = run.provenance
    record["machine"]["pid"] = ended.pid
    write_json(run.folder / "provenance.json", record)
    assert run.status == "interrupted"
    assert not begin().reused


def test_a_process_number_that_is_used_again_does_not_revive_a_run():
    run = begin()
    record = run.provenance
    record["machine"]["process_started"] -= 100
    write_json(run.folder / "provenance.json", record)
    assert run.status == "interrupted"


def test_a_run_of_another_machine_is_believed():
    run = begin()
    record = run.provenance
    record["machine"] |= {"host": "elsewhere", "pid": 2**22 + 1}
    write_json(run.folder / "provenance.json", record)
    assert run.status == "running"


def test_provenance_names_code_interpreter_and_process():
    record = begin().provenance
    assert len(record["code"]["source_sha256"]) == 64
    assert record["interpreter"]["packages"]["numpy"] == np.__version__
    assert record["interpreter"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["machine"]["pid"] == os.getpid()


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, example B.1
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == published


def test_a_named_folder_is_the_run_and_is_found_again(tmp_path):
    first = finished(out=tmp_path / "mine")
    assert first.folder == (tmp_path / "mine").resolve()
    assert begin(out=tmp_path / "mine").reused


def test_an_empty_named_folder_is_taken(tmp_path):
    (tmp_path / "mine").mkdir()
    assert begin(out=tmp_path / "mine").status == "running"


def test_a_named_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match="holds other files"):
        begin(out=tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_force_moves_what_a_named_folder_holds_aside(tmp_path):
    finished(out=tmp_path / "mine")
    with pytest.raises(RunError, match="another run"):
        begin(out=tmp_path / "mine", length_m=3.0)
    begin(out=tmp_path / "mine", length_m=3.0, force=True)
    assert runs.resolve(tmp_path / "mine~1").parameters["length_m"] == 2.0
    assert runs.resolve(tmp_path / "mine").parameters["length_m"] == 3.0


def test_a_named_folder_that_is_written_to_is_refused_even_with_force(tmp_path):
    begin(out=tmp_path / "mine")
    with pytest.raises(RunError, match="not ended"):
        begin(out=tmp_path / "mine", force=True)


def test_a_failed_run_in_a_named_folder_gives_way_to_the_next_try(tmp_path):
    begin(out=tmp_path / "mine").end("failed")
    assert begin(out=tmp_path / "mine").status == "running"
    assert runs.resolve(tmp_path / "mine~1").status == "failed"


def test_a_notebook_opened_by_hand_gets_new_folders_of_its_own(root):
    first, second = runs.open_run(), runs.open_run("")
    assert first.folder != second.folder
    assert first.folder.parent == (root / "interactive").resolve()
    assert first.status == "interactive"


def test_opening_a_begun_run_leaves_its_provenance_alone():
    run = begin()
    assert runs.open_run(str(run.folder)).provenance == run.provenance


def test_runs_lie_in_the_project_that_the_current_folder_belongs_to(tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS")
    inside = tmp_path / "clone" / "notebooks" / "pulsar"
    inside.mkdir(parents=True)
    assert runs.default_root() == tmp_path / "runs"
    (inside / "1_simulate.ipynb").touch()
    monkeypatch.chdir(inside)
    assert runs.default_root() == (tmp_path / "clone" / "runs").resolve()


def test_datasets_and_tables_are_saved_under_their_names():
    run = begin()
    dataset = xr.Dataset({"x": ("t", [1.0, 2.0], {"units": "m"})})
    assert run.save("swings", dataset).name == "swings.nc"
    table = pd.DataFrame({"time_s": [0.5], "snr": [9.0]})
    assert run.save_table("candidates.csv", table).read_text() == "time_s,snr\n0.5,9.0\n"


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "x\ny"])
def test_nothing_is_saved_outside_the_run(name):
    with pytest.raises(ValueError, match="no file name"):
        begin().save_table(name, pd.DataFrame())


def test_metrics_are_merged_and_are_plain_json():
    run = begin()
    run.record({"n": np.int64(3), "snr": {"value": np.float32(16.5), "error": 0.5, "unit": ""}})
    run.record({"n": 4, "rate": math.nan})
    expected = {"n": 4, "snr": {"value": 16.5, "unit": "", "error": 0.5}, "rate": None}
    assert json.loads((run.folder / "metrics.json").read_text()) == expected
    assert run.summary()["metrics"] == expected  # what is not finite damages no run


@pytest.mark.parametrize(
    "metric", ["many", [1, 2], {"error": 1}, {"value": 1, "sigma": 2}, {"value": "x"}]
)
def test_a_metric_that_is_no_number_is_refused_by_name(metric):
    with pytest.raises(ValueError, match="metric snr"):
        begin().record({"snr": metric})


def test_runs_are_found_oldest_first_and_by_notebook_and_status():
    first, second = finished(), begin(seed=6)
    by_hand = runs.open_run()
    assert [run.folder for run in runs.find()] == [first.folder, second.folder, by_hand.folder]
    assert [run.folder for run in runs.find(notebook="pendulum/1_simulate", status="running")] == [
        second.folder
    ]


def test_one_damaged_run_does_not_hide_the_others():
    first, second = finished(), begin(seed=6)
    (second.folder / "provenance.json").write_text('{"status": "compl')
    assert {run.folder: run.status for run in runs.find()} == {
        first.folder: "complete",
        second.folder: "damaged",
    }


def test_a_run_is_resolved_by_folder_by_name_and_by_how_its_name_begins():
    run = finished()
    finished(seed=6)
    for address in (str(run.folder), run.folder.name, run.folder.name[:6]):
        assert runs.resolve(address).folder == run.folder
    with pytest.raises(RunError, match="no run 'zzz'"):
        runs.resolve("zzz")
    with pytest.raises(RunError, match="fits 2 runs"):
        runs.resolve("")


def test_a_folder_without_provenance_is_no_run(tmp_path):
    with pytest.raises(RunError, match="no run"):
        runs.resolve(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no run"):
        runs.resolve(tmp_path)


def test_a_comparison_shows_what_differs_and_by_how_many_standard_errors():
    first, second = finished(), finished(length_m=3.0)
    first.record({"period_s": {"value": 10.0, "error": 3.0, "unit": "s"}, "n": 3})
    second.record({"period_s": {"value": 20.0, "error": 4.0, "unit": "s"}})
    compared = runs.compare(first, second)
    parameter, period, number = compared
    assert parameter == ("parameter", "length_m", 2.0, 3.0)
    assert parameter.words == ("parameter", "length_m", "2.0", "3.0", "")
    assert period.words[-1] == "+10 (+2.0 sigma)"
    assert number == ("metric", "n", 3, None)
    assert number.words == ("metric", "n", "3", "-", "")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.json"]


def test_a_number_that_json_lacks_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": math.nan})
