"""Which labels a classifier takes for which, and the scores that follow."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import bootstrap
from physics_twins.pulsar.classifying.labels import CLASSES, LABELS


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
    """Return the mean F1 over the eight classes, its error by resampling, and each class's own.

    Args:
        probability: Of each of `LABELS`, shape (frame, label).
        label: The true numbers, shape (frame,).
    """
    given = probability.argmax(axis=1)
    each = _f1(_counts(label, given))
    frames = np.stack([label, given], axis=1)
    value, error = bootstrap(lambda drawn: _f1(_counts(*drawn.T)).mean(), frames, seed=0)
    return float(value), float(error), each


def _counts(label: NDArray[np.integer], given: NDArray[np.integer]) -> NDArray[np.int64]:
    n = len(LABELS)
    return np.bincount(label * n + given, minlength=n * n).reshape(n, n)


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 2 TP / (2 TP + FP + FN) of the eight classes, shape (class,)."""
    eight = slice(len(CLASSES))
    right = np.diag(counts)[eight]
    return 2 * right / np.maximum(counts.sum(axis=0)[eight] + counts.sum(axis=1)[eight], 1)
