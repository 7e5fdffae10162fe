"""Train 3DGAN on Geant4's showers: on a narrow range of energies first, from there on the full one."""

from functools import partial
from pathlib import Path

import xarray as xr

from physics_twins import training
from physics_twins.calorimeter.gan.model import ShowerGan, check_same
from physics_twins.calorimeter.gan.networks import Adversaries, Discriminator, Generator
from physics_twins.calorimeter.gan.shower_stream import ShowerStream, stream_showers
from physics_twins.calorimeter.gan.task import gan_task
from physics_twins.calorimeter.gan_parameters import GanImage, GanParameters
from physics_twins.training import TrainingSettings


def train_gan(
    data: xr.Dataset | ShowerStream,
    settings: GanParameters | None = None,
    *,
    seed: int,
    folder: str | Path,
    start_from: ShowerGan | None = None,
    progress: bool = True,
) -> ShowerGan:
    """Train both networks, or go on with a training that was stopped.

    A shower of a batch costs 80 GFLOP, so that the source project's 200,000 showers and 130 epochs
    take days of one GPU; on a core of a CPU a batch of 64 takes about two minutes. As in the source
    project the last weights are taken: the losses of two adversaries do not tell which are the best.
    Within the first 200 steps or so the generator's running statistics still remember its first
    weights, and showers have far too much energy.

    Args:
        data: Showers in the form of `simulate`, with `CalorimeterParameters` of the default layout and
            azimuth 0 or 180; a lazy dataset or a `ShowerStream` of files is read batch by batch.
        settings: How long and how.
        seed: Seed of weights, order, labels and the generator's random numbers.
        folder: Where checkpoints are kept.
        start_from: Trained networks to begin with, of the same calorimeter; optimisers begin anew.
        progress: Whether to show a bar.

    Returns:
        The trained networks, for the energies and angles of `data`, with the history of the losses.

    Raises:
        ValueError: The showers are not of 3DGAN's cells, the networks to begin with are of another
            calorimeter, or the folder holds another training.
    """
    settings = settings or GanParameters()
    stream = data if isinstance(data, ShowerStream) else stream_showers(data, settings)
    _check(stream, settings, start_from)
    trained = training.train(
        partial(gan_task, stream, settings, start_from),
        _loop(settings),
        seed=seed,
        folder=folder,
        progress=progress,
    )
    generator, discriminator = trained.modules["generator"], trained.modules["discriminator"]
    if not isinstance(generator, Generator) or not isinstance(discriminator, Discriminator):
        raise TypeError(f"a generator and a discriminator were expected, found {trained.modules}")
    networks = Adversaries(generator, discriminator).eval().requires_grad_(False)
    return ShowerGan(networks, stream.parameters, settings, stream.sides, trained.history)


def _check(stream: ShowerStream, settings: GanParameters, start_from: ShowerGan | None) -> None:
    known = [("stream_showers", stream.settings)]
    if start_from is not None:
        check_same(stream.parameters, start_from.parameters)
        known.append(("start_from", start_from.settings))
    for where, image in known:
        for name in GanImage.model_fields:
            if getattr(image, name) != getattr(settings, name):
                raise ValueError(
                    f"{name} = {getattr(settings, name):g} is {getattr(image, name):g} in {where}"
                )


def _loop(settings: GanParameters) -> TrainingSettings:
    return TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        accelerator=settings.accelerator,
        loader_processes=settings.loader_processes,
    )
