"""The plane of DM and time of a block of spectra, filtered by pulses of several widths.

Dedispersion goes in two steps (Magro et al. 2011, MNRAS 417, 2642): channels are added into subbands at
few DMs, subbands at all. Every series is filtered by Gaussians of 4, 8, 16, ... samples full width at
half maximum, and of 2 where pulses can be so narrow, so that a pulse in between loses at most 3 % of
its S/N. Of the plane only the highest point of each frame is kept, for every DM.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.ism import SIGMA_PER_FWHM, dispersion_delay

# Between its own DM and the next nominal one a subband may be smeared by so many samples.
SUBBAND_SMEAR = 1.0
CHANNELS_PER_SUBBAND = (4, 8, 16, 32)
# Full widths of the two filters that work on every sample; each wider one halves the sampling.
NARROW_SAMPLES, WIDE_SAMPLES = 2.0, 4.0
FILTER_REACH_SIGMA = 2.6
# Values of each filtered series from which the noise is estimated.
N_NOISE_VALUES = 4096
N_NOISE_TRIALS = 4


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
    data: NDArray[np.float32],
    plan: Plan,
    *,
    n_good: int,
    start: int,
    n_frames: int,
    frame_spectra: int,
) -> Peaks:
    """Return the highest point of each frame over all DMs, times and widths.

    Args:
        data: Spectra with mean 0 and standard deviation 1, 0 where removed, shape (channel, time).
            What a pulse needs to cross the band beyond the last frame is taken to be 0 where missing.
        plan: From `make_plan`.
        n_good: Channels that are not removed.
        start: Sample at which the first frame begins.
        n_frames: Frames.
        frame_spectra: Spectra in a frame.
    """
    n_dm, n_widths = len(plan.trials), len(plan.widths)
    curve = np.full((n_frames, n_dm), -np.inf, np.float32)
    widths = np.full((n_frames, n_widths), -np.inf, np.float32)
    place = np.zeros((n_frames, 3), np.int32)
    n_time = min(start + (n_frames + 1) * frame_spectra, data.shape[1])
    scale = np.full(n_widths, 1 / np.sqrt(max(1, n_good)), np.float32)
    some = np.unique(np.linspace(0, n_dm - 1, N_NOISE_TRIALS).astype(np.int32))
    noise = np.zeros((len(some), n_widths, N_NOISE_VALUES), np.float32)
    shifts = (plan.nominal, plan.inside, plan.between, plan.n_channels, n_time)
    filters = (*_filters(), bool(plan.widths[0] < WIDE_SAMPLES))
    kept = (curve, widths, place)
    frames = (start, frame_spectra, n_frames)
    _scan(data, some, *shifts, *filters, scale, *frames, *kept, noise)
    scale /= _sigma(noise)
    every = np.arange(n_dm, dtype=np.int32)
    _scan(data, every, *shifts, *filters, scale, *frames, *kept, noise[:0])
    return Peaks(curve, widths, place[:, 0], plan.widths[place[:, 1]], place[:, 2])


def _filters() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the two Gaussians with unit sum of squares."""
    found = []
    for width in (NARROW_SAMPLES, WIDE_SAMPLES):
        sigma = width * SIGMA_PER_FWHM
        n = int(np.ceil(FILTER_REACH_SIGMA * sigma))
        taps = np.exp(-0.5 * (np.arange(-n, n + 1) / sigma) ** 2)
        found.append((taps / np.sqrt(np.sum(taps**2))).astype(np.float32))
    return found[0], found[1]


def _sigma(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of each filter's output, shape (width,).

    From quantiles of the lower half, since pulses reach the upper one at every DM.
    """
    values = np.swapaxes(noise, 0, 1).reshape(noise.shape[1], -1)
    low, high = np.percentile(values, (5, 25), axis=1)
    return np.maximum((high - low) / 0.97036, 1e-6).astype(np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scan(
    data, trials, nominal, inside, between, n_channels, n_time, narrow, wide, has_narrow, scale, start,
    frame_spectra, n_frames, curve, widths, place, noise,
):  # fmt: skip  # pragma: no cover
    """Go through DM trials; keep what the highest points are, or samples of the noise."""
    n_sub = between.shape[1]
    subbands = np.zeros((n_sub, data.shape[1]), np.float32)
    series = np.empty(n_time, np.float32)
    filtered = np.empty(n_time, np.float32)
    best = np.full(n_frames, -np.inf, np.float32)
    ready = -1
    for n in range(len(trials)):
        trial = trials[n]
        if nominal[trial] != ready:
            ready = nominal[trial]
            for s in range(n_sub):
                low = s * n_channels
                _add_rows(data, inside[ready], low, min(low + n_channels, len(data)), subbands[s])
        _add_subbands(subbands, between[trial], series)
        for w in range(len(scale)):
            octave = max(0, w - 1) if has_narrow else w
            length = n_time >> octave
            if octave > 0:
                _halve(series, length)
            _filter(series[:length], narrow if has_narrow and w == 0 else wide, filtered)
            if len(noise):
                _sample(filtered[:length], scale[w], noise[n, w])
            else:
                _keep(
                    filtered, length, octave, scale[w], start, frame_spectra, trial, w,
                    curve, widths, place, best,
                )  # fmt: skip


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add_rows(data, shift, low, high, out):  # pragma: no cover
    """Add shifted channels, four at a time; what lies beyond the end of the data is 0."""
    n_data = len(out)
    out[:] = 0
    c = low
    while c < high:
        m = min(4, high - c)
        longest = 0
        for k in range(m):
            longest = max(longest, shift[c + k])
        n = max(0, n_data - longest)
        if m == 4:
            r0, r1 = data[c, shift[c] :], data[c + 1, shift[c + 1] :]
            r2, r3 = data[c + 2, shift[c + 2] :], data[c + 3, shift[c + 3] :]
            for t in range(n):
                out[t] += (r0[t] + r1[t]) + (r2[t] + r3[t])
        else:
            n = 0
        for k in range(m):
            row = data[c + k, shift[c + k] :]
            for t in range(n, len(row)):
                out[t] += row[t]
        c += m


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add_subbands(subbands, shift, out):  # pragma: no cover
    """Add shifted subbands, four at a time."""
    n_sub, n_data = subbands.shape
    n_time = len(out)
    out[:] = 0
    s = 0
    while s < n_sub:
        m = min(4, n_sub - s)
        longest = 0
        for k in range(m):
            longest = max(longest, shift[s + k])
        n = min(n_time, max(0, n_data - longest))
        if m == 4:
            r0, r1 = subbands[s, shift[s] :], subbands[s + 1, shift[s + 1] :]
            r2, r3 = subbands[s + 2, shift[s + 2] :], subbands[s + 3, shift[s + 3] :]
            for t in range(n):
                out[t] += (r0[t] + r1[t]) + (r2[t] + r3[t])
        else:
            n = 0
        for k in range(m):
            row = subbands[s + k, shift[s + k] :]
            for t in range(n, min(n_time, len(row))):
                out[t] += row[t]
        s += m


@numba.njit(cache=True, nogil=True, fastmath=True)
def _halve(series, length):  # pragma: no cover
    """Add neighbours in place so that the standard deviation of white noise stays."""
    for t in range(length):
        series[t] = (series[2 * t] + series[2 * t + 1]) * np.float32(0.70710678)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _filter(series, taps, out):  # pragma: no cover
    """Filter by a symmetric kernel; beyond the ends is 0."""
    n, half = len(series), len(taps) // 2
    for t in range(n):
        out[t] = taps[half] * series[t]
    for k in range(1, half + 1):
        tap = taps[half + k]
        for t in range(k, n - k):
            out[t] += tap * (series[t - k] + series[t + k])
        for t in range(min(k, n)):
            if t + k < n:
                out[t] += tap * series[t + k]
                out[n - 1 - t] += tap * series[n - 1 - t - k]


@numba.njit(cache=True, nogil=True)
def _sample(filtered, scale, noise):  # pragma: no cover
    step = max(1, len(filtered) // len(noise))
    for n in range(len(noise)):
        noise[n] = filtered[(n * step) % len(filtered)] * scale


@numba.njit(cache=True, nogil=True, fastmath=True)
def _keep(
    filtered, length, octave, scale, start, frame_spectra, trial, w, curve, widths, place, best
):  # pragma: no cover
    """Keep the highest value of each frame where it is higher than before."""
    for f in range(len(curve)):
        low = (start + f * frame_spectra + (1 << octave) - 1) >> octave
        high = min((start + (f + 1) * frame_spectra + (1 << octave) - 1) >> octave, length)
        if low >= high:
            continue
        top = filtered[low]
        for t in range(low, high):
            top = max(top, filtered[t])
        snr = top * scale
        curve[f, trial] = max(curve[f, trial], snr)
        widths[f, w] = max(widths[f, w], snr)
        if snr > best[f]:
            best[f] = snr
            for t in range(low, high):
                if filtered[t] == top:
                    place[f, 0], place[f, 1] = trial, w
                    # A sample of a lower level stands for the middle of those it was made from.
                    place[f, 2] = (t << octave) + ((1 << octave) >> 1)
                    break
