"""Spectra in cells of 16: each channel's level and noise, and what in it is interference.

Everything here works on sums over cells, a sixteenth of the data, so that it costs little beside one
pass through the spectra. Interference only adds power, so level and noise are taken from quiet cells.
By them spectra are brought to mean 0 and equal noise in every channel, as bytes or in single precision.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.verb_parameters import FRAME_STEP

CELL = FRAME_STEP  # spectra: a frame is a whole number of cells
MIN_CELLS = 4
# Over so many cells level is followed, and over so many widths of the widest pulse that is sought.
BASELINE_CELLS = 300
BASELINE_WIDTHS = 20
# Channels of a group share what their baselines have in common.
N_BASELINE_GROUPS = 16
# Cells that level and noise are taken from at most.
N_LEVEL_CELLS = 256
# A cell is interference above so many standard deviations; a run of eight cells likewise.
BURST_SIGMA = 5.5
RUN_CELLS = 8
# A cell is quiet within so many standard deviations of mean and variance.
QUIET_SIGMA = 3.0
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


def baseline_cells(width_max: float) -> int:
    """Return over how many cells level is followed where pulses are up to so many samples wide."""
    return max(BASELINE_CELLS, int(np.ceil(BASELINE_WIDTHS * width_max / CELL)))


def measure_cells(spectra: NDArray[Any], *, drift: float, n_baseline: int = BASELINE_CELLS) -> Cells:
    """Return level, noise and interference of each channel.

    Args:
        spectra: Counts, shape (time, channel), at least four cells long.
        drift: By how many samples a pulse comes later in a channel than in the one above, at most.
        n_baseline: Over how many cells level is followed, from `baseline_cells`.
    """
    shape = len(spectra) // CELL, spectra.shape[1]
    excess, rough, baseline = (np.empty(shape, np.float32) for _ in range(3))
    removed = np.zeros(shape, np.bool_)
    _moments(np.ascontiguousarray(spectra), excess, rough)
    level, sigma = _quiet_level(excess, rough)
    dead = _constant(level, sigma)
    inverse = np.where(dead, 0, 1 / np.where(dead, 1, sigma)).astype(np.float32)
    # Means and variances of cells in standard deviations of themselves: the variance of the variance of
    # Gaussian noise in a cell is 2 / (CELL - 1).
    excess -= level
    excess *= inverse * np.float32(np.sqrt(CELL))
    rough *= inverse**2
    rough -= 1
    rough *= np.float32(np.sqrt((CELL - 1) / 2))
    _baseline(excess, baseline, n_baseline)
    steady = excess - baseline
    n_cells_drift = int(np.ceil(NEARBY_CHANNELS * drift / CELL)) + 1
    # The sum over a cell and those before it in a run, scaled to unit noise.
    runs = np.cumsum(steady, axis=0)
    runs[RUN_CELLS:] -= runs[:-RUN_CELLS].copy()
    runs /= np.float32(np.sqrt(RUN_CELLS))
    _bursts(steady, rough, runs, n_cells_drift, removed)
    n_kept = np.maximum((~removed).sum(axis=0), 1)
    scatter = np.sqrt(np.square(steady).sum(axis=0, where=~removed) / n_kept)
    power = 1 + rough.sum(axis=0, where=~removed) / n_kept * np.sqrt(2 / (CELL - 1))
    # The middle variance was robust; the mean over what stays is four times as precise.
    sigma = sigma * np.sqrt(np.maximum(power, 0)).astype(np.float32)
    alive = ~dead
    usual = np.median(scatter[alive]) if alive.any() else 1.0
    bad = dead | (scatter > BAD_SCATTER * max(usual, 1.0)) | (removed.mean(axis=0) > BAD_FRACTION)
    return Cells(level, np.where(dead, 0, sigma), excess, baseline, rough, removed, bad)


def quiet_noise(spectra: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each channel's level and noise in counts, whatever bright pulse or impulse is in a part.

    The noise of a constant channel is 0.

    `measure_cells` averages over all that is no interference, pulses too: in spectra that are long
    beside a pulse that is more precise, in those of a frame or two a pulse would hide in noise that it
    made itself.

    Args:
        spectra: Counts, shape (time, channel), at least four cells long.
    """
    shape = len(spectra) // CELL, spectra.shape[1]
    mean, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    _moments(np.ascontiguousarray(spectra), mean, variance)
    level, sigma = _quiet_level(mean, variance)
    near = np.abs(mean - level) <= QUIET_SIGMA / np.sqrt(CELL) * sigma
    near &= np.abs(variance - sigma**2) <= QUIET_SIGMA * np.sqrt(2 / (CELL - 1)) * sigma**2
    n_near = near.sum(axis=0)
    power = np.where(near, variance, 0).sum(axis=0) / np.maximum(n_near, 1)
    sigma = np.where(n_near > 0, np.sqrt(power), sigma).astype(np.float32)
    return level, np.where(_constant(level, sigma), np.float32(0), sigma)


# Spectra from which a channel's level and noise are taken.
N_LEVEL = 1024
QUARTILES_OF_NOISE = 1.349  # distance of the quartiles of a unit Gaussian


def level_and_noise(spectra: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each channel's median and standard deviation, by quartiles; NaN is left out."""
    low, middle, high = np.nanquantile(spectra, [0.25, 0.5, 0.75], axis=0).astype(np.float32)
    return middle, (high - low) / np.float32(QUARTILES_OF_NOISE)


def _constant(level: NDArray[np.float32], sigma: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the channels whose noise is no more than a rounding of their level."""
    return sigma <= 1e-6 * (np.abs(level) + 1e-30)


@numba.njit(cache=True, nogil=True)
def _moments(spectra, mean, variance):  # pragma: no cover
    """Write mean and variance of each cell, shape (cell, channel)."""
    n_cells, n_channels = mean.shape
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
def _baseline(excess, out, n_baseline):  # pragma: no cover
    """Write the slow variation of the cells, shape (cell, channel).

    What the channels of a group have in common is followed by a running median, which a pulse that
    lasts for a tenth of its reach hardly moves: a mean would leave a dip around it, the same in all
    channels, that hides the pulse. What a channel has for itself is followed by a running mean, each
    value cut at 3 sigma.
    """
    n_cells, n_channels = excess.shape
    half = min(n_baseline // 2, max(1, n_cells // 2))
    n_groups = max(1, min(N_BASELINE_GROUPS, n_channels // 4))
    group = np.empty(n_channels, np.int64)
    common = np.zeros((n_cells, n_groups), np.float32)
    size = np.zeros(n_groups, np.float32)
    for c in range(n_channels):
        group[c] = c * n_groups // n_channels
        size[group[c]] += 1
    for n in range(n_cells):
        for c in range(n_channels):
            common[n, group[c]] += min(max(excess[n, c], np.float32(-8)), np.float32(8))
        for g in range(n_groups):
            common[n, g] /= size[g]
    middle = _running_median(common, half)
    total = np.zeros(n_channels, np.float32)
    first, last = 0, 0  # cells in the sum
    for n in range(n_cells):
        while last < min(n_cells, n + half + 1):
            for c in range(n_channels):
                own = excess[last, c] - common[last, group[c]]
                total[c] += min(max(own, np.float32(-3)), np.float32(3))
            last += 1
        while first < n - half:
            for c in range(n_channels):
                own = excess[first, c] - common[first, group[c]]
                total[c] -= min(max(own, np.float32(-3)), np.float32(3))
            first += 1
        scale = np.float32(1 / (last - first))
        for c in range(n_channels):
            out[n, c] = middle[n, group[c]] + total[c] * scale


@numba.njit(cache=True, nogil=True)
def _running_median(values, half):  # pragma: no cover
    """Return the median of each column around each row.

    It is one of means over 4 rows, taken some times within its reach, and drawn through in between.
    """
    n_rows, n_columns = values.shape
    out = np.empty_like(values)
    means = np.zeros((-(-n_rows // 4), n_columns), np.float32)
    for n in range(n_rows):
        share = np.float32(1 / min(4, n_rows - n // 4 * 4))
        for g in range(n_columns):
            means[n // 4, g] += values[n, g] * share
    step = max(1, half // 5)
    for g in range(n_columns):
        before, low = 0, np.float32(0)
        for at in range(0, n_rows + step, step):
            n = min(at, n_rows - 1)
            around = means[max(0, n - half) // 4 : (n + half) // 4 + 1, g]
            high = np.float32(np.median(around))
            if n == 0:
                out[0, g] = high
            for k in range(before + 1, n + 1):
                out[k, g] = low + (high - low) * np.float32((k - before) / (n - before))
            before, low = n, high
    return out


@numba.njit(cache=True, nogil=True)
def _bursts(excess, rough, runs, n_cells_drift, removed):  # pragma: no cover
    """Mark the cells of narrow-band interference: those that stand out from the channels around."""
    n_cells, n_channels = excess.shape
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


# One standard deviation, where spectra are bytes.
UNIT = 8
# Spectra that are worked on together: a byte each, they fill a line of the cache.
LINE = 64


def normalised(spectra: NDArray[Any], cells: Cells) -> NDArray[np.float32]:
    """Return spectra with mean 0 and standard deviation 1, 0 where removed, shape (channel, time).

    Args:
        spectra: Counts, shape (time, channel).
        cells: From `measure_cells` on them.
    """
    out = np.empty(spectra.shape[::-1], np.float32)
    sigma = np.where(cells.sigma > 0, cells.sigma, 1)
    cell = np.minimum(np.arange(len(spectra)) // CELL, len(cells.baseline) - 1)
    for start in range(0, len(spectra), LINE):
        part = slice(start, start + LINE)
        values = (spectra[part] - cells.level) / sigma
        values -= cells.baseline[cell[part]] / np.sqrt(CELL)
        values[cells.removed[cell[part]] | cells.bad_channel] = 0
        out[:, part] = values.T
    return out


def normalised_shape(n_time: int, n_channels: int) -> tuple[int, int]:
    """Return the shape of an array that holds normalised spectra: (channel, time), both filled up."""
    return -(-n_channels // 8) * 8, -(-n_time // LINE) * LINE


def normalise_into(out: NDArray[np.int8], spectra: NDArray[Any], cells: Cells) -> None:
    """Write spectra with mean 0 and standard deviation `UNIT`, 0 where removed, by channel.

    A byte a sample makes all that follows fast. Rounding adds 0.13 % to the variance of the noise, and
    what is above 15.9 standard deviations is cut.

    Args:
        out: Where to write, of `normalised_shape`; what is beyond the spectra becomes 0.
        spectra: Counts, shape (time, channel).
        cells: From `measure_cells` on them.
    """
    inverse = np.where(cells.bad_channel, 0, UNIT / np.where(cells.sigma > 0, cells.sigma, 1))
    _transpose(
        np.ascontiguousarray(spectra), cells.level, inverse.astype(np.float32), cells.baseline,
        cells.removed, out,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _transpose(spectra, level, inverse, baseline, removed, out):  # pragma: no cover
    """Write normalised spectra by channel, so many at a time that they stay in the cache."""
    n_time, n_channels = spectra.shape
    out[:] = 0
    # Cutting what is behind the point rounds, where everything is positive.
    to_sample, zero = np.float32(UNIT / np.sqrt(CELL)), np.float32(128.5)
    for begin in range(0, n_time, CELL):
        cell = min(begin // CELL, len(baseline) - 1)
        for c in range(n_channels):
            if inverse[c] == 0 or removed[cell, c]:
                continue
            offset = zero - (level[c] * inverse[c] + baseline[cell, c] * to_sample)
            for t in range(begin, min(begin + CELL, n_time)):
                value = np.float32(spectra[t, c]) * inverse[c] + offset
                value = min(max(value, np.float32(1)), np.float32(255))
                out[c, t] = np.int8(np.int32(value) - 128)
