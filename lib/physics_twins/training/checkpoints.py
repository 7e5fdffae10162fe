"""Checkpoints: any nested state in one safetensors file that is whole, or refused.

A state is made of dicts with text or whole numbers as keys, lists, tuples, tensors, numbers, texts,
truth values and None. Its tensors become the file's tensors; everything else, and where each tensor
belongs, is JSON in one more of them. The file's name ends in its SHA-256. Nothing is pickled.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from physics_twins.data import replacing

KEPT = 2
# What a killed process had begun to write is removed after this time; a living one writes faster.
ABANDONED_AFTER_S = 3600.0

_log = logging.getLogger(__name__)
_PATTERN = "checkpoint-*.safetensors"
_TREE = "tree"


def packed(state: Any) -> bytes:
    """Return a nested state in the safetensors format; the same bytes for the same state.

    Raises:
        ValueError: Something in it is none of the kinds that a checkpoint can hold; the message says
            where.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, "", tensors)).encode()
    return save(tensors | {_TREE: torch.frombuffer(bytearray(tree), dtype=torch.uint8)})


def unpacked(data: bytes) -> Any:
    """Return the state in bytes from `packed`, its tensors on the CPU."""
    tensors = load(data)
    return _decode(json.loads(tensors.pop(_TREE).numpy().tobytes()), tensors)


def contents_sha256(state: Any) -> str:
    """Return the SHA-256 of a nested state: of all bits of its tensors and everything between them."""
    return hashlib.sha256(packed(state)).hexdigest()


def write(folder: Path, step: int, state: Any) -> Path:
    """Write the state after `step` into `folder`, and remove all but the last two; return its path.

    Raises:
        ValueError: As for `packed`.
    """
    data = packed(state)
    path = folder / f"checkpoint-{step:010d}-{hashlib.sha256(data).hexdigest()}.safetensors"
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    for old in sorted(folder.glob(_PATTERN))[:-KEPT]:
        old.unlink(missing_ok=True)
    for left in folder.glob(f".{_PATTERN}.*"):
        if time.time() - left.stat().st_mtime > ABANDONED_AFTER_S:
            left.unlink(missing_ok=True)
    return path


def read_newest(folder: Path) -> Any:
    """Return the state of the newest checkpoint in `folder` that is whole; None where there is none.

    A damaged one is passed over with a warning.

    Raises:
        ValueError: All are damaged.
    """
    paths = sorted(folder.glob(_PATTERN), reverse=True)
    for path in paths:
        data = path.read_bytes()
        if path.stem.endswith(hashlib.sha256(data).hexdigest()):
            return unpacked(data)
        _log.warning("%s is damaged: its name is not its SHA-256; the one before it is taken", path)
    if paths:
        names = " and ".join(path.name for path in paths)
        raise ValueError(f"{names} are damaged; remove what is in {folder} to begin anew")
    return None


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON, with its tensors put aside into `tensors`."""
    if isinstance(value, Tensor):
        name = f"{len(tensors)}:{where.lstrip('/')}"
        # Cloned, because two names for the same memory (tied weights) are refused by safetensors.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(each, f"{where}/{n}", tensors) for n, each in enumerate(value)]}
    if isinstance(value, Mapping) and all(type(key) in (str, int) for key in value):
        return {"dict": [[k, _encode(each, f"{where}/{k}", tensors)] for k, each in value.items()]}
    raise ValueError(f"a checkpoint cannot hold {where.lstrip('/')} = {value!r}")


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decode(each, tensors) for key, each in content}
    values = [_decode(each, tensors) for each in content]
    return values if kind == "list" else tuple(values)
