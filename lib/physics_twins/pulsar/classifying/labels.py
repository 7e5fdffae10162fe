"""The names of what a frame can hold, and how frequent each is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physics_twins.pulsar.verb_parameters import EFFELSBERG_MIX

# A class is a set of components; class n holds component k where bit k of n's entry is set below.
COMPONENTS = ("pulse", "nbrfi", "bbrfi")
CLASSES = (
    "none",
    "pulse",
    "nbrfi",
    "bbrfi",
    "pulse+nbrfi",
    "pulse+bbrfi",
    "nbrfi+bbrfi",
    "pulse+nbrfi+bbrfi",
)
# What is none of these: perytons, dropped packets, jumps of the gain.
OTHER = "other"
LABELS = (*CLASSES, OTHER)


def components(label: str) -> tuple[bool, ...]:
    """Return whether a class holds a pulse, narrow-band and broad-band interference.

    >>> components("pulse+bbrfi")
    (True, False, True)
    """
    return tuple(name in label.split("+") for name in COMPONENTS)


# Whether each label holds a pulse, narrow-band, broad-band interference, is other, (4, label).
HELD = np.array([(*components(name), name == OTHER) for name in LABELS]).T
HAS_PULSE, HAS_CARRIER, HAS_IMPULSE, IS_OTHER = HELD
HAS_INTERFERENCE = HAS_CARRIER | HAS_IMPULSE


def counted(label: NDArray[np.integer]) -> dict[str, float]:
    """Return how frequent each of `LABELS` is among numbers of labels, one half added to each count.

    >>> counted(np.array([0, 0, 1]))["none"]
    0.3333333333333333
    """
    counts = np.bincount(label, minlength=len(LABELS)) + 0.5
    return dict(zip(LABELS, (counts / counts.sum()).tolist(), strict=True))


def from_components(
    pulse: ArrayLike, nbrfi: ArrayLike, bbrfi: ArrayLike, other: ArrayLike
) -> NDArray[np.floating]:
    """Return probabilities of labels from those of independent components, (frame, label).

    Args:
        pulse: That there is a pulse, shape (frame,).
        nbrfi: That there is narrow-band interference, shape (frame,).
        bbrfi: That there is broad-band interference, shape (frame,).
        other: That it is none of these, shape (frame,).
    """
    known, other = np.stack([pulse, nbrfi, bbrfi], axis=-1), np.asarray(other)
    columns = [(1 - other) * np.where(components(name), known, 1 - known).prod(-1) for name in CLASSES]
    return np.stack([*columns, other], axis=-1)


def at_frequencies(
    probability: NDArray[np.floating], before: Mapping[str, float], now: Mapping[str, float]
) -> NDArray[np.floating]:
    """Return probabilities for a stream in which the labels have other frequencies (Bayes).

    Args:
        probability: Shape (frame, label).
        before: How frequent each label was where the probabilities were calibrated.
        now: How frequent each is in the stream.
    """
    ratio = np.array([now[name] / before[name] for name in LABELS])
    weighted = probability * ratio
    return weighted / weighted.sum(axis=1, keepdims=True)


# What the Effelsberg telescope records of the Crab pulsar (D7.2, figure 6); of what is none of these
# the source says nothing.
_SHARES = 0.002, EFFELSBERG_MIX["nbrfi_fraction"], EFFELSBERG_MIX["bbrfi_fraction"], 0.001
EFFELSBERG: Mapping[str, float] = dict(zip(LABELS, from_components(*_SHARES).tolist(), strict=True))
