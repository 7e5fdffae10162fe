"""One saved model, opened: every file checked, and hashed again when it is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins.models import files
from physics_twins.models.manifest import (
    CARD,
    CONFIG,
    ONNX,
    WEIGHTS,
    Manifest,
    Metric,
    ModelError,
    parse_json,
)
from physics_twins.models.onnx import onnx_session
from physics_twins.models.weights import fit, unpack

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor, nn


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
    def metrics(self) -> dict[str, Metric]:
        """Results by name, the most telling one first."""
        return self.manifest.metrics

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
        return files.read_checked(self.folder / name, self.manifest.files[name])

    def weights(self) -> "dict[str, Tensor]":
        """Return its tensors by name, on the CPU.

        Raises:
            ModelError: The file has changed, is unsound, or holds values that are not finite.
        """
        return unpack(self.read(WEIGHTS), self.folder / WEIGHTS)

    def load_into(self, module: "nn.Module") -> None:
        """Copy its weights into a module that the caller has built from `config`, on any device.

        Raises:
            ModelError: As for `weights`, or names, shapes or types differ; the module is unchanged.
        """
        fit(module, self.weights(), self.folder / WEIGHTS)

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
        ModelError: A file is changed, missing, not listed, a link, a pickle, or of a newer format.
    """
    folder = Path(folder).expanduser().resolve()
    checked = files.check(folder)
    data = files.read_checked(folder / CONFIG, checked.manifest.files[CONFIG])
    config = parse_json(data, folder / CONFIG)
    return Model(folder, checked.manifest, checked.manifest_sha256, config)
