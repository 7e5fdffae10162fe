"""Where the likelihood of showers is highest under a member of the flow, and how sharp that is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import (
    COORDINATES,
    LEAST_VARIANCE,
    SMOOTH,
    Expansion,
    ShowerLikelihood,
)
from physics_twins.calorimeter.flow.network import ShowerNetwork

# About a standard error of 500 showers: what the search counts in, and over which slopes are compared.
_UNITS: Mapping[str, float] = {
    "log_scale": 3e-4,
    "variance": 2e-6,
    "theta_deg": 0.3,
    "absorber_mm": 3e-3,
}
# So far from its centre an expansion is trusted.
_TRUST: Mapping[str, float] = {"log_scale": 0.08, "theta_deg": 5.0, "absorber_mm": 0.06}
# The expansion is good enough when the maximum is so near to its centre.
_NEAR: Mapping[str, float] = {"log_scale": 0.02, "theta_deg": 1.0, "absorber_mm": 0.012}
_N_EXPANSIONS = 8
_MOST_VARIANCE = 0.04
# Showers and values that find where to start.
_N_FIRST, _N_GRID = 100, 5
Slopes = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Maximum:
    """The best values under one member.

    Attributes:
        free: The coordinates that were fitted, of `COORDINATES`.
        values: All coordinates; where the angle was not fitted, it is 0 and each shower has its own.
        covariance: Of the free ones, shape (free, free): from the observed information and the
            scatter of the showers' slopes, so that it holds for a member that is not quite right.
    """

    free: tuple[str, ...]
    values: Mapping[str, float]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The likelihood of measured showers under a member, along the coordinates that are fitted.

    Points are mappings of all `COORDINATES`; those that are not free stay as they are.

    Attributes:
        member: A network of the flow.
        showers: Measured.
        free: Coordinates that are fitted.
        bounds: Of `log_scale`, `theta_deg` and `absorber_mm`.
    """

    member: ShowerNetwork
    showers: MeasuredShowers
    free: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]

    def first_guess(self, start: Mapping[str, float]) -> dict[str, float]:
        """Return about where the maximum is: the mean response, and the best of a coarse grid."""
        few = self.showers[:: max(1, len(self.showers) // _N_FIRST)]
        values = dict(start)
        if "log_scale" in self.free:
            expected = self._likelihood.mean_visible(points(values, self.showers, self.free))
            values["log_scale"] = float((self.showers.response / expected).median().log())
        if "variance" in self.free:
            values["variance"] = 1e-4
        shape = [name for name in ("theta_deg", "absorber_mm") if name in self.free]
        axes = [np.linspace(*self.bounds[name], _N_GRID) for name in shape]
        best = -np.inf
        for trial in np.array(np.meshgrid(*axes)).reshape(len(shape), -1).T if shape else []:
            moved = values | dict(zip(shape, map(float, trial), strict=True))
            with torch.no_grad():
                likely = ShowerLikelihood(self.member, few).division_at(points(moved, few, self.free))
            found = float(likely.sum())
            if found > best:
                best, values = found, moved
        return values

    def maximum(self, start: Mapping[str, float]) -> Maximum:
        """Return the maximum of the likelihood, sought from a point."""
        values = dict(start)
        expansion = self._expansion(values)
        for number in range(_N_EXPANSIONS):
            if number:
                expansion = self._expansion(values)
            before = dict(values)
            values |= self._climb(expansion, values)
            if all(abs(values[n] - before[n]) <= near for n, near in _NEAR.items() if n in self.free):
                break
        return self._described(expansion, values)

    def slopes_at(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Return how each shower's log likelihood rises with the free coordinates, (shower, free)."""
        expansion = self._expansion(values, curved=False)
        return self._slopes(expansion, values)(self._of_free(values))[1]

    def _expansion(self, values: Mapping[str, float], *, curved: bool = True) -> Expansion:
        smooth = [name for name in SMOOTH if name in self.free or name == "log_scale"]
        told = points(values, self.showers, self.free)
        return self._likelihood.expand(told, smooth, curved=curved)

    @property
    def _likelihood(self) -> ShowerLikelihood:
        return ShowerLikelihood(self.member, self.showers)

    def _of_free(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([values[name] for name in self.free])

    def _climb(self, expansion: Expansion, values: Mapping[str, float]) -> dict[str, float]:
        """Return the free coordinates of the maximum that an expansion shows, within its reach."""
        units = self._of_free(_UNITS)
        limits = []
        bounds = {"variance": (LEAST_VARIANCE, _MOST_VARIANCE), **self.bounds}
        for name in self.free:
            low, high = bounds[name]
            reach = _TRUST.get(name, np.inf)
            ends = max(low, values[name] - reach), min(high, values[name] + reach)
            limits.append((ends[0] / _UNITS[name], ends[1] / _UNITS[name]))
        slopes = self._slopes(expansion, values)

        def downhill(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, each = slopes(x * units)
            return -float(value.sum()), -each.sum(axis=0) * units

        start = np.clip(self._of_free(values) / units, *np.array(limits).T)
        options = {"maxiter": 60, "ftol": 1e-9, "gtol": 1e-2}
        found = optimize.minimize(
            downhill, start, jac=True, bounds=limits, method="L-BFGS-B", options=options
        )
        return dict(zip(self.free, map(float, found.x * units), strict=True))

    def _slopes(self, expansion: Expansion, values: Mapping[str, float]) -> Slopes:
        """Return what gives each shower's log likelihood and its slopes, (shower, free), at a point."""

        def at(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            moved = {**values, **dict(zip(self.free, x, strict=True))}
            told = points(moved, self.showers, self.free)
            for name in self.free:
                told[name].requires_grad_()
            found = self._likelihood.at(expansion, told)
            slopes = torch.autograd.grad(found.sum(), [told[name] for name in self.free])
            return found.detach().numpy(), torch.stack(slopes, dim=1).numpy()

        return at

    def _described(self, expansion: Expansion, values: Mapping[str, float]) -> Maximum:
        slopes, here = self._slopes(expansion, values), self._of_free(values)
        each, rows = slopes(here)[1], []
        for n, name in enumerate(self.free):
            step = np.zeros(len(self.free))
            step[n] = 2 * _UNITS[name]
            low = here - step
            if name == "variance":
                low[n] = max(low[n], LEAST_VARIANCE)
            rise = slopes(here + step)[1].sum(axis=0) - slopes(low)[1].sum(axis=0)
            rows.append(-rise / (here[n] + step[n] - low[n]))
        information = (np.array(rows) + np.array(rows).T) / 2
        inverse = np.linalg.pinv(information)
        away = each - each.mean(axis=0)
        return Maximum(self.free, dict(values), inverse @ (away.T @ away) @ inverse)


def points(
    values: Mapping[str, float], showers: MeasuredShowers, free: Sequence[str]
) -> dict[str, Tensor]:
    """Return coordinates for each shower; the angle is its own where it is not fitted."""
    n = len(showers)
    told = {name: torch.full((n,), values[name], dtype=torch.float64) for name in COORDINATES}
    if "theta_deg" not in free:
        told["theta_deg"] = showers.theta_deg
    return told
