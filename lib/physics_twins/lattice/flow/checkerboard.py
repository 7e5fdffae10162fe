"""Coupling layers on a checkerboard: the flow of the literature, which ours is held against.

Each layer moves the sites of one colour by functions that the other colour sets (Albergo, Kanwar and
Shanahan 2019, arXiv 1904.12072): they are stretched and shifted, and before that bent by a rational
quadratic spline (Durkan et al. 2019, arXiv 1906.04032) where there are bins. Networks of sums over
nearest neighbours set them, so that translations by two sites, mirrors and rotations are symmetries in
any dimension; shifts are odd and all else is even, and so the flow is odd (Del Debbio, Marsh Rossney
and Wilson 2021, arXiv 2105.12481).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physics_twins.lattice.flow.path import Path

BOUND = 4.0  # fields beyond it are not bent
_FLATTEST, _NARROWEST = 0.05, 0.02  # slope at a knot; part of the bound that a bin has at least


@dataclass(frozen=True)
class LayerSizes:
    """How large the layers are.

    Attributes:
        n_layers: Layers, even and odd sites in turn.
        n_channels: Of each network, whose depth is two.
        n_bins: Of the spline between zero and `BOUND`; 0 for none, affine layers.
    """

    n_layers: int = 8
    n_channels: int = 16
    n_bins: int = 0

    @property
    def within(self) -> bool:
        """Whether the numbers are within their ranges."""
        return 1 <= self.n_layers <= 100 and 1 <= self.n_channels <= 1000 and 0 <= self.n_bins <= 32


class Layers(nn.Module):
    """Coupling layers that carry free fields to phi^4 and back."""

    even: Tensor

    def __init__(self, path: Path, sizes: LayerSizes) -> None:
        super().__init__()
        if any(n % 2 for n in path.shape):
            raise ValueError(f"shape = {path.shape}: a checkerboard has even sides")
        self.path, self.sizes = path, sizes
        sites = torch.meshgrid(*map(torch.arange, path.shape), indexing="ij")
        even = sum(sites, torch.zeros(())) % 2 == 0
        self.register_buffer("even", even, persistent=False)
        self.layers = nn.ModuleList(_Setter(sizes, path.axes) for _ in range(sizes.n_layers))

    def forward(self, phi: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
        """Return fields carried forth or back, (field, *shape), and the logarithm of the Jacobian."""
        total = phi.new_zeros(len(phi))
        numbers = range(len(self.layers))
        for number in reversed(numbers) if back else numbers:
            moves = self.even if number % 2 else ~self.even
            shift, stretch, raw = self.layers[number](phi * ~moves, moves)  # (field, site that moves)
            x = phi[:, moves]
            if back:
                x, slope = bent((x - shift) * torch.exp(-stretch), raw, back=True)
                total = total + (slope - stretch).sum(-1)
            else:
                x, slope = bent(x, raw, back=False)
                x, total = x * torch.exp(stretch) + shift, total + (slope + stretch).sum(-1)
            phi = phi.clone()
            phi[:, moves] = x
        return phi, total


class _Setter(nn.Module):
    """What one layer does, from the sites that it leaves: shifts, odd, and the rest, even."""

    def __init__(self, sizes: LayerSizes, axes: tuple[int, ...]) -> None:
        super().__init__()
        n = sizes.n_channels
        self.axes, self.n_bins = axes, sizes.n_bins
        self.first = nn.Linear(2, n, bias=False)
        self.second = nn.Linear(2 * n, n, bias=False)
        self.shift = nn.Linear(n, 1, bias=False)
        self.rest = nn.Linear(n, 1 + 3 * sizes.n_bins)
        for layer in (self.shift, self.rest):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.rest.bias)
        self.double()

    def forward(self, frozen: Tensor, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return shift, logarithm of the stretch, and the spline's raw numbers, where a field moves."""
        hidden = torch.tanh(self.first(with_near(frozen[..., None], self.axes)))
        hidden = torch.tanh(self.second(with_near(hidden, self.axes))[:, moves])
        rest = self.rest(hidden * hidden)
        return self.shift(hidden)[..., 0], 2 * torch.tanh(rest[..., 0] / 2), rest[..., 1:]


def with_near(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return values of sites, (..., channel), and after them their sums over nearest neighbours.

    Args:
        x: Of all sites, the channels last.
        axes: Of the lattice, counted from the end without channels.
    """
    near = [x.roll(step, axis - 1) for axis in axes for step in (1, -1)]
    return torch.cat([x, torch.stack(near).sum(0)], -1)


def bent(x: Tensor, raw: Tensor, *, back: bool, bound: float = BOUND) -> tuple[Tensor, Tensor]:
    """Return x bent by an odd spline, or bent back, and the logarithm of the slope of that.

    Args:
        x: Of any shape.
        raw: Numbers of any size, (*shape, 3 * bin), and one more where the slope at the bound is free;
            zeros, or none, are no spline.
        back: Whether to bend back.
        bound: Beyond it nothing is bent.
    """
    n = raw.shape[-1] // 3
    if not n:
        return x, torch.zeros_like(x)
    widths, heights = (
        bound * (_NARROWEST + (1 - n * _NARROWEST) * each.softmax(-1))
        for each in (raw[..., :n], raw[..., n : 2 * n])
    )
    flat = torch.log(torch.expm1(torch.tensor(1 - _FLATTEST, dtype=x.dtype)))
    slopes = _FLATTEST + nn.functional.softplus(raw[..., 2 * n :] + flat)
    if slopes.shape[-1] == n:
        slopes = torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1)
    size = x.abs().clamp(max=bound)
    ends = (heights if back else widths).cumsum(-1)
    place = (size[..., None] >= ends[..., :-1]).sum(-1, keepdim=True)

    def at(values: Tensor, shift: int = 0) -> Tensor:
        return values.gather(-1, place + shift)[..., 0]

    width, height, left, right = at(widths), at(heights), at(slopes), at(slopes, 1)
    x0, y0 = (at(each.cumsum(-1)) - at(each) for each in (widths, heights))
    steep = height / width
    bend = left + right - 2 * steep
    if back:
        rise = size - y0
        a = height * (steep - left) + rise * bend
        b = height * left - rise * bend
        c = -steep * rise
        part = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp(min=0)))
    else:
        part = (size - x0) / width
    mixed = steep + bend * part * (1 - part)
    found = (
        x0 + part * width if back else y0 + height * part * (steep * part + left * (1 - part)) / mixed
    )
    rate = steep**2 * (right * part**2 + 2 * steep * part * (1 - part) + left * (1 - part) ** 2)
    log_slope = torch.log(rate / mixed**2)
    inside = x.abs() < bound
    bent = torch.where(inside, x.sign() * found, x)
    return bent, torch.where(inside, -log_slope if back else log_slope, torch.zeros_like(x))


def raw_of(heights: Tensor, slopes: Tensor) -> Tensor:
    """Return raw numbers of a spline, (3 * bin + 1,), with bins of one width.

    Args:
        heights: Of the bins, over the bound.
        slopes: At all knots.
    """
    n = len(heights)
    parts = ((heights - _NARROWEST) / (1 - n * _NARROWEST)).clamp_min(1e-3)
    rises = torch.log(torch.expm1((slopes - _FLATTEST).clamp_min(1e-3)))
    flat = math.log(math.expm1(1 - _FLATTEST))
    return torch.cat([torch.zeros_like(heights), parts.log(), rises - flat])
