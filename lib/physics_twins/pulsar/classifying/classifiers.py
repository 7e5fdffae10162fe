"""Classifiers of streams: what one must offer, and thresholds as the simple one."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.labels import from_components
from physics_twins.pulsar.searching.frontend import SCALARS, Frames


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

    def classify(self, frames: Frames) -> NDArray[np.float32]:
        """Return the probability of each of `labels.LABELS` in consecutive frames, (frame, label)."""
        ...


_BOXES = [n for n, name in enumerate(SCALARS) if name.startswith("box_")]
_IMPULSES = [
    n for n, name in enumerate(SCALARS) if name.startswith("impulse_") and name != "impulse_fraction"
]


@dataclass(frozen=True)
class ThresholdClassifier:
    """Thresholds on numbers of the front end; each probability is logistic in one number.

    Components are taken to be independent of each other. The numbers were fitted to a validation
    stream in the Effelsberg mix (pulses in 0.2 % of the frames, of S/N 7 and more).

    Attributes:
        pulse_snr: S/N at which a pulse is as likely as not; it is less where pulses are frequent.
        pulse_steepness: Change of the logarithm of the odds with S/N.
        box_sigma: Significance of narrow-band power that makes interference as likely as not.
        rough_sigma: Significance of the variance of a cell that does.
        impulse_sigma: Significance of an impulse in the median over subbands that makes broad-band
            interference as likely as not.
        lowest_sigma: How far a cell may be below its channel's level.
        common_sigma: How far all channels together may be, in standard deviations of a cell.
        constant_fraction: Share of cells without noise.
        keep_threshold: P(pulse) from which a frame is kept.
    """

    pulse_snr: float = 6.5
    pulse_steepness: float = 4.0
    box_sigma: float = 5.2
    rough_sigma: float = 8.0
    impulse_sigma: float = 6.0
    lowest_sigma: float = 8.0
    common_sigma: float = 0.8
    constant_fraction: float = 0.02
    keep_threshold: float = 0.015

    @property
    def name(self) -> str:
        """What the decision log calls it."""
        return "thresholds"

    def classify(self, frames: Frames) -> NDArray[np.float32]:
        """Return the probability of each of `labels.LABELS` in consecutive frames, (frame, label)."""
        values = frames.scalars
        column = {name: values[:, n] for n, name in enumerate(SCALARS)}
        # The wing of a stronger pulse in another frame is no pulse of its own.
        snr = np.where(column["shadow_snr"] > 0, 0, column["snr"])
        pulse = _logistic(self.pulse_steepness * (snr - self.pulse_snr))
        # A strong pulse fills boxes, too, and makes its cells rough.
        allowed = 1 + _SHARE_OF_PULSE * column["snr"] / self.box_sigma
        boxes = values[:, _BOXES].max(axis=1) / self.box_sigma
        narrow = np.maximum(boxes, column["roughest"] / self.rough_sigma) / allowed
        broad = values[:, _IMPULSES].max(axis=1) / self.impulse_sigma
        other = np.max(
            [
                -column["lowest"] / self.lowest_sigma,
                -column["common_lowest"] / self.common_sigma,
                column["constant_fraction"] / self.constant_fraction,
            ],
            axis=0,
        )
        others = (_logistic(_RATIO_STEEPNESS * (x - 1)) for x in (narrow, broad, other))
        return from_components(pulse, *others).astype(np.float32)


# Change of the logarithm of the odds where a number doubles its threshold.
_RATIO_STEEPNESS = 12.0
# Of its S/N a pulse has at most this in one box.
_SHARE_OF_PULSE = 0.3


def _logistic(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


THRESHOLDS = "thresholds"


def find_classifier(address: str) -> Classifier:
    """Return a classifier by its name: `thresholds`, or a saved model as `NAME` or `NAME/VERSION`.

    Raises:
        ModelError: There is no such model, or it was trained for another front end.
    """
    if address == THRESHOLDS:
        return ThresholdClassifier()
    from physics_twins.pulsar.model import load_classifier

    return load_classifier(address)
