"""Weights as bytes in the safetensors format, and back into a module that the caller built."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from physics_twins.models.manifest import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 3


def pack(weights: "nn.Module | Mapping[str, Tensor]") -> bytes:
    """Return a module's state, or tensors by name, in the safetensors format, from any device.

    Raises:
        ModelError: There are none, one is no dense tensor, or one holds a value that is not finite.
    """
    import torch
    from safetensors.torch import save

    state = weights.state_dict() if isinstance(weights, torch.nn.Module) else dict(weights)
    if not state:
        raise ModelError("there are no weights to save")
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise ModelError(f"weights {name} must be a dense tensor, found {type(value).__name__}")
    # Copies, because tensors that share memory cannot be written.
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}
    _check_finite(plain, "the module")
    return save(plain, metadata={"format": "pt"})


def unpack(data: bytes, path: Path) -> "dict[str, Tensor]":
    """Return tensors by name; `path` is for messages.

    Raises:
        ModelError: It is no sound safetensors file, or a value is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is no sound safetensors file: {error}") from None
    _check_finite(tensors, str(path))
    return tensors


def fit(module: "nn.Module", tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Copy tensors into a module that has exactly these; otherwise it stays as it was.

    Raises:
        ModelError: A name, shape or type differs; the message names `path` and what differs.
    """
    wanted = module.state_dict()
    problems = [f"lacks {name}" for name in wanted if name not in tensors]
    problems += [f"has {name} besides" for name in sorted(tensors) if name not in wanted]
    for name, value in sorted(tensors.items()):
        if name in wanted and _kind(value) != _kind(wanted[name]):
            problems.append(f"has {name} of {_kind(value)}, expected {_kind(wanted[name])}")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ModelError(
            f"{path} does not fit {type(module).__name__}: it {', '.join(problems[:_SHOWN])}{more}"
        )
    module.load_state_dict(dict(tensors), strict=True)


def _kind(tensor: "Tensor") -> str:
    size = " x ".join(map(str, tensor.shape)) or "one number"
    return f"{size} ({str(tensor.dtype).removeprefix('torch.')})"


def _check_finite(tensors: "Mapping[str, Tensor]", where: str) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() or value.is_complex():
            n_wrong = int((~value.isfinite()).sum())
            if n_wrong:
                raise ModelError(
                    f"weights {name} of {where} hold {n_wrong} values that are not finite (NaN or inf)"
                )
