"""One visible training loop, for a classifier, a pair of adversaries or a flow that needs no data.

A training lives in a folder. Killed at any moment and called again, it goes on from its checkpoint and
ends with the same bits as if it had not been killed, on the same kind of device with as many threads
(see `cpu_threads`); called once more, it returns what was trained.
"""

import multiprocessing
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from physics_twins.data import attributes
from physics_twins.runs import Interruption
from physics_twins.training import checkpoints, own_process, random_states, training_state
from physics_twins.training.history import History
from physics_twins.training.settings import TrainingSettings
from physics_twins.training.task import Task
from physics_twins.training.training_state import Training

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client, Future

LOOK_EVERY_STEPS = 10  # between looks at the clock where several devices must agree on the time

# The global random generators belong to one training at a time.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        modules: By name, on the CPU and in evaluation mode, with the best weights where a figure is
            watched, else with the averages where there are, else with the last.
        history: Losses, learning rates and figures by step, with units.
        n_steps: Steps done; fewer than asked for where the watched figure did not improve.
        best_step: Steps done at the best validation, 0 where no figure is watched.
        best_figures: Figures of that validation.
        resumed_at: Steps done at each time it was taken up again.
    """

    modules: Mapping[str, nn.Module]
    history: "xr.Dataset"
    n_steps: int
    best_step: int
    best_figures: Mapping[str, float]
    resumed_at: tuple[int, ...]

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of all weights."""
        weights = {name: module.state_dict() for name, module in self.modules.items()}
        return checkpoints.contents_sha256(weights)


def train(
    build: Callable[[], Task],
    settings: TrainingSettings,
    *,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train, go on with a training that was stopped, or return what was trained before.

    The caller's random generators are left as they were. Trainings in one process wait for each other.

    Args:
        build: Returns the task; it is called with seeded generators, so that the first weights follow
            from the seed.
        settings: How long and where.
        seed: Seed of weights, order of the data and every random number drawn by a loss.
        folder: Where checkpoints and the TensorBoard log are; made when missing. By default a temporary
            one: such a training cannot go on.
        progress: Whether to show a bar; never shown by a worker.

    Raises:
        ValueError: The folder holds another training, or only damaged checkpoints.
        FloatingPointError: A loss is not finite.
        KeyboardInterrupt: Stopped by Ctrl-C; a checkpoint was written.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            return train(build, settings, seed=seed, folder=place, progress=progress)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _ONE_AT_A_TIME, random_states.kept():
        random_states.seed_all(seed, training_state.WEIGHTS)
        task = build()
        expected = training_state.fingerprint(task, settings, seed)
        state = training_state.read_checkpoint(folder, expected)
        if state is None or not state["progress"]["finished"]:
            seen = progress and _in_view()
            _fabric(settings).launch(
                partial(_run, task=task, settings=settings, seed=seed, folder=folder, in_view=seen)
            )
            state = training_state.read_checkpoint(folder, expected)
        if state is None or not state["progress"]["finished"]:
            raise KeyboardInterrupt
        return _trained(task, settings, seed, state)


def submit(client: "Client", function: Callable[..., Any], *arguments: Any, **options: Any) -> "Future":
    """Send a function that calls `train` to a worker, with a GPU if any has; return its future result.

    There it has a process of its own: Dask's threads draw from Python's and numpy's global generators.
    When the worker dies, Dask sends the function to another one, where `train` goes on from the
    checkpoint in its folder; the folder must be one that all workers see. Dask gives up after more
    deaths than its setting `distributed.scheduler.allowed-failures` says, three by default.

    Args:
        client: A client of any cluster.
        function: A function of a module; what it returns comes back. Sent twice with the same
            arguments, it runs once.
        arguments: Its arguments.
        options: Its arguments by name.
    """
    from dask.tokenize import tokenize

    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    resources = {"GPU": 1} if any("GPU" in worker["resources"] for worker in workers) else None
    key = f"{function.__name__}-{tokenize(function, arguments, options)}"
    return client.submit(
        own_process.call, function, *arguments, key=key, resources=resources, **options
    )


def _in_view() -> bool:
    """Whether somebody may be looking: this is no worker's thread or process."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and multiprocessing.parent_process() is None


def _run(
    fabric: Fabric, task: Task, settings: TrainingSettings, seed: int, folder: Path, in_view: bool
) -> None:
    """Train in this process, one of as many as there are devices."""
    training = Training(fabric, task, settings, seed=seed, folder=folder)
    first, done = fabric.is_global_zero, training.progress.step
    hidden = not (in_view and first)
    with (
        _threads(settings.cpu_threads),
        Interruption() as interruption,
        training.history.logged(folder, done) if first else nullcontext(),
        tqdm(total=settings.max_steps, initial=done, desc="train", unit="step", disable=hidden) as bar,
    ):
        _loop(training, interruption, bar)


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let torch compute with a number of threads on a CPU; 0 leaves it as it is."""
    former = torch.get_num_threads()
    torch.set_num_threads(n_threads or former)
    try:
        yield
    finally:
        torch.set_num_threads(former)


def _loop(training: Training, interruption: Interruption, bar: "tqdm[Any]") -> None:
    """Train to the end, or until an interruption is requested; both end with a checkpoint."""
    fabric, task, settings = training.fabric, training.task, training.settings
    batches = training.batches()
    while not training.progress.finished:
        step = training.progress.step
        batch = fabric.to_device(next(batches))
        for name, objective in task.objectives.items():
            if (step + 1) % objective.every:
                continue
            optimizer, scheduler = objective.optimizer, objective.scheduler
            optimizer.zero_grad()
            with fabric.autocast():
                returned = objective.loss(training.modules, batch, step)
            loss, figures = returned if isinstance(returned, tuple) else (returned, {})
            fabric.backward(loss)
            _average_over_devices(training, optimizer)
            rate = optimizer.param_groups[0]["lr"]
            figures = {**figures, "loss": loss, "learning_rate": rate}
            if settings.clip_norm:
                figures["gradient_norm"] = _clip(training, optimizer)
            training.optimizers[name].step()
            if scheduler is not None:
                scheduler.step()
            training.history.add(step + 1, {f"{name}_{k}": value for k, value in figures.items()})
        training.after_step()
        bar.update()
        if training.progress.step % LOOK_EVERY_STEPS == 0:
            training.history.settle()
            names = [f"{name}_loss" for name in task.objectives]
            shown = {name: f"{training.history.latest(name):.4g}" for name in names}
            bar.set_postfix(shown, refresh=False)
        stop, due = _agreed(training, interruption)
        if due or stop or training.progress.finished:
            training.save()
        if stop:
            return


def _average_over_devices(training: Training, optimizer: Optimizer) -> None:
    """Give all devices the mean gradient of their shares of the batch, and the mean running statistics.

    Not by the usual wrapper (DDP): that sees calls of a module only, and not a flow's `log_prob`, the
    gradient penalty of a critic, or a generator's pass through it.
    """
    if training.fabric.world_size == 1:
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    tensors = [weight.grad for weight in weights if weight.grad is not None]
    buffers = [buffer for module in training.modules.values() for buffer in module.buffers()]
    tensors += [buffer for buffer in buffers if buffer.is_floating_point()]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    mean = torch.as_tensor(training.fabric.all_reduce(flat, reduce_op="mean"))
    for tensor, part in zip(tensors, mean.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _clip(training: Training, optimizer: Optimizer) -> Tensor:
    """Cut the gradient to its longest allowed norm; return the norm it had."""
    module = next(iter(training.modules.values()))  # asked for, and used by sharded strategies only
    longest = training.settings.clip_norm
    # Half precision meets infinite norms now and then, skips the step and scales its loss down.
    norm = training.fabric.clip_gradients(module, optimizer, max_norm=longest, error_if_nonfinite=False)
    return torch.as_tensor(norm)


def _agreed(training: Training, interruption: Interruption) -> tuple[bool, bool]:
    """Return whether any process was told to stop, and whether for any a checkpoint is due."""
    stop, due = bool(interruption.requested), training.save_is_due()
    if training.fabric.world_size == 1:
        return stop, due
    if training.progress.step % LOOK_EVERY_STEPS and training.settings.checkpoint_s:
        return False, False
    flags = torch.tensor([float(stop), float(due)], device=training.fabric.device)
    flags = torch.as_tensor(training.fabric.all_reduce(flags, reduce_op="max"))
    return bool(flags[0]), bool(flags[1])


def _fabric(settings: TrainingSettings) -> Fabric:
    strategy = settings.strategy
    if strategy == "auto" and settings.devices > 1 and multiprocessing.parent_process() is not None:
        strategy = "ddp_spawn"  # Fabric's own choice runs the script again, here that of a worker
    return Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=strategy,
        precision=settings.precision,
        # Inside a batch job too it starts its own processes, and does not look for those of srun.
        plugins=[LightningEnvironment()],
    )


def _trained(task: Task, settings: TrainingSettings, seed: int, state: Mapping[str, Any]) -> Trained:
    for name, weights in training_state.final_weights(state).items():
        task.modules[name].cpu().eval().load_state_dict(weights)
    done = training_state.Progress(**state["progress"])
    history = History()
    history.load_state(state["history"])
    traced = attributes(settings, seed=seed, title="History of a training")
    return Trained(
        modules=task.modules,
        history=history.to_dataset(traced),
        n_steps=done.step,
        best_step=done.best_step,
        best_figures=done.best_figures,
        resumed_at=tuple(done.resumed_at),
    )
