"""The plane of DM and time of a block of spectra, filtered by pulses of several widths.

Dedispersion goes in two steps (Magro et al. 2011, MNRAS 417, 2642): channels are added into subbands at
few DMs, subbands at all. Every series is filtered by Gaussians of 4, 8, 16, ... samples full width at
half maximum, and of 2 where pulses can be so narrow, so that a pulse in between loses at most 3 % of
its S/N. Of the plane only the highest point of each frame is kept, for every DM.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, dispersion_delay
from physics_twins.pulsar.searching.dm_sums import (
    add_row,
    add_subbands,
    all_subbands,
    filter_by,
    halve,
    sample_noise,
    tops_of_frames,
)

# Between its own DM and the next nominal one a subband may be smeared by so many samples.
SUBBAND_SMEAR = 1.0
CHANNELS_PER_SUBBAND = (4, 8, 16, 32)
# Full widths of the two filters that work on every sample; each wider one halves the sampling.
NARROW_SAMPLES, WIDE_SAMPLES = 2.0, 4.0
FILTER_REACH_SIGMA = 2.6
FILTER_HALF = 6  # values of a filter from its middle on
HALO = 8  # samples at the coarsest level that a chunk has on both sides
# Time is worked through in chunks of so many samples: subbands of 16 bits then stay in the cache.
CHUNK = 4096
# Values of each filtered series from which the noise is estimated.
N_NOISE_VALUES = 2048
N_NOISE_TRIALS = 8
# By how much a unit Gaussian between its 2nd percentile and its median is below that on average.
MEAN_BELOW = 0.7303


@dataclass(frozen=True)
class Plan:
    """How channels are shifted for each DM.

    Attributes:
        trials: DM trials in pc cm-3, shape (dm,).
        nominal: Which nominal DM's subbands a trial adds, ascending, shape (dm,).
        inside: Shift of each channel inside its subband in samples, shape (nominal, channel).
        between: Shift of each subband, shape (dm, subband).
        n_channels: Channels in a subband; the last may have fewer.
        widths: Full widths of the filters in samples, ascending, shape (width,).
        reach: Samples after a pulse's arrival at the highest channel until it has crossed the band.
    """

    trials: NDArray[np.float64]
    nominal: NDArray[np.int32]
    inside: NDArray[np.int32]
    between: NDArray[np.int32]
    n_channels: int
    widths: NDArray[np.float32]
    reach: int


@dataclass(frozen=True)
class Peaks:
    """The highest point of each frame of a DM-time plane.

    Attributes:
        curve: S/N at the best time and width for each DM, shape (frame, dm).
        widths: S/N at the best time and DM for each width, shape (frame, width).
        trial: DM trial of the highest point, shape (frame,).
        width: Its filter's full width in samples, shape (frame,).
        sample: Its time in samples from the start of the data, shape (frame,).
    """

    curve: NDArray[np.float32]
    widths: NDArray[np.float32]
    trial: NDArray[np.int32]
    width: NDArray[np.float32]
    sample: NDArray[np.int32]

    @property
    def snr(self) -> NDArray[np.float32]:
        """S/N of the highest point, shape (frame,)."""
        return self.curve.max(axis=1)


def make_plan(
    frequency_mhz: NDArray[np.float64],
    trials: NDArray[np.float64],
    *,
    sampling_s: float,
    width_min_s: float,
    width_max_s: float,
) -> Plan:
    """Return the cheapest plan among subbands of 4 to 32 channels.

    Args:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        trials: DM trials in pc cm-3, ascending, shape (dm,).
        sampling_s: Time from one spectrum to the next.
        width_min_s: Full width at half maximum of the narrowest pulse that is sought, as received.
        width_max_s: That of the widest.
    """
    n_octaves = 1 + max(0, int(np.log2(max(width_max_s / sampling_s, 1) / WIDE_SAMPLES) + 0.5))
    widths = WIDE_SAMPLES * 2.0 ** np.arange(n_octaves)
    if width_min_s / sampling_s < np.sqrt(NARROW_SAMPLES * WIDE_SAMPLES):
        widths = np.concatenate([[NARROW_SAMPLES], widths])
    widths = widths.astype(np.float32)
    plans = [
        _plan(frequency_mhz, trials, sampling_s, n_channels, widths)
        for n_channels in CHANNELS_PER_SUBBAND
        if n_channels <= len(frequency_mhz)
    ] or [_plan(frequency_mhz, trials, sampling_s, 1, widths)]
    return min(plans, key=lambda plan: plan.inside.size + plan.between.size)


def _plan(
    frequency_mhz: NDArray[np.float64],
    trials: NDArray[np.float64],
    sampling_s: float,
    n_channels: int,
    widths: NDArray[np.float32],
) -> Plan:
    highest_mhz = frequency_mhz[0]
    delay = dispersion_delay(frequency_mhz, 1.0, reference_mhz=highest_mhz) / sampling_s
    first = np.arange(0, len(frequency_mhz), n_channels)
    last = np.minimum(first + n_channels, len(frequency_mhz)) - 1
    smear = float(np.max(delay[last] - delay[first]))  # samples for a DM of 1
    step = 2 * SUBBAND_SMEAR / max(smear, 1e-9)
    nominal = np.floor((trials - trials[0]) / step).astype(np.int32)
    used, nominal = np.unique(nominal, return_inverse=True)
    nominal_dm = [trials[nominal == n].mean() for n in range(len(used))]
    from_first = delay - np.repeat(delay[first], last - first + 1)
    inside = np.rint(np.outer(nominal_dm, from_first)).astype(np.int32)
    # A subband is shifted by what its channels still lack on average.
    missing = np.outer(trials, delay) - inside[nominal]
    between = np.rint(np.add.reduceat(missing, first, axis=1) / (last - first + 1))
    between = np.maximum(between, 0).astype(np.int32)
    reach = int(np.max(between.max() + inside.max())) + 1
    return Plan(trials, nominal.astype(np.int32), inside, between, n_channels, widths, reach)


def frame_peaks(
    data: NDArray[np.int8],
    plan: Plan,
    *,
    start: int,
    n_frames: int,
    frame_spectra: int,
) -> Peaks:
    """Return the highest point of each frame over all DMs, times and widths.

    Args:
        data: From `normalisation.normalise_into`, shape (channel, time). What a pulse needs beyond the
            last frame is taken to be 0 where missing.
        plan: From `make_plan`.
        start: Sample at which the first frame begins.
        n_frames: Frames.
        frame_spectra: Spectra in a frame.
    """
    n_dm, n_widths = len(plan.trials), len(plan.widths)
    has_narrow = bool(plan.widths[0] < WIDE_SAMPLES)
    some = np.unique(np.linspace(0, n_dm - 1, N_NOISE_TRIALS).astype(np.int32))
    noise = np.zeros((len(some), n_widths, N_NOISE_VALUES), np.float32)
    tops = np.zeros((n_frames, n_dm, n_widths), np.float32)
    shifts = (plan.nominal, plan.inside, plan.between, plan.n_channels)
    filters = (*_filters(), has_narrow, n_widths)
    halo = HALO << max(0, n_widths - 1 - has_narrow)
    frames = (start, frame_spectra, n_frames, halo)
    per_chunk = max(1, min(n_frames, CHUNK // frame_spectra))
    total = np.zeros(per_chunk * frame_spectra + 2 * halo, _whole_numbers(plan))
    _scan(data, *shifts, *filters, *frames, total, tops, some, noise)
    tops /= _sigma(noise)
    curve, widths = tops.max(axis=2), tops.max(axis=1)
    trial, width = curve.argmax(axis=1).astype(np.int32), widths.argmax(axis=1).astype(np.int32)
    sample = np.zeros(n_frames, np.int32)
    _locate(data, *shifts, *filters, *frames, total, trial, width, sample)
    return Peaks(curve, widths, trial, plan.widths[width], sample)


def _whole_numbers(plan: Plan) -> type[np.signedinteger[Any]]:
    """Return a type that holds the sum over all channels, the narrower the faster."""
    return np.int16 if plan.inside.shape[1] * 127 <= np.iinfo(np.int16).max else np.int32


def _filters() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return one half, from the middle on, of the two Gaussians with unit sum of squares."""
    found = []
    for width in (NARROW_SAMPLES, WIDE_SAMPLES):
        sigma = width * SIGMA_PER_FWHM
        n = int(np.ceil(FILTER_REACH_SIGMA * sigma))
        taps = np.exp(-0.5 * (np.arange(-n, n + 1) / sigma) ** 2)
        half = np.zeros(FILTER_HALF)
        half[: n + 1] = (taps / np.sqrt(np.sum(taps**2)))[n:]
        found.append(half.astype(np.float32))
    return found[0], found[1]


def _sigma(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of each filter's output, shape (width,).

    From the lower half, since pulses reach the upper one at every DM, less its lowest 2 % of all. Where
    nothing was recorded the output is 0, and counts for nothing.
    """
    values = np.swapaxes(noise, 0, 1).reshape(noise.shape[1], -1)
    if not values.all():
        return np.array([_sigma_of(row[row != 0])[0] if row.any() else 1.0 for row in values], "f4")
    return _sigma_of(values)


def _sigma_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation along the last axis, shape (row,)."""
    values = np.atleast_2d(values)
    low, middle = values.shape[1] // 50, values.shape[1] // 2
    values = np.partition(values, (low, middle), axis=1)
    below = values[:, middle] - values[:, low : max(middle, low + 1)].mean(axis=1)
    return np.maximum(below / MEAN_BELOW, 1e-6).astype(np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scan(
    data, nominal, inside, between, n_channels, narrow, wide, has_narrow, n_widths, start,
    frame_spectra, n_frames, halo, total, tops, some, noise,
):  # fmt: skip  # pragma: no cover
    """Go through time in chunks that stay in the cache, and in each through all DM trials.

    Keeps the highest value of each frame for each DM and width, and samples of the noise.
    """
    n_sub = between.shape[1]
    per_chunk = (len(total) - 2 * halo) // frame_spectra
    subbands = np.zeros((n_sub, len(total) + between.max()), np.int16)
    series, filtered = np.zeros(len(total), np.float32), np.zeros(len(total), np.float32)
    for f in range(0, n_frames, per_chunk):
        m = min(per_chunk, n_frames - f)
        first = start + f * frame_spectra - halo  # a multiple of the coarsest step
        ready = -1
        for trial in range(len(nominal)):
            if nominal[trial] != ready:
                ready = nominal[trial]
                all_subbands(data, inside[ready], n_channels, first, subbands)
            add_subbands(subbands, between[trial], total, series)
            for w in range(n_widths):
                octave = max(0, w - 1) if has_narrow else w
                length = len(series) >> octave
                if octave > 0:
                    halve(series, length)
                filter_by(series[:length], narrow if has_narrow and w == 0 else wide, filtered)
                tops_of_frames(filtered, halo, frame_spectra, octave, tops[f : f + m, trial, w])
                for n in range(len(some)):
                    if some[n] == trial:
                        last = (halo + m * frame_spectra) >> octave
                        sample_noise(filtered[halo >> octave : last + 1], noise[n, w], f, m, n_frames)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _locate(
    data, nominal, inside, between, n_channels, narrow, wide, has_narrow, n_widths, start,
    frame_spectra, n_frames, halo, total, trial, width, sample,
):  # fmt: skip  # pragma: no cover
    """Look again at the best trial and width of each frame, and find when the highest point is."""
    n = frame_spectra + 2 * halo
    series, filtered = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for f in range(n_frames):
        first = start + f * frame_spectra - halo
        total[:n] = 0
        for c in range(inside.shape[1]):
            shift = inside[nominal[trial[f]], c] + between[trial[f], c // n_channels]
            add_row(data[c], first + shift, total[:n])
        for t in range(n):
            series[t] = np.float32(total[t])
        octave = max(0, width[f] - 1) if has_narrow else width[f]
        for k in range(octave):
            halve(series, n >> (k + 1))
        length = n >> octave
        is_narrow = has_narrow and width[f] == 0
        filter_by(series[:length], narrow if is_narrow else wide, filtered)
        at = halo >> octave
        for t in range(at, (halo + frame_spectra) >> octave):
            if filtered[t] > filtered[at]:
                at = t
        # A sample of a lower level stands for the middle of those it was made from.
        sample[f] = first + (at << octave) + ((1 << octave) >> 1)
