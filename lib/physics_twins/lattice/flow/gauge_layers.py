"""Gauge-equivariant coupling layers of U(1), SU(2) and SU(3) in two dimensions.

A layer moves some links U, each part of one loop on either side, U A and U B, which no other moved link
touches. It changes their mean U (A + w B), brought back into the group, by a function that frozen
loops set, and turns U as that loop turns (Kanwar et al. 2020, arXiv 2003.06413). With w = 0 the loop is
a plaquette, with w = 1 what a heat bath sees. An angle of U(1) is bent on the circle. Of SU(N) the
spectrum is (Boyda et al. 2020, arXiv 2008.05456): the largest gap of the angles' cell, and of SU(3) how
the rest is shared, by the splines of phi^4.

First comes a sweep with w = 0: columns from the last to the second, each of which leaves to the next
what it takes, then the links across the first column. All plaquettes but one are then moved by
themselves, and it begins at what would be right if they were independent. Layers on every fourth
column follow, in both directions in turn, which share out what is left; U(1) and SU(2) learn w there.
Frozen loops are told by their traces: the loop around both plaquettes of a moved link, and the
plaquette beyond. Gauge symmetry is one of the flow, and charge conjugation; translations are not.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physics_twins.lattice.flow.checkerboard import LayerSizes, bent, raw_of, with_near
from physics_twins.lattice.flow.gauge_path import GaugePath, matrices, plaquettes, trace

_PERIOD = 4  # columns: one moves, its plaquettes touch two, and what is beyond is frozen


@dataclass(frozen=True)
class _Mask:
    """Links that a layer moves: of a direction, in one column or every fourth, all or one of it."""

    across: bool
    column: int
    row: int | None = None
    is_alone: bool = False


class GaugeLayers(nn.Module):
    """Coupling layers that carry links drawn at once to a gauge theory and back."""

    def __init__(self, path: GaugePath, sizes: LayerSizes) -> None:
        super().__init__()
        if any(n % _PERIOD for n in path.shape):
            raise ValueError(f"shape = {path.shape}: sides must be multiples of {_PERIOD}")
        self.path, self.sizes = path, sizes
        n_rows, n_columns = path.shape
        self.masks = [_Mask(False, k, is_alone=True) for k in range(n_columns - 1, 0, -1)]
        self.masks += [_Mask(True, k, 0, is_alone=True) for k in range(n_rows - 1, 0, -1)]
        self.masks += [_Mask(bool(k % 2), k // 2 % _PERIOD) for k in range(sizes.n_layers)]
        n_parts = 2 if path.theory == "su3" else 1
        self.layers = nn.ModuleList(_Setter(sizes, n_parts) for _ in self.masks)
        if not path.prior_beta:
            begun = _one_plaquette(path, sizes.n_bins).flatten()
            for mask, setter in zip(self.masks, self.layers, strict=True):
                if mask.is_alone:
                    setter.last.bias.data[1:] = begun  # pyright: ignore

    def forward(self, links: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
        """Return links carried forth or back, of their shape, and the logarithm of the Jacobian."""
        is_u1, total = self.path.theory == "u1", links.new_zeros(len(links))
        u = torch.polar(torch.ones_like(links), links)[..., None, None] if is_u1 else matrices(links)
        layers = list(zip(self.masks, self.layers, strict=True))
        for mask, setter in reversed(layers) if back else layers:
            u, log_jacobian = _moved(u, mask, setter, back=back)
            total = total + log_jacobian
        return (u[..., 0, 0].angle() if is_u1 else torch.view_as_real(u)), total


class _Setter(nn.Module):
    """What one layer does, from frozen loops: the logarithm of w, and raw numbers of splines."""

    def __init__(self, sizes: LayerSizes, n_parts: int) -> None:
        super().__init__()
        n = sizes.n_channels
        self.n_parts = n_parts
        self.first, self.second = nn.Linear(4, n), nn.Linear(2 * n, n)
        self.last = nn.Linear(n, 1 + n_parts * (3 * sizes.n_bins + 1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.double()

    def forward(self, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """Return logarithms, (field, row, column), and raw numbers, (..., part, number)."""
        hidden = torch.tanh(self.first(with_near(frozen, (-2, -1))))
        found = self.last(torch.tanh(self.second(with_near(hidden, (-2, -1)))))
        return found[..., 0], found[..., 1:].unflatten(-1, (self.n_parts, -1))


def _one_plaquette(path: GaugePath, n_bins: int) -> Tensor:
    """Return raw numbers of splines, (part, number), that make of any matrix one plaquette alone."""
    alone = GaugePath(path.theory, (64, 64), path.beta)
    links, knots = (
        alone.draw_prior(4, torch.Generator().manual_seed(1)),
        torch.linspace(0, 1, n_bins + 1),
    )
    if path.theory == "u1":
        weights, parts = path.beta * links.cos(), [links.abs() / math.pi]
    else:
        angles = _angles(matrices(links))
        span, first = angles[..., 0] - angles[..., -1], angles[..., 0] - angles[..., 1]
        weights = path.beta * angles.cos().mean(-1)
        parts = [span / (2 * math.pi), (2 * first / span - 1).abs()][: path.n_colours - 1]
    found = []
    for part in parts:
        place, order = part.flatten().sort()
        share = weights.flatten()[order].softmax(0).cumsum(0).contiguous()

        def bent_to(x: Tensor, place: Tensor = place, share: Tensor = share) -> Tensor:
            below = torch.searchsorted(place, x.to(place)).to(place) / len(place)
            return place[torch.searchsorted(share, below).clamp(max=len(place) - 1)]

        low, high = (knots - 0.02).clamp(min=0), (knots + 0.02).clamp(max=1)
        found.append(raw_of(bent_to(knots).diff(), (bent_to(high) - bent_to(low)) / (high - low)))
    return torch.stack(found)


def _moved(u: Tensor, mask: _Mask, setter: nn.Module, *, back: bool) -> tuple[Tensor, Tensor]:
    """Return links, (field, direction, t, x, N, N), after one layer, and the logarithm, (field,)."""
    n, rows = u.shape[-1], slice(None) if mask.row is None else slice(1)
    shifts = -(mask.row or 0), 1 - mask.column
    u = (u.flip(1).transpose(2, 3) if mask.across else u).roll(shifts, (2, 3))
    seen = u[:, :, :, :_PERIOD] if mask.is_alone else u  # the second column of each period moves
    loops, bridge = plaquettes(seen), seen[:, 1, :, ::_PERIOD]
    one, other = loops[:, :, 1::_PERIOD], bridge.mH @ loops[:, :, ::_PERIOD].mH @ bridge
    frozen = [trace(one.mH @ other).real / n, trace(loops[:, :, 2::_PERIOD]).real / n]
    log_w, raw = (each[:, rows] for each in setter(torch.stack(frozen, -1)))
    loop, other = one[:, rows], other[:, rows]
    if n < 3 and not mask.is_alone:  # sums of such matrices are some number times one of them
        loop = loop + log_w.exp()[..., None, None] * other
        loop = loop / torch.linalg.det(loop @ loop.mH).real.pow(0.5 / n)[..., None, None]
    turned, log_jacobian = (_bent_angle if n == 1 else _bent_spectrum)(loop, raw, back=back)
    moved, columns = u.clone(), slice(1, seen.shape[3], _PERIOD)
    moved[:, 0, rows, columns] = turned @ loop.mH @ u[:, 0, rows, columns]
    moved = moved.roll((-shifts[0], -shifts[1]), (2, 3))
    return (moved.transpose(2, 3).flip(1) if mask.across else moved), log_jacobian.sum((1, 2))


def _bent_angle(loop: Tensor, raw: Tensor, *, back: bool) -> tuple[Tensor, Tensor]:
    """Return phases, (..., 1, 1), bent on the circle, and logarithms of slopes, (...)."""
    angle, log_slope = bent(loop[..., 0, 0].angle(), raw[..., 0, :], back=back, bound=math.pi)
    return torch.polar(torch.ones_like(angle), angle)[..., None, None], log_slope


def _bent_spectrum(loop: Tensor, raw: Tensor, *, back: bool) -> tuple[Tensor, Tensor]:
    """Return loops of SU(N) with bent spectra, and logarithms of the Jacobian by Haar's measure."""
    n, turn = loop.shape[-1], 2 * math.pi
    before = _angles(loop)
    span = before[..., 0] - before[..., -1]
    new, total = bent(span / turn, raw[..., 0, :], back=back, bound=1.0)
    gaps = [turn * new]
    if n == 3:  # charge conjugation exchanges both gaps
        share = (before[..., 0] - before[..., 1]) / span - 0.5
        share, log_slope = bent(share, raw[..., 1, :], back=back, bound=0.5)
        gaps = [turn * new * (0.5 + share), turn * new * (0.5 - share)]
        total = total + log_slope + torch.log(turn * new / span)
    after = -torch.stack([torch.zeros_like(span), *gaps], -1).cumsum(-1)
    after = after - after.mean(-1, keepdim=True)
    for angles, sign in ((before, -1), (after, 1)):  # Weyl's formula
        for i in range(n):
            for j in range(i):
                total = total + 2 * sign * torch.log(torch.sin((angles[..., j] - angles[..., i]) / 2))
    old, phases = (torch.polar(torch.ones_like(x), x)[..., None, None] for x in (before, after))
    one, turned = torch.eye(n, dtype=loop.dtype), torch.zeros_like(loop)
    for k in range(n):  # Sylvester's formula
        part = phases[..., k, :, :] * one
        for j in set(range(n)) - {k}:
            part = part @ (loop - old[..., j, :, :] * one) / (old[..., k, :, :] - old[..., j, :, :])
        turned = turned + part
    return turned, total


def _angles(loop: Tensor) -> Tensor:
    """Return angles of eigenvalues, descending, of sum zero, all within a turn."""
    n = loop.shape[-1]
    if n == 2:
        angle = torch.acos((0.5 * trace(loop).real).clamp(-1, 1))
        return torch.stack([angle, -angle], -1)
    angles = torch.linalg.eigvals(loop).angle().sort(-1, descending=True).values
    turns = (angles.sum(-1, keepdim=True) / (2 * math.pi)).round().long()
    place = torch.arange(n) + turns
    return angles.gather(-1, place % n) - 2 * math.pi * place.div(n, rounding_mode="floor")
