"""Train the network that labels frames, and calibrate its probabilities."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR

from physics_twins import training
from physics_twins.pulsar.classifying.calibration import fit_scaling
from physics_twins.pulsar.classifying.examples import examples, joined
from physics_twins.pulsar.classifying.labelled_files import labelled_files
from physics_twins.pulsar.classifying.network import FrameNetwork
from physics_twins.pulsar.model import ExampleTensors
from physics_twins.pulsar.verb_parameters import CLASSES_EQUAL, MIXED, PARTS, ClassifierParameters
from physics_twins.training import Objective, Task, Trained, TrainingSettings

if TYPE_CHECKING:
    from distributed import Client

_PART_STEP = 100_000
_REAL = len(PARTS)  # real frames come after the parts that are simulated
_FIFTH = 5  # of a table of real frames, a row validates


def training_examples(
    parameters: ClassifierParameters, *, seed: int, client: "Client | None" = None
) -> xr.Dataset:
    """Return the frames that the network learns from."""
    return _examples(parameters, seed, client, validates=False)


def validation_examples(
    parameters: ClassifierParameters, *, seed: int, client: "Client | None" = None
) -> xr.Dataset:
    """Return a quarter as many other frames, for thresholds and calibration."""
    return _examples(parameters, seed, client, validates=True)


def _examples(
    parameters: ClassifierParameters, seed: int, client: "Client | None", *, validates: bool
) -> xr.Dataset:
    """Return simulated frames, and those of some rows of a table of real ones, the part after them."""
    n_streams = [-(-n // 4) if validates else n for n in parameters.n_streams]
    # A million seeds belong to each seed of a training, so that no two streams are the same.
    first = 1_000_000 * seed + (500_000 if validates else 0)
    seeds = [range(first + _PART_STEP * k, first + _PART_STEP * k + n) for k, n in enumerate(n_streams)]
    made = examples(parameters.parts, seeds, parameters.sought, client=client)
    if not parameters.labelled_path:
        return made
    real = labelled_files(
        parameters.labelled_path, parameters.sought, takes=lambda row: (row % _FIFTH == 0) == validates
    )
    real["part"] = ("frame", np.full(real.sizes["frame"], _REAL), {"units": "1"})
    return joined([made, real]).assign_attrs(made.attrs)


def train(
    data: xr.Dataset,
    settings: ClassifierParameters | None = None,
    *,
    validation: xr.Dataset,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train the network, then calibrate its probabilities on the validation's frames.

    What a pulse is, is learnt from the frames of `MIXED`, and real ones, alone: there pulses are as
    frequent among interference as without, else whatever shows interference would speak against a
    faint pulse. The calibration is for those frames in which all classes come equally often.

    Args:
        data: From `training_examples`.
        settings: How long.
        validation: From `validation_examples`.
        seed: Seed of weights and order.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.

    Returns:
        Its module `network`, a calibrated `FrameNetwork`, and the history.
    """
    settings = settings or ClassifierParameters()
    teaches = torch.from_numpy(_of_parts(data, {PARTS.index(MIXED), _REAL}))
    held_out = ExampleTensors.of(validation)
    build = partial(_task, ExampleTensors.of(data), teaches, held_out, settings)
    loop = TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        ema_decay=0.99,
        validate_every=max(1, settings.n_steps // 10),
        cpu_threads=1,  # so that the weights are the same to the last bit on any number of cores
    )
    trained = training.train(build, loop, seed=seed, folder=folder, progress=progress)
    equal = _of_parts(validation, {PARTS.index(CLASSES_EQUAL)})
    _calibrate(cast(FrameNetwork, trained.modules["network"]), held_out, equal)
    return trained


def _of_parts(data: xr.Dataset, parts: set[int]) -> NDArray[np.bool_]:
    """Return which examples are of some parts; all where none is, shape (frame,)."""
    own = np.isin(data["part"].values, list(parts))
    return own | ~own.any()


def _task(
    data: ExampleTensors, teaches: Tensor, held_out: ExampleTensors, settings: ClassifierParameters
) -> Task:
    network = FrameNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-3)

    def loss(modules: Mapping[str, nn.Module], batch: Tensor, step: int) -> Tensor:
        logits = modules["network"](*data.inputs(batch), teaches=teaches[batch])
        return cross_entropy(logits, data.label[batch])

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        logits = held_out.logits(modules["network"])
        right = (logits.argmax(dim=1) == held_out.label).double().mean()
        return {"loss": cross_entropy(logits, held_out.label), "accuracy": right}

    schedule = OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.n_steps)
    return Task(
        {"network": network},
        {"network": Objective(loss, optimizer, schedule)},
        torch.arange(len(data.label)),
        validate,
        watch="loss",
        identity=_hash(data),
    )


def _hash(data: ExampleTensors) -> str:
    digest = hashlib.sha256()
    for tensor in (data.scalars, data.label, *data.pictures):
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()


def _calibrate(network: FrameNetwork, held_out: ExampleTensors, chosen_part: NDArray[np.bool_]) -> None:
    """Fit the scaling of logits, of frames without pictures and of those with."""
    own = torch.from_numpy(chosen_part)
    logits = held_out.logits(network)
    scale, offset = network.get_buffer("scale"), network.get_buffer("offset")
    for kind, chosen in enumerate((~held_out.is_gated & own, held_out.is_gated & own)):
        if chosen.any():
            fitted = fit_scaling(logits[chosen], held_out.label[chosen], network.held)
            scale[kind], offset[kind] = fitted
