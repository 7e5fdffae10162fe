"""What differs from pulse to pulse: energy, giants, nulls, modes, jitter."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import SourceParameters

CHUNK = 128  # rotations drawn at a time
SEED_KEY = 1


@dataclass(frozen=True, eq=False)
class Rotations:
    """Rotations of which each sends a pulse, one after the other; nulls are left out.

    Attributes:
        stop: Number of the rotation after them, a null or not.
        number: Of the rotation, from 0, shape (pulse,).
        energy: In median energies of the first mode, shape (pulse,).
        giant: Whether the pulse is a giant, shape (pulse,).
        mode: 0, or 1 in the other mode, shape (pulse,).
        jitter: Its place, in widths from the middle, shape (pulse,).
    """

    stop: int
    number: NDArray[np.int64]
    energy: NDArray[np.float64]
    giant: NDArray[np.bool_]
    mode: NDArray[np.int64]
    jitter: NDArray[np.float64]


def rotations(source: SourceParameters, seed: int) -> Iterator[Rotations]:
    """Yield the rotations of a pulsar without end, a hundred or so at a time.

    Ordinary energies are log-normal, giant ones follow a power law above `giant_least`; nulls and
    modes are two Markov chains. Each property has its own random numbers, so that switching one off
    leaves the others as they are.
    """
    null, other = None, None
    chunk = 0
    while True:
        rng = np.random.default_rng([seed, SEED_KEY, chunk])
        scatter, place = rng.standard_normal((2, CHUNK))
        chosen, size, for_null, for_mode = rng.random((4, CHUNK))
        nulled = markov(for_null, source.nulling_fraction, source.nulling_periods, null)
        mode = markov(for_mode, source.mode_fraction, source.mode_periods, other)
        null, other = bool(nulled[-1]), bool(mode[-1])
        giant = chosen < source.giant_fraction
        ordinary = np.exp(source.energy_scatter * scatter) * np.where(mode, source.mode_ratio, 1.0)
        giants = source.giant_least * (1 - size) ** (-1 / source.giant_index)
        on = ~nulled
        yield Rotations(
            stop=(chunk + 1) * CHUNK,
            number=(chunk * CHUNK + np.arange(CHUNK))[on],
            energy=np.where(giant, giants, ordinary)[on],
            giant=giant[on],
            mode=mode[on].astype(np.int64),
            jitter=source.jitter * place[on],
        )
        chunk += 1


def markov(
    uniform: NDArray[np.float64], fraction: float, mean_length: float, before: bool | None
) -> NDArray[np.bool_]:
    """Return a chain of two states that is on for a fraction of the time.

    Args:
        uniform: A number from 0 to 1 for each step, shape (step,).
        fraction: Part of the steps that are on.
        mean_length: Mean number of steps before it goes off again, longer where `fraction` needs it.
        before: The step before the first one; None draws it.

    Returns:
        Whether it is on, shape (step,).
    """
    if fraction == 0:
        return np.zeros(len(uniform), dtype=bool)
    ends = min(1 / mean_length, (1 - fraction) / fraction)
    begins = ends * fraction / (1 - fraction)
    state = before
    states = []
    for number in uniform.tolist():
        chance = fraction if state is None else 1 - ends if state else begins
        state = number < chance
        states.append(state)
    return np.array(states)
