"""How well a pulse can be known at best: the limit that noise sets to any estimator."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.fitting.least_squares import Solution, of_some
from physics_twins.pulsar.fitting.pulse_finding import expected_boxcar_s
from physics_twins.pulsar.fitting.pulse_fit import NAMES, shown_slope
from physics_twins.pulsar.fitting.pulse_model import (
    DM,
    FLUENCE,
    SCATTERING,
    SQUARED_WIDTH,
    TIME,
    ChannelLaws,
    normal_equations,
    samples,
    squared_sigma,
)
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.receiver import sample_noise_jy, transmission
from physics_twins.pulsar.physics.sky import receiver_band

# The window reaches so many boxcars behind the pulse: all of it that matters.
LENGTHS_BEFORE, LENGTHS_BEHIND = 3.0, 9.0


def ideal_snr(parameters: ObservationParameters) -> float:
    """Return the S/N of a pulse of median fluence in white noise, by the filter matched to it.

    >>> round(ideal_snr(ObservationParameters()), 1)
    20.6
    """
    laws, shape, delays, n_samples = _at(parameters)
    pulse = samples(laws, shape, delays, n_samples)
    return float(_fluence(parameters, parameters.fluence_jy_ms) * np.sqrt(np.square(pulse).sum()))


def cramer_rao(
    parameters: ObservationParameters,
    *,
    fluence_jy_ms: Sequence[float] | NDArray[np.float64] | None = None,
    fit_scattering: bool = False,
) -> dict[str, float]:
    """Return the smallest standard error that an unbiased estimator can have in white noise.

    Cramer-Rao: the inverse of the Fisher information, with fluences and arrivals unknown too.

    Args:
        parameters: The truth.
        fluence_jy_ms: Fluences of pulses that are fitted together; one of median fluence by default.
        fit_scattering: Whether scattering is unknown as well.

    Returns:
        Errors of `dm_pc_cm3`, `width_ms`, `scattering_ms` where it is unknown, and `time_s` of the
        first pulse.
    """
    laws, shape, delays, n_samples = _at(parameters)
    known_jy_ms = parameters.fluence_jy_ms if fluence_jy_ms is None else fluence_jy_ms
    fluences = _fluence(parameters, np.atleast_1d(np.asarray(known_jy_ms, dtype=float)))
    everywhere = np.ones((1, len(delays), n_samples), dtype=np.float32)
    products, _ = normal_equations(laws, shape[None], delays, everywhere)
    n = len(fluences)
    free = (DM, SQUARED_WIDTH, SCATTERING) if fit_scattering else (DM, SQUARED_WIDTH)
    products = np.repeat(products, n, axis=0)
    projections = products[:, FLUENCE] * fluences[:, None]
    shapes = np.tile(shape, (n, 1))
    best = Solution(shapes, fluences, 0.0, products, projections, free, np.empty((0, 0)))
    _, covariance = of_some(best, np.arange(n))
    best = replace(best, covariance=covariance)
    errors = np.sqrt(np.diag(covariance))
    limits = {
        NAMES[c]: float(error * shown_slope(c, float(shape[c - TIME])))
        for c, error in zip(free, errors, strict=True)
    }
    return limits | {"time_s": float(1e-3 * np.sqrt(best.time_variance[0]))}


def _at(
    parameters: ObservationParameters,
) -> tuple[ChannelLaws, NDArray[np.float64], NDArray[np.int32], int]:
    """Return channels, the true shape, and a window that holds all of the pulse."""
    laws = ChannelLaws.of(receiver_band(parameters), parameters)
    boxcar_ms = 1e3 * expected_boxcar_s(parameters, laws)
    delays = np.rint(laws.delay_ms * parameters.dm_pc_cm3 / laws.sampling_ms).astype(np.int32)
    n_samples = int((LENGTHS_BEFORE + LENGTHS_BEHIND) * boxcar_ms / laws.sampling_ms) + 2
    shape = [
        LENGTHS_BEFORE * boxcar_ms,
        parameters.dm_pc_cm3,
        squared_sigma(parameters.width_ms),
        parameters.scattering_ms,
    ]
    return laws, np.array(shape), delays, n_samples


def _fluence(parameters: ObservationParameters, fluence_jy_ms: float | NDArray) -> NDArray[np.float64]:
    """Return fluences in standard deviations of the noise in one sample, times samples."""
    received_jy_ms = transmission(parameters) * np.asarray(fluence_jy_ms)
    return received_jy_ms / (1e-3 * parameters.sampling_time_us) / sample_noise_jy(parameters)
