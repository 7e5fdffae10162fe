"""What a training is about: modules, the losses that are lowered, the data and how it is validated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Modules: TypeAlias = Mapping[str, nn.Module]
Loss: TypeAlias = Tensor | tuple[Tensor, Mapping[str, Tensor | float]]


@dataclass(frozen=True)
class Objective:
    """A loss and the optimiser that lowers it.

    Attributes:
        loss: Called with the modules, the batch (None where the task has no data) and the number of
            steps done; returns the loss, or the loss and figures to keep beside it.
        optimizer: It holds the weights that this loss changes, and no others.
        scheduler: Its learning rate by step.
        every: It is lowered at each `every`-th step, as a generator is less often than its critic.
    """

    loss: Callable[[Modules, Any, int], Loss]
    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    every: int = 1


@dataclass(frozen=True)
class Task:
    """All that a training needs besides its settings and seed.

    Attributes:
        modules: By name; all their weights are kept in checkpoints, averaged and given back.
        objectives: By name, in the order in which a step lowers them.
        data: Tensors to draw batches from, None where the losses draw their own samples; numbers of
            examples where a loss takes these from elsewhere.
        validate: Called with the modules (averaged, where they are, and in evaluation mode); returns
            figures by name. It draws the same random numbers each time.
        watch: The figure that decides which weights are the best, those where it is smallest, and when
            to stop; "" keeps the last.
        identity: Hash of what else decides the result: data, physical parameters.

    Raises:
        ValueError: There is no objective, or a figure is watched that nothing computes.
    """

    modules: Modules
    objectives: Mapping[str, Objective]
    data: "Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None" = None
    validate: Callable[[Modules], Mapping[str, Tensor | float]] | None = None
    watch: str = ""
    identity: str = ""

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("a task needs at least one objective")
        if self.watch and self.validate is None:
            raise ValueError(f"watch = {self.watch!r} needs a function validate that computes it")

    def fingerprint(self) -> dict[str, str]:
        """Return what must be the same for a checkpoint to be this task's, by name."""
        weights = {
            f"weight {module}.{name}": f"{tuple(tensor.shape)} {tensor.dtype}"
            for module, holder in self.modules.items()
            for name, tensor in holder.state_dict().items()
        }
        objectives = {
            f"objective {name}": f"{_kind(each.optimizer)}, {_kind(each.scheduler)}, every {each.every}"
            for name, each in self.objectives.items()
        }
        return weights | objectives | {"task identity": self.identity}


def _kind(value: Any) -> str:
    return "no scheduler" if value is None else type(value).__name__
