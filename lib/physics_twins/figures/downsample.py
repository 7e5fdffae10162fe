"""Arrays made small enough to draw, without losing what a figure must show."""

import itertools
from collections.abc import Hashable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

SIGMA_PER_MAD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation


def block_mean(array: xr.DataArray, max_sizes: tuple[int, ...]) -> xr.DataArray:
    """Return means over blocks just large enough that no dimension exceeds its largest size.

    A rest at the end, smaller than a block, is left out. Coordinates are means too.

    >>> block_mean(xr.DataArray([1.0, 3.0, 5.0, 7.0, 9.0], dims="time"), (2,)).values
    array([3.])
    """
    sizes = block_sizes(array, max_sizes)
    if all(size == 1 for size in sizes.values()):
        return array
    blocks = array.coarsen(sizes, boundary="trim")
    return blocks.mean(keep_attrs=True)  # pyright: ignore[reportAttributeAccessIssue]


def block_sizes(array: xr.DataArray, max_sizes: tuple[int, ...]) -> dict[Hashable, int]:
    """Return how many values `block_mean` averages along each dimension."""
    return {d: -(-array.sizes[d] // most) for d, most in zip(array.dims, max_sizes, strict=True)}


def extremes(array: xr.DataArray, max_points: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return coordinate and values of a series; of a long one, the lowest and highest of each block.

    No peak is lost, and the points are in their order.

    >>> long = xr.DataArray([0.0, 9.0, 1.0, 2.0, -5.0, 3.0], {"time": range(6)})
    >>> extremes(long, 4)
    (array([0, 1, 4, 5]), array([ 0.,  9., -5.,  3.], dtype=float32))
    """
    place, value = array[array.dims[0]].values, array.values.astype(np.float32)
    if len(value) <= max_points:
        return place, value
    n_blocks = max(1, max_points // 2)
    edges = np.linspace(0, len(value), n_blocks + 1).astype(int)
    pairs = [
        sorted((start + value[start:stop].argmin(), start + value[start:stop].argmax()))
        for start, stop in itertools.pairwise(edges)
    ]
    index = np.ravel(pairs)
    return place[index], value[index]


def level(array: xr.DataArray, dimension: str) -> xr.DataArray:
    """Return an array with median 0 along a dimension, in units of the noise there.

    The noise is the scaled median absolute deviation, or the standard deviation where more than half
    of the values are equal; a constant becomes 0.
    """
    residual = array - array.median(dimension)
    noise = SIGMA_PER_MAD * abs(residual).median(dimension)
    noise = noise.where(noise > 0, residual.std(dimension))
    levelled = residual / noise.where(noise > 0, 1)
    return levelled.assign_attrs(array.attrs | {"units": "sigma"})
