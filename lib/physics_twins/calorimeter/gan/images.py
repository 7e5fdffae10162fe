"""Showers as images that 3DGAN sees, and back: scaled cells to a power, angles to the face."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.gan.networks import SHAPE
from physics_twins.calorimeter.gan_parameters import GanImage
from physics_twins.calorimeter.parameters import CalorimeterParameters

ENERGY_GEV = 100.0  # unit in which the networks see energies
_GEV_PER_MEV = 1e-3


def scaled(cells_mev: NDArray[np.floating], settings: GanImage) -> NDArray[np.float32]:
    """Return scaled cells, those below the lowest one empty.

    Args:
        cells_mev: Any shape.
        settings: Scale and lowest cell.
    """
    cells = np.asarray(cells_mev, dtype=np.float32) * np.float32(_GEV_PER_MEV * settings.scale)
    cells[cells < settings.lowest_cell] = 0
    return cells


def image(cells_mev: NDArray[np.floating], settings: GanImage) -> NDArray[np.float32]:
    """Return the image of one shower, shape (1, up, across, layer).

    3DGAN's particles are inclined along the second of the three axes, those of `simulate` at azimuth 0
    or 180 along x: x becomes the second one.

    Args:
        cells_mev: Shape (x, y, layer).
        settings: Scale, lowest cell and power.
    """
    cells = scaled(cells_mev, settings) ** np.float32(settings.power)
    return np.ascontiguousarray(cells.transpose(1, 0, 2)[None])


def cells_mev(
    images: NDArray[np.floating], settings: GanImage, *, threshold_kev: float
) -> NDArray[np.float32]:
    """Return the cells of images, the inverse of `image`; those that Geant4's showers lack are empty.

    Args:
        images: Shape (shower, 1, up, across, layer), none negative.
        settings: Scale, lowest cell and power.
        threshold_kev: A cell with less counts as empty.

    Returns:
        In MeV, shape (shower, x, y, layer).
    """
    cells = np.asarray(images)[:, 0].transpose(0, 2, 1, 3) ** np.float32(1 / settings.power)
    cells[cells < settings.lowest_cell] = 0
    cells = cells / np.float32(_GEV_PER_MEV * settings.scale)
    cells[cells < 1e-3 * threshold_kev] = 0
    return np.ascontiguousarray(cells, dtype=np.float32)


def angle_to_face(
    theta_deg: NDArray[np.floating], phi_deg: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return 3DGAN's angle in rad, pi/2 where a particle enters straight; its data have pi/3 to 2 pi/3.

    Args:
        theta_deg: Angles to the face's normal.
        phi_deg: Azimuths, 0 or 180.

    Raises:
        ValueError: Another azimuth, which 3DGAN knows nothing of.

    >>> np.rad2deg(angle_to_face(np.array([0.0, 30.0, 30.0]), np.array([0.0, 0.0, 180.0]))).round(3)
    array([ 90.,  60., 120.], dtype=float32)
    """
    phi = np.asarray(phi_deg, dtype=float) % 360
    from_plane = np.minimum(phi % 180, 180 - phi % 180)
    wrong = (from_plane > 1e-6) & (np.asarray(theta_deg) != 0)
    if wrong.any():
        raise ValueError(f"phi_deg = {phi[wrong][0]:g} deg must be 0 or 180 deg for 3DGAN")
    side = np.where(np.cos(np.deg2rad(phi)) < 0, -1.0, 1.0)
    return (np.pi / 2 - side * np.deg2rad(theta_deg)).astype(np.float32)


def parameters_of(showers: xr.Dataset) -> CalorimeterParameters:
    """Return the calorimeter that a dataset's attributes tell of.

    Raises:
        ValueError: Its cells are not those of 3DGAN.
    """
    # What was read from a file has numbers of numpy.
    values = {k: v.item() if hasattr(v, "item") else v for k, v in showers.attrs.items()}
    parameters = CalorimeterParameters.take(values)
    if parameters.layout != "cartesian" or parameters.n_layers != SHAPE[2]:
        raise ValueError(
            f"layout = {parameters.layout!r}, n_layers = {parameters.n_layers}: 3DGAN needs 'cartesian'"
            f" and {SHAPE[2]}"
        )
    return parameters


def cell_per_layer(parameters: CalorimeterParameters) -> float:
    """Return the side of a cell over the distance of layers."""
    return parameters.cell_mm * parameters.n_layers / parameters.depth_mm
