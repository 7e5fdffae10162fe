"""Train the flow on Geant4's showers, by the likelihood of every division of energy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from physics_twins import training
from physics_twins.calorimeter.flow.neighbours import N_ANGLE_INPUTS, N_RING_INPUTS
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes
from physics_twins.calorimeter.flow.shower_tensors import ShowerTensors
from physics_twins.calorimeter.flow_parameters import FlowParameters
from physics_twins.calorimeter.model import load_flow
from physics_twins.training import Objective, Task, Trained, TrainingSettings

_VALIDATION_BATCH = 500
# Parts that a start leaves as they are: visible energy, layers, and what cells see of whole layers.
_OLDER_KEPT = {N_RING_INPUTS: 11, N_ANGLE_INPUTS: 23}  # inputs of older weights that are seen still
_STAY = ("total.", "layer_", "cells.", "memory.", "context_")


def train(
    data: xr.Dataset | Sequence[xr.Dataset] | ShowerTensors,
    settings: FlowParameters | None = None,
    *,
    validation: xr.Dataset | Sequence[xr.Dataset] | ShowerTensors,
    seed: int,
    member: int = 0,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train one member of the ensemble.

    Of n members each leaves out every n-th shower, another one each: how much they differ then tells,
    roughly, how much chance there is in the showers that they learnt from.

    Args:
        data: Showers in the form of `simulate`, of one or several thicknesses of absorber.
        settings: How large and how long.
        validation: Other showers, which decide what weights are the best.
        seed: Seed of weights, order and mirror images.
        member: Its number, from 0.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.

    Returns:
        Its module `network`, and the history.

    Raises:
        ValueError: There is no such member, or the showers are not of the flow's cells.
    """
    settings = settings or FlowParameters()
    if not 0 <= member < settings.n_members:
        raise ValueError(f"member = {member} must be from 0 to {settings.n_members - 1}")
    sets = [d if isinstance(d, ShowerTensors) else ShowerTensors.of(d) for d in (data, validation)]
    build = partial(_task, *sets, settings, member)
    loop = TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        clip_norm=200.0,
        validate_every=settings.validate_every,
        accelerator=settings.accelerator,
        cpu_threads=settings.cpu_threads,
    )
    return training.train(build, loop, seed=seed + member, folder=folder, progress=progress)


def learnt_from(n_showers: int, settings: FlowParameters, member: int) -> Tensor:
    """Return the numbers of the showers that a member learns from.

    >>> learnt_from(5, FlowParameters(n_members=2), 0).tolist()
    [1, 3]
    """
    numbers = torch.arange(n_showers)
    n = settings.n_members
    return numbers[numbers % n != member] if n > 1 else numbers


def _task(data: ShowerTensors, held_out: ShowerTensors, settings: FlowParameters, member: int) -> Task:
    sizes = Sizes(settings.hidden, settings.context, settings.memory, settings.layers)
    if data.cells_mev[0, 0].numel() == 1:  # layers alone: what divides cells is as small as can be
        sizes = Sizes(1, 1, 1, settings.layers, sampled=1)
    network = ShowerNetwork(sizes)
    if settings.start:
        _start(network, settings.start, member)
    learning = [weights for weights in network.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=settings.learning_rate, weight_decay=1e-4)

    def loss(modules: Mapping[str, nn.Module], batch: Tensor, step: int) -> Tensor:
        cells, known = data.taken(batch, device=batch.device)
        return -_log_prob(modules["network"], mirrored(cells), known).mean()

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        device = next(modules["network"].parameters()).device
        found: list[Tensor] = []
        for numbers in torch.arange(len(held_out)).split(_VALIDATION_BATCH):
            cells, known = held_out.taken(numbers, device=device)
            found.append(_log_prob(modules["network"], cells, known))
        return {"loss": -torch.cat(found).double().mean()}

    # The rate ends at 0, so that an average over past weights would only bring back worse ones.
    total = max(settings.n_steps, 4)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=total, pct_start=max(0.1, 2 / total)
    )
    return Task(
        {"network": network},
        {"network": Objective(loss, optimizer, schedule)},
        learnt_from(len(data), settings, member),
        validate,
        watch="loss",
        identity=f"{_hash(data)} {settings.start}".strip(),
    )


def _start(network: ShowerNetwork, address: str, member: int) -> None:
    """Take a trained member's weights; only what divides layers into rings and cells learns on.

    Raises:
        ValueError: There is no such member, or it has other widths.
    """
    flow = load_flow(address, to_train=True)
    if member >= len(flow.members):
        raise ValueError(
            f"start = {address!r} has {len(flow.members)} members, member {member} is asked"
        )
    trained = flow.members[member]
    if replace(trained.sizes, leans=network.sizes.leans) != network.sizes:
        raise ValueError(f"start = {address!r} has {trained.sizes}, asked are {network.sizes}")
    state = trained.state_dict()
    for name in [name for name in state if name.endswith("near.weight") and not trained.sizes.leans]:
        # They saw the third layer before where leans are seen now, which count for nothing at first.
        n = network.get_parameter(name).shape[1]
        kept = state[name][:, : _OLDER_KEPT[n]]
        state[name] = functional.pad(kept, (0, n - kept.shape[1]))
    network.load_state_dict(state)
    for name, weights in network.named_parameters():
        weights.requires_grad_(not name.startswith(_STAY))


def mirrored(cells_mev: Tensor) -> Tensor:
    """Return showers, each by chance as it is or mirrored in the plane in which it is inclined.

    The calorimeter is symmetric, so that both are equally likely.

    Args:
        cells_mev: Shape (shower, layer, angle, ring).
    """
    chosen = torch.rand(len(cells_mev), device=cells_mev.device) < 0.5
    return torch.where(chosen[:, None, None, None], cells_mev.flip(2), cells_mev)


def _log_prob(network: nn.Module, cells_mev: Tensor, known: Tensor) -> Tensor:
    parts = network(cells_mev, known)
    return torch.stack(list(parts.values())).sum(dim=0)


def _hash(data: ShowerTensors) -> str:
    digest = hashlib.sha256(data.conditions.cpu().numpy().tobytes())
    digest.update(data.cells_mev.double().sum(dim=(1, 2, 3)).cpu().numpy().tobytes())
    return digest.hexdigest()
