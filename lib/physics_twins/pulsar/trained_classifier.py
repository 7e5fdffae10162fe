"""The trained network as a classifier of streams, and how a classifier is found by its name."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physics_twins.model_manifest import ModelError
from physics_twins.pulsar.frame_labels import IS_OTHER, Classifier, FrameLabels
from physics_twins.pulsar.frontend import Frames
from physics_twins.pulsar.threshold_classifier import ThresholdClassifier

THRESHOLDS = "thresholds"
# The network's probabilities hold where all labels are about as frequent, but nearly all frames of a
# stream hold nothing. On a validation stream in the Effelsberg mix 0.1 % of the frames without a pulse
# are above the first, and 0.02 % of the frames without anything unknown above the second.
KEEP_THRESHOLD = 0.83
OTHER_THRESHOLD = 0.98


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
        other_threshold: Probability from which a frame is labelled "other".
    """

    network: Network
    name: str
    keep_threshold: float = KEEP_THRESHOLD
    other_threshold: float = OTHER_THRESHOLD

    def classify(self, frames: Frames) -> FrameLabels:
        """Return the labels of consecutive frames."""
        probability = self.network.probabilities(frames)
        label, known = probability.argmax(axis=1), probability[:, ~IS_OTHER].argmax(axis=1)
        doubtful = IS_OTHER[label] & (probability[:, IS_OTHER][:, 0] < self.other_threshold)
        return FrameLabels(np.where(doubtful, known, label), probability)


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
