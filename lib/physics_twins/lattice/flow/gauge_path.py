"""Paths to gauge theories in two dimensions: what they begin at, their actions and exact weights.

Links are angles of U(1), (field, direction, t, x), or matrices of SU(N) as pairs of real numbers,
(field, direction, t, x, row, column, 2); densities are relative to Haar's measure, which is 1 in all.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physics_twins.lattice import exact
from physics_twins.lattice.abelian import one_flux
from physics_twins.lattice.flow.path import momenta2
from physics_twins.lattice.parameters import LatticeParameters, Theory

_LARGEST_CHARGE, _N_TURNS = 100, 3  # of sums over charges, and over turns of a plaquette


@dataclass(frozen=True)
class GaugePath:
    """Theories with a plaquette action, from time 0 on.

    Attributes:
        theory: `u1`, `su2` or `su3`.
        shape: Sites in time and space.
        beta: Inverse coupling of Wilson's action at the end; it grows evenly.
        prior_beta: Inverse coupling of the heat kernel at the beginning, of U(1) alone; with 0 it
            begins at Haar's measure, all links independent. Fields of the heat kernel, with their
            charges, are drawn at once only because in 2D there is one plaquette for each site.
    """

    theory: Theory
    shape: tuple[int, ...]
    beta: float
    prior_beta: float = 0.0

    @property
    def n_sites(self) -> int:
        """Sites of the lattice, as many as plaquettes."""
        return math.prod(self.shape)

    @property
    def chunk(self) -> int:
        """Fields that are worked on at a time, so that they fit into a cache."""
        return max(1, min(256, (65536 if self.theory == "u1" else 8192) // self.n_sites))

    @property
    def n_colours(self) -> int:
        """Rows of a link."""
        return int(self.theory[-1])

    @cached_property
    def laplace(self) -> Tensor:
        """Squares of lattice momenta in the form of `rfftn`."""
        return momenta2(self.shape).sum(0)

    def parameters(self, time: float, **options: Any) -> LatticeParameters:
        """Return one chain of the theory at a time on a path from Haar's measure, or at the end."""
        size = {"side": self.shape[1], "n_time": self.shape[0], "n_chains": 1}
        return LatticeParameters(theory=self.theory, beta=self.beta * time, **size, **options)

    def action(self, links: Tensor, time: float = 1.0) -> Tensor:
        """Return the action at a time, (field,)."""
        if self.theory != "u1":
            return time * self.beta * (1 - traces(links)).sum((-2, -1))
        angles = plaquette_angles(links)
        wilson = time * self.beta * (1 - angles.cos())
        if not self.prior_beta:
            return wilson.sum((-2, -1))
        turns = 2 * math.pi * torch.arange(-_N_TURNS, _N_TURNS + 1, dtype=torch.float64)
        folded = torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
        kernel = torch.logsumexp(-0.5 * self.prior_beta * (folded[..., None] - turns) ** 2, -1)
        return (wilson - (1 - time) * kernel).sum((-2, -1))

    def gradient(self, links: Tensor, time: float = 1.0) -> Tensor:
        """Return the gradient of the action at a time, of the links' shape."""
        with torch.enable_grad():
            links = links.detach().requires_grad_()
            return torch.autograd.grad(self.action(links, time).sum(), links)[0]

    def rate(self, links: Tensor, time: float) -> Tensor:
        """Return the derivative of the action by time, (field,)."""
        return self.action(links, 1.0) - self.action(links, 0.0)

    def draw_prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return links drawn at time 0."""
        if self.theory != "u1":
            return self._haar(n, generator)
        angles = math.pi * (2 * torch.rand(n, 2, *self.shape, generator=generator).double() - 1)
        if not self.prior_beta:
            return angles
        # Any gauge, any phase of loops around the lattice, normal waves, and a charge.
        gauge = angles[:, 0]
        links = torch.stack([gauge - gauge.roll(-1, 1), gauge - gauge.roll(-1, 2)], 1)
        links = links + angles[:, 1, 0, :2, None, None]
        noise = torch.randn(n, *self.shape, generator=generator).double() / math.sqrt(self.prior_beta)
        waves = torch.fft.rfftn(noise, dim=(1, 2)) * inverse(self.laplace)
        links = links + curl(torch.fft.irfftn(waves, self.shape, (1, 2)))
        charges = torch.arange(-_LARGEST_CHARGE, _LARGEST_CHARGE + 1).double()
        weights = torch.exp(-0.5 * self.prior_beta * (2 * math.pi * charges) ** 2 / self.n_sites)
        drawn = charges[torch.multinomial(weights, n, replacement=True, generator=generator)]
        flux = torch.from_numpy(one_flux(self.shape)).T.reshape(2, *self.shape)
        return links + drawn[:, None, None, None] * flux

    def _haar(self, n: int, generator: torch.Generator | None) -> Tensor:
        size = (n, 2, *self.shape, self.n_colours, self.n_colours)
        q, r = torch.linalg.qr(torch.randn(size, dtype=torch.complex128, generator=generator))
        diagonal = torch.diagonal(r, dim1=-2, dim2=-1)
        return torch.view_as_real(_determinant_one(q * (diagonal / diagonal.abs())[..., None, :]))

    def prior_log_density(self, links: Tensor) -> Tensor:
        """Return the logarithm of the density at time 0, (field,)."""
        if not self.prior_beta:
            return torch.zeros(len(links), dtype=torch.float64)
        return -self.action(links, 0.0) - self._log_z_prior

    @property
    def _log_z_prior(self) -> float:
        orders = torch.arange(-_LARGEST_CHARGE, _LARGEST_CHARGE + 1).double()
        logs = -0.5 * math.log(2 * math.pi * self.prior_beta) - orders**2 / (2 * self.prior_beta)
        return float(torch.logsumexp(self.n_sites * logs, 0))

    @property
    def log_z(self) -> float:
        """Logarithm of the integral of exp(-action) at the end: weights less it are 1 on average."""
        return exact.log_z(self.theory, self.beta, self.n_sites) - self.beta * self.n_sites

    def repaired(self, links: Tensor) -> Tensor:
        """Return links of SU(N) brought back into the group, from which the flow's steps lead away."""
        if self.theory == "u1":
            return links
        u = matrices(links)
        for _ in range(3):  # of Newton, to the nearest unitary matrix
            u = 1.5 * u - 0.5 * u @ u.mH @ u
        return torch.view_as_real(_determinant_one(u))

    def in_space(self, links: Tensor) -> NDArray[Any]:
        """Return links in the layout of `simulate`."""
        if self.theory == "u1":
            return np.remainder(links.movedim(1, -1).numpy() + np.pi, 2 * np.pi) - np.pi
        return matrices(links).movedim(1, 3).numpy()

    def from_space(self, fields: NDArray[Any]) -> Tensor:
        """Return links from the layout of a dataset of `simulate`."""
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(fields, 3, 1)))

    def observed(self, links: Tensor) -> dict[str, NDArray[np.float64]]:
        """Return by name what `simulate` measures of each field, (field,)."""
        if self.theory == "u1":
            turns = plaquette_angles(links) / (2 * math.pi)
            charge = (turns - turns.round()).sum((-2, -1)).round()
            return {
                "plaquette": (2 * math.pi * turns).cos().mean((-2, -1)).numpy(),
                "charge": charge.numpy(),
            }
        u = matrices(links)[:, 0]
        line = u[:, 0]
        for t in range(1, self.shape[0]):
            line = line @ u[:, t]
        loop = trace(line).mean(1) / self.n_colours
        means = {"plaquette": traces(links).mean((-2, -1))}
        means |= {"polyakov_real": loop.real, "polyakov_imaginary": loop.imag}
        return {name: values.numpy() for name, values in means.items()}


def plaquette_angles(links: Tensor) -> Tensor:
    """Return the angles of plaquettes of U(1), not folded, (field, t, x)."""
    time, space = links[:, 0], links[:, 1]
    return time - space + space.roll(-1, 1) - time.roll(-1, 2)


def curl(potential: Tensor) -> Tensor:
    """Return the links of a potential on plaquettes, whose plaquettes are minus its Laplacian."""
    return torch.stack([potential - potential.roll(1, 2), potential.roll(1, 1) - potential], 1)


def inverse(laplace: Tensor) -> Tensor:
    """Return one over the squares of momenta, 0 for the zero mode."""
    return torch.where(laplace == 0, 0.0, 1 / laplace.clamp_min(1e-12))


def matrices(links: Tensor) -> Tensor:
    """Return links of SU(N) as complex matrices."""
    return torch.view_as_complex(links.contiguous())


def plaquettes(u: Tensor) -> Tensor:
    """Return plaquettes of SU(N), (field, t, x, row, column), of complex links."""
    time, space = u[:, 0], u[:, 1]
    return time @ space.roll(-1, 1) @ time.roll(-1, 2).mH @ space.mH


def trace(matrix: Tensor) -> Tensor:
    """Return traces of matrices in the last two axes."""
    return torch.diagonal(matrix, dim1=-2, dim2=-1).sum(-1)


def traces(links: Tensor) -> Tensor:
    """Return real parts of the traces of plaquettes of SU(N), over N, (field, t, x)."""
    return trace(plaquettes(matrices(links))).real / links.shape[-2]


def _determinant_one(u: Tensor) -> Tensor:
    turn = torch.exp(-1j * torch.angle(torch.linalg.det(u)) / u.shape[-1])
    return u * turn[..., None, None]
