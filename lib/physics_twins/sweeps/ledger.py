"""The ledger of a sweep: one row for each cell that was computed, in one SQLite file.

Only the process that drives the sweep writes it. Workers leave their records as files, each written
in one step, and such a file is deleted only after the ledger holds its records: whoever dies, nothing
is lost and nothing doubled.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from physics_twins.data import atomic

COMPLETE, FAILED = "complete", "failed"
_FILE = "ledger.sqlite"
_INCOMING = "incoming"
_VERSION = 1
_COLUMNS = ("key", "status", "result", "error", "trace", "started", "finished", "seconds", "host")
_SCHEMA = """
CREATE TABLE cell (
    key TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('complete', 'failed')),
    result TEXT NOT NULL,
    error TEXT NOT NULL,
    trace TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL NOT NULL,
    seconds REAL NOT NULL,
    host TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID
"""
# A complete cell stays as it is; a failed one is replaced by a later attempt, known by when it ended.
_INSERT = f"""
INSERT INTO cell ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
ON CONFLICT (key) DO UPDATE SET
    ({", ".join(_COLUMNS[1:])}) = ({", ".join(f"excluded.{name}" for name in _COLUMNS[1:])}),
    attempts = attempts + 1
WHERE status = 'failed' AND (excluded.status = 'complete' OR excluded.finished > finished)
"""  # noqa: S608

Record = dict[str, Any]


class LedgerError(ValueError):
    """A ledger that cannot be used; the message names its file."""


class Ledger:
    """The rows of one sweep's folder; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._folder = folder
        self._kept: dict[Path, set[str]] = {}  # files that are taken in, and the keys in them
        with self._telling(), ExitStack() as stack:
            self._database = sqlite3.connect(self._path, timeout=30)
            stack.callback(self._database.close)
            self._prepare()
            stack.pop_all()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def take_in(
        self, *, ended: Iterable[Sequence[str]] = (), busy: Collection[str] = ()
    ) -> list[Record]:
        """Move the records that workers left into the ledger; return them.

        A damaged file is set aside, and its cells are computed again.

        Args:
            ended: Keys of batches that have ended: a shared file system may list their files late.
            busy: Keys of cells that a worker may begin; it must find their files, so these stay.
        """
        incoming = self._folder / _INCOMING
        listed = {path for path in incoming.glob("[!.]*.json") if path.is_file()}
        files = listed.union(_incoming_file(self._folder, keys) for keys in ended)
        new = {path: _read(path) for path in sorted(files.difference(self._kept)) if path.is_file()}
        records = [record for found in new.values() for record in found]
        self.add(records)
        self._kept |= {path: {record["key"] for record in found} for path, found in new.items()}
        for path in [path for path, keys in self._kept.items() if keys.isdisjoint(busy)]:
            path.unlink(missing_ok=True)
            del self._kept[path]
        return records

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write rows in one transaction; a complete cell is never changed."""
        rows = [
            [json.dumps(record[name]) if name == "result" else record[name] for name in _COLUMNS]
            for record in records
        ]
        if rows:
            with self._telling(), self._database:
                self._database.executemany(_INSERT, rows)

    def forget(self, keys: Iterable[str]) -> None:
        """Delete rows, whose results turned out to be missing."""
        with self._telling(), self._database:
            self._database.executemany("DELETE FROM cell WHERE key = ?", ((key,) for key in keys))

    def records(self) -> dict[str, Record]:
        """Return every row by its key."""
        names = (*_COLUMNS, "attempts")
        with self._telling():
            rows = self._database.execute(f"SELECT {', '.join(names)} FROM cell").fetchall()  # noqa: S608
        found = (dict(zip(names, row, strict=True)) for row in rows)
        return {record["key"]: record | {"result": json.loads(record["result"])} for record in found}

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell in one sentence what the database complains about."""
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a folder without permission
            raise LedgerError(f"{self._path} cannot be used: {error}") from None
        except sqlite3.Error as error:
            raise LedgerError(f"{self._path} is damaged: {error}") from None

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        if version:
            raise LedgerError(f"{self._path} has version {version}, this program reads {_VERSION}")
        with self._database:
            self._database.execute("BEGIN EXCLUSIVE")
            if not self._database.execute("SELECT name FROM sqlite_master").fetchall():
                self._database.execute(_SCHEMA)
                self._database.execute(f"PRAGMA user_version = {_VERSION}")


def leave(folder: Path, records: Sequence[Record]) -> None:
    """Leave a worker's records, in one step, for the ledger of a sweep's folder to take in."""
    path = _incoming_file(folder, [record["key"] for record in records])
    path.parent.mkdir(exist_ok=True)
    atomic.write_json(path, {"records": list(records)})


def is_left(folder: Path, keys: Sequence[str]) -> bool:
    """Return whether the records of these cells, computed together, wait to be taken in."""
    return _incoming_file(folder, keys).is_file()


def _read(path: Path) -> list[Record]:
    """Return the records in a file; a damaged one gets another name, an absent one holds none."""
    try:
        records = atomic.read_json(path)["records"]
        if all(map(_is_whole, records)):
            return records
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        pass
    logging.getLogger(__name__).warning("%s is damaged: set aside, its cells are computed again", path)
    path.replace(path.with_suffix(".damaged"))
    return []


def _is_whole(record: Any) -> bool:
    kinds = (str, str, dict, str, str, (int, float), (int, float), (int, float), str)
    whole = all(isinstance(record[name], kind) for name, kind in zip(_COLUMNS, kinds, strict=True))
    return whole and record["status"] in (COMPLETE, FAILED)


def _incoming_file(folder: Path, keys: Sequence[str]) -> Path:
    name = keys[0] if len(keys) == 1 else hashlib.sha256("".join(keys).encode()).hexdigest()
    return folder / _INCOMING / f"{name}.json"
