"""A module as an ONNX file that gives the same numbers as torch, or none."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from physics_twins.models.manifest import ModelError

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime
    from google.protobuf.message import Message
    from torch import Tensor, nn

BATCH_SIZES = (1, 2, 3, 8)
N_DRAWS = 3
# Single precision rounds at 6e-8; the two programs add in another order.
TOLERANCE = 1e-5

# It tells at every export that torchvision is not installed, which nothing here needs.
_CHATTER = "torch.onnx._internal.exporter._registration"


def export_onnx(
    module: "nn.Module",
    example: "Tensor | Sequence[Tensor]",
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> tuple[bytes, dict[str, Any]]:
    """Return a module in evaluation mode as an ONNX file, after comparing it with torch.

    Both are given `example` and random inputs like it, in batches of several sizes.

    Args:
        module: Called with `example`; returns a tensor or a sequence of tensors. It is not changed.
        example: Its input or inputs, the batch along the first dimension of each.
        tolerance: Largest allowed deviation, as a fraction of the largest output.
        seed: Seed of the random inputs.

    Returns:
        The file's content, and what the comparison gave, by name.

    Raises:
        ModelError: The module cannot be exported, or deviates.
    """
    inputs = _as_batch(example)
    twin = copy.deepcopy(module).cpu().eval()
    data = onnx_file(twin, inputs)
    largest, n_inputs = _largest_deviation(twin, onnx_session(data), inputs, seed)
    if not largest <= tolerance:  # refuses NaN too
        raise ModelError(
            f"model.onnx deviates from torch by {largest:.1e} of the largest output, "
            f"allowed is {tolerance:.1e}: it was not saved"
        )
    return data, {
        "largest_deviation": largest,
        "tolerance": tolerance,
        "n_inputs": n_inputs,
        "batch_sizes": list(BATCH_SIZES),
    }


def onnx_session(data: bytes) -> "onnxruntime.InferenceSession":
    """Return onnxruntime's session, on the CPU, for an ONNX file in memory.

    Raises:
        ModelError: It is no sound ONNX file, or takes weights from files outside of itself.
    """
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
            raise ModelError("model.onnx takes weights from another file: that is not allowed")
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"model.onnx is no sound ONNX file: {error}") from None
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def _as_batch(example: "Tensor | Sequence[Tensor]") -> "tuple[Tensor, ...]":
    import torch

    inputs = (example,) if isinstance(example, torch.Tensor) else tuple(example)
    if not inputs or any(tensor.ndim == 0 or len(tensor) != len(inputs[0]) for tensor in inputs):
        raise ModelError("each example input must have the batch as its first dimension")
    if not len(inputs[0]):
        raise ModelError("the example inputs are empty")
    # The exporter takes a length of 1 for a constant.
    tensors = (tensor.detach().cpu() for tensor in inputs)
    return tuple(torch.cat([t, t]) if len(t) == 1 else t for t in tensors)


def onnx_file(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> bytes:
    """Return a module as an ONNX file for any length of the batch, not compared with anything.

    Raises:
        ModelError: The module cannot be exported.
    """
    import torch

    logging.getLogger(_CHATTER).setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # torch 2.13 warns of what its own exporter calls.
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        # Several inputs share the batch: one of them gives it its name.
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")
        try:
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                verbose=False,
            )
        except Exception as error:  # the exporter raises whatever the module's code makes it raise
            raise ModelError(_refusal(module, error)) from error
    if program is None:
        raise ModelError(_refusal(module, "the exporter gave nothing"))
    return _portable(program.model_proto.SerializeToString())


def _refusal(module: "nn.Module", reason: object) -> str:
    first_line = str(reason).strip().partition("\n")[0]
    return f"{type(module).__name__} cannot be exported to ONNX: {first_line}"


def _portable(data: bytes) -> bytes:
    """Return an ONNX file without the source lines and paths that the exporter notes on every node."""
    import onnx

    model = onnx.load_model_from_string(data)
    for message in _messages(model):
        for field in ("metadata_props", "doc_string"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    return model.SerializeToString(deterministic=True)


def _largest_deviation(
    module: "nn.Module",
    compiled: "onnxruntime.InferenceSession",
    inputs: "tuple[Tensor, ...]",
    seed: int,
) -> tuple[float, int]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    draws = [inputs]
    for n in BATCH_SIZES:
        draws += [tuple(_like(t, n, generator) for t in inputs) for _ in range(N_DRAWS)]
    names = [node.name for node in compiled.get_inputs()]
    deviations = []
    for draw in draws:
        given = {name: tensor.numpy() for name, tensor in zip(names, draw, strict=True)}
        try:
            with torch.no_grad():
                expected = module(*draw)
            found = compiled.run(None, given)
        except Exception as error:  # a module and onnxruntime raise whatever they like
            problem = f"it fails for a batch of {len(draw[0])}: {error}"
            raise ModelError(_refusal(module, problem)) from error
        deviations.append(_deviation(found, _arrays(expected)))
    return float(max(deviations, key=lambda d: (d != d, d))), len(draws)


def _like(tensor: "Tensor", n: int, generator: Any) -> "Tensor":
    """Return a batch of `n` random inputs with the mean and spread, or the integers, of an example."""
    import torch

    shape = (n, *tensor.shape[1:])
    if tensor.is_floating_point():
        spread = tensor.std() if tensor.numel() > 1 else torch.zeros(())
        noise = torch.randn(shape, generator=generator, dtype=tensor.dtype)
        return tensor.mean() + (spread if spread > 0 else 1.0) * noise
    drawn = torch.randint(tensor.numel(), shape, generator=generator)
    return tensor.flatten()[drawn]


def _arrays(outputs: Any) -> "list[np.ndarray]":
    import torch

    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    if not isinstance(outputs, list | tuple) or not all(isinstance(o, torch.Tensor) for o in outputs):
        raise ModelError("a module for ONNX must return a tensor or a sequence of tensors")
    return [output.numpy() for output in outputs]


def _deviation(found: Sequence[Any], expected: "Sequence[np.ndarray]") -> float:
    """Return the largest difference as a fraction of the largest expected number, over all outputs."""
    import numpy as np

    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape:
            raise ModelError(f"model.onnx returns shape {a.shape} where torch returns {b.shape}")
        scale = np.abs(b).max(initial=0.0) or 1.0
        worst = np.maximum(worst, np.abs(a.astype(float) - b).max(initial=0.0) / scale)
    return float(worst)


def _tensors(model: "Message") -> "Iterator[Any]":
    return (message for message in _messages(model) if message.DESCRIPTOR.name == "TensorProto")


def _messages(message: "Message") -> "Iterator[Message]":
    """Yield a protobuf message and all inside it."""
    from google.protobuf.message import Message

    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in (value,) if isinstance(value, Message) else value:
                yield from _messages(each)
