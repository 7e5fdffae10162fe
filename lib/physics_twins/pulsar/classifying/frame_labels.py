"""What a classifier says of frames, and what a class must offer to be one."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.labels import CLASSES, LABELS, OTHER, components
from physics_twins.pulsar.searching.frontend import Frames

HAS_PULSE = np.array([*(components(name)[0] for name in CLASSES), False])
HAS_INTERFERENCE = np.array([*(any(components(name)[1:]) for name in CLASSES), False])
HAS_IMPULSE = np.array([*(components(name)[2] for name in CLASSES), False])
IS_OTHER = np.array([name == OTHER for name in LABELS])


@dataclass(frozen=True)
class FrameLabels:
    """The labels of frames.

    Attributes:
        label: Numbers of `labels.LABELS`, shape (frame,).
        probability: Of each of `labels.LABELS`, shape (frame, label); a row adds up to 1.
    """

    label: NDArray[np.int64]
    probability: NDArray[np.float32]

    @property
    def p_pulse(self) -> NDArray[np.float32]:
        """Probability that a pulse arrives in the frame, whatever else is in it, shape (frame,)."""
        return self.probability[:, HAS_PULSE].sum(axis=1)


class Classifier(Protocol):
    """What labels frames; one that is sent to workers must be a plain object."""

    @property
    def name(self) -> str:
        """What the decision log calls it, with its version."""
        ...

    @property
    def keep_threshold(self) -> float:
        """P(pulse) from which a frame is kept, chosen on validation data."""
        ...

    def classify(self, frames: Frames) -> FrameLabels:
        """Return the labels of consecutive frames."""
        ...
