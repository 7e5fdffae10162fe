"""What a network sees of a shower when it divides a layer among rings and a ring among angles.

Rings are divided from the inside out: one ring against all that are further out. A ring is halved in
angle four times, from half circles to cells, each time from the first part to the last; the rings
inside are complete by then, as are all layers before.

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
N_RING_INPUTS, N_ANGLE_INPUTS = 12, 25
N_BEFORE = 3  # layers before the one at work that are seen
# Where in the part of a row that one ring has.
WHOLE, CELLS, BEYOND = 0, N_ANGLES - 1, 2 * N_ANGLES - 1
OF_RING = 2 * N_ANGLES
_NOTHING = N_RINGS * OF_RING
N_PLACES = _NOTHING + 1


class Divisions(NamedTuple):
    """Divisions of a layer in their order, and which places of its row each has to do with.

    What is seen of a layer before has a place that is less by `N_PLACES` for each layer.
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
        _place(n, WHOLE, 3),
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
        *(_place(ring, half, layers) for layers in (2, 3) for half in pair),
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
