"""The names of what a frame can hold, and how frequent each is."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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

    Raises:
        ValueError: It is none of the eight classes.

    >>> components("pulse+bbrfi")
    (True, False, True)
    """
    if label not in CLASSES:
        raise ValueError(f"label = {label!r} must be one of {', '.join(CLASSES)}")
    return tuple(name in label.split("+") for name in COMPONENTS)


def counted(label: NDArray[np.integer]) -> dict[str, float]:
    """Return how frequent each of `LABELS` is among numbers of labels, one half added to each count.

    >>> counted(np.array([0, 0, 1]))["none"]
    0.3333333333333333
    """
    counts = np.bincount(label, minlength=len(LABELS)) + 0.5
    return dict(zip(LABELS, (counts / counts.sum()).tolist(), strict=True))


def of_components(*, pulse: float, nbrfi: float, bbrfi: float, other: float) -> dict[str, float]:
    """Return how frequent labels are where components come independently of each other.

    >>> round(of_components(pulse=0.5, nbrfi=0.2, bbrfi=0.0, other=0.1)["pulse+nbrfi"], 3)
    0.09
    """
    shares = (pulse, nbrfi, bbrfi)
    frequency = {}
    for name in CLASSES:
        held = zip(components(name), shares, strict=True)
        frequency[name] = (1 - other) * float(np.prod([p if there else 1 - p for there, p in held]))
    return frequency | {OTHER: other}


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
EFFELSBERG = of_components(
    pulse=0.002,
    nbrfi=EFFELSBERG_MIX["nbrfi_fraction"],
    bbrfi=EFFELSBERG_MIX["bbrfi_fraction"],
    other=0.001,
)
