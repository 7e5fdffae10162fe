"""Simulate showers in a sampling calorimeter with Geant4, on this machine or on a cluster.

The showers are electromagnetic: electrons, positrons and photons enter. Unless Geant4's full tables
are installed, its data are the small ones of `geant4.data_folder`: no fluorescence, bremsstrahlung
of slow electrons approximate, nuclear reactions of photons only above 150 MeV (in tungsten and
hydrogen at all energies), and what they throw out is slowed down but meets no further nucleus. Their
bremsstrahlung has been compared with tables, the showers not with those made from the full tables.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter import form
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.geant4 import events, voxels
from physics_twins.calorimeter.geant4.data_folder import full_tables
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.clusters import results
from physics_twins.data import attributes

# Showers that a worker makes at once: long enough to be worth sending, short enough to be stopped.
_CHUNK_GEV, _CHUNK_SHOWERS = 1000.0, 250


def simulate(
    parameters: CalorimeterParameters,
    *,
    seed: int,
    client: Any = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return showers and where their energy went.

    Shower n of a seed is the same whatever the number of showers, of workers, and who makes it.

    Args:
        parameters: The calorimeter, what enters, and the cells.
        seed: Two calls with one seed give the same showers.
        client: A Dask client whose workers make the showers; by default this process does.
        progress: Whether to show a progress bar.

    Returns:
        `showers` in MeV, (shower, x, y, layer) or (shower, depth, angle, radius); for each shower
        `energy_gev`, `theta_deg`, `phi_deg`, `x_mm`, `y_mm` of the particle; `layer_energy_mev`
        (shower, layer_number), what each sensor saw; `deposited_mev`, left in all matter, and
        `leaked_mev`, the kinetic energy that left it. The two add up to the energy, but for nuclear
        reactions and, where positrons enter or leave, the mass of electrons.

    Raises:
        ModuleNotFoundError: calzone or xraylib is missing; the message says how to install them.
        ValueError: `GEANT4_DATA_DIR` is set and holds no tables for electromagnetic physics.
        Geant4Error: Geant4 gave up on a shower.
        KeyboardInterrupt: The user stopped it; the workers stop soon.
    """
    whole = (0, parameters.n_showers)
    return part(parameters, *whole, seed=seed, client=client, progress=progress)


def part(
    parameters: CalorimeterParameters,
    first: int,
    count: int,
    *,
    seed: int,
    client: Any = None,
    progress: bool = False,
) -> xr.Dataset:
    """Return showers number `first` and following of what `simulate` would return."""
    # Several chunks for each worker, so that none waits long for the last.
    most = count if client is None else -(-count // (4 * max(len(client.nthreads()), 1)))
    chunks = list(_chunks(parameters, first, count, min(most, _CHUNK_SHOWERS)))
    found = pieces(parameters, chunks, seed=seed, client=client, progress=progress)
    options: Any = {"join": "exact", "data_vars": "minimal", "coords": "minimal", "compat": "equals"}
    return xr.concat(list(found), "shower", **options)


def pieces(
    parameters: CalorimeterParameters,
    parts: Sequence[tuple[int, int]],
    *,
    seed: int,
    client: Any = None,
    progress: bool = False,
    ahead: int | None = None,
) -> Generator[xr.Dataset, None, None]:
    """Yield parts of a simulation in their order; closed, it cancels what is left.

    Args:
        parameters: As for `simulate`, as are all that are not told here.
        parts: First shower and number of showers of each.
        seed: Of all.
        client: A Dask client.
        progress: Whether to show a progress bar.
        ahead: How many are requested for each worker; by default all at once.
    """
    from tqdm.auto import tqdm

    calls = (partial(chunk, parameters, seed, *each) for each in parts)
    n_showers = sum(count for _, count in parts)
    with (
        tqdm(total=n_showers, unit="shower", disable=not progress) as bar,
        closing(results(client, calls, ahead=ahead)) as coming,
    ):
        for piece in coming:
            yield piece
            bar.update(piece.sizes["shower"])


def chunk(parameters: CalorimeterParameters, seed: int, first: int, count: int) -> xr.Dataset:
    """Return showers number `first` and following of a simulation, in the form of `simulate`.

    A module's function with plain arguments: it can be sent to workers.
    """
    beam = beams.draw(parameters, seed=seed, first=first, count=count)
    shape = tuple(len(axis.centres) for axis in voxels.axes(parameters))
    showers = np.zeros((count, *shape), dtype=np.float32)
    layers = np.zeros((count, parameters.n_layers))
    deposited, leaked = np.zeros(count), np.zeros(count)
    for batch in events.fire(beam, parameters):
        here = slice(batch.first, batch.first + len(batch.beam))
        showers[here] = voxels.voxelise(batch.deposits, batch.beam, parameters)
        layers[here], deposited[here] = _sums(batch, parameters.n_layers)
        leaked[here] = batch.leaked_mev
    sums = {"deposited_mev": deposited, "leaked_mev": leaked, "layer_energy_mev": layers}
    return _dataset(parameters, seed, beam, first, showers, sums)


def _sums(batch: events.Batch, n_layers: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each sensor saw, shape (shower, layer), and what was left in all matter."""
    deposits, n_showers = batch.deposits, len(batch.beam)
    seen = deposits.where(deposits.in_sensor)
    flat = seen.shower * n_layers + seen.layer
    layers = np.bincount(flat, seen.energy_mev, minlength=n_showers * n_layers).astype(float)
    deposited = np.bincount(deposits.shower, deposits.energy_mev, minlength=n_showers).astype(float)
    return layers.reshape(n_showers, n_layers), deposited


def _dataset(
    parameters: CalorimeterParameters,
    seed: int,
    beam: beams.Beam,
    first: int,
    showers: NDArray[np.float32],
    sums: Mapping[str, NDArray[np.float64]],
) -> xr.Dataset:
    facts = {
        "title": f"Showers of {parameters.particle}s in {parameters.absorber} and {parameters.sensor}",
        "made_by": f"Geant4 {events.require_calzone().GEANT4_VERSION}, electromagnetic physics",
        "geant4_tables": "full" if full_tables() else "small",
    }
    traced = attributes(parameters, seed=seed, **facts)
    return form.shower_dataset(parameters, beam, showers, sums, traced, first=first)


def _chunks(
    parameters: CalorimeterParameters, first: int, count: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yield first shower and number of showers of each chunk, about equal in work."""
    low, high = parameters.energy_gev, max(parameters.energy_max_gev, parameters.energy_gev)
    mean_gev = low if low == high else (high - low) / np.log(high / low)
    size = int(np.clip(_CHUNK_GEV / mean_gev, 1, most))
    end = first + count
    yield from ((start, min(size, end - start)) for start in range(first, end, size))
