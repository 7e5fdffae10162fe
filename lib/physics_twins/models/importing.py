"""A model from a zip file that anybody may have made: all of it is checked before it appears."""

import errno
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from physics_twins.models import files, registry
from physics_twins.models.folder import Model, open_model
from physics_twins.models.manifest import (
    MANIFEST,
    MAX_JSON_BYTES,
    SUMS,
    Checked,
    ModelError,
    check_file_name,
    parse_manifest,
)

MAX_BYTES = 4_000_000_000
# Weights hardly get smaller; what unpacks to much more than this was made to fill the disk.
MAX_GROWTH = 100

# What zipfile raises for damaged files.
_UNSOUND = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    OSError,
)


def import_zip(path: str | Path, *, root: Path | None = None) -> Model:
    """Add the model in a zip file under its own name and version; return it.

    Everything that the zip file says of itself is checked before anything is written, and its content
    while it is written to a hidden folder, which gets its name only when every file is sound.

    Args:
        path: A zip file of the files in one model's folder; it may come from anybody.
        root: Where to add it; your own folder of models by default.

    Raises:
        ModelError: It is no sound zip file of a model, or another model has that name and version.
    """
    path = Path(path).expanduser()
    try:
        with zipfile.ZipFile(path) as archive:
            return _imported(archive, path, root or registry.own_root())
    except ModelError:
        raise
    except _UNSOUND as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of the disk, not of the file
            raise
        raise ModelError(f"{path} is no sound zip file: {error}") from None


def _imported(archive: zipfile.ZipFile, path: Path, root: Path) -> Model:
    entries = _entries(archive, path)
    manifest, sums = (_small(archive, entries, name, path) for name in (MANIFEST, SUMS))
    checked = parse_manifest(manifest, sums, path)
    _check_listing(checked, entries, path)
    home = root / checked.manifest.name / str(checked.manifest.version)
    with files.temporary_folder(root) as temporary:
        for name, record in checked.manifest.files.items():
            with archive.open(entries[name]) as source, (temporary / name).open("wb") as target:
                files.copy_checked(source, record, path / name, target)
                files.flush(target)
        files.write(temporary / MANIFEST, manifest)
        files.write(temporary / SUMS, sums)
        open_model(temporary)
        files.appear(temporary, home)
    model = open_model(home)  # the one that was there already, where there was one
    if model.manifest_sha256 != checked.manifest_sha256:
        raise ModelError(
            f"{path} holds {model}, but another {model} is in {home}: move that one away, or set "
            "PHYSICS_TWINS_MODELS to another folder"
        )
    return model


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the zip file's entries by name, each of them allowed in a model's folder."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.orig_filename  # as it stands in the file; `filename` is cut at a zero byte
        try:
            check_file_name(name)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ModelError(f"{path}: {name} is a link or no ordinary file")
        if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"{path}: {name} is encrypted, or packed by another method than deflate")
        if name in entries:
            raise ModelError(f"{path} holds {name} twice")
        entries[name] = info
    return entries


def _small(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str, path: Path
) -> bytes:
    if name not in entries:
        raise ModelError(f"{path} holds no {name}: it is no model, or not whole")
    with archive.open(entries[name]) as file:
        data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ModelError(f"{path}: {name} is larger than {MAX_JSON_BYTES} bytes")
    return data


def _check_listing(checked: Checked, entries: dict[str, zipfile.ZipInfo], path: Path) -> None:
    listed = checked.manifest.files
    for name in sorted(listed.keys() - entries.keys()):
        raise ModelError(f"{path} lacks {name}, which its {MANIFEST} lists")
    for name in sorted(entries.keys() - listed.keys() - {MANIFEST, SUMS}):
        raise ModelError(f"{path} holds {name}, which its {MANIFEST} does not list")
    n_bytes = sum(entries[name].file_size for name in listed)
    if n_bytes != checked.manifest.n_bytes:
        raise ModelError(f"{path} unpacks to {n_bytes} bytes, {MANIFEST} says another number")
    allowed = min(MAX_BYTES, MAX_GROWTH * path.stat().st_size)
    if n_bytes > allowed:
        raise ModelError(f"{path} unpacks to {n_bytes} bytes, allowed are {allowed}")
