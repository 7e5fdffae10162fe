"""Spectra in cells of 16: each channel's level and noise, and what in it is interference.

Everything here works on sums over cells, a sixteenth of the data, so that it costs little beside one
pass through the spectra. Interference only adds power, so level and noise are taken from quiet cells.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

CELL = 16  # spectra
MIN_CELLS = 4
# The running mean that is removed; far longer than any pulse that is sought.
BASELINE_CELLS = 300
# Cells that level and noise are taken from at most.
N_LEVEL_CELLS = 256
# A cell is interference above so many standard deviations; a run of eight cells likewise.
BURST_SIGMA = 5.5
RUN_CELLS = 8
# Variance inside a cell over the channel's own, in standard deviations.
ROUGH_SIGMA = 9.0
# What neighbours see too, up to this factor, is no narrow-band interference.
NEARBY_CHANNELS = 10
TOLERANCE = 1.5
BAD_FRACTION = 0.5
# Cell means that scatter so much more than white noise make a channel useless.
BAD_SCATTER = 1.6


@dataclass(frozen=True)
class Cells:
    """Cells of a block of spectra; a rest shorter than a cell is left out.

    Attributes:
        level: Mean of each channel without interference in counts, shape (channel,).
        sigma: Standard deviation of its noise in counts, 0 for a constant channel, shape (channel,).
        excess: Mean less level in standard deviations of itself, shape (cell, channel).
        baseline: Its slow variation, in the same unit, shape (cell, channel).
        roughness: Variance over that of the channel, less 1, in standard deviations of itself, shape
            (cell, channel).
        removed: Cells taken for narrow-band interference, shape (cell, channel).
        bad_channel: Channels that are constant or disturbed throughout, shape (channel,).
    """

    level: NDArray[np.float32]
    sigma: NDArray[np.float32]
    excess: NDArray[np.float32]
    baseline: NDArray[np.float32]
    roughness: NDArray[np.float32]
    removed: NDArray[np.bool_]
    bad_channel: NDArray[np.bool_]


def measure_cells(spectra: NDArray[Any], *, drift: float) -> Cells:
    """Return level, noise and interference of each channel.

    Args:
        spectra: Counts, shape (time, channel), at least four cells long.
        drift: By how many samples a pulse comes later in a channel than in the one above, at most.

    Raises:
        ValueError: The spectra are shorter than four cells.
    """
    if len(spectra) < MIN_CELLS * CELL:
        raise ValueError(f"{len(spectra)} spectra are too few: at least {MIN_CELLS * CELL} are needed")
    mean, variance = _moments(np.ascontiguousarray(spectra))
    level, sigma = _quiet_level(mean, variance)
    dead = sigma <= 1e-6 * (np.abs(level) + 1e-30)
    inverse = np.where(dead, 0, 1 / np.where(dead, 1, sigma)).astype(np.float32)
    excess = ((mean - level) * inverse * np.sqrt(CELL)).astype(np.float32)
    # The variance of the variance of Gaussian noise in a cell is 2 / (CELL - 1).
    rough = ((variance * inverse**2 - 1) * np.sqrt((CELL - 1) / 2)).astype(np.float32)
    baseline = _baseline(excess)
    steady = excess - baseline
    n_cells_drift = int(np.ceil(NEARBY_CHANNELS * drift / CELL)) + 1
    removed = _bursts(steady, rough, n_cells_drift)
    scatter, power = _scatter(steady, rough, removed)
    # The middle variance was robust; the mean over what stays is four times as precise.
    sigma = sigma * np.sqrt(np.maximum(power, 0)).astype(np.float32)
    alive = ~dead
    usual = np.median(scatter[alive]) if alive.any() else 1.0
    bad = dead | (scatter > BAD_SCATTER * max(usual, 1.0)) | (removed.mean(axis=0) > BAD_FRACTION)
    return Cells(level, np.where(dead, 0, sigma), excess, baseline, rough, removed, bad)


def normalise_into(out: NDArray[np.float32], spectra: NDArray[Any], cells: Cells) -> None:
    """Write spectra with mean 0 and standard deviation 1, 0 where removed, by channel.

    Args:
        out: Where to write, shape (channel, time): memory that is used again saves half of the time.
        spectra: Counts, shape (time, channel).
        cells: From `measure_cells` on them.
    """
    inverse = np.where(cells.bad_channel, 0, 1 / np.where(cells.sigma > 0, cells.sigma, 1))
    _transpose(
        np.ascontiguousarray(spectra), cells.level, inverse.astype(np.float32), cells.baseline,
        cells.removed, out,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _moments(spectra):  # pragma: no cover
    """Return mean and variance of each cell, shape (cell, channel)."""
    n_cells, n_channels = len(spectra) // CELL, spectra.shape[1]
    mean = np.empty((n_cells, n_channels), np.float32)
    variance = np.empty((n_cells, n_channels), np.float32)
    total, square = np.empty(n_channels, np.float32), np.empty(n_channels, np.float32)
    for n in range(n_cells):
        # Relative to the cell's first spectrum, so that single precision is enough.
        zero = spectra[n * CELL]
        total[:] = 0
        square[:] = 0
        for t in range(1, CELL):
            row = spectra[n * CELL + t]
            for c in range(n_channels):
                value = np.float32(row[c]) - np.float32(zero[c])
                total[c] += value
                square[c] += value * value
        for c in range(n_channels):
            offset = total[c] / np.float32(CELL)
            mean[n, c] = np.float32(zero[c]) + offset
            variance[n, c] = (square[c] - total[c] * offset) / np.float32(CELL - 1)
    return mean, variance


def _quiet_level(
    mean: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return level and noise of each channel: from the lower means and the middle variances."""
    step = -(-len(mean) // N_LEVEL_CELLS)
    means, variances = np.sort(mean[::step], axis=0), np.sort(variance[::step], axis=0)
    n = len(means)
    # The median of chi-squared with k degrees of freedom is k (1 - 2 / 9k)^3.
    sigma = np.sqrt(variances[n // 2] / (1 - 2 / (9 * (CELL - 1))) ** 3)
    # Between the 5th and the 45th percentile: symmetric around -0.674 sigma of the mean.
    low, high = max(0, round(0.05 * n)), max(1, round(0.45 * n))
    quiet = means[low:high].mean(axis=0)
    return (quiet + _QUIET_OFFSET * sigma / np.sqrt(CELL)).astype(np.float32), sigma.astype(np.float32)


# Mean of a unit Gaussian between its 5th and its 45th percentile, with the sign turned.
_QUIET_OFFSET = 0.7317


@numba.njit(cache=True, nogil=True)
def _baseline(excess):  # pragma: no cover
    """Return the running mean of the cells, each cut at 3 sigma, shape (cell, channel)."""
    n_cells, n_channels = excess.shape
    half = min(BASELINE_CELLS // 2, max(1, n_cells // 4))
    out = np.empty_like(excess)
    total = np.zeros(n_channels, np.float32)
    first, last = 0, 0  # cells in the sum
    for n in range(n_cells):
        while last < min(n_cells, n + half + 1):
            for c in range(n_channels):
                total[c] += min(max(excess[last, c], np.float32(-3)), np.float32(3))
            last += 1
        while first < n - half:
            for c in range(n_channels):
                total[c] -= min(max(excess[first, c], np.float32(-3)), np.float32(3))
            first += 1
        scale = np.float32(1 / (last - first))
        for c in range(n_channels):
            out[n, c] = total[c] * scale
    return out


@numba.njit(cache=True, nogil=True)
def _bursts(excess, rough, n_cells_drift):  # pragma: no cover
    """Return the cells of narrow-band interference: those that stand out from the channels around."""
    n_cells, n_channels = excess.shape
    removed = np.zeros(excess.shape, np.bool_)
    runs = _runs(excess)
    low, rough_low = np.float32(BURST_SIGMA), np.float32(ROUGH_SIGMA)
    for n in range(n_cells):
        n_high = 0
        for c in range(n_channels):
            high = (abs(excess[n, c]) > low) | (rough[n, c] > rough_low) | (abs(runs[n, c]) > low)
            n_high += high
        if n_high == 0:
            continue
        for c in range(n_channels):
            if abs(excess[n, c]) > low or rough[n, c] > rough_low:
                seen = _seen_around(excess, n, c, n_cells_drift)
                stands_out = excess[n, c] > TOLERANCE * seen + low or rough[n, c] > rough_low
                if excess[n, c] < -low or (stands_out and excess[n, c] > TOLERANCE * seen):
                    _remove(excess, removed, n, c, TOLERANCE * seen + low / 2)
            if abs(runs[n, c]) > low:
                seen = _seen_around(runs, n, c, n_cells_drift)
                if runs[n, c] < -low or runs[n, c] > TOLERANCE * seen + low:
                    removed[max(0, n - RUN_CELLS + 1) : n + 1, c] = True
    return removed


@numba.njit(cache=True, nogil=True)
def _runs(excess):  # pragma: no cover
    """Return the sum over a cell and those before it in a run, scaled to unit noise."""
    out = np.empty_like(excess)
    total = np.zeros(excess.shape[1], np.float32)
    scale = np.float32(1 / np.sqrt(RUN_CELLS))
    for n in range(len(excess)):
        for c in range(len(total)):
            total[c] += excess[n, c]
        if n >= RUN_CELLS:
            for c in range(len(total)):
                total[c] -= excess[n - RUN_CELLS, c]
        for c in range(len(total)):
            out[n, c] = total[c] * scale
    return out


@numba.njit(cache=True, nogil=True)
def _seen_around(values, n, c, n_cells_drift):  # pragma: no cover
    """Return the median over the channels around of the most a pulse through here makes there."""
    n_cells, n_channels = values.shape
    around = np.empty(2 * NEARBY_CHANNELS, np.float32)
    m = 0
    for k in range(max(0, c - NEARBY_CHANNELS), min(n_channels, c + NEARBY_CHANNELS + 1)):
        if k == c:
            continue
        # A pulse comes earlier above and later below.
        first, last = (n, n + n_cells_drift) if k > c else (n - n_cells_drift, n)
        top = np.float32(0)
        for t in range(max(0, first), min(n_cells, last + 1)):
            top = max(top, values[t, k])
        around[m] = top
        m += 1
    return np.median(around[:m]) if m else np.float32(0)


@numba.njit(cache=True, nogil=True)
def _remove(excess, removed, n, c, low):  # pragma: no cover
    """Remove a cell, and the cells beside it that are above a lower threshold."""
    removed[n, c] = True
    for t in range(max(0, n - 1), min(len(excess), n + 2)):
        for k in range(max(0, c - 1), min(excess.shape[1], c + 2)):
            if excess[t, k] > low:
                removed[t, k] = True


@numba.njit(cache=True, nogil=True)
def _scatter(excess, rough, removed):  # pragma: no cover
    """Return scatter and mean variance of the cells that stay, 1 for white noise, shape (channel,)."""
    n_cells, n_channels = excess.shape
    square, count = np.zeros(n_channels, np.float32), np.zeros(n_channels, np.float32)
    power = np.zeros(n_channels, np.float32)
    for n in range(n_cells):
        for c in range(n_channels):
            if not removed[n, c]:
                square[c] += excess[n, c] * excess[n, c]
                power[c] += rough[n, c]
                count[c] += np.float32(1)
    count = np.maximum(count, np.float32(1))
    to_variance = np.float32(np.sqrt(2 / (CELL - 1)))
    return np.sqrt(square / count), np.float32(1) + power / count * to_variance


@numba.njit(cache=True, nogil=True, fastmath=True)
def _transpose(spectra, level, inverse, baseline, removed, out):  # pragma: no cover
    """Write normalised spectra by channel, cell by cell through a buffer that stays in the cache."""
    n_time, n_channels = spectra.shape
    n_cells = len(baseline)
    buffer = np.empty((CELL, n_channels), np.float32)
    to_sample = np.float32(1 / np.sqrt(CELL))
    offset, scale = np.empty(n_channels, np.float32), np.empty(n_channels, np.float32)
    for n in range(-(-n_time // CELL)):
        cell = min(n, n_cells - 1)
        first = n * CELL
        length = min(CELL, n_time - first)
        for c in range(n_channels):
            gone = removed[cell, c] or inverse[c] == 0
            scale[c] = np.float32(0) if gone else inverse[c]
            offset[c] = (
                np.float32(0) if gone else -level[c] * inverse[c] - baseline[cell, c] * to_sample
            )
        for t in range(length):
            row = spectra[first + t]
            for c in range(n_channels):
                buffer[t, c] = np.float32(row[c]) * scale[c] + offset[c]
        if length == CELL:
            for c in range(n_channels):
                for t in range(CELL):
                    out[c, first + t] = buffer[t, c]
        else:
            for c in range(n_channels):
                for t in range(length):
                    out[c, first + t] = buffer[t, c]
