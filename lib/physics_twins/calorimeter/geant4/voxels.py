"""Energy deposits summed in cells: flat cells of layers, rings around the beam, or whole layers.

A deposit counts at the middle of its step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.geant4.beam import Beam
from physics_twins.calorimeter.geant4.events import Deposits
from physics_twins.calorimeter.parameters import CalorimeterParameters

# 3DGAN (Khattak et al., Eur. Phys. J. C 82 (2022) 386), and set 2 of CaloChallenge (arXiv:2410.21611).
CARTESIAN_CELLS = 51
DEPTHS, ANGLES, RINGS = 45, 16, 9


@dataclass(frozen=True)
class Axis:
    """One axis of the cells: its name, and their centres with unit."""

    name: str
    centres: NDArray[np.floating]
    unit: str


def axes(parameters: CalorimeterParameters) -> tuple[Axis, ...]:
    """Return the axes of a shower's cells, in their order."""
    cell_mm = parameters.cell_mm
    if parameters.layout == "cartesian":
        across = cell_mm * (np.arange(CARTESIAN_CELLS) - (CARTESIAN_CELLS - 1) / 2)
        layer_mm = parameters.depth_mm / parameters.n_layers
        layers = layer_mm * (np.arange(parameters.n_layers) + 0.5)
        return Axis("x", across, "mm"), Axis("y", across, "mm"), Axis("layer", layers, "mm")
    if parameters.layout == "layers":
        n_depths = min(DEPTHS, parameters.n_layers)
        angles, rings = np.array([180.0]), np.array([parameters.width_mm / 4])
    else:
        n_depths = DEPTHS
        angles, rings = 360 / ANGLES * (np.arange(ANGLES) + 0.5), cell_mm * (np.arange(RINGS) + 0.5)
    depths = parameters.depth_mm / n_depths * (np.arange(n_depths) + 0.5)
    return Axis("depth", depths, "mm"), Axis("angle", angles, "deg"), Axis("radius", rings, "mm")


def voxelise(deposits: Deposits, beam: Beam, parameters: CalorimeterParameters) -> NDArray[np.float32]:
    """Return the energy in each cell of each shower, in MeV.

    Cartesian cells are fixed to the detector, around the middle of its face. Cylindrical ones are
    turned with each particle, around its straight path on from the face: depth is measured along it,
    the angle from the plane in which it is inclined. What lies outside all cells is not counted. Layers
    alone are those of the detector, shared out evenly among the depths.

    Args:
        deposits: Those of the showers of `beam`.
        beam: The particles.
        parameters: The cells.

    Returns:
        Shape (shower, x, y, layer) or (shower, depth, angle, radius); 0 below the threshold.
    """
    shape = tuple(len(axis.centres) for axis in axes(parameters))
    if parameters.scored == "sensors":
        deposits = deposits.where(deposits.in_sensor)
    indices = _indices(deposits, beam, parameters)
    inside = np.all([(i >= 0) & (i < n) for i, n in zip(indices, shape, strict=True)], axis=0)
    flat = np.ravel_multi_index(
        (deposits.shower[inside], *(i[inside] for i in indices)), (len(beam), *shape)
    )
    sums = np.bincount(flat, deposits.energy_mev[inside], minlength=len(beam) * int(np.prod(shape)))
    sums[sums < 1e-3 * parameters.threshold_kev] = 0.0
    return sums.astype(np.float32).reshape(len(beam), *shape)


def beam_frame(beam: Beam) -> NDArray[np.float64]:
    """Return for each particle three unit vectors, shape (shower, 3, 3): down its plane, aside, along.

    At normal incidence they are x, y and z, turned by the azimuth.
    """
    theta, phi = np.deg2rad(beam.theta_deg), np.deg2rad(beam.phi_deg)
    down = [np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)]
    aside = [-np.sin(phi), np.cos(phi), np.zeros_like(phi)]
    return np.stack([np.stack(down, 1), np.stack(aside, 1), beam.direction], axis=1)


def layer_depth(layer: NDArray[np.int64], n_layers: int) -> NDArray[np.int64]:
    """Return in which depth a layer of the detector counts, in the layout of layers alone."""
    return layer * min(DEPTHS, n_layers) // n_layers


def _indices(
    deposits: Deposits, beam: Beam, parameters: CalorimeterParameters
) -> tuple[NDArray[np.int64], ...]:
    """Return the numbers of each deposit's cell along the three axes."""
    if parameters.layout == "cartesian":
        across = np.floor(deposits.position_mm[:, :2] / parameters.cell_mm + CARTESIAN_CELLS / 2)
        return *across.astype(np.int64).T, deposits.layer
    if parameters.layout == "layers":
        depth = layer_depth(deposits.layer, parameters.n_layers)
        return depth, np.zeros_like(depth), np.zeros_like(depth)
    entry = np.concatenate([beam.position_mm, np.zeros((len(beam), 1))], axis=1)
    relative = deposits.position_mm - entry[deposits.shower]
    frame = beam_frame(beam)[deposits.shower]
    down, aside, along = np.einsum("nij,nj->in", frame, relative)
    depth = along / (parameters.depth_mm / DEPTHS)
    angle = np.arctan2(aside, down) % (2 * np.pi) / (2 * np.pi / ANGLES)
    radius = np.hypot(down, aside) / parameters.cell_mm
    # An angle a rounding below a full turn belongs to the last cell.
    turned = np.minimum(angle.astype(np.int64), ANGLES - 1)
    return np.floor(depth).astype(np.int64), turned, radius.astype(np.int64)
