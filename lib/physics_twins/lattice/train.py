"""Train a flow: least squares on the path, then steps of natural gradient."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path as Folder
from typing import Any, cast

import torch
from torch import Tensor, nn

from physics_twins import training
from physics_twins.lattice.flow.abelian_velocity import AbelianSizes
from physics_twins.lattice.flow.checkerboard import LayerSizes
from physics_twins.lattice.flow.coarse_path import coarse_path_to
from physics_twins.lattice.flow.couplings import free_mass2_of, path_to
from physics_twins.lattice.flow.gauge_path import GaugePath
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes
from physics_twins.lattice.flow.kinds import (
    AnyLayers,
    AnyMap,
    AnyPath,
    AnySizes,
    AnyVelocity,
    layers_of,
    velocity_of,
)
from physics_twins.lattice.flow.path import Path
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
    steps of natural gradient on fields of the flow itself, as are all where there is no such path: from
    coarse fields, and of U(1) from the heat kernel. Coupling layers learn by Adam along gradients of
    the path. The weights are those with which the logarithms of fields' weights had the smallest
    variance in a validation.

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
    n_steps, every, task = settings.n_refinements, 1, _task
    n_steps += start is None and settings.learns_path
    if settings.kind != "continuous":
        n_steps, every, task = settings.n_gradient, max(1, settings.n_gradient // 10), _layers_task
    loop = TrainingSettings(max_steps=n_steps, validate_every=every, accelerator="cpu")
    build = partial(task, settings, start, seed)
    return training.train(build, loop, seed=seed, folder=folder, progress=progress)


def untrained(settings: FlowParameters, *, seed: int) -> Flow:
    """Return the flow that a training begins with: it has a path, and moves no field."""
    settings = settings.chosen
    if settings.kind != "continuous":
        return flow_of(_layers(settings), n_steps=1)
    sizes: AnySizes = GaugeSizes(n_times=settings.n_times, reach=settings.reach)
    if settings.theory == "phi4":
        sizes = Sizes(n_times=settings.n_times, apart=settings.apart)
    elif settings.theory == "u1":
        sizes = AbelianSizes(settings.n_times, settings.n_waves, settings.n_scales)
    velocity = velocity_of(_path(settings, seed), sizes)
    return flow_of(velocity, n_steps=settings.n_steps, n_stages=settings.n_stages)


def _layers(settings: FlowParameters) -> AnyLayers:
    """Return layers that move nothing, from where continuous flows begin, too."""
    n_bins = settings.n_bins if settings.kind == "spline" else 0
    sizes = LayerSizes(settings.n_layers, settings.n_channels, n_bins)
    if settings.theory != "phi4":
        return layers_of(_path(settings, 0), sizes)
    return layers_of(_line(settings), sizes)


def _line(settings: FlowParameters) -> Path:
    """Return a path of phi^4 whose mass changes evenly."""
    first = free_mass2_of(settings.free_length * settings.side)
    return Path(settings.shape, settings.quartic, (first, settings.mass2 - first))


def _path(settings: FlowParameters, seed: int) -> AnyPath:
    if settings.theory != "phi4":
        return GaugePath(settings.theory, settings.shape, settings.beta, settings.prior_beta)
    if settings.prior == "coarse":
        return coarse_path_to(_line(settings), n=settings.n_fields, seed=seed)
    return path_to(
        settings.shape,
        settings.mass2,
        settings.quartic,
        free_length=settings.free_length * settings.side,
        n=settings.n_path,
        seed=seed,
        search=settings.search,
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
    if isinstance(begun.velocity, AnyLayers):
        raise TypeError(f"kind = {settings.kind!r}: the flow to go on with has coupling layers")
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

    return Task(
        {"velocity": velocity},
        {"velocity": Objective(loss, optimizer)},
        validate=partial(_validated, settings, seed),
        watch="variance",
        identity=settings.model_dump_json(exclude={"preset"}),
    )


def _layers_task(settings: FlowParameters, start: Flow | None, seed: int) -> Task:
    """Return the training of coupling layers: reverse divergence, gradients of the path.

    These leave out how the density depends on the weights at a fixed field, which is zero on average
    and noise that does not vanish with the divergence (Vaitl, Nicoli, Nakajima and Kessel 2022, Mach.
    Learn.: Sci. Technol. 3, 045006).
    """
    torch.manual_seed(seed)
    layers = _layers(settings)
    if start is not None:
        if not isinstance(start.velocity, AnyLayers):
            raise TypeError(f"kind = {settings.kind!r}: the flow to go on with is continuous")
        layers = layers_of(start.path, start.velocity.sizes)
        layers.load_state_dict(start.velocity.state_dict())
    optimizer = torch.optim.Adam(layers.parameters(), lr=settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.n_gradient)

    def loss(
        modules: Mapping[str, nn.Module], batch: Any, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        current = cast(AnyLayers, modules["velocity"])
        phi, _ = current(current.path.draw_prior(settings.n_batch))
        held = {name: weight.detach() for name, weight in current.named_parameters()}
        free, log_jacobian = torch.func.functional_call(current, held, (phi,), {"back": True})
        logs = current.path.action(phi) + current.path.prior_log_density(free) + log_jacobian
        return logs.mean(), {"variance": logs.var().detach()}

    return Task(
        {"velocity": layers},
        {"velocity": Objective(loss, optimizer, scheduler)},
        validate=partial(_validated, settings, seed),
        watch="variance",
        identity=settings.model_dump_json(exclude={"preset"}),
    )


def _validated(
    settings: FlowParameters, seed: int, modules: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    flow = Flow(cast(AnyMap, modules["velocity"]), settings.n_steps)
    logs = flow.log_weights(*flow.draw(settings.n_validation, seed=seed + 1))
    return {"variance": logs.var()}
