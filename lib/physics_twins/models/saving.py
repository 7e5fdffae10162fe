"""A trained model saved as the next version under its name, whole or not at all."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import runs
from physics_twins.models import files
from physics_twins.models.card import Card, render
from physics_twins.models.folder import Model, open_model
from physics_twins.models.manifest import (
    CARD,
    CONFIG,
    FORMAT,
    ONNX,
    WEIGHTS,
    Manifest,
    Metric,
    ModelError,
    check_file_name,
    check_model_name,
)
from physics_twins.models.onnx import export_onnx
from physics_twins.models.registry import next_version, own_root
from physics_twins.models.weights import pack

if TYPE_CHECKING:
    from torch import Tensor, nn

    from physics_twins.parameters import Parameters


def save(
    weights: "nn.Module | Mapping[str, Tensor]",
    name: str,
    *,
    config: "Parameters | Mapping[str, Any]",
    card: Card,
    metrics: Mapping[str, Any],
    parameters: "Parameters | Mapping[str, Any]",
    seed: int | None,
    inputs: Sequence[Mapping[str, Any]] = (),
    example: "Tensor | Sequence[Tensor] | None" = None,
    onnx: tuple[bytes, Mapping[str, Any]] | None = None,
    attachments: Sequence[Path] = (),
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
        inputs: Files it was trained on, as from `runs.describe_inputs`; folders are left out.
        example: An input of the module, or several; with it, `model.onnx` is added and compared with
            torch. Then `weights` must be the module.
        onnx: In place of `example`, an ONNX file and what comparing it with torch gave, for a module
            whose outputs cannot be compared number by number.
        attachments: Further files, such as the training's history; data formats only.
        root: Where to save; `own_root` by default.

    Returns:
        The saved model, opened and checked.

    Raises:
        ModelError: Something is not allowed, not finite, or the ONNX file deviates; nothing is left.
    """
    check_model_name(name)
    origin: dict[str, Any] = {
        "parameters": _plain(parameters, "parameters"),
        "seed": None if seed is None else int(seed),
        "code": runs.describe_code(),
        "inputs": [_without_folder(item) for item in inputs],
        "metrics": {key: _metric(key, value) for key, value in metrics.items()},
        "onnx": None,
    }
    contents = {check_file_name(path.name): path.read_bytes() for path in attachments}
    contents |= _contents(weights, example, origin)
    if onnx is not None:
        contents[ONNX], origin["onnx"] = onnx[0], _plain(onnx[1], "onnx")
    contents[CONFIG] = (json.dumps(_plain(config, "config"), indent=2) + "\n").encode()
    contents[CARD] = render(name, card, **origin).encode()
    return _written(name, contents, origin, root)


def _contents(
    weights: "nn.Module | Mapping[str, Tensor]", example: Any, origin: dict[str, Any]
) -> dict[str, bytes]:
    """Return the weights' file and, with an example, the ONNX file; its comparison goes to `origin`."""
    contents = {WEIGHTS: pack(weights)}
    if example is not None:
        if isinstance(weights, Mapping):
            raise ModelError("ONNX export needs the module itself, not only its tensors by name")
        contents[ONNX], origin["onnx"] = export_onnx(weights, example)
    return contents


def _written(
    name: str, contents: Mapping[str, bytes], origin: Mapping[str, Any], root: Path | None
) -> Model:
    parent = (root or own_root()) / name
    with files.temporary_folder(parent.parent) as temporary:
        records = {n: files.write(temporary / n, data) for n, data in sorted(contents.items())}
        while True:  # until no other process has taken the number
            number = next_version(name, root=root)
            manifest = Manifest(
                format=FORMAT,
                name=name,
                version=number,
                created=runs.now(),
                machine=_machine(),
                files=records,
                **origin,
            )
            files.write_manifest(temporary, manifest)
            if files.appear(temporary, parent / str(number)):
                break
    return open_model(parent / str(number))


def _plain(values: Any, what: str) -> dict[str, Any]:
    """Return values as they will be read again from JSON."""
    values = values if isinstance(values, Mapping) else values.to_papermill()
    try:
        return json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{what} must be text, finite numbers, lists and mappings: {error}") from None


def _metric(name: str, metric: Any) -> Metric:
    facts = dict(metric) if isinstance(metric, Mapping) else {"value": metric}
    try:
        if not name.isidentifier():
            raise ValueError("its name is no identifier")
        numbers = {k: v if k == "unit" or v is None else float(v) for k, v in facts.items()}
        return Metric.model_validate(numbers)
    except (TypeError, ValueError):
        raise ModelError(
            f"metric {name!r} = {metric!r} is not allowed: it must have an identifier as name and be "
            "a finite number or a mapping with value and any of error, unit, limit and baseline"
        ) from None


def _without_folder(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of an input file, without the folders of the machine where it lay."""
    facts = {key: item[key] for key in ("parameter", "bytes", "sha256")}
    return {"name": Path(item["path"]).name, **facts}


def _machine() -> dict[str, Any]:
    """Return the environment without what only names this machine and process: models are published."""
    interpreter = runs.describe_interpreter()
    facts = {name: interpreter[name] for name in ("python", "packages")}
    return facts | {"platform": f"{platform.system()} {platform.machine()}"}
