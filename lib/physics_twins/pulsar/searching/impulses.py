"""Impulses that reach the whole band in the same instant: lightning, ignition, switching.

The statistic is the median over subbands: an impulse is in all of them at a time, a transmitter in one
or two. So is a dispersed pulse, unless it crosses the band within the window: what a dispersion that is
sought explains better than none is no impulse, however bright.
"""

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.searching.cells import UNIT

N_SUBBANDS = 16
WIDTHS = (1, 4, 16, 64)  # samples
IMPULSE_SIGMA = 6.0
# The sum over the band must be so high before the median over subbands is looked at.
GATE_SIGMA = 4.0
N_NOISE_VALUES = 512
# A dispersed pulse with a longer sweep, in samples, is in less than half of the subbands at a time.
LONGEST_SWEEP = 4 * WIDTHS[-1]
LONGEST_BOXCAR = 2 * WIDTHS[-1]
SWEEP_STEP = 1.25  # from one sweep that is tried to the next
# A pulse must be so much stronger along a dispersed track than in one instant; noise makes a tenth.
DISPERSED_GAIN = 1.1


@dataclass(frozen=True)
class Impulses:
    """Impulses in a block of spectra.

    Attributes:
        subbands: Sum of the channels of each subband, unit noise, shape (subband, time).
        common: S/N of the median over subbands, for each frame the highest, shape (frame, width).
        total: S/N of the sum over the band, for each frame the highest, shape (frame, width).
        removed: Spectra taken for impulses, shape (time,).
    """

    subbands: NDArray[np.float32]
    common: NDArray[np.float32]
    total: NDArray[np.float32]
    removed: NDArray[np.bool_]


def find_impulses(
    data: NDArray[np.int8],
    bad_channel: NDArray[np.bool_],
    *,
    delays: NDArray[np.float64],
    start: int,
    n_frames: int,
    frame_spectra: int,
) -> Impulses:
    """Return the impulses of a block.

    Args:
        data: Normalised spectra, 0 where removed, shape (channel, time).
        bad_channel: Channels that are removed, shape (channel,).
        delays: Of each channel at the highest DM that is sought, in samples; zeros where none is.
        start: Sample at which the first frame begins.
        n_frames: Frames.
        frame_spectra: Spectra in a frame.
    """
    good = np.flatnonzero(~bad_channel)
    removed = np.zeros(data.shape[1], np.bool_)
    common = np.zeros((n_frames, len(WIDTHS)), np.float32)
    total = np.zeros((n_frames, len(WIDTHS)), np.float32)
    subbands = np.zeros((N_SUBBANDS, data.shape[1]), np.float32)
    if len(good) < N_SUBBANDS // 2:
        return Impulses(subbands, common, total, removed)
    edges = np.linspace(0, len(good), N_SUBBANDS + 1).astype(np.int64)
    for out, (low, high) in zip(subbands, pairwise(edges), strict=True):
        scale = 1 / (UNIT * np.sqrt(max(1, high - low)))
        out[:] = data[good[low:high]].sum(axis=0, dtype=np.int32) * np.float32(scale)
    summed = subbands.sum(axis=0, dtype=np.float32)
    later = np.add.reduceat(delays[good], edges[:-1]) / np.maximum(np.diff(edges), 1)
    later = (later - later.min()).astype(np.float32)
    for n, width in enumerate(WIDTHS):
        if width < data.shape[1]:
            found = common[:, n], total[:, n]
            _search(subbands, summed, later, width, removed, *found, start, frame_spectra)
    return Impulses(subbands, common, total, removed)


def drift_of(delays: NDArray[np.float64]) -> float:
    """Return by how many samples a pulse comes later in a channel than in its neighbour, at most."""
    return float(np.abs(np.diff(delays)).max(initial=0.0))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _search(
    subbands, summed, later, width, removed, common, total, start, frame_spectra
):  # pragma: no cover
    """Find impulses of one width: boxcars over the sum, and where it is high over subbands."""
    n_time = subbands.shape[1]
    boxes = np.empty(n_time - width + 1, np.float32)
    scale = np.float32(1 / np.sqrt(width))
    # What a narrower boxcar has removed no longer counts, else a strong impulse would take a wide
    # boxcar's reach around it along.
    gone = removed.copy()
    zero = np.float32(0)
    running = np.float64(0)
    for t in range(width - 1):
        running += zero if gone[t] else summed[t]
    for t in range(len(boxes)):
        last = t + width - 1
        running += zero if gone[last] else summed[last]
        boxes[t] = running * scale
        running -= zero if gone[t] else summed[t]
    sigma = _quartile_sigma(boxes)
    step = max(1, len(boxes) // N_NOISE_VALUES)
    medians = np.empty(len(boxes) // step, np.float32)
    each = np.empty(len(subbands), np.float32)
    for n in range(len(medians)):
        medians[n] = _median(subbands, gone, n * step, width, each)
    # The median itself may be shifted by a slow common variation.
    middle, sigma_median = np.median(medians), _quartile_sigma(medians)
    reach = width // 2 + 1
    for f in range(len(total)):
        low = max(0, start + f * frame_spectra - width // 2)
        for t in range(low, min(len(boxes), start + (f + 1) * frame_spectra - width // 2)):
            total[f] = max(total[f], boxes[t] / sigma)
    gate = np.float32(GATE_SIGMA) * sigma
    heights = np.zeros(len(boxes), np.float32)
    for t in range(len(boxes)):
        if abs(boxes[t]) >= gate:
            heights[t] = (_median(subbands, gone, t, width, each) - middle) / sigma_median
    begin = 0
    while begin < len(boxes):
        end = begin + 1
        if abs(heights[begin]) > IMPULSE_SIGMA:
            # One event: as long as windows that overlap are high.
            top, last = begin, begin
            while end < len(boxes) and end - last <= width:
                if abs(heights[end]) > IMPULSE_SIGMA:
                    last = end
                    if heights[end] > heights[top]:
                        top = end
                end += 1
            end = last + 1
            if heights[top] > 0 and _is_dispersed(subbands, gone, later, begin, last, width):
                heights[begin:end] = 0
        for t in range(begin, end):
            f = (t + width // 2 - start) // frame_spectra
            if 0 <= f < len(common) and heights[t] > common[f]:
                common[f] = heights[t]
            if abs(heights[t]) > IMPULSE_SIGMA:
                removed[max(0, t - reach) : min(n_time, t + width + reach)] = True
        begin = end


@numba.njit(cache=True, nogil=True)
def _is_dispersed(subbands, gone, later, begin, last, width):  # pragma: no cover
    """Return whether a pulse along some dispersed track is stronger here than one in an instant."""
    n_subbands, n_time = subbands.shape
    whole = later.max()
    longest = min(whole, np.float32(LONGEST_SWEEP + last - begin))
    if longest < 1:
        return False
    high = min(n_time, last + width + LONGEST_BOXCAR)
    at_once, dispersed = np.float32(0), np.float32(0)
    sweep = np.float32(0)
    while sweep <= longest:
        # A track that is in these samples somewhere in the band.
        low = max(0, begin - np.int64(sweep) - LONGEST_BOXCAR)
        series = np.zeros(high - low + 1, np.float32)
        for k in range(n_subbands):
            shift = np.int64(np.round(later[k] / whole * sweep))
            for t in range(low, min(high, n_time - shift)):
                if not gone[t + shift]:
                    series[t - low + 1] += subbands[k, t + shift]
        best = _best_boxcar(series, LONGEST_BOXCAR)
        if sweep == 0:
            at_once, sweep = best, np.float32(1)
        else:
            dispersed = max(dispersed, best)
        sweep = max(sweep + 1, sweep * np.float32(SWEEP_STEP))
    return dispersed > np.float32(DISPERSED_GAIN) * at_once


@numba.njit(cache=True, nogil=True)
def _best_boxcar(series, longest):  # pragma: no cover
    """Return the best boxcar of up to so many samples: sum over root; uses the series up."""
    for t in range(1, len(series)):
        series[t] += series[t - 1]
    best = np.float32(0)
    length = 1
    while length <= longest:
        for t in range(length, len(series)):
            best = max(best, (series[t] - series[t - length]) / np.sqrt(np.float32(length)))
        length *= 2
    return best


@numba.njit(cache=True, nogil=True)
def _median(subbands, gone, t, width, each):  # pragma: no cover
    """Return the median over subbands of their mean over some samples, scaled to unit noise."""
    for s in range(len(subbands)):
        total = np.float32(0)
        for k in range(t, t + width):
            if not gone[k]:
                total += subbands[s, k]
        each[s] = total
    return np.median(each) / np.float32(np.sqrt(width))


@numba.njit(cache=True, nogil=True)
def _quartile_sigma(values):  # pragma: no cover
    """Return the standard deviation by the quartiles of a sample of the values."""
    step = max(1, len(values) // N_NOISE_VALUES)
    some = np.sort(values[::step])
    n = len(some)
    return np.float32(max((some[(3 * n) // 4] - some[n // 4]) / 1.34898, 1e-6))
