"""The velocity of a flow of U(1) in two dimensions, gauge equivariant and with an exact divergence.

    velocity = curl of sum over m: h_m * sum over a: w_am(t) f_a(angles of plaquettes),

where f_a are odd functions: sines of multiples, and a sine or cosine times a smeared cosine or sine. A
plaquette then moves by (-Laplace h_m) * f_a: with h_m = 1 / momentum^2 by f_a itself, but for its mean,
because plaquettes are independent in two dimensions but for the one constraint that they add up to a
multiple of 2 pi. That is what makes U(1) easy there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physics_twins.lattice.flow.gauge_path import GaugePath, curl, inverse, plaquette_angles
from physics_twins.lattice.flow.velocity import multiplicity, polynomials

_AXES = (-2, -1)


@dataclass(frozen=True)
class AbelianSizes:
    """How large a velocity is.

    Attributes:
        n_times: Polynomials in time that a weight is made of.
        n_waves: Sines of multiples of the angle.
        n_scales: Lengths that sines and cosines are smeared over, each twice the last.
    """

    n_times: int = 4
    n_waves: int = 4
    n_scales: int = 3


class AbelianVelocity(nn.Module):
    """A velocity whose `weights`, (time polynomial, function, kernel), are all that is learnt."""

    def __init__(self, path: GaugePath, sizes: AbelianSizes) -> None:
        super().__init__()
        self.path, self.sizes = path, sizes
        laplace, shape = path.laplace, path.shape
        lengths = [0.0, *(0.25 * 4**n for n in range(sizes.n_scales + 1))]
        moves = torch.stack([torch.exp(-length * laplace) for length in lengths])
        moves[:, 0, 0] = 0
        self.potentials = moves * inverse(laplace)
        self.shares = multiplicity(shape) / path.n_sites
        self.at_zero = (moves * self.shares).sum(_AXES)
        self.filters = torch.stack([torch.exp(-length * laplace) for length in lengths[1:-1]])
        # What a smeared function adds to the divergence: its filter times the kernel, site by site.
        near, far = (torch.fft.irfftn(each, shape, _AXES) for each in (self.filters, moves))
        self.crossed = torch.fft.rfftn(near[:, None] * far, dim=_AXES).real
        size = (sizes.n_times, sizes.n_waves + 2 * sizes.n_scales, len(moves))
        self.weights = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def at(self, time: float) -> Tensor:
        """Return the weights at a time, (function, kernel)."""
        return torch.einsum("n,nam->am", polynomials(time, self.sizes.n_times), self.weights)

    def functions(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Return functions, (field, function, t, x), and divergences, (field, function, kernel)."""
        n = torch.arange(1, self.sizes.n_waves + 1, dtype=torch.float64)[:, None, None]
        sines, cosines = (n * angles[:, None]).sin(), (n * angles[:, None]).cos()
        sine, cosine = sines[:, :1], cosines[:, :1]
        waves = [torch.fft.rfftn(each, dim=_AXES) for each in (sine, cosine)]
        smeared = [torch.fft.irfftn(each * self.filters, self.path.shape, _AXES) for each in waves]
        values = torch.cat([sines, sine * smeared[1], cosine * smeared[0]], 1)
        own = torch.cat([n * cosines, cosine * smeared[1], -sine * smeared[0]], 1).sum(_AXES)
        powers = [(each.real**2 + each.imag**2)[:, 0] * self.shares for each in waves]
        others = [torch.einsum("ntx,jmtx->njm", power, self.crossed) for power in powers]
        alone = torch.zeros_like(own)[:, : self.sizes.n_waves, None] * self.at_zero
        through = torch.cat([alone, -others[0], others[1]], 1)
        return values, own[:, :, None] * self.at_zero + through

    def forward(self, links: Tensor, time: float) -> tuple[Tensor, Tensor]:
        """Return the velocity, of the links' shape, and its divergence, (field,)."""
        weights, (values, divergences) = self.at(time), self.functions(plaquette_angles(links))
        mixed = torch.fft.rfftn(torch.einsum("am,natx->nmtx", weights, values), dim=_AXES)
        potential = torch.fft.irfftn((mixed * self.potentials).sum(1), self.path.shape, _AXES)
        return curl(potential), (divergences * weights).sum((1, 2))

    @torch.no_grad()
    def design(self, links: Tensor, gradient: Tensor) -> Tensor:
        """Return div v - v . gradient for each weight, (field, function * kernel)."""
        values, divergences = self.functions(plaquette_angles(links))
        waves = torch.fft.rfftn(values, dim=_AXES)
        pull = torch.fft.rfftn(plaquette_angles(gradient), dim=_AXES)[:, None]
        products = (waves.real * pull.real + waves.imag * pull.imag) * self.shares
        return (divergences - products.flatten(2) @ self.potentials.flatten(1).T).flatten(1)

    @torch.no_grad()
    def energy(self, links: Tensor) -> Tensor:
        """Return the velocity's mean square, summed over links, as a form of two sets of weights."""
        waves = torch.fft.rfftn(self.functions(plaquette_angles(links))[0], dim=_AXES).flatten(2)
        shares = (self.shares * self.path.laplace / len(links)).flatten()
        parts = torch.cat([waves.real, waves.imag]).permute(2, 1, 0)  # (momentum, function, field)
        powers = (parts @ parts.transpose(1, 2)) * shares[:, None, None]
        kernels = self.potentials.flatten(1)
        found = torch.einsum("kab,mk,nk->ambn", powers, kernels, kernels)
        return found.reshape(2 * [powers.shape[1] * len(kernels)])
