"""The states of every random generator that a training draws from: Python, numpy, torch and its device.

They are kept as tensors, so that those of several processes can be gathered and stored.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CPU = torch.device("cpu")
_WORDS = 624  # of the Mersenne twister, in Python and numpy


def seed_all(*key: int) -> None:
    """Seed Python, numpy and torch on every device from whole numbers, such as seed, rank and step."""
    words = _sequence(key).generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)  # noqa: NPY002  (the global one, which libraries use)
    torch.manual_seed(int(words[2]) % 2**63)


def derived_seed(*key: int) -> int:
    """Return a seed below 2⁶³ that belongs to whole numbers, such as seed and epoch."""
    return int(_sequence(key).generate_state(1, np.uint64)[0]) % 2**63


def capture(device: torch.device = _CPU) -> dict[str, Tensor]:
    """Return the generators' states; of devices only that of `device`, the one this process uses."""
    version, words, gauss = random.getstate()
    _, keys, *rest = _numpy_state()
    states = {
        "python": torch.tensor([version, *words]),
        "python_gauss": _number_or_nan(gauss),
        "numpy": torch.tensor([*map(int, keys), *rest[:2]]),
        "numpy_gauss": torch.tensor([rest[2]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = _generators_of(device).get_rng_state()
    return states


def restore(states: Mapping[str, Tensor], device: torch.device = _CPU) -> None:
    """Put the generators back into states from `capture`; a device without one keeps its own."""
    version, *words = states["python"].tolist()
    gauss = states["python_gauss"].item()
    random.setstate((version, tuple(words), None if gauss != gauss else gauss))
    keys, (position, has_gauss) = states["numpy"][:_WORDS].numpy(), states["numpy"][_WORDS:].tolist()
    numpy_state: Any = ("MT19937", keys, position, has_gauss, states["numpy_gauss"].item())
    np.random.set_state(numpy_state)  # noqa: NPY002
    # Cloned, because torch reads a state past the place where a slice of a tensor begins.
    torch.set_rng_state(states["torch"].cpu().clone())
    if device.type != "cpu" and device.type in states:
        _generators_of(device).set_rng_state(states[device.type].cpu().clone())


@contextmanager
def kept(device: torch.device = _CPU) -> Iterator[None]:
    """Leave the generators as they were before the block, whatever it draws."""
    states = capture(device)
    try:
        yield
    finally:
        restore(states, device)


def _sequence(key: tuple[int, ...]) -> np.random.SeedSequence:
    # With the length, because a sequence of seeds does not see zeros at its end.
    return np.random.SeedSequence([len(key), *key])


def _numpy_state() -> Any:
    return np.random.get_state(legacy=True)  # noqa: NPY002


def _number_or_nan(number: float | None) -> Tensor:
    return torch.tensor([float("nan") if number is None else number], dtype=torch.float64)


def _generators_of(device: torch.device) -> Any:
    return torch.get_device_module(device)
