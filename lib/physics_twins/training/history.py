"""What a training has seen of itself: losses and figures by step, as numbers, a log and a dataset."""

import math
from collections.abc import Mapping
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
        self._steps: dict[str, list[int]] = {}
        self._values: dict[str, list[float]] = {}
        self._pending: list[tuple[str, int, Tensor]] = []
        self._log: Any = None

    def add(self, step: int, values: Mapping[str, Tensor | float]) -> None:
        """Add numbers that belong to a step."""
        for name, value in values.items():
            value = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value))
            self._pending.append((name, step, value))

    def settle(self) -> None:
        """Take over what was added, and log it.

        Raises:
            FloatingPointError: A loss is not finite; the message names it and its step.
            ValueError: A figure is not one number.
        """
        pending, self._pending = self._pending, []
        for (name, step, _), value in zip(pending, _numbers(pending), strict=True):
            if name.endswith("_loss") and not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {step}: the training is stopped")
            self._steps.setdefault(name, []).append(step)
            self._values.setdefault(name, []).append(value)
            if self._log is not None:
                self._log.add_scalar(name.replace("_", "/", 1), value, step)

    def latest(self, name: str) -> float:
        """Return the last value of a name, NaN where there is none yet."""
        return self._values.get(name, [math.nan])[-1]

    def open_log(self, folder: Path, step: int) -> None:
        """Write what is settled from now on for TensorBoard too; what it has after `step` is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._log = SummaryWriter(folder / TENSORBOARD, purge_step=step + 1 if step else None)

    def flush_log(self) -> None:
        """Bring the log to the disk, so that a checkpoint never is ahead of it."""
        if self._log is not None:
            self._log.flush()

    def close_log(self) -> None:
        """End the log; harmless when repeated."""
        if self._log is not None:
            self._log.close()
        self._log = None

    def state(self) -> dict[str, Any]:
        """Return everything that is settled, for a checkpoint."""
        return {
            name: (torch.tensor(steps), torch.tensor(self._values[name], dtype=torch.float64))
            for name, steps in self._steps.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self._steps = {name: steps.tolist() for name, (steps, _) in state.items()}
        self._values = {name: values.tolist() for name, (_, values) in state.items()}

    def to_dataset(self, units: Mapping[str, str], attributes: Mapping[str, Any]) -> "xr.Dataset":
        """Return what is settled, with dimensions `step` and `validation`.

        Args:
            units: Units by variable; "1" where missing.
            attributes: What the dataset shall say of itself.
        """
        import xarray as xr

        of_validation = {name for name in self._steps if name.startswith("validation_")}
        columns = [
            self._column(name, "validation" if name in of_validation else "step")
            for name in self._steps
        ]
        dataset = xr.merge(columns, join="outer") if columns else xr.Dataset()
        for name in self._steps:
            dataset[name].attrs["units"] = units.get(name, "1")
        for dimension, words in (("step", "Step"), ("validation", "Step of the validation")):
            if dimension in dataset:
                dataset[dimension].attrs |= {"units": "1", "long_name": words}
        return dataset.assign_attrs(attributes)

    def _column(self, name: str, dimension: str) -> "xr.Dataset":
        import xarray as xr

        return xr.Dataset(
            {name: (dimension, self._values[name])}, coords={dimension: self._steps[name]}
        )


def _numbers(pending: list[tuple[str, int, Tensor]]) -> list[float]:
    """Return all values, brought from their device at once."""
    for name, step, value in pending:
        if value.numel() != 1:
            raise ValueError(f"{name} at step {step} must be one number, not {tuple(value.shape)}")
    by_device: dict[torch.device, list[int]] = {}
    for n, (_, _, value) in enumerate(pending):
        by_device.setdefault(value.device, []).append(n)
    numbers = [0.0] * len(pending)
    for places in by_device.values():
        together = torch.stack([pending[n][2].reshape(()).double() for n in places]).tolist()
        for n, number in zip(places, together, strict=True):
            numbers[n] = number
    return numbers
