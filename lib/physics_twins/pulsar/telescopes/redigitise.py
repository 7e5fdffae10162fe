"""Add a signal to samples that are digitised already, as if it had been there before they were.

A signal much weaker than a step between two counts must not be lost, nor rounded up: what the digitiser
had before it is drawn from all it can have been, given the count, and is digitised again.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from physics_twins.pulsar.physics.digitiser import highest_count, sample_type

# Noise that is wider than this, in counts, is even across one of them to 1 %.
EVEN_SIGMA = 4.0


def redigitise(
    counts: NDArray[Any],
    signal: NDArray[np.float32],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    n_bits: int,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return counts with a signal added; where it is 0 they stay what they are.

    Args:
        counts: Shape (time, channel).
        signal: In counts, before the digitiser, of the same shape.
        level: Mean of the noise in counts, shape (channel,).
        sigma: Its standard deviation, shape (channel,).
        n_bits: Bits in a sample; 32 means floating-point numbers, which are not rounded.
        rng: Draws what was before the digitiser.
    """
    if n_bits == 32:
        return (counts + signal).astype(np.float32)
    time, channel = np.nonzero(signal)
    old, highest = counts[time, channel].astype(float), highest_count(n_bits)
    place = rng.random(len(old))
    before = old - 0.5 + place
    coarse = np.flatnonzero(sigma[channel] < EVEN_SIGMA)
    if len(coarse):
        of = channel[coarse]
        before[coarse] = _drawn(old[coarse], place[coarse], level[of], sigma[of], highest)
    # Above the highest count nothing is known but that it was above.
    saturated = (old == highest) & (sigma[channel] >= EVEN_SIGMA)
    new = np.where(saturated, highest, np.rint(before + signal[time, channel]))
    out = counts.copy()
    out[time, channel] = np.clip(new, 0, highest).astype(sample_type(n_bits))
    return out


def _drawn(
    count: NDArray[np.float64],
    place: NDArray[np.float64],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    highest: float,
) -> NDArray[np.float64]:
    """Return Gaussian values that are rounded to a count; at both ends, all that lies beyond is it."""
    width = np.maximum(sigma, 1e-6)
    low = np.where(count == 0, -np.inf, count - 0.5)
    high = np.where(count == highest, np.inf, count + 0.5)
    below, above = ndtr((low - level) / width), ndtr((high - level) / width)
    drawn = level + width * ndtri(below + place * (above - below))
    # So far out no noise comes: it is interference, of which nothing is known.
    unlikely = (above - below < 1e-9) | ~np.isfinite(drawn)
    return np.where(unlikely, count - 0.5 + place, drawn)
