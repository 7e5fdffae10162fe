"""Train a flow: least squares on the path, then steps of natural gradient."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path as Folder
from typing import Any, cast

import torch
from torch import Tensor, nn

from physics_twins import training
from physics_twins.lattice.flow.abelian_velocity import AbelianSizes
from physics_twins.lattice.flow.couplings import path_to
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes
from physics_twins.lattice.flow.kinds import AnyPath, AnySizes, AnyVelocity, velocity_of
from physics_twins.lattice.flow.refine import natural_step
from physics_twins.lattice.flow.regression import draw, slice_at, solve, times
from physics_twins.lattice.flow.velocity import Sizes
from physics_twins.lattice.flow_parameters import FlowParameters
from physics_twins.lattice.model import Flow, flow_of
from physics_twins.training import Objective, Task, Trained, TrainingSettings


def train(
    start: Flow | None,
    settings: FlowParameters | None = None,
    *,
    seed: int,
    folder: str | Folder | None = None,
    progress: bool = True,
) -> Trained:
    """Train a flow.

    The first step learns the path from fields of all theories on it, by least squares; all others are
    steps of natural gradient on fields of the flow itself, as are all of a U(1) that begins at the heat
    kernel. The weights are those with which the
    logarithms of fields' weights had the smallest variance in a validation.

    Args:
        start: A flow to go on with, by natural gradient alone; None to begin with the path.
        settings: The theory, how large and how long.
        seed: Seed of all fields.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.

    Returns:
        Its module `velocity`, and the history.
    """
    settings = (settings or FlowParameters()).chosen
    n_steps = settings.n_refinements + (start is None and settings.learns_path)
    loop = TrainingSettings(max_steps=n_steps, validate_every=1, accelerator="cpu")
    build = partial(_task, settings, start, seed)
    return training.train(build, loop, seed=seed, folder=folder, progress=progress)


def untrained(settings: FlowParameters, *, seed: int) -> Flow:
    """Return the flow that a training begins with: it has a path, and moves no field."""
    settings = settings.chosen
    sizes: AnySizes = GaugeSizes(n_times=settings.n_times, reach=settings.reach)
    if settings.theory == "phi4":
        sizes = Sizes(n_times=settings.n_times, apart=settings.apart)
    elif settings.theory == "u1":
        sizes = AbelianSizes(settings.n_times, settings.n_waves, settings.n_scales)
    return flow_of(velocity_of(_path(settings, seed), sizes), n_steps=settings.n_steps)


def _path(settings: FlowParameters, seed: int) -> AnyPath:
    if settings.theory != "phi4":
        return GaugePath(settings.theory, settings.shape, settings.beta, settings.prior_beta)
    return path_to(
        settings.shape,
        settings.mass2,
        settings.quartic,
        free_length=settings.free_length * settings.side,
        n=settings.n_path,
        seed=seed,
    )


def learn_path(velocity: AnyVelocity, settings: FlowParameters, *, seed: int) -> Tensor:
    """Return the weights that move the theories of a path into one another, by least squares."""
    nodes, shares = times(settings.n_slices)
    slices = []
    for number, (time, share) in enumerate(zip(nodes, shares, strict=True)):
        fields = draw(velocity.path, time, settings.n_fields, seed=seed + 1000 * number)
        slices.append(slice_at(velocity, fields, time, share))
    return solve(velocity, slices, ridge=settings.ridge)


def _task(settings: FlowParameters, start: Flow | None, seed: int) -> Task:
    begun = start or untrained(settings, seed=seed)
    velocity = velocity_of(begun.path, begun.velocity.sizes)
    velocity.load_state_dict(begun.velocity.state_dict())
    optimizer = torch.optim.SGD(velocity.parameters(), lr=1.0)

    def loss(
        modules: Mapping[str, nn.Module], batch: Any, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        current = cast(AnyVelocity, modules["velocity"])
        figures = {}
        if step == 0 and start is None and settings.learns_path:
            aim = learn_path(current, settings, seed=seed)
        else:
            options = {"n_nodes": settings.n_slices, "ridge": settings.refining_ridge}
            generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
            change, logs = natural_step(current, settings.n_refining, generator, **options)
            aim, figures = current.weights.detach() + change, {"variance": logs.var()}
        # A step of gradient descent at rate 1 on this leads to the aim.
        return 0.5 * (current.weights - aim).square().sum(), figures

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        flow = Flow(cast(AnyVelocity, modules["velocity"]), settings.n_steps)
        logs = flow.log_weights(*flow.draw(settings.n_validation, seed=seed + 1))
        return {"variance": logs.var()}

    return Task(
        {"velocity": velocity},
        {"velocity": Objective(loss, optimizer)},
        validate=validate,
        watch="variance",
        identity=settings.model_dump_json(exclude={"preset"}),
    )
