"""The path from a free field to phi^4: its couplings, its actions, and the free field it begins at."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physics_twins.lattice.parameters import LatticeParameters, Theory, phi4


@dataclass(frozen=True)
class Path:
    """Theories from time 0, a free field, to time 1, phi^4.

    Attributes:
        shape: Sites in each direction.
        quartic: Coupling lambda at the end.
        masses: Mass squared as a polynomial in time, its coefficients from the constant one on.
        power: Of time, with which the coupling grows. A large lattice is strongly coupled soon: where
            the coupling grows evenly, its mass must change at once.
    """

    theory: ClassVar[Theory] = "phi4"
    shape: tuple[int, ...]
    quartic: float
    masses: tuple[float, ...]
    power: int = 1

    @property
    def free_mass2(self) -> float:
        """Mass squared of the free field."""
        return self.masses[0]

    @property
    def chunk(self) -> int:
        """Fields that are worked on at a time, so that they fit into a cache."""
        return max(1, min(256, 65536 // self.n_sites))

    @property
    def mass2(self) -> float:
        """Bare mass squared at the end."""
        return sum(self.masses)

    @property
    def axes(self) -> tuple[int, ...]:
        """The last axes of a batch of fields."""
        return tuple(range(-len(self.shape), 0))

    @property
    def n_sites(self) -> int:
        """Sites of the lattice."""
        return math.prod(self.shape)

    @cached_property
    def laplace(self) -> Tensor:
        """Squares of lattice momenta in the form of `rfftn`, the last direction halved."""
        return momenta2(self.shape).sum(0)

    def couplings(self, time: float) -> tuple[float, float]:
        """Return mass squared and quartic coupling at a time."""
        return sum(c * time**n for n, c in enumerate(self.masses)), self.quartic * time**self.power

    def rates(self, time: float) -> tuple[float, float]:
        """Return how fast mass squared and quartic coupling change."""
        mass2 = sum(n * c * time ** (n - 1) for n, c in enumerate(self.masses) if n)
        return mass2, self.power * self.quartic * time ** (self.power - 1)

    def action(self, phi: Tensor, time: float = 1.0) -> Tensor:
        """Return the action at a time, (field,), of fields (field, *shape)."""
        mass2, quartic = self.couplings(time)
        hops = sum(phi * phi.roll(1, axis) for axis in self.axes)
        square = phi * phi
        local = (2 * len(self.shape) + mass2) * square + quartic * square * square
        return (local - 2 * hops).sum(self.axes)

    def gradient(self, phi: Tensor, time: float = 1.0) -> Tensor:
        """Return the gradient of the action at a time, of the fields' shape."""
        mass2, quartic = self.couplings(time)
        near = sum(phi.roll(1, axis) + phi.roll(-1, axis) for axis in self.axes)
        return 2 * (2 * len(self.shape) + mass2 + 2 * quartic * phi * phi) * phi - 2 * near

    def rate(self, phi: Tensor, time: float) -> Tensor:
        """Return the derivative of the action by time, (field,)."""
        mass2, quartic = self.rates(time)
        square = phi * phi
        return (mass2 * square + quartic * square * square).sum(self.axes)

    def parameters(self, time: float, **options: Any) -> LatticeParameters:
        """Return one chain of the theory at a time."""
        return phi4(self.shape, *self.couplings(time), **options)

    def in_space(self, phi: Tensor) -> NDArray[np.float64]:
        """Return fields in the layout of `simulate`, which is the same."""
        return phi.numpy()

    def from_space(self, fields: NDArray[np.float64]) -> Tensor:
        """Return fields from the layout of a dataset of `simulate`."""
        return torch.from_numpy(fields)

    def repaired(self, phi: Tensor) -> Tensor:
        """Return the fields: real numbers need no repair."""
        return phi

    def observed(self, phi: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return by name what `simulate` measures of each field, (field,)."""
        smallest = []
        for axis, n in zip(self.axes, self.shape, strict=True):
            waves = torch.exp(2j * torch.pi * torch.arange(n) / n).to(torch.complex128)
            line = phi.sum([other for other in self.axes if other != axis])
            smallest.append((line.to(waves.dtype) @ waves).abs().square() / self.n_sites)
        found = {
            "magnetisation": phi.mean(self.axes),
            "phi2": phi.square().mean(self.axes),
            "action": self.action(phi) / self.n_sites,
            "structure": torch.stack(smallest).mean(0),
            "phi4": phi.pow(4).mean(self.axes),
        }
        return {name: values.numpy() for name, values in found.items()}

    def draw_prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return fields drawn at time 0, (field, *shape)."""
        noise = torch.randn(n, *self.shape, dtype=torch.float64, generator=generator)
        scale = (2 * (self.laplace + self.free_mass2)) ** -0.5
        return torch.fft.irfftn(torch.fft.rfftn(noise, dim=self.axes) * scale, self.shape, self.axes)

    def prior_log_density(self, phi: Tensor) -> Tensor:
        """Return the logarithm of the density at time 0, (field,)."""
        widths = 2 * (momenta2(self.shape, half=False).sum(0) + self.free_mass2)
        norm = 0.5 * (torch.log(widths).sum() - self.n_sites * math.log(2 * math.pi))
        return norm - self.action(phi, 0.0)


def momenta2(shape: tuple[int, ...], *, half: bool = True) -> Tensor:
    """Return the squared lattice momenta 4 sin^2(p / 2) of each direction, (direction, *momenta).

    Args:
        shape: Sites in each direction.
        half: Whether the last direction has the half that `rfftn` keeps.
    """
    lengths = [n // 2 + 1 if half and axis == len(shape) - 1 else n for axis, n in enumerate(shape)]
    waves = [
        4 * torch.sin(math.pi * torch.arange(k, dtype=torch.float64) / n) ** 2
        for n, k in zip(shape, lengths, strict=True)
    ]
    return torch.stack(torch.meshgrid(*waves, indexing="ij"))
