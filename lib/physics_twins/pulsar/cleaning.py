"""Prepare spectra for a search: normalise each channel, find interference and remove it.

Three kinds of interference are found, each by what sets it apart from a dispersed pulse: a channel
that is always disturbed, a burst in a few channels that its neighbours do not see, and an impulse that
most of the band sees in the same instant.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, maximum_filter, median_filter, uniform_filter1d

from physics_twins.downsample import SIGMA_PER_MAD

BASELINE_S = 0.5  # the running mean that is removed; far longer than any pulse that is searched
CELL_SPECTRA = (16, 128)  # lengths over which narrow-band bursts are looked for
CELL_SIGMA = 6.0
# A burst is compared with so many channels around it, half of which must be free of it.
NEARBY_CHANNELS = 21
# The comparison reaches as far in time as a pulse drifts over these channels, up to so many cells.
MAX_NEARBY_CELLS = 33
IMPULSE_WIDTHS = (1, 4, 16)
IMPULSE_SIGMA = 6.0
CHANNEL_SIGMA = 6.0
N_SUBBANDS = 16
# A Gaussian cut at three standard deviations keeps this fraction of its standard deviation.
CLIPPED_STD = 0.98658


@dataclass(frozen=True)
class Cleaned:
    """Normalised spectra and what was removed from them.

    Attributes:
        data: Mean 0, standard deviation 1 in each channel, 0 where removed; shape (channel, time).
        bad_channel: Channels that were removed whole, shape (channel,).
        narrowband: Samples removed as narrow-band bursts, shape (channel, time).
        broadband: Spectra removed as broad-band impulses, shape (time,).
    """

    data: NDArray[np.float32]
    bad_channel: NDArray[np.bool_]
    narrowband: NDArray[np.bool_]
    broadband: NDArray[np.bool_]


def clean(spectra: NDArray[Any], sampling_s: float, *, drift: float) -> Cleaned:
    """Normalise spectra and remove interference.

    Args:
        spectra: Counts, shape (time, channel).
        sampling_s: Time from one spectrum to the next.
        drift: By how many samples a pulse comes later in a channel than in the one above, at most.
    """
    data = np.ascontiguousarray(spectra.T, dtype=np.float32)  # (channel, time)
    dead = _normalise(data)
    if dead.all():
        nothing = np.zeros(data.shape, dtype=bool)
        return Cleaned(data, dead, nothing, nothing[0])
    n_window = max(16, round(BASELINE_S / sampling_s))
    broadband = _impulses(data, ~dead, n_window)
    data[:, broadband] = 0
    narrowband = np.zeros(data.shape, dtype=bool)
    for n_spectra in CELL_SPECTRA:
        if data.shape[1] >= 4 * n_spectra:
            narrowband |= _bursts(data, n_spectra, ~dead, drift)
    # The baseline comes last: strong interference in it would be spread over half a second.
    std = _remove_baseline(data, narrowband, broadband, n_window)
    bad_channel = dead | _disturbed(data, std, ~dead) | (narrowband.mean(axis=1) > 0.5)
    data[bad_channel] = 0
    return Cleaned(data, bad_channel, narrowband, broadband)


def normalise(spectra: NDArray[Any]) -> NDArray[np.float32]:
    """Return spectra with mean 0 and standard deviation 1 in each channel, shape (channel, time).

    Nothing is removed. Mean and standard deviation are those of the core within 3 sigma; a channel
    that is constant becomes 0.

    Args:
        spectra: Counts, shape (time, channel).

    >>> normalise(np.array([[1, 7], [3, 7]])).round(1)
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """
    data = np.ascontiguousarray(spectra.T, dtype=np.float32)
    _normalise(data)
    return data


@numba.njit(cache=True, nogil=True)
def _normalise(data):  # pragma: no cover
    """Bring each channel to mean 0 and standard deviation 1 in place, by its quiet samples.

    Quiet is what lies within 3 sigma of the level that the channel has without interference.
    Returns which channels are constant.
    """
    n_channels, n_time = data.shape
    dead = np.zeros(n_channels, np.bool_)
    for c in range(n_channels):
        row = data[c]
        mean, std = _quiet_level(row)
        # Once: each further pass would let a burst just above 3 sigma pull the level up a little more.
        low, high = mean - 3 * std, mean + 3 * std
        total, square, n = 0.0, 0.0, 0
        for t in range(n_time):
            if low <= row[t] <= high:
                total += row[t] - mean
                square += (row[t] - mean) ** 2
                n += 1
        if n > 0:
            offset = total / n
            mean += offset
            std = np.sqrt(max(square / n - offset * offset, 0.0)) / CLIPPED_STD
        dead[c] = std <= 1e-6 * (abs(mean) + 1e-30)
        for t in range(n_time):
            row[t] = 0.0 if dead[c] else (row[t] - mean) / std
    return dead


@numba.njit(cache=True, nogil=True)
def _quiet_level(row):  # pragma: no cover
    """Return a first guess of mean and standard deviation of a channel without interference.

    Interference only adds power, so the level is taken from the lower quarter of short cells, and
    the noise from inside the cells, where a burst's own level does not count.
    """
    n_cell = CELL_SPECTRA[0]
    n_cells = len(row) // n_cell
    if n_cells < 4:
        return row.mean(), row.std() * 2 + 1e-30
    means, stds = np.empty(n_cells), np.empty(n_cells)
    for n in range(n_cells):
        cell = row[n * n_cell : (n + 1) * n_cell]
        means[n], stds[n] = cell.mean(), cell.std()
    std = np.median(stds) * np.sqrt(n_cell / (n_cell - 1))
    means.sort()
    # The lower quartile of means of Gaussian noise is 0.674 of their own sigma below their mean.
    return means[n_cells // 4] + 0.674 * std / np.sqrt(n_cell), std


@numba.njit(cache=True, nogil=True)
def _remove_baseline(data, narrowband, broadband, n_window):  # pragma: no cover
    """Subtract each channel's running mean of clean samples cut at 3 sigma; set the others to 0.

    Returns the standard deviation of each channel's clean samples.
    """
    n_channels, n_time = data.shape
    std = np.zeros(n_channels)
    half = n_window // 2
    total, count = np.zeros(n_time + 1), np.zeros(n_time + 1)
    for c in range(n_channels):
        row = data[c]
        for t in range(n_time):
            clean = not (narrowband[c, t] or broadband[t])
            total[t + 1] = total[t] + (min(max(row[t], -3.0), 3.0) if clean else 0.0)
            count[t + 1] = count[t] + clean
        for t in range(n_time):
            start, stop = max(0, t - half), min(n_time, t + half + 1)
            if narrowband[c, t] or broadband[t]:
                row[t] = 0.0
            else:
                row[t] -= (total[stop] - total[start]) / (count[stop] - count[start])
                std[c] += row[t] * row[t]
        std[c] = np.sqrt(std[c] / max(count[n_time], 1.0))
    return std


def _disturbed(
    data: NDArray[np.float32], std: NDArray[np.float64], alive: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the channels whose outliers or slow variations stand out from the other channels."""
    disturbed = np.zeros(len(data), dtype=bool)
    n_cells = data.shape[1] // CELL_SPECTRA[0]
    slow = _cell_means(data, CELL_SPECTRA[0]).std(axis=1) if n_cells >= 4 else np.ones(len(data))
    for statistic in (std, slow):
        centre, sigma = _robust(statistic[alive])
        # Where all channels are alike the spread is tiny; a tenth is no disturbance.
        disturbed |= statistic > centre + max(CHANNEL_SIGMA * sigma, 0.1 * centre)
    return disturbed & alive


def _bursts(
    data: NDArray[np.float32], n_spectra: int, good: NDArray[np.bool_], drift: float
) -> NDArray[np.bool_]:
    """Return the samples of narrow-band bursts: cells that stand out from the channels around them."""
    cells = _cell_means(data, n_spectra) * np.float32(np.sqrt(n_spectra))
    _, sigma = _robust(cells[good])
    cells /= max(sigma, 1.0)
    # Pulses and impulses reach the neighbouring channels too, a dispersed pulse a little earlier or
    # later; what these see is taken away.
    n_nearby = min(MAX_NEARBY_CELLS, 3 + 2 * int(NEARBY_CHANNELS // 2 * drift / n_spectra))
    nearby = maximum_filter(cells[good], size=(1, n_nearby), mode="nearest")
    excess = np.zeros_like(cells)
    excess[good] = cells[good] - median_filter(nearby, size=(NEARBY_CHANNELS, 1), mode="nearest").clip(
        0
    )
    high = (excess > CELL_SIGMA) | (cells < -CELL_SIGMA)
    # A burst's ends and sidebands lie below the threshold, next to what lies above it.
    beside = np.asarray(binary_dilation(high, np.ones((3, 3))), dtype=bool)
    high |= beside & (excess > CELL_SIGMA / 2)
    flagged = np.zeros(data.shape, dtype=bool)
    flagged[:, : cells.shape[1] * n_spectra] = np.repeat(high, n_spectra, axis=1)
    return flagged


def _impulses(data: NDArray[np.float32], good: NDArray[np.bool_], n_window: int) -> NDArray[np.bool_]:
    """Return the spectra in which most subbands rise together.

    The statistic is the median over subbands: a dispersed pulse is in one or two of them at a time,
    and so is a transmitter, while an impulse is in all.
    """
    flagged = np.zeros(data.shape[1], dtype=bool)
    parts = [part for part in np.array_split(np.flatnonzero(good), N_SUBBANDS) if len(part)]
    if len(parts) < N_SUBBANDS // 2:
        return flagged
    series = np.stack([data[part].sum(axis=0) / np.sqrt(len(part)) for part in parts])
    series -= uniform_filter1d(np.clip(series, -3, 3), n_window, axis=1)
    for width in IMPULSE_WIDTHS:
        common = np.median(uniform_filter1d(series, width, axis=1), axis=0)
        centre, sigma = _robust(common)
        hit = np.abs(common - centre) > IMPULSE_SIGMA * sigma
        flagged |= binary_dilation(hit, np.ones(2 * (width // 2) + 3))
    return flagged


def _cell_means(data: NDArray[np.float32], n_spectra: int) -> NDArray[np.float32]:
    """Return means over cells of `n_spectra`, shape (channel, cell); a rest at the end is left out."""
    n_cells = data.shape[1] // n_spectra
    return data[:, : n_cells * n_spectra].reshape(len(data), n_cells, n_spectra).mean(axis=2)


def _robust(values: NDArray[Any]) -> tuple[float, float]:
    """Return median and standard deviation, the latter from the median absolute deviation."""
    centre = np.median(values)
    return float(centre), float(SIGMA_PER_MAD * np.median(np.abs(values - centre)))
