"""The ledger of a sweep: one row for each cell that was computed, in one SQLite file.

Only the process that drives the sweep writes it. Workers leave their records as files, each written
in one step, and such a file is deleted only after the ledger holds its records: whoever dies, nothing
is lost and nothing doubled.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physics_twins import atomic

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
# A complete cell stays as it is; a failed one is replaced by what came later.
_INSERT = f"""
INSERT INTO cell ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" * len(_COLUMNS))})
ON CONFLICT (key) DO UPDATE SET
    ({", ".join(_COLUMNS[1:])}) = ({", ".join(f"excluded.{name}" for name in _COLUMNS[1:])}),
    attempts = attempts + 1
WHERE status = 'failed'
"""  # noqa: S608

Record = dict[str, Any]


class LedgerError(ValueError):
    """A ledger that cannot be read; the message names its file."""


class Ledger:
    """The rows of one sweep's folder; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._incoming = folder / _INCOMING
        self._database = sqlite3.connect(self._path, timeout=30)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise LedgerError(f"{self._path} is damaged: {error}") from None

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def take_in(self) -> list[Record]:
        """Move the records that workers left into the ledger; return them."""
        if not self._incoming.is_dir():
            return []
        files = [path for path in sorted(self._incoming.iterdir()) if path.suffix == ".json"]
        records = [record for path in files for record in atomic.read_json(path)["records"]]
        self.add(records)
        for path in files:
            path.unlink(missing_ok=True)
        return records

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write rows in one transaction; a complete cell is never changed."""
        rows = [
            [json.dumps(record[name]) if name == "result" else record[name] for name in _COLUMNS]
            for record in records
        ]
        if rows:
            with self._database:
                self._database.executemany(_INSERT, rows)

    def forget(self, keys: Iterable[str]) -> None:
        """Delete rows, whose results turned out to be missing."""
        with self._database:
            self._database.executemany("DELETE FROM cell WHERE key = ?", ((key,) for key in keys))

    def records(self) -> dict[str, Record]:
        """Return every row by its key."""
        names = (*_COLUMNS, "attempts")
        rows = self._database.execute(f"SELECT {', '.join(names)} FROM cell")  # noqa: S608
        found = (dict(zip(names, row, strict=True)) for row in rows)
        return {record["key"]: record | {"result": json.loads(record["result"])} for record in found}

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


def _incoming_file(folder: Path, keys: Sequence[str]) -> Path:
    name = keys[0] if len(keys) == 1 else hashlib.sha256("".join(keys).encode()).hexdigest()
    return folder / _INCOMING / f"{name}.json"
