"""What numbers come from besides code and parameters: models, data tables, folders.

Whatever reads such a thing notes it, with its hash. A run and a cell of a sweep keep what was noted
while they were computed, and are found again only as long as all of it is still the same.
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """One thing that was read.

    Attributes:
        module: The module that read it; its function `source_sha256` tells what it would read now.
        name: What it is, for that function.
        sha256: Hash of its content when it was read.
    """

    module: str
    name: str
    sha256: str


Listener = Callable[[Source], None]
_process: list[Listener] = []
_here: ContextVar[tuple[Listener, ...]] = ContextVar("_here", default=())


def note(module: str, name: str, sha256: str) -> None:
    """Tell whoever listens that something was read; see `Source`."""
    pass_on([Source(module, name, sha256)])


def note_path(path: Path) -> None:
    """Tell whoever listens that a file or folder was read that no parameter names as an input file."""
    place = str(path.resolve())
    note(__name__, place, source_sha256(place))


def pass_on(found: Iterable[Source]) -> None:
    """Tell whoever listens what was noted elsewhere, as on a worker."""
    for source in found:
        for listener in (*_process, *_here.get()):
            listener(source)


def listen(listener: Listener) -> None:
    """Let `listener` hear what this process reads from now on, in place of who heard it before."""
    _process[:] = [listener]


@contextmanager
def noted() -> Iterator[list[Source]]:
    """Yield a list that takes what is read in the block, each once; other threads do not enter."""
    found: list[Source] = []
    token = _here.set((*_here.get(), lambda s: None if s in found else found.append(s)))
    try:
        yield found
    finally:
        _here.reset(token)


def to_records(found: Iterable[Source]) -> list[dict[str, Any]]:
    """Return sources as JSON has them."""
    return [asdict(source) for source in found]


def changed(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of `to_records` of which something else would be read now, each asked for once."""
    distinct = {json.dumps(record, sort_keys=True): record for record in records}
    return [record for record in distinct.values() if not is_current(record)]


def is_current(record: Mapping[str, Any]) -> bool:
    """Return whether the same would be read now; False where that cannot be told.

    Args:
        record: One of `to_records`, of whatever file: only modules of this library are asked.
    """
    try:
        source = Source(**record)
        if source.module.partition(".")[0] != _PACKAGE:
            return False
        return importlib.import_module(source.module).source_sha256(source.name) == source.sha256
    except Exception:  # it is gone, damaged, or the record is
        return False


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_sha256(path: str) -> str:
    """Return the hash of a file's content, or of a folder's files by name, size and time of change."""
    place = Path(path)
    if place.is_file():
        return file_sha256(place)
    files = sorted(each for each in place.rglob("*") if each.is_file())
    states = [(str(each.relative_to(place)), each.stat()) for each in files]
    facts = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    return hashlib.sha256(repr(facts).encode()).hexdigest()
