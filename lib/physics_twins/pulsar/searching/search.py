"""Search prepared spectra for dispersed pulses: detections, and what each one is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import Band, dispersion_delay
from physics_twins.pulsar.searching.cells import UNIT
from physics_twins.pulsar.searching.cleaning import Prepared
from physics_twins.pulsar.searching.dedispersion import dm_trials, middle_smearing
from physics_twins.pulsar.searching.dm_plane import Peaks, Plan, frame_peaks, make_plan

LABELS = ("none", "pulse", "nbrfi", "bbrfi")
# Of so many spectra the highest point is looked at; two pulses are seldom so near.
FRAME = 64
# The top of the curve of S/N over DM, in which its vertex is found; the higher the more a point counts.
TOP_OF_CURVE = 0.8
# Samples by which a subband may be smeared: a pulse may be one sample wide.
SUBBAND_SMEAR = 0.5
# Widths double: a pulse may be so much wider than the filter that sees it best.
WIDER = 1.5
# A pulse of so few samples is aligned before it is classified.
ALIGNED_WIDTH = 8
N_SUBBANDS = 8
# Relative scatter of a pulse's flux density between subbands (scintillation, spectral structure).
MODULATION = 0.5


@dataclass(frozen=True)
class Candidate:
    """One detection.

    Attributes:
        dm_pc_cm3: Dispersion measure.
        time_s: Arrival at the centre of the highest channel.
        snr: Signal-to-noise ratio of the best filter, a Gaussian.
        width_s: Its full width at half maximum.
        label: One of `LABELS`.
        probability: Probability of that label.
    """

    dm_pc_cm3: float
    time_s: float
    snr: float
    width_s: float
    label: str
    probability: float


def detect(
    prepared: Prepared,
    band: Band,
    search: SearchParameters,
    *,
    n_core: int,
    start: int = 0,
    start_s: float = 0.0,
) -> list[Candidate]:
    """Return the events in a block, strongest first.

    Args:
        prepared: The block.
        band: The receiver.
        search: Range and thresholds.
        n_core: Samples in which arrivals are sought.
        start: The first of them; those before it are seen by filters alone.
        start_s: Its time.
    """
    plan = _plan(band, search)
    peaks = frame_peaks(
        prepared.data,
        plan,
        good=prepared.good,
        n_time=prepared.n_time,
        start=start,
        n_frames=-(-n_core // FRAME),
        frame_spectra=FRAME,
        located_snr=search.snr_min,
    )
    high = np.flatnonzero(np.isfinite(peaks.sample))
    sample_s = peaks.sample[high] * band.sampling_s
    strongest = strongest_first(
        plan.trials[peaks.trial[high]],
        sample_s,
        peaks.width[high] * band.sampling_s,
        peaks.snr[high],
        band.delay_s_per_dm,
    )
    n_trials = n_core * len(plan.trials)
    delay_s = dispersion_delay(band.frequency_mhz, 1.0, reference_mhz=band.frequency_mhz[0])
    later = float(delay_s[prepared.good].mean()) / band.sampling_s if len(high) else 0.0
    found = []
    for frame in high[strongest]:
        width, trial = float(peaks.width[frame]), float(plan.trials[peaks.trial[frame]])
        dm = min(_vertex(peaks, plan.trials, int(frame)), search.dm_max_pc_cm3)
        # At a wrong DM the arrival is right where the band's channels are in the mean.
        sample = float(peaks.sample[frame]) - (dm - trial) * later
        near = dm, sample
        if width <= ALIGNED_WIDTH:
            step = float(np.gradient(plan.trials)[peaks.trial[frame]]) if len(plan.trials) > 1 else 0.0
            dms = dm + np.linspace(-1.5, 1.5, 7) * step
            dms = dms.clip(search.dm_min_pc_cm3, search.dm_max_pc_cm3)
            near = _aligned(prepared, band, dms, sample, int(width))
        label, probability = classify(prepared, band, *near, width, n_trials / width)
        snr = float(peaks.snr[frame])
        time_s = start_s + (sample - start) * band.sampling_s
        found.append(Candidate(dm, time_s, snr, width * band.sampling_s, label, probability))
    return found


def _plan(band: Band, search: SearchParameters) -> Plan:
    """Return how pulses as short as a sample and longer are sought."""
    trials = dm_trials(band.frequency_mhz, search, sampling_s=band.sampling_s)
    return make_plan(
        band.frequency_mhz,
        trials,
        sampling_s=band.sampling_s,
        width_min_s=band.sampling_s,
        width_max_s=1e-3 * search.width_max_ms,
        smearing_s=middle_smearing(band.frequency_mhz) * trials,
        subband_smear=SUBBAND_SMEAR,
    )


def _vertex(peaks: Peaks, trials: NDArray[np.float64], frame: int) -> float:
    """Return the DM at the top of the parabola through a highest point's S/N over DM."""
    top = int(peaks.trial[frame])
    # At another DM the pulse arrives a little earlier or later, maybe in a frame beside.
    n_beside = 1 + int(1.2 * peaks.width[frame] / FRAME)
    around = peaks.curve[max(0, frame - n_beside) : frame + n_beside + 1]
    snr = peaks.curve[frame, top]
    curve = np.where(around <= snr, around, 0.0).max(axis=0)
    low = np.flatnonzero(curve < TOP_OF_CURVE * snr)
    at = np.searchsorted(low, top)
    first = int(low[at - 1]) + 1 if at else 0
    last = int(low[at]) if at < len(low) else len(trials)
    first, last = min(first, max(top - 1, 0)), max(last, min(top + 2, len(trials)))
    if last - first < 3:
        return float(trials[top])
    x, step = trials[first:last] - trials[top], trials[last - 1] - trials[first]
    weight = (curve[first:last] - TOP_OF_CURVE * snr).clip(1e-6)
    square, slope, _ = np.polyfit(x / step, curve[first:last], 2, w=weight)
    vertex = -slope / (2 * square) * step if square < 0 else 0.0
    return float(trials[top] + vertex) if x[0] <= vertex <= x[-1] else float(trials[top])


def _aligned(
    prepared: Prepared, band: Band, dms: NDArray[np.float64], centre: float, width: int
) -> tuple[float, float]:
    """Return the DM and the centre around at which a boxcar sees most of a pulse of few samples.

    Half a sample off, its subbands would not see the same.
    """
    good, reach = np.flatnonzero(prepared.good), 2
    first = round(centre - (width - 1) / 2) - reach
    best = -np.inf, float(dms[0]), centre
    for dm, delays in zip(dms, band.whole_delays(dms), strict=True):
        rows = first + delays[good, None] + np.arange(width + 2 * reach)
        inside = (rows >= 0) & (rows < prepared.n_time)
        values = prepared.data[good[:, None], rows.clip(0, prepared.n_time - 1)]
        sums = np.convolve(np.where(inside, values, 0).sum(axis=0), np.ones(width), "valid")
        at = int(sums.argmax())
        best = max(best, (float(sums[at]), float(dm), first + at + (width - 1) / 2))
    return best[1:]


def strongest_first(
    dm_pc_cm3: NDArray[np.floating],
    time_s: NDArray[np.floating],
    width_s: NDArray[np.floating],
    snr: NDArray[np.floating],
    delay_s_per_dm: float,
) -> list[int]:
    """Return the strongest detection of each event, strongest first.

    A weaker detection belongs to a stronger one where their tracks cross inside the band and its S/N
    is no more than dedispersing the stronger at the wrong DM explains.
    """
    order = np.argsort(time_s, kind="stable")
    sorted_s = time_s[order]
    spread = float(np.ptp(dm_pc_cm3)) if len(dm_pc_cm3) else 0.0
    reach_most_s = 1.5 * float(width_s.max(initial=0.0)) + spread * delay_s_per_dm
    left = np.ones(len(snr), dtype=bool)
    strongest: list[int] = []
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
        wide_s = WIDER * width_s[first]
        swept_s = wide_s + np.abs(dm_error) * delay_s_per_dm
        explained = 1.3 * snr[first] * np.sqrt(wide_s / swept_s) + 2.5
        same = near[crosses & (snr[near] <= explained) & (near != first)]
        left[same] = left[first] = False
        strongest.append(int(first))
    return strongest


def classify(
    prepared: Prepared, band: Band, dm_pc_cm3: float, centre: float, width: float, n_trials: float
) -> tuple[str, float]:
    """Return the label of a detection and its probability.

    Four explanations are weighed by their likelihood and prior: noise (the best of `n_trials`
    independent trials), a pulse that every subband sees along the dispersion track, a transmitter
    that one subband sees, and an impulse that all subbands see in the same instant. What each
    explains is counted from the S/N in `N_SUBBANDS` subbands.

    Returns:
        One of `LABELS`, and the probability of that explanation among the four.
    """
    on_track, capped = _subband_snr(prepared, band, dm_pc_cm3, centre, width)
    if len(on_track) < 3:
        return "none", 0.5
    sweep = int(dm_pc_cm3 * band.delay_s_per_dm / band.sampling_s)
    at_once = _strongest_impulse(prepared, int(centre), sweep, int(width))
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
    prepared: Prepared, band: Band, dm_pc_cm3: float, centre: float, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the S/N of a boxcar in each subband along a track, as it is and capped, (subband,).

    Capped: no channel counts for more than three standard deviations above three times the median
    channel, so that a few channels cannot make a signal that the others do not see.
    """
    delays = band.whole_delays(dm_pc_cm3)
    good = np.flatnonzero(prepared.good)
    rows = (
        round(centre) + delays[good, None] + np.arange(width) - int(width - 1) // 2
    )  # (channel, width)
    rows = rows.astype(np.int64)
    used = prepared.there(good[:, None], rows)
    values = prepared.data[good[:, None], rows.clip(0, prepared.n_time - 1)] / UNIT
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


def _strongest_impulse(prepared: Prepared, centre: int, sweep: int, width: int) -> NDArray[np.float64]:
    """Return the S/N in each subband of the strongest impulse while a track crosses the band."""
    start = max(0, centre - 2 * width)
    stop = min(prepared.n_time, centre + sweep + 2 * width + 1)
    parts = [p for p in np.array_split(np.flatnonzero(prepared.good), N_SUBBANDS) if len(p)]
    series = np.stack(
        [prepared.data[p, start:stop].sum(axis=0) / (UNIT * np.sqrt(len(p))) for p in parts]
    )
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
