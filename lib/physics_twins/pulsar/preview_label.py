"""What the classifier says of one pulse: its frame in a short recording of it, labelled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.labels import HAS_PULSE, LABELS
from physics_twins.pulsar.model import Classifier, load_classifier
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.simulate import PREVIEW_EVENTS, simulate_recorded_pulse

N_FRAMES = 24  # enough for the level of the noise, 0.6 s at the sampling that it was trained at
BEFORE = 8  # of them, before that of the pulse


@dataclass(frozen=True)
class PulseLabel:
    """The label of the frame in which a pulse arrives.

    Attributes:
        label: The most probable of `labels.LABELS`.
        probability: Its probability.
        p_pulse: Probability that there is a pulse, whatever else is there.
        snr: Of the best candidate that the front end found in the frame.
        snr_ideal: What a filter matched to the pulse finds on average without interference.
        model: Name and version of the classifier.
        probabilities: Of each of `labels.LABELS`, shape (label,).
    """

    label: str
    probability: float
    p_pulse: float
    snr: float
    snr_ideal: float
    model: str
    probabilities: NDArray[np.float32]


def label_pulse(
    parameters: ObservationParameters, *, seed: int, classifier: Classifier | None = None
) -> PulseLabel:
    """Simulate a short recording of one pulse of median fluence, and label its frame.

    Interference that occurs at all is made as frequent as in `simulate_pulse`.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        seed: Of noise and interference.
        classifier: The saved one by default.

    Raises:
        ValueError: The classifier was not trained for such an observation.
        ModelError: There is no classifier.
    """
    classifier = classifier or load_classifier()
    sought = classifier.sought
    if reason := why_untrained(parameters, classifier):
        raise ValueError(reason)
    frame_s = 1e-6 * parameters.sampling_time_us * sought.frame_spectra
    recorded = simulate_recorded_pulse(
        parameters,
        seed=seed,
        duration_s=N_FRAMES * frame_s,
        arrival_s=(BEFORE + 0.5) * frame_s,
        event_rate_hz=PREVIEW_EVENTS / 0.1,
    )
    front_end = FrontEnd(receiver_band(parameters), sought)
    n_frames = N_FRAMES - -(-front_end.n_after // sought.frame_spectra)
    frames = front_end(recorded["data"].values, n_before=0, n_frames=n_frames)
    probability = classifier.probabilities(frames)[BEFORE]
    best = int(probability.argmax())
    return PulseLabel(
        label=LABELS[best],
        probability=float(probability[best]),
        p_pulse=float(probability[HAS_PULSE].sum()),
        snr=float(frames.snr[BEFORE]),
        snr_ideal=float(recorded["pulse_snr_ideal"][0]),
        model=classifier.address,
        probabilities=probability,
    )


def why_untrained(parameters: ObservationParameters, classifier: Classifier) -> str:
    """Return why a classifier has nothing to say of such an observation; "" if it has."""
    about = type(parameters).describe()
    for name, trained in (classifier.band.to_papermill() | {"n_bits": 8}).items():
        if (value := getattr(parameters, name)) != trained:
            unit = f" {about[name].unit}" if about[name].unit else ""
            return f"{name} = {value:g}{unit}, but the classifier was trained at {trained:g}{unit}"
    low, high = classifier.sought.dm_min_pc_cm3, classifier.sought.dm_max_pc_cm3
    if not low <= parameters.dm_pc_cm3 <= high:
        dm = f"dm_pc_cm3 = {parameters.dm_pc_cm3:g} pc cm-3"
        return f"{dm} is outside {low:g} to {high:g} pc cm-3, where the classifier was trained"
    return ""
