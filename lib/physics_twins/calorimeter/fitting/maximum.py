"""Where the likelihood of showers is highest under a member of the flow, and how sharp that is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from physics_twins.calorimeter.fitting import shower_likelihood
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import (
    COORDINATES,
    LEAST_VARIANCE,
    SMOOTH,
    Expansion,
    expand,
)
from physics_twins.calorimeter.flow.likelihood import visible_log_prob
from physics_twins.calorimeter.flow.network import SAMPLED, ShowerNetwork

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
Bounds = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Maximum:
    """The best values under one member.

    Attributes:
        free: The coordinates that were fitted, of `COORDINATES`.
        values: All coordinates; where the angle was not fitted, it is 0 and each shower has its own.
        covariance: Of the free ones, shape (free, free): from the observed information and the
            scatter of the showers' slopes, so that it holds for a member that is not quite right.
        expansion: Around the maximum.
        log_likelihood: Of each shower, shape (shower,).
        slope: Of the sum along each free coordinate, shape (free,); not zero at a bound.
        information: Observed, shape (free, free).
    """

    free: tuple[str, ...]
    values: Mapping[str, float]
    covariance: NDArray[np.float64]
    expansion: Expansion
    log_likelihood: NDArray[np.float64]
    slope: NDArray[np.float64]
    information: NDArray[np.float64]


def maximise(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    start: Mapping[str, float],
    free: Sequence[str],
    bounds: Bounds,
) -> Maximum:
    """Return the maximum of the likelihood.

    Args:
        member: A network of the flow.
        showers: Measured.
        start: All coordinates; those that are not free stay.
        free: Coordinates that are fitted.
        bounds: Of `log_scale`, `theta_deg` and `absorber_mm`.
    """
    values, smooth = dict(start), [name for name in SMOOTH if name in free or name == "log_scale"]
    bounds = {"variance": (LEAST_VARIANCE, _MOST_VARIANCE), **bounds}
    expansion = expand(member, showers, points(values, showers, free), smooth)
    for number in range(_N_EXPANSIONS):
        if number:
            expansion = expand(member, showers, points(values, showers, free), smooth)
        before = dict(values)
        values |= _climb(member, showers, expansion, values, free, bounds)
        if all(abs(values[n] - before[n]) <= near for n, near in _NEAR.items() if n in free):
            break
    return _described(member, showers, expansion, values, tuple(free))


def first_guess(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    start: Mapping[str, float],
    free: Sequence[str],
    bounds: Bounds,
) -> dict[str, float]:
    """Return about where the maximum is: the mean response, and the best of a coarse grid."""
    few = showers[:: max(1, len(showers) // _N_FIRST)]
    values = dict(start)
    if "log_scale" in free:
        told = points(values, showers, free)
        expected = mean_visible(member, showers, told["theta_deg"], told["absorber_mm"])
        values["log_scale"] = float((showers.response / expected).median().log())
    if "variance" in free:
        values["variance"] = 1e-4
    shape = [name for name in ("theta_deg", "absorber_mm") if name in free]
    axes = [np.linspace(*bounds[name], _N_GRID) for name in shape]
    best = -np.inf
    for trial in np.array(np.meshgrid(*axes)).reshape(len(shape), -1).T if shape else []:
        moved = values | dict(zip(shape, map(float, trial), strict=True))
        with torch.no_grad():
            told = points(moved, few, free)
            found = float(shower_likelihood.division_at(member, few, told).sum())
        if found > best:
            best, values = found, moved
    return values


def points(
    values: Mapping[str, float], showers: MeasuredShowers, free: Sequence[str]
) -> dict[str, Tensor]:
    """Return coordinates for each shower; the angle is its own where it is not fitted."""
    n = len(showers)
    told = {name: torch.full((n,), values[name], dtype=torch.float64) for name in COORDINATES}
    if "theta_deg" not in free:
        told["theta_deg"] = showers.theta_deg
    return told


def slopes_at(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    values: Mapping[str, float],
    free: Sequence[str],
) -> NDArray[np.float64]:
    """Return how each shower's log likelihood rises with the free coordinates, shape (shower, free)."""
    smooth = [name for name in SMOOTH if name in free or name == "log_scale"]
    told = points(values, showers, free)
    expansion = expand(member, showers, told, smooth, curved=False)
    return _slopes(member, showers, expansion, values, free)(np.array([values[n] for n in free]))[1]


def mean_visible(
    member: ShowerNetwork, showers: MeasuredShowers, theta_deg: Tensor, absorber_mm: Tensor
) -> Tensor:
    """Return the mean part of each particle's energy that a member makes visible."""
    ends = (0.3 * SAMPLED, 3 * SAMPLED) if member.sizes.sampled else (0.6, 0.9995)
    shares = torch.linspace(*ends, 400, dtype=torch.float64)
    visible = 1e3 * showers.energy_gev[:, None] * shares
    with torch.no_grad():
        found = visible_log_prob(member, visible, showers.energy_gev, theta_deg, absorber_mm)
    return torch.softmax(found, dim=1) @ shares


def _climb(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    expansion: Expansion,
    values: Mapping[str, float],
    free: Sequence[str],
    bounds: Bounds,
) -> dict[str, float]:
    """Return the free coordinates of the maximum that an expansion shows, within its reach."""
    units = np.array([_UNITS[name] for name in free])
    limits = []
    for name in free:
        low, high = bounds[name]
        reach = _TRUST.get(name, np.inf)
        ends = max(low, values[name] - reach), min(high, values[name] + reach)
        limits.append((ends[0] / _UNITS[name], ends[1] / _UNITS[name]))
    slopes = _slopes(member, showers, expansion, values, free)

    def downhill(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, each = slopes(x * units)
        return -float(value.sum()), -each.sum(axis=0) * units

    start = np.array([values[name] for name in free]) / units
    start = np.clip(start, *np.array(limits).T)
    options = {"maxiter": 60, "ftol": 1e-9, "gtol": 1e-2}
    found = optimize.minimize(
        downhill, start, jac=True, bounds=limits, method="L-BFGS-B", options=options
    )
    return dict(zip(free, map(float, found.x * units), strict=True))


Slopes = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


def _slopes(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    expansion: Expansion,
    values: Mapping[str, float],
    free: Sequence[str],
) -> Slopes:
    """Return what gives each shower's log likelihood and its slopes, (shower, free), at a point."""

    def at(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        told = points({**values, **dict(zip(free, x, strict=True))}, showers, free)
        for name in free:
            told[name].requires_grad_()
        found = shower_likelihood.log_likelihood(member, showers, expansion, told)
        slopes = torch.autograd.grad(found.sum(), [told[name] for name in free])
        return found.detach().numpy(), torch.stack(slopes, dim=1).numpy()

    return at


def _described(
    member: ShowerNetwork,
    showers: MeasuredShowers,
    expansion: Expansion,
    values: Mapping[str, float],
    free: tuple[str, ...],
) -> Maximum:
    slopes = _slopes(member, showers, expansion, values, free)
    here = np.array([values[name] for name in free])
    found, each = slopes(here)
    rows = []
    for n, name in enumerate(free):
        step = np.zeros(len(free))
        step[n] = 2 * _UNITS[name]
        low = here - step
        if name == "variance":
            low[n] = max(low[n], LEAST_VARIANCE)
        rise = slopes(here + step)[1].sum(axis=0) - slopes(low)[1].sum(axis=0)
        rows.append(-rise / (here[n] + step[n] - low[n]))
    information = (np.array(rows) + np.array(rows).T) / 2
    inverse = np.linalg.pinv(information)
    away = each - each.mean(axis=0)
    covariance = inverse @ (away.T @ away) @ inverse
    return Maximum(free, dict(values), covariance, expansion, found, each.sum(axis=0), information)
