"""The trained classifier of frames: saved, loaded, and asked for probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from physics_twins import models
from physics_twins.pulsar.example_tensors import ExampleTensors
from physics_twins.pulsar.frontend import SCALARS, Frames
from physics_twins.pulsar.label_parameters import LabelParameters
from physics_twins.pulsar.labels import CLASSES, LABELS
from physics_twins.pulsar.network import FrameNetwork
from physics_twins.pulsar.stack import N_BINS, N_SUBBANDS

NAME = "pulsar-classifier"
CARD = models.Card(
    summary="Labels frames of 256 spectra of a pulsar telescope: none, pulse, narrow-band (nbrfi) and"
    " broad-band interference (bbrfi), their mixtures, and other, with calibrated probabilities. It"
    " judges what the front end `physics_twins.pulsar.frontend` gives of each frame.",
    data="Simulated streams in the band of Effelsberg at 21 cm (256 channels, 1210 to 1530 MHz,"
    " 102.4 us, 8 bit): pulses of DM 40 to 72 pc cm-3, 0.3 to 3 ms wide, S/N 4.5 to 40, and nine kinds"
    " of interference of S/N 8 to 300. Calibrated on other streams of the same kind.",
    limits="Not for other bands, sampling times, DMs or front ends without a new training. Its"
    " probabilities hold for the frequencies of labels in its validation; for others use"
    " `model.at_frequencies`. In white noise it can at best equal the filter matched to the pulse.",
    held_against="Limit and baseline stand in the benchmark of the pulsar: the ideal filter, a boxcar"
    " search, and the source projects' small network.",
    reproduce="Run the notebook pulsar/2_train without its numbers of streams and steps, so that the"
    " defaults of `ClassifierParameters` hold.",
    tags=("pulsar", "radio-astronomy", "rfi"),
)
WITH_PULSE = np.array(["pulse" in label for label in LABELS])
_BATCH = 512


@dataclass(frozen=True)
class Classifier:
    """What gives frames their probabilities.

    Attributes:
        network: A trained and calibrated network, in evaluation mode.
        address: Name and version of the saved model, "" where it is not saved.
    """

    network: FrameNetwork
    address: str = ""

    def probabilities(self, frames: Frames) -> NDArray[np.float32]:
        """Return the probability of each of `LABELS`, shape (frame, label).

        They hold where the labels are as frequent as in the calibration's frames; elsewhere see
        `at_frequencies`. Frames that the front end passed over are judged by their numbers alone.
        """
        is_gated = np.zeros(len(frames.scalars), bool)
        is_gated[frames.gated] = True
        out = np.empty((len(is_gated), len(LABELS)), np.float32)
        pictures = (frames.stacks, frames.present, frames.cells, frames.impulses)
        passed_over = np.flatnonzero(~is_gated)
        for numbers in np.split(passed_over, range(_BATCH * 8, len(passed_over), _BATCH * 8)):
            out[numbers] = self._asked(frames.scalars[numbers], tuple(p[:0] for p in pictures))
        for start in range(0, len(frames.gated), _BATCH):
            part = slice(start, start + _BATCH)
            numbers = frames.gated[part]
            out[numbers] = self._asked(frames.scalars[numbers], tuple(p[part] for p in pictures))
        return out

    def _asked(
        self, scalars: NDArray[np.float32], pictures: tuple[NDArray[np.float32], ...]
    ) -> NDArray[np.float32]:
        """Return the probabilities of frames that all have pictures, or that all have none."""
        inputs = [torch.from_numpy(np.ascontiguousarray(part)) for part in (scalars, *pictures)]
        is_gated = torch.full((len(scalars),), bool(len(pictures[0])))
        with torch.inference_mode():
            return self.network(inputs[0], is_gated, *inputs[1:]).softmax(dim=1).numpy()


def predict(classifier: Classifier, examples: xr.Dataset) -> NDArray[np.float32]:
    """Return the probability of each of `LABELS` for the frames of `examples.examples`."""
    return ExampleTensors.of(examples).logits(classifier.network).softmax(dim=1).numpy()


def pulse_score(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of the odds that a frame holds a pulse if it is not `other`, shape (frame,).

    A frame that is likely to be `other` is told so by that label, whether there is a pulse or not.

    >>> pulse_score(np.array([[0.25, 0.25, 0, 0, 0, 0, 0, 0, 0.5]]))
    array([0.])
    """
    eight = probability[:, : len(CLASSES)]
    with_pulse = eight[:, WITH_PULSE[: len(CLASSES)]].sum(axis=1, dtype=np.float64)
    without = eight[:, ~WITH_PULSE[: len(CLASSES)]].sum(axis=1, dtype=np.float64)
    return np.log(np.maximum(with_pulse, 1e-30)) - np.log(np.maximum(without, 1e-30))


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


def save_classifier(network: FrameNetwork, **facts: Any) -> models.Model:
    """Save a trained network as the next version of `NAME`; `facts` are those of `models.save`."""
    config = {"n_scalars": len(SCALARS), "scalars": list(SCALARS), "labels": list(LABELS)}
    config |= {"n_subbands": N_SUBBANDS, "n_bins": N_BINS} | LabelParameters().to_papermill()
    return models.save(network, NAME, config=config, **facts)


def load_classifier(address: str = NAME, *, root: Path | None = None) -> Classifier:
    """Return a saved classifier, by default the newest or promoted one.

    Raises:
        ModelError: There is none, it is damaged, or it was trained for another front end.
    """
    model = models.find(address, root=root)
    expected = {"scalars": list(SCALARS), "labels": list(LABELS), "n_subbands": N_SUBBANDS}
    for name, value in (expected | {"n_bins": N_BINS}).items():
        if model.config.get(name) != value:
            raise models.ModelError(
                f"{model} was trained with {name} = {model.config.get(name)}, but the front end"
                f" gives {value}"
            )
    network = FrameNetwork(n_subbands=N_SUBBANDS, n_bins=N_BINS)
    model.load_into(network)
    return Classifier(_ready(network), str(model))


def _ready(network: FrameNetwork) -> FrameNetwork:
    module: nn.Module = network.eval()
    for weight in module.parameters():
        weight.requires_grad_(False)
    return network
