"""What a training has seen of itself: losses and figures by step, as numbers, a log and a dataset."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import xarray as xr

TENSORBOARD = "tensorboard"


class History:
    """Numbers by name and step. They stay on their device until `settle`, so that it need not wait."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, float]] = {}
        self._pending: list[tuple[str, int, Tensor | float]] = []
        self._log: Any = None

    def add(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Add numbers that belong to a step."""
        for name, value in values.items():
            number = value.detach() if isinstance(value, Tensor) else value
            self._pending.append((name, step, number))

    def settle(self) -> None:
        """Take over what was added, and log it.

        Raises:
            FloatingPointError: A loss is not finite; the message names it and its step.
        """
        pending, self._pending = self._pending, []
        for name, step, value in pending:
            number = float(value)
            if name.endswith("_loss") and not math.isfinite(number):
                raise FloatingPointError(f"{name} is {number} at step {step}: the training is stopped")
            self._values.setdefault(name, {})[step] = number
            if self._log is not None:
                self._log.add_scalar(name.replace("_", "/", 1), number, step)

    def latest(self, name: str) -> float:
        """Return the last value of a name, NaN where there is none yet."""
        return next(reversed(self._values.get(name, {0: math.nan}).values()))

    @contextmanager
    def logged(self, folder: Path, step: int) -> Iterator[None]:
        """Write what the block settles for TensorBoard too; what is there after `step` is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        purged = step + 1 if step else None
        with SummaryWriter(folder / TENSORBOARD, purge_step=purged) as self._log:
            yield

    def flush_log(self) -> None:
        """Bring the log to the disk, so that a checkpoint never is ahead of it."""
        if self._log is not None:
            self._log.flush()

    def state(self) -> dict[str, Any]:
        """Return everything that is settled, for a checkpoint."""
        return {
            name: (torch.tensor(list(found)), torch.tensor(list(found.values()), dtype=torch.float64))
            for name, found in self._values.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self._values = {
            name: dict(zip(steps.tolist(), values.tolist(), strict=True))
            for name, (steps, values) in state.items()
        }

    def to_dataset(self, attributes: Mapping[str, Any]) -> "xr.Dataset":
        """Return what is settled, with dimensions `step` and `validation`.

        Args:
            attributes: What the dataset shall say of itself.
        """
        import xarray as xr

        columns: dict[str, xr.DataArray] = {}
        for name, found in self._values.items():
            dimension = "validation" if name.startswith("validation_") else "step"
            coordinates = {dimension: list(found)}
            columns[name] = xr.DataArray(list(found.values()), coordinates, attrs={"units": "1"})
        dataset = xr.Dataset(columns, attrs=attributes)
        for dimension in dataset.dims:
            words = {"step": "Step", "validation": "Step of the validation"}[str(dimension)]
            dataset[dimension].attrs |= {"units": "1", "long_name": words}
        return dataset
