"""The ledger: what workers leave arrives once, and what is complete stays."""

import json
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from physics_twins.sweeps import ledger
from physics_twins.sweeps.ledger import Ledger, LedgerError


def record(key, status="complete", *, finished=1.0, result=None, error=""):
    return {
        "key": key,
        "status": status,
        "result": {"metrics": {"x": 1.5}} if result is None else result,
        "error": error,
        "trace": "",
        "started": finished - 0.5,
        "finished": finished,
        "seconds": 0.5,
        "host": "node",
    }


def failed(key, **others):
    return record(key, "failed", result={}, error="ValueError: x", **others)


@pytest.fixture
def book(tmp_path):
    with Ledger(tmp_path) as opened:
        yield opened


def incoming(folder):
    return sorted(path.name for path in (folder / "incoming").iterdir())


def test_what_was_added_comes_back_unchanged_from_another_process(book, tmp_path):
    added = record("a", result={"metrics": {"x": None, "y": {"value": 1, "error": 0.1, "unit": "µs"}}})
    book.add([added])
    with Ledger(tmp_path) as again:
        assert again.records() == {"a": added | {"attempts": 1}}


def test_a_complete_cell_is_never_changed(book):
    book.add([record("a", finished=1.0)])
    book.add([record("a", finished=2.0, result={"metrics": {}}), failed("a", finished=3.0)])
    assert book.records()["a"] == record("a", finished=1.0) | {"attempts": 1}


def test_a_failed_cell_is_replaced_and_attempts_are_counted(book):
    book.add([failed("a", finished=1.0)])
    book.add([failed("a", finished=2.0)])
    book.add([record("a", finished=3.0)])
    assert book.records()["a"] == record("a", finished=3.0) | {"attempts": 3}


def test_a_complete_record_counts_even_if_its_computers_clock_is_behind(book):
    book.add([failed("a", finished=100.0)])
    book.add([record("a", finished=50.0)])
    assert book.records()["a"]["status"] == "complete"


def test_forgotten_cells_are_gone(book):
    book.add([record("a"), record("b")])
    book.forget(["a", "never there"])
    assert list(book.records()) == ["b"]


def test_what_workers_left_is_taken_in_once(book, tmp_path):
    ledger.leave(tmp_path, [record("a"), failed("b")])
    ledger.leave(tmp_path, [record("c")])
    assert {each["key"] for each in book.take_in()} == {"a", "b", "c"}
    assert incoming(tmp_path) == []
    assert book.take_in() == []
    assert sorted(book.records()) == ["a", "b", "c"]


def test_a_batch_is_left_until_it_is_taken_in(book, tmp_path):
    ledger.leave(tmp_path, [record("a"), record("b")])
    assert ledger.is_left(tmp_path, ["a", "b"])
    assert not ledger.is_left(tmp_path, ["a"])
    book.take_in()
    assert not ledger.is_left(tmp_path, ["a", "b"])


def test_a_crash_before_the_files_are_deleted_counts_nothing_twice(book, tmp_path, monkeypatch):
    ledger.leave(tmp_path, [record("a"), failed("b")])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            book.take_in()
    before = book.records()
    with Ledger(tmp_path) as next_book:
        next_book.take_in()
        assert next_book.records() == before
    assert before["b"]["attempts"] == 1
    assert incoming(tmp_path) == []


def test_a_crash_before_the_transaction_ends_loses_nothing(book, tmp_path, monkeypatch):
    ledger.leave(tmp_path, [record("a")])
    with monkeypatch.context() as patch:
        patch.setattr(book, "add", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            book.take_in()
    assert [each["key"] for each in book.take_in()] == ["a"]


def test_the_file_of_a_cell_that_a_worker_may_begin_stays_until_it_cannot(book, tmp_path):
    ledger.leave(tmp_path, [record("a")])
    assert len(book.take_in(busy={"a"})) == 1
    assert ledger.is_left(tmp_path, ["a"])
    assert book.take_in(busy={"a"}) == []
    assert book.take_in() == []
    assert not ledger.is_left(tmp_path, ["a"])


def test_a_file_that_a_shared_disk_does_not_list_yet_is_taken_in_by_name(book, tmp_path, monkeypatch):
    ledger.leave(tmp_path, [record("a"), record("b")])
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    assert book.take_in() == []
    assert len(book.take_in(ended=[["a", "b"], ["c"]])) == 2
    assert book.take_in(ended=[["a", "b"]]) == []


def damaged_contents():
    whole = {"records": [record("a")]}
    yield from ("", "{", "[]", "null", '{"records": 3}', '{"records": [3]}', "{}", "\x00" * 20)
    yield json.dumps(whole)[:-20]
    yield json.dumps({"records": [record("a", status="done")]})
    yield json.dumps({"records": [record("a") | {"finished": "late"}]})
    yield json.dumps({"records": [{"key": "a"}]})


@pytest.mark.parametrize("content", [*damaged_contents()])
def test_a_damaged_file_is_set_aside_and_hinders_nothing(content, book, tmp_path, caplog):
    ledger.leave(tmp_path, [record("b")])
    (tmp_path / "incoming" / "a.json").write_text(content)
    assert [each["key"] for each in book.take_in()] == ["b"]
    assert incoming(tmp_path) == ["a.damaged"]
    assert not ledger.is_left(tmp_path, ["a"])
    assert "a.json" in caplog.text
    ledger.leave(tmp_path, [record("a")])
    assert [each["key"] for each in book.take_in()] == ["a"]


def test_what_is_none_of_its_files_stays_where_it_is(book, tmp_path):
    ledger.leave(tmp_path, [record("a")])
    for name in (".b.json.1234abcd", "._a.json", ".DS_Store", "notes.txt"):
        (tmp_path / "incoming" / name).write_text("{")
    (tmp_path / "incoming" / "folder.json").mkdir()
    assert len(book.take_in()) == 1
    assert len(incoming(tmp_path)) == 5


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_damaged_database_is_named(content, tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite is damaged"):
        Ledger(tmp_path)


def test_damage_inside_a_database_is_named_when_it_is_met(book, tmp_path):
    book.add([record(f"{n:064}") for n in range(500)])
    with (tmp_path / "ledger.sqlite").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 40_000)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite is damaged"), Ledger(tmp_path) as again:
        again.records()


def test_a_newer_ledger_is_refused(book, tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(LedgerError, match=r"ledger\.sqlite has version 2, this program reads 1"):
        Ledger(tmp_path)


def test_a_foreign_database_is_refused_and_left_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite") as database:
        database.execute("CREATE TABLE thesis (chapter TEXT)")
    database.close()
    with pytest.raises(LedgerError, match="no such table"), Ledger(tmp_path) as book:
        book.add([record("a")])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"none/ledger\.sqlite cannot be used"):
        Ledger(tmp_path / "none")


KEYS = st.sampled_from("abc")


class AnyOrder(RuleBasedStateMachine):
    """Workers leave records, drivers take them in, crash and begin again, in any order."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.clock = 0.0
        self.left: list[dict] = []  # left, and not taken in for sure
        self.complete: dict[str, float] = {}
        self.n_left = dict.fromkeys("abc", 0)

    @rule(keys=st.sets(KEYS, min_size=1), status=st.sampled_from(["complete", "failed"]))
    def a_worker_leaves_a_batch(self, keys, status):
        self.clock += 1
        if ledger.is_left(self.folder, sorted(keys)):
            return
        records = [record(key, status, finished=self.clock) for key in sorted(keys)]
        ledger.leave(self.folder, records)
        self.left += records
        for key in keys:
            self.n_left[key] += 1

    @rule()
    def a_driver_takes_in(self):
        self._take_in()

    @rule()
    def a_driver_crashes_after_the_transaction(self):
        files = {path: path.read_bytes() for path in self.folder.glob("incoming/*")}
        self._take_in()
        for path, content in files.items():
            path.write_bytes(content)

    def _take_in(self):
        with Ledger(self.folder) as book:
            book.take_in()
            found = book.records()
        for each in self.left:
            assert each["key"] in found
        self.left.clear()

    @invariant()
    def what_is_complete_stays(self):
        with Ledger(self.folder) as book:
            found = book.records()
        for key, finished in self.complete.items():
            assert found[key]["finished"] == finished
        for key, each in found.items():
            assert each["attempts"] <= self.n_left[key]
            if each["status"] == "complete":
                self.complete[key] = each["finished"]

    def teardown(self):
        self._folder.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
