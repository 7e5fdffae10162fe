"""The states of every random generator that a training draws from: Python, numpy, torch, its device."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_CPU = torch.device("cpu")


def seed_all(*key: int) -> None:
    """Seed Python, numpy and torch on every device from whole numbers, such as seed, rank and step."""
    words = _sequence(key).generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)  # noqa: NPY002  (the global one, which libraries use)
    torch.manual_seed(int(words[2]) % 2**63)


def derived_seed(*key: int) -> int:
    """Return a seed below 2⁶³ that belongs to whole numbers, such as seed and epoch."""
    return int(_sequence(key).generate_state(1, np.uint64)[0]) % 2**63


def capture(device: torch.device = _CPU) -> dict[str, Any]:
    """Return the generators' states; of devices only that of `device`, the one this process uses."""
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    kind, words, *rest = numpy_state
    states = {
        "python": random.getstate(),
        "numpy": (kind, words.tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def restore(states: Mapping[str, Any], device: torch.device = _CPU) -> None:
    """Put the generators back into states from `capture`; a device without one keeps its own."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type])


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
