"""Sites of a periodic lattice in any dimension: neighbours, and where a boundary is crossed.

Sites are numbered as numpy flattens an array, the last direction fastest. Time is direction 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def neighbours(shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the neighbours of every site, (site, direction): first all forward, then all backward.

    >>> neighbours([2, 3])[0]
    array([3, 1, 3, 2])
    """
    sites = np.arange(np.prod(shape)).reshape(shape)
    steps = [np.roll(sites, -by, axis) for by in (1, -1) for axis in range(len(shape))]
    return np.stack([step.ravel() for step in steps], axis=1)


def crossings(shape: Sequence[int], n_c_directions: int) -> NDArray[np.bool_]:
    """Return whether a step of `neighbours` crosses a boundary at which fields are conjugated.

    Args:
        shape: Sites in each direction.
        n_c_directions: The last so many directions are C-periodic; time never is (Kronfeld and
            Wiese 1991, Nucl. Phys. B 357, 521).
    """
    size = len(shape)
    crossed = np.zeros((int(np.prod(shape)), 2 * size), dtype=bool)
    for axis in range(size - n_c_directions, size):
        position = np.indices(shape)[axis].ravel()
        crossed[:, axis] = position == shape[axis] - 1
        crossed[:, size + axis] = position == 0
    return crossed


def refuse_part(field: Any) -> None:
    """Refuse links of which a file had more time slices: what is done would close them into a ring.

    Raises:
        ValueError: `field`, an array of xarray, has not all that its attribute `n_time` tells of.
    """
    n_time = field.attrs.get("n_time", field.sizes.get("t"))
    if field.sizes.get("t") != n_time:
        raise ValueError(f"all {n_time} time slices are needed, found {field.sizes.get('t')}")


def longest_waves(shape: Sequence[int]) -> NDArray[np.complex128]:
    """Return the wave of smallest momentum along each direction, (direction, site)."""
    phases = [2 * np.pi * x.ravel() / n for x, n in zip(np.indices(shape), shape, strict=True)]
    return np.exp(1j * np.array(phases))
