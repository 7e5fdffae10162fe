"""Find the period of a pulsar in a dedispersed series: whiten, sum harmonics, fold, refine.

Finds sources of constant period, from four samples to an eighth of the series. Mains and other periodic
interference are periodic too, and found. Source of the method: Lorimer and Kramer (2004), Handbook of
Pulsar Astronomy, chapter 6.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import gammaln

from physics_twins.pulsar.searching.folding import (
    FINE_BINS,
    N_BINS,
    checked,
    fold,
    fold_parts,
    h_log10_probability,
    h_test,
    refine,
)

HARMONIC_SUMS = (1, 2, 4, 8, 16, 32)
# Frequencies over which the level of the noise is taken: this part of the frequency, within bounds.
NOISE_WINDOW = 0.3
NOISE_WINDOW_BINS = (8, 4096)
# A narrow pulse has as much power in every second or third harmonic as in all of them, as far as the
# sums reach: multiples and parts of the frequency are tried with as many harmonics as there are. A part
# has all the harmonics of the frequency and more, which are noise: of equal ones the highest counts.
SAME_H, CHANCE_H = 0.95, 15.0
RATIOS = (1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8, 3 / 2, 2 / 3, 2, 3)
MIN_TURNS = 8
MIN_SAMPLES = 4


def find_period(
    series: xr.DataArray, *, period_min_s: float | None = None, period_max_s: float | None = None
) -> xr.Dataset:
    """Return the most significant period of a series, and the profile folded with it.

    Args:
        series: Dedispersed signal, dimension time, equally spaced.
        period_min_s: Shortest period searched; by default four samples.
        period_max_s: Longest; by default an eighth of the series.

    Returns:
        What `fold` gives, and `period_error_s`; `h_statistic`, the evidence in the whitened series;
        `n_trials`, the frequencies and harmonic sums searched; and `log10_false_alarm`, the logarithm
        of the probability that noise gives such an `h_statistic` in any of them, as if all were
        independent. The period is the telescope's, not that at the barycentre.

    Raises:
        ValueError: The series is too short or not finite, or the range of periods is empty.
    """
    values, sampling_s = checked(series)
    duration_s = len(values) * sampling_s
    low_s = MIN_SAMPLES * sampling_s if period_min_s is None else period_min_s
    high_s = duration_s / MIN_TURNS if period_max_s is None else period_max_s
    if (
        not MIN_SAMPLES * sampling_s * (1 - 1e-9)
        <= low_s
        < high_s
        <= duration_s / MIN_TURNS * (1 + 1e-9)
    ):
        allowed = f"{MIN_SAMPLES * sampling_s:g} s (four samples) to {duration_s / MIN_TURNS:g} s"
        raise ValueError(
            f"period_min_s = {low_s:g} s, period_max_s = {high_s:g} s: must rise within {allowed}"
        )
    white = whiten(values)
    frequency_hz, n_trials = _strongest(white, sampling_s, 1 / high_s, 1 / low_s)
    frequency_hz, _, _ = _refined(white, sampling_s, frequency_hz)
    frequency_hz = _fundamental(white, sampling_s, frequency_hz)
    frequency_hz, error_hz, score = _refined(white, sampling_s, frequency_hz)
    found = fold(series, 1 / frequency_hz, n_bins=min(N_BINS, int(1 / (frequency_hz * sampling_s))))
    numbers = {
        "period_error_s": (error_hz / frequency_hz**2, "s"),
        "h_statistic": (score, "1"),
        "n_trials": (float(n_trials), "1"),
        "log10_false_alarm": (h_log10_probability(score, n_trials), "1"),
    }
    return found.assign({name: ((), value, {"units": unit}) for name, (value, unit) in numbers.items()})


def _refined(
    white: NDArray[np.float64], sampling_s: float, frequency_hz: float
) -> tuple[float, float, float]:
    """Return the best frequency close by, its error and H."""
    n_bins = min(FINE_BINS, int(1 / (frequency_hz * sampling_s)))
    return refine(fold_parts(white, sampling_s, 1 / frequency_hz, n_bins=n_bins), len(white))


def whiten(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a series of mean 0 and variance 1 whose noise has the same power at all frequencies.

    The level of the noise is the running median of the power: lines, as of a pulsar's harmonics, do not
    move it.
    """
    spectrum = np.fft.rfft(values - values.mean())
    spectrum[0] = 0
    power = np.abs(spectrum[1:]) ** 2
    spectrum[1:] /= np.sqrt(np.maximum(_running_median(power) / np.log(2), np.finfo(float).tiny))
    return np.fft.irfft(spectrum, len(values)) * np.sqrt(len(values))


def _running_median(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return medians over windows that grow with frequency, joined by straight lines."""
    centres, levels = [], []
    start = 0
    while start < len(power):
        width = int(np.clip(NOISE_WINDOW * start, *NOISE_WINDOW_BINS))
        if len(power) - start < 2 * width:
            width = len(power) - start
        centres.append(start + (width - 1) / 2)
        levels.append(np.median(power[start : start + width]))
        start += width
    return np.interp(np.arange(len(power)), centres, levels)


def _strongest(
    white: NDArray[np.float64], sampling_s: float, low_hz: float, high_hz: float
) -> tuple[float, int]:
    """Return the frequency of the least likely sum of harmonics, and the number of sums tried."""
    # Twice as long: between two frequencies little is lost.
    n_padded = int(np.asarray(next_fast_len(2 * len(white), real=True)))
    power = np.abs(np.fft.rfft(white, n_padded)) ** 2 / len(white)
    step_hz = 1 / (n_padded * sampling_s)
    best, frequency_hz, n_trials = np.inf, high_hz, 0
    for n_harmonics in HARMONIC_SUMS:
        # Each trial is a place of the highest harmonic; the others lie at its parts.
        first = int(np.ceil(low_hz / step_hz * n_harmonics))
        last = min(int(high_hz / step_hz * n_harmonics), len(power) - 1)
        if last <= first:
            continue
        top = np.arange(first, last + 1)
        total = np.zeros(len(top))
        for n in range(1, n_harmonics + 1):
            total += power[(top * n + n_harmonics // 2) // n_harmonics]
        n_trials += len(top)
        logarithm = _log_chance(float(total.max()), n_harmonics)
        if logarithm < best:
            best, frequency_hz = logarithm, float(top[total.argmax()] * step_hz / n_harmonics)
    return frequency_hz, n_trials


def _log_chance(total: float, n_harmonics: int) -> float:
    """Return the logarithm of the probability that noise gives a higher sum of powers of mean 1."""
    order = np.arange(n_harmonics)
    return float(np.logaddexp.reduce(order * np.log(total) - gammaln(order + 1)) - total)


def _fundamental(white: NDArray[np.float64], sampling_s: float, frequency_hz: float) -> float:
    """Return the highest of a frequency's multiples and parts whose H is close to the best."""
    scores = {}
    for ratio in RATIOS:
        period_s = 1 / (ratio * frequency_hz)
        n_bins = min(FINE_BINS, int(period_s / sampling_s))
        if n_bins >= MIN_SAMPLES and period_s <= len(white) * sampling_s / MIN_TURNS:
            folded = fold_parts(white, sampling_s, period_s, n_bins=n_bins)
            scores[ratio] = float(h_test(folded.harmonics.sum(axis=0), len(white))[0])
    enough = SAME_H * max(scores.values()) - CHANCE_H
    return frequency_hz * max(ratio for ratio, score in scores.items() if score >= enough)
