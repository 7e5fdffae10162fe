"""Wilson loops, Creutz ratios, Polyakov loops and the correlation of two sites, from kept fields."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.lattice.errors import average
from physics_twins.lattice.geometry import refuse_part
from physics_twins.lattice.simulate import DIRECTIONS


def wilson_loops(field: xr.DataArray, largest: int) -> xr.DataArray:
    """Return the real parts of traces over N of loops of time and space, of each field.

    Args:
        field: Links of periodic gauge fields in the form of `simulate`, or of `files.read`.
        largest: Most sites along a side of a loop.

    Returns:
        (chain, kept, time_extent, space_extent), averaged over sites and directions of space.

    Raises:
        ValueError: `largest` is more than half of a side, or the field is not one on links.
    """
    links, n_directions = _matrices(field)
    sides = [links.shape[2 + axis] for axis in range(n_directions)]
    if not 1 <= largest <= min(sides) // 2:
        raise ValueError(f"largest = {largest} must be from 1 to {min(sides) // 2}, half of a side")
    found = np.empty((*links.shape[:2], largest, largest))
    lines = [_lines(links, mu, largest) for mu in range(n_directions)]
    for t in range(largest):
        for r in range(largest):
            of_planes = [
                _loops(lines[0][t], lines[mu][r], mu, t + 1, r + 1) for mu in range(1, n_directions)
            ]
            found[..., t, r] = np.mean(of_planes, axis=0)
    extents = np.arange(1, largest + 1)
    words = [{"units": "1", "long_name": f"Sites along {name}"} for name in ("time", "space")]
    return xr.DataArray(
        found,
        {
            "time_extent": ("time_extent", extents, words[0]),
            "space_extent": ("space_extent", extents, words[1]),
        },
        ("chain", "kept", "time_extent", "space_extent"),
        attrs={"units": "1", "long_name": "Wilson loop"},
    )


def creutz_ratios(loops: xr.DataArray) -> xr.Dataset:
    """Return Creutz's ratios with errors, `value` and `error`, for loops of two sites and more.

    Minus the logarithm of W(t, r) W(t-1, r-1) / (W(t, r-1) W(t-1, r)) is the string tension in
    lattice units where sides are long (Creutz 1980, Phys. Rev. D 21, 2308). Where noise made a loop
    negative there is no number.

    Args:
        loops: From `wilson_loops`, of chains in which fields were kept at even distances.
    """
    n = loops.sizes["time_extent"]
    both = np.full((2, n - 1, n - 1), np.nan)

    def ratio(a: Any, b: Any, c: Any, d: Any) -> Any:
        return -np.log(a * b / (c * d))

    for t in range(1, n):
        for r in range(1, n):
            corners = [loops.values[..., t - i, r - j] for i, j in ((0, 0), (1, 1), (0, 1), (1, 0))]
            if min(corner.mean() for corner in corners) > 0:
                estimate = average(*corners, of_means=ratio).estimate
                both[:, t - 1, r - 1] = estimate.value, estimate.error
    dims = ("time_extent", "space_extent")
    named = {"units": "1", "long_name": "Creutz ratio"}
    coords = {name: loops[name][1:] for name in dims}
    return xr.Dataset({"value": (dims, both[0], named), "error": (dims, both[1], named)}, coords)


def polyakov_loop(field: xr.DataArray) -> xr.DataArray:
    """Return traces over N of the product of all links along time, averaged over space, of each field.

    Args:
        field: Links that are periodic in time, in the form of `simulate`, or of `files.read`.

    Returns:
        (chain, kept, part), real and imaginary part.
    """
    links, _ = _matrices(field)
    line = links[:, :, 0, ..., 0, :, :]
    for t in range(1, links.shape[2]):
        line = line @ links[:, :, t, ..., 0, :, :]
    traces = np.trace(line, axis1=-2, axis2=-1) / links.shape[-1]
    means = traces.mean(tuple(range(2, traces.ndim)))
    named = {"units": "1", "long_name": "Polyakov loop"}
    return xr.DataArray(
        np.stack([means.real, means.imag], -1), dims=("chain", "kept", "part"), attrs=named
    )


def two_point(field: xr.DataArray) -> xr.DataArray:
    """Return the correlation of phi^4 at zero momentum in space over time, of each field.

    Args:
        field: `field` of `simulate`.

    Returns:
        (chain, kept, distance): the mean over time slices of their product at a distance in time, times
        the sites of a slice.
    """
    space = [name for name in DIRECTIONS[1:] if name in field.dims]
    slices = field.mean(space).transpose("chain", "kept", "t").values
    n_space, n_time = np.prod([field.sizes[name] for name in space], initial=1), slices.shape[-1]
    powers = np.abs(np.fft.rfft(slices)) ** 2
    values = n_space * np.fft.irfft(powers, n_time)[..., : n_time // 2 + 1] / n_time
    distance = ("distance", np.arange(n_time // 2 + 1), {"units": "1", "long_name": "Distance in time"})
    named = {"units": "1", "long_name": "Correlation of time slices"}
    return xr.DataArray(values, {"distance": distance}, ("chain", "kept", "distance"), attrs=named)


def _matrices(field: xr.DataArray) -> tuple[NDArray[Any], int]:
    """Return links, (chain, kept, *sites, direction, row, column), and how many directions."""
    if "direction" not in field.dims:
        raise ValueError(f"loops are made of links, and the field has none: its axes are {field.dims}")
    refuse_part(field)
    for name in ("kept", "chain"):
        if name not in field.dims:
            field = field.expand_dims(name)
    sites = [name for name in DIRECTIONS if name in field.dims]
    if "part" not in field.dims:
        angles = field.transpose("chain", "kept", *sites, "direction").values
        return np.exp(1j * angles)[..., None, None], len(sites)
    values = field.transpose("chain", "kept", *sites, "direction", "row", "column", "part").values
    return np.ascontiguousarray(values).view(np.complex128)[..., 0], len(sites)


def _lines(links: NDArray[Any], mu: int, largest: int) -> list[NDArray[Any]]:
    """Return products of 1, 2, ... links along a direction, from every site."""
    steps = links[..., mu, :, :]
    found = [steps]
    for n in range(1, largest):
        found.append(found[-1] @ np.roll(steps, -n, 2 + mu))
    return found


def _loops(time: NDArray[Any], space: NDArray[Any], mu: int, t: int, r: int) -> NDArray[Any]:
    """Return the mean over sites of loops with given sides, (chain, kept)."""
    there = time @ np.roll(space, -t, 2)
    back = space @ np.roll(time, -r, 2 + mu)
    traces = (there * np.conj(back)).sum((-1, -2)).real / time.shape[-1]
    return traces.mean(tuple(range(2, traces.ndim)))
