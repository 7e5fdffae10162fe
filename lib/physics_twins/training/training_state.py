"""A training under way: everything that a checkpoint holds, and how it gets in and out of one."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel

from physics_twins.training import checkpoints, random_states
from physics_twins.training.batches import Batches
from physics_twins.training.history import History
from physics_twins.training.settings import HOW, TrainingSettings
from physics_twins.training.task import Task

WEIGHTS, _STEPS, _VALIDATION = 1, 2, 3  # keep the random numbers of different uses apart

_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: Steps done; with the seed it says which data come next.
        finished: Whether nothing is left to do.
        waited: Validations since the best one.
        best_step: Steps done at the best validation, 0 where there is none.
        best_figures: What was found there.
        resumed_at: Steps done at each time that it was taken up again.
    """

    step: int = 0
    finished: bool = False
    waited: int = 0
    best_step: int = 0
    best_figures: dict[str, float] = field(default_factory=dict)
    resumed_at: list[int] = field(default_factory=list)


class Training:
    """A task on its device, with all that changes while it is trained."""

    def __init__(
        self, fabric: Fabric, task: Task, settings: TrainingSettings, *, seed: int, folder: Path
    ) -> None:
        """Bring a task to its device, in the state of the newest checkpoint if there is one."""
        self.fabric, self.task, self.settings = fabric, task, settings
        self.modules = {name: _moved(fabric, module) for name, module in task.modules.items()}
        self.averages = _averages(self.modules, settings.ema_decay)
        self.optimizers: dict[str, Any] = {
            name: fabric.setup_optimizers(each.optimizer) for name, each in task.objectives.items()
        }
        self.history = History()
        self.progress = Progress()
        self._best: dict[str, Any] = {}
        self._seed, self._folder = seed, folder
        self._saved = time.monotonic()
        random_states.seed_all(seed, _STEPS, fabric.global_rank)
        state = read_checkpoint(folder, fingerprint(task, settings, seed))
        if state is not None:
            self._load(state)

    def batches(self) -> Iterator[Any]:
        """Return the batches that come next, None each time where the task has no data."""
        if self.task.data is None:
            return repeat(None)
        batches = Batches(
            self.task.data,
            batch_size=self.settings.batch_size,
            seed=self._seed,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        return batches.starting_at(self.progress.step)

    def after_step(self) -> None:
        """Count a step, follow the averages, and see whether it was the last."""
        for name, average in self.averages.items():
            average.update_parameters(self.modules[name])
        self.progress.step += 1
        self.progress.finished = self.progress.step >= self.settings.max_steps
        due = self.progress.step % self.settings.validate_every == 0
        if self.task.validate is not None and (due or self.progress.finished):
            self._validate(self.task.validate)

    def save_is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._saved >= self.settings.checkpoint_s

    def save(self) -> None:
        """Write a checkpoint; all processes take part, and the first one writes."""
        self.history.settle()
        state = self._state()
        if self.fabric.is_global_zero:
            self.history.flush_log()
            checkpoints.write(self._folder, self.progress.step, state)
        self.fabric.barrier()
        self._saved = time.monotonic()

    def _validate(self, validate: Any) -> None:
        """Let the first process compute the figures, and all draw the same conclusions."""
        figures: dict[str, float] = {}
        if self.fabric.is_global_zero:
            modules = self._averaged()
            with random_states.kept(self.fabric.device), _evaluating(modules), torch.no_grad():
                random_states.seed_all(self._seed, _VALIDATION)
                figures = {name: float(value) for name, value in validate(modules).items()}
        figures = self.fabric.broadcast(figures)
        step = self.progress.step
        self.history.add(step, {f"validation_{name}": value for name, value in figures.items()})
        self.history.settle()
        if self.task.watch:
            self._judge(figures)

    def _judge(self, figures: dict[str, float]) -> None:
        """Keep the weights if they are the best so far; end if they have not been for too long."""
        if self.task.watch not in figures:
            found = ", ".join(figures) or "nothing"
            raise ValueError(f"validate returned {found}, and not the watched {self.task.watch!r}")
        progress, value = self.progress, figures[self.task.watch]
        best = progress.best_figures.get(self.task.watch, math.nan)
        if value < best or (math.isnan(best) and not math.isnan(value)):
            progress.best_step, progress.best_figures, progress.waited = progress.step, figures, 0
            self._best = _weights(self._averaged())
        else:
            progress.waited += 1
            patience = self.settings.patience
            progress.finished |= patience > 0 and progress.waited >= patience

    def _averaged(self) -> dict[str, nn.Module]:
        """Return the modules with the weights that are validated and given back."""
        return {name: average.module for name, average in self.averages.items()} or self.modules

    def _state(self) -> dict[str, Any]:
        objectives = self.task.objectives.items()
        return {
            "fingerprint": fingerprint(self.task, self.settings, self._seed),
            "progress": asdict(self.progress),
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "averages": {name: average.state_dict() for name, average in self.averages.items()},
            "optimizers": {name: each.optimizer.state_dict() for name, each in objectives},
            "schedulers": {n: each.scheduler.state_dict() for n, each in objectives if each.scheduler},
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": self._gathered_random_states(),
            "history": self.history.state(),
            "best": self._best,
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])
        for name, objective in self.task.objectives.items():
            objective.optimizer.load_state_dict(state["optimizers"][name])
            if objective.scheduler is not None:
                objective.scheduler.load_state_dict(state["schedulers"][name])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.history.load_state(state["history"])
        self._best = state["best"]
        self.progress = Progress(**state["progress"])
        self.progress.resumed_at.append(self.progress.step)
        random_states.restore(state["random"][self.fabric.global_rank], self.fabric.device)
        _log.info("%s: resumed after step %d", self._folder, self.progress.step)

    def _gathered_random_states(self) -> list[dict[str, Any]]:
        """Return the generators' states of all processes."""
        own = random_states.capture(self.fabric.device)
        states = [own] * self.fabric.world_size
        if len(states) > 1:
            distributed.all_gather_object(states, own)
        return states


def fingerprint(task: Task, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """Return what two processes must share to continue each other's training, by name."""
    values = {"seed": seed} | settings.to_papermill()
    return {f"setting {k}": v for k, v in values.items() if k not in HOW} | task.fingerprint()


def read_checkpoint(folder: Path, expected: Mapping[str, Any]) -> Any:
    """Return the state in a folder, None where there is none.

    Raises:
        ValueError: It belongs to another training, or it is damaged and so is the one before.
    """
    state = checkpoints.read_newest(folder)
    if state is None:
        return None
    found = state["fingerprint"]
    for name in {**expected, **found}:
        there, here = found.get(name), expected.get(name)
        if there != here:
            what = f"{name} is {there!r} there, {here!r} here"
            raise ValueError(f"{folder} holds another training: {what}; give another folder")
    return state


def final_weights(state: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights a state ends with: the best, else the averages, else the last."""
    averages = {
        name: {k.removeprefix("module."): v for k, v in average.items() if k != "n_averaged"}
        for name, average in state["averages"].items()
    }
    return state["best"] or averages or state["modules"]


@contextmanager
def _evaluating(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put modules into evaluation mode, and each of their parts back into its own."""
    parts = [(part, part.training) for module in modules.values() for part in module.modules()]
    for module in modules.values():
        module.eval()
    try:
        yield
    finally:
        for part, was_training in parts:
            part.training = was_training


def _moved(fabric: Fabric, module: nn.Module) -> nn.Module:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_shared():  # with the other processes that were started with it
            tensor.data = tensor.data.clone()
    return fabric.to_device(module)


def _averages(modules: Mapping[str, nn.Module], decay: float) -> dict[str, AveragedModel]:
    if not decay:
        return {}

    def follow(averages: Any, weights: Any, n_averaged: torch.Tensor | int) -> None:
        # Short at first: else the weights that a training began with stay in the average for long.
        share = max(1 - decay, 9 / (10 + int(n_averaged)))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, share)

    return {name: AveragedModel(module, multi_avg_fn=follow) for name, module in modules.items()}


def _weights(modules: Mapping[str, nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    return {
        name: {key: tensor.detach().cpu().clone() for key, tensor in module.state_dict().items()}
        for name, module in modules.items()
    }
