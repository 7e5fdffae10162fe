"""Showers from a parametrisation, in the form of `simulate`."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter import form
from physics_twins.calorimeter.baseline import longitudinal, radial, spots
from physics_twins.calorimeter.baseline.fluctuations import shape_covariance
from physics_twins.calorimeter.baseline.model import Numbers, ParametrisedShower
from physics_twins.calorimeter.baseline.sums import REFERENCE_GEV
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.geant4 import voxels
from physics_twins.calorimeter.parameters import CalorimeterParameters, DetectorParameters
from physics_twins.data import attributes

_BLOCK = 200
# Edges of the parts of a slice, in cells: as fine as the cells need.
_ROUND = np.arange(voxels.RINGS + 1.0)
_SQUARE = np.array([0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 18, 25, 36])


def generate(model: ParametrisedShower, parameters: CalorimeterParameters, *, seed: int) -> xr.Dataset:
    """Return showers that are drawn from a parametrisation.

    Shower n of a seed is the same whatever the number of showers; its particle is that of `simulate`.

    Args:
        model: What was fitted to showers in the same calorimeter.
        parameters: What enters, and the cells, of either layout.
        seed: Two calls with one seed give the same showers.

    Returns:
        What `simulate` returns. Where cells see all matter, the energies of sensors are drawn beside
        them: right each for itself, related to them by the shower's shape only.

    Raises:
        ValueError: The model was fitted to another calorimeter, particle, or kind of cells, or to lower
            or higher energies or smaller angles.
    """
    check_range(model, parameters)
    blocks = []
    for first in range(0, parameters.n_showers, _BLOCK):
        count = min(_BLOCK, parameters.n_showers - first)
        beam = beams.draw(parameters, seed=seed, first=first, count=count)
        blocks.append((beam, *_showers(model, parameters, beam)))
    columns = list(zip(*blocks, strict=True))
    sums = {name: np.concatenate([s[name] for s in columns[2]]) for name in columns[2][0]}
    facts = {
        "title": f"Showers of {parameters.particle}s in {parameters.absorber} and {parameters.sensor}",
        "made_by": f"parametrisation fitted to {model.n_showers} showers",
    }
    traced = attributes(parameters, seed=seed, **facts)
    beam = beams.join(columns[0])
    return form.shower_dataset(parameters, beam, np.concatenate(columns[1]), sums, traced)


def check_range(model: ParametrisedShower, parameters: CalorimeterParameters) -> None:
    """Check that a model was fitted to what is asked for.

    Raises:
        ValueError: It was not; the message names the field.
    """
    fitted = model.parameters
    for name in (*DetectorParameters.model_fields, "particle", "scored"):
        asked, known = getattr(parameters, name), getattr(fitted, name)
        if asked != known:
            raise ValueError(f"{name} = {asked!r}: this parametrisation was fitted to {known!r}")
    if parameters.layout == "cylindrical" and parameters.cell_mm != fitted.cell_mm:
        asked, known = parameters.cell_mm, fitted.cell_mm
        raise ValueError(f"cell_mm = {asked:g} mm: this parametrisation was fitted to {known:g} mm")
    for name, unit in (("energy_gev", "GeV"), ("theta_deg", "deg")):
        low, high = _range(fitted, name)
        for asked in _range(parameters, name):
            if not low <= asked <= high:
                raise ValueError(
                    f"{name} = {asked:g} {unit} is outside {low:g} to {high:g} {unit}, to which this"
                    " parametrisation was fitted"
                )


def _range(parameters: CalorimeterParameters, name: str) -> tuple[float, float]:
    stem, unit = name.split("_")
    low, high = getattr(parameters, name), getattr(parameters, f"{stem}_max_{unit}")
    return low, max(low, high)


def _showers(
    model: ParametrisedShower, parameters: CalorimeterParameters, beam: beams.Beam
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """Return cells and sums of some showers."""
    seeds = (beam.stream[:, 0] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    x = np.log(beam.energy_gev / REFERENCE_GEV)
    shapes, deposited, seen = _drawn(model, beam, x, spots.normals(seeds, 4))
    layers = _edges(parameters, beam, parameters.n_layers, tilted=True)
    contained = longitudinal.shares(shapes, _in_x0(layers, parameters))
    grain = model.seen.values[2] ** 2 * model.seen.values[0]
    sensors = spots.gammas(seeds, seen[:, None] * contained, grain)
    left = deposited * contained.sum(axis=1)
    if parameters.scored == "sensors":
        slices, edges = sensors, layers
        sensors = np.zeros_like(sensors)
    else:
        slices, edges = _slices(model, parameters, beam, seeds, shapes, deposited)
    cells = _scatter(model, parameters, beam, seeds, slices, edges, shapes, x, sensors)
    leaked = 1e3 * beam.energy_gev - left
    return cells, {"deposited_mev": left, "leaked_mev": leaked, "layer_energy_mev": sensors}


def _drawn(
    model: ParametrisedShower, beam: beams.Beam, x: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each shower's shape, and what it would leave and show in an endless calorimeter."""
    spreads, correlation = shape_covariance(np.array(model.fluctuation.values), x)
    second = correlation * z[:, 0] + np.sqrt(1 - correlation**2) * z[:, 1]
    mean = [n.values[0] + n.values[1] * x for n in (model.depth, model.alpha)]
    shapes = np.stack(mean, axis=1) + spreads * np.stack([z[:, 0], second], axis=1)
    shapes = np.clip(shapes, *longitudinal.LIMITS)
    stochastic, constant = model.deposited.values[2:]
    spread = np.hypot(stochastic / np.sqrt(beam.energy_gev), constant)
    deposited = _mean(model.deposited, beam, x) * (1 + spread * z[:, 2])
    # What falls with the root of energy comes from the grain.
    seen = _mean(model.seen, beam, x) * (1 + model.seen.values[3] * z[:, 3])
    return shapes, np.minimum(deposited, 1e3 * beam.energy_gev), np.maximum(seen, 0.0)


def _mean(numbers: Numbers, beam: beams.Beam, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return beam.energy_gev * numbers.values[0] * (1 + numbers.values[1] * x)


def _slices(
    model: ParametrisedShower,
    parameters: CalorimeterParameters,
    beam: beams.Beam,
    seeds: NDArray[np.int64],
    shapes: NDArray[np.float64],
    deposited: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return energies of slices of all matter, which add up to what they should, and their edges."""
    tilted = parameters.layout == "cartesian"
    n = parameters.n_layers if tilted else voxels.DEPTHS
    edges = _edges(parameters, beam, n, tilted=tilted)
    mean = deposited[:, None] * longitudinal.shares(shapes, _in_x0(edges, parameters))
    drawn = spots.gammas(seeds, mean, model.slice_grain_mev.values[0])
    whole = np.maximum(drawn.sum(axis=1, keepdims=True), 1e-300)
    return drawn * mean.sum(axis=1, keepdims=True) / whole, edges


def _edges(
    parameters: CalorimeterParameters, beam: beams.Beam, n: int, *, tilted: bool
) -> NDArray[np.float64]:
    """Return edges of n slices along the path in mm: through the whole block, or as deep as it is."""
    along = np.linspace(0, parameters.depth_mm, n + 1)
    slant = np.cos(np.deg2rad(beam.theta_deg)) if tilted else np.ones(len(beam))
    return along / slant[:, None]


def _in_x0(edges_mm: NDArray[np.float64], parameters: CalorimeterParameters) -> NDArray[np.float64]:
    return edges_mm / longitudinal.radiation_length_mm(parameters)


def _scatter(
    model: ParametrisedShower,
    parameters: CalorimeterParameters,
    beam: beams.Beam,
    seeds: NDArray[np.int64],
    slices: NDArray[np.float64],
    edges: NDArray[np.float64],
    shapes: NDArray[np.float64],
    x: NDArray[np.float64],
    sensors: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the energy in each cell; where only sensors count, add what each saw to `sensors`."""
    is_round = parameters.layout == "cylindrical"
    radii = (_ROUND if is_round else _SQUARE) * parameters.cell_mm
    middles = _in_x0((edges[:, 1:] + edges[:, :-1]) / 2, parameters)
    tau = middles / np.exp(shapes[:, :1])
    outermost_mm = model.parameters.cell_mm * voxels.RINGS
    within = radial.bounded(radii, outermost_mm, tau, x, model.rings, model.outside.values[0])
    # What is left beyond the last radius is in no cell: a last ring takes it.
    radii = np.append(radii, 10 * radii[-1])
    within = np.concatenate([within, np.ones_like(within[..., :1])], axis=2)
    shares = np.diff(within, axis=2)
    middle_mm = (radii[1:] + radii[:-1]) / 2
    fitted_mm = model.parameters.cell_mm * (np.arange(len(model.cell_grain_mev.values)) + 0.5)
    grains = np.interp(middle_mm, fitted_mm, model.cell_grain_mev.values)
    theta, phi = np.deg2rad(beam.theta_deg), np.deg2rad(beam.phi_deg)
    angles = np.stack([np.cos(theta), np.sin(theta), np.cos(phi), np.sin(phi)], axis=1)
    detector = (
        parameters.depth_mm / parameters.n_layers,
        parameters.sensor_mm if parameters.scored == "sensors" else 0.0,
        parameters.cell_mm,
        parameters.depth_mm / voxels.DEPTHS if is_round else 0.0,
    )
    shape = tuple(len(axis.centres) for axis in voxels.axes(parameters))
    cells = np.zeros((len(beam), *shape))
    parts = (model.faintest_mev.values[0], radii, voxels.ANGLES)
    where = (angles, beam.position_mm, detector)
    spots.scatter(seeds, slices, edges, shares, grains, *parts, *where, cells, sensors)
    cells[cells < 1e-3 * parameters.threshold_kev] = 0.0
    return cells.astype(np.float32)
