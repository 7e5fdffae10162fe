"""Which models there are, and which version of each is the one to use."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins import data, runs
from physics_twins.models import files
from physics_twins.models.folder import Model, open_model
from physics_twins.models.manifest import MAX_JSON_BYTES, ModelError, check_model_name, parse_json

PROMOTED = "promoted.json"

_NUMBER = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Entry:
    """A model as it is listed: `model` is None where it is damaged, and `problem` says how."""

    name: str
    version: int
    folder: Path
    promoted: bool
    model: Model | None
    problem: str = ""


def own_root() -> Path:
    """Return where models are saved: `PHYSICS_TWINS_MODELS`, or `models/` in the folder of all runs."""
    named = os.environ.get("PHYSICS_TWINS_MODELS")
    return Path(named).expanduser().resolve() if named else runs.default_root() / "models"


def roots() -> list[Path]:
    """Return where models are looked for: your own, then those that ship, with a clone or the wheel."""
    inside = (home / name for home in data.homes() for name in ("shipped", "models"))
    shipped = [folder for folder in inside if folder.is_dir()]
    return list(dict.fromkeys([own_root(), *shipped[:1]]))


def available(name: str | None = None, *, root: Path | None = None) -> list[Entry]:
    """Return all models, or the versions of one, every file checked; the damaged ones too.

    Args:
        name: One model.
        root: The only folder to look in; all of `roots` by default.

    Raises:
        ModelError: There is no model of that name.
    """
    places = [root] if root else roots()
    names = _names(places)
    if name is not None and name not in names:
        raise ModelError(_unknown(name, places))
    return [entry for each in ([name] if name else names) for entry in _entries(each, places, root)]


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


def _found(address: str, root: Path | None) -> Model:
    places = [root] if root else roots()
    name, number = address_parts(address)
    versions = _versions(name, places)
    if not versions:
        raise ModelError(_unknown(name, places))
    if number is not None:
        return _open(name, number, versions)
    history = promotions(name, root=root)
    if not history:
        return _open(name, max(versions), versions)
    last = history[-1]
    model = _open(name, last["version"], versions)
    if model.manifest_sha256 != last["manifest_sha256"]:
        raise ModelError(
            f"{model} in {model.folder} is not the one that was promoted: promote it again"
        )
    return model


def promote(address: str, *, root: Path | None = None) -> Model:
    """Make one version the one that `find` returns by the model's name; return it.

    Raises:
        ModelError: The address has no version, or that version is missing or damaged.
    """
    name, number = address_parts(address)
    if number is None:
        raise ModelError(f"say which version to promote, as in {name}/1")
    model = find(address, root=root)
    record = {"version": number, "manifest_sha256": model.manifest_sha256, "when": runs.now()}
    history = [*promotions(name, root=root), record]
    path = (root or own_root()) / name / PROMOTED
    path.parent.mkdir(parents=True, exist_ok=True)
    data.write_json(path, {"history": history})
    return model


def promotions(name: str, *, root: Path | None = None) -> list[dict[str, Any]]:
    """Return what was promoted under a name, oldest first; the last one holds.

    Raises:
        ModelError: The file that says so is damaged.
    """
    found = ((place / name / PROMOTED) for place in ([root] if root else roots()))
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return []
    history = parse_json(files.read(path, MAX_JSON_BYTES), path).get("history")
    wanted = {"version": int, "manifest_sha256": str, "when": str}
    if not isinstance(history, list) or not all(
        isinstance(item, dict) and {key: type(value) for key, value in item.items()} == wanted
        for item in history
    ):
        raise ModelError(f"{path} is damaged: every entry of history needs {', '.join(wanted)}")
    return history


def next_version(name: str, *, root: Path | None = None) -> int:
    """Return the number that no version of a model has or ever was promoted under."""
    places = [root] if root else roots()
    known = [item["version"] for item in promotions(name, root=root)]
    return max([*_versions(name, places), *known], default=0) + 1


def address_parts(address: str) -> tuple[str, int | None]:
    """Return name and version of an address, None where it has no version.

    Raises:
        ModelError: It is neither `name` nor `name/version`.

    >>> address_parts("pulsar-classifier/3")
    ('pulsar-classifier', 3)
    """
    name, slash, number = address.partition("/")
    if slash and not _NUMBER.fullmatch(number):
        raise ModelError(
            f"{address!r} is no address of a model: write name or name/version, as in {name}/1"
        )
    return check_model_name(name), int(number) if slash else None


def _names(places: Sequence[Path]) -> list[str]:
    """Return every folder's name under which there is a version."""
    folders = (folder for place in places if place.is_dir() for folder in place.iterdir())
    return sorted({folder.name for folder in folders if _versions(folder.name, places)})


def _versions(name: str, places: Sequence[Path]) -> dict[int, list[Path]]:
    """Return the folders of every version; more than one where two places use the same number."""
    found: dict[int, list[Path]] = {}
    for parent in (place / name for place in places):
        for folder in parent.iterdir() if parent.is_dir() else ():
            if _NUMBER.fullmatch(folder.name):
                found.setdefault(int(folder.name), []).append(folder)
    return dict(sorted(found.items()))


def _open(name: str, number: int, versions: Mapping[int, Sequence[Path]]) -> Model:
    if number not in versions:
        raise ModelError(f"no version {number} of {name}; there are {', '.join(map(str, versions))}")
    if len(versions[number]) > 1:
        both = " and ".join(map(str, versions[number]))
        raise ModelError(f"{name}/{number} is in {both}: remove one of them")
    return _at_home(versions[number][0])


def _at_home(folder: Path) -> Model:
    """Return the model in a folder of a root; it must be the one that the folder's name says."""
    model = open_model(folder)
    place = f"{folder.parent.name}/{folder.name}"
    if str(model) != place:
        raise ModelError(f"{folder} holds {model}, not {place}: it was moved or exchanged")
    return model


def _entries(name: str, places: Sequence[Path], root: Path | None) -> list[Entry]:
    try:
        history = promotions(name, root=root)
    except ModelError:
        history = []  # told by `find`; here the versions themselves count
    promoted = history[-1]["version"] if history else None
    entries = []
    for number, folders in _versions(name, places).items():
        for folder in folders:
            model, problem = None, ""
            try:
                model = _at_home(folder)
            except (ModelError, OSError) as error:
                problem = str(error)
            entries.append(Entry(name, number, folder, number == promoted, model, problem))
    return entries


def _unknown(name: str, places: Sequence[Path]) -> str:
    nearest = difflib.get_close_matches(name, _names(places), n=1)
    looked = " or ".join(str(place) for place in places)
    return f"no model {name!r} in {looked}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
