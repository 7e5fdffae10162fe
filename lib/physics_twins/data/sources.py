"""What numbers come from besides code and parameters: models, data tables, folders.

Whatever reads such a thing notes it, with its hash. A run and a cell of a sweep keep what was noted
while they were computed, and are found again only as long as all of it is still the same.

A source is a record as JSON has it: `name`, what it is; `sha256`, the hash of its content when it was
read; `module`, which read it and whose function `source_sha256` tells what that name would give now.
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_PACKAGE = __name__.partition(".")[0]

_Listener = Callable[[dict[str, str]], None]
_process: list[_Listener] = []
_here: ContextVar[tuple[_Listener, ...]] = ContextVar("_here", default=())


def note(module: str, name: str, sha256: str) -> None:
    """Tell whoever listens that something was read, here or on a worker."""
    for listener in (*_process, *_here.get()):
        listener({"module": module, "name": name, "sha256": sha256})


def note_path(path: Path) -> None:
    """Tell whoever listens that a file or folder was read that no parameter names as an input file."""
    place = str(path.resolve())
    note(__name__, place, file_sha256(path))


def listen(listener: _Listener) -> None:
    """Let `listener` hear what this process reads from now on, in place of who heard it before."""
    _process[:] = [listener]


@contextmanager
def noted() -> Iterator[list[dict[str, str]]]:
    """Yield a list that takes what is read in the block, each once; other threads do not enter."""
    found: list[dict[str, str]] = []
    token = _here.set((*_here.get(), lambda s: None if s in found else found.append(s)))
    try:
        yield found
    finally:
        _here.reset(token)


def changed(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those sources of which something else would be read now, or where that cannot be told.

    Args:
        records: From whatever file; each is asked for once, and only modules of this library are.
    """
    distinct = {json.dumps(record, sort_keys=True): record for record in records}
    return [record for record in distinct.values() if not _is_current(record)]


def _is_current(record: Mapping[str, Any]) -> bool:
    try:
        module, name, sha256 = record["module"], record["name"], record["sha256"]
        is_ours = module.partition(".")[0] == _PACKAGE
        return is_ours and importlib.import_module(module).source_sha256(name) == sha256
    except Exception:  # it is gone, damaged, or the record is
        return False


def source_sha256(path: str) -> str:
    """Return the hash of a file or folder that was noted by its path."""
    return file_sha256(Path(path))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content; a folder's is of its files' names, sizes and times."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(each for each in path.rglob("*") if each.is_file())
    states = [(str(each.relative_to(path)), each.stat()) for each in files]
    facts = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
