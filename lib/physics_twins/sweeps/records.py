"""What became of cells: files of records, each written whole by a worker; the folder is the state.

A batch of cells leaves one file, and nobody changes it afterwards. Whoever dies, nothing is lost, and a
cell that was computed twice does no harm: of its records the complete one counts, else the last.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from physics_twins.data import read_json, write_json

COMPLETE, FAILED = "complete", "failed"
RECORDS = "records"
_NUMBER = (int, float)
_KINDS = {"key": str, "status": str, "result": dict, "error": str, "trace": str, "host": str}
_KINDS |= {"started": _NUMBER, "finished": _NUMBER, "seconds": _NUMBER}

Record = dict[str, Any]


class Records:
    """The records in a folder of a sweep or study.

    Attributes:
        by_key: Of each cell the record that counts, with `attempts`: how many records it has.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / RECORDS
        self._files: dict[str, list[Record]] = {}
        self.by_key: dict[str, Record] = {}
        self.refresh()

    def refresh(self) -> list[Record]:
        """Read the files that are new; return what they hold."""
        new = {path.stem: path for path in self._folder.glob("[!.]*.json")}
        batches = sorted(new.keys() - self._files.keys())
        return [record for name in batches for record in self.take(name, _read(new[name]))]

    def take(self, batch: str, records: Sequence[Record]) -> list[Record]:
        """Count a batch's records; return them, or nothing where they have been counted before."""
        if batch in self._files:
            return []
        self._files[batch] = list(records)
        for record in records:
            self._count(record)
        return self._files[batch]

    def forget(self, keys: Collection[str]) -> None:
        """Remove the records of cells whose results turned out to be missing."""
        wanted = set(keys)
        for batch, records in self._files.items():
            if not wanted.isdisjoint(record["key"] for record in records):
                self._files[batch] = [record for record in records if record["key"] not in wanted]
                leave(self._folder.parent, batch, self._files[batch])
        for key in wanted & self.by_key.keys():
            del self.by_key[key]

    def _count(self, record: Record) -> None:
        known = self.by_key.get(record["key"])
        attempts = known["attempts"] + 1 if known else 1
        counts = record if known is None or _rank(record) > _rank(known) else known
        self.by_key[record["key"]] = counts | {"attempts": attempts}


def leave(folder: Path, batch: str, records: Sequence[Record]) -> None:
    """Write a batch's records in one step into the folder of a sweep or study."""
    path = folder / RECORDS / f"{batch}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"records": list(records)})


def left(folder: Path, batch: str) -> list[Record]:
    """Return the records that a batch has left, none where it has not."""
    path = folder / RECORDS / f"{batch}.json"
    return _read(path) if path.is_file() else []


def _read(path: Path) -> list[Record]:
    """Return the records in a file; a damaged one gets another name, an absent one holds none."""
    try:
        records = read_json(path)["records"]
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
    whole = all(isinstance(record[name], kind) for name, kind in _KINDS.items())
    return whole and record["status"] in (COMPLETE, FAILED)


def _rank(record: Record) -> tuple[bool, float]:
    return record["status"] == COMPLETE, record["finished"]
