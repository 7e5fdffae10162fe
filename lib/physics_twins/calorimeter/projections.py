"""Showers seen from the side, from above and along the beam, and the profiles of cylindrical ones.

Cells around the beam are unrolled to pixels across it, x down the plane in which the particle is
inclined and y aside, both from its straight path; each cell's energy is spread evenly over its area.
Square cells are pixels as they are.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

N_PIXELS = 72  # across a shower: 8 to the widest ring, and rings and angles can be told apart
# The part of showers that a band holds.
BAND = (0.16, 0.84)
# Points in a pixel along x and y at which it is asked which cell it lies in. One is even and one odd,
# so that no point lies on a diagonal, where two cells meet.
_POINTS = (4, 5)
_DIMS = ("depth", "angle", "radius")
_SQUARE_DIMS = ("x", "y", "layer")
# Where the places of square cells are kept.
_PLACES: Mapping[str, str] = {"x": "x", "y": "y", "depth": "layer"}
_Views: TypeAlias = tuple[tuple[NDArray[np.float32], ...], dict[str, NDArray[np.float64]]]


def projections(showers: xr.Dataset, *, n_pixels: int = N_PIXELS) -> xr.Dataset:
    """Return three images of each shower, each of which adds up to all its energy.

    Args:
        showers: `showers` in MeV as `simulate` makes them, with or without the dimension shower.
        n_pixels: Pixels across, even, over the diameter of the outermost ring of cylindrical cells.

    Returns:
        `side` (..., x, depth), in the plane in which the particle is inclined, or x of the calorimeter
        for square cells; `top` (..., y, depth), from above that plane; `front` (..., x, y), along the
        beam. All in MeV for each pixel, with the pixels' middles `x`, `y` and `depth` in mm.

    Raises:
        ValueError: The showers have other cells, or `n_pixels` is odd or less than 2.
    """
    views, places = _of_squares(showers) if _is_square(showers) else _of_rings(showers, n_pixels)
    about = (
        ("side", ("x", "depth"), "Energy in the plane of inclination"),
        ("top", ("y", "depth"), "Energy across the plane of inclination"),
        ("front", ("x", "y"), "Energy along the beam"),
    )
    before = tuple(d for d in showers["showers"].dims if d not in (*_DIMS, *_SQUARE_DIMS))
    variables = {
        name: ((*before, *dims), view, {"units": "MeV", "long_name": told})
        for (name, dims, told), view in zip(about, views, strict=True)
    }
    coordinates: dict[str, Any] = {n: (n, values, {"units": "mm"}) for n, values in places.items()}
    coordinates |= {str(name): showers[name] for name in before if name in showers.coords}
    return xr.Dataset(variables, coordinates, dict(showers.attrs))


def densities(images: xr.Dataset) -> xr.Dataset:
    """Return images from `projections` in MeV mm-2: what they show whatever the size of a pixel."""
    step_mm = {name: float(np.diff(images[name].values[:2])[0]) for name in ("x", "y", "depth")}
    views = {}
    for name in ("side", "top", "front"):
        view = images[name].variable
        rows, columns = (step_mm[str(each)] for each in view.dims[-2:])
        about = {**view.attrs, "units": "MeV mm-2"}
        views[name] = xr.Variable(view.dims, view.values / (rows * columns), about)
    return images.assign(views)


def profiles(showers: xr.Dataset) -> xr.Dataset:
    """Return how each shower's energy is distributed along the beam and away from it.

    Args:
        showers: As for `projections`, with `energy_gev`; may be lazy, it is read in parts.

    Returns:
        `longitudinal` (..., depth), `lateral` (..., radius): energy in each slice and each ring as a
        part of the particle's.

    Raises:
        ValueError: The showers are not cylindrical.
    """
    _check(showers)
    cells = showers["showers"]
    before = cells.dims[:-3]
    incident_mev = 1e3 * showers["energy_gev"].values
    variables: dict[str, Any] = {}
    for name, dim, axes in (("longitudinal", "depth", (-2, -1)), ("lateral", "radius", (-3, -2))):
        summed = xr.Variable((*before, dim), cells.data.sum(axis=axes)).compute()
        told = f"Part of the particle's energy at a {dim}"
        parts = summed.values.astype(float) / incident_mev[..., None]
        variables[name] = ((*before, dim), parts, {"units": "1", "long_name": told})
    for name in ("energy_gev", "theta_deg"):
        if name in showers:
            variables[name] = showers[name].variable.compute()
    places = {name: showers[name].variable for name in (*before, "depth", "radius") if name in showers}
    return xr.Dataset(variables, places, dict(showers.attrs))


def bands(known: xr.Dataset) -> xr.Dataset:
    """Return mean profiles and the bands that hold the central 68 % of showers.

    Args:
        known: From `profiles`, of showers of like conditions.

    Returns:
        `longitudinal`, `lateral`, and each with `_low` and `_high`; the attribute `n_showers`.

    Raises:
        ValueError: There is no shower.
    """
    n = known.sizes["shower"]
    if n == 0:
        raise ValueError("a band needs at least one shower, found none")
    made = {}
    for name in ("longitudinal", "lateral"):
        array = known[name]
        low, high = np.quantile(array.values, BAND, axis=array.get_axis_num("shower"))
        mean = array.mean("shower", keep_attrs=True)
        made |= {name: mean, f"{name}_low": mean.copy(data=low), f"{name}_high": mean.copy(data=high)}
    return xr.Dataset(made, attrs={**known.attrs, "n_showers": n})


@lru_cache(maxsize=8)
def unrolling(n_angles: int, n_rings: int, n_pixels: int) -> NDArray[np.float32]:
    """Return which part of each cell's area lies in each pixel, shape (angle and radius, x and y).

    Rings are equally wide and fill the square of pixels; the parts of a cell add up to 1.

    Raises:
        ValueError: `n_pixels` is odd or less than 2.
    """
    if n_pixels < 2 or n_pixels % 2:
        raise ValueError(f"n_pixels = {n_pixels} must be even and 2 or more")
    ticks = [(np.arange(k * n_pixels) + 0.5) * 2 * n_rings / (k * n_pixels) - n_rings for k in _POINTS]
    x, y = np.meshgrid(*ticks, indexing="ij")
    ring = np.hypot(x, y).astype(np.int64)
    angle = np.floor((np.arctan2(y, x) % (2 * np.pi)) * (n_angles / (2 * np.pi))).astype(np.int64)
    pixel_x, pixel_y = (np.arange(k * n_pixels) // k for k in _POINTS)
    pixel = pixel_x[:, None] * n_pixels + pixel_y
    inside = ring < n_rings
    # An angle a rounding below a full turn belongs to the last cell.
    cell = np.minimum(angle, n_angles - 1) * n_rings + ring
    shape = n_angles * n_rings, n_pixels * n_pixels
    flat = cell[inside] * shape[1] + pixel[inside]
    area = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    whole = area.sum(axis=1, keepdims=True)
    if (whole == 0).any():
        raise ValueError(f"n_pixels = {n_pixels} is too few for {n_angles} angles and {n_rings} rings")
    weights = (area / whole).astype(np.float32)
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=8)
def _spreads(n_angles: int, n_rings: int, n_pixels: int) -> tuple[sparse.csr_array, ...]:
    """Return which part of each cell's area lies in each pixel, at each x, and at each y.

    A cell covers few pixels: sparse products are quicker, and start none of the threads that would then
    wait for more, and keep a core from a browser that draws.
    """
    weights = unrolling(n_angles, n_rings, n_pixels)
    square = weights.reshape(-1, n_pixels, n_pixels)
    parts = weights, square.sum(axis=2), square.sum(axis=1)
    return tuple(sparse.csr_array(np.ascontiguousarray(part.T)) for part in parts)


def _spread(cells: NDArray[np.float32], weights: sparse.csr_array) -> NDArray[np.float32]:
    """Return energies of cells, shape (..., cell), spread over pixels, shape (..., pixel)."""
    spread = weights @ cells.reshape(-1, cells.shape[-1]).T
    return spread.T.reshape(*cells.shape[:-1], -1)


def _check(showers: xr.Dataset) -> None:
    found = tuple(str(d) for d in showers["showers"].dims) if "showers" in showers else ()
    if found[-3:] != _DIMS:
        told = ", ".join(found) or "nothing"
        raise ValueError(f"showers must end in {', '.join(_DIMS)} (cylindrical cells), found {told}")


def _is_square(showers: xr.Dataset) -> bool:
    return "showers" in showers and showers["showers"].dims[-3:] == _SQUARE_DIMS


def _of_squares(showers: xr.Dataset) -> _Views:
    """Return side, top and front, and the middles of their pixels in mm, of square cells."""
    cells = np.asarray(showers["showers"].values, dtype=np.float32)
    views = cells.sum(axis=-2), cells.sum(axis=-3), cells.sum(axis=-1)
    return views, {name: showers[kept].values for name, kept in _PLACES.items()}


def _of_rings(showers: xr.Dataset, n_pixels: int) -> _Views:
    """Return side, top and front, and the middles of their pixels in mm, of cylindrical cells."""
    _check(showers)
    cells = np.asarray(showers["showers"].values, dtype=np.float32)
    radius_mm = showers["radius"].values
    unrolled = cells.shape[-2], len(radius_mm), n_pixels
    flat = cells.reshape(*cells.shape[:-2], -1)
    across, at_x, at_y = _spreads(*unrolled)
    front = _spread(flat.sum(axis=-2), across).reshape(*flat.shape[:-2], n_pixels, n_pixels)
    side, top = (np.swapaxes(_spread(flat, each), -1, -2) for each in (at_x, at_y))
    reach_mm = 2 * float(radius_mm[0]) * len(radius_mm)
    edges_mm = np.linspace(-reach_mm, reach_mm, n_pixels + 1)
    middles_mm = (edges_mm[1:] + edges_mm[:-1]) / 2
    return (side, top, front), {"x": middles_mm, "y": middles_mm, "depth": showers["depth"].values}
