"""A shower seen from three sides: sums of its cells on planes, on an even grid of pixels."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

# Each view: across, then up.
VIEWS: Mapping[str, tuple[str, str]] = {
    "side": ("depth", "x"),
    "top": ("depth", "y"),
    "front": ("x", "y"),
}
# A cell of a ring is shared out to so many points, at least one in each pixel that it covers.
_N_RADII, _N_ANGLES = 12, 24


def projections(shower: xr.DataArray, *, n_pixels: int = 40) -> dict[str, xr.DataArray]:
    """Return a shower's energy in MeV on three planes: `side`, `top` and `front`.

    x and y are across the particle's path; in cylindrical cells x is down the plane in which the
    particle is inclined. The energy of a cell of a ring is spread evenly over its area.

    Args:
        shower: One shower of `showers` in the form of `simulate`, in either layout.
        n_pixels: Pixels across, for cells in rings; square cells stay as they are.

    Returns:
        By name; the dimensions are those of `VIEWS`, up first, with coordinates in mm.

    Raises:
        ValueError: It is no single shower.
    """
    if "layer" in shower.dims:
        shower = shower.rename(layer="depth")
    dims = {str(dim) for dim in shower.dims}
    if dims == {"depth", "angle", "radius"}:
        cells, across_mm = _unrolled(shower, n_pixels)
        coordinates = {"depth": shower["depth"], "x": across_mm, "y": across_mm}
    elif dims == {"depth", "x", "y"}:
        cells = shower.transpose("depth", "x", "y").values.astype(float)
        coordinates = {name: shower[name] for name in ("depth", "x", "y")}
    else:
        raise ValueError(f"one shower has cells in depth and across, found {sorted(dims)}")
    whole = xr.DataArray(cells, coordinates, ("depth", "x", "y"))
    about = {"units": "MeV", "long_name": "Energy"}
    found = {}
    for name, (across, up) in VIEWS.items():
        (summed,) = {"depth", "x", "y"} - {across, up}
        found[name] = whole.sum(summed).transpose(up, across).assign_attrs(about)
    for each in found.values():
        for dim in each.dims:
            each[dim].attrs |= {"units": "mm", "long_name": str(dim).capitalize()}
    return found


def _unrolled(shower: xr.DataArray, n_pixels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return cells on a square grid, shape (depth, x, y), and the grid in mm."""
    angles = shower["angle"].values
    angle_rad = np.deg2rad(angles) if _in_degrees(shower) else angles
    share, edges = _shares(tuple(shower["radius"].values), tuple(angle_rad), n_pixels)
    cells = shower.transpose("depth", "angle", "radius").values.astype(float)
    return np.einsum("dar,arxy->dxy", cells, share, optimize=True), (edges[1:] + edges[:-1]) / 2


@lru_cache(maxsize=8)
def _shares(
    radius_mm: tuple[float, ...], angle_rad: tuple[float, ...], n_pixels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the part of each cell in each pixel, (angle, radius, x, y), and the pixels' edges."""
    width_mm, step = radius_mm[1] - radius_mm[0], 2 * np.pi / len(angle_rad)
    reach_mm = radius_mm[-1] + width_mm / 2
    edges = np.linspace(-reach_mm, reach_mm, n_pixels + 1)
    share = np.zeros((len(angle_rad), len(radius_mm), n_pixels, n_pixels))
    parts = (np.arange(_N_RADII) + 0.5) / _N_RADII - 0.5
    turns = (np.arange(_N_ANGLES) + 0.5) / _N_ANGLES - 0.5
    for ring, middle in enumerate(radius_mm):
        r, turn = np.meshgrid(middle + width_mm * parts, step * turns)
        for n, angle in enumerate(angle_rad):
            x, y = r * np.cos(angle + turn), r * np.sin(angle + turn)
            hit = np.histogram2d(x.ravel(), y.ravel(), (edges, edges), weights=r.ravel())[0]
            share[n, ring] = hit / hit.sum()
    return share, edges


def _in_degrees(shower: xr.DataArray) -> bool:
    return shower["angle"].attrs.get("units") in ("deg", "degree", "degrees")
