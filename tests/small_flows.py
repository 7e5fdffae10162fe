"""Flows of showers that have learnt nothing, for what holds whatever the weights."""

import torch

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.likelihood import division_log_prob, visible_log_prob
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes, conditions

SMALL = Sizes(hidden=16, context=16, memory=16, layers=16)


def untrained(seed: int = 1) -> ShowerNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ShowerNetwork(SMALL)
        # Towards many filled cells, of which untrained networks have few.
        for head in (network.layer_head, network.ring_head, *network.angle_heads):
            with torch.no_grad():
                head.out.bias[splits.BOTH] = 2.0
    return network.eval()


def layer_log_prob(
    network: ShowerNetwork, layer_mev: torch.Tensor, *told: torch.Tensor
) -> torch.Tensor:
    """Return the logarithm of the density of layer energies, given energy, angle and thickness."""
    known = conditions(*(each.double() for each in told))
    visible = visible_log_prob(network, layer_mev.sum(dim=1), known)
    return visible + division_log_prob(network, layer_mev, known)
