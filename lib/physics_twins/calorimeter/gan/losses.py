"""3DGAN's losses: real or generated, the particle's energy and angle, and the sum of all cells."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from physics_twins.calorimeter.gan.networks import LATENT, Judged
from physics_twins.calorimeter.gan_parameters import GanWeights


def loss_parts(
    judged: Judged, truth: Mapping[str, Tensor], labels: Tensor, weights: GanWeights
) -> dict[str, Tensor]:
    """Return the parts of the loss by name, each with its weight.

    Args:
        judged: What the discriminator says.
        truth: `energy` (100 GeV), `angle` (rad) and `energy_sum` of the showers that are judged, or are
            to be generated; shape (shower,).
        labels: 1 where a shower shall count as real, else 0; shape (shower,).
        weights: How much each part counts.

    Raises:
        ValueError: A shape differs: broadcast, each shower would be held against all others.
    """
    for name, values in (*truth.items(), ("labels", labels)):
        if name in ("energy", "angle", "energy_sum", "labels") and values.shape != judged.logit.shape:
            raise ValueError(
                f"{name} has shape {tuple(values.shape)}, expected {tuple(judged.logit.shape)}"
            )
    reality = binary_cross_entropy_with_logits(judged.logit, labels)
    return {
        "adversarial": weights.adversarial_weight * reality,
        "energy": weights.energy_weight * percentage(judged.energy, truth["energy"]),
        "angle": weights.angle_weight * (judged.angle_rad - truth["angle"]).abs().mean(),
        "energy_sum": weights.sum_weight * percentage(judged.energy_sum, truth["energy_sum"]),
    }


def percentage(found: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute deviation in per cent of the truth.

    >>> float(percentage(torch.tensor([0.5, 3.0]), torch.tensor([1.0, 2.0])))
    50.0
    """
    return 100 * ((found - truth) / truth).abs().mean()


def labels(n: int, value: float, *, flipped: float, device: torch.device) -> Tensor:
    """Return a label for each of n showers, some by chance flipped to the opposite."""
    wrong = torch.rand(n, device=device) < flipped
    return torch.where(wrong, 1 - value, value)


def generator_inputs(energy: Tensor, angle: Tensor) -> Tensor:
    """Return energy (100 GeV), angle (rad) and random numbers, shape (shower, 256)."""
    noise = torch.randn(len(energy), LATENT - 2, device=energy.device)
    return torch.cat([energy[:, None], angle[:, None], noise], dim=1)


@contextmanager
def fixed(module: nn.Module) -> Iterator[nn.Module]:
    """Let a module be passed through without gradients of its weights, which nothing would use."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield module
    finally:
        for weight in weights:
            weight.requires_grad_(True)
