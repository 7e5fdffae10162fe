"""What 3DGAN's training is about: four steps of two networks on each batch."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from physics_twins.calorimeter.gan import losses
from physics_twins.calorimeter.gan.model import ShowerGan, new_networks
from physics_twins.calorimeter.gan.shower_stream import ShowerStream
from physics_twins.calorimeter.gan_parameters import GanParameters
from physics_twins.training import Objective, Task, contents_sha256

Batch = Mapping[str, Tensor]
Lowered = tuple[Tensor, dict[str, Tensor]]


def gan_task(data: ShowerStream, settings: GanParameters, start_from: ShowerGan | None) -> Task:
    """Return the task: the discriminator on real and on generated showers, the generator twice.

    Args:
        data: Showers to learn from.
        settings: How.
        start_from: Trained networks to begin with, which stay as they are.
    """
    networks = new_networks(data.parameters, settings)
    identity = [
        data.sha256,
        settings.replace(n_steps=1, accelerator="auto", loader_processes=0).to_json(),
    ]
    if start_from is not None:
        networks.load_state_dict(start_from.networks.state_dict())
        identity.append(contents_sha256({"networks": start_from.networks.state_dict()}))
    modules = {"generator": networks.generator, "discriminator": networks.discriminator}
    optimizers = {
        name: torch.optim.RMSprop(module.parameters(), lr=settings.learning_rate, alpha=0.9, eps=1e-7)
        for name, module in modules.items()
    }
    # Objectives of one network share its optimiser.
    objectives = {
        "real": Objective(partial(real_loss, settings), optimizers["discriminator"]),
        "fake": Objective(partial(fake_loss, settings), optimizers["discriminator"]),
    }
    for number in range(1, settings.generator_steps + 1):
        loss = partial(generator_loss, settings)
        objectives[f"generator_{number}"] = Objective(loss, optimizers["generator"])
    return Task(modules, objectives, data, identity=" ".join(identity))


def real_loss(
    settings: GanParameters, modules: Mapping[str, nn.Module], batch: Batch, step: int
) -> Lowered:
    """Return the discriminator's loss on real showers."""
    judged = modules["discriminator"](batch["image"])
    return _summed(losses.loss_parts(judged, batch, _labels(batch, 1.0, settings), settings))


def fake_loss(
    settings: GanParameters, modules: Mapping[str, nn.Module], batch: Batch, step: int
) -> Lowered:
    """Return the discriminator's loss on generated showers, which are taken as they are."""
    with torch.no_grad():
        made = modules["generator"](losses.generator_inputs(batch["energy"], batch["angle"]))
    judged = modules["discriminator"](made)
    return _summed(losses.loss_parts(judged, batch, _labels(batch, 0.0, settings), settings))


def generator_loss(
    settings: GanParameters, modules: Mapping[str, nn.Module], batch: Batch, step: int
) -> Lowered:
    """Return the generator's loss: its showers shall pass for real ones of their energy and angle."""
    made = modules["generator"](losses.generator_inputs(batch["energy"], batch["angle"]))
    with losses.fixed(modules["discriminator"]) as discriminator:
        judged = discriminator(made)
    wanted = torch.ones_like(batch["energy"])
    return _summed(losses.loss_parts(judged, batch, wanted, settings))


def _labels(batch: Batch, value: float, settings: GanParameters) -> Tensor:
    energy = batch["energy"]
    return losses.labels(len(energy), value, flipped=settings.flipped, device=energy.device)


def _summed(parts: dict[str, Tensor]) -> Lowered:
    return torch.stack(list(parts.values())).sum(), {n: part.detach() for n, part in parts.items()}
