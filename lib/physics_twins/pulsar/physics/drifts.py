"""The slow changes of a receiver: its gain wanders, and its baseline is 1/f noise."""

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.gaussian import body_table, fill_normal, generator_state
from physics_twins.pulsar.physics.receiver import Receiver

# The baseline is the sum of so many processes with timescales equally spaced in the logarithm, each
# with an exponential autocorrelation: its power falls as 1/frequency between the timescales.
N_BASELINE = 8
SEED_KEY = 6


class Drifts:
    """Gain and baseline of a receiver, spectrum after spectrum.

    Args:
        receiver: How far and how fast they drift.
        seed: Of both.
    """

    def __init__(self, receiver: Receiver, seed: int) -> None:
        self._table = body_table()
        self._coefficients = _coefficients(receiver)
        self._state = generator_state(seed, SEED_KEY)
        start = np.empty(N_BASELINE + 1, np.float32)
        fill_normal(start, self._state, self._table)
        self._now = start * self._coefficients[2]  # in double: what drifts slowly changes by 1e-9

    def following(self, n_spectra: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the gain, around 1, and the baseline in its standard deviations, each (time,)."""
        gain, baseline = (np.empty(n_spectra, np.float32) for _ in range(2))
        _move(gain, baseline, self._state, self._table, self._now, self._coefficients)
        return gain, baseline


def _coefficients(receiver: Receiver) -> NDArray[np.float64]:
    """Return how much each slow process keeps, how much is new, and its scatter, shape (3, process)."""
    baseline_s = np.geomspace(*receiver.baseline_s, N_BASELINE)
    keep = np.exp(-receiver.sampling_s / np.append(baseline_s, receiver.gain_drift_s))
    scatter = np.append(np.full(N_BASELINE, N_BASELINE**-0.5), receiver.gain_drift)
    return np.stack([keep, scatter * np.sqrt(1 - keep**2), scatter])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _move(
    gain: NDArray[np.float32],
    baseline: NDArray[np.float32],
    state: NDArray[np.uint64],
    table: NDArray[np.float32],
    now: NDArray[np.float64],
    coefficients: NDArray[np.float64],
) -> None:
    """Move the slow processes on by one spectrum after another; the last one is the gain."""
    drawn = np.empty(len(now), np.float32)
    last = len(now) - 1
    for t in range(len(gain)):
        fill_normal(drawn, state, table)
        for k in range(len(now)):
            now[k] = coefficients[0, k] * now[k] + coefficients[1, k] * drawn[k]
        gain[t] = 1 + now[last]
        baseline[t] = now[:last].sum()
