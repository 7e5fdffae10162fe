"""What the fit of a parametrised shower needs to know about showers in cylindrical cells."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.baseline.longitudinal import radiation_length_mm
from physics_twins.calorimeter.baseline.radial import RingSums
from physics_twins.calorimeter.geant4.voxels import ANGLES, DEPTHS, RINGS
from physics_twins.calorimeter.parameters import CalorimeterParameters

REFERENCE_GEV = 10.0
BLOCK = 500
# Steps of depth in units of the mean depth; where only sensors count coarser than layers, since a slice
# between two sensors holds what is aside only.
_TAU_STEPS = {"everything": 0.125, "sensors": 0.4}
_X_STEPS = 6


@dataclass(frozen=True)
class Slices:
    """Showers summed over angles.

    Attributes:
        x: ln(energy / 10 GeV), shape (shower,).
        rings_mev: Energy in each slice of depth and ring, shape (shower, depth, ring).
        unevenness: Sums over showers and depths of the squared difference of cells that mirror each
            other in the plane of inclination, and of their sum, shape (2, ring).
        depth_edges: Edges of the slices in radiation lengths, shape (depth + 1,).
    """

    x: NDArray[np.float64]
    rings_mev: NDArray[np.float64]
    unevenness: NDArray[np.float64]
    depth_edges: NDArray[np.float64]


def slices(showers: xr.Dataset, parameters: CalorimeterParameters) -> Slices:
    """Return sums over angles, read some showers at a time."""
    cells = showers["showers"]
    rings = np.zeros((cells.sizes["shower"], DEPTHS, RINGS))
    unevenness = np.zeros((2, RINGS))
    for first in range(0, len(rings), BLOCK):
        block = cells[first : first + BLOCK].values
        rings[first : first + BLOCK] = block.sum(axis=2)
        one, other = block[:, :, : ANGLES // 2], block[:, :, : ANGLES // 2 - 1 : -1]
        unevenness[0] += np.square(one - other, dtype=float).sum(axis=(0, 1, 2))
        unevenness[1] += (one + other).sum(axis=(0, 1, 2), dtype=float)
    edges = parameters.depth_mm / radiation_length_mm(parameters) * np.linspace(0, 1, DEPTHS + 1)
    x = np.log(showers["energy_gev"].values / REFERENCE_GEV)
    return Slices(x, rings, unevenness, edges)


def layer_edges(showers: xr.Dataset, parameters: CalorimeterParameters) -> NDArray[np.float64]:
    """Return where each particle's straight path crosses the layers, in radiation lengths.

    Shape (shower, layer + 1).
    """
    pitch_mm = parameters.depth_mm / parameters.n_layers
    along = pitch_mm * np.arange(parameters.n_layers + 1) / radiation_length_mm(parameters)
    return along / np.cos(np.deg2rad(showers["theta_deg"].values))[:, None]


def ring_sums(
    found: Slices, ln_depth: NDArray[np.float64], parameters: CalorimeterParameters
) -> RingSums:
    """Return energies in rings for groups of about the same depth, in the showers' own units, and x."""
    tau_step = _TAU_STEPS[parameters.scored]
    middles = (found.depth_edges[1:] + found.depth_edges[:-1]) / 2
    tau = middles / np.exp(ln_depth)[:, None]
    x = np.broadcast_to(found.x[:, None], tau.shape)
    tau_edges = np.arange(0.0, 3.25, tau_step)
    borders = np.quantile(found.x, np.linspace(0, 1, _X_STEPS + 1)[1:-1])
    group = np.digitize(x, borders) * (len(tau_edges) + 1) + np.digitize(tau, tau_edges)
    n = _X_STEPS * (len(tau_edges) + 1)
    energy = found.rings_mev.sum(axis=2)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group.ravel(), values.ravel(), minlength=n).astype(np.float64)

    whole = total(energy)
    rings = np.stack([total(found.rings_mev[..., ring]) for ring in range(RINGS)], axis=1)
    used = whole > 1e-4 * whole.sum()
    mean_tau, mean_x = (total(v * energy)[used] / whole[used] for v in (tau, x))
    return RingSums(mean_tau, mean_x, rings[used])
