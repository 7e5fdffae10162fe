"""A module as an ONNX file that gives the same numbers as torch, or none."""

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession
from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
from torch import Generator, Tensor, nn

from physics_twins.models.folder import ModelError, onnx_session

BATCH_SIZES = (1, 2, 3, 8)
N_DRAWS = 3
# Single precision rounds at 6e-8; the two programs add in another order.
TOLERANCE = 1e-5

# It tells at every export that torchvision is not installed, which nothing here needs.
_CHATTER = "torch.onnx._internal.exporter._registration"


def export_onnx(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    *,
    deviation: Callable[[InferenceSession], float] | None = None,
    compared: str = "largest output",
    tolerance: float = TOLERANCE,
) -> tuple[bytes, dict[str, Any]]:
    """Return a module in evaluation mode as an ONNX file, after comparing it with torch.

    Both are given random inputs like `example`, in batches of several sizes: the module itself and the
    file as it is kept. (torch's own `verify_onnx_program` compares neither, but what lies between.)

    Args:
        module: Called with `example`; returns a tensor or a sequence of tensors. It is not changed.
        example: Its input or inputs, the batch along the first dimension of each.
        deviation: Compares in place of that, where single outputs need not agree: returns, of the
            file's session, the largest difference relative to `compared`.
        compared: What is compared, in words.
        tolerance: The largest deviation allowed, relative.

    Returns:
        The file's content, and what the comparison gave, by name.

    Raises:
        ModelError: The module cannot be exported, or deviates.
    """
    examples = (example,) if isinstance(example, torch.Tensor) else example
    inputs = tuple(tensor.detach().cpu() for tensor in examples)
    if not inputs or any(tensor.ndim == 0 or len(tensor) == 0 for tensor in inputs):
        raise ModelError("each example input must have the batch, not empty, as its first dimension")
    plain = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    # The exporter takes a length of 1 for a constant.
    data = onnx_file(plain, tuple(torch.cat([t, t]) if len(t) == 1 else t for t in inputs))
    largest = (deviation or partial(_largest_deviation, plain, inputs))(onnx_session(data))
    if not largest <= tolerance:  # refuses NaN too
        raise ModelError(
            f"model.onnx deviates from torch by {largest:.1e} of the {compared}, "
            f"allowed is {tolerance:.1e}: it was not saved"
        )
    sizes = {} if deviation else {"batch_sizes": list(BATCH_SIZES)}
    return data, {"compared": compared, "largest_deviation": largest, "tolerance": tolerance, **sizes}


def onnx_file(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """Return a module as an ONNX file for any length of the batch, not compared with anything.

    Raises:
        ModelError: The module cannot be exported.
    """
    logging.getLogger(_CHATTER).setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # torch 2.13 warns of what its own exporter calls.
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        # Several inputs share the batch: one of them gives it its name.
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")
        try:
            shapes = tuple({0: batch} for _ in inputs)
            program: Any = torch.onnx.export(module, inputs, dynamic_shapes=shapes, verbose=False)
        except Exception as error:  # the exporter raises whatever the module's code makes it raise
            reason = str(error).strip().partition("\n")[0]
            name = type(module).__name__
            raise ModelError(f"{name} cannot be exported to ONNX: {reason}") from error
    # Source lines and paths of this machine, which the exporter notes on every node.
    ClearMetadataAndDocStringPass()(program.model)
    return program.model_proto.SerializeToString(deterministic=True)


def _largest_deviation(module: nn.Module, inputs: Sequence[Tensor], session: InferenceSession) -> float:
    generator = torch.Generator().manual_seed(0)
    drawn = ([_drawn(each, n, generator) for each in inputs] for n in BATCH_SIZES * N_DRAWS)
    return float(np.max([_deviation(module, session, each) for each in drawn]))


def _drawn(tensor: Tensor, n: int, generator: Generator) -> Tensor:
    """Return a batch of `n` inputs whose numbers are drawn from those of an example."""
    shape = (n, *tensor.shape[1:])
    return tensor.flatten()[torch.randint(tensor.numel(), shape, generator=generator)]


def _deviation(module: nn.Module, session: InferenceSession, inputs: Sequence[Tensor]) -> float:
    """Return the largest difference as a fraction of torch's largest number, over all outputs."""
    with torch.no_grad():
        outputs = module(*inputs)
    expected = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    names = [node.name for node in session.get_inputs()]
    found: Any = session.run(None, {n: each.numpy() for n, each in zip(names, inputs, strict=True)})
    deviations = [0.0]
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape:
            raise ModelError(f"model.onnx returns shape {a.shape} where torch returns {b.shape}")
        scale = float(b.abs().max()) or 1.0
        deviations.append(np.abs(a - b.double().numpy()).max() / scale)
    return float(np.max(deviations))
