"""The trained network as a classifier of streams, and how a classifier is found by its name."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from physics_twins.models import ModelError
from physics_twins.pulsar.classifying.frame_labels import Classifier, FrameLabels
from physics_twins.pulsar.classifying.frequencies import EFFELSBERG, at_frequencies
from physics_twins.pulsar.classifying.threshold_classifier import ThresholdClassifier
from physics_twins.pulsar.searching.frontend import Frames

if TYPE_CHECKING:
    from physics_twins.pulsar import model

THRESHOLDS = "thresholds"
_log = logging.getLogger(__name__)
# On validation streams in the Effelsberg mix 0.05 % of the frames without a pulse are above it.
KEEP_THRESHOLD = 0.1


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained network, asked about a stream.

    Nearly all frames of a stream hold nothing, other than in the training: what the network says is
    brought from the frequencies of labels there to those of the stream.

    Attributes:
        network: From `model.load_classifier`.
        name: What the decision log calls it, with its version.
        frequencies: How frequent each label is in the stream.
        keep_threshold: P(pulse) from which a frame is kept, chosen on validation data.
    """

    network: "model.Classifier"
    name: str
    frequencies: Mapping[str, float] = field(default_factory=lambda: EFFELSBERG)
    keep_threshold: float = KEEP_THRESHOLD

    def classify(self, frames: Frames) -> FrameLabels:
        """Return the labels of consecutive frames."""
        seen = self.network.probabilities(frames)
        probability = at_frequencies(seen, self.network.frequencies, self.frequencies)
        return FrameLabels(probability.argmax(axis=1), probability.astype(np.float32))


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
    except ModelError as error:
        if address:
            raise
        _log.info("frames are labelled by thresholds: %s", error)
        return ThresholdClassifier()
    return TrainedClassifier(found, found.address)
