"""The recorder: signal in, counts out, in one pass over each sample.

Its Gaussian numbers are fast enough for a telescope: a normal distribution is a mixture of its part
within `CUT` standard deviations and its two tails. The body is looked up by 16 random bits in a table
of quantiles. Which numbers belong to the tails is decided first, by how many come between two of them:
that has a geometric distribution. A tail is drawn by Marsaglia's method (1964, Technometrics 6, 101),
which has no end. The bits are those of xoshiro256++ (Blackman & Vigna 2021, ACM TOMS 47, 36).
"""

import functools
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from physics_twins.pulsar.physics.receiver import Receiver, highest_count, sample_type

CUT = 3.3
N_QUANTILES = 1 << 16
TAIL_PROBABILITY = float(2 * ndtr(-CUT))

# The state of a generator: four words of xoshiro256++ and how many numbers come before the next tail.
STATE_WORDS = 5


@functools.cache
def body_table() -> NDArray[np.float32]:
    """Return the middles of equally probable parts of a normal distribution cut at `CUT`, (65536,).

    It is made once, 6 ms of each frame of a panel otherwise; nobody may change it.
    """
    below = ndtr(-CUT)
    probability = below + (1 - 2 * below) * (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    return ndtri(probability).astype(np.float32)


def generator_state(*key: int) -> NDArray[np.uint64]:
    """Return the state of a generator; other whole numbers give another one, shape (5,)."""
    sequence = np.random.SeedSequence(key)
    words = sequence.generate_state(STATE_WORDS, np.uint64).astype(np.uint64)
    uniform = float(words[4] >> np.uint64(11)) * 2.0**-53
    words[4] = np.uint64(np.log1p(-uniform) / np.log1p(-TAIL_PROBABILITY))
    return words


@numba.njit(cache=True, nogil=True, fastmath=True)
def fill_normal(
    out: NDArray[np.float32], state: NDArray[np.uint64], table: NDArray[np.float32]
) -> None:
    """Fill an array with independent normal numbers, shape (n,).

    Args:
        out: What is filled.
        state: From `generator_state`; it moves on.
        table: From `body_table`.
    """
    n = len(out)
    mask = np.uint64(0xFFFF)
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    whole = n // 4 * 4
    for i in range(0, whole, 4):
        bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        out[i] = table[bits & mask]
        out[i + 1] = table[(bits >> np.uint64(16)) & mask]
        out[i + 2] = table[(bits >> np.uint64(32)) & mask]
        out[i + 3] = table[bits >> np.uint64(48)]
    if whole < n:
        bits, s0, s1, s2, s3 = _next(s0, s1, s2, s3)
        for i in range(whole, n):
            out[i] = table[bits & mask]
            bits >>= np.uint64(16)
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    place = np.int64(state[4])
    while place < n:
        out[place] = _tail(state)
        place += 1 + np.int64(np.log(_uniform(state)) / np.log1p(-TAIL_PROBABILITY))
    state[4] = np.uint64(place - n)


@numba.njit(inline="always")
def _next(s0: Any, s1: Any, s2: Any, s3: Any) -> Any:
    """Return 64 random bits and the next state."""
    total = s0 + s3
    bits = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return bits, s0, s1, s2, s3


@numba.njit(cache=True, nogil=True)
def _uniform(state: NDArray[np.uint64]) -> float:
    """Return a number above 0 and at most 1."""
    bits, state[0], state[1], state[2], state[3] = _next(state[0], state[1], state[2], state[3])
    return (np.float64(bits >> np.uint64(11)) + 1.0) * 2.0**-53


@numba.njit(cache=True, nogil=True)
def _tail(state: NDArray[np.uint64]) -> float:
    """Return a normal number beyond `CUT` on either side."""
    while True:
        value = np.sqrt(CUT * CUT - 2 * np.log(_uniform(state)))
        side = 2 * _uniform(state)  # its whole part chooses the sign
        accept = side if side <= 1 else side - 1
        if accept * value <= CUT:
            return value if side <= 1 else -value


# The baseline is the sum of so many processes with timescales equally spaced in the logarithm, each
# with an exponential autocorrelation: its power falls as 1/frequency between the timescales.
N_BASELINE = 8
DRIFT_KEY = 6


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
        self._slow, self._slow_state = _drift_coefficients(receiver), generator_state(seed, DRIFT_KEY)
        start = np.empty(N_BASELINE + 1, np.float32)
        fill_normal(start, self._slow_state, self._table)
        self._now = start * self._slow[2]  # in double: what drifts slowly changes by 1e-9
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
        gain, baseline = (np.empty(len(signal_jy), np.float32) for _ in range(2))
        _move(gain, baseline, self._slow_state, self._table, self._now, self._slow)
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
