"""Which models there are, which version of each is the one to use, and those that come in zip files."""

import os
import re
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins import data, runs
from physics_twins.models import folder
from physics_twins.models.folder import Model, ModelError, Record

PROMOTED = "promoted.json"
# Weights hardly get smaller; what unpacks to much more than this was made to fill the memory.
MAX_GROWTH = 100

_NUMBER = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Entry:
    """A model as it is listed: `model` is None where it is damaged, and `problem` says how."""

    name: str
    version: int
    folder: Path
    promoted: bool
    model: Model | None
    problem: str


class _Promotion(Record):
    version: int
    manifest_sha256: str
    when: str


class _Promotions(Record):
    history: list[_Promotion]


def roots() -> list[Path]:
    """Return where models are looked for: your own, then those that ship, with a clone or the wheel.

    Your own are in `PHYSICS_TWINS_MODELS`, or in `models/` in the folder of all runs.
    """
    named = os.environ.get("PHYSICS_TWINS_MODELS")
    own = Path(named).expanduser().resolve() if named else runs.default_root() / "models"
    inside = (home / name for home in data.homes() for name in ("shipped", "models"))
    shipped = [path for path in inside if path.is_dir()]
    return list(dict.fromkeys([own, *shipped[:1]]))


def places(root: Path | None) -> list[Path]:
    """Return the folders to look in, `root` alone where it is given; the first is to be written to."""
    return [root] if root else roots()


def available(address: str | None = None, *, root: Path | None = None) -> list[Entry]:
    """Return all models, or those of an address, every file checked; the damaged ones too.

    Args:
        address: `name` for all of its versions, or `name/version`.
        root: The only folder to look in; all of `roots` by default.

    Raises:
        ModelError: There is no such model.
    """
    entries = []
    for path in _asked_for(address, root) if address else _versions("*", root):
        name, number = path.parent.name, int(path.name)
        promoted, model, problem = False, None, ""
        try:
            promoted = number in [item["version"] for item in promotions(name, root=root)[-1:]]
            model = _at_home(path)
        except (ModelError, OSError) as error:
            problem = str(error)
        entries.append(Entry(name, number, path, promoted, model, problem))
    return entries


def find(address: str, *, root: Path | None = None) -> Model:
    """Return a model by its address: `name/version`, or `name` for the promoted or else the newest one.

    One from `roots` is noted, see `data.note`.

    Raises:
        ModelError: There is none, it is damaged, or it is not the one that was promoted.
    """
    model = _found(address, root)
    if root is None:
        data.note(__name__, address, model.manifest_sha256)
    return model


def source_sha256(address: str) -> str:
    """Return the hash of the model that `find` returns now.

    Raises:
        ModelError: As for `find`.
    """
    return _found(address, None).manifest_sha256


def promote(address: str, *, root: Path | None = None) -> Model:
    """Make one version the one that `find` returns by the model's name; return it.

    Raises:
        ModelError: The address has no version, or that version is missing or damaged.
    """
    name, number = _parts(address)
    if number is None:
        raise ModelError(f"say which version to promote, as in {name}/1")
    model = find(address, root=root)
    record = {"version": number, "manifest_sha256": model.manifest_sha256, "when": runs.now()}
    history = [*promotions(name, root=root), record]
    path = places(root)[0] / name / PROMOTED
    path.parent.mkdir(parents=True, exist_ok=True)
    data.write_json(path, {"history": history})
    return model


def promotions(name: str, *, root: Path | None = None) -> list[dict[str, Any]]:
    """Return what was promoted under a name, oldest first; the last one holds.

    Raises:
        ModelError: The file that says so is damaged.
    """
    for path in (place / name / PROMOTED for place in places(root)):
        if path.is_file():
            return folder.parsed(_Promotions, path.read_bytes(), path).model_dump()["history"]
    return []


def next_version(name: str, *, root: Path | None = None) -> int:
    """Return the number that no version of a model has or ever was promoted under."""
    promoted = [item["version"] for item in promotions(name, root=root)]
    return 1 + max([*promoted, *(int(path.name) for path in _versions(name, root))], default=0)


def import_zip(path: str | Path, *, root: Path | None = None) -> Model:
    """Add the model in a zip file under its own name and version; return it.

    All of it is checked before anything is written.

    Args:
        path: A zip file of the files in one model's folder; it may come from anybody.
        root: Where to add it; your own folder of models by default.

    Raises:
        ModelError: It is no sound zip file of a model, or there is one of that name and version.
    """
    path = Path(path).expanduser()
    contents = _unzipped(path)
    manifest, _ = folder.check(contents, path)
    home = places(root)[0] / manifest.name / str(manifest.version)
    if not folder.write(contents, home):
        raise ModelError(
            f"{path} was not imported, because {home} is there already: move that one away"
        )
    return folder.open_model(home)


def _unzipped(path: Path) -> dict[str, bytes]:
    """Return what the files in a zip file hold, by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            n_bytes = sum(entry.file_size for entry in entries)
            if n_bytes > MAX_GROWTH * path.stat().st_size:
                raise ValueError(f"it unpacks to {n_bytes} bytes, more than {MAX_GROWTH} times its own")
            for entry in entries:
                folder.check_file_name(entry.orig_filename)  # `filename` is cut at a zero byte
                # By these two methods no more is unpacked than the entry says.
                plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                if not plain or stat.S_ISLNK(entry.external_attr >> 16):
                    raise ValueError(
                        f"{entry.filename} is a link, or packed by another method than deflate"
                    )
            return {entry.filename: archive.read(entry) for entry in entries}
    except Exception as error:  # zipfile raises whatever a damaged file leads it to
        raise ModelError(f"{path} is no sound zip file of a model: {error}") from None


def _parts(address: str) -> tuple[str, int | None]:
    """Return name and version of an address, None where it has no version."""
    name, slash, number = address.partition("/")
    folder.check_name(name)
    if slash and not _NUMBER.fullmatch(number):
        raise ModelError(f"{address!r} is no address of a model: write {name} or, say, {name}/1")
    return name, int(number) if slash else None


def _versions(name: str, root: Path | None) -> list[Path]:
    """Return the folders of all versions of a model, by number; of all models where it is "*"."""
    found = [path for place in places(root) for path in place.glob(f"{name}/*")]
    versions = [path for path in found if _NUMBER.fullmatch(path.name)]
    return sorted(versions, key=lambda path: (path.parent.name, int(path.name)))


def _asked_for(address: str, root: Path | None) -> list[Path]:
    """Return the folders of an address; more than one where it has no version, or is in two places."""
    name, number = _parts(address)
    found = [path for path in _versions(name, root) if number in (None, int(path.name))]
    if not found:
        known = ", ".join(f"{path.parent.name}/{path.name}" for path in _versions("*", root))
        where = " or ".join(map(str, places(root)))
        raise ModelError(f"no model {address!r} in {where}; there are {known or 'none'}")
    return found


def _found(address: str, root: Path | None) -> Model:
    name, number = _parts(address)
    last = [] if number else promotions(name, root=root)[-1:]
    found = _asked_for(f"{name}/{last[0]['version']}" if last else address, root)
    same = [path for path in found if path.name == found[-1].name]
    if len(same) > 1:
        raise ModelError(f"{same[0]} and {same[1]} have the same address: remove one of them")
    model = _at_home(found[-1])
    if last and model.manifest_sha256 != last[0]["manifest_sha256"]:
        raise ModelError(f"{found[-1]} is not the model that was promoted: promote it again")
    return model


def _at_home(path: Path) -> Model:
    """Return the model in a folder of a root; it must be the one that the folder's name says."""
    model = folder.open_model(path)
    if str(model) != f"{path.parent.name}/{path.name}":
        raise ModelError(f"{path} holds {model}: it was moved or exchanged")
    return model
