"""Refine a flow by steps of natural gradient, which leave its path free.

For fields on trajectories of the flow, a change dv of the velocity changes the logarithm of their
weights, in first order, by

    integral over time of: div dv + dv . grad log q_t,

with q_t the flow's own density on the way. So the change that lowers the variance of the logarithm of
the weights most is one more problem of least squares; it is also the step of natural gradient for the
reverse Kullback-Leibler divergence. Its noise vanishes with the variance, as that of path gradients.
"""

import torch
from torch import Tensor

from physics_twins.lattice.flow.integrate import scored
from physics_twins.lattice.flow.kinds import AnyVelocity
from physics_twins.lattice.flow.regression import solved, times
from physics_twins.lattice.flow.velocity import polynomials


@torch.no_grad()
def natural_step(
    velocity: AnyVelocity,
    n: int,
    generator: torch.Generator,
    *,
    n_nodes: int,
    ridge: float,
) -> tuple[Tensor, Tensor]:
    """Return the change of the weights, and logarithms of the fields' weights before it, (field,).

    Args:
        velocity: Of the flow.
        n: Fields, several times as many as weights.
        generator: Of the fields.
        n_nodes: Nodes in time, of the integral and of the steps along the flow.
        ridge: Penalty on the change, as in `regression.solve`.
    """
    nodes, shares = times(n_nodes)
    path, n_times, n_weights = velocity.path, velocity.sizes.n_times, velocity.weights.numel()
    normal, right = torch.zeros(n_weights, n_weights).double(), torch.zeros(n_weights).double()
    found, means = [], torch.zeros(n_weights).double()
    for start in range(0, n, path.chunk):
        phi = path.draw_prior(min(path.chunk, n - start), generator)
        moved = torch.zeros(len(phi), n_weights, dtype=torch.float64)
        states = scored(velocity, phi, [*nodes, 1.0])
        for time, share in zip(nodes, shares, strict=True):
            at, _, score = next(states)
            basis = polynomials(time, n_times)
            moved += (share * basis[:, None] * velocity.design(at, -score)[:, None]).flatten(1)
            if start == 0:
                form = ridge * n * share * torch.outer(basis, basis)
                normal += torch.kron(form, velocity.energy(at))
        end, log_density, _ = next(states)
        found.append(-path.action(end) - log_density)
        normal += moved.T @ moved
        right += moved.T @ found[-1]
        means += moved.sum(0)
    logs = torch.cat(found)
    normal -= torch.outer(means, means) / n
    change = -solved(normal, right - means * logs.mean())
    return change.reshape(velocity.weights.shape), logs
