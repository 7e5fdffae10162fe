"""Find the period of a pulsar in a dedispersed series: whiten, sum harmonics, fold, refine.

Finds sources of constant period, from four samples to an eighth of the series. Mains and other periodic
interference are periodic too, and found. Source of the method: Lorimer and Kramer (2004), Handbook of
Pulsar Astronomy, chapter 6.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.special import gammaln

N_BINS = 64
# A period is refined with so many harmonics at most, from a fold with more bins than that needs: a bin
# must be narrow against the pulse.
MAX_HARMONICS = 64
FINE_BINS = 512
# Parts of the series among which the scatter of a profile is seen; each holds a turn or more.
MAX_PARTS = 128
# De Jager and Buesching (2010), A&A 517, L9: a chance value above H has probability exp(-0.398405 H).
H_TEST_SLOPE = 0.398405


@dataclass(frozen=True)
class Folded:
    """A series folded part by part.

    Attributes:
        period_s: Period.
        sums: Sums of the samples, shape (part, phase).
        counts: Numbers of the samples, shape (part, phase).
        time_s: Middle of each part, from the middle of the series, shape (part,).
    """

    period_s: float
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    time_s: NDArray[np.float64]

    @property
    def harmonics(self) -> NDArray[np.complex128]:
        """Fourier sums of each part at the harmonics 1, 2, ..., shape (part, harmonic).

        That of two bins of phase is left out: it has no imaginary part, and another distribution.
        """
        return np.fft.rfft(self.sums, axis=1)[:, 1 : (self.sums.shape[1] + 1) // 2]


def fold(series: xr.DataArray, period_s: float, *, n_bins: int = N_BINS) -> xr.Dataset:
    """Return the mean profile of a series folded with a period.

    Args:
        series: Dedispersed signal, dimension time, equally spaced.
        period_s: Period; phase 0 is the time 0 of the series.
        n_bins: Bins of phase; a bin must not be shorter than a sample.

    Returns:
        `profile`, its mean subtracted, and `profile_error` (phase), the standard error from the scatter
        between parts of the series, which also sees pulses that vary; `period_s`.

    Raises:
        ValueError: The series is too short, a sample is not finite, or the period is shorter than
            `n_bins` samples or longer than half of the series.
    """
    values, sampling_s = checked(series)
    folded = fold_parts(values - values.mean(), sampling_s, period_s, n_bins=n_bins)
    counts = folded.counts.sum(axis=0)
    profile = folded.sums.sum(axis=0) / counts
    parts = folded.sums / np.maximum(folded.counts, 1)
    used = folded.counts > 0
    n_used = used.sum(axis=0)
    scatter = np.where(used, parts - profile, 0.0)
    error = np.sqrt((scatter**2).sum(axis=0) / (n_used * (n_used - 1)))
    units = series.attrs.get("units", "1")
    return xr.Dataset(
        {
            "profile": ("phase", profile, {"units": units}),
            "profile_error": ("phase", error, {"units": units}),
            "period_s": ((), period_s, {"units": "s"}),
        },
        coords={"phase": ("phase", (np.arange(n_bins) + 0.5) / n_bins, {"units": "1"})},
    )


def checked(series: xr.DataArray) -> tuple[NDArray[np.float64], float]:
    """Return the samples of a series, and the time from one to the next.

    Raises:
        ValueError: There are fewer than 16 samples, or not all are finite.
    """
    values = np.asarray(series.values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 16:
        raise ValueError(
            f"series: of the shape {values.shape}: 16 samples along time or more are needed"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"series: {np.sum(~np.isfinite(values))} of its samples are not finite")
    time_s = series["time"].values
    return values, float(time_s[-1] - time_s[0]) / (len(values) - 1)


def fold_parts(
    values: NDArray[np.float64], sampling_s: float, period_s: float, *, n_bins: int
) -> Folded:
    """Fold samples in up to `MAX_PARTS` parts of equal length.

    Raises:
        ValueError: The period is shorter than `n_bins` samples or longer than half of the series.
    """
    duration_s = len(values) * sampling_s
    shortest_s, longest_s = n_bins * sampling_s, duration_s / 2
    if not shortest_s <= period_s <= longest_s:
        allowed = f"{shortest_s:g} s ({n_bins} samples) to {longest_s:g} s (half of the series)"
        raise ValueError(f"period_s = {period_s:g} s is outside {allowed}")
    n_parts = min(MAX_PARTS, int(duration_s / period_s))
    sample = np.arange(len(values))
    turns = (sample + 0.5) * (sampling_s / period_s)
    # A phase of almost 1 rounds up to the number of bins.
    phase = np.minimum((turns % 1.0 * n_bins).astype(np.int64), n_bins - 1)
    place = sample * n_parts // len(values) * n_bins + phase
    sums = np.bincount(place, values, minlength=n_parts * n_bins).astype(np.float64)
    counts = np.bincount(place, minlength=n_parts * n_bins)
    time_s = ((np.arange(n_parts) + 0.5) / n_parts - 0.5) * duration_s
    shape = n_parts, n_bins
    return Folded(period_s, sums.reshape(shape), counts.reshape(shape), time_s)


def h_test(
    harmonics: NDArray[np.complex128], n_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the H statistic and the number of harmonics at which it is reached.

    Args:
        harmonics: Fourier sums of a series of unit variance at a frequency's harmonics, the last
            dimension.
        n_samples: Samples in that series.
    """
    power = np.cumsum(2 * np.abs(harmonics) ** 2 / n_samples, axis=-1)  # Z^2 of 1, 2, ... harmonics
    scores = power - 4 * np.arange(power.shape[-1])
    return scores.max(axis=-1), scores.argmax(axis=-1) + 1


def h_log10_probability(h: float, n_trials: float = 1.0) -> float:
    """Return the logarithm of the probability of a chance value above `h` in any of some trials.

    >>> round(h_log10_probability(50.0, n_trials=1000.0), 2)
    -5.65
    """
    return min(0.0, float(np.log10(n_trials) - H_TEST_SLOPE * h / np.log(10)))


def refine(folded: Folded, n_samples: int) -> tuple[float, float, float]:
    """Return the frequency of highest H within one resolution of a fold, its error, and H.

    The error comes from the scatter between parts of the series (the "sandwich" of likelihood theory),
    so that pulses which jitter or vary count as what they are. It does not know of systematic trends.

    Args:
        folded: A series of unit variance, folded near the right period.
        n_samples: Samples in it.
    """
    step_hz = 1 / (folded.time_s[-1] - folded.time_s[0])
    harmonics = folded.harmonics[:, :MAX_HARMONICS]
    shifts_hz = np.arange(-1, 1, 1 / (4 * harmonics.shape[1])) * step_hz
    turned = np.stack([_turned(harmonics, folded.time_s, s).sum(axis=0) for s in shifts_hz])
    scores, used = h_test(turned, n_samples)
    best = int(scores.argmax())
    shift_hz, n_used = float(shifts_hz[best]), int(used[best])
    slopes, curvature = np.zeros(1), 0.0
    for _ in range(5):  # Newton's steps to where sum |C_k|^2 is highest
        turned = _turned(harmonics[:, :n_used], folded.time_s, shift_hz)
        slopes, curvature = _slopes(turned, folded.time_s)
        if curvature <= 0:
            break
        shift_hz += float(np.clip(slopes.sum() / curvature, -step_hz / 16, step_hz / 16))
    scatter = float(np.sqrt(np.square(slopes - slopes.mean()).sum()))
    error_hz = scatter / curvature if curvature > 0 else np.inf
    score, _ = h_test(_turned(harmonics[:, :n_used], folded.time_s, shift_hz).sum(axis=0), n_samples)
    return 1 / folded.period_s + shift_hz, error_hz, float(score)


def _turned(
    harmonics: NDArray[np.complex128], time_s: NDArray[np.float64], shift_hz: float
) -> NDArray[np.complex128]:
    """Return Fourier sums as they would be at a frequency higher by `shift_hz`."""
    order = np.arange(1, harmonics.shape[1] + 1)
    return harmonics * np.exp(-2j * np.pi * shift_hz * time_s[:, None] * order)


def _slopes(
    harmonics: NDArray[np.complex128], time_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return each part's share in the slope of sum |C_k|^2 with frequency, and minus the curvature."""
    total = harmonics.sum(axis=0)
    turn = -2j * np.pi * np.arange(1, harmonics.shape[1] + 1) * time_s[:, None]
    slopes = 2 * (total.conj() * turn * harmonics).real.sum(axis=1)
    first = (turn * harmonics).sum(axis=0)
    second = (turn**2 * harmonics).sum(axis=0)
    return slopes, float(-2 * ((total.conj() * second).real + np.abs(first) ** 2).sum())


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


def find_period(series: xr.DataArray) -> xr.Dataset:
    """Return the most significant period of a series, and the profile folded with it.

    Args:
        series: Dedispersed signal, dimension time, equally spaced.

    Returns:
        What `fold` gives, and `period_error_s`; `h_statistic`, the evidence in the whitened series;
        `n_trials`, the frequencies and harmonic sums searched, from four samples to an eighth of the
        series; and `log10_false_alarm`, the logarithm of the probability that noise gives such an
        `h_statistic` in any of them, as if all were independent. The period is the telescope's, not
        that at the barycentre.

    Raises:
        ValueError: The series is too short, or a sample is not finite.
    """
    values, sampling_s = checked(series)
    if len(values) <= MIN_SAMPLES * MIN_TURNS:
        raise ValueError(f"series: {len(values)} samples hold no {MIN_TURNS} turns of {MIN_SAMPLES}")
    low_hz, high_hz = MIN_TURNS / (len(values) * sampling_s), 1 / (MIN_SAMPLES * sampling_s)
    white = whiten(values)
    frequency_hz, n_trials = _strongest(white, sampling_s, low_hz, high_hz)
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
