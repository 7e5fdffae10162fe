"""A network that corrects the filters which a Gaussian prior tells.

Couplings are not Gaussian: where one ends, and how broad its resonances are, holds for many bins at
once. The network sees what a stretch told and what the prior made of it, and says by how many of its
standard deviations each bin is to be moved. What it was never shown it leaves to the prior.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physics_twins.virgo.filters import GRID_HZ, Posterior, Prior, undelayed

_DILATIONS = (1, 2, 4, 8, 16, 32, 1)
_N_COMPLEX, _N_REAL = 3, 4


def features(solved: NDArray[Any], error: NDArray[np.floating], known: Posterior) -> Tensor:
    """Return what the network sees of an input, shape (feature, every other bin).

    First real and imaginary parts of what turns with the coupling's phase, then what does not.

    Args:
        solved: Of `filters.told`, shape (bin,).
        error: Of it.
        known: What the prior makes of them.
    """
    heard = error > 0
    rest = np.where(heard, undelayed(solved, known.late_s) - known.mean, 0)
    rest = rest / np.where(heard, error, 1)
    spread = np.where(heard, error / known.scale, np.inf)
    turning = np.stack([_small(known.mean / known.error), _small(rest), known.mean / known.scale])
    certain = [np.clip(np.log(each), -6, 4) for each in (spread, known.error / known.scale)]
    still = np.stack([*certain, np.log(GRID_HZ / 60), heard.astype(float)])
    both = np.concatenate([turning.real, turning.imag, still])  # (feature, bin)
    return torch.from_numpy(both.reshape(len(both), -1, 2).mean(axis=2)).float()


def turned(seen: Tensor, angle: Tensor) -> Tensor:
    """Return features, or pairs of numbers, with phases turned: (batch, feature, bin) by (batch,)."""
    n = min(_N_COMPLEX, seen.shape[1] // 2)
    c, s = (each[:, None, None] for each in (angle.cos(), angle.sin()))
    real, imag, still = seen[:, :n], seen[:, n : 2 * n], seen[:, 2 * n :]
    return torch.cat([c * real - s * imag, s * real + c * imag, still], dim=1)


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers whose size is small where they are large, with their phases."""
    size = np.abs(values)
    return values * np.arcsinh(size) / np.maximum(size, 1e-12)


class FilterNetwork(nn.Module):
    """The correction, and the prior that it belongs to.

    Args:
        n_components: Of the prior.
        width: Numbers for each bin in each layer.
    """

    components: Tensor

    def __init__(self, n_components: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("components", torch.zeros(2, len(GRID_HZ), n_components))
        self.first = nn.Conv1d(2 * _N_COMPLEX + _N_REAL, width, 1)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in _DILATIONS)
        self.last = nn.Conv1d(width, 2, 1)
        for each in self.last.parameters():  # it begins with the prior's filters
            nn.init.zeros_(each)

    @property
    def prior(self) -> Prior:
        """The prior."""
        return Prior(self.components[0].double().numpy() + 1j * self.components[1].double().numpy())

    def forward(self, seen: Tensor) -> Tensor:
        """Return corrections in standard deviations, (batch, 2, bin), of features."""
        values = self.first(seen)
        for block in self.blocks:
            values = block(values)
        return nn.functional.interpolate(self.last(values), scale_factor=2.0, mode="linear")


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(4, width),
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.layers(values)
