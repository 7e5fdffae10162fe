"""The plane of DM and time of a block of spectra, filtered by pulses of several widths.

Dedispersion goes in two steps (Magro et al. 2011, MNRAS 417, 2642): channels are added into subbands at
few DMs, subbands at all. Every series is filtered by Gaussians of 4, 8, 16, ... samples full width at
half maximum, and of 2 where pulses can be so narrow, so that a pulse in between loses at most 3 % of
its S/N. Of the plane only the highest point of each frame is kept, for every DM. The inner loops are
written so that a compiler makes vector instructions of them: whole numbers of 8 and 16 bits, and
views in which every index starts from 0.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, dispersion_delay
from physics_twins.pulsar.searching.cells import UNIT

# Between its own DM and the next nominal one a subband may be smeared by so much of what a channel is
# smeared anyway, if that is more than a sample or so. A filter narrower than half of that is left out.
SHARE_OF_SMEARING = 0.25
CHANNELS_PER_SUBBAND = (4, 8, 16, 32)
# Full widths of the two filters that work on every sample; each wider one halves the sampling.
NARROW_SAMPLES, WIDE_SAMPLES = 2.0, 4.0
FILTER_REACH_SIGMA = 2.6
FILTER_HALF = 6  # values of a filter from its middle on
HALO = 8  # samples at the coarsest level that a chunk has on both sides
# Time is worked through in chunks of so many samples, or halos: subbands of 16 bits then stay in the
# cache, and little is filtered twice.
CHUNK, CHUNK_HALOS = 4096, 4
# Values of each filtered series from which the noise is estimated, at so many DMs; between them noise
# goes smoothly. Red noise is worse the lower the DM.
N_NOISE_VALUES = 2048
N_NOISE_TRIALS = 32
# What is so far above the middle is no noise.
PULSE_SIGMA = 3.5
SIGMA_PER_MAD = 1.4826  # standard deviation of a Gaussian over its median absolute deviation
# White noise counts as much as values over so many widths: sixty boxcars' lengths.
N_WHITE = 71


@dataclass(frozen=True)
class Plan:
    """How channels are shifted for each DM.

    Attributes:
        trials: DM trials in pc cm-3, shape (dm,).
        nominal: Which nominal DM's subbands a trial adds, ascending, shape (dm,).
        inside: Shift of each channel in samples, shape (nominal, channel).
        between: What each subband is shifted more, shape (dm, subband).
        n_channels: Channels in a subband; the last may have fewer.
        widths: Full widths of the filters in samples, ascending, shape (width,).
        narrowest: Number of the first filter that is used, shape (dm,).
        reach: Samples after a pulse's arrival at the highest channel until it has crossed the band.
    """

    trials: NDArray[np.float64]
    nominal: NDArray[np.int32]
    inside: NDArray[np.int32]
    between: NDArray[np.int32]
    n_channels: int
    widths: NDArray[np.float32]
    narrowest: NDArray[np.int64]
    reach: int

    @property
    def has_narrow(self) -> bool:
        """Whether the first filter is the narrow one; the others begin at full sampling, too."""
        return bool(self.widths[0] < WIDE_SAMPLES)

    @property
    def halo(self) -> int:
        """Samples on both sides of a frame that its widest filter needs."""
        return HALO << max(0, len(self.widths) - 1 - self.has_narrow)


@dataclass(frozen=True)
class Peaks:
    """The highest point of each frame of a DM-time plane.

    Attributes:
        curve: S/N at the best time and width for each DM, shape (frame, dm).
        widths: S/N at the best time and DM for each width, shape (frame, width).
        trial: DM trial of the highest point, shape (frame,).
        width: Its filter's full width in samples, shape (frame,).
        sample: Its time in samples from the start of the data, shape (frame,); not a number where
            the highest point is too low to be looked for.
    """

    curve: NDArray[np.float32]
    widths: NDArray[np.float32]
    trial: NDArray[np.int32]
    width: NDArray[np.float32]
    sample: NDArray[np.float64]

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
    smearing_s: NDArray[np.float64] | None = None,
    subband_smear: float = 1.0,
) -> Plan:
    """Return the cheapest plan among subbands of 4 to 32 channels.

    Args:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        trials: DM trials in pc cm-3, ascending, shape (dm,).
        sampling_s: Time from one spectrum to the next.
        width_min_s: Full width at half maximum of the narrowest pulse that is sought, as received.
        width_max_s: That of the widest.
        smearing_s: By how much a pulse is smeared inside a channel at each trial, shape (dm,): what is
            narrower is not sought. By default it is.
        subband_smear: By so many samples a subband may be smeared at least.
    """
    n_octaves = 1 + max(0, int(np.log2(max(width_max_s / sampling_s, 1) / WIDE_SAMPLES) + 0.5))
    widths = WIDE_SAMPLES * 2.0 ** np.arange(n_octaves)
    if width_min_s / sampling_s < np.sqrt(NARROW_SAMPLES * WIDE_SAMPLES):
        widths = np.concatenate([[NARROW_SAMPLES], widths])
    widths = widths.astype(np.float32)
    smearing = np.zeros(len(trials)) if smearing_s is None else smearing_s / sampling_s
    allowed = np.maximum(subband_smear, SHARE_OF_SMEARING * smearing)
    narrowest = np.searchsorted(2 * widths[:-1], smearing)
    delay = dispersion_delay(frequency_mhz, 1.0, reference_mhz=frequency_mhz[0]) / sampling_s
    sizes = [n for n in CHANNELS_PER_SUBBAND if n <= len(delay)] or [1]
    nominal = [_nominal(delay, trials, n, allowed) for n in sizes]
    additions = [
        (which[-1] + 1) * len(delay) + len(trials) * -(-len(delay) // n)
        for n, which in zip(sizes, nominal, strict=True)
    ]
    best = int(np.argmin(additions))
    return _plan(delay, trials, nominal[best], sizes[best], widths, narrowest)


def _nominal(
    delay: NDArray[np.float64],
    trials: NDArray[np.float64],
    n_channels: int,
    allowed: NDArray[np.float64],
) -> NDArray[np.int32]:
    """Return which nominal DM each trial uses, so close that no subband is smeared too much."""
    first, last = _ends(len(delay), n_channels)
    smear = float(np.max(delay[last] - delay[first]))  # samples for a DM of 1
    step = 2 * allowed / max(smear, 1e-9)
    which = np.cumsum(np.diff(trials, prepend=trials[0]) / step)
    return np.unique(np.floor(which), return_inverse=True)[1].astype(np.int32)


def _ends(n: int, n_channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last channel of each subband."""
    first = np.arange(0, n, n_channels)
    return first, np.minimum(first + n_channels, n) - 1


def _plan(
    delay: NDArray[np.float64],
    trials: NDArray[np.float64],
    nominal: NDArray[np.int32],
    n_channels: int,
    widths: NDArray[np.float32],
    narrowest: NDArray[np.int64],
) -> Plan:
    first, last = _ends(len(delay), n_channels)
    size = last - first + 1
    begins = np.searchsorted(nominal, np.arange(nominal[-1] + 1))
    nominal_dm = np.add.reduceat(trials, begins) / np.diff([*begins, len(trials)])
    from_first = delay - np.repeat(delay[first], size)
    inside = np.rint(np.outer(nominal_dm, from_first)).astype(np.int32)
    # A subband is shifted by what its channels still lack on average.
    between = np.outer(trials, np.add.reduceat(delay, first) / size)
    between -= (np.add.reduceat(inside, first, axis=1) / size)[nominal]
    between = np.maximum(np.rint(between), 0).astype(np.int32)
    # What all trials of a nominal DM share, its channels are shifted by at once.
    shared = np.minimum.reduceat(between, begins, axis=0)
    between -= shared[nominal]
    inside += np.repeat(shared, size, axis=1)
    reach = int(max(np.max(i) + np.max(between[nominal == n]) for n, i in enumerate(inside))) + 1
    return Plan(trials, nominal, inside, between, n_channels, widths, narrowest, reach)


def frame_peaks(
    data: NDArray[np.int8],
    plan: Plan,
    *,
    good: NDArray[np.bool_],
    n_time: int,
    start: int,
    n_frames: int,
    frame_spectra: int,
    located_snr: float = -np.inf,
) -> Peaks:
    """Return the highest point of each frame over all DMs, times and widths.

    Where a track leaves the data at their end, the channels that remain count, down to a quarter.

    Args:
        data: From `cells.normalise_into`, shape (channel, time).
        plan: From `make_plan`.
        good: Channels that are not removed, shape (channel,).
        n_time: Spectra in the data.
        start: Sample at which the first frame begins.
        n_frames: Frames.
        frame_spectra: Spectra in a frame.
        located_snr: The time of highest points at or above this S/N is told.
    """
    n_dm, n_widths, halo = len(plan.trials), len(plan.widths), plan.halo
    some = np.unique(np.geomspace(1, n_dm, N_NOISE_TRIALS).astype(np.int32)) - 1
    noise = np.zeros((len(some), n_widths, N_NOISE_VALUES), np.float32)
    tops = np.zeros((n_frames, n_dm, n_widths), np.float32)
    shifts = (plan.nominal, plan.inside, plan.between, plan.n_channels)
    filters = (*_filters(), plan.has_narrow)
    per_chunk = max(1, min(n_frames, max(CHUNK, CHUNK_HALOS * halo) // frame_spectra))
    total = np.zeros(per_chunk * frame_spectra + 2 * halo, _whole_numbers(plan))
    _scan(
        data, *shifts, good, n_time, *filters, n_widths, plan.narrowest, start, frame_spectra, n_frames,
        halo, total, tops, some, noise,
    )  # fmt: skip
    white = UNIT * np.sqrt(max(1, good.sum()))
    _in_sigma(tops, noise, some, plan.widths, n_frames * frame_spectra, white)
    curve, widths = tops.max(axis=2), tops.max(axis=1)
    trial, width = curve.argmax(axis=1).astype(np.int32), widths.argmax(axis=1).astype(np.int32)
    sample = np.full(n_frames, np.nan)
    high = np.flatnonzero(curve.max(axis=1) >= located_snr)
    _locate(data, *shifts, *filters, start, frame_spectra, halo, total, trial, width, high, sample)
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


def _in_sigma(
    tops: NDArray[np.float32],
    noise: NDArray[np.float32],
    some: NDArray[np.int32],
    widths: NDArray[np.float32],
    n_time: int,
    white: float,
) -> None:
    """Bring filtered series of every DM and width to standard deviations of their noise, in place.

    Args:
        tops: Highest values, shape (frame, dm, width).
        noise: Values of the series of some DMs, 0 where nothing was recorded, (some, width, value).
        some: These DMs' numbers.
        widths: Of the filters in samples.
        n_time: Samples that the noise was taken from.
        white: What all filters make of white noise alone.
    """
    n_there = (noise != 0).mean(axis=2) * n_time
    middle, sigma = np.zeros(n_there.shape, np.float32), np.ones(n_there.shape, np.float32)
    _quiet_noise(noise, middle, sigma)
    # Of few independent values the scatter says little: what narrower filters see has a say, too.
    share = n_there / (n_there + N_WHITE * widths)
    narrow = np.sqrt(share[:, :1] * sigma[:, :1] ** 2 + (1 - share[:, :1]) * white**2)
    sigma = np.sqrt(share * sigma**2 + (1 - share) * narrow**2)
    fits = n_there >= 2 * widths
    every = np.arange(tops.shape[1])
    for w in range(len(widths)):
        tops[:, :, w] -= np.interp(every, some, middle[:, w])
        tops[:, :, w] /= np.interp(every, some, sigma[:, w])
        tops[:, np.interp(every, some, fits[:, w]) < 1, w] = 0


@numba.njit(cache=True, nogil=True)
def _quiet_noise(noise, middle, sigma):  # pragma: no cover
    """Write middle and standard deviation of series without what a pulse lifts, shape (dm, width)."""
    for n in range(noise.shape[0]):
        for w in range(noise.shape[1]):
            values = noise[n, w][noise[n, w] != 0]
            for _ in range(2):
                if len(values) < 2:
                    break
                middle[n, w] = np.median(values)
                spread = SIGMA_PER_MAD * np.median(np.abs(values - middle[n, w]))
                sigma[n, w] = max(spread, 1e-6)
                values = values[values < middle[n, w] + PULSE_SIGMA * sigma[n, w]]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scan(
    data, nominal, inside, between, n_channels, good, n_time, narrow, wide, has_narrow, n_widths,
    narrowest, start, frame_spectra, n_frames, halo, total, tops, some, noise,
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
            only_there(series, inside[ready], between[trial], n_channels, good, n_time - first)
            for w in range(n_widths):
                octave = max(0, w - 1) if has_narrow else w
                length = len(series) >> octave
                if octave > 0:
                    halve(series, length)
                if w < narrowest[trial]:
                    continue
                filter_by(series[:length], narrow if has_narrow and w == 0 else wide, filtered)
                tops_of_frames(filtered, halo, frame_spectra, octave, tops[f : f + m, trial, w])
                for n in range(len(some)):
                    if some[n] == trial:
                        last = (halo + m * frame_spectra) >> octave
                        sample_noise(filtered[halo >> octave : last + 1], noise[n, w], f, m, n_frames)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _locate(
    data, nominal, inside, between, n_channels, narrow, wide, has_narrow, start, frame_spectra, halo,
    total, trial, width, high, sample,
):  # fmt: skip  # pragma: no cover
    """Look again at the best trial and width of some frames, and find when the highest point is."""
    n = frame_spectra + 2 * halo
    series, filtered = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for f in high:
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
        sample[f] = first + (at << octave) + 0.5 * ((1 << octave) - 1)


@numba.njit(cache=True, nogil=True, fastmath=True)
def all_subbands(data, shift, n_channels, first, subbands):  # pragma: no cover
    """Add the channels of each subband from a sample on; what lies beyond the data is 0."""
    subbands[:] = 0
    for c in range(len(shift)):
        add_row(data[c], first + shift[c], subbands[c // n_channels])


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_row(row, first, out):  # pragma: no cover
    """Add a row, shifted so that its sample `first` comes first."""
    begin = max(0, -first)
    part = row[max(0, first) : max(0, first + len(out))]
    for t in range(len(part)):
        out[begin + t] += part[t]


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_subbands(subbands, shift, total, series):  # pragma: no cover
    """Add shifted subbands as whole numbers, into single precision."""
    total[:] = 0
    for s in range(len(subbands)):
        row = subbands[s, shift[s] :][: len(total)]
        for t in range(len(row)):
            total[t] += row[t]
    for t in range(len(series)):
        series[t] = np.float32(total[t])


@numba.njit(cache=True, nogil=True, fastmath=True)
def only_there(series, inside, between, n_channels, good, n_time):  # pragma: no cover
    """Bring sums of fewer channels, where a track leaves the data, to the noise of all of them.

    Where fewer than a quarter remain the series becomes 0.
    """
    longest = np.int64(0)
    for c in range(len(good)):
        longest = max(longest, inside[c] + between[c // n_channels])
    if len(series) + longest <= n_time:
        return
    leaves = np.zeros(len(series) + 1, np.int32)
    n_good = 0
    for c in range(len(good)):
        if good[c]:
            n_good += 1
            last = n_time - inside[c] - between[c // n_channels]
            leaves[min(max(last, 0), len(series))] += 1
    there = n_good
    for t in range(len(series)):
        there -= leaves[t]
        if there < n_good:
            few = 4 * there < n_good
            series[t] *= np.float32(0) if few else np.float32(np.sqrt(n_good / there))


@numba.njit(cache=True, nogil=True, fastmath=True)
def halve(series, length):  # pragma: no cover
    """Add neighbours in place so that the standard deviation of white noise stays."""
    for t in range(length):
        series[t] = (series[2 * t] + series[2 * t + 1]) * np.float32(0.70710678)


@numba.njit(cache=True, nogil=True, fastmath=True)
def filter_by(series, taps, out):  # pragma: no cover
    """Filter by a symmetric kernel of 11 values; near the ends nothing is written."""
    n = len(series) - 10
    to, middle = out[5 : n + 5], series[5 : n + 5]
    for t in range(n):
        to[t] = taps[0] * middle[t]
    for k in range(1, 6):
        before, after = series[5 - k :], series[5 + k :]
        for t in range(n):
            to[t] += taps[k] * (before[t] + after[t])


@numba.njit(cache=True, nogil=True, fastmath=True)
def tops_of_frames(filtered, halo, frame_spectra, octave, tops):  # pragma: no cover
    """Write the highest value of each frame."""
    for f in range(len(tops)):
        low = (halo + f * frame_spectra) >> octave
        # Filters may be longer than a frame.
        high = max(low + 1, (halo + (f + 1) * frame_spectra) >> octave)
        top = filtered[low]
        for t in range(low, high):
            top = max(top, filtered[t])
        tops[f] = top


@numba.njit(cache=True, nogil=True)
def sample_noise(filtered, noise, f, m, n_frames):  # pragma: no cover
    """Take values at equal steps, as many of each chunk as its share of the frames."""
    low, high = f * len(noise) // n_frames, (f + m) * len(noise) // n_frames
    for n in range(low, high):
        noise[n] = filtered[(n - low) * len(filtered) // (high - low)]
