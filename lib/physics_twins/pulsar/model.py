"""The trained classifier of frames: saved, loaded, and asked for probabilities."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from physics_twins import models
from physics_twins.parameters import ParameterError
from physics_twins.pulsar.classifying.examples import PICTURES
from physics_twins.pulsar.classifying.labels import (
    EFFELSBERG,
    HAS_PULSE,
    IS_OTHER,
    LABELS,
    at_frequencies,
    counted,
)
from physics_twins.pulsar.classifying.network import SHOWS, SHOWS_BEFORE, FrameNetwork
from physics_twins.pulsar.parameters import BandParameters
from physics_twins.pulsar.searching.frontend import N_BINS, N_SUBBANDS, SCALARS, Frames
from physics_twins.pulsar.verb_parameters import ClassifierParameters, LabelParameters

_AT_ONCE = 1024


@dataclass(frozen=True)
class ExampleTensors:
    """Examples as tensors.

    Attributes:
        scalars: Numbers of each frame, shape (frame, scalar).
        label: Number among `LABELS`, shape (frame,).
        is_gated: Whether it has pictures, shape (frame,).
        row: Which pictures are its own, where it has any, shape (frame,).
        pictures: In the order of `PICTURES`, half precision, shape (gated, ...).
    """

    scalars: Tensor
    label: Tensor
    is_gated: Tensor
    row: Tensor
    pictures: tuple[Tensor, ...]

    @classmethod
    def of(cls, data: xr.Dataset) -> "ExampleTensors":
        """Take the tensors from examples."""
        is_gated = torch.from_numpy(data["is_gated"].values)
        return cls(
            torch.from_numpy(data["scalars"].values),
            torch.from_numpy(data["label"].values),
            is_gated,
            is_gated.cumsum(0) - 1,
            tuple(torch.from_numpy(data[name].values) for name in PICTURES),
        )

    @classmethod
    def of_frames(cls, frames: Frames) -> "ExampleTensors":
        """Take the tensors from what the front end says of frames; none has a label."""
        scalars = torch.from_numpy(np.ascontiguousarray(frames.scalars))
        is_gated = torch.zeros(len(scalars), dtype=torch.bool)
        is_gated[torch.from_numpy(frames.gated)] = True
        pictures = (frames.stacks, frames.present, frames.cells, frames.impulses)
        own = tuple(torch.from_numpy(np.ascontiguousarray(each)) for each in pictures)
        return cls(scalars, torch.empty(0), is_gated, is_gated.cumsum(0) - 1, own)

    def inputs(self, numbers: Tensor) -> tuple[Tensor, ...]:
        """Return what the network takes for some frames."""
        is_gated = self.is_gated[numbers]
        rows = self.row[numbers][is_gated]
        return self.scalars[numbers], is_gated, *(picture[rows].float() for picture in self.pictures)

    def logits(self, network: nn.Module) -> Tensor:
        """Return the network's logits of all frames, shape (frame, label)."""
        numbers = torch.arange(len(self.scalars)).split(_AT_ONCE)
        with torch.inference_mode():
            return torch.cat([network(*self.inputs(part)) for part in numbers])


NAME = "pulsar-classifier"
CARD = models.Card(
    summary="Labels frames of 256 spectra of a pulsar telescope: none, pulse, narrow-band (nbrfi) and"
    " broad-band interference (bbrfi), their mixtures, and other, with calibrated probabilities. It"
    " judges what the front end `physics_twins.pulsar.searching.frontend` gives of each frame.",
    data="Simulated streams in the band that its parameters say, at first that of Effelsberg at 21 cm"
    " (256 channels, 1210 to 1530 MHz, 102.4 us, 8 bit): pulses of DM 40 to 72 pc cm-3, 0.3 to 3 ms"
    " wide, S/N 4.5 to 100, and nine kinds"
    " of interference of S/N 1 to 200, swept signals from Earth among it. Calibrated on other"
    " streams, in which all labels but other come equally often.",
    limits="Not for other bands, sampling times, DMs or front ends without a new training. Its"
    " probabilities hold for the frequencies of labels in its validation; for others use"
    " `labels.at_frequencies`. In white noise it can at best equal the ideal filter.",
    held_against="Limit and baseline stand in the benchmark of the pulsar: the ideal filter, the"
    " front end alone, and a boxcar search.",
    reproduce="Run the notebook pulsar/2_train without its numbers of streams and steps, so that the"
    " defaults of `ClassifierParameters` hold.",
    tags=("pulsar", "radio-astronomy", "rfi"),
)
# In two sets of streams in the Effelsberg mix 0.10 and 0.15 % of the frames without a pulse are above.
KEEP_THRESHOLD = 0.01
_EVEN = 1 / len(LABELS)


@dataclass(frozen=True)
class Classifier:
    """What gives frames their probabilities; a `classifiers.Classifier` of streams, too.

    Attributes:
        network: A trained and calibrated network, in evaluation mode.
        address: Name and version of the saved model, "" where it is not saved.
        frequencies: How frequent each of `LABELS` was where it was calibrated.
        band: That of the streams that it was trained on.
        sought: What its front end sought in them.
        in_stream: How frequent each label is in a stream: nearly all of its frames hold nothing, other
            than in the training.
        keep_threshold: P(pulse) from which a frame of a stream is kept, chosen on validation data.
    """

    network: FrameNetwork
    address: str = ""
    frequencies: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LABELS, _EVEN))
    band: BandParameters = field(default_factory=BandParameters)
    sought: LabelParameters = field(default_factory=LabelParameters)
    in_stream: Mapping[str, float] = field(default_factory=lambda: EFFELSBERG)
    keep_threshold: float = KEEP_THRESHOLD

    @property
    def name(self) -> str:
        """What a decision log calls it, with its version."""
        return self.address

    def probabilities(self, frames: Frames) -> NDArray[np.float32]:
        """Return the probability of each of `LABELS`, shape (frame, label).

        They hold where the labels are as frequent as in the calibration's frames; elsewhere see
        `labels.at_frequencies`. What the front end passed over is judged by its numbers alone.
        """
        tensors = ExampleTensors.of_frames(frames)
        return tensors.logits(self.network).softmax(dim=1).numpy()

    def classify(self, frames: Frames) -> NDArray[np.float32]:
        """Return the same for frames of a stream, shape (frame, label)."""
        seen = self.probabilities(frames)
        return at_frequencies(seen, self.frequencies, self.in_stream).astype(np.float32)


def predict(classifier: Classifier, examples: xr.Dataset) -> NDArray[np.float32]:
    """Return the probability of each of `LABELS` for the frames of `examples.examples`."""
    return ExampleTensors.of(examples).logits(classifier.network).softmax(dim=1).numpy()


def pulse_score(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of the odds that a frame holds a pulse if it is not `other`, shape (frame,).

    A frame that is likely to be `other` is told so by that label, whether there is a pulse or not.

    >>> pulse_score(np.array([[0.25, 0.25, 0, 0, 0, 0, 0, 0, 0.5]]))
    array([0.])
    """
    kinds = HAS_PULSE, ~HAS_PULSE & ~IS_OTHER
    there, absent = (probability[:, kind].sum(axis=1, dtype=np.float64) for kind in kinds)
    return np.log(np.maximum(there, 1e-30)) - np.log(np.maximum(absent, 1e-30))


def save_classifier(
    network: FrameNetwork,
    *,
    calibrated_on: NDArray[np.integer],
    parameters: ClassifierParameters,
    **facts: Any,
) -> models.Model:
    """Save a trained network as the next version of `NAME`.

    Args:
        network: Trained and calibrated.
        calibrated_on: Numbers of the labels that it was calibrated on; kept are their frequencies.
        parameters: Of its training; band and DMs are kept with it.
        facts: Others of `models.save`.
    """
    config = {"n_scalars": len(SCALARS), "scalars": list(SCALARS), "labels": list(LABELS)}
    config |= {"n_subbands": N_SUBBANDS, "n_bins": N_BINS} | parameters.sought.to_papermill()
    config |= {name: getattr(parameters, name) for name in BandParameters.model_fields}
    config |= {"frequencies": counted(calibrated_on), "shows": SHOWS}
    return models.save(network, NAME, config=config, parameters=parameters.to_papermill(), **facts)


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
    shows = _numbers(model, "shows", model.config.get("shows", SHOWS_BEFORE), SHOWS, 1e6)
    frequencies = _numbers(model, "frequencies", model.config.get("frequencies"), LABELS, 1.0)
    network = FrameNetwork(n_subbands=N_SUBBANDS, n_bins=N_BINS, shows=shows)
    model.load_into(network)
    try:
        band, sought = BandParameters.take(model.config), LabelParameters.take(model.config)
    except ParameterError as error:
        raise models.ModelError(f"{model}: config.json: {error}") from None
    return Classifier(_ready(network), str(model), frequencies, band, sought)


def _numbers(
    model: models.Model, key: str, found: Any, names: Iterable[str], below: float
) -> dict[str, float]:
    """Return what the config says of some names, checked."""
    if not isinstance(found, dict) or set(found) != set(names):
        raise models.ModelError(f"{model}: config.json: {key}: needed are {', '.join(names)}")
    if not all(isinstance(value, float) and 0 < value < below for value in found.values()):
        raise models.ModelError(f"{model}: config.json: {key}: numbers from 0 to {below:g} are needed")
    return found


def _ready(network: FrameNetwork) -> FrameNetwork:
    module: nn.Module = network.eval()
    for weight in module.parameters():
        weight.requires_grad_(False)
    return network
