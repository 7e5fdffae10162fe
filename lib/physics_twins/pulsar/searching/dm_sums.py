"""The inner loops of the DM-time plane: sums of shifted channels, filters, highest values.

Each is written so that a compiler makes vector instructions of it: whole numbers of 8 and 16 bits, and
views in which every index starts from 0.
"""

import numba
import numpy as np


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
