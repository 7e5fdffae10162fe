"""A model as one zip file: what a colleague gets, and what comes from a colleague."""

import errno
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from physics_twins.data import atomic
from physics_twins.models import model_files, model_registry
from physics_twins.models.model_manifest import (
    MANIFEST,
    MAX_FILES,
    MAX_JSON_BYTES,
    SUMS,
    Checked,
    ModelError,
    check_file_name,
    parse_manifest,
)
from physics_twins.models.saved_model import Model, open_model

MAX_BYTES = 4_000_000_000
# Weights hardly get smaller; what unpacks to much more than this was made to fill the disk.
MAX_GROWTH = 100

# What zipfile lets through from damaged files.
_UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
)
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same model gives the same zip file


def export_zip(model: Model, path: str | Path) -> Path:
    """Write a model as one zip file in one step; return its path.

    Raises:
        ModelError: A file of that name is there already, or the model has changed since it was opened.
    """
    path = Path(path).expanduser()
    if path.exists():
        raise ModelError(f"{path} is there already: give another name")
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted([*model.manifest.files, MANIFEST, SUMS]):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, _content(model, name))
    return path


def import_zip(path: str | Path, *, root: Path | None = None) -> Model:
    """Add the model in a zip file under its own name and version; return it.

    Everything that the zip file says of itself is checked before anything is written, and its content
    while it is written to a hidden folder, which gets its name only when every file is sound.

    Args:
        path: As from `export_zip`; it may come from anybody.
        root: Where to add it; your own folder of models by default.

    Raises:
        ModelError: It is no sound zip file of a model, or another model has that name and version.
    """
    path = Path(path).expanduser()
    try:
        with zipfile.ZipFile(path) as archive:
            return _imported(archive, path, root)
    except ModelError:
        raise
    except _UNSOUND as error:
        raise ModelError(f"{path} is no sound zip file: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ModelError(f"{path} is no sound zip file: it points out of itself") from None


def _imported(archive: zipfile.ZipFile, path: Path, root: Path | None) -> Model:
    entries = _entries(archive, path)
    checked = parse_manifest(_small(archive, entries[MANIFEST]), _small(archive, entries[SUMS]), path)
    _check_listing(checked, entries, path)
    manifest = checked.manifest
    root = root or model_registry.own_root()
    home = root / manifest.name / str(manifest.version)
    if home.exists():
        return _same(home, checked, path)
    with model_files.temporary_folder(root) as temporary:
        for name, record in manifest.files.items():
            with archive.open(entries[name]) as source, (temporary / name).open("wb") as target:
                model_files.copy_checked(source, record, path / name, target)
                model_files.flush(target)
        for name in (MANIFEST, SUMS):
            model_files.write(temporary / name, _small(archive, entries[name]))
        open_model(temporary)
        if not model_files.appear(temporary, home):
            return _same(home, checked, path)
    return open_model(home)


def _content(model: Model, name: str) -> bytes:
    if name in model.manifest.files:
        return model.read(name)
    if open_model(model.folder).manifest_sha256 != model.manifest_sha256:
        raise ModelError(f"{model.folder} has changed since it was opened")
    return model_files.read(model.folder / name, MAX_JSON_BYTES)


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the zip file's entries by name, each of them allowed in a model's folder."""
    entries: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > MAX_FILES + 2:
        raise ModelError(f"{path} has {len(infos)} entries, at most {MAX_FILES + 2} are allowed")
    for info in infos:
        name = info.orig_filename  # as it stands in the file; `filename` is cut at a zero byte
        try:
            check_file_name(name)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        if name.casefold() in map(str.casefold, entries):
            raise ModelError(f"{path} holds {name} twice")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ModelError(f"{path}: {name} is a link or no ordinary file")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"{path}: {name} is encrypted, or packed by another method than deflate")
        entries[name] = info
    for name in (MANIFEST, SUMS):
        if name not in entries:
            raise ModelError(f"{path} holds no {name}: it is no model, or not whole")
        if entries[name].file_size > MAX_JSON_BYTES:
            raise ModelError(f"{path}: {name} is larger than {MAX_JSON_BYTES} bytes")
    return entries


def _check_listing(checked: Checked, entries: dict[str, zipfile.ZipInfo], path: Path) -> None:
    files = checked.manifest.files
    for name in sorted(files.keys() - entries.keys()):
        raise ModelError(f"{path} lacks {name}, which its {MANIFEST} lists")
    for name in sorted(entries.keys() - files.keys() - {MANIFEST, SUMS}):
        raise ModelError(f"{path} holds {name}, which its {MANIFEST} does not list")
    for name, record in files.items():
        if entries[name].file_size != record.bytes:
            raise ModelError(
                f"{path}: {name} unpacks to {entries[name].file_size} bytes, "
                f"{MANIFEST} says {record.bytes}"
            )
    allowed = min(MAX_BYTES, MAX_GROWTH * path.stat().st_size)
    if checked.manifest.n_bytes > allowed:
        raise ModelError(f"{path} unpacks to {checked.manifest.n_bytes} bytes, allowed are {allowed}")


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        return file.read(MAX_JSON_BYTES + 1)


def _same(home: Path, checked: Checked, path: Path) -> Model:
    """Return the model that is there already if it is the one in the zip file."""
    model = open_model(home)
    if model.manifest_sha256 != checked.manifest_sha256:
        raise ModelError(
            f"{path} holds {model}, but another {model} is in {home}: move that one away, or set "
            "PHYSICS_TWINS_MODELS to another folder"
        )
    return model
