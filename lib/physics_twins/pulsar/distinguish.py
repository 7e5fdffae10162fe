"""Can a classifier tell recorded frames from look-alikes? The test that a good look-alike fails.

A frame, normalised channel by channel, is described by some hundred numbers: how its channels' levels,
widths, tails and memory are distributed, what all channels do together, where in the band it is loud.
A logistic regression learns from them to tell the two kinds apart, and is judged on other times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.realism import normalised
from physics_twins.pulsar.searching.missing import finite

FRAME_SPECTRA = 256
N_SUBBANDS = 16
CELL_SPECTRA = 16
LOUD_SIGMA = 5.0
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# Recorded frames are left out in so many runs of neighbours, and one frame on either side besides.
N_FOLDS = 8
# Strength of the penalty on weights: a few dozen frames say little about a hundred numbers.
RIDGE = 3.0
N_STEPS, LEAST_STEP = 30, 1e-6


@dataclass(frozen=True)
class Distinction:
    """How well recorded frames are told from look-alikes.

    Attributes:
        auc: Chance that a recorded frame gets a higher score than a look-alike; 0.5 is by chance.
        error: Its standard error, from the scatter between runs of neighbouring recorded frames.
        told_by: The numbers of a frame that weigh most, the strongest first.
    """

    auc: float
    error: float
    told_by: tuple[str, ...]


def distinguish(real: Observation, synthetic: Observation, *, segment_spectra: int) -> Distinction:
    """Train a classifier on recorded and look-alike frames, and test it on others of both.

    Every recorded frame is tested by a classifier that has seen neither it nor its neighbours, against
    look-alike frames that it has not seen.

    Args:
        real: The recording.
        synthetic: A look-alike, best several times as long.
        segment_spectra: Both are normalised in segments of this length, of which whole frames are used.

    Raises:
        ValueError: Either holds too few frames.
    """
    names, recorded = frame_features(real, segment_spectra=segment_spectra)
    _, made = frame_features(synthetic, segment_spectra=segment_spectra)
    if min(len(recorded), len(made)) < 2 * N_FOLDS:
        raise ValueError(
            f"{min(len(recorded), len(made))} frames of {FRAME_SPECTRA} spectra are too few to tell"
            f" anything by: {2 * N_FOLDS} of each kind are needed"
        )
    edges = np.linspace(0, len(recorded), N_FOLDS + 1).astype(int)
    halves = np.arange(len(made)) * 2 // len(made)  # by time, so that neighbours stay together
    ranks, weights = np.zeros(len(recorded)), np.zeros(len(names))
    for start, stop in pairwise(edges):
        near = slice(max(0, start - 1), stop + 1)
        train = np.delete(recorded, near, axis=0)
        for half in (0, 1):
            weight, score = _logistic(train, made[halves == half])
            weights += weight / (2 * N_FOLDS)
            other = np.sort(score(made[halves != half]))
            below = np.searchsorted(other, score(recorded[start:stop])) / len(other)
            ranks[start:stop] += below / 2
    fold = [ranks[a:b].mean() for a, b in pairwise(edges)]
    error = float(np.std(fold, ddof=1) / np.sqrt(N_FOLDS))
    strongest = np.argsort(-np.abs(weights))[:8]
    told = tuple(f"{names[n]} {'+' if weights[n] > 0 else '-'}" for n in strongest)
    return Distinction(float(ranks.mean()), error, told)


def frame_features(data: Observation, *, segment_spectra: int) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of a frame's numbers, and the numbers, shape (frame, number)."""
    rows: list[NDArray[np.float64]] = []
    names: list[str] = []
    with open_spectra(data) as spectra:
        for start in range(0, spectra.n_spectra - segment_spectra + 1, segment_spectra):
            z = normalised(finite(spectra.read(start, segment_spectra)))
            for first in range(0, len(z) - FRAME_SPECTRA + 1, FRAME_SPECTRA):
                described = _describe(z[first : first + FRAME_SPECTRA])
                names = list(described)
                rows.append(np.array(list(described.values())))
    return names, np.array(rows)


def _describe(z: NDArray[np.float32]) -> dict[str, float]:
    """Return a frame's numbers by name.

    All are of the frame normalised by itself: what is normalised with other frames makes these differ
    from it in the opposite direction, which a classifier tested on one frame of many would learn.
    """
    z = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-6)
    halves = np.stack([z[: len(z) // 2], z[len(z) // 2 :]])
    drift = halves[1].mean(axis=0) - halves[0].mean(axis=0)
    widening = np.log(np.maximum(halves.std(axis=1), 1e-3))
    cells = z[: len(z) // CELL_SPECTRA * CELL_SPECTRA].reshape(-1, CELL_SPECTRA, z.shape[1])
    by_channel = {
        "drift": np.abs(drift),
        "widening": np.abs(widening[1] - widening[0]),
        "skewness": (z**3).mean(axis=0),
        "kurtosis": (z**4).mean(axis=0),
        "lag 1": (z[1:] * z[:-1]).mean(axis=0),
        "lag 4": (z[4:] * z[:-4]).mean(axis=0),
        "adjacent": (z[:, 1:] * z[:, :-1]).mean(axis=0),
        "highest": z.max(axis=0),
        "lowest": z.min(axis=0),
        "highest cell": cells.mean(axis=1).max(axis=0),
    }
    numbers = {
        f"{name}, {percentile} %": float(value)
        for name, values in by_channel.items()
        for percentile, value in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    }
    loud = z > LOUD_SIGMA
    numbers["loud"] = float(np.log1p(loud.sum()))
    numbers["loud runs"] = float(np.log1p((loud[1:] & ~loud[:-1]).sum()))
    total = z.sum(axis=1) / np.sqrt(z.shape[1])
    power = np.abs(np.fft.rfft(total)) ** 2 / len(total)
    for octave in range(7):
        part = power[2**octave : 2 ** (octave + 1)].mean()
        numbers[f"zero-DM power, octave {octave}"] = float(np.log(part + 1e-3))
    numbers["zero-DM highest"] = float(total.max())
    for n, band in enumerate(np.array_split(np.arange(z.shape[1]), N_SUBBANDS)):
        numbers[f"tails of subband {n}"] = float(np.log((z[:, band] ** 4).mean()))
        numbers[f"memory of subband {n}"] = float((z[1:, band] * z[:-1, band]).mean())
        numbers[f"sum over subband {n}"] = float(np.log(z[:, band].sum(axis=1).std() + 1e-3))
    return numbers


def _logistic(
    real: NDArray[np.float64], made: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Return weights and score of a ridge-penalised logistic regression; both kinds weigh the same.

    Fitted by Newton's method (Hastie, Tibshirani & Friedman 2009, section 4.4.1).
    """
    x = np.concatenate([real, made])
    y = np.repeat([1.0, 0.0], [len(real), len(made)])
    share = np.where(y > 0, 0.5 / len(real), 0.5 / len(made)) * len(real)
    centre, scale = made.mean(axis=0), np.maximum(made.std(axis=0), 1e-9)

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
    return weight[:-1], lambda values: standardised(values) @ weight
