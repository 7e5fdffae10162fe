"""How likely measured showers are under a member of the flow behind a detector with a gain.

The detector multiplies all energies of a shower by one gain: the energy scale, times a scatter from
shower to shower that is log-normal with mean 1. So the likelihood is an integral over the gain. What is
sharp in it, the density of the visible energy, is computed at every gain; how the energy divides among
the layers hardly depends on the gain and changes smoothly with angle and thickness, so it is expanded
to second order around a point, shower by shower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.flow.likelihood import division_log_prob, visible_log_prob
from physics_twins.calorimeter.flow.network import SAMPLED, ShowerNetwork, conditions

# Coordinates of a fit: logarithm of the scale, variance of the logarithm of the gain, angle, thickness.
COORDINATES = ("log_scale", "variance", "theta_deg", "absorber_mm")
SMOOTH = ("log_scale", "theta_deg", "absorber_mm")
# Over such steps slopes are compared: wider than the kinks of networks, narrower than what is sought.
_STEPS: Mapping[str, float] = {"log_scale": 0.02, "theta_deg": 2.0, "absorber_mm": 0.02}
# The integral goes so many standard deviations to either side, in steps below a third of the spread
# that the visible energy of 100 GeV has by itself, 0.3 %.
_REACH, _STEP = 5.0, 0.001
_N_NODES_MIN, _N_NODES_MAX = 21, 401
# A scatter of the gain below 0.02 % cannot be told from none.
LEAST_VARIANCE = 4e-8
# Of the incident energy: above it a member gives no density.
_MOST_VISIBLE = 1 - 1e-4
_IMPOSSIBLE = -1e3


@dataclass(frozen=True)
class Expansion:
    """The logarithm of the density of divisions around a point, to second order.

    Attributes:
        centre: Where, by the name of each of `SMOOTH`; the angle is each shower's own where it is not
            free.
        free: Those of `SMOOTH` in which it is expanded.
        value: Shape (shower,).
        slope: Shape (shower, free).
        curvature: Shape (shower, free, free).
    """

    centre: Mapping[str, Tensor]
    free: tuple[str, ...]
    value: Tensor
    slope: Tensor
    curvature: Tensor

    def at(self, point: Mapping[str, Tensor]) -> Tensor:
        """Return the logarithm of the density at a point, each coordinate (shower, 1) or wider."""
        away = [point[name] - self.centre[name][:, None] for name in self.free]
        found = self.value[:, None]
        for n, first in enumerate(away):
            found = found + self.slope[:, n, None] * first
            for m, second in enumerate(away):
                found = found + self.curvature[:, n, m, None] * first * second / 2
        return found


@dataclass(frozen=True)
class ShowerLikelihood:
    """How likely measured showers are under a member of a flow.

    A point has each of `COORDINATES` for every shower, shape (shower,).

    Attributes:
        member: A network of the flow.
        showers: Measured.
    """

    member: ShowerNetwork
    showers: MeasuredShowers

    def expand(
        self, centre: Mapping[str, Tensor], free: Sequence[str], *, curved: bool = True
    ) -> Expansion:
        """Return how likely the divisions of showers are around a point; see `Expansion`.

        Args:
            centre: The point.
            free: Those of `SMOOTH` in which it is expanded.
            curved: Whether to second order, which takes long, or to first.
        """
        value, slope = self._slope(centre, free)
        curvature = slope.new_zeros(*slope.shape, len(free))
        for n, name in enumerate(free) if curved else ():
            step = _STEPS[name]
            ends = [{**centre, name: centre[name] + side * step} for side in (1, -1)]
            up, down = (self._slope(end, free)[1] for end in ends)
            curvature[:, n] = (up - down) / (2 * step)
        both = (curvature + curvature.transpose(1, 2)) / 2
        return Expansion(dict(centre), tuple(free), value, slope, both)

    def at(self, expansion: Expansion, point: Mapping[str, Tensor]) -> Tensor:
        """Return the logarithm of the density of each shower's layers, shape (shower,).

        Args:
            expansion: Around a point near.
            point: Where; it can be differentiated in it.
        """
        sigma = point["variance"].sqrt()
        nodes, weights = _nodes(float(sigma.detach().max()))
        scatter = sigma[:, None] * nodes - point["variance"][:, None] / 2
        gain = point["log_scale"][:, None] + scatter
        beside = {name: point[name][:, None] for name in ("theta_deg", "absorber_mm")}
        divided = expansion.at({"log_scale": gain, **beside})
        return torch.logsumexp(divided + self.visible_at(gain, point) + weights.log(), dim=1)

    def division_at(self, point: Mapping[str, Tensor]) -> Tensor:
        """Return the logarithm of the density of each division, as it was measured, shape (shower,)."""
        layers = self.showers.layers_without(point["log_scale"])
        # One layer's gain belongs to the visible energy.
        stretched = (self.showers.n_filled - 1) * point["log_scale"]
        return division_log_prob(self.member, layers, self._known(point)) - stretched

    def visible_at(self, gain: Tensor, point: Mapping[str, Tensor]) -> Tensor:
        """Return the logarithm of the density of each visible energy, for gains (shower, gain)."""
        incident_mev = 1e3 * self.showers.energy_gev[:, None]
        visible = self.showers.visible_without(gain)
        possible = visible < _MOST_VISIBLE * incident_mev
        inside = torch.where(possible, visible, incident_mev / 2)
        found = visible_log_prob(self.member, inside, self._known(point))
        return torch.where(possible, found - gain, _IMPOSSIBLE)

    def mean_visible(self, point: Mapping[str, Tensor]) -> Tensor:
        """Return the mean part of each particle's energy that the member makes visible."""
        ends = (0.3 * SAMPLED, 3 * SAMPLED) if self.member.sizes.sampled else (0.6, 0.9995)
        shares = torch.linspace(*ends, 400, dtype=torch.float64)
        visible = 1e3 * self.showers.energy_gev[:, None] * shares
        with torch.no_grad():
            found = visible_log_prob(self.member, visible, self._known(point))
        return torch.softmax(found, dim=1) @ shares

    def _known(self, point: Mapping[str, Tensor]) -> Tensor:
        return conditions(self.showers.energy_gev, point["theta_deg"], point["absorber_mm"])

    def _slope(self, centre: Mapping[str, Tensor], free: Sequence[str]) -> tuple[Tensor, Tensor]:
        # Each shower has coordinates of its own, so that one pass gives all slopes.
        point = {name: values.clone().requires_grad_(name in free) for name, values in centre.items()}
        value = self.division_at(point)
        slopes = torch.autograd.grad(value.sum(), [point[name] for name in free])
        return value.detach(), torch.stack(slopes, dim=1)


def _nodes(sigma: float) -> tuple[Tensor, Tensor]:
    """Return places in standard deviations and weights of an integral over a normal distribution.

    Even steps: what is integrated may be narrower than the normal distribution, where Gauss and
    Hermite's few nodes would miss it.
    """
    n = int(np.clip(np.ceil(2 * _REACH * sigma / _STEP), _N_NODES_MIN, _N_NODES_MAX))
    nodes = torch.linspace(-_REACH, _REACH, n, dtype=torch.float64)
    weights = torch.exp(-(nodes**2) / 2)
    return nodes, weights / weights.sum()
