"""How the energy of a part of a shower divides among its two halves: a density with exact zeros.

A half is empty or holds at least the threshold of a cell. So one of three things happens: all is on
the left, all is on the right, or both hold some; then z, the logit of the left half's share of what is
beyond both thresholds, is drawn from a mixture of logistic distributions. Energy is never lost, and no
cell below threshold appears, which a flow on noised cells (CaloINN, arXiv:2312.09290) has to be cut to.

Cells have structure at fixed *energies*, which shares smear: one cell in 23 holds the 0.511 MeV of an
annihilation photon to a few eV, and few hold less than Geant4's production threshold. So where rings
and their parts are divided, the mixture has steps, too: a half's energy lies in one of `N_STEPS`
intervals, with equal probability for equal intervals of its logarithm.
"""

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Of a cell in MeV, a rounding below the 15.15 keV of CaloChallenge's data set 2.
THRESHOLD_MEV = 0.01514
N_COMPONENTS = 4
N_OUTPUTS = 3 + 3 * N_COMPONENTS
LEFT, RIGHT, BOTH = 0, 1, 2
MIN_LOG_SCALE, MAX_LOG_SCALE = -6.0, 3.0
MAX_LOGIT = 18.0

ELECTRON_MEV = 0.51099895
_LINE_MEV = 2e-5  # half the width of a line's step; cells are summed in float32
_LINES = np.array([[m * ELECTRON_MEV - _LINE_MEV, m * ELECTRON_MEV + _LINE_MEV] for m in (1, 2)])
# Of the steps, in MeV: twelve to a decade up to 4 MeV, and the energies of one and two such photons.
STEP_EDGES_MEV = np.sort([*THRESHOLD_MEV * 10 ** (np.arange(30) / 12), *_LINES.ravel()])
N_STEPS = len(STEP_EDGES_MEV) - 1
N_STEPPED_OUTPUTS = N_OUTPUTS + 2
Mixture: TypeAlias = tuple[Tensor, Tensor, Tensor]


def share_logit(left_mev: Tensor, right_mev: Tensor) -> Tensor:
    """Return the logit of a share of energy, in float64; what it is where a half is empty has no sense.

    Args:
        left_mev: Energy of the left half in MeV, any shape.
        right_mev: Of the right half.
    """
    left = (left_mev.double() - THRESHOLD_MEV).clamp(min=1e-9)
    right = (right_mev.double() - THRESHOLD_MEV).clamp(min=1e-9)
    return (left.log() - right.log()).clamp(-MAX_LOGIT, MAX_LOGIT)


def log_probability(outputs: Tensor, left_mev: Tensor, right_mev: Tensor) -> Tensor:
    """Return the logarithm of the probability of a division, of z where both halves hold energy.

    Args:
        outputs: What a network says of the division, shape (..., `N_OUTPUTS`): three logits, then
            logits, means and log scales of the mixture.
        left_mev: Energy of the left half in MeV, shape (...).
        right_mev: Of the right half.

    Returns:
        Shape (...), 0 where there is nothing to divide.
    """
    has_left, has_right = left_mev > 0, right_mev > 0
    both = has_left & has_right
    outcomes = outcome_logits(outputs, left_mev + right_mev).log_softmax(dim=-1)
    outcome = torch.where(both, BOTH, torch.where(has_left, LEFT, RIGHT))
    found = outcomes.gather(-1, outcome.unsqueeze(-1)).squeeze(-1)
    z = share_logit(left_mev, right_mev).to(outputs.dtype)
    found = found + torch.where(both, mixture_log_density(share_mixture(outputs), z), 0.0)
    return torch.where(has_left | has_right, found, 0.0)


def stepped_log_probability(
    outputs: Tensor, steps: Tensor, left_mev: Tensor, right_mev: Tensor
) -> Tensor:
    """Return the logarithm of the probability of divisions whose density has steps.

    Args:
        outputs: Shape (division, `N_STEPPED_OUTPUTS`): as for `log_probability`, then the logits of a
            step of the left half's energy and of the right half's.
        steps: Logits of the steps, shape (divided, 2 * `N_STEPS`), of the divisions with two halves
            that hold energy: the left half's, then the right half's.
        left_mev: Energy of the left half in MeV, shape (division,).
        right_mev: Of the right half.
    """
    has_left = left_mev > 0
    divided = torch.nonzero(has_left & (right_mev > 0)).squeeze(1)
    outcomes = outcome_logits(outputs, left_mev + right_mev).log_softmax(dim=-1)
    one_side = torch.where(has_left, outcomes[:, LEFT], outcomes[:, RIGHT])
    left, right = left_mev[divided], right_mev[divided]
    z = share_logit(left, right).to(outputs.dtype)
    of_left, of_right = steps.unflatten(-1, (2, N_STEPS)).unbind(1)
    densities = [
        mixture_log_density(share_mixture(outputs[divided]), z),
        _step_log_density(of_left, left, right),
        _step_log_density(of_right, right, left),
    ]
    both = torch.logsumexp(outcomes[divided, BOTH:] + torch.stack(densities, dim=-1), dim=-1)
    return one_side.index_put((divided,), both)


def allowed_steps(steps: Tensor, whole_mev: Tensor) -> Tensor:
    """Return logits of steps, none of which leaves the other half less than a threshold."""
    highest = torch.as_tensor(STEP_EDGES_MEV[1:], device=steps.device)
    beyond = highest > whole_mev.double().unsqueeze(-1) - THRESHOLD_MEV
    return steps.masked_fill(beyond, -1e4)


def step_number(energy_mev: Tensor) -> Tensor:
    """Return in which step an energy of at least the threshold lies, `N_STEPS` above all of them."""
    edges = torch.as_tensor(STEP_EDGES_MEV[1:], device=energy_mev.device)
    return (energy_mev.double().unsqueeze(-1) >= edges).sum(dim=-1)


def outcome_logits(outputs: Tensor, whole_mev: Tensor) -> Tensor:
    """Return the logits of all left, all right and a share; with gates, of a step left and one right.

    Less energy than two thresholds cannot be divided, nor can less than the lowest step and one.
    """
    logits = torch.cat([outputs[..., : BOTH + 1], outputs[..., N_OUTPUTS:]], dim=-1)
    stepped = STEP_EDGES_MEV[1] + THRESHOLD_MEV
    least = whole_mev.new_tensor([0.0, 0.0, 2 * THRESHOLD_MEV, stepped, stepped])
    too_little = whole_mev.unsqueeze(-1) < least[: logits.shape[-1]]
    return logits.masked_fill(too_little, -30.0)


def log_jacobian(left_mev: Tensor, right_mev: Tensor) -> Tensor:
    """Return the logarithm of dz / d(left energy in MeV), 0 where a half is empty."""
    left, right = left_mev.double() - THRESHOLD_MEV, right_mev.double() - THRESHOLD_MEV
    both = (left_mev > 0) & (right_mev > 0)
    slope = 1 / left.clamp(min=1e-9) + 1 / right.clamp(min=1e-9)
    return torch.where(both, slope.log(), 0.0)


def mixture_log_density(mixture: Mixture, z: Tensor, spread: Tensor | float = 0.0) -> Tensor:
    """Return the logarithm of the density of logistic distributions, in the shape of z.

    Args:
        mixture: Their logits, means and log scales, shape (..., component).
        z: Where, shape (...).
        spread: Added to the means.
    """
    weights, means, log_scales = mixture
    u = (z.unsqueeze(-1) - means - spread) * torch.exp(-log_scales)
    log_density = -u - log_scales - 2 * functional.softplus(-u)
    return torch.logsumexp(weights.log_softmax(dim=-1) + log_density, dim=-1)


def share_mixture(outputs: Tensor) -> Mixture:
    """Return logits, means and log scales of the density of z."""
    weights, means, scales = outputs[..., BOTH + 1 : N_OUTPUTS].split(N_COMPONENTS, dim=-1)
    return weights, means, scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


def _step_log_density(steps: Tensor, mine_mev: Tensor, other_mev: Tensor) -> Tensor:
    """Return the logarithm of the density of z where a half's energy is in steps, shape (divided,)."""
    whole = mine_mev + other_mev
    number = step_number(mine_mev)
    inside = number.clamp(max=N_STEPS - 1).unsqueeze(-1)
    found = allowed_steps(steps, whole).log_softmax(dim=-1).gather(-1, inside).squeeze(-1)
    mine, other = mine_mev.double(), other_mev.double()
    beyond = [(half - THRESHOLD_MEV).clamp(min=1e-9) for half in (mine, other)]
    # d ln(energy) / dz
    slope = beyond[0] * beyond[1] / ((beyond[0] + beyond[1]) * mine)
    widths = torch.as_tensor(np.diff(np.log(STEP_EDGES_MEV)), device=steps.device)
    found = found + (slope.log() - widths[inside.squeeze(-1)].log()).to(steps.dtype)
    return found.masked_fill(number >= N_STEPS, -1e4)
