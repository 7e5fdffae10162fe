"""The velocity of a flow of SU(N) in two dimensions, gauge equivariant and with an exact divergence.

With A(M) the traceless antihermitian part of a matrix, and g_k = sum over a: w_ak(t) A_a, where A_a
is A(P^n) of a plaquette P, or A of P times its trace or the conjugate of that, a link U moves by v U,

    v = sum over k: g_k of the plaquettes k sites away on one side, less those on the other side,

carried to the link along the lattice. With k = 0 alone and A(P) this is the gradient of the action, the
first term of the trivialising map (Luescher 2010, arXiv 0907.5491; learnt by Bacchio, Kessel,
Schaefer and Vaitl 2023, arXiv 2212.08469). The terms beyond let a plaquette move while those next to
it rest, which in two dimensions is what the exact map does but for one constraint. What lies further
than a link's own plaquettes adds nothing to the divergence: turning the link leaves it as it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physics_twins.lattice.flow.gauge_path import GaugePath, matrices, plaquettes, trace
from physics_twins.lattice.flow.velocity import polynomials

_N_ENERGY = 16  # fields that the mean square of the velocity is taken of


@dataclass(frozen=True)
class GaugeSizes:
    """How large a velocity is.

    Attributes:
        n_times: Polynomials in time that a weight is made of.
        n_powers: Powers of plaquettes.
        reach: How many plaquettes on either side of a link move it, less than sites of a side.
    """

    n_times: int = 5
    n_powers: int = 4
    reach: int = 7


class GaugeVelocity(nn.Module):
    """A velocity whose `weights`, (time polynomial, function, distance), are all that is learnt."""

    def __init__(self, path: GaugePath, sizes: GaugeSizes) -> None:
        super().__init__()
        self.path, self.sizes = path, sizes
        n_functions = sizes.n_powers + 2 * (path.n_colours > 2)  # traces of SU(2) are real
        size = (sizes.n_times, n_functions, sizes.reach)
        self.weights = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def at(self, time: float) -> Tensor:
        """Return the weights at a time, (function, distance)."""
        return torch.einsum("n,nam->am", polynomials(time, self.sizes.n_times), self.weights)

    def functions(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return A_a, (field, function, t, x, N, N), and divergences of k = 0, (field, function).

        With tr(T_a T_b) = -1/2: sums over generators of T X T and of tr(T X) tr(T Y) are known.
        """
        n, powers = self.path.n_colours, [plaquettes(u)]
        for _ in range(self.sizes.n_powers - 1):
            powers.append(powers[-1] @ powers[0])
        z, casimir = [trace(power) for power in powers], (n * n - 1) / n
        found = []
        for k, of_power in enumerate(z):
            pairs = [(z[j] * z[k - 1 - j]).real - of_power.real / n for j in range(k)]
            found.append(casimir * of_power.real + sum(pairs))
        if n > 2:
            square, size = (z[0] * z[0]).real, z[0].abs().square()
            powers += [z[0][..., None, None] * powers[0], z[0].conj()[..., None, None] * powers[0]]
            found.append(casimir * square + trace(powers[0] @ powers[0]).real - square / n)
            found.append(casimir * size - n + size / n)
        return _algebra(torch.stack(powers, 1)), 4 * torch.stack(found, 1).sum((-2, -1))

    def forward(self, links: Tensor, time: float) -> tuple[Tensor, Tensor]:
        """Return the change of the links, of their shape, and its divergence, (field,)."""
        weights, u = self.at(time), matrices(links)
        parts, divergences = self.functions(u)
        mixed = torch.einsum("am,na...->mn...", weights.to(parts.dtype), parts)
        moves = []
        for axis, sign in ((2, 1.0), (1, -1.0)):
            bridge, ahead, behind = u[:, axis - 1], mixed[-1], mixed[-1]
            for one in mixed[:-1].flip(0):
                ahead = one + bridge @ ahead.roll(-1, axis) @ bridge.mH
                behind = one + (bridge.mH @ behind @ bridge).roll(1, axis)
            moves.append(sign * (ahead - (bridge.mH @ behind @ bridge).roll(1, axis)))
        return torch.view_as_real(torch.stack(moves, 1) @ u), divergences @ weights[:, 0]

    @torch.no_grad()
    def design(self, links: Tensor, gradient: Tensor) -> Tensor:
        """Return div v - v . gradient for each weight, (field, function * distance)."""
        u = matrices(links)
        parts, divergences = self.functions(u)
        pull = -0.5 * _algebra(u @ matrices(gradient).mH)  # by each generator
        found = 0.0
        for axis, sign in ((2, 1.0), (1, -1.0)):  # carried back to where a plaquette is
            bridge, own = u[:, axis - 1], pull[:, 2 - axis]
            ahead, behind = [own], [bridge @ own.roll(-1, axis) @ bridge.mH]
            for _ in range(self.sizes.reach - 1):
                ahead.append((bridge.mH @ ahead[-1] @ bridge).roll(1, axis))
                behind.append(bridge @ behind[-1].roll(-1, axis) @ bridge.mH)
            found = found + sign * (torch.stack(ahead, 1) - torch.stack(behind, 1))
        dots = -2 * torch.einsum("natxij,nmtxij->nam", parts, found.conj()).real
        dots[:, :, 0] += divergences
        return dots.flatten(1)

    @torch.no_grad()
    def energy(self, links: Tensor) -> Tensor:
        """Return the velocity's mean square, summed over links, as a form of two sets of weights."""
        u = matrices(links[:_N_ENERGY])
        parts, moves = self.functions(u)[0], []
        for axis in (3, 2):
            bridge = u[:, None, axis - 2]
            ahead, behind, sides = parts, (bridge.mH @ parts @ bridge).roll(1, axis), []
            for _ in range(self.sizes.reach):
                sides.append(ahead - behind)
                ahead = bridge @ ahead.roll(-1, axis) @ bridge.mH
                behind = (bridge.mH @ behind @ bridge).roll(1, axis)
            moves.append(torch.stack(sides, 2))
        each = torch.stack(moves, 3).movedim(0, 2).flatten(2).flatten(0, 1)
        return 2 * (each @ each.mH).real / len(u)


def _algebra(matrix: Tensor) -> Tensor:
    """Return the traceless antihermitian part of matrices."""
    part = 0.5 * (matrix - matrix.mH)
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    return part - (trace(part) / matrix.shape[-1])[..., None, None] * one
