"""A particle's angle, from where a shower's energy is."""

import math

import torch
from torch import Tensor

# What 3DGAN says of a shower without energy, which has no angle.
NO_ANGLE_RAD = 100.0
_EPS = torch.finfo(torch.float32).eps


def angle_rad(cells: Tensor, *, cell_per_layer: float = 1.0) -> Tensor:
    """Return the angle between each particle and the face, pi/2 where it enters straight.

    Each layer's centre of energy is seen from that of the whole shower; the angles are averaged, deeper
    layers counting more, as in 3DGAN. It is a rough measure: of 20 showers of Geant4 with 10 GeV and
    an inclination of 30 degrees it gives 24.4 +- 0.7 on average, with a spread of 3.3. The loss holds
    it against the true angle all the same, and so pulls the generator from Geant4 by the difference.

    Args:
        cells: Energies, shape (shower, across, up, layer); particles are inclined in the plane of the
            second and third axis. A layer without energy counts for nothing, also in the gradient.
        cell_per_layer: Side of a cell over the distance of layers.

    Returns:
        Angles in rad, shape (shower,); below pi/2 where a shower moves up with depth.
    """
    energy = cells.sum(dim=(1, 2))  # (shower, layer)
    seen = (energy > 0).to(cells.dtype)
    across = _centres(cells.sum(dim=2), energy) * cell_per_layer
    up = _centres(cells.sum(dim=1), energy) * cell_per_layer
    depth = torch.arange(cells.shape[3], dtype=cells.dtype, device=cells.device) + 0.5
    share = energy / _not_zero(energy.sum(dim=1, keepdim=True))
    from_middle = [values - (share * values).sum(dim=1, keepdim=True) for values in (across, up, depth)]
    flat = (from_middle[0] ** 2 + from_middle[2] ** 2).clamp_min(_EPS).sqrt()
    slope = from_middle[1] / flat * torch.where(from_middle[2] < 0, -1.0, 1.0)
    weight = seen * depth
    angle = ((math.pi / 2 - slope.atan()) * weight).sum(dim=1) / _not_zero(weight.sum(dim=1))
    return torch.where(energy.sum(dim=1) > 0, angle, NO_ANGLE_RAD)


def _centres(sums: Tensor, energy: Tensor) -> Tensor:
    """Return each layer's centre along an axis in cells; `sums` has shape (shower, axis, layer)."""
    place = torch.arange(sums.shape[1], dtype=sums.dtype, device=sums.device) + 0.5
    return (sums * place[:, None]).sum(dim=1) / _not_zero(energy)


def _not_zero(energy: Tensor) -> Tensor:
    """Return energies with ones for zeros: 0/0 behind a mask still has the gradient NaN."""
    return torch.where(energy > 0, energy, 1.0)
