"""Showers as tensors that a network learns from, kept where it computes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physics_twins.calorimeter.flow.network import conditions
from physics_twins.calorimeter.form import check_cells
from physics_twins.calorimeter.geant4.voxels import ANGLES, DEPTHS, RINGS
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, SILICON_LAYERS

_CELLS = {"depth": DEPTHS, "angle": ANGLES, "radius": RINGS}
_LAYERS = {"depth": DEPTHS, "angle": 1, "radius": 1}


@dataclass
class ShowerTensors:
    """Cells and conditions of showers.

    Attributes:
        cells_mev: Shape (shower, layer, angle, ring), float32; one angle and ring for layers alone.
        conditions: Shape (shower, 3), see `network.conditions`.
    """

    cells_mev: Tensor
    conditions: Tensor

    def __len__(self) -> int:
        """How many showers there are."""
        return len(self.cells_mev)

    def taken(self, numbers: Tensor, *, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cells and conditions of some showers on a device, where all of them then stay."""
        if self.cells_mev.device != device:
            self.cells_mev, self.conditions = self.cells_mev.to(device), self.conditions.to(device)
        numbers = numbers.to(device)
        return self.cells_mev[numbers], self.conditions[numbers]

    @classmethod
    def of(cls, showers: xr.Dataset | Sequence[xr.Dataset]) -> "ShowerTensors":
        """Return showers of one or several datasets in the form of `simulate`.

        Raises:
            ValueError: Cells or calorimeter are not those that the flow is made for; or a cell is
                negative or not a number.
        """
        parts = [showers] if isinstance(showers, xr.Dataset) else list(showers)
        cells = [_cells(part) for part in parts]
        known = [_conditions(part) for part in parts]
        return cls(torch.cat(cells), torch.cat(known))


def check_form(showers: xr.Dataset, layout: str = "") -> None:
    """Check that showers have a flow's cells and come from its calorimeter.

    Args:
        showers: In the form of `simulate`.
        layout: Of the flow's cells; empty where it may be either, cylindrical or layers alone.

    Raises:
        ValueError: They do not; the message names the field.
    """
    sizes = {str(name): n for name, n in showers["showers"].sizes.items() if name != "shower"}
    if layout == "layers" or (not layout and sizes == _LAYERS):
        expected, made_for = _LAYERS, SILICON_LAYERS
    else:
        expected, made_for = _CELLS, CALO_CHALLENGE_2
    if sizes != expected:
        raise ValueError(f"showers has cells {sizes}: the flow is made for {expected}")
    for name, value in made_for.items():
        if name != "absorber_mm" and showers.attrs.get(name, value) != value:
            found = showers.attrs[name]
            raise ValueError(f"{name} = {found}: the flow is made for {value}")


def _cells(showers: xr.Dataset) -> Tensor:
    check_form(showers)
    values = showers["showers"].transpose("shower", "depth", "angle", "radius").values
    values = np.ascontiguousarray(values, dtype=np.float32)
    check_cells(values)
    return torch.from_numpy(values)


def _conditions(showers: xr.Dataset) -> Tensor:
    n = showers.sizes["shower"]
    if "absorber_mm" in showers.attrs:
        absorber_mm = np.full(n, float(showers.attrs["absorber_mm"]))
    else:
        absorber_mm = np.full(n, float(CALO_CHALLENGE_2["absorber_mm"]))
    columns = (showers["energy_gev"].values, showers["theta_deg"].values, absorber_mm)
    return conditions(*(torch.from_numpy(np.asarray(c, dtype=float)) for c in columns)).float()
