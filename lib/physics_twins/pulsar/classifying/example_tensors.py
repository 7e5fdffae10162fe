"""Labelled frames as tensors, from which a network's inputs are taken in any order."""

from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor, nn

from physics_twins.pulsar.classifying.examples import PICTURES

_BATCH = 1024


@dataclass(frozen=True)
class ExampleTensors:
    """Examples as tensors.

    Attributes:
        scalars: Numbers of each frame, shape (frame, scalar).
        label: Number among `LABELS`, shape (frame,).
        is_gated: Whether it has pictures, shape (frame,).
        row: Which pictures are its own, where it has any, shape (frame,).
        pictures: In the order of `PICTURES`, half precision, shape (gated, ...).
    """

    scalars: Tensor
    label: Tensor
    is_gated: Tensor
    row: Tensor
    pictures: tuple[Tensor, ...]

    @classmethod
    def of(cls, data: xr.Dataset) -> "ExampleTensors":
        """Take the tensors from examples."""
        is_gated = torch.from_numpy(data["is_gated"].values)
        return cls(
            torch.from_numpy(data["scalars"].values),
            torch.from_numpy(data["label"].values),
            is_gated,
            is_gated.cumsum(0) - 1,
            tuple(torch.from_numpy(data[name].values) for name in PICTURES),
        )

    def inputs(self, numbers: Tensor) -> tuple[Tensor, ...]:
        """Return what the network takes for some frames."""
        is_gated = self.is_gated[numbers]
        rows = self.row[numbers][is_gated]
        return self.scalars[numbers], is_gated, *(picture[rows].float() for picture in self.pictures)

    def logits(self, network: nn.Module) -> Tensor:
        """Return the network's logits of all frames, shape (frame, label)."""
        numbers = torch.arange(len(self.label)).split(_BATCH)
        with torch.inference_mode():
            return torch.cat([network(*self.inputs(part)) for part in numbers])
