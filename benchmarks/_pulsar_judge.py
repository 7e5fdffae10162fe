"""Can a classifier tell recorded frames from look-alikes? The test that a good look-alike fails.

A frame, normalised channel by channel, is described by some hundred numbers: how its channels' levels,
widths, tails and memory are distributed, what all channels do together, where in the band it is loud.
A logistic regression learns from them to tell the two kinds apart, and is judged on other times.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_SPECTRA = 64
N_SUBBANDS = 16
CELL_SPECTRA = 16
LOUD_SIGMA = 5.0
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# Each kind's frames are left out in so many runs of neighbours, and one frame on either side besides.
N_FOLDS = 8
# Strength of the penalty on weights: a few dozen frames say little about a hundred numbers.
RIDGE = 3.0
N_STEPS, LEAST_STEP = 30, 1e-6


def told(real: NDArray[Any], made: NDArray[Any], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how well recorded frames are told from made ones that a classifier has not seen.

    Args:
        real: A recording, shape (time, channel).
        made: Spectra made like another recording, shape (time, channel).
        place: The spectrum of that recording that each of them is like, shape (time,): frames that are
            near each other there, and so alike, are learnt from or tested together.

    Returns:
        Of each run of neighbours the chance that a recorded frame gets the higher score; 1/2 where
        they cannot be told.
    """
    recorded, when = _frames(real), np.arange(len(real) // FRAME_SPECTRA) * FRAME_SPECTRA
    imitated, where = _frames(made), place[: len(made) // FRAME_SPECTRA * FRAME_SPECTRA : FRAME_SPECTRA]
    areas = []
    for (start, stop), (first, end) in zip(
        *(pairwise(np.linspace(0, 1 + each.max(), N_FOLDS + 1)) for each in (when, where)), strict=True
    ):
        tested = (when >= start) & (when < stop), (where >= first) & (where < end)
        near = (when >= start - FRAME_SPECTRA) & (when < stop + FRAME_SPECTRA)
        close = (where >= first - FRAME_SPECTRA) & (where < end + FRAME_SPECTRA)
        score = _logistic(recorded[~near], imitated[~close])
        ours, theirs = score(recorded[tested[0]]), score(imitated[tested[1]])
        areas.append(np.mean((ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)))
    return np.array(areas)


def _frames(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the numbers that describe each frame, shape (frame, number)."""
    n = len(values) // FRAME_SPECTRA
    varies = values.std(axis=0, dtype=float) > 0
    frames = values[: n * FRAME_SPECTRA, varies].reshape(n, FRAME_SPECTRA, -1).astype(np.float32)
    return np.array([_described(frame) for frame in frames])


def _described(z: NDArray[np.float32]) -> list[float]:
    """Return a frame's numbers.

    All are of the frame normalised by itself: what is normalised with other frames makes these differ
    from it in the opposite direction, which a classifier tested on one frame of many would learn.
    """
    z = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-6)
    halves = np.stack([z[: len(z) // 2], z[len(z) // 2 :]])
    drift = halves[1].mean(axis=0) - halves[0].mean(axis=0)
    widening = np.log(np.maximum(halves.std(axis=1), 1e-3))
    cells = z[: len(z) // CELL_SPECTRA * CELL_SPECTRA].reshape(-1, CELL_SPECTRA, z.shape[1])
    by_channel = (
        np.abs(drift),
        np.abs(widening[1] - widening[0]),
        (z**3).mean(axis=0),
        (z**4).mean(axis=0),
        (z[1:] * z[:-1]).mean(axis=0),
        (z[4:] * z[:-4]).mean(axis=0),
        (z[:, 1:] * z[:, :-1]).mean(axis=0),
        z.max(axis=0),
        z.min(axis=0),
        cells.mean(axis=1).max(axis=0),
    )
    numbers = [value for each in by_channel for value in np.percentile(each, PERCENTILES)]
    loud = z > LOUD_SIGMA
    numbers += [np.log1p(loud.sum()), np.log1p((loud[1:] & ~loud[:-1]).sum())]
    total = z.sum(axis=1) / np.sqrt(z.shape[1])
    power = np.abs(np.fft.rfft(total)) ** 2 / len(total)
    for octave in range(int(np.log2(len(power)))):
        numbers.append(np.log(power[2**octave : 2 ** (octave + 1)].mean() + 1e-3))
    numbers.append(total.max())
    for band in np.array_split(np.arange(z.shape[1]), N_SUBBANDS):
        numbers.append(np.log((z[:, band] ** 4).mean()))
        numbers.append((z[1:, band] * z[:-1, band]).mean())
        numbers.append(np.log(z[:, band].sum(axis=1).std() + 1e-3))
    return [float(each) for each in numbers]


def _logistic(
    real: NDArray[np.float64], made: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the score of a ridge-penalised logistic regression; both kinds weigh the same.

    Fitted by Newton's method (Hastie, Tibshirani & Friedman 2009, section 4.4.1).
    """
    x = np.concatenate([real, made])
    y = np.repeat([1.0, 0.0], [len(real), len(made)])
    share = np.where(y > 0, 0.5 / len(real), 0.5 / len(made)) * len(real)
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)

    def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
        # Far outside what was seen a number may not outweigh all others.
        return np.append(((values - centre) / scale).clip(-6, 6), np.ones((len(values), 1)), axis=1)

    design = standardised(x)
    penalty = np.append(np.full(x.shape[1], RIDGE), 1e-6)
    weight = np.zeros(design.shape[1])
    for _ in range(N_STEPS):
        probability = 1 / (1 + np.exp(-(design @ weight).clip(-30, 30)))
        gradient = design.T @ (share * (y - probability)) - penalty * weight
        curved = design * (share * np.maximum(probability * (1 - probability), 1e-9))[:, None]
        step = np.linalg.solve(design.T @ curved + np.diag(penalty), gradient)
        weight += step
        if np.abs(step).max() < LEAST_STEP:
            break
    return lambda values: standardised(values) @ weight
