"""The period of a pulsar from the arrival times of single pulses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import Estimate

# Arrivals that scatter by more than this part of the period do not tell it.
MAX_SCATTER_PERIODS = 0.05


@dataclass(frozen=True)
class Rotation:
    """A constant period that explains arrival times.

    Attributes:
        period_s: Period.
        first_s: Arrival of the first pulse by that period.
        correlation: Of the errors of both.
    """

    period_s: Estimate
    first_s: Estimate
    correlation: float


def rotation(
    time_s: NDArray[np.float64], error_s: NDArray[np.float64], period_s: float
) -> Rotation | None:
    """Return the rotation that explains some arrivals, or None where none does.

    Pulses may be missing. Each is numbered by the period that the earlier ones gave, so that a start
    that is a little wrong does not lose count.

    Args:
        time_s: Arrivals in any order, shape (pulse,).
        error_s: Their standard errors.
        period_s: About the period; the first gap between pulses must tell its turns with it.
    """
    if len(time_s) < 3:
        return None
    order = np.argsort(time_s)
    time, weight = time_s[order] - time_s[order[0]], error_s[order] ** -2.0
    turn = np.zeros(len(time), dtype=np.int64)
    slope, offset = period_s, 0.0
    for n in range(1, len(time)):
        turn[n] = round((time[n] - offset) / slope)
        if n >= 2 and turn[n] > turn[0]:
            slope, offset = np.polyfit(turn[: n + 1], time[: n + 1], 1, w=np.sqrt(weight[: n + 1]))
    residual_s = time - offset - slope * turn
    scatter_s = float(np.sqrt(np.average(residual_s**2, weights=weight) * len(time) / (len(time) - 2)))
    if np.ptp(turn) < 2 or scatter_s > MAX_SCATTER_PERIODS * slope:
        return None
    inflation = max(1.0, float((residual_s**2 * weight).sum() / (len(time) - 2)))
    _, covariance = np.polyfit(turn, time, 1, w=np.sqrt(weight), cov="unscaled")
    covariance *= inflation
    sigma = np.sqrt(np.diag(covariance))
    return Rotation(
        Estimate.of(float(slope), float(sigma[0]), "s"),
        Estimate.of(float(time_s[order[0]] + offset), float(sigma[1]), "s"),
        float(covariance[0, 1] / sigma.prod()),
    )
