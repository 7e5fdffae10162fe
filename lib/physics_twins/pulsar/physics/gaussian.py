"""Gaussian random numbers, fast enough for a telescope: a table for the body, a law for the tails.

A normal distribution is a mixture of its part within `CUT` standard deviations and its two tails. The
body is looked up by 16 random bits in a table of quantiles. Which numbers belong to the tails is
decided first, by how many come between two of them, which has a geometric distribution; a tail is drawn
by Marsaglia's method (1964, Technometrics 6, 101), which has no end. The bits are those of xoshiro256++
(Blackman & Vigna 2021, ACM Trans. Math. Softw. 47, 36).
"""

import functools
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

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
