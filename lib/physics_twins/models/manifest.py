"""What a model's folder must hold: its manifest, read from bytes that nobody has to trust."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

FORMAT = 1
MANIFEST, SUMS = "manifest.json", "manifest.sha256"
WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
REQUIRED = (WEIGHTS, CONFIG, CARD)
# Formats that only hold data: nothing in them is run when they are read.
SUFFIXES = (".safetensors", ".json", ".md", ".onnx", ".csv", ".txt", ".nc", ".png")
MAX_JSON_BYTES = 4_000_000
MAX_FILES = 64

_LONGEST_UNIT = 40
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_MODEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class ModelError(ValueError):
    """A model that cannot be saved, found or trusted; the message names the file in one sentence."""


def check_model_name(name: str) -> str:
    """Return `name` if it can name a model.

    Raises:
        ModelError: It is not lowercase letters, digits, _ and -, beginning with a letter.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise ModelError(f"model name {name!r} is not allowed: use lowercase letters, digits, _ and -")
    return name


def check_file_name(name: str) -> str:
    """Return `name` if a model's folder may hold a file of that name.

    Raises:
        ModelError: It leaves the folder, or its suffix is that of a format that may run code.
    """
    if not _FILE_NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is no plain file name: a model's files lie side by side in its folder"
        )
    if name != SUMS and Path(name).suffix not in SUFFIXES:
        known = " ".join(SUFFIXES)
        raise ModelError(
            f"{name} is refused: a model holds only {known}; pickles and programs run code when opened"
        )
    return name


class _Record(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


def _check_unit(unit: str) -> str:
    """Refuse what could write over a terminal."""
    if not unit.isprintable() or len(unit) > _LONGEST_UNIT:
        raise ValueError(f"unit {unit!r} must be at most {_LONGEST_UNIT} printable characters")
    return unit


class FileRecord(_Record):
    """What a file must be: its size in bytes and the SHA-256 of its content."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Metric(_Record):
    """One result, its standard error where it has one, and what it is held against; all in one unit."""

    value: float
    error: float | None = Field(None, ge=0)
    unit: Annotated[str, AfterValidator(_check_unit)] = ""
    limit: float | None = None
    baseline: float | None = None


class Manifest(_Record):
    """What a model's folder holds and where it comes from."""

    format: int = Field(ge=1, le=FORMAT)
    name: Annotated[str, AfterValidator(check_model_name)]
    version: int = Field(ge=1)
    created: str = Field(pattern="^[0-9T:.+-]{10,40}$")
    parameters: dict[str, Any]
    seed: int | None
    code: dict[str, Any]
    machine: dict[str, Any]
    inputs: list[dict[str, Any]]
    metrics: dict[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], Metric]
    onnx: dict[str, Any] | None
    files: dict[Annotated[str, AfterValidator(check_file_name)], FileRecord]

    @property
    def n_bytes(self) -> int:
        """Size of all listed files together."""
        return sum(record.bytes for record in self.files.values())


@dataclass(frozen=True)
class Checked:
    """A folder whose every file is what its manifest says, and the hash of that manifest."""

    manifest: Manifest
    manifest_sha256: str


def parse_manifest(data: bytes, sums: bytes, folder: Path) -> Checked:
    """Return the manifest in `data` when it is sound and `sums` fits it; `folder` is for messages.

    Raises:
        ModelError: It is changed, damaged, of a newer format, or lists a name that is not allowed.
    """
    path = folder / MANIFEST
    digest = hashlib.sha256(data).hexdigest()
    if f"{digest}  {MANIFEST}\n".encode() not in sums:
        raise ModelError(f"{path} is changed: {SUMS} has another SHA-256 for it")
    values = parse_json(data, path)
    version = values.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ModelError(f"{path} has format {version}, newer than {FORMAT}: update physics-twins")
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"{path}: {where!r}: {first['msg'].removeprefix('Value error, ')}") from None
    _check_listing(manifest, path)
    if sums != sums_text(manifest.files, digest):
        raise ModelError(f"{folder / SUMS} is changed: it does not agree with {MANIFEST}")
    return Checked(manifest, digest)


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object in `data`; `path` is for messages.

    Raises:
        ModelError: It is no JSON object, or has a name twice.
    """
    try:
        value = json.loads(data, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, found {type(value).__name__}")
    return value


def _check_listing(manifest: Manifest, path: Path) -> None:
    if len(manifest.files) > MAX_FILES:
        raise ModelError(f"{path} lists {len(manifest.files)} files, at most {MAX_FILES} are allowed")
    folded = [name.casefold() for name in (*manifest.files, MANIFEST, SUMS)]
    for name in manifest.files:
        if folded.count(name.casefold()) > 1:  # one file on a disk that ignores case
            raise ModelError(f"{path} lists {name} twice")
    for name in REQUIRED:
        if name not in manifest.files:
            raise ModelError(f"{path} lists no {name}")


def sums_text(files: Mapping[str, FileRecord], manifest_sha256: str) -> bytes:
    """Return what `sha256sum --check` reads: the hash of every file and of the manifest, by name."""
    hashes = {name: record.sha256 for name, record in files.items()} | {MANIFEST: manifest_sha256}
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
