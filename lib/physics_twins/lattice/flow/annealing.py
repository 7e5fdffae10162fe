"""Non-equilibrium steps: updates of fields between pieces of a flow, with the work accounted for."""

import math

import numpy as np
import torch
from torch import Tensor

from physics_twins.lattice import scalar
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.velocity import Velocity
from physics_twins.lattice.geometry import longest_waves, neighbours

_N_UPDATES = 8  # after each piece: at L / xi = 4 the cluster forgets a field in about as many
_WIDTH = 4.0  # of Metropolis proposals, in widths of a site that is alone


@torch.no_grad()
def annealed(
    velocity: Velocity,
    phi: Tensor,
    rng: np.random.Generator,
    *,
    n_stages: int,
    n_steps: int,
    back: bool,
) -> tuple[Tensor, Tensor]:
    """Return fields that were updated on the way, and logarithms of their weights, (field,).

    After each piece of the path but the last its fields are updated in the theory of that time, which
    changes no weight (Caselle et al. 2022, arXiv 2201.08862): errors of the pieces no longer add up
    along the way. It helps flows that follow the path; one that was refined takes its own way, and
    then the weights tell. What updates is the cluster algorithm, as trajectories of HMC are too slow.

    Args:
        velocity: Of a flow of phi^4.
        phi: Free fields, (field, *shape), or fields of the theory itself to go back from.
        rng: Of the updates.
        n_stages: Pieces of the path.
        n_steps: Steps along the whole flow.
        back: Whether to go back, each update in reverse: the weights are then those of such fields.
    """
    path = velocity.path
    tables = neighbours(path.shape), longest_waves(path.shape)
    series, width = np.empty((1, len(scalar.OBSERVABLES))), _WIDTH / math.sqrt(4 * len(path.shape))
    number = scalar.SAMPLERS["backward cluster" if back else "cluster"]
    logs = torch.zeros(len(phi), dtype=torch.float64)
    for stage in reversed(range(n_stages)) if back else range(n_stages):
        ends = stage / n_stages, (stage + 1) / n_stages
        begin, end = ends[::-1] if back else ends
        last, steps = phi, -(-n_steps // n_stages)
        phi, log_jacobian = transport(velocity, phi, n_steps=steps, begin=begin, end=end)
        first, final = (phi, last) if back else (last, phi)
        before = path.action(first, ends[0]) if stage else -path.prior_log_density(first)
        logs += before - path.action(final, ends[1]) + (-log_jacobian if back else log_jacobian)
        if 0 < end < 1:
            for field in phi.flatten(1).numpy():
                theory = (field, *tables, *path.couplings(end))
                scalar.run(*theory, number, width, 1.0, _N_UPDATES, rng, series)
    return phi, logs
