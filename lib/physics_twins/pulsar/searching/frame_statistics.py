"""Numbers and pictures of each frame in which narrow-band and broad-band interference show."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.searching.cells import CELL, Cells
from physics_twins.pulsar.searching.impulses import Impulses

# Boxes in which narrow-band power is added: cells by channels.
BOX_CELLS = (1, 4, 16)
BOX_CHANNELS = (1, 2, 4)
# Cells of an impulse, whose mean over the band is so high, say nothing about single channels: its
# spectrum is not flat.
COMMON_HIGH = 0.4
NAMES = (
    *(f"box_{cells}x{channels}" for cells in BOX_CELLS for channels in BOX_CHANNELS),
    *(f"rough_{channels}" for channels in BOX_CHANNELS),
    "roughest",
    "lowest",
    "constant_fraction",
    "removed_fraction",
    "common_mean",
    "common_highest",
    "common_lowest",
    "scatter",
)
PICTURE_CHANNELS = 64
PICTURE_TIMES = 64


def cell_statistics(cells: Cells, start: int, n_frames: int, frame_spectra: int) -> NDArray[np.float32]:
    """Return for each frame what its cells show, shape (frame, statistic), named by `NAMES`.

    `box_...`: the highest sum over so many cells by channels, in standard deviations. `rough_...`: the
    highest variance of so many channels over the frame, likewise; `roughest`: that of a single cell.
    `lowest`: the lowest single cell. `constant_fraction`: cells without any noise.
    `removed_fraction`: cells taken for interference. `common_...`: the mean over all channels, which a
    change of gain moves. `scatter`: standard deviation of all cells.
    """
    out = np.zeros((n_frames, len(NAMES)), np.float32)
    # The mean over the good channels of each cell, each cut at 3 sigma.
    common = cells.excess[:, ~cells.bad_channel].clip(-3, 3).sum(axis=1)
    common /= max(1, np.count_nonzero(~cells.bad_channel))
    per_frame = frame_spectra // CELL
    _statistics(
        cells.excess, cells.roughness, cells.removed, cells.bad_channel, common,
        start // CELL, per_frame, out,
    )  # fmt: skip
    return out


def cell_picture(cells: Cells, start: int, frame_spectra: int) -> NDArray[np.float32]:
    """Return the cells of one frame as two pictures, shape (2, 16, 64): highest and mean.

    Neighbouring channels share a pixel so that every band gives 64, and so do cells, which give 16;
    the mean is scaled to unit noise.
    """
    first, n = start // CELL, frame_spectra // CELL
    part = cells.excess[first : first + n]
    rows, columns = _edges(len(part), 16), _edges(part.shape[1], PICTURE_CHANNELS)
    out = np.zeros((2, 16, PICTURE_CHANNELS), np.float32)
    _picture(part, cells.bad_channel, rows, columns, out[0], out[1])
    return out


@cache
def _edges(n: int, n_parts: int) -> NDArray[np.int64]:
    """Return where parts of nearly equal length begin, and where the last ends."""
    return np.linspace(0, n, n_parts + 1).astype(np.int64)


def impulse_picture(impulses: Impulses, start: int, frame_spectra: int) -> NDArray[np.float32]:
    """Return the subbands' sums in one frame, shape (16, 64), with unit noise."""
    part = impulses.subbands[:, start : start + frame_spectra]
    n = max(1, frame_spectra // PICTURE_TIMES)
    part = part[:, : part.shape[1] // n * n].reshape(len(part), -1, n).sum(axis=2) / np.sqrt(n)
    out = np.zeros((len(part), PICTURE_TIMES), np.float32)
    out[:, : part.shape[1]] = part[:, :PICTURE_TIMES]
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _statistics(excess, rough, removed, bad, common, first, per_frame, out):  # pragma: no cover
    n_channels = excess.shape[1]
    n_box, n_before = len(BOX_CELLS) * len(BOX_CHANNELS), (len(BOX_CELLS) + 1) * len(BOX_CHANNELS)
    total = np.empty(n_channels + 4, np.float32)
    tops = np.empty((3, n_channels), np.float32)
    for f in range(len(out)):
        begin = min(first + f * per_frame, len(excess))
        end = min(begin + per_frame, len(excess))
        if begin == end:
            continue
        for i in range(len(BOX_CELLS)):
            length = BOX_CELLS[i]
            tops[:] = 0
            for n in range(begin, end, max(1, length // 2)):
                stop = min(n + length, end)
                total[:] = 0
                n_added = 0
                for k in range(n, stop):
                    if abs(common[k]) < COMMON_HIGH:
                        n_added += 1
                        for c in range(n_channels):
                            total[c] += excess[k, c] - common[k]
                _scale(total, bad, n_added)
                _highest_boxes(total, n_channels, tops)
            for k in range(3):
                out[f, 3 * i + k] = tops[k].max()
        total[:] = 0
        n_added = 0
        for n in range(begin, end):
            if abs(common[n]) < COMMON_HIGH:
                n_added += 1
                for c in range(n_channels):
                    total[c] += rough[n, c]
        _scale(total, bad, n_added)
        tops[:] = 0
        _highest_boxes(total, n_channels, tops)
        for k in range(3):
            out[f, n_box + k] = tops[k].max()
        roughest, lowest, square = np.float32(0), np.float32(0), np.float32(0)
        n_constant, n_removed, n_good = 0, 0, 0
        constant = np.float32(-0.999 * np.sqrt((CELL - 1) / 2))
        for n in range(begin, end):
            for c in range(n_channels):
                if not bad[c]:
                    if abs(common[n]) < COMMON_HIGH:
                        roughest = max(roughest, rough[n, c])
                    lowest = min(lowest, excess[n, c])
                    square += excess[n, c] * excess[n, c]
                    n_constant += rough[n, c] < constant
                    n_removed += removed[n, c]
                    n_good += 1
        top, bottom, mean = common[begin], common[begin], np.float32(0)
        for n in range(begin, end):
            top, bottom = max(top, common[n]), min(bottom, common[n])
            mean += common[n]
        n_good = max(1, n_good)
        out[f, n_before] = roughest
        out[f, n_before + 1] = lowest
        out[f, n_before + 2] = n_constant / n_good
        out[f, n_before + 3] = n_removed / n_good
        out[f, n_before + 4] = mean / (end - begin)
        out[f, n_before + 5] = top
        out[f, n_before + 6] = bottom
        out[f, n_before + 7] = np.sqrt(square / n_good)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scale(total, bad, n_added):  # pragma: no cover
    """Bring sums of so many cells to unit noise."""
    scale = np.float32(1 / np.sqrt(max(1, n_added)))
    for c in range(len(bad)):
        total[c] = np.float32(0) if bad[c] else total[c] * scale


@numba.njit(cache=True, nogil=True, fastmath=True)
def _highest_boxes(total, n_channels, tops):  # pragma: no cover
    """Keep for each channel the highest sum over 1, 2 and 4 neighbours."""
    root2 = np.float32(np.sqrt(0.5))
    one, two, four = tops[0], tops[1], tops[2]
    for c in range(n_channels):
        first, pair = total[c], total[c] + total[c + 1]
        quad = (pair + (total[c + 2] + total[c + 3])) * np.float32(0.5)
        pair = pair * root2
        one[c], two[c], four[c] = max(one[c], first), max(two[c], pair), max(four[c], quad)


@numba.njit(cache=True, nogil=True)
def _picture(part, bad, rows, columns, highest, mean):  # pragma: no cover
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            top, total, count = np.float32(0), np.float32(0), 0
            for n in range(rows[i], max(rows[i + 1], rows[i] + 1)):
                for c in range(columns[j], max(columns[j + 1], columns[j] + 1)):
                    if n < len(part) and c < part.shape[1]:
                        value = np.float32(0) if bad[c] else part[n, c]
                        top = max(top, value)
                        total += value
                        count += 1
            highest[i, j] = top
            mean[i, j] = total / np.sqrt(max(1, count))
