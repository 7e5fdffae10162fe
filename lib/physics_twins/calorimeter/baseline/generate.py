"""Showers from a parametrisation, in the form of `simulate`."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter import form
from physics_twins.calorimeter.baseline import profiles
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.geant4.voxels import ANGLES, DEPTHS, RINGS
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import attributes

REFERENCE_GEV = 10.0
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
