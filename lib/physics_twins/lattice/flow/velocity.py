"""The velocity of the flow: odd functions of smeared fields, spread by kernels in momentum space.

    velocity = sum over m: h_m * sum over a: w_am(t) f_a(phi),

where * is a convolution, h_m a few smooth functions of the lattice momentum, and f_a the field itself,
or u / (1 + (c u)^2) of u, a smeared field or the sum or difference of two, in units of its width in the
free field. With sines of the field alone and kernels of any form this is the flow of Gerdes et al. 2022
(arXiv 2207.00283); smeared fields bring neighbours together, and kernels given by momenta mean the same
on every lattice. Filters and kernels have the lattice's symmetries and the functions are odd: so is the
flow. The divergence is exact and costs no more than the velocity: each function's slope, times its
kernel and its filter at distance 0.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physics_twins.lattice.flow.path import Path, momenta2


@dataclass(frozen=True)
class Sizes:
    """How large a velocity is.

    Attributes:
        bends: The numbers c: at u = 1 / c a function is largest.
        n_times: Polynomials in time that a weight is made of.
        apart: Sums and differences of smeared fields whose lengths are so many factors of two apart are
            functions' arguments, too.
    """

    bends: tuple[float, ...] = (0.3, 0.8)
    n_times: int = 5
    apart: int = 10


class Velocity(nn.Module):
    """A velocity whose `weights`, (time polynomial, function, kernel), are all that is learnt."""

    smearing: Tensor
    mixing: Tensor
    kernels: Tensor
    overlaps: Tensor

    def __init__(self, path: Path, sizes: Sizes) -> None:
        super().__init__()
        self.path, self.sizes = path, sizes
        smearing, kernels = _smearing(path), _kernels(path)
        mixing = _mixing(len(smearing), sizes.apart)
        shares = multiplicity(path.shape) / path.n_sites
        powers = shares / (2 * (path.laplace + path.free_mass2))
        smearing /= (smearing**2 * powers).sum(path.axes, keepdim=True).sqrt()
        filters = torch.einsum("ij,j...->i...", mixing, smearing)
        mixing /= (filters**2 * powers).sum(path.axes).sqrt()[:, None]
        filters = torch.einsum("ij,j...->i...", mixing, smearing)
        # What the slope of a function adds to the divergence: its kernel and filter at distance 0.
        overlaps = torch.einsum("i...,m...,...->im", filters, kernels, shares)
        of_field = (kernels * shares).sum(path.axes)[None]
        overlaps = torch.cat([of_field, overlaps.repeat(len(sizes.bends), 1)])
        for name, value in (("smearing", smearing), ("mixing", mixing), ("kernels", kernels)):
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("overlaps", overlaps, persistent=False)
        size = (sizes.n_times, *overlaps.shape)
        self.weights = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def at(self, time: float) -> Tensor:
        """Return the weights at a time, (function, kernel)."""
        basis = polynomials(time, self.sizes.n_times).to(self.weights)
        return torch.einsum("n,nam->am", basis, self.weights)

    def functions(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the functions of fields, (field, function, *shape), and the sums of their slopes.

        The slopes, (field, function), are summed over sites; the first function is the field.
        """
        axes, shape = self.path.axes, self.path.shape
        waves = torch.fft.rfftn(phi, dim=axes)[:, None] * self.smearing[1:]
        first = phi[:, None] * self.smearing[0].flatten()[0]
        smeared = torch.cat([first, torch.fft.irfftn(waves, shape, axes)], 1)
        u = (self.mixing @ smeared.flatten(2)).unflatten(2, shape)
        values, slopes = (
            [phi[:, None]],
            [torch.full_like(phi[:, :1].flatten(1)[:, :1], self.path.n_sites)],
        )
        for bend in self.sizes.bends:
            square = (bend * u) ** 2
            down = 1 / (1 + square)
            values.append(u * down)
            slopes.append(((1 - square) * down * down).sum(axes))
        return torch.cat(values, 1), torch.cat(slopes, 1)

    def forward(self, phi: Tensor, time: float) -> tuple[Tensor, Tensor]:
        """Return the velocity, of the fields' shape, and its divergence, (field,)."""
        weights, (values, slopes) = self.at(time), self.functions(phi)
        mixed = (weights.T @ values.flatten(2)).unflatten(2, self.path.shape)
        waves = (torch.fft.rfftn(mixed, dim=self.path.axes) * self.kernels).sum(1)
        divergence = slopes @ (weights * self.overlaps).sum(1)
        return torch.fft.irfftn(waves, self.path.shape, self.path.axes), divergence

    @torch.no_grad()
    def design(self, phi: Tensor, gradient: Tensor) -> Tensor:
        """Return div v - v . gradient for each weight, (field, function * kernel)."""
        functions, slopes = self.functions(phi)
        functions = torch.fft.rfftn(functions, dim=self.path.axes)
        waves = torch.fft.rfftn(gradient, dim=self.path.axes)[:, None]
        shares = multiplicity(self.path.shape) / self.path.n_sites
        products = (functions.real * waves.real + functions.imag * waves.imag) * shares
        dots = products.flatten(2) @ self.kernels.flatten(1).T  # (field, function, kernel)
        return (slopes[:, :, None] * self.overlaps - dots).flatten(1)

    @torch.no_grad()
    def energy(self, phi: Tensor) -> Tensor:
        """Return the velocity's mean square, summed over sites, as a form of two sets of weights."""
        path, kernels = self.path, self.kernels.flatten(1)
        waves = torch.fft.rfftn(self.functions(phi)[0], dim=path.axes).flatten(2)
        shares = (multiplicity(path.shape) / path.n_sites / len(phi)).flatten()
        parts = torch.cat([waves.real, waves.imag]).permute(2, 1, 0)  # (momentum, function, field)
        powers = (parts @ parts.transpose(1, 2)) * shares[:, None, None]
        found = torch.einsum("kab,mk,nk->ambn", powers, kernels, kernels)
        return found.reshape(2 * [powers.shape[1] * len(kernels)])


def polynomials(time: float, n: int) -> Tensor:
    """Return the first `n` Legendre polynomials on 0 to 1."""
    x = 2 * time - 1
    found = [1.0, x]
    for k in range(1, n):
        found.append(((2 * k + 1) * x * found[k] - k * found[k - 1]) / (k + 1))
    return torch.tensor(found[:n], dtype=torch.float64)


def multiplicity(shape: tuple[int, ...]) -> Tensor:
    """Return how many momenta of the whole lattice one of `rfftn` stands for."""
    last = torch.full((shape[-1] // 2 + 1,), 2.0, dtype=torch.float64)
    last[0] = 1.0
    if shape[-1] % 2 == 0:
        last[-1] = 1.0
    return last.expand(*shape[:-1], len(last))


def _n_scales(path: Path) -> int:
    """Return how many lengths of smearing a lattice has, each twice the last."""
    return max(1, round(math.log2(min(path.shape))) - 1)


def _smearing(path: Path) -> Tensor:
    """Return filters of the field itself and of it smeared over lengths of 1, 2, 4 ... sites."""
    scales = [0.0, *(0.5 * 4**n for n in range(_n_scales(path)))]
    return torch.stack([torch.exp(-scale * path.laplace) for scale in scales])


def _mixing(n: int, apart: int) -> Tensor:
    """Return sums of smeared fields that functions are taken of, (argument, smeared)."""
    single = torch.eye(n, dtype=torch.float64)
    pairs = [single[i] + sign * single[j] for i, j in _pairs(n, apart) for sign in (1.0, -1.0)]
    return torch.stack([*single, *pairs])


def _pairs(n: int, apart: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(max(0, i - apart), i)]


def _kernels(path: Path) -> Tensor:
    """Return smooth functions of the momentum, the zero mode, and two that know the directions."""
    scales = [0.0, *(0.125 * 4**n for n in range(_n_scales(path) + 2))]
    smooth = [torch.exp(-scale * path.laplace) for scale in scales]
    zero = (path.laplace == 0).to(torch.float64)
    uneven = (momenta2(path.shape) ** 2).sum(0) / 16
    return torch.stack([*smooth, zero, uneven, uneven * smooth[2]])
