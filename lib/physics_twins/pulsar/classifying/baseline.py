"""The small network of the source projects, kept as a baseline: it sees one frame, as an image."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from physics_twins import models
from physics_twins.pulsar.classifying.labels import CLASSES
from physics_twins.pulsar.frames import shrunk, to_uint8
from physics_twins.training import Objective, Task, Trained, TrainingSettings, train

NAME = "pulsar-small-cnn"
CARD = models.Card(
    summary="The smallest network of PulsarRFI_NN, trained again: labels of eight classes for a frame"
    " of 256 spectra, looked at as an image of 128 x 128 bytes. A baseline, not for use.",
    data="Frames of `physics_twins.pulsar.frames.frame_set`: eight classes, S/N 8 to 150.",
    limits="It sees one frame of 26 ms, which a pulse of DM 57 needs 60 ms to cross, and finds no faint"
    " pulses.",
    reproduce="train_baseline(frame_set(12000, seed=11, snr=(8, 150), shrink=2), seed=1)",
    tags=("pulsar", "baseline"),
)
IMAGE_SIZE = 128
SETTINGS = TrainingSettings(max_steps=900, batch_size=64, validate_every=150, cpu_threads=1)
_BATCH = 256


class SmallCnn(nn.Sequential):
    """Three convolutions and one dense layer, 0.375 million weights: PulsarRFI_NN's smallest model.

    Frames of 128 x 128 bytes give logits of the eight classes. Each frame is brought to mean 0 and
    standard deviation 1: with bytes scaled to 0 to 1, as in the source, it does not begin to learn.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Flatten(),  # (frame, 8 * 27 * 27)
            nn.Linear(8 * 27 * 27, 64),
            nn.ReLU(),
            nn.Linear(64, len(CLASSES)),
        )
        for layer in self:
            if isinstance(layer, nn.Conv2d | nn.Linear):  # as Keras does
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.get_parameter("bias"))


def train_baseline(
    data: xr.Dataset,
    settings: TrainingSettings = SETTINGS,
    *,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train the small network on frames; a tenth of them validates.

    Args:
        data: From `frames.frame_set`, shrunk to 128 x 128.
        settings: How long and where.
        seed: Seed of weights and order.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.

    Raises:
        ValueError: The frames have another size.
    """
    frames = data["data"].values
    if frames.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"frames must be {IMAGE_SIZE} x {IMAGE_SIZE}, found {frames.shape[1:]}")
    images, labels = torch.from_numpy(frames), torch.from_numpy(data["label"].values)

    def build() -> Task:
        return _task(images, labels)

    return train(build, settings, seed=seed, folder=folder, progress=progress)


def pulse_probability(model: nn.Module, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability that a frame holds a pulse, shape (frame,).

    Args:
        model: A trained `SmallCnn`.
        spectra: Frames, shape (frame, time, frequency), of a size that 128 divides; they are averaged
            down to 128 x 128 and stretched over 0 to 255 as in the training.
    """
    factor = spectra.shape[1] // IMAGE_SIZE
    with_pulse = [n for n, name in enumerate(CLASSES) if "pulse" in name]
    found = []
    for start in range(0, len(spectra), _BATCH):
        images = to_uint8(shrunk(spectra[start : start + _BATCH], factor))
        with torch.inference_mode():
            probability = _logits(model, torch.from_numpy(images)).softmax(dim=1)
        found.append(probability[:, with_pulse].sum(dim=1).numpy())
    return np.concatenate(found)


def load_baseline(address: str = NAME, *, root: Path | None = None) -> SmallCnn:
    """Return the saved small network.

    Raises:
        ModelError: There is none, or it is damaged.
    """
    network = SmallCnn()
    models.find(address, root=root).load_into(network)
    network.eval()
    return network


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    values = images[:, None].float()
    mean, deviation = values.mean(dim=(2, 3), keepdim=True), values.std(dim=(2, 3), keepdim=True)
    return model((values - mean) / deviation.clamp(min=1e-6))


def _task(images: Tensor, labels: Tensor) -> Task:
    n_training = len(images) - len(images) // 10
    held_out = images[n_training:], labels[n_training:]
    model = SmallCnn()

    def validate(modules: "dict[str, nn.Module]") -> dict[str, Tensor]:
        logits = torch.cat([_logits(modules["cnn"], part) for part in held_out[0].split(_BATCH)])
        right = (logits.argmax(dim=1) == held_out[1]).double().mean()
        return {"loss": cross_entropy(logits, held_out[1]), "accuracy": right}

    objective = Objective(
        lambda modules, batch, step: cross_entropy(_logits(modules["cnn"], batch[0]), batch[1]),
        torch.optim.Adam(model.parameters(), lr=1e-3),
    )
    return Task(
        {"cnn": model},
        {"cnn": objective},
        (images[:n_training], labels[:n_training]),
        validate,  # pyright: ignore[reportArgumentType]
        watch="loss",
        identity=hashlib.sha256(images.numpy().tobytes()).hexdigest(),
    )
