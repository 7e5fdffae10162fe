"""How frequent labels are, and what that makes of a classifier's probabilities."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.labels import CLASSES, LABELS, OTHER, components
from physics_twins.pulsar.verb_parameters import EFFELSBERG_MIX


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
