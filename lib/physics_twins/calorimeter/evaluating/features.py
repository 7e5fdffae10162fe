"""Numbers that describe showers: energies, where they lie, how wide they are, how many cells are hit.

Both layouts are brought to one form, layers of cells with a place across the beam, so that cartesian
and cylindrical showers are described by the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.form import check_cells

# Cells are counted in bins of their energy, ten to a decade, 10 keV to 100 GeV.
CELL_MEV_EDGES = np.logspace(-2, 5, 71)
# Showers that are described at once: 100 of 51 x 51 x 25 cells take 26 MB, and twice that in between.
BLOCK_SHOWERS = 100
# A narrower layer is one cell, but for rounding.
_LEAST_MM = 1e-4
CONDITIONS = ("energy_gev", "theta_deg", "phi_deg", "x_mm", "y_mm")
# Added to a layer's energy before its logarithm is taken: below any threshold of a cell.
_FLOOR_MEV = 1e-2
_ABOUT = {
    "visible_mev": ("shower", "MeV", "Energy in all cells"),
    "response": ("shower", "1", "Visible over incident energy"),
    "layer_mev": ("layer", "MeV", "Energy in a layer"),
    "ring_mev": ("ring", "MeV", "Energy in a ring"),
    "centre_x_mm": ("layer", "mm", "Centre of gravity of a layer, along x"),
    "centre_y_mm": ("layer", "mm", "Centre of gravity of a layer, along y"),
    "width_x_mm": ("layer", "mm", "Standard deviation of a layer's energy along x"),
    "width_y_mm": ("layer", "mm", "Standard deviation of a layer's energy along y"),
    "sparsity": ("layer", "1", "Part of a layer's cells without energy"),
    "depth_mm": ("shower", "mm", "Centre of gravity along the beam"),
    "length_mm": ("shower", "mm", "Standard deviation of the energy along the beam"),
    "radius_mm": ("shower", "mm", "Mean distance of the energy from the beam"),
    "spread_mm": ("shower", "mm", "Standard deviation of that distance"),
    "largest_mev": ("shower", "MeV", "Energy of the cell with the most"),
    "empty": ("shower", "1", "Part of all cells without energy"),
    "cell_count": ("cell_energy", "1", "Cells in a bin of energy"),
    "hit_count": ("layer", "1", "Cells of a layer with energy"),
    "pair_count": ("layer", "1", "Neighbours in a layer that both have energy"),
}


def features(showers: xr.Dataset) -> xr.Dataset:
    """Return the numbers of each shower.

    Args:
        showers: In the form of `simulate`; may be lazy, it is read in blocks.

    Returns:
        The conditions of each shower, and: `visible_mev`, `response`, `depth_mm`, `length_mm`,
        `radius_mm`, `spread_mm`, `largest_mev`, `empty` (shower); `layer_mev`, `centre_x_mm`,
        `centre_y_mm`, `width_x_mm`, `width_y_mm`, `sparsity`, `hit_count`, `pair_count` (shower,
        layer); `ring_mev` (shower, ring); `cell_count` (shower, cell_energy). x and y are across the
        beam, from the particle's straight path; in the cylindrical layout x is down the plane in which
        it is inclined. Centres and widths of empty layers are not a number.

    Raises:
        ValueError: The showers have another form, or a cell is negative or not a number.
    """
    cells = cells_of(showers)
    blocks = [_describe(*block, cells) for block in blocks_of(showers, cells)]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    incident_mev = 1e3 * showers["energy_gev"].values
    columns["response"] = columns["visible_mev"] / incident_mev
    variables: dict[str, Any] = {}
    for name, (dimension, unit, about) in _ABOUT.items():
        dimensions = ("shower",) if dimension == "shower" else ("shower", dimension)
        variables[name] = (dimensions, columns[name], {"units": unit, "long_name": about})
    for name in CONDITIONS:
        if name in showers:
            variables[name] = showers[name].compute().variable
    coordinates = {
        "layer": ("layer", cells.depth_mm, {"units": "mm", "long_name": "Depth"}),
        "ring": ("ring", cells.ring_mm, {"units": "mm", "long_name": "Distance from the beam"}),
        "cell_energy": (
            "cell_energy",
            np.sqrt(CELL_MEV_EDGES[1:] * CELL_MEV_EDGES[:-1]),
            {"units": "MeV", "long_name": "Energy of a cell"},
        ),
    }
    return xr.Dataset(variables, coordinates)


def matrix(numbers: xr.Dataset) -> NDArray[np.float64]:
    """Return the numbers that a classifier learns from, shape (shower, number).

    As in CaloChallenge (arXiv:2410.21611, section 4): incident energy, layer energies, centres and
    widths of layers, sparsity; energies as logarithms. An empty layer has centre and width 0.

    Args:
        numbers: From `features`.
    """
    columns = [np.log10(numbers["energy_gev"].values), numbers["response"].values]
    columns.append(np.log10(numbers["layer_mev"].values + _FLOOR_MEV))
    names = ("centre_x_mm", "centre_y_mm", "width_x_mm", "width_y_mm", "sparsity")
    return np.column_stack([*columns, *(np.nan_to_num(numbers[name].values) for name in names)])


@dataclass(frozen=True)
class Cells:
    """Where the cells are: layers of cells across the beam.

    Attributes:
        dims: Dimensions of a shower, the layer first.
        depth_mm: Of each layer.
        across_mm: Place of each cell of a layer across the beam, shape (cell, 2).
        shape: Number of cells of a layer along its two axes.
        ring_mm: Middle of each ring.
        is_cartesian: Whether cells stay where they are when the particle's path moves.
    """

    dims: tuple[str, ...]
    depth_mm: NDArray[np.float64]
    across_mm: NDArray[np.float64]
    shape: tuple[int, int]
    ring_mm: NDArray[np.float64]
    is_cartesian: bool

    @property
    def ring_width_mm(self) -> float:
        """Width of a ring."""
        return float(self.ring_mm[0] * 2)


def cells_of(showers: xr.Dataset) -> Cells:
    """Return where the cells of a set of showers are.

    Raises:
        ValueError: `showers` or `energy_gev` is missing or has other dimensions.
    """
    for name in ("showers", "energy_gev"):
        if name not in showers:
            raise ValueError(f"{name} is missing: expected a dataset in the form of simulate")
    dims = tuple(str(each) for each in showers["showers"].dims)
    if dims == ("shower", "x", "y", "layer"):
        x, y = (np.asarray(showers[name].values, dtype=float) for name in ("x", "y"))
        across = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
        width = float(x[1] - x[0])
        rings = width * (np.arange(len(x) // 2 + 1, dtype=float) + 0.5)
        depth = showers["layer"].values.astype(float)
        return Cells(("layer", "x", "y"), depth, across, (len(x), len(y)), rings, True)
    if dims == ("shower", "depth", "angle", "radius"):
        angle = np.deg2rad(showers["angle"].values.astype(float))
        radius = showers["radius"].values.astype(float)
        # Of whole layers nothing is known across the beam.
        across_mm = radius if len(angle) > 1 else np.zeros(1)
        x, y = np.outer(np.cos(angle), across_mm), np.outer(np.sin(angle), across_mm)
        across = np.stack([x, y], axis=-1).reshape(-1, 2)
        depth = showers["depth"].values.astype(float)
        shape = len(angle), len(radius)
        return Cells(("depth", "angle", "radius"), depth, across, shape, radius, False)
    raise ValueError(
        f"showers has the dimensions {', '.join(dims)}: expected shower, x, y, layer or shower, depth,"
        " angle, radius"
    )


def blocks_of(
    showers: xr.Dataset, cells: Cells
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Yield blocks of showers, (shower, layer, cell), and the beam's place in each layer.

    The latter in mm, shape (shower, layer, 2).

    Raises:
        ValueError: A cell is negative or not a number.
    """
    array = showers["showers"].transpose("shower", *cells.dims)
    for first in range(0, array.sizes["shower"], BLOCK_SHOWERS):
        here = slice(first, first + BLOCK_SHOWERS)
        values = np.asarray(array[here].values, dtype=np.float32)
        check_cells(values, first)
        block = values.reshape(len(values), len(cells.depth_mm), -1)
        yield block, _path(showers.isel(shower=here), cells)


def _path(showers: xr.Dataset, cells: Cells) -> NDArray[np.float64]:
    n, depth = showers.sizes["shower"], cells.depth_mm
    if not cells.is_cartesian:
        return np.zeros((n, len(depth), 2))
    given = {name: showers[name].values if name in showers else np.zeros(n) for name in CONDITIONS[1:]}
    theta, phi = np.deg2rad(given["theta_deg"]), np.deg2rad(given["phi_deg"])
    aside = np.tan(theta)[:, None] * np.stack([np.cos(phi), np.sin(phi)], axis=1)
    start = np.stack([given["x_mm"], given["y_mm"]], axis=1)
    return start[:, None] + depth[:, None] * aside[:, None]


def _describe(
    energy: NDArray[np.float32], path: NDArray[np.float64], cells: Cells
) -> dict[str, NDArray[Any]]:
    """Return the numbers of a block by name."""
    layer = energy.sum(axis=2, dtype=float)
    visible = layer.sum(axis=1)
    numbers: dict[str, NDArray[Any]] = {"visible_mev": visible, "layer_mev": layer}
    with np.errstate(invalid="ignore"):
        for axis, name in enumerate("xy"):
            place = cells.across_mm[:, axis]
            centre, width = _moments(layer, energy @ place, energy @ place**2)
            numbers[f"centre_{name}_mm"] = centre - path[..., axis]
            numbers[f"width_{name}_mm"] = width
        depth = cells.depth_mm
        numbers["depth_mm"], numbers["length_mm"] = _moments(visible, layer @ depth, layer @ depth**2)
        rings, first, second = _rings(energy, path, cells)
        numbers["ring_mev"] = rings
        numbers["radius_mm"], numbers["spread_mm"] = _moments(visible, first, second)
    hit = (energy > 0).reshape(*layer.shape, *cells.shape)
    numbers["hit_count"] = hit.sum(axis=(2, 3))
    numbers["sparsity"] = 1 - numbers["hit_count"] / len(cells.across_mm)
    numbers["empty"] = numbers["sparsity"].mean(axis=1)
    # Around the beam the first cell is the last one's neighbour.
    beside = [hit[:, :, 1:] & hit[:, :, :-1], hit[..., 1:] & hit[..., :-1]]
    around = not cells.is_cartesian and cells.shape[0] > 1
    beside += [hit[:, :, :1] & hit[:, :, -1:]] if around else []
    numbers["pair_count"] = np.sum([each.sum(axis=(2, 3)) for each in beside], axis=0)
    numbers["largest_mev"] = energy.max(axis=(1, 2))
    numbers["cell_count"] = _spectrum(energy)
    return numbers


def _moments(
    total: NDArray[np.float64], first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation from sums; not a number where there is no energy."""
    mean = first / total
    width = np.sqrt(np.maximum(second / total - mean**2, 0.0))
    return mean, np.where(width < _LEAST_MM, 0.0, width)


def _rings(
    energy: NDArray[np.float32], path: NDArray[np.float64], cells: Cells
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the energy in rings, and sums of energy times distance and distance squared.

    Cells outside the last ring count in it.
    """
    shower, layer, cell = np.nonzero(energy)
    weight = energy[shower, layer, cell].astype(float)
    distance = np.hypot(*(cells.across_mm[cell] - path[shower, layer]).T)
    n_rings = len(cells.ring_mm)
    ring = np.minimum((distance / cells.ring_width_mm).astype(np.int64), n_rings - 1)
    size = len(energy)
    summed = np.bincount(shower * n_rings + ring, weight, minlength=size * n_rings).astype(float)
    first, second = (
        np.bincount(shower, weight * distance**n, minlength=size).astype(float) for n in (1, 2)
    )
    return summed.reshape(size, n_rings), first, second


def _spectrum(energy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how many cells of each shower are in each bin of energy; the end bins are open."""
    shower, value = np.nonzero(energy)[0], energy[energy > 0]
    n_bins = len(CELL_MEV_EDGES) - 1
    place = np.clip(np.searchsorted(CELL_MEV_EDGES, value, side="right") - 1, 0, n_bins - 1)
    counts = np.bincount(shower * n_bins + place, minlength=len(energy) * n_bins)
    return counts.reshape(len(energy), n_bins).astype(np.float32)
