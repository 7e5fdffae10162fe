"""A trained model saved as the next version under its name, whole or not at all."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save as packed
from torch import Tensor, nn

from physics_twins import runs
from physics_twins.data import file_sha256
from physics_twins.models import folder
from physics_twins.models.card import Card, render
from physics_twins.models.folder import CARD, CONFIG, ONNX, WEIGHTS, Metrics, Model
from physics_twins.models.registry import next_version, places


def save(
    weights: nn.Module | Mapping[str, Tensor],
    name: str,
    *,
    config: Mapping[str, Any],
    card: Card,
    metrics: Mapping[str, Any],
    parameters: Mapping[str, Any],
    seed: int | None,
    inputs: Sequence[Path] = (),
    onnx: tuple[bytes, Mapping[str, Any]] | None = None,
    root: Path | None = None,
) -> Model:
    """Save a model as the next version of `name`, whole or not at all; older versions stay as they are.

    Args:
        weights: The trained module, or its tensors by name.
        name: Lowercase letters, digits, _ and -.
        config: What the module is built from, for whoever loads it.
        card: What only its author knows.
        metrics: Results by name, the most telling one first: a number, or a mapping with `value` and
            any of `error`, `unit`, `limit` and `baseline`.
        parameters: Parameters of the training.
        seed: Seed of the training, None where it is unknown.
        inputs: Files it was trained on, of which names and hashes are kept.
        onnx: An ONNX file and what comparing it with torch gave, as from `export_onnx`.
        root: Where to save; your own folder of models by default.

    Returns:
        The saved model, opened and checked.

    Raises:
        ModelError: Something is not allowed, or a weight or metric is not finite; nothing is left.
        TypeError: A value of `config` or `parameters` is no text, number, list or mapping.
        ValueError: It is a number that is not finite.
    """
    state = weights if isinstance(weights, Mapping) else weights.state_dict()
    # Copies, because tensors that share memory cannot be written.
    plain = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}
    folder.check_finite(plain, "the module")
    text = json.dumps(dict(config), indent=2, allow_nan=False)
    contents = {WEIGHTS: packed(plain, metadata={"format": "pt"}), CONFIG: f"{text}\n".encode()}
    if onnx is not None:
        contents[ONNX] = onnx[0]
    values = {key: m if isinstance(m, Mapping) else {"value": m} for key, m in metrics.items()}
    checked = folder.parsed(Metrics, json.dumps(values, default=float).encode(), "metrics")
    packages = {
        name: version(name) for name in ("torch", "numpy", "safetensors", "onnx", "onnxruntime")
    }
    facts = {
        "format": 1,
        "name": name,
        "created": runs.now(),
        "parameters": dict(parameters),
        "seed": seed,
        "code": runs.describe_code(),
        "machine": {"python": platform.python_version(), "packages": packages},
        "inputs": [{"name": path.name, "sha256": file_sha256(path)} for path in inputs],
        "metrics": {key: metric.model_dump() for key, metric in checked.items()},
        "onnx": onnx and dict(onnx[1]),
    }
    contents[CARD] = render(card, facts, checked).encode()
    while True:  # until no other process has taken the number
        number = next_version(name, root=root)
        home = places(root)[0] / name / str(number)
        whole = folder.sealed(contents, facts | {"version": number})
        folder.check(whole, home)
        if folder.write(whole, home):
            return folder.open_model(home)
