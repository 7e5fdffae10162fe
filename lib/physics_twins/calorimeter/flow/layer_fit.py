"""Maximum likelihood of an energy scale, resolution, angle and thickness, given layer energies.

Scores of single showers are found by differences of the log likelihood; their outer products make the
steps (Berndt et al. 1974, Ann. Econ. Soc. Meas. 3, 653) and, with the curvature, an error that holds
even where the flow is not exact (White 1982, Econometrica 50, 1, equation 3.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, conditions, energy_mev, log_loss

# Fitted numbers: unit, step of the differences, and the smallest and largest value.
FITTED: Mapping[str, tuple[str, float, float, float]] = {
    "energy_scale": ("1", 5e-4, 0.5, 2.0),
    "absorber_mm": ("mm", 5e-3, 0.3, 5.0),
    "theta_deg": ("deg", 0.5, 0.0, 60.0),
    "resolution_squared": ("1", 2e-5, 0.0, 0.1),
}
_MAX_STEPS = 30
# The scatter is averaged over at so many places, up to so many of its standard deviations.
_N_NODES, _REACH = 41, 4.0
_LEAST_LOG_DENSITY = -60.0


@dataclass(frozen=True)
class Layers:
    """What is measured of showers.

    Attributes:
        layer_mev: Energy of the layers, shape (shower, layer), float64.
        energy_gev: Known energy of the particles, shape (shower,).
        theta_deg: Their angles, shape (shower,).
    """

    layer_mev: Tensor
    energy_gev: Tensor
    theta_deg: Tensor


@dataclass(frozen=True)
class Fit:
    """The most likely values.

    Attributes:
        names: What was fitted.
        values: Shape (name,).
        covariance: Of the showers' chance alone, shape (name, name).
        members: Where each member alone would put the values, shape (member, name).
        log_likelihood: Mean over showers, at the values.
        converged: Whether the last step was a hundredth of an error or less.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    members: NDArray[np.float64]
    log_likelihood: float
    converged: bool


def log_likelihood(member: ShowerNetwork, data: Layers, values: Mapping[str, float]) -> Tensor:
    """Return the logarithm of the density of each shower's measured layer energies, shape (shower,).

    A detector that measures `energy_scale` times what there is, with a relative scatter of the whole
    shower whose square is `resolution_squared`. The scatter is averaged over for the visible energy;
    how that divides among layers hardly depends on it, and is taken without.

    Args:
        member: A network of a flow.
        data: What is measured.
        values: `energy_scale`, `absorber_mm`, `resolution_squared`, and `theta_deg` if all showers have
            one unknown angle.
    """
    scale = float(values.get("energy_scale", 1.0))
    layers = data.layer_mev / scale
    theta = data.theta_deg
    if "theta_deg" in values:
        theta = torch.full_like(theta, values["theta_deg"])
    absorber = torch.full_like(theta, values["absorber_mm"])
    known = conditions(data.energy_gev, theta, absorber)
    remaining = layers.flip(-1).cumsum(-1).flip(-1)
    jacobian = splits.log_jacobian(layers[:, :-1], remaining[:, 1:]).sum(dim=1)
    with torch.no_grad():
        divided = member.layer_log_prob(layers, known.float())["layers"].double()
        visible = _visible(member, remaining[:, 0], known, values.get("resolution_squared", 0.0))
    n_filled = (data.layer_mev > 0).sum(dim=1)
    return visible + divided + jacobian - n_filled * np.log(scale)


def fit(
    members: Sequence[ShowerNetwork],
    data: Layers,
    start: Mapping[str, float],
    free: Sequence[str],
) -> Fit:
    """Return the values that make showers most likely, for the mean of the members' log densities.

    Args:
        members: Networks of the ensemble.
        data: What is measured.
        start: A value of each number, fitted or not.
        free: Numbers that are fitted, of `FITTED`.
    """
    values, converged = dict(start), False
    # One member leads most of the way, which is as good as all and quicker.
    for group in (members[:1], members):
        values, converged = _most_likely(group, data, values, free)
    return _described(members, data, values, free, converged)


def _most_likely(
    members: Sequence[ShowerNetwork], data: Layers, values: dict[str, float], free: Sequence[str]
) -> tuple[dict[str, float], bool]:
    """Return the most likely values, and whether the last step was short enough."""
    low, high = (np.array([FITTED[name][i] for name in free]) for i in (2, 3))
    for _ in range(_MAX_STEPS):
        here, scores = _scores(members, data, values, free)
        mean = scores.mean(axis=0)
        information = mean.T @ mean
        errors = 1 / np.sqrt(np.diag(information))
        now = np.array([values[name] for name in free])
        move = _shortened(np.linalg.solve(information, mean.sum(axis=0)), errors)
        values, step = _climbed(members, data, values, free, (now + move).clip(low, high) - now, here)
        if (np.abs(step) <= 0.01 * errors).all():
            return values, True
    return values, False


def _visible(
    member: ShowerNetwork, visible_mev: Tensor, known: Tensor, resolution_squared: float
) -> Tensor:
    """Return the log density of visible energies per MeV, averaged over the detector's scatter."""
    if resolution_squared <= 0:
        return _true_visible(member, visible_mev, known)
    nodes = np.linspace(-_REACH, _REACH, _N_NODES)
    weights = np.exp(-(nodes**2) / 2)
    factors = torch.from_numpy((1 + np.sqrt(resolution_squared) * nodes).clip(0.05))
    each = visible_mev / factors[:, None]
    repeated = known.expand(_N_NODES, *known.shape).flatten(0, 1)
    density = _true_visible(member, each.flatten(), repeated).view_as(each)
    # No shower shows more than came in; that is a matter of the scatter.
    density = density.masked_fill(each >= energy_mev(known), -torch.inf) - factors.log()[:, None]
    density = density + torch.from_numpy(np.log(weights / weights.sum()))[:, None]
    return torch.logsumexp(density, dim=0).clamp(min=_LEAST_LOG_DENSITY)


def _true_visible(member: ShowerNetwork, visible_mev: Tensor, known: Tensor) -> Tensor:
    loss = log_loss(visible_mev, known)
    density = member.total_log_prob(loss, known.float()).double()
    # d ln(1 - visible / incident) / d visible, in magnitude.
    return density - loss - energy_mev(known).log()


def _scores(
    members: Sequence[ShowerNetwork], data: Layers, values: dict[str, float], free: Sequence[str]
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean log likelihood, and each shower's slopes, shape (member, shower, name)."""
    scores = np.zeros((len(members), len(data.energy_gev), len(free)))
    for column, name in enumerate(free):
        _, step, low, high = FITTED[name]
        ends = [float(np.clip(values[name] + sign * step, low, high)) for sign in (1, -1)]
        for row, member in enumerate(members):
            up, down = (log_likelihood(member, data, {**values, name: end}) for end in ends)
            scores[row, :, column] = ((up - down) / (ends[0] - ends[1])).numpy()
    return _mean(members, data, values), scores


def _mean(members: Sequence[ShowerNetwork], data: Layers, values: Mapping[str, float]) -> float:
    each = [float(log_likelihood(member, data, values).mean()) for member in members]
    return float(np.mean(each))


def _shortened(move: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a step of at most twenty errors."""
    return move / max(1.0, float(np.abs(move / errors).max()) / 20)


def _climbed(
    members: Sequence[ShowerNetwork],
    data: Layers,
    values: dict[str, float],
    free: Sequence[str],
    move: NDArray[np.float64],
    here: float,
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Return values that are not less likely, and the step to them: halved until it climbs."""
    for _ in range(8):
        there = {**values, **{n: values[n] + float(d) for n, d in zip(free, move, strict=True)}}
        if _mean(members, data, there) >= here - 1e-6:
            return there, move
        move = move / 2
    return values, np.zeros_like(move)


def _described(
    members: Sequence[ShowerNetwork],
    data: Layers,
    values: dict[str, float],
    free: Sequence[str],
    converged: bool,
) -> Fit:
    _, scores = _scores(members, data, values, free)
    together = scores.mean(axis=0)
    information = together.T @ together
    curvature = _curvature(members, data, values, free, together.sum(axis=0))
    # A number that is stopped by its limit moves none of the others.
    ends = [values[name] in FITTED[name][2:] for name in free]
    for n in np.flatnonzero(ends):
        for each in (information, curvature):
            kept = information[n, n]
            each[n, :] = each[:, n] = 0.0
            each[n, n] = kept
    if np.linalg.eigvalsh(curvature).min() <= 0:
        curvature = information
    inverse = np.linalg.inv(curvature)
    best = np.array([values[name] for name in free])
    alone = best + np.where(ends, 0.0, scores.sum(axis=1) @ inverse)
    mean = _mean(members, data, values)
    return Fit(tuple(free), best, inverse @ information @ inverse, alone, mean, converged)


def _curvature(
    members: Sequence[ShowerNetwork],
    data: Layers,
    values: dict[str, float],
    free: Sequence[str],
    slope: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return minus the second derivatives of the summed log likelihood, shape (name, name)."""
    rows = []
    for name in free:
        # Longer than the step of the slopes, whose rounding would drown the difference.
        step = 4 * FITTED[name][1]
        moved = {**values, name: values[name] + step}
        _, scores = _scores(members, data, moved, free)
        rows.append((slope - scores.mean(axis=0).sum(axis=0)) / step)
    found = np.array(rows)
    return (found + found.T) / 2
