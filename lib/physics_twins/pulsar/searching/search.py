"""Search cleaned spectra for dispersed pulses: DM trials, boxcars, candidates, and what each one is."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.searching.cleaning import Cleaned
from physics_twins.pulsar.searching.dedispersion import dedisperse, delay_samples

LABELS = ("none", "pulse", "nbrfi", "bbrfi")
N_SUBBANDS = 8
# Relative scatter of a pulse's flux density between subbands (scintillation, spectral structure).
MODULATION = 0.5
# Values from which the noise of a boxcar-filtered series is estimated.
N_NOISE_VALUES = 2048
# What is so far above them is no noise.
PULSE_SIGMA = 3.5
SIGMA_PER_MAD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation
# White noise counts as much as so many independent values.
N_WHITE = 60


@dataclass(frozen=True)
class Candidate:
    """One detection.

    Attributes:
        dm_pc_cm3: Dispersion measure.
        time_s: Arrival at the centre of the highest channel, from the start of the observation.
        snr: Signal-to-noise ratio of the best boxcar.
        width_s: Length of that boxcar.
        label: One of `LABELS`.
        probability: Probability of that label.
    """

    dm_pc_cm3: float
    time_s: float
    snr: float
    width_s: float
    label: str
    probability: float


@dataclass(frozen=True)
class Band:
    """What a search needs to know of the receiver.

    Attributes:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        sampling_s: Time from one spectrum to the next.
    """

    frequency_mhz: NDArray[np.float64]
    sampling_s: float

    @property
    def delay_s_per_dm(self) -> float:
        """Delay across the band for a DM of 1 pc cm-3."""
        low, high = self.frequency_mhz[-1], self.frequency_mhz[0]
        return float(dispersion_delay(low, 1.0, reference_mhz=high))


def boxcar_widths(width_max_s: float, sampling_s: float) -> NDArray[np.int64]:
    """Return boxcar lengths in samples, growing by at most a half each.

    >>> boxcar_widths(0.004, 0.0001024)
    array([ 1,  2,  3,  4,  6,  8, 12, 16, 24, 32])
    """
    longest = max(1, int(width_max_s / sampling_s))
    powers = 2 ** np.arange(int(np.log2(longest)) + 1)
    widths = np.union1d(powers, 3 * powers[:-1])
    return widths[widths <= longest]


def find_events(
    cleaned: Cleaned, band: Band, trials: NDArray[np.float64], widths: NDArray[np.int64], snr_min: float
) -> NDArray[np.float64]:
    """Return every local maximum of S/N above `snr_min`, over all DM trials.

    Returns:
        Rows of (DM trial, centre in samples, boxcar in samples, S/N), shape (event, 4).
    """
    good = ~cleaned.bad_channel
    delays = delay_samples(band.frequency_mhz, trials, band.sampling_s)
    found = [np.empty((0, 4))]
    for trial in range(len(trials)):
        series, present = dedisperse(cleaned.data, delays[trial], good)
        # A track that misses half of the band is not searched.
        n_valid = int(np.searchsorted(-present, -max(1, good.sum() // 2), side="right"))
        # Of few spectra, noise is told for the boxcars that fit several times.
        fitting = widths[2 * widths <= n_valid]
        if not len(fitting):
            continue
        centre, width, snr = _peaks(series[:n_valid], fitting, snr_min)
        found.append(np.column_stack([np.full(len(snr), trial), centre, width, snr]))
    return np.concatenate(found)


@numba.njit(cache=True, nogil=True)
def _peaks(series, widths, snr_min):  # pragma: no cover
    """Return centres, widths and S/N of the peaks over all boxcars."""
    n_time = len(series)
    cumulative = np.zeros(n_time + 1)
    there = np.zeros(n_time + 1, np.int32)  # a sum of nothing but missing samples is 0
    for t in range(n_time):
        cumulative[t + 1] = cumulative[t] + series[t]
        there[t + 1] = there[t] + (series[t] != 0)
    best = np.zeros(n_time, np.float32)
    best_width = np.zeros(n_time, np.int32)
    white = 0.0  # noise of one sample, from the narrowest boxcar
    for width in widths:
        n = n_time - width + 1
        step = max(1, n // N_NOISE_VALUES)
        sums = cumulative[width::step] - cumulative[: n_time - width + 1 : step]
        n_there = there[width::step] - there[: n_time - width + 1 : step]
        sums = sums[2 * n_there >= width]
        if len(sums) < 2:
            continue
        middle, sigma = _quiet_noise(sums)
        if sigma <= 0:
            continue
        # Of few independent sums the scatter says little: white noise has a say, too.
        if white == 0:
            white = sigma / np.sqrt(width)
        share = n_time / (n_time + N_WHITE * width)
        sigma = np.sqrt(share * sigma**2 + (1 - share) * white**2 * width)
        for t in range(n):
            snr = (cumulative[t + width] - cumulative[t] - middle) / sigma
            centre = t + (width - 1) // 2
            if snr > best[centre]:
                best[centre] = snr
                best_width[centre] = width
    return _runs(best, best_width, snr_min)


@numba.njit(cache=True, nogil=True)
def _quiet_noise(sums):  # pragma: no cover
    """Return middle and standard deviation of boxcar sums without those that a pulse lifts."""
    middle = np.median(sums)
    sigma = SIGMA_PER_MAD * np.median(np.abs(sums - middle))
    quiet = sums[sums < middle + PULSE_SIGMA * sigma]
    middle = np.median(quiet)
    return middle, SIGMA_PER_MAD * np.median(np.abs(quiet - middle))


@numba.njit(cache=True, nogil=True)
def _runs(best, best_width, snr_min):  # pragma: no cover
    """Return the highest point of each run of values above `snr_min`."""
    centres, widths, snrs = [0.0], [0], [0.0]
    inside = False
    for t in range(len(best)):
        if best[t] < snr_min:
            inside = False
        elif not inside or best[t] > snrs[-1]:
            # With an even width the centre lies between two samples.
            centre = t + 0.5 * ((best_width[t] - 1) % 2)
            if inside:
                centres[-1], widths[-1], snrs[-1] = centre, best_width[t], best[t]
            else:
                centres.append(centre)
                widths.append(best_width[t])
                snrs.append(best[t])
            inside = True
    return np.array(centres[1:]), np.array(widths[1:]), np.array(snrs[1:])


def strongest_first(
    dm_pc_cm3: NDArray[np.float64],
    time_s: NDArray[np.float64],
    width_s: NDArray[np.float64],
    snr: NDArray[np.float64],
    delay_s_per_dm: float,
) -> list[NDArray[np.int64]]:
    """Group detections of the same event, strongest first.

    A weaker detection belongs to a stronger one where their tracks cross inside the band and its S/N
    is no more than dedispersing the stronger at the wrong DM explains.

    Returns:
        One array of indices per event, its strongest detection first.
    """
    order = np.argsort(time_s, kind="stable")
    sorted_s = time_s[order]
    spread = float(np.ptp(dm_pc_cm3)) if len(dm_pc_cm3) else 0.0
    reach_most_s = 1.5 * float(width_s.max(initial=0.0)) + spread * delay_s_per_dm
    left = np.ones(len(snr), dtype=bool)
    groups = []
    for first in np.argsort(-snr, kind="stable"):
        if not left[first]:
            continue
        low, high = np.searchsorted(
            sorted_s, [time_s[first] - reach_most_s, time_s[first] + reach_most_s]
        )
        near = order[low : high + 1]
        near = near[left[near]]
        later_s = time_s[near] - time_s[first]  # at the highest channel
        dm_error = dm_pc_cm3[near] - dm_pc_cm3[first]
        later_at_end_s = later_s + dm_error * delay_s_per_dm  # at the lowest
        reach_s = 0.75 * (width_s[near] + width_s[first])
        crosses = (np.minimum(later_s, later_at_end_s) <= reach_s) & (
            np.maximum(later_s, later_at_end_s) >= -reach_s
        )
        swept_s = width_s[first] + np.abs(dm_error) * delay_s_per_dm
        explained = 1.3 * snr[first] * np.sqrt(width_s[first] / swept_s) + 2.5
        same = near[crosses & (snr[near] <= explained) & (near != first)]
        left[same] = left[first] = False
        groups.append(np.concatenate([[first], same[np.argsort(-snr[same], kind="stable")]]))
    return groups


def refine_dm(
    cleaned: Cleaned,
    band: Band,
    dm_pc_cm3: float,
    centre: float,
    width: int,
    step_pc_cm3: float,
    searched_pc_cm3: tuple[float, float],
) -> tuple[float, float]:
    """Return the DM and centre (in samples) at which a boxcar of this width has the highest S/N.

    The DM is the vertex of a parabola through the S/N of DM trials around the first guess, so that
    it is not tied to a trial; it stays within the range that is searched.
    """
    n_side = 6
    trials = dm_pc_cm3 + np.linspace(-3, 3, 2 * n_side + 1) * step_pc_cm3
    trials = np.unique(trials.clip(*searched_pc_cm3))
    good = ~cleaned.bad_channel
    sums = np.zeros(len(trials))
    centres = np.zeros(len(trials))
    margin = 2 * width + int(3 * step_pc_cm3 * band.delay_s_per_dm / band.sampling_s) + 1
    start = max(0, int(centre) - margin)
    for n, delays in enumerate(delay_samples(band.frequency_mhz, trials, band.sampling_s)):
        stop = min(cleaned.data.shape[1], int(centre) + margin + int(delays[-1]) + 1)
        series, _ = dedisperse(cleaned.data[:, start:stop], delays, good)
        cumulative = np.concatenate([[0.0], np.cumsum(series[: 2 * margin])])
        boxes = cumulative[width:] - cumulative[:-width]
        sums[n], centres[n] = boxes.max(), start + boxes.argmax() + (width - 1) / 2
    top = sums >= 0.7 * sums.max()
    if top.sum() < 4:
        return float(trials[sums.argmax()]), float(centres[sums.argmax()])
    curve = np.polynomial.Polynomial.fit(trials[top], sums[top], 2)
    vertex = float(curve.deriv().roots()[0].real) if curve.convert().coef[-1] < 0 else np.nan
    if not trials[0] <= vertex <= trials[-1]:
        vertex = float(trials[sums.argmax()])
    return vertex, float(np.interp(vertex, trials, centres))


def classify(
    cleaned: Cleaned, band: Band, dm_pc_cm3: float, centre: float, width: int, n_trials: float
) -> tuple[str, float]:
    """Return the label of a detection and its probability.

    Four explanations are weighed by their likelihood and prior: noise (the best of `n_trials`
    independent trials), a pulse that every subband sees along the dispersion track, a transmitter
    that one subband sees, and an impulse that all subbands see in the same instant. What each
    explains is counted from the S/N in `N_SUBBANDS` subbands.

    Returns:
        One of `LABELS`, and the probability of that explanation among the four.
    """
    on_track, capped = _subband_snr(cleaned, band, dm_pc_cm3, centre, width)
    if len(on_track) < 3:
        return "none", 0.5
    sweep = int(dm_pc_cm3 * band.delay_s_per_dm / band.sampling_s)
    at_once = _strongest_impulse(cleaned, band, int(centre), sweep, width)
    gains = np.array(
        [
            np.log(n_trials),
            _common_gain(capped),
            np.square(on_track).max() / 2 - np.log(len(on_track)),
            _common_gain(at_once),
        ]
    )
    weights = np.exp(gains - gains.max())
    best = int(gains.argmax())
    return LABELS[best], float(weights[best] / weights.sum())


def _common_gain(snr: NDArray[np.float64]) -> float:
    """Return the log likelihood ratio of one common signal with scatter against noise alone."""
    mean = max(float(snr.mean()), 0.0)
    variance = 1 + (MODULATION * mean) ** 2
    return float(np.sum(snr**2 / 2 - (snr - mean) ** 2 / (2 * variance) - np.log(variance) / 2))


def _subband_snr(
    cleaned: Cleaned, band: Band, dm_pc_cm3: float, centre: float, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the S/N of a boxcar in each subband along a track, as it is and capped, (subband,).

    Capped: no channel counts for more than three standard deviations above three times the median
    channel, so that a few channels cannot make a signal that the others do not see.
    """
    delays = delay_samples(band.frequency_mhz, np.array([dm_pc_cm3]), band.sampling_s)[0]
    good = np.flatnonzero(~cleaned.bad_channel)
    start = round(centre - (width - 1) / 2)
    rows = delays[good, None] + np.arange(start, start + width)  # (channel, width)
    inside = (rows >= 0) & (rows < cleaned.data.shape[1])
    values = cleaned.data[good[:, None], rows.clip(0, cleaned.data.shape[1] - 1)]
    used = inside & (values != 0)
    n_used = used.sum(axis=1)
    channel_snr = np.where(used, values, 0).sum(axis=1) / np.sqrt(n_used.clip(1))
    present = np.flatnonzero(n_used)
    cap = 3 + 3 * max(0.0, float(np.median(channel_snr[present]))) if len(present) else 0.0
    parts = [p for p in np.array_split(present, N_SUBBANDS) if len(p)]
    weights = np.sqrt(n_used)
    found = [
        [(snr[p] * weights[p]).sum() / np.sqrt(n_used[p].sum()) for p in parts]
        for snr in (channel_snr, channel_snr.clip(-cap, cap))
    ]
    return np.array(found[0]), np.array(found[1])


def _strongest_impulse(
    cleaned: Cleaned, band: Band, centre: int, sweep: int, width: int
) -> NDArray[np.float64]:
    """Return the S/N in each subband of the strongest impulse while a track crosses the band."""
    start = max(0, centre - 2 * width)
    stop = min(cleaned.data.shape[1], centre + sweep + 2 * width + 1)
    window = cleaned.data[:, start:stop]
    series = np.stack([window[c].sum(axis=0) / np.sqrt(len(c)) for c in _subbands(cleaned)])
    cumulative = np.cumsum(np.pad(series, ((0, 0), (1, 0))), axis=1)
    best = np.zeros(len(series))
    for length in {1, 2, 4, 8, 16, width}:
        if length >= series.shape[1]:
            continue
        boxes = (cumulative[:, length:] - cumulative[:, :-length]) / np.sqrt(length)
        strongest = boxes[:, boxes.mean(axis=0).argmax()]
        if strongest.mean() > best.mean():
            best = strongest
    return best


def _subbands(cleaned: Cleaned) -> list[NDArray[np.int64]]:
    good = np.flatnonzero(~cleaned.bad_channel)
    return [part for part in np.array_split(good, N_SUBBANDS) if len(part)]
