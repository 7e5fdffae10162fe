"""The pulsar as a lighthouse: what its beam shows to us, and when its rotations arrive."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics_twins.pulsar.parameters import SourceParameters

LN2_4 = 4 * np.log(2)  # a Gaussian is exp(-LN2_4 (x / FWHM)^2)


@dataclass(frozen=True, eq=False)
class Components:
    """Gaussian components of a profile.

    Attributes:
        offset_s: Centre, from the moment when the magnetic axis points nearest to us, shape
            (component, channel).
        width_s: Full width at half maximum, shape (component, channel).
        weight: Part of the pulse's fluence in each mode, over all components 1 at the reference
            frequency, shape (mode, component, channel).
    """

    offset_s: NDArray[np.float64]
    width_s: NDArray[np.float64]
    weight: NDArray[np.float64]


def cone_phase_deg(
    radius_deg: ArrayLike, inclination_deg: float, impact_deg: float
) -> NDArray[np.float64]:
    """Return the rotation phase at which our line of sight leaves a cone, in degrees from its middle.

    Rotating-vector geometry (Lorimer & Kramer, equation 3.25): the line of sight is at an angle
    inclination + impact to the rotation axis. Twice the phase is the pulse's width.

    Args:
        radius_deg: Opening angle of the cone around the magnetic axis.
        inclination_deg: Angle between the magnetic and the rotation axis.
        impact_deg: Angle between the line of sight and the magnetic axis when they are nearest.

    Returns:
        0 where the line of sight misses the cone, 180 where it never leaves it.

    >>> cone_phase_deg([1.0, 5.0], 90.0, 3.0).round(3)
    array([0.   , 4.002])
    """
    alpha, zeta = np.deg2rad(inclination_deg), np.deg2rad(inclination_deg + impact_deg)
    cosine = np.cos(np.deg2rad(radius_deg)) - np.cos(alpha) * np.cos(zeta)
    return np.rad2deg(np.arccos(np.clip(cosine / (np.sin(alpha) * np.sin(zeta)), -1, 1)))


def beam_components(
    source: SourceParameters, frequency_mhz: NDArray[np.float64], *, reference_mhz: float
) -> Components:
    """Return the profile that the beam's core and cone make where our line of sight cuts them.

    The core is a Gaussian around the magnetic axis, the cone a hollow one around it with walls as thick
    as the core. Both narrow towards high frequencies. In the other mode they have swapped their power.

    Args:
        source: Beam, geometry and spectrum.
        frequency_mhz: Channel centres, shape (channel,).
        reference_mhz: Where width and fluence are those of `source`.
    """
    ratio = frequency_mhz / reference_mhz
    narrowing = np.append(ratio, 1.0) ** -source.beam_index  # (channel + 1,): the reference last
    width_s = source.width_ms * 1e-3 * narrowing
    # Near the axis an angle in the beam is that of rotation times the mean of both circles' radii.
    line_of_sight_deg = source.inclination_deg + source.impact_deg
    turn = np.sqrt(np.prod(np.sin(np.deg2rad([source.inclination_deg, line_of_sight_deg]))))
    width_deg = width_s / source.period_s * 360 * turn
    radius_deg = source.cone_radius_deg * narrowing
    phase_deg = cone_phase_deg(radius_deg, source.inclination_deg, source.impact_deg)
    missed_deg = np.maximum(abs(source.impact_deg) - radius_deg, 0)
    core, cone = -LN2_4 * (source.impact_deg / width_deg) ** 2, -LN2_4 * (missed_deg / width_deg) ** 2
    brightness = np.stack([core, cone, cone])  # logarithms, (component, channel + 1)
    modes = [source.cone_fraction, 1 - source.cone_fraction]
    modes = modes if source.mode_fraction > 0 else modes[:1]
    power = np.array([[1 - cone, cone / 2, cone / 2] for cone in modes])  # (mode, component)
    shines = power.any(axis=0)
    weight = _shares(brightness[shines], power[:, shines]) * ratio**source.spectral_index
    offset_s = np.stack([0 * phase_deg, -phase_deg, phase_deg])[shines] / 360 * source.period_s
    width_s = np.broadcast_to(width_s, offset_s.shape)
    return Components(offset_s[:, :-1], width_s[:, :-1], weight)


def _shares(brightness: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each component's part of the fluence, that of all at the last frequency being 1.

    Args:
        brightness: Logarithm of how bright each is on our line of sight, (component, channel + 1).
        power: Of each component in the beam, shape (mode, component).

    Returns:
        Shape (mode, component, channel).
    """
    with np.errstate(divide="ignore"):  # a component without power
        light = np.log(power)[:, :, None] + brightness
    light = light - np.logaddexp.reduce(light[:, :, -1:], axis=1, keepdims=True)
    return np.exp(np.clip(light[:, :, :-1], None, 100))


def arrival_s(number: NDArray[np.int64], source: SourceParameters) -> NDArray[np.float64]:
    """Return when rotations arrive, in s after rotation 0, slowed down and moved by an orbit.

    >>> arrival_s(np.array([0, 1000]), SourceParameters(period_s=0.1, period_derivative=1e-7))
    array([  0.   , 100.005])
    """
    n = number.astype(np.float64)
    emitted_s = source.period_s * (n + 0.5 * source.period_derivative * n**2)
    if source.orbit_axis_ls == 0:
        return emitted_s
    return emitted_s + roemer_delay_s(emitted_s, source) - roemer_delay_s(np.zeros(1), source)


def roemer_delay_s(time_s: NDArray[np.float64], source: SourceParameters) -> NDArray[np.float64]:
    """Return how much later light arrives because of where the pulsar is on its orbit.

    Lorimer & Kramer, equation 8.32, without relativistic terms; periastron is at time 0.
    """
    e, omega = source.orbit_eccentricity, np.deg2rad(source.periastron_deg)
    anomaly = eccentric_anomaly(2 * np.pi * time_s / (3600 * source.orbit_period_h), e)
    away = (np.cos(anomaly) - e) * np.sin(omega)
    across = np.sqrt(1 - e**2) * np.sin(anomaly) * np.cos(omega)
    return source.orbit_axis_ls * (away + across)


def eccentric_anomaly(mean_anomaly: NDArray[np.float64], eccentricity: float) -> NDArray[np.float64]:
    """Return the solution of Kepler's equation, E - e sin E = M, in rad.

    >>> eccentric_anomaly(np.array([0.0, 1.0]), 0.5).round(4)
    array([0.    , 1.4987])
    """
    turns = np.round(mean_anomaly / (2 * np.pi)) * 2 * np.pi
    mean = mean_anomaly - turns  # -pi to pi
    anomaly = mean + 0.85 * eccentricity * np.sign(np.sin(mean))  # Danby's start: always converges
    for _ in range(12):
        error = anomaly - eccentricity * np.sin(anomaly) - mean
        anomaly = anomaly - error / (1 - eccentricity * np.cos(anomaly))
    return anomaly + turns


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
