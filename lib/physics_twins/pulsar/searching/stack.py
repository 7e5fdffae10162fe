"""A pulse candidate cut out along its dispersion track: subbands by time, ready to be looked at."""

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.searching.dedispersion import delay_samples
from physics_twins.pulsar.searching.normalisation import UNIT

N_SUBBANDS = 32
N_BINS = 128
BINS_PER_WIDTH = 4  # bins of a stack are so much shorter than the filter that found the pulse

NOT_ZERO = 0.95  # share of noise that does not become 0 when it is rounded to 1/8 of its sigma


def cut_stack(
    data: NDArray[np.int8],
    good: NDArray[np.bool_],
    delay: NDArray[np.int32],
    *,
    sample: int,
    width: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a candidate's dedispersed subbands and how much of each is there.

    Args:
        data: Normalised spectra, 0 where removed, shape (channel, time).
        good: Channels that are used, shape (channel,).
        delay: Samples after the highest channel at the candidate's DM, shape (channel,).
        sample: Arrival at the highest channel; it lies at bin 64.
        width: Full width of the filter that found it, in samples.

    Returns:
        Sums with unit noise, shape (subband, bin) = (32, 128); and the share of samples that are
        neither removed nor outside the data in the bins of the pulse, shape (32,).
    """
    n_bin = max(1, round(width / BINS_PER_WIDTH))
    out = np.zeros((N_SUBBANDS, N_BINS), np.float32)
    present = np.zeros(N_SUBBANDS, np.float32)
    edges = np.linspace(0, len(good), N_SUBBANDS + 1).astype(np.int64)
    first = sample - N_BINS // 2 * n_bin - n_bin // 2
    _cut(data, good, delay, edges, first, n_bin, out, present)
    return out, present


def track(frequency_mhz: NDArray[np.float64], dm_pc_cm3: float, sampling_s: float) -> NDArray[np.int32]:
    """Return the delay of each channel in samples, shape (channel,)."""
    return delay_samples(frequency_mhz, np.array([dm_pc_cm3]), sampling_s)[0]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _cut(data, good, delay, edges, first, n_bin, out, present):  # pragma: no cover
    n_time, n_bins = data.shape[1], out.shape[1]
    n_all = n_bins * n_bin
    low, high = (n_bins // 2 - BINS_PER_WIDTH) * n_bin, (n_bins // 2 + BINS_PER_WIDTH) * n_bin
    total = np.empty(n_all, np.int32)
    for s in range(len(edges) - 1):
        n_there, n_asked, n_good = 0, 0, 0
        total[:] = 0
        for c in range(edges[s], edges[s + 1]):
            n_asked += high - low
            if not good[c]:
                continue
            n_good += 1
            begin = first + delay[c]
            after = min(max(0, -begin), n_all)
            row = data[c, min(max(0, begin), n_time) : min(n_time, max(0, begin + n_all))]
            to = total[after : after + len(row)]
            for t in range(len(row)):
                to[t] += row[t]
            for t in range(max(0, low - after), min(len(row), high - after)):
                n_there += row[t] != 0
        scale = np.float32(1 / (UNIT * np.sqrt(max(1, n_good * n_bin))))
        for b in range(n_bins):
            value = 0
            for t in range(b * n_bin, (b + 1) * n_bin):
                value += total[t]
            out[s, b] = value * scale
        present[s] = min(1.0, n_there / max(1.0, n_asked * NOT_ZERO))
