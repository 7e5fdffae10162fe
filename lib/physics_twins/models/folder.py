"""One model's folder: weights, configuration, card, and a manifest with the hash of every file.

A folder from elsewhere is taken for hostile, because whoever made it made its manifest too: names and
sizes are checked besides hashes, and nothing of what the files say is run.
"""

import hashlib
import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from physics_twins.data import flush_folder, replacing

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor, nn

MANIFEST, SUMS = "manifest.json", "manifest.sha256"
WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
# Formats that only hold data: nothing in them is run when they are read.
SUFFIXES = "safetensors json md onnx csv txt nc png"

_FILE_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.({SUFFIXES.replace(' ', '|')})")
_MODEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_Kind = TypeVar("_Kind")


class ModelError(ValueError):
    """A model that cannot be saved, found or trusted; the message names the file in one sentence."""


def check_name(name: str) -> str:
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
    if not _FILE_NAME.fullmatch(name) and name != SUMS:
        raise ModelError(
            f"{name!r} is no plain file name that ends in one of {SUFFIXES}: paths lead elsewhere, and"
            " pickles and programs run code when opened"
        )
    return name


class Record(BaseModel):
    """What is read from JSON that nobody has to trust."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class FileRecord(Record):
    """What a file must be: its size in bytes and the SHA-256 of its content."""

    bytes: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, data: "bytes") -> "FileRecord":
        """Return the record of a content."""
        return cls(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


class Metric(Record):
    """One result, its standard error where it has one, and what it is held against; all in one unit."""

    value: float
    error: float | None = Field(None, ge=0)
    unit: str = Field("", max_length=40, pattern=r"^\P{C}*$")  # nothing that moves about on a terminal
    limit: float | None = None
    baseline: float | None = None


Metrics = dict[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], Metric]


class Manifest(Record):
    """What a model's folder holds and where it comes from."""

    format: int = Field(ge=1, le=1)
    name: Annotated[str, AfterValidator(check_name)]
    version: int = Field(ge=1)
    created: str = Field(pattern="^[0-9T:.+-]{10,40}$")
    parameters: dict[str, Any]
    seed: int | None
    code: dict[str, Any]
    machine: dict[str, Any]
    inputs: list[dict[str, Any]]
    metrics: Metrics
    onnx: dict[str, Any] | None
    files: dict[Annotated[str, AfterValidator(check_file_name)], FileRecord]

    @property
    def n_bytes(self) -> int:
        """Size of all listed files together."""
        return sum(record.bytes for record in self.files.values())


@dataclass(frozen=True)
class Model:
    """A model whose every file was checked against its manifest.

    What is read later is hashed again: files that change in between are refused.

    Attributes:
        folder: Absolute path.
        manifest: Where it comes from, its metrics, and the hash of every file.
        manifest_sha256: Hash of the manifest, and so of the whole model.
        config: What the module is built from; checked values, of whatever type the file gives.
    """

    folder: Path
    manifest: Manifest
    manifest_sha256: str
    config: dict[str, Any]

    @property
    def card(self) -> str:
        """The model card, in Markdown with a YAML header."""
        return self.read(CARD).decode("utf-8", errors="replace")

    def read(self, name: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            ModelError: It has no such file, or the file has changed since it was checked.
        """
        if name not in self.manifest.files:
            raise ModelError(f"{self} has no {name}; it has {', '.join(self.manifest.files)}")
        data = _read(self.folder / name)
        if FileRecord.of(data) != self.manifest.files[name]:
            raise ModelError(f"{self.folder / name} is changed since it was checked")
        return data

    def load_into(self, module: "nn.Module") -> None:
        """Copy its weights into a module that the caller has built from `config`, on any device.

        Raises:
            ModelError: The file has changed, is unsound, or holds values that are not finite; or names,
                shapes or types are not those of the module, which then is unchanged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self.folder / WEIGHTS
        try:
            tensors = load(self.read(WEIGHTS))
        except (SafetensorError, KeyError) as error:
            raise ModelError(f"{path} is no sound safetensors file: {error}") from None
        check_finite(tensors, path)
        there, here = (
            {name: f"{tuple(value.shape)} {value.dtype}" for name, value in state.items()}
            for state in (tensors, module.state_dict())
        )
        for name in sorted(here | there):
            if here.get(name) != there.get(name):
                what = f"{name} is {there.get(name)} there, {here.get(name)} here"
                raise ModelError(f"{path} does not fit {type(module).__name__}: {what}")
        module.load_state_dict(tensors)

    def onnx_session(self) -> "onnxruntime.InferenceSession":
        """Return onnxruntime's session for its ONNX file, on the CPU.

        Raises:
            ModelError: It was saved without one, or the file is unsound or points out of itself.
        """
        return onnx_session(self.read(ONNX))

    def __str__(self) -> str:
        """Return its address, as in `pulsar-classifier/3`."""
        return f"{self.manifest.name}/{self.manifest.version}"


def open_model(folder: str | Path) -> Model:
    """Return the model in `folder`, after every file was checked.

    Raises:
        ModelError: A file is changed, missing, not listed, a link, or of a format that may run code;
            the manifest is missing, changed or of a newer format.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise ModelError(f"there is no model in {folder}")
    contents = {check_file_name(path.name): _read(path) for path in folder.iterdir()}
    manifest, sha256 = check(contents, folder)
    config = parsed(dict[str, Any], contents[CONFIG], folder / CONFIG)
    return Model(folder, manifest, sha256, config)


def check(contents: Mapping[str, bytes], where: Path) -> tuple[Manifest, str]:
    """Check a model's files.

    Args:
        contents: What they hold, by name.
        where: Where they come from, for messages.

    Returns:
        The manifest, and its hash.

    Raises:
        ModelError: A file is changed, missing or not listed, or the manifest is of another form.
    """
    for name in (MANIFEST, SUMS, WEIGHTS, CONFIG, CARD):
        if name not in contents:
            raise ModelError(f"{where / name} is missing: this is no model, or not whole")
    sha256 = hashlib.sha256(contents[MANIFEST]).hexdigest()
    if f"{sha256}  {MANIFEST}\n".encode() not in contents[SUMS]:
        raise ModelError(f"{where / MANIFEST} is changed: {SUMS} has another SHA-256 for it")
    manifest = parsed(Manifest, contents[MANIFEST], where / MANIFEST)
    found = {name: FileRecord.of(contents[name]) for name in contents.keys() - {MANIFEST, SUMS}}
    for name in sorted(found | manifest.files):
        if name not in manifest.files:
            raise ModelError(f"{where / name} is not listed in {MANIFEST}: remove it")
        if found.get(name) != manifest.files[name]:
            raise ModelError(f"{where / name} is {'changed' if name in found else 'missing'}")
    if contents[SUMS] != _sums(found, sha256):
        raise ModelError(f"{where / SUMS} is changed: it does not agree with {MANIFEST}")
    return manifest, sha256


def sealed(contents: Mapping[str, bytes], facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a model's files with the manifest, and what `sha256sum --check` reads.

    Args:
        contents: What all other files hold, by name.
        facts: What the manifest says besides their sizes and hashes.
    """
    files = {name: FileRecord.of(data) for name, data in sorted(contents.items())}
    listed = {name: record.model_dump() for name, record in files.items()}
    data = (json.dumps({**facts, "files": listed}, indent=2, allow_nan=False) + "\n").encode()
    return {**contents, MANIFEST: data, SUMS: _sums(files, hashlib.sha256(data).hexdigest())}


def write(contents: Mapping[str, bytes], folder: Path) -> bool:
    """Write checked files into a folder that appears whole; return False where its name is taken."""
    temporary = folder.parents[1] / f".unfinished-{secrets.token_hex(8)}"
    temporary.mkdir(parents=True)
    try:
        for name, data in contents.items():
            with replacing(temporary / name) as file:
                file.write_bytes(data)
        folder.parent.mkdir(exist_ok=True)
        temporary.rename(folder)
        flush_folder(folder.parent)
    except OSError:
        if folder.exists():
            return False
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def parsed(kind: type[_Kind], data: bytes, where: object) -> _Kind:
    """Return JSON as a type says it must be; `where` it stands is for messages.

    Raises:
        ModelError: It is no JSON, or of another form.
    """
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(f"{where}: {place!r}: {first['msg'].removeprefix('Value error, ')}") from None


def check_finite(tensors: "Mapping[str, Tensor]", where: object) -> None:
    """Refuse tensors that hold a value that is not finite; `where` they are is for messages.

    Raises:
        ModelError: One does.
    """
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise ModelError(f"weights {name} of {where} hold values that are not finite (NaN or inf)")


def onnx_session(data: bytes) -> "onnxruntime.InferenceSession":
    """Return onnxruntime's session, on the CPU, for an ONNX file in memory.

    Raises:
        ModelError: It is no sound ONNX file, or takes weights from files outside of itself.
    """
    import onnx
    import onnxruntime

    # Checked in a folder where it is alone: what it takes from another file is then missed.
    with tempfile.TemporaryDirectory() as empty:
        path = Path(empty, ONNX)
        path.write_bytes(data)
        try:
            onnx.checker.check_model(path, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"{ONNX} is no sound ONNX file that stands alone: {reason}") from None
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def _read(path: Path) -> bytes:
    if path.is_symlink():
        raise ModelError(f"{path} is a link: a model's files must lie in its own folder")
    if not path.is_file():
        raise ModelError(f"{path} is missing, or no ordinary file")
    return path.read_bytes()


def _sums(files: Mapping[str, FileRecord], manifest_sha256: str) -> bytes:
    hashes = {name: record.sha256 for name, record in files.items()} | {MANIFEST: manifest_sha256}
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()
