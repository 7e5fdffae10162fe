"""What a network sees of a shower when it divides a layer among rings and a ring among angles.

Rings are divided from the inside out: one ring against all that are further out. A ring is halved in
angle four times, from half circles to cells, each time from the first part to the last; the rings
inside are complete by then, as are all layers before: two of them are seen one by one, and of all of
them how their energy was divided here and in the rings next to it and at the axis, since a shower that
leans to one side does so for long. Energies fade with each layer, those at the axis more slowly.

The energies of a layer stand in a row: of each ring the whole, its 2 halves, 4 quarters, 8 eighths and
16 cells, then all from this ring outwards; and at the end 0, for what is not there. `DIVISIONS`
says what in such a row is divided, into what, and what is seen: training and `graph` go by it, and
`drawing` computes the same numbers one by one.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from physics_twins.calorimeter.flow.splits import THRESHOLD_MEV

N_LAYERS, N_ANGLES, N_RINGS = 45, 16, 9
N_LEVELS = 4  # halvings of a circle until its 16 cells
N_RING_INPUTS, N_ANGLE_INPUTS = 15, 29
KEEPS = 0.7, 0.9  # of the energies of all layers before, from one layer to the next
_SHORT, _LONG = 3, 4  # stand for those where a number of layers before is told
AXIS = 3  # rings, from the inside, whose lean is seen by all others
# Where in the part of a row that one ring has.
WHOLE, CELLS, BEYOND = 0, N_ANGLES - 1, 2 * N_ANGLES - 1
OF_RING = 2 * N_ANGLES
_NOTHING = N_RINGS * OF_RING
FAINTEST_MEV = 1e-12  # below which nothing leans
N_PLACES = _NOTHING + 1
N_ROWS = _LONG + 1  # that are seen: leans, long and short, two layers before, one, and the layer itself


class Divisions(NamedTuple):
    """Divisions of a layer in their order, and which places of its row each has to do with.

    What is seen of a layer before has a place that is less by `N_PLACES`, or twice that, and what is
    seen of how all of them leant by three or four times that: see `rows`.
    """

    kind: NDArray[np.int64]  # (division,); 0 for a ring, then 1 and more for halvings by their level
    number: NDArray[np.int64]  # among those of its kind
    whole: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    seen: NDArray[np.int64]  # (division, input); as many of them as its kind has

    def of(self, kind: int) -> "Divisions":
        """Return those of one kind, by their number."""
        chosen = Divisions(*(column[self.kind == kind] for column in self))
        return chosen._replace(seen=chosen.seen[:, : N_RING_INPUTS if kind == 0 else N_ANGLE_INPUTS])


def _place(ring: int, part: int, layers_before: int = 0) -> int:
    if not 0 <= ring < N_RINGS:
        return _NOTHING
    # Of the last ring there is nothing beyond.
    part = BEYOND if (ring, part) == (N_RINGS - 1, WHOLE) else part
    return ring * OF_RING + part - layers_before * N_PLACES


def _ring(n: int) -> list[int]:
    """Return what is seen when ring n is told from those outside it."""
    return [
        _place(n, BEYOND),
        _place(0, BEYOND),
        *(_place(ring, WHOLE) for ring in (n - 1, n - 2)),
        *(_place(ring, WHOLE, 1) for ring in (n - 1, n, n + 1)),
        _place(n + 2, BEYOND, 1),
        _place(n, WHOLE, 2),
        _place(n + 1, BEYOND, 2),
        _place(n - 1, WHOLE, 2),
        *(_place(ring, WHOLE, _SHORT) for ring in (n - 1, n, n + 1)),
        _place(n, WHOLE, _LONG),
    ]


def _halving(ring: int, level: int, part: int) -> list[int]:
    """Return what is seen when a part of a ring is halved; level 0 is all of it, 3 a pair of cells."""
    n = 1 << level
    first_part, first_half = n - 1, 2 * n - 1
    before, left, right, behind = (first_half + (2 * part + k) % (2 * n) for k in (-1, 0, 1, 2))
    pair, around = (left, right), (before, left, right, behind)
    return [
        _place(ring, first_part + part),
        # The half before the first part is not known yet, that after the last one is.
        _place(ring, before) if part > 0 else _NOTHING,
        _place(ring, behind) if 0 < part == n - 1 else _NOTHING,
        *(_place(ring, first_part + (part + away) % n) for away in (-1, 1)),
        *(_place(ring - 1, half) for half in around),
        *(_place(ring - 2, half) for half in pair),
        *(_place(each, WHOLE) for each in (ring, ring + 1)),
        *(_place(ring, half, 1) for half in around),
        *(_place(each, half, 1) for each in (ring + 1, ring - 1) for half in pair),
        *(_place(ring, half, 2) for half in pair),
        *(_place(each, left, _SHORT) for each in (ring, ring + 1, ring - 1)),
        *(_place(each, left, _LONG) for each in range(AXIS)),
    ]


def _divisions() -> Divisions:
    rows = []
    for n in range(N_RINGS - 1):
        seen = _ring(n) + [_NOTHING] * (N_ANGLE_INPUTS - N_RING_INPUTS)
        rows.append((0, n, seen[0], _place(n, WHOLE), _place(n + 1, BEYOND), seen))
    for ring in range(N_RINGS):
        for level in range(N_LEVELS):
            for part in range(1 << level):
                seen, number = _halving(ring, level, part), (ring << level) + part
                left = _place(ring, 2 * ((1 << level) + part) - 1)
                rows.append((1 + level, number, seen[0], left, left + 1, seen))
    return Divisions(*map(np.array, zip(*rows, strict=True)))


DIVISIONS = _divisions()
# The right part's place for that of each left part; for all others their own.
_ACROSS = np.arange(N_PLACES)
_ACROSS[DIVISIONS.left] = DIVISIONS.right


def brightness(energy_mev: Tensor) -> Tensor:
    """Return energy on the logarithmic scale on which networks see it, 0 where there is none."""
    return torch.log1p(energy_mev / THRESHOLD_MEV) / 4


def energies(cells_mev: Tensor) -> Tensor:
    """Return the row of each layer, shape (shower, layer, `N_PLACES`).

    Args:
        cells_mev: Shape (shower, layer, angle, ring).
    """
    parts = [cells_mev.transpose(2, 3)]
    for _ in range(N_LEVELS):
        parts.insert(0, parts[0].unflatten(-1, (-1, 2)).sum(dim=-1))
    beyond = parts[0].double().flip(2).cumsum(2).flip(2).to(cells_mev.dtype)
    return functional.pad(torch.cat([*parts, beyond], dim=-1).flatten(2), (0, 1))


def leans(mev: Tensor) -> Tensor:
    """Return how energies are divided, from -1 to 1 at the place of each left part and 0 elsewhere.

    Args:
        mev: Rows of energies, shape (..., `N_PLACES`).
    """
    across = mev.index_select(-1, torch.from_numpy(_ACROSS).to(mev.device))
    return (mev - across) / (mev + across).clamp(min=FAINTEST_MEV)


def rows(mev: Tensor) -> Tensor:
    """Return what is seen when a layer is divided, shape (shower, layer, `N_ROWS` * `N_PLACES`).

    Args:
        mev: Rows of all layers, shape (shower, layer, `N_PLACES`).
    """
    away = torch.arange(mev.shape[1])[:, None] - torch.arange(mev.shape[1]) - 1
    bright = brightness(mev)
    seen = [functional.pad(bright, (0, 0, 2, -2)), functional.pad(bright, (0, 0, 1, -1)), bright]
    for keeps in KEEPS:
        weights = torch.where(away >= 0, (1 - keeps) * keeps ** away.clamp(min=0), 0.0).to(mev)
        seen.insert(0, leans(weights @ mev))
    return torch.cat(seen, dim=-1)
