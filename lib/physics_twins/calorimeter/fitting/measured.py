"""Layer energies of measured showers, and what they would be without the detector's gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physics_twins.calorimeter.flow.shower_tensors import check_form
from physics_twins.calorimeter.flow.splits import THRESHOLD_MEV
from physics_twins.calorimeter.form import check_cells

# Showers whose cells are in memory at once: 500 take 13 MB.
_BLOCK_SHOWERS = 500


@dataclass(frozen=True)
class MeasuredShowers:
    """What a fit takes of showers: no cells, no truth but the particles.

    Attributes:
        layers_mev: Energy of the layers, shape (shower, layer).
        energy_gev: Energy of the particles, which a test beam knows, shape (shower,).
        theta_deg: Their angles, shape (shower,).
        least_mev: The lowest energy of any cell: the threshold that these showers have passed.
    """

    layers_mev: Tensor
    energy_gev: Tensor
    theta_deg: Tensor
    least_mev: float

    @classmethod
    def of(cls, showers: xr.Dataset, layout: str = "") -> "MeasuredShowers":
        """Return the layers of showers in the form of `simulate`; may be lazy.

        Args:
            showers: Measured.
            layout: Of the flow's cells, which they must have; empty where it may be either.

        Raises:
            ValueError: They have other cells, a cell is negative or not a number, or a shower holds no
                energy.
        """
        check_form(showers, layout)
        array = showers["showers"].transpose("shower", "depth", "angle", "radius")
        layers, least = [], np.inf
        for first in range(0, array.sizes["shower"], _BLOCK_SHOWERS):
            cells = np.asarray(array[first : first + _BLOCK_SHOWERS].values)
            layers.append(cells.sum(axis=(2, 3), dtype=float))
            check_cells(cells, first)
            least = min(least, float(cells[cells > 0].min(initial=np.inf)))
        if not layers:
            raise ValueError("there are no showers")
        together = np.concatenate(layers)
        if empty := np.flatnonzero(together.sum(axis=1) <= 0).tolist():
            raise ValueError(f"shower {empty[0]} holds no energy: expected some in each")
        energy, theta = (
            torch.from_numpy(np.asarray(showers[name].values, dtype=float))
            for name in ("energy_gev", "theta_deg")
        )
        return cls(torch.from_numpy(together), energy, theta, least)

    def __len__(self) -> int:
        """How many showers there are."""
        return len(self.layers_mev)

    def __getitem__(self, part: slice | Tensor | Sequence[int]) -> "MeasuredShowers":
        """Return some of the showers."""
        columns = (self.layers_mev[part], self.energy_gev[part], self.theta_deg[part])
        return MeasuredShowers(*columns, self.least_mev)

    @property
    def n_filled(self) -> Tensor:
        """Layers with energy, shape (shower,)."""
        return (self.layers_mev > 0).sum(dim=1).double()

    @property
    def response(self) -> Tensor:
        """Visible over incident energy, shape (shower,)."""
        return self.layers_mev.sum(dim=1) / (1e3 * self.energy_gev)

    def layers_without(self, log_gain: Tensor) -> Tensor:
        """Return the layers as they were before a gain, shape (shower, layer).

        The lowest energy stays at the threshold: where a threshold was, before the gain or behind it,
        says nothing about the gain, and must not seem to.

        Args:
            log_gain: Logarithm of each shower's gain, shape (shower,).
        """
        beyond = (self.layers_mev - self.least_mev).clamp(min=0) * torch.exp(-log_gain)[:, None]
        return torch.where(self.layers_mev > 0, THRESHOLD_MEV + beyond, 0.0)

    def visible_without(self, log_gain: Tensor) -> Tensor:
        """Return the sum of `layers_without` for several gains of each shower, (shower, gain)."""
        beyond = self.layers_mev.sum(dim=1) - self.n_filled * self.least_mev
        return (self.n_filled * THRESHOLD_MEV)[:, None] + beyond[:, None] * torch.exp(-log_gain)
