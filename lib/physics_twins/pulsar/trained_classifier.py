"""The trained network as a classifier of streams, and how a classifier is found by its name."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physics_twins.model_manifest import ModelError
from physics_twins.pulsar.frame_labels import Classifier, FrameLabels
from physics_twins.pulsar.frontend import Frames
from physics_twins.pulsar.threshold_classifier import ThresholdClassifier

THRESHOLDS = "thresholds"
# P(pulse) of the network from which a frame is kept.
KEEP_THRESHOLD = 0.05


class Network(Protocol):
    """What gives frames their probabilities."""

    def probabilities(self, frames: Frames) -> NDArray[np.float32]:
        """Return the probability of each of `labels.LABELS`, shape (frame, label)."""
        ...


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained network.

    Attributes:
        network: From `model.load_classifier`.
        name: What the decision log calls it, with its version.
        keep_threshold: P(pulse) from which a frame is kept, chosen on validation data.
    """

    network: Network
    name: str
    keep_threshold: float = KEEP_THRESHOLD

    def classify(self, frames: Frames) -> FrameLabels:
        """Return the labels of consecutive frames."""
        probability = self.network.probabilities(frames)
        return FrameLabels(probability.argmax(axis=1), probability)


def find_classifier(address: str = "") -> Classifier:
    """Return a classifier by its name: `thresholds`, or a saved model as `NAME` or `NAME/VERSION`.

    Without a name it is the trained one of this installation, or thresholds where there is none.

    Raises:
        ModelError: There is no such model, or it was trained for another front end.
    """
    if address == THRESHOLDS:
        return ThresholdClassifier()
    from physics_twins.pulsar import model

    try:
        found = model.load_classifier(address or model.NAME)
    except ModelError:
        if address:
            raise
        return ThresholdClassifier()
    return TrainedClassifier(found, found.address)
