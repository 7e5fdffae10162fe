"""Fit a parametrised shower to showers of Geant4."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.baseline import longitudinal, radial, sums
from physics_twins.calorimeter.baseline.fluctuations import fit_response, fit_shapes_on_energy
from physics_twins.calorimeter.baseline.generate import generate
from physics_twins.calorimeter.baseline.model import Numbers, ParametrisedShower
from physics_twins.calorimeter.parameters import CalorimeterParameters

_FEWEST = 100
_N_SHAPE = 2
# How the faintest part is found: between which energies, with how many showers, how exactly.
_FAINTEST_KEV, _N_TRIALS, _HALVINGS, _SEED = (0.1, 1000.0), 200, 7, 1


def fit_parametrised(showers: xr.Dataset) -> ParametrisedShower:
    """Fit all numbers of a parametrised shower.

    Args:
        showers: Made by `simulate` in cylindrical cells, over a range of energies; at least 100.

    Raises:
        ValueError: The cells are not cylindrical, the showers too few, or all of one energy.
    """
    parameters = _checked(showers)
    found = sums.slices(showers, parameters)
    edges, energy = _profiles(showers, parameters, found)
    shapes = longitudinal.fit_shapes(energy, edges)
    ring_edges = parameters.cell_mm * np.arange(found.rings_mev.shape[2] + 1)
    cell_grain = _cell_grain(found)
    groups = sums.ring_sums(found, shapes.values[:, 0], parameters)
    rings, ring_errors = radial.fit_rings(groups, ring_edges, float(np.mean(cell_grain.values)))
    if parameters.scored == "everything":
        # What passes the outermost ring belongs to the profile.
        whole = energy / _within(found, shapes, ring_edges[-1], rings)
        shapes = longitudinal.fit_shapes(whole, edges)
    outside = _outside(showers, parameters, found, shapes, ring_edges[-1], rings)
    contained = longitudinal.shares(shapes.values, edges).sum(axis=1)
    deposited = _response(showers["deposited_mev"].values, contained, showers, found.x)
    seen = _response(
        showers["layer_energy_mev"].sum("layer_number").values, contained, showers, found.x
    )
    grain = _slice_grain(energy, edges, shapes)
    shape_numbers = fit_shapes_on_energy(shapes, found.x, grain.values[0], energy.sum(axis=1))
    core, tail, share = (Numbers.of(rings[s], ring_errors[s]) for s in _RING_PARTS)
    model = ParametrisedShower(
        parameters=parameters,
        n_showers=len(found.x),
        depth=shape_numbers[0],
        alpha=shape_numbers[1],
        fluctuation=shape_numbers[2],
        deposited=deposited,
        seen=seen,
        slice_grain_mev=grain,
        core=core,
        tail=tail,
        core_share=share,
        outside=outside,
        faintest_mev=Numbers.of([1e-3 * _FAINTEST_KEV[0]], [0.0]),
        cell_grain_mev=cell_grain,
    )
    return model.model_copy(update={"faintest_mev": _faintest(model, showers)})


_RING_PARTS = (slice(0, 4), slice(4, 8), slice(8, 12))


def _checked(showers: xr.Dataset) -> CalorimeterParameters:
    # What was read from a file has numbers of numpy.
    values = {k: v.item() if hasattr(v, "item") else v for k, v in showers.attrs.items()}
    parameters = CalorimeterParameters.take(values)
    if parameters.layout != "cylindrical":
        raise ValueError(f"layout = {parameters.layout!r}: a fit needs cylindrical cells")
    n = showers.sizes["shower"]
    if n < _FEWEST:
        raise ValueError(f"{n} showers are too few to fit: at least {_FEWEST} are needed")
    energy = showers["energy_gev"].values
    if energy.max() < 1.5 * energy.min():
        raise ValueError(
            f"energies from {energy.min():g} to {energy.max():g} GeV are too close together to fit how"
            " showers change with energy: set energy_max_gev"
        )
    return parameters


def _profiles(
    showers: xr.Dataset, parameters: CalorimeterParameters, found: sums.Slices
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return edges of slices and energies in them: the layers', where only sensors count."""
    if parameters.scored == "sensors":
        return sums.layer_edges(showers, parameters), showers["layer_energy_mev"].values
    edges = np.broadcast_to(found.depth_edges, (len(found.x), len(found.depth_edges)))
    return edges, found.rings_mev.sum(axis=2)


def _within(
    found: sums.Slices,
    shapes: longitudinal.Shapes,
    radius_mm: float,
    rings: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the share of each slice within the rings, shape (shower, depth)."""
    middles = (found.depth_edges[1:] + found.depth_edges[:-1]) / 2
    tau = middles / np.exp(shapes.values[:, :1])
    return radial.inside(radius_mm, tau, found.x[:, None], rings)


def _outside(
    showers: xr.Dataset,
    parameters: CalorimeterParameters,
    found: sums.Slices,
    shapes: longitudinal.Shapes,
    radius_mm: float,
    rings: NDArray[np.float64],
) -> Numbers:
    """Return how much more energy is in no ring than the radial profile gives."""
    inside = found.rings_mev.sum(axis=2)
    share = _within(found, shapes, radius_mm, rings)
    expected = (inside * (1 / share - 1)).sum(axis=1)
    name = "layer_energy_mev" if parameters.scored == "sensors" else "deposited_mev"
    whole = showers[name].values.reshape(len(inside), -1).sum(axis=1)
    missing = np.maximum(whole - inside.sum(axis=1), 0.0)
    ratio = missing.sum() / expected.sum()
    error = np.std(missing - ratio * expected) * np.sqrt(len(missing)) / expected.sum()
    return Numbers.of([np.clip(ratio, 0.0, 5.0)], [error])


def _faintest(model: ParametrisedShower, showers: xr.Dataset) -> Numbers:
    """Return below which energy a part must be empty for as many cells to be so as should."""
    parameters = model.parameters.replace(n_showers=_N_TRIALS)
    wanted = _n_cells(showers)
    low, high = np.log(1e-3 * np.array(_FAINTEST_KEV))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        trial = Numbers.of([np.exp(middle)], [0.0])
        drawn = generate(model.model_copy(update={"faintest_mev": trial}), parameters, seed=_SEED)
        low, high = (middle, high) if _n_cells(drawn) > wanted else (low, middle)
    value = float(np.exp((low + high) / 2))
    return Numbers.of([value], [value * (high - low)])


def _n_cells(showers: xr.Dataset) -> float:
    """Return how many cells are not empty, per GeV to the power 0.5, which hardly depends on energy."""
    cells = showers["showers"]
    counts = [
        (cells[first : first + sums.BLOCK].values > 0).sum(axis=(1, 2, 3))
        for first in range(0, cells.sizes["shower"], sums.BLOCK)
    ]
    return float(np.mean(np.concatenate(counts) / np.sqrt(showers["energy_gev"].values)))


def _response(
    energy_mev: NDArray[np.float64],
    contained: NDArray[np.float64],
    showers: xr.Dataset,
    x: NDArray[np.float64],
) -> Numbers:
    energy_gev = showers["energy_gev"].values
    return fit_response(energy_mev / contained / energy_gev, energy_gev, x)


def _slice_grain(
    energy: NDArray[np.float64], edges: NDArray[np.float64], shapes: longitudinal.Shapes
) -> Numbers:
    """Return variance over mean of slices around the fitted shape of each shower."""
    expected = longitudinal.shares(shapes.values, edges)
    expected *= energy.sum(axis=1, keepdims=True) / expected.sum(axis=1, keepdims=True)
    used = expected > 1e-3 * energy.sum(axis=1, keepdims=True)
    squares = np.where(used, (energy - expected) ** 2 / np.maximum(expected, 1e-12), 0.0).sum(axis=1)
    # Three degrees of freedom went into the fit.
    each = squares / np.maximum(used.sum(axis=1) - _N_SHAPE - 1, 1)
    return Numbers.of([each.mean()], [each.std(ddof=1) / np.sqrt(len(each))])


def _cell_grain(found: sums.Slices) -> Numbers:
    """Return variance over mean of the energy in cells of each ring.

    A cell and its mirror image in the plane of inclination have the same mean.
    """
    squares, total = found.unevenness
    grain = squares / np.maximum(total, 1e-12)
    n_cells = len(found.x) * found.rings_mev.shape[1]
    return Numbers.of(np.maximum(grain, 1e-6), grain / np.sqrt(n_cells))
