"""Checkpoints: any nested state in one safetensors file that is whole, or refused.

A state is made of dicts with text or whole numbers as keys, lists, tuples, tensors, numbers, texts,
truth values and None. Its tensors become the file's tensors; everything else, and where each tensor
belongs, is JSON in the file's metadata, beside a SHA-256 over both. Nothing is pickled.
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from physics_twins.data import replacing

KEPT = 2
# What a killed process had begun to write is removed after this time; a living one writes faster.
ABANDONED_AFTER_S = 3600.0

_log = logging.getLogger(__name__)
_PATTERN = "checkpoint-*.safetensors"


def write(path: Path, state: Any) -> None:
    """Write a nested state to `path` in one step.

    Raises:
        ValueError: Something in it is none of the kinds that a checkpoint can hold; the message says
            where.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, "", tensors), allow_nan=False)
    metadata = {"tree": tree, "sha256": _sha256(tree, tensors)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def read(path: Path) -> Any:
    """Return the state in `path`, its tensors on the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or any of its contents has changed; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copied, because the file's own memory ends with it.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {error}") from None
    expected, tree = metadata.get("sha256"), metadata.get("tree", "")
    found = _sha256(tree, tensors)
    if found != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 should be {expected}, found {found}")
    return _decode(json.loads(tree), tensors)


def write_step(folder: Path, step: int, state: Any) -> Path:
    """Write the state after `step` into `folder`, and remove all but the last two; return its path."""
    path = folder / f"checkpoint-{step:010d}.safetensors"
    write(path, state)
    for old in _steps(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    for left in folder.glob(f".{_PATTERN}.*"):
        if _age_s(left) > ABANDONED_AFTER_S:
            left.unlink(missing_ok=True)
    return path


def read_newest(folder: Path) -> Any:
    """Return the state of the newest checkpoint in `folder` that is whole; None where there is none.

    A damaged one is passed over with a warning.

    Raises:
        ValueError: All are damaged.
    """
    problems = []
    for path in reversed(_steps(folder)):
        try:
            return read(path)
        except (ValueError, FileNotFoundError) as error:
            _log.warning("%s; the checkpoint before it is taken", error)
            problems.append(str(error))
    if problems:
        raise ValueError(f"{'; '.join(problems)}; remove what is in {folder} to begin anew")
    return None


def contents_sha256(state: Any) -> str:
    """Return the SHA-256 of a nested state: of all bits of its tensors and everything between them."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, "", tensors), allow_nan=False)
    return _sha256(tree, tensors)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob(_PATTERN))


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON, with its tensors put aside into `tensors`."""
    if isinstance(value, Tensor):
        return _encode_tensor(value, where, tensors)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(each, f"{where}/{n}", tensors) for n, each in enumerate(value)]}
    if isinstance(value, Mapping) and all(type(key) in (str, int) for key in value):
        return {"dict": [[k, _encode(each, f"{where}/{k}", tensors)] for k, each in value.items()]}
    raise ValueError(f"a checkpoint cannot hold {where.lstrip('/')} = {value!r}")


def _encode_tensor(tensor: Tensor, where: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    name = f"{len(tensors)}:{where.lstrip('/')}"
    # Cloned, because two names for the same memory (tied weights) are refused by safetensors.
    plain = tensor.detach().cpu().contiguous().clone()
    tensors[name] = torch.view_as_real(plain) if plain.is_complex() else plain
    return {"complex" if plain.is_complex() else "tensor": name}


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "complex":
        return torch.view_as_complex(tensors[content])
    if kind == "float":
        return float(content)
    if kind == "dict":
        return {key: _decode(each, tensors) for key, each in content}
    values = [_decode(each, tensors) for each in content]
    return values if kind == "list" else tuple(values)


def _sha256(tree: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
