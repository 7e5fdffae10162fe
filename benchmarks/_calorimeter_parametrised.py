"""The parametrised shower: fit showers of Geant4 by formulas, and draw others in no time.

Longitudinal and radial profiles and their fluctuations follow Grindhammer & Peters, hep-ex/0001020.
A learned model that is no better than this is of no use.
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import nnls

import _calorimeter_profiles as profiles
from physics_twins.calorimeter import form
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.geant4.voxels import ANGLES, DEPTHS, RINGS
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.projections import BAND
from physics_twins.data import attributes

REFERENCE_GEV = 10.0
_FEWEST, _BLOCK = 100, 500
_N_SHAPE = 2
# Showers are put together by energy, and slices by depth in units of the mean depth.
_N_ENERGIES, _TAU_EDGES = 6, np.arange(0.0, 3.25, 0.125)
# How the faintest part is found: between which energies, with how many showers, how exactly.
_FAINTEST_MEV, _N_TRIALS, _HALVINGS, _SEED = (1e-4, 1.0), 200, 7, 1
_MADE_FOR = "this parametrisation was fitted to"


@dataclass(frozen=True)
class ParametrisedShower:
    """A shower's mean shape and its fluctuations, where x = ln(energy / 10 GeV).

    Attributes:
        parameters: Calorimeter, cells, and the range of energies and angles, that it was fitted to.
        n_showers: How many showers it was fitted to.
        shape: Means of ln(mean depth in radiation lengths) and of ln(alpha), at 10 GeV and per x, shape
            (2, 2).
        spread: Logarithms of their standard deviations, likewise.
        correlation: Of the two.
        visible: Energy in all cells in MeV per GeV, its change per x (relative); its relative spread at
            1 GeV that falls with the root of energy; and the rest.
        rings: The 12 numbers of `profiles.across`.
        slice_grain_mev: Variance over mean of the energy in a slice of a shower of given shape.
        cell_grain_mev: Variance over mean of the energy in a cell, shape (ring,).
        faintest_mev: A part of a shower with less energy is empty: none of its particles was there.
    """

    parameters: CalorimeterParameters
    n_showers: int
    shape: NDArray[np.float64]
    spread: NDArray[np.float64]
    correlation: float
    visible: NDArray[np.float64]
    rings: NDArray[np.float64]
    slice_grain_mev: float
    cell_grain_mev: NDArray[np.float64]
    faintest_mev: float


def generate(model: ParametrisedShower, parameters: CalorimeterParameters, *, seed: int) -> xr.Dataset:
    """Return showers that are drawn from a parametrisation.

    Shower n of a seed is the same whatever the number of showers; its particle is that of `simulate`.

    Args:
        model: What was fitted to showers in the same calorimeter.
        parameters: What enters.
        seed: Two calls with one seed give the same showers.

    Returns:
        What `simulate` returns, without what only Geant4 knows.

    Raises:
        ValueError: The model was fitted to another calorimeter, particle, or kind of cells, or to lower
            or higher energies or smaller angles.
    """
    form.check_fields(parameters, model.parameters, _MADE_FOR)
    form.check_ranges(parameters, form.ranges_of(model.parameters), _MADE_FOR)
    beam = beams.draw(parameters, seed=seed, first=0, count=parameters.n_showers)
    cells = np.zeros((len(beam), DEPTHS, ANGLES, RINGS), dtype=np.float32)
    for n, (energy, stream) in enumerate(zip(beam.energy_gev, beam.stream, strict=True)):
        cells[n] = _shower(model, float(energy), np.random.default_rng(stream))
    cells[cells < 1e-3 * parameters.threshold_kev] = 0.0
    facts = {
        "title": f"Showers of {parameters.particle}s in {parameters.absorber} and {parameters.sensor}",
        "made_by": f"parametrisation fitted to {model.n_showers} showers",
    }
    return form.shower_dataset(parameters, beam, cells, {}, attributes(parameters, seed=seed, **facts))


def _shower(
    model: ParametrisedShower, energy_gev: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the cells of one shower in MeV, shape (depth, angle, ring).

    Energies are drawn from gamma distributions whose variance is proportional to their mean, as in
    Grindhammer & Peters (hep-ex/0001020, section 5): sums of parts are gamma distributed again, so that
    nothing depends on how finely a shower is divided. The parts of a slice are scaled to it.
    """
    x = np.log(energy_gev / REFERENCE_GEV)
    z = generator.normal(size=3)
    z[1] = model.correlation * z[0] + np.sqrt(1 - model.correlation**2) * z[1]
    shape = model.shape @ (1, x) + np.exp(model.spread @ (1, x)) * z[:2]
    shape = np.clip(shape, *profiles.LIMITS)
    spread = np.hypot(model.visible[2] / np.sqrt(energy_gev), model.visible[3])
    visible = energy_gev * model.visible[0] * (1 + model.visible[1] * x) * (1 + spread * z[2])
    edges = depth_edges(model.parameters)
    mean = np.clip(visible, 0, 1e3 * energy_gev) * profiles.along(shape[None], edges)[0]
    slices = generator.gamma(mean / model.slice_grain_mev)
    slices *= mean.sum() / max(slices.sum(), 1e-300)
    tau = (edges[1:] + edges[:-1]) / 2 / np.exp(shape[0])
    radii = model.parameters.cell_mm * np.arange(RINGS + 1)
    within = profiles.across(radii, tau[:, None], x, model.rings)
    shares = np.diff(within, axis=1) / within[:, -1:]
    mean = (slices[:, None] * shares / ANGLES)[:, None].repeat(ANGLES, axis=1)
    parts = generator.gamma(mean / model.cell_grain_mev) * model.cell_grain_mev
    parts[parts < model.faintest_mev] = 0.0
    # Too little for more than one part.
    for depth in np.flatnonzero((parts.sum(axis=(1, 2)) == 0) & (slices > 0)):
        ring = generator.choice(RINGS, p=shares[depth] / shares[depth].sum())
        parts[depth, generator.integers(ANGLES), ring] = 1.0
    return parts * (slices / np.maximum(parts.sum(axis=(1, 2)), 1e-300))[:, None, None]


def depth_edges(parameters: CalorimeterParameters) -> NDArray[np.float64]:
    """Return the edges of the slices of depth in radiation lengths."""
    whole = parameters.depth_mm / profiles.radiation_length_mm(parameters)
    return whole * np.linspace(0, 1, DEPTHS + 1)


def fit_parametrised(showers: xr.Dataset) -> ParametrisedShower:
    """Fit all numbers of a parametrised shower.

    Args:
        showers: Made by `simulate` in cylindrical cells, over a range of energies; at least 100.

    Raises:
        ValueError: The cells are not cylindrical, the showers too few, or all of one energy.
    """
    parameters = _checked(showers)
    rings, cell_grain, n_cells = _sums(showers)
    energy_gev, slices, edges = showers["energy_gev"].values, rings.sum(axis=2), depth_edges(parameters)
    x = np.log(energy_gev / REFERENCE_GEV)
    shapes, information = profiles.fit_along(slices, edges)
    slice_grain = _slice_grain(slices, profiles.along(shapes, edges))
    noise = np.linalg.inv(information + 1e-9 * np.eye(_N_SHAPE))
    noise *= (slice_grain / slices.sum(axis=1))[:, None, None]
    bins = np.array_split(np.argsort(x), _N_ENERGIES)
    model = ParametrisedShower(
        parameters,
        len(x),
        *_shapes_on_energy(shapes, noise, x, bins),
        visible=_response(slices.sum(axis=1) / energy_gev, energy_gev, x, bins),
        rings=_across(rings, shapes, x, bins, parameters, float(cell_grain.mean())),
        slice_grain_mev=slice_grain,
        cell_grain_mev=cell_grain,
        faintest_mev=_FAINTEST_MEV[0],
    )
    return replace(model, faintest_mev=_faintest(model, n_cells, energy_gev))


def _checked(showers: xr.Dataset) -> CalorimeterParameters:
    parameters = form.parameters_of(showers)
    if parameters.layout != "cylindrical":
        raise ValueError(f"layout = {parameters.layout!r}: a fit needs cylindrical cells")
    n, energy = showers.sizes["shower"], showers["energy_gev"].values
    if n < _FEWEST:
        raise ValueError(f"{n} showers are too few to fit: at least {_FEWEST} are needed")
    if energy.max() < 1.5 * energy.min():
        raise ValueError(
            f"energies from {energy.min():g} to {energy.max():g} GeV are too close together to fit how"
            " showers change with energy: set energy_max_gev"
        )
    return parameters


def _sums(showers: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return energies in rings, shape (shower, depth, ring), cells' grain, and numbers of cells.

    Grain is variance over mean, shape (ring,). A cell and its mirror image in the plane of inclination
    have the same mean.
    """
    cells = showers["showers"].transpose("shower", "depth", "angle", "radius")
    rings, counts, squares, whole = [], [], np.zeros(RINGS), np.zeros(RINGS)
    for first in range(0, cells.sizes["shower"], _BLOCK):
        block = np.asarray(cells[first : first + _BLOCK].values, dtype=float)
        rings.append(block.sum(axis=2))
        counts.append((block > 0).sum(axis=(1, 2, 3)))
        one, other = block[:, :, : ANGLES // 2], block[:, :, : ANGLES // 2 - 1 : -1]
        squares += ((one - other) ** 2).sum(axis=(0, 1, 2))
        whole += block.sum(axis=(0, 1, 2))
    grain = np.maximum(squares / np.maximum(whole, 1e-12), 1e-6)
    return np.concatenate(rings), grain, np.concatenate(counts)


def _slice_grain(slices: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return variance over mean of slices around the fitted shape of each shower."""
    whole = slices.sum(axis=1, keepdims=True)
    expected = shares * whole / shares.sum(axis=1, keepdims=True)
    used = expected > 1e-3 * whole
    squares = np.where(used, (slices - expected) ** 2 / np.maximum(expected, 1e-12), 0.0).sum(axis=1)
    # Three degrees of freedom went into the fit.
    return float((squares / np.maximum(used.sum(axis=1) - _N_SHAPE - 1, 1)).mean())


def _shapes_on_energy(
    shapes: NDArray[np.float64],
    noise: NDArray[np.float64],
    x: NDArray[np.float64],
    bins: list[NDArray[np.int64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return means and spreads of shapes, as in `ParametrisedShower`, and their correlation.

    Spreads are those of the showers, less what the grain does to the fit of a shape.
    """
    mean = np.polyfit(x, shapes, 1)[::-1]
    away = shapes - np.stack([np.ones_like(x), x], axis=1) @ mean
    products = away[:, :, None] * away[:, None] - noise
    covariance = np.array([products[rows].mean(axis=0) for rows in bins])
    sigma = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 1e-4))
    spread = np.polyfit([x[rows].mean() for rows in bins], np.log(sigma), 1)[::-1]
    correlation = np.clip(covariance[:, 0, 1] / sigma.prod(axis=1), -0.99, 0.99).mean()
    return mean.T, spread.T, float(correlation)


def _response(
    per_gev: NDArray[np.float64],
    energy_gev: NDArray[np.float64],
    x: NDArray[np.float64],
    bins: list[NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Return `ParametrisedShower.visible`; a shower that lost much in one nucleus widens nothing."""
    slope, mean = np.polyfit(x, per_gev, 1)
    relative = per_gev / (mean + slope * x)
    widths = [np.diff(np.quantile(relative[rows], BAND))[0] / 2 for rows in bins]
    columns = np.array([[1 / energy_gev[rows].mean(), 1.0] for rows in bins])
    squares = nnls(columns / np.square(widths)[:, None], np.ones(len(bins)))[0]
    return np.array([mean, slope / mean, *np.sqrt(squares)])


def _across(
    rings: NDArray[np.float64],
    shapes: NDArray[np.float64],
    x: NDArray[np.float64],
    bins: list[NDArray[np.int64]],
    parameters: CalorimeterParameters,
    grain_mev: float,
) -> NDArray[np.float64]:
    """Return `ParametrisedShower.rings`, from slices of about the same tau and energy."""
    edges = depth_edges(parameters)
    tau = (edges[1:] + edges[:-1]) / 2 / np.exp(shapes[:, :1])
    energy, groups = rings.sum(axis=2), []
    for rows in bins:
        place = np.digitize(tau[rows], _TAU_EDGES)
        for number in range(len(_TAU_EDGES) + 1):
            weight = np.where(place == number, energy[rows], 0.0)
            if weight.sum() > 1e-4 * energy.sum():
                means = [(weight * v).sum() / weight.sum() for v in (tau[rows], x[rows, None])]
                groups.append((rings[rows][place == number].sum(axis=0), *means))
    sums, taus, energies = map(np.array, zip(*groups, strict=True))
    radii = parameters.cell_mm * np.arange(RINGS + 1, dtype=float)
    return profiles.fit_across(sums, taus, energies, radii, grain_mev)


def _faintest(
    model: ParametrisedShower, n_cells: NDArray[np.int64], energy_gev: NDArray[np.float64]
) -> float:
    """Return below which energy a part must be empty for as many cells to be so as should.

    Their number over the root of energy hardly depends on energy.
    """
    asked = model.parameters.replace(n_showers=_N_TRIALS)
    wanted = (n_cells / np.sqrt(energy_gev)).mean()
    low, high = np.log(_FAINTEST_MEV)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        drawn = generate(replace(model, faintest_mev=float(np.exp(middle))), asked, seed=_SEED)
        n_drawn = (drawn["showers"] > 0).sum(("depth", "angle", "radius"))
        too_many = float((n_drawn / np.sqrt(drawn["energy_gev"])).mean()) > wanted
        low, high = (middle, high) if too_many else (low, middle)
    return float(np.exp((low + high) / 2))
