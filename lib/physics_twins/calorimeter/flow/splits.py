"""How the energy of a part of a shower divides among its two halves: a density with exact zeros.

A half is empty or holds at least the threshold of a cell. So one of three things happens: all is on
the left, all is on the right, or both hold some; then z, the logit of the left half's share of what is
beyond both thresholds, is drawn from a mixture of logistic distributions. Energy is never lost, and no
cell below threshold appears, which a flow on noised cells (CaloINN, arXiv:2312.09290) has to be cut to.
"""

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
    found = found + torch.where(both, _mixture_log_density(outputs, z), 0.0)
    return torch.where(has_left | has_right, found, 0.0)


def outcome_logits(outputs: Tensor, whole_mev: Tensor) -> Tensor:
    """Return the logits of the three outcomes; less energy than two thresholds cannot be divided."""
    too_little = whole_mev < 2 * THRESHOLD_MEV
    return torch.cat(
        [outputs[..., :2], outputs[..., 2:3].masked_fill(too_little.unsqueeze(-1), -30.0)], dim=-1
    )


def log_jacobian(left_mev: Tensor, right_mev: Tensor) -> Tensor:
    """Return the logarithm of dz / d(left energy in MeV), 0 where a half is empty."""
    left, right = left_mev.double() - THRESHOLD_MEV, right_mev.double() - THRESHOLD_MEV
    both = (left_mev > 0) & (right_mev > 0)
    slope = 1 / left.clamp(min=1e-9) + 1 / right.clamp(min=1e-9)
    return torch.where(both, slope.log(), 0.0)


def _mixture_log_density(outputs: Tensor, z: Tensor) -> Tensor:
    weights, means, scales = outputs[..., 3:].split(N_COMPONENTS, dim=-1)
    log_scales = scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)
    u = (z.unsqueeze(-1) - means) * torch.exp(-log_scales)
    log_density = -u - log_scales - 2 * functional.softplus(-u)
    return torch.logsumexp(weights.log_softmax(dim=-1) + log_density, dim=-1)
