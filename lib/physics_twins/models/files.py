"""The files of one model's folder: hashed in a manifest, and all checked before any is used.

A folder from elsewhere is taken for hostile: names, sizes and beginnings are checked besides hashes,
because whoever made the folder made its manifest too.
"""

import codecs
import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from physics_twins.data import flush_folder
from physics_twins.models.manifest import (
    MANIFEST,
    MAX_JSON_BYTES,
    SUMS,
    Checked,
    FileRecord,
    Manifest,
    ModelError,
    check_file_name,
    parse_manifest,
    sums_text,
)

_BEGINNINGS = {".onnx": b"\x08", ".nc": b"\x89HDF", ".png": b"\x89PNG"}
_HEAD_BYTES = 64
_UNFINISHED = ".unfinished-"
_ABANDONED_S = 24 * 3600


def check(folder: Path) -> Checked:
    """Check every file of a model's folder.

    Raises:
        ModelError: A file is changed, missing, not listed, a link, or of a format that may run code;
            the manifest is missing, changed, too large or of a newer format.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no model in {folder}")
    names = _names(folder)
    for name in (MANIFEST, SUMS):
        if name not in names:
            raise ModelError(f"{folder / name} is missing: the folder is no model, or not whole")
    data = read(folder / MANIFEST, MAX_JSON_BYTES)
    checked = parse_manifest(data, read(folder / SUMS, MAX_JSON_BYTES), folder)
    listed = set(checked.manifest.files)
    for name in sorted(listed - names):
        raise ModelError(f"{folder / name} is missing")
    for name in sorted(names - listed - {MANIFEST, SUMS}):
        raise ModelError(f"{folder / name} is not listed in {MANIFEST}: remove it")
    for name, record in checked.manifest.files.items():
        with opened(folder / name) as file:
            copy_checked(file, record, folder / name)
    return checked


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield an ordinary file for reading.

    Raises:
        ModelError: It is missing, a link, a folder, a pipe or a device.
    """
    # Without waiting, because opening a pipe would wait for its writer.
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ModelError(f"{path} is a link: a model's files must lie in its own folder") from None
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError(f"{path} is no ordinary file")
        yield file


def read(path: Path, limit: int) -> bytes:
    """Return the content of an ordinary file of at most `limit` bytes.

    Raises:
        ModelError: It is larger, or no ordinary file.
    """
    with opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ModelError(f"{path} is larger than {limit} bytes")
    return data


def read_checked(path: Path, record: FileRecord) -> bytes:
    """Return the content of a file; the returned bytes are those that were hashed.

    Raises:
        ModelError: They are not what `record` says.
    """
    data = read(path, record.bytes)
    _check_content(record, len(data), hashlib.sha256(data).hexdigest(), data[:_HEAD_BYTES], path)
    return data


def copy_checked(
    source: IO[bytes], record: FileRecord, path: Path, target: IO[bytes] | None = None
) -> None:
    """Read `source` to its end, into `target` if given, and check it; `path` is for messages.

    Raises:
        ModelError: It is not what `record` says; no more than its size is read or written.
    """
    digest, n_bytes, head = hashlib.sha256(), 0, b""
    while piece := source.read(1 << 20):
        head = head or piece[:_HEAD_BYTES]
        n_bytes += len(piece)
        digest.update(piece)
        if n_bytes > record.bytes:
            break
        if target:
            target.write(piece)
    _check_content(record, n_bytes, digest.hexdigest(), head, path)


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`; it is gone at the end unless `appear` has named it."""
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, data: bytes) -> FileRecord:
    """Write a file through to the disk; return its record."""
    with path.open("wb") as file:
        file.write(data)
        flush(file)
    return FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def flush(file: IO[bytes]) -> None:
    """Bring what was written to a file through to the disk."""
    file.flush()
    os.fsync(file.fileno())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and the file that `sha256sum --check` reads; every listed file is there."""
    text = json.dumps(manifest.model_dump(), indent=2, allow_nan=False) + "\n"
    record = write(folder / MANIFEST, text.encode())
    write(folder / SUMS, sums_text(manifest.files, record.sha256))


def appear(temporary: Path, folder: Path) -> bool:
    """Give a finished folder its name in one step; return False where the name is taken."""
    flush_folder(temporary)
    folder.parent.mkdir(exist_ok=True)
    try:
        temporary.rename(folder)
    except OSError as error:
        if (
            error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EACCES)
            and folder.exists()
        ):
            return False
        raise
    flush_folder(folder.parent)
    return True


def _sweep(parent: Path) -> None:
    """Remove what processes that were killed left long ago."""
    for folder in parent.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # another process may do the same
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder)


def _names(folder: Path) -> set[str]:
    names = set()
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        path = entry.path if entry.path.isprintable() else repr(entry.path)
        if entry.is_symlink():
            raise ModelError(f"{path} is a link: a model's files must lie in its own folder")
        if not entry.is_file():
            raise ModelError(f"{path} is no ordinary file: a model's folder holds only files")
        try:
            names.add(check_file_name(entry.name))
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from None
    return names


def _check_content(record: FileRecord, n_bytes: int, sha256: str, head: bytes, path: Path) -> None:
    if n_bytes != record.bytes:
        found = f"more than {record.bytes}" if n_bytes > record.bytes else n_bytes
        raise ModelError(f"{path} is changed: it has {found} bytes, {MANIFEST} says {record.bytes}")
    if sha256 != record.sha256:
        raise ModelError(
            f"{path} is changed: its SHA-256 begins with {sha256[:12]}, {MANIFEST} says "
            f"{record.sha256[:12]}"
        )
    if not _begins_right(head, n_bytes, path.suffix):
        raise ModelError(
            f"{path} does not begin like a {path.suffix} file: it may be a pickle or archive"
        )


def _begins_right(head: bytes, n_bytes: int, suffix: str) -> bool:
    """Return whether a file is of its suffix's format, as far as its first bytes tell."""
    if suffix == ".safetensors":
        # Not compared with pickle's beginning: a header of 640 bytes begins with the same two bytes.
        return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= n_bytes - 8
    if suffix in _BEGINNINGS:
        return head.startswith(_BEGINNINGS[suffix])
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # may end inside a character
    except UnicodeDecodeError:
        return False
    return all(character >= " " or character in "\t\r\n" for character in text)
