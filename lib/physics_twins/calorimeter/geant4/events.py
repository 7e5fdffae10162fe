"""Showers made by Geant4 in this process: particles in, deposits and leakage out.

Geant4 exists once in a process and does one thing at a time, which a lock sees to; another geometry
or cut may follow at any time and changes nothing about the showers, which tests check.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.geant4 import data_folder, geometry
from physics_twins.calorimeter.geant4.beam import PDG_CODES, Beam
from physics_twins.calorimeter.geant4.photons import INSTALL
from physics_twins.calorimeter.parameters import DetectorParameters

_log = logging.getLogger(__name__)
_one_at_a_time = threading.RLock()

# Each shower has its own place in one ring of random numbers, so that all share this seed.
_RING = 1
# Particles start a little before the face. In cm.
_BEFORE_CM = 1e-5
# A GeV leaves about 4000 deposits of 120 bytes.
_MOST_GEV, _MOST_SHOWERS = 40.0, 100
# What is done where Geant4 gives up; a shower uses fewer random numbers than a step.
_ATTEMPTS, _STEP = 3, 1 << 40


class Geant4Error(RuntimeError):
    """Geant4 gave up on a shower."""


@dataclass(frozen=True)
class Deposits:
    """Energy left in matter, step by step.

    Attributes:
        shower: Number of the shower within the batch, shape (deposit,).
        energy_mev: Shape (deposit,).
        position_mm: Middles of the steps, shape (deposit, 3).
        layer: Number of the layer, shape (deposit,).
        in_sensor: Whether it is in the sensor, not in the absorber.
    """

    shower: NDArray[np.int64]
    energy_mev: NDArray[np.float64]
    position_mm: NDArray[np.float64]
    layer: NDArray[np.int64]
    in_sensor: NDArray[np.bool_]

    def where(self, kept: NDArray[np.bool_]) -> "Deposits":
        """Return some of the deposits."""
        return replace(self, **{name: column[kept] for name, column in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """What became of some particles.

    Attributes:
        first: Number of the first of them in the beam.
        beam: The particles.
        deposits: All energy left in the detector.
        leaked_mev: Kinetic energy that left the detector, shape (shower,).
    """

    first: int
    beam: Beam
    deposits: Deposits
    leaked_mev: NDArray[np.float64]


def fire(beam: Beam, parameters: DetectorParameters) -> Iterator[Batch]:
    """Yield what becomes of the particles, some at a time, in their order.

    Args:
        beam: The particles.
        parameters: The calorimeter.

    Raises:
        ModuleNotFoundError: calzone or xraylib is missing.
        ValueError: `GEANT4_DATA_DIR` is set and holds no tables for electromagnetic physics.
        Geant4Error: Geant4 gave up on a shower, whatever its random numbers.
        KeyboardInterrupt: The user stopped it; further showers can be made afterwards.
    """
    simulation = _simulation(parameters)
    first = 0
    for size in _batch_sizes(beam.energy_gev):
        part = beam[first : first + size]
        try:
            yield _batch(simulation, first, part, parameters)
        except Geant4Error as error:
            _log.warning("%s; making showers %d to %d singly", error, first, first + size - 1)
            for n in range(first, first + size):
                yield _again(simulation, n, beam[n : n + 1], parameters)
        first += size


def _simulation(parameters: DetectorParameters) -> Any:
    calzone = require_calzone()
    return calzone.Simulation(
        geometry.block(parameters),
        physics=calzone.Physics("standard", default_cut=0.1 * parameters.production_cut_mm),
        random=calzone.Random(_RING),
        sample_deposits="detailed",
    )


def require_calzone() -> Any:
    """Return the module calzone, with Geant4's data in place.

    Raises:
        ModuleNotFoundError: calzone or xraylib is missing.
        ValueError: `GEANT4_DATA_DIR` is set and holds no tables for electromagnetic physics.
    """
    with _one_at_a_time:
        data_folder.use_tables()
        try:
            import calzone
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"calzone, which holds Geant4, is missing: `{INSTALL}`", name="calzone"
            ) from None
        return calzone


def _again(simulation: Any, number: int, beam: Beam, parameters: DetectorParameters) -> Batch:
    """Make one shower, with other random numbers where Geant4 gives up on it."""
    reason: Geant4Error | None = None
    for attempt in range(_ATTEMPTS):
        elsewhere = np.array([0, attempt * _STEP], dtype=np.uint64)
        try:
            moved = replace(beam, stream=beam.stream ^ elsewhere)
            return _batch(simulation, number, moved, parameters)
        except Geant4Error as error:
            reason = error
    raise Geant4Error(f"shower {number}, in {_ATTEMPTS} attempts: {reason}")


def _batch(simulation: Any, first: int, beam: Beam, parameters: DetectorParameters) -> Batch:
    with _one_at_a_time:
        result = _run(simulation, beam)
    return Batch(first, beam, *_collect(result, len(beam), parameters))


def _run(simulation: Any, beam: Beam) -> Any:
    calzone = require_calzone()
    entry = np.concatenate([0.1 * beam.position_mm, np.zeros((len(beam), 1))], axis=1)
    direction = beam.direction
    particles = calzone.particles(
        len(beam),
        pid=PDG_CODES[beam.particle],
        energy=1e3 * beam.energy_gev,
        position=entry - _BEFORE_CM * direction,
        direction=direction,
    )
    try:
        return simulation.run(particles, random_indices=beam.stream)
    except calzone.Geant4Exception as error:
        raise Geant4Error(f"Geant4 gave up on a shower: {error}") from None


def _batch_sizes(energy_gev: NDArray[np.float64]) -> Iterator[int]:
    """Yield how many showers to make at once, so that their deposits fit into little memory."""
    size, total_gev = 0, 0.0
    for each_gev in energy_gev:
        if size and (total_gev + each_gev > _MOST_GEV or size == _MOST_SHOWERS):
            yield size
            size, total_gev = 0, 0.0
        size += 1
        total_gev += each_gev
    if size:
        yield size


def _collect(
    result: Any, n_showers: int, parameters: DetectorParameters
) -> tuple[Deposits, NDArray[np.float64]]:
    """Return deposits, in an order that does not depend on the batch's other showers, and leakage."""
    parts = list(_volumes(result.deposits, parameters))
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)] if parts else _nothing()
    shower, energy, position, layer, in_sensor = columns
    leaked_mev = np.zeros(n_showers)
    for left in result.particles.values():
        leaked_mev += np.bincount(left["event"].astype(np.int64), left["energy"], minlength=n_showers)
    return Deposits(shower, energy, 10 * position, layer, in_sensor), leaked_mev


def _volumes(deposits: Any, parameters: DetectorParameters) -> Iterator[tuple[NDArray[Any], ...]]:
    for n in range(parameters.n_layers):
        for name, in_sensor in ((geometry.absorber(n), False), (geometry.sensor(n), True)):
            found = deposits.get(f"{geometry.WORLD}.{name}")
            if found is None:
                continue
            line, point = found.line, found.point
            shower = np.concatenate([line["event"], point["event"]]).astype(np.int64)
            energy = np.concatenate([line["value"], point["value"]])
            middle = (line["start"] + line["end"]) / 2
            position = np.concatenate([middle, point["position"]])
            yield shower, energy, position, np.full(len(shower), n), np.full(len(shower), in_sensor)


def _nothing() -> tuple[NDArray[Any], ...]:
    whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
    return whole, real, np.zeros((0, 3)), whole, np.zeros(0, dtype=bool)
