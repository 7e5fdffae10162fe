"""What a network sees of a shower when it divides a layer among rings and a ring among angles.

Rings are divided from the inside out: one ring against all that are further out. A ring is halved in
angle four times, from half circles to cells, each time from the first part to the last; the rings
inside are complete by then, as are all layers before. `drawing` computes the same numbers one by one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from physics_twins.calorimeter.flow.splits import THRESHOLD_MEV

N_LAYERS, N_ANGLES, N_RINGS = 45, 16, 9
N_LEVELS = 4  # halvings of a circle until its 16 cells
N_RING_INPUTS, N_ANGLE_INPUTS = 12, 25


def brightness(energy_mev: Tensor) -> Tensor:
    """Return energy on the logarithmic scale on which networks see it, 0 where there is none."""
    return torch.log1p(energy_mev / THRESHOLD_MEV) / 4


def ring_inputs(rings_mev: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is seen when a ring is told from those outside it.

    Args:
        rings_mev: Energy of each ring, shape (shower, layer, ring).

    Returns:
        Inputs (shower, layer, ring - 1, `N_RING_INPUTS`); energy of the ring, and of all outside it.
    """
    beyond = rings_mev.double().flip(-1).cumsum(-1).flip(-1).to(rings_mev.dtype)
    ring, rest = brightness(rings_mev), brightness(beyond)
    before, before_rest = earlier(ring, 1), earlier(rest, 1)
    earlier_ring, earlier_rest = earlier(ring, 2), earlier(rest, 2)
    columns = [
        rest,
        rest[..., :1].expand_as(rest),
        _shifted(ring, 1),
        _shifted(ring, 2),
        _shifted(before, 1),
        before,
        _shifted(before, -1),
        _shifted(before_rest, -2),
        earlier_ring,
        _shifted(earlier_rest, -1),
        _shifted(earlier_ring, 1),
        _shifted(earlier(ring, 3), 0),
    ]
    inputs = torch.stack([column[..., :-1] for column in columns], dim=-1)
    return inputs, rings_mev[..., :-1], beyond[..., 1:]


def angle_inputs(rings: Sequence[Tensor], level: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is seen when parts of a ring are halved.

    Args:
        rings: From `halves`.
        level: 0 for whole rings, 3 for pairs of cells.

    Returns:
        Inputs (shower, layer, ring, part, `N_ANGLE_INPUTS`); energy of the first and second halves.
    """
    parts, halves = rings[level], rings[level + 1]
    n = parts.shape[-1]
    whole, half = brightness(parts), brightness(halves)
    first, second = half[..., 0::2], half[..., 1::2]
    # The half before the first part is not known yet, that after the last one is.
    left = torch.cat([torch.zeros_like(first[..., :1]), second[..., :-1]], dim=-1)
    right = torch.cat([torch.zeros_like(first[..., 1:]), first[..., :1]], dim=-1)
    if n == 1:
        right = torch.zeros_like(right)
    ring = brightness(rings[0])
    inside, inside2 = _inward(half, 1), _inward(half, 2)
    before, earlier2, earlier3 = earlier(half, 1), earlier(half, 2), earlier(half, 3)
    columns = [
        whole,
        left,
        right,
        whole.roll(1, -1),
        whole.roll(-1, -1),
        *_around(inside),
        *_pair(inside2),
        ring.expand_as(whole),
        _inward(ring, -1).expand_as(whole),
        *_around(before),
        *_pair(_inward(before, -1)),
        *_pair(_inward(before, 1)),
        *_pair(earlier2),
        *_pair(earlier3),
    ]
    return torch.stack(columns, dim=-1), halves[..., 0::2], halves[..., 1::2]


def halves(cells_mev: Tensor) -> list[Tensor]:
    """Return sums over whole rings, their halves, quarters, eighths and cells.

    Args:
        cells_mev: Shape (shower, layer, angle, ring).

    Returns:
        Each of shape (shower, layer, ring, part), with 1, 2, 4, 8 and 16 parts.
    """
    parts = [cells_mev.transpose(2, 3)]
    for _ in range(N_LEVELS):
        parts.append(parts[-1].unflatten(-1, (-1, 2)).sum(dim=-1))
    return parts[::-1]


def earlier(values: Tensor, n: int) -> Tensor:
    """Return what was `n` layers before, 0 before the first; layers are the second dimension."""
    return torch.cat([torch.zeros_like(values[:, :n]), values[:, :-n]], dim=1)


def _around(half: Tensor) -> list[Tensor]:
    """Return the half before, both halves, and the half behind of each part."""
    first, second = half[..., 0::2], half[..., 1::2]
    return [second.roll(1, -1), first, second, first.roll(-1, -1)]


def _pair(half: Tensor) -> list[Tensor]:
    return [half[..., 0::2], half[..., 1::2]]


def _inward(values: Tensor, n: int) -> Tensor:
    """Return what is `n` rings further in, 0 where there is none; rings are the third dimension."""
    return _shifted(values.transpose(2, -1), n).transpose(2, -1)


def _shifted(values: Tensor, n: int) -> Tensor:
    """Return values `n` places further down the last dimension, 0 where there are none."""
    if n == 0:
        return values
    empty = torch.zeros_like(values[..., : abs(n)])
    if n > 0:
        return torch.cat([empty, values[..., :-n]], dim=-1)
    return torch.cat([values[..., -n:], empty], dim=-1)
