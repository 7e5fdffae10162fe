"""The inner loops of the DM-time plane: sums of shifted channels, filters, highest values.

Each is written so that a compiler makes vector instructions of it: whole numbers of 8 and 16 bits, and
views in which every index starts from 0.
"""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath=True)
def all_subbands(data, shift, n_channels, first, subbands):  # pragma: no cover
    """Add the channels of each subband from a sample on; what lies beyond the data is 0."""
    for s in range(len(subbands)):
        low, high = s * n_channels, min((s + 1) * n_channels, len(shift))
        out = subbands[s]
        longest = 0
        for c in range(low, high):
            longest = max(longest, shift[c])
        inside = first >= 0 and first + longest + len(out) <= data.shape[1]
        out[:] = 0
        c = low
        while inside and c + 8 <= high:
            _add_eight(data, shift, c, first, out)
            c += 8
        for k in range(c, high):
            add_row(data[k], first + shift[k], out)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add_eight(data, shift, c, first, out):  # pragma: no cover
    """Add eight channels at once."""
    n = len(out)
    r0, r1 = data[c, first + shift[c] :][:n], data[c + 1, first + shift[c + 1] :][:n]
    r2, r3 = data[c + 2, first + shift[c + 2] :][:n], data[c + 3, first + shift[c + 3] :][:n]
    r4, r5 = data[c + 4, first + shift[c + 4] :][:n], data[c + 5, first + shift[c + 5] :][:n]
    r6, r7 = data[c + 6, first + shift[c + 6] :][:n], data[c + 7, first + shift[c + 7] :][:n]
    for t in range(n):
        out[t] += (r0[t] + r1[t] + r2[t] + r3[t]) + (r4[t] + r5[t] + r6[t] + r7[t])


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_row(row, first, out):  # pragma: no cover
    """Add a row, shifted so that its sample `first` comes first."""
    begin = max(0, -first)
    part = row[max(0, first) : max(0, first + len(out))]
    for t in range(len(part)):
        out[begin + t] += part[t]


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_subbands(subbands, shift, total, series):  # pragma: no cover
    """Add shifted subbands, eight at a time, as whole numbers, into single precision."""
    n_sub, n = len(subbands), len(series)
    total[:] = 0
    s = 0
    while s + 8 <= n_sub:
        r0, r1 = subbands[s, shift[s] :][:n], subbands[s + 1, shift[s + 1] :][:n]
        r2, r3 = subbands[s + 2, shift[s + 2] :][:n], subbands[s + 3, shift[s + 3] :][:n]
        r4, r5 = subbands[s + 4, shift[s + 4] :][:n], subbands[s + 5, shift[s + 5] :][:n]
        r6, r7 = subbands[s + 6, shift[s + 6] :][:n], subbands[s + 7, shift[s + 7] :][:n]
        for t in range(n):
            total[t] += (r0[t] + r1[t] + r2[t] + r3[t]) + (r4[t] + r5[t] + r6[t] + r7[t])
        s += 8
    while s < n_sub:
        row = subbands[s, shift[s] :][:n]
        for t in range(n):
            total[t] += row[t]
        s += 1
    for t in range(n):
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
    k0, k1, k2, k3, k4, k5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    # Shifted views: an index that may be negative would keep the loop from being vectorised.
    s0, s1, s2, s3, s4, s5 = series, series[1:], series[2:], series[3:], series[4:], series[5:]
    s6, s7, s8, s9, s10 = series[6:], series[7:], series[8:], series[9:], series[10:]
    to = out[5:]
    for t in range(len(series) - 10):
        near = k0 * s5[t] + k1 * (s4[t] + s6[t])
        middle = k2 * (s3[t] + s7[t]) + k3 * (s2[t] + s8[t])
        far = k4 * (s1[t] + s9[t]) + k5 * (s0[t] + s10[t])
        to[t] = near + middle + far


@numba.njit(cache=True, nogil=True, fastmath=True)
def tops_of_frames(filtered, halo, frame_spectra, octave, tops):  # pragma: no cover
    """Write the highest value of each frame; eight at a time, for one comparison waits for another."""
    for f in range(len(tops)):
        low = (halo + f * frame_spectra) >> octave
        # Filters may be longer than a frame.
        size = max(1, ((halo + (f + 1) * frame_spectra) >> octave) - low)
        values = filtered[low : low + size]
        a, b, c, d = values[0], values[0], values[0], values[0]
        e, g, h, i = a, b, c, d
        for n in range(size // 8):
            t = 8 * n
            a, b = max(a, values[t]), max(b, values[t + 1])
            c, d = max(c, values[t + 2]), max(d, values[t + 3])
            e, g = max(e, values[t + 4]), max(g, values[t + 5])
            h, i = max(h, values[t + 6]), max(i, values[t + 7])
        for t in range(size // 8 * 8, size):
            a = max(a, values[t])
        tops[f] = max(max(max(a, b), max(c, d)), max(max(e, g), max(h, i)))


@numba.njit(cache=True, nogil=True)
def sample_noise(filtered, noise, f, m, n_frames):  # pragma: no cover
    """Take values at equal steps, as many of each chunk as its share of the frames."""
    low, high = f * len(noise) // n_frames, (f + m) * len(noise) // n_frames
    for n in range(low, high):
        noise[n] = filtered[(n - low) * len(filtered) // (high - low)]
