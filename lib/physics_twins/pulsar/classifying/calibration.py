"""How good labels are: probabilities that mean what they say, and which labels are taken for which."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from physics_twins.data import bootstrap, fraction
from physics_twins.pulsar.classifying.labels import LABELS

N_BINS = 15
# Pulls the scaling to none where there are few examples, as of a class that hardly occurs.
_PRIOR = 1e-3


def fit_scaling(logits: Tensor, label: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and the offsets of logits that make labels most probable.

    Vector scaling of Guo et al. (2017), ICML, section 4.2, with one scale for all classes and an offset
    for each component, so that it changes no order by the evidence of a component.

    Args:
        logits: Shape (frame, label).
        label: Numbers, shape (frame,).
        held: Which component each label holds, 0 or 1, shape (component, label).

    Returns:
        A scale, shape (1,), and an offset for each label, shape (label,).
    """
    log_scale = torch.zeros(1, requires_grad=True)
    offset = torch.zeros(len(held), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, offset], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scaled = logits * log_scale.exp() + offset @ held
        value = cross_entropy(scaled, label) + _PRIOR * (offset.square().mean() + log_scale.square()[0])
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return log_scale.detach().exp(), (offset @ held).detach()


def reliability(probability: NDArray[np.floating], label: NDArray[np.integer]) -> xr.Dataset:
    """Return how often the most probable label is right, by the probability it was given.

    Args:
        probability: Of each label, shape (frame, label).
        label: The true numbers, shape (frame,).

    Returns:
        `confidence` and `accuracy` with `accuracy_error`, and `n_frames` (bin), in bins of equal width.
        `calibration_error`: the mean distance of the two, weighted by frames (expected calibration
        error), which is above 0 by chance; `calibration_error_error`: its standard error by resampling.
    """
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == label
    place = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    n = np.bincount(place, minlength=N_BINS)
    safe = np.maximum(n, 1)
    mean = np.bincount(place, confidence, N_BINS) / safe
    right_in_bin = np.bincount(place, right, N_BINS)
    accuracy = right_in_bin / safe
    frames = np.stack([place, right - confidence], axis=1)
    value, error = bootstrap(_calibration_error, frames, seed=0)
    one = {"units": "1"}
    return xr.Dataset(
        {
            "confidence": ("bin", np.where(n > 0, mean, np.nan), one),
            "accuracy": ("bin", np.where(n > 0, accuracy, np.nan), one),
            "accuracy_error": ("bin", fraction(right_in_bin, n)[1], one),
            "n_frames": ("bin", n, one),
            "calibration_error": ((), value, one),
            "calibration_error_error": ((), float(error), one),
        }
    )


def _calibration_error(frames: NDArray[np.floating]) -> float:
    """Return it for frames of which bin and distance are known, shape (frame, 2)."""
    place, gap = frames.T
    return float(np.abs(np.bincount(place.astype(int), gap, N_BINS)).sum() / len(gap))


def confusion(probability: NDArray[np.floating], label: NDArray[np.integer]) -> xr.DataArray:
    """Return how many frames of each label were given each label, shape (true, given).

    Args:
        probability: Of each of `LABELS`, shape (frame, label).
        label: The true numbers, shape (frame,).
    """
    counts = _counts(label, probability.argmax(axis=1))
    names = {"units": "1"}
    return xr.DataArray(
        counts,
        dims=("true", "given"),
        coords={"true": ("true", list(LABELS), names), "given": ("given", list(LABELS), names)},
        name="frames",
        attrs={"units": "1", "long_name": "Frames"},
    )


def macro_f1(
    probability: NDArray[np.floating], label: NDArray[np.integer]
) -> tuple[float, float, NDArray[np.float64]]:
    """Return the mean F1 over the labels that occur, its error by resampling, and each one's own.

    Args:
        probability: Of each of `LABELS`, shape (frame, label).
        label: The true numbers, shape (frame,).
    """
    given = probability.argmax(axis=1)
    occur = np.unique(label)
    each = _f1(_counts(label, given))[occur]
    frames = np.stack([label, given], axis=1)
    value, error = bootstrap(lambda drawn: _f1(_counts(*drawn.T))[occur].mean(), frames, seed=0)
    return float(value), float(error), each


def _counts(label: NDArray[np.integer], given: NDArray[np.integer]) -> NDArray[np.int64]:
    n = len(LABELS)
    return np.bincount(label * n + given, minlength=n * n).reshape(n, n)


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 2 TP / (2 TP + FP + FN), shape (label,)."""
    return 2 * np.diag(counts) / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
