"""Level and width of each channel's noise, as if there were no interference, from recorded counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from physics_twins.pulsar.searching.cells import CELL, MIN_CELLS, measure_cells

# With fewer bits the steps are so coarse that the noise between them has to be inferred.
FINE_BITS = 8


def quiet_noise(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return (counts - level) / sigma, level and sigma of the noise before it was digitised.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.

    Returns:
        Normalised samples, shape (time, channel); level and sigma in counts, shape (channel,). Of a
        channel that is constant sigma is 0.
    """
    if n_bits < FINE_BITS:
        level, sigma = levels_of_coarse_counts(counts, n_bits)
        sigma = np.where(np.ptp(counts, axis=0) > 0, sigma, 0)
        return ((counts - level) / np.where(sigma > 0, sigma, 1)).astype(np.float32), level, sigma
    if len(counts) < MIN_CELLS * CELL:
        level, sigma = counts.mean(axis=0, dtype=float), counts.std(axis=0, dtype=float)
    else:
        cells = measure_cells(counts, drift=0.0)
        level, sigma = cells.level.astype(float), cells.sigma.astype(float)
    z = (counts - level) * np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1), 0)
    return z.astype(np.float32), level, sigma


def levels_of_coarse_counts(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return level and sigma of Gaussian noise that was rounded to few bits, each of shape (channel,).

    How many values lie below each step, seen as a normal quantile, is a straight line. Of 1 bit, which
    has one step, sigma is taken as 1/2.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.
    """
    steps = np.arange(2**n_bits - 1) + 0.5
    below = np.stack([(counts < step).mean(axis=0) for step in steps])
    quantile = ndtri(below.clip(0.5 / len(counts), 1 - 0.5 / len(counts)))  # (step, channel)
    # Steps in the middle are counted best: the error of a quantile grows as 1 / density.
    weight = np.exp(-(quantile**2)) * (np.abs(quantile) < 3)
    weight += 1e-12
    if n_bits == 1:
        return 0.5 - 0.5 * quantile[0], np.full(counts.shape[1], 0.5)
    total = weight.sum(axis=0)
    x = (weight * quantile).sum(axis=0) / total
    y = (weight * steps[:, None]).sum(axis=0) / total
    slope = (weight * (quantile - x) * (steps[:, None] - y)).sum(axis=0)
    sigma = slope / np.maximum((weight * (quantile - x) ** 2).sum(axis=0), 1e-12)
    sigma = np.where(sigma > 1e-3, sigma, 0.5)
    return y - sigma * x, sigma
