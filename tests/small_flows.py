"""Flows of showers that have learnt nothing, for what holds whatever the weights."""

import torch

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes

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
