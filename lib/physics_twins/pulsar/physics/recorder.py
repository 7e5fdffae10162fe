"""The recorder: signal in, counts out, in one pass over each sample."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.digitiser import highest_count, sample_type
from physics_twins.pulsar.physics.gaussian import body_table, fill_normal, generator_state
from physics_twins.pulsar.physics.receiver import Receiver

# The baseline is the sum of so many processes with timescales equally spaced in the logarithm, each
# with an exponential autocorrelation: its power falls as 1/frequency between the timescales.
N_BASELINE = 8
DRIFT_KEY = 6


class Drifts:
    """Gain and baseline of a receiver, spectrum after spectrum.

    Args:
        receiver: How far and how fast they drift.
        seed: Of both.
    """

    def __init__(self, receiver: Receiver, seed: int) -> None:
        self._table = body_table()
        self._coefficients = _drift_coefficients(receiver)
        self._state = generator_state(seed, DRIFT_KEY)
        start = np.empty(N_BASELINE + 1, np.float32)
        fill_normal(start, self._state, self._table)
        self._now = start * self._coefficients[2]  # in double: what drifts slowly changes by 1e-9

    def following(self, n_spectra: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the gain, around 1, and the baseline in its standard deviations, each (time,)."""
        gain, baseline = (np.empty(n_spectra, np.float32) for _ in range(2))
        _move(gain, baseline, self._state, self._table, self._now, self._coefficients)
        return gain, baseline


def _drift_coefficients(receiver: Receiver) -> NDArray[np.float64]:
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


SEED_KEY = 5


@dataclass(frozen=True, eq=False)
class Recorded:
    """Counts, and the drifts that are in them.

    Attributes:
        counts: Shape (time, channel).
        gain: Relative gain, around 1, shape (time,).
        baseline: The baseline in its standard deviations, shape (time,).
    """

    counts: NDArray[Any]
    gain: NDArray[np.float32]
    baseline: NDArray[np.float32]


class Recorder:
    """A receiver at work: noise, drifts, gain and digitiser applied to one piece after another.

    Its noise follows from the seed and the lengths of the pieces, and not from the signal.

    Args:
        receiver: What it does to each channel.
        seed: Of noise and drifts.
    """

    def __init__(self, receiver: Receiver, seed: int) -> None:
        self.receiver = receiver
        self._seed = seed
        self._pieces = 0
        self._table = body_table()
        self._channels = _coefficients(receiver)
        self._drifts = Drifts(receiver, seed)
        self._noise = np.empty(receiver.n_channels + 1, np.float32)
        fill_normal(self._noise, generator_state(seed, SEED_KEY, 0), self._table)

    def record(self, signal_jy: NDArray[np.float32], counts: NDArray[Any] | None = None) -> Recorded:
        """Return what is stored for a signal around the system's level.

        Args:
            signal_jy: Pulses and interference, shape (time, channel).
            counts: Where to put the counts, shape (time, channel), of type `sample_type(n_bits)`;
                a new array by default.
        """
        n_bits = self.receiver.n_bits
        if counts is None:
            counts = np.empty(signal_jy.shape, sample_type(n_bits))
        self._pieces += 1
        gain, baseline = self._drifts.following(len(signal_jy))
        state = generator_state(self._seed, SEED_KEY, self._pieces)
        channels, noise, limits = self._channels, self._noise, _limits(n_bits)
        _record(signal_jy, counts, state, self._table, noise, channels, gain, baseline, limits)
        return Recorded(counts, gain, baseline)


def _limits(n_bits: int) -> NDArray[np.float32]:
    """Return lowest and highest count, and what is added so that cutting the fraction off rounds."""
    if n_bits == 32:
        largest = np.finfo(np.float32).max
        return np.array([-largest, largest, 0.0], np.float32)
    return np.array([0.0, highest_count(n_bits), 0.5], np.float32)


def _coefficients(receiver: Receiver) -> NDArray[np.float32]:
    """Return what the kernel needs of each channel, shape (6, channel)."""
    # Each channel gets a part of its neighbour's noise: cos and sin of an angle keep the variance.
    angle = np.arcsin(2 * receiver.correlation) / 2
    rows = [
        receiver.level,
        receiver.power,
        receiver.baseline,
        receiver.sigma * np.cos(angle),
        receiver.sigma * np.sin(angle),
        receiver.counts_per_jy,
    ]
    return np.ascontiguousarray(np.stack(rows), dtype=np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _record(
    signal_jy: NDArray[np.float32],
    counts: NDArray[Any],
    state: NDArray[np.uint64],
    table: NDArray[np.float32],
    noise: NDArray[np.float32],
    channels: NDArray[np.float32],
    gain: NDArray[np.float32],
    baseline: NDArray[np.float32],
    limits: NDArray[np.float32],
) -> None:
    """Turn signal into counts; `noise` holds that of the channel before the first one, too."""
    n_channels = signal_jy.shape[1]
    # Rows taken one by one: unpacked together, the compiler would not know that they are contiguous.
    level, power, slow = channels[0], channels[1], channels[2]
    own, before, per_jy = channels[3], channels[4], channels[5]
    one, lowest, highest, rounding = np.float32(1), limits[0], limits[1], limits[2]
    for t in range(len(signal_jy)):
        fill_normal(noise, state, table)
        g, b = gain[t], baseline[t]
        for c in range(n_channels):
            varying = own[c] * noise[c + 1] + before[c] * noise[c] + per_jy[c] * signal_jy[t, c]
            value = level[c] + (g - one) * power[c] + b * slow[c] + g * varying
            counts[t, c] = min(max(value, lowest), highest) + rounding
