"""Records of cells: files that are whole or set aside, of which the right one counts."""

import json

import pytest

from physics_twins.sweeps import farm as records
from physics_twins.sweeps.farm import Records


def record(key="a", status="complete", finished=2.0, **changes):
    facts = {"key": key, "status": status, "result": {"metrics": {"x": 1.0}}, "error": "", "trace": ""}
    times = {"started": 1.0, "finished": finished, "seconds": 1.0}
    return facts | times | {"host": "here"} | changes


def test_what_was_left_comes_back_unchanged_with_the_number_of_attempts(tmp_path):
    records.leave(tmp_path, "first", [record("a"), record("b", result={"metrics": {"é": -0.0}})])
    found = Records(tmp_path).by_key
    assert found["b"] == record("b", result={"metrics": {"é": -0.0}}) | {"attempts": 1}
    assert list(found) == ["a", "b"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_complete_record_counts_even_if_its_computers_clock_is_behind(order, tmp_path):
    content = {"a": record(finished=5.0), "b": record(status="failed", finished=9.0)}
    for name in order:
        records.leave(tmp_path, name, [content[name]])
    assert Records(tmp_path).by_key["a"] == content["a"] | {"attempts": 2}


def test_of_two_failures_the_later_one_counts(tmp_path):
    for name, finished in (("x", 7.0), ("y", 3.0)):
        failed = record(status="failed", finished=finished, error=name)
        records.leave(tmp_path, name, [failed])
    assert Records(tmp_path).by_key["a"]["error"] == "x"


def test_a_batch_counts_once_whether_it_came_back_or_was_found(tmp_path):
    known = Records(tmp_path)
    records.leave(tmp_path, "batch", [record()])
    assert known.take("batch", [record()]) == [record()]
    assert known.refresh() == []
    assert known.take("batch", [record()]) == []
    assert known.by_key["a"]["attempts"] == 1


def test_only_new_files_are_read_again(tmp_path):
    records.leave(tmp_path, "first", [record("a")])
    known = Records(tmp_path)
    records.leave(tmp_path, "second", [record("b")])
    assert [found["key"] for found in known.refresh()] == ["b"]
    assert known.refresh() == []


def test_a_forgotten_cell_is_gone_also_for_the_next_who_looks_and_its_neighbours_stay(tmp_path):
    records.leave(tmp_path, "batch", [record("a"), record("b")])
    known = Records(tmp_path)
    known.forget(["a"])
    assert list(known.by_key) == list(Records(tmp_path).by_key) == ["b"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json.dumps({"records": [{"key": "a"}]}).encode(),
        json.dumps({"records": 3}).encode(),
    ],
)
def test_a_damaged_file_is_set_aside_and_hinders_nothing(content, tmp_path, caplog):
    records.leave(tmp_path, "good", [record("b")])
    (tmp_path / "records" / "bad.json").write_bytes(content)
    assert list(Records(tmp_path).by_key) == ["b"]
    assert "its cells are computed again" in caplog.text
    assert (tmp_path / "records" / "bad.damaged").is_file()
    caplog.clear()
    assert list(Records(tmp_path).by_key) == ["b"]
    assert caplog.text == ""


def test_what_is_none_of_its_files_stays_where_it_is(tmp_path):
    records.leave(tmp_path, "good", [record("b")])
    strange = [tmp_path / "records" / name for name in (".hidden.json.1a2b", "notes.txt")]
    for path in strange:
        path.write_text("x")
    assert list(Records(tmp_path).by_key) == ["b"]
    assert all(path.is_file() for path in strange)


def test_a_folder_without_records_has_none(tmp_path):
    assert Records(tmp_path / "nowhere").by_key == {}
    assert records.left(tmp_path, "batch") == []
