"""Train the network on what the classical subtraction leaves of the strain that it was fitted to."""

import hashlib
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from physics_twins import training
from physics_twins.training import Objective, Task, Trained, TrainingSettings
from physics_twins.virgo import cleaning, inputs
from physics_twins.virgo.cleaning import Wiener
from physics_twins.virgo.network import ResidualModel, ResidualNetwork, Whitening, records
from physics_twins.virgo.parameters import NetworkParameters

_VALIDATED = 0.2  # of the training part, its end
_CLIP = 5.0  # a glitch counts for no more standard deviations


def train(
    stretch: xr.Dataset,
    wiener: Wiener,
    settings: NetworkParameters | None = None,
    *,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> tuple[ResidualModel, Trained]:
    """Train the network on a stretch, of which nothing else may be judged.

    Args:
        stretch: With `strain` and the channels of the filters.
        wiener: The classical subtraction, whose rest the network learns.
        settings: How large and how long.
        seed: Of weights and order.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.

    Returns:
        The model, and the training's history.
    """
    settings = settings or NetworkParameters()
    rate_hz, channels = inputs.sample_rate(stretch), tuple(wiener.means)
    left = stretch["strain"].values - cleaning.subtract(wiener, stretch)
    series = [*records(stretch, channels), left]
    whitening = Whitening.of(series, rate_hz)
    white = np.clip(whitening.white(series, rate_hz), -_CLIP, _CLIP)
    build = partial(_task, torch.from_numpy(white), settings, round(settings.window_s * rate_hz))
    loop = TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        ema_decay=0.98,
        validate_every=max(1, settings.n_steps // 20),
        cpu_threads=1,  # so that the weights are the same to the last bit on any number of cores
        accelerator="cpu",
    )
    options = {"seed": seed, "progress": progress}
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            trained = training.train(build, loop, folder=place, **options)
    else:
        trained = training.train(build, loop, folder=folder, **options)
    network = trained.modules["network"]
    if not isinstance(network, ResidualNetwork):
        raise TypeError(f"the module must be a ResidualNetwork, found {type(network).__name__}")
    return ResidualModel(network.requires_grad_(False), channels, whitening), trained


def _task(white: Tensor, settings: NetworkParameters, n_window: int) -> Task:
    """Return the task: windows of whitened channels, and of the strain in the last row."""
    network = ResidualNetwork(len(white) - 1, width=settings.width, taps=settings.taps)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    edge = settings.taps  # where windows lack what is beside them
    n_train = round((1 - _VALIDATED) * white.shape[1])
    held_out = white[:, n_train:]

    def loss(modules: Mapping[str, nn.Module], batch: Tensor, step: int) -> Tensor:
        windows = torch.stack([white[:, first : first + n_window] for first in batch.tolist()])
        told = modules["network"](windows[:, :-1])
        return ((windows[:, -1] - told)[:, edge:-edge] ** 2).mean()

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        told = modules["network"](held_out[None, :-1])[0]
        target = held_out[-1, edge:-edge]
        left = ((target - told[edge:-edge]) ** 2).double().mean()
        return {"left": left / (target**2).double().mean()}

    total = max(settings.n_steps, 4)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=total, pct_start=max(0.1, 2 / total)
    )
    starts = torch.arange(0, n_train - n_window, n_window // 4)
    digest = hashlib.sha256(white.numpy().tobytes()).hexdigest()
    objective = {"network": Objective(loss, optimizer, schedule)}
    return Task({"network": network}, objective, starts, validate, watch="left", identity=digest)
