"""What a classifier cannot exceed in white noise: the filter matched to the pulse, with its trials.

The same search with a boxcar instead of the pulse's own profile is the simple baseline.
"""

import math

import numba
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from physics_twins.data import fraction
from physics_twins.pulsar.searching.dedispersion import delay_samples


def gaussian_template(sigma_samples: float, *, n_fractions: int = 4) -> NDArray[np.float32]:
    """Return a Gaussian late by each fraction of a sample, its squares summing to 1, cut at 4 sigma.

    Returns:
        Shape (fraction, tap); row n is late by n / n_fractions samples.

    >>> gaussian_template(2.0).shape, (gaussian_template(2.0) ** 2).sum(axis=1).round(6).tolist()
    ((4, 19), [1.0, 1.0, 1.0, 1.0])
    """
    reach = int(4 * sigma_samples) + 1
    late = np.arange(n_fractions)[:, None] / n_fractions
    profile = np.exp(-0.5 * ((np.arange(-reach, reach + 1) - late) / sigma_samples) ** 2)
    return (profile / np.sqrt((profile**2).sum(axis=1, keepdims=True))).astype(np.float32)


def boxcar_template(n_samples: int) -> NDArray[np.float32]:
    """Return a boxcar whose squares sum to 1, for delays in whole samples, shape (1, tap).

    >>> boxcar_template(4)
    array([[0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """
    return np.full((1, n_samples), n_samples**-0.5, np.float32)


def best_snr(
    windows: xr.DataArray,
    dm_pc_cm3: ArrayLike,
    templates: NDArray[np.float32],
    *,
    sampling_s: float,
    n_positions: int = 256,
) -> NDArray[np.float32]:
    """Return the highest S/N in the first frame of each window, over all trials and positions.

    Args:
        windows: White noise of standard deviation 1 and pulses, shape (window, time, frequency).
        dm_pc_cm3: Trials; steps of 0.25 lose at most 1 % of such a pulse between two of them.
        templates: The filter in each channel, at each fraction of a sample, shape (fraction, tap).
        sampling_s: Time from one spectrum to the next.
        n_positions: Arrivals at the highest channel that are tried, from the first spectrum on.

    Returns:
        Shape (window,).

    Raises:
        ValueError: The windows are shorter than positions and the longest sweep together.
    """
    trials = np.atleast_1d(np.asarray(dm_pc_cm3, dtype=float))
    step_s = sampling_s / len(templates)
    delays, fractions = np.divmod(
        delay_samples(windows["frequency"].values, trials, step_s), len(templates)
    )
    half = templates.shape[1] // 2
    needed, n_time = n_positions + int(delays.max()), windows.sizes["time"]
    if n_time < needed:
        raise ValueError(
            f"windows of {n_time} spectra are too short: DM {trials.max():g} pc cm-3 and {n_positions}"
            f" positions need {needed}"
        )
    out = np.empty(windows.sizes["window"], np.float32)
    for n, window in enumerate(windows.values):
        padded = np.pad(window.T[:, :needed], ((0, 0), (half, half)))
        out[n] = _best(np.ascontiguousarray(padded), delays, fractions, n_positions, templates)
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _best(data, delays, fractions, n_positions, templates):  # pragma: no cover
    """Return the highest matched-filter S/N of one window, (channel, time + template)."""
    n_channels, n_time = data.shape
    n_fractions, n_taps = templates.shape
    filtered = np.zeros((n_channels, n_fractions, n_time - n_taps + 1), np.float32)
    for c in range(n_channels):
        for f in range(n_fractions):
            for k in range(n_taps):
                for t in range(filtered.shape[2]):
                    filtered[c, f, t] += templates[f, k] * data[c, t + k]
    best = np.float32(-np.inf)
    for d in range(delays.shape[0]):
        series = np.zeros(n_positions, np.float32)
        for c in range(n_channels):
            shifted = filtered[c, fractions[d, c], delays[d, c] :]
            for t in range(n_positions):
                series[t] += shifted[t]
        best = max(best, series.max())
    return best / np.float32(math.sqrt(n_channels))


def threshold_at(scores_without: ArrayLike, false_alarms: float) -> float:
    """Return the score that a stated part of the frames without a pulse exceeds.

    Raises:
        ValueError: There are so few frames that not one may exceed it.

    >>> threshold_at(np.arange(100.0), 0.1)
    89.5
    """
    scores = np.sort(np.asarray(scores_without, dtype=float))
    n_above = round(false_alarms * len(scores))
    if n_above < 1:
        raise ValueError(
            f"false_alarms = {false_alarms:g} needs {math.ceil(1 / false_alarms)} frames or more,"
            f" found {len(scores)}"
        )
    return float((scores[-n_above] + scores[-n_above - 1]) / 2)


def fraction_above(scores: ArrayLike, threshold: float) -> tuple[float, float]:
    """Return the part of the scores above a threshold, and its error.

    The error is that of `data.fraction`.

    >>> [round(x, 3) for x in fraction_above([1.0, 2.0, 3.0, 4.0], 1.5)]
    [0.75, 0.171]
    """
    above = np.asarray(scores, dtype=float) > threshold
    share, error = fraction(above.sum(), len(above))
    return float(share), float(error)
