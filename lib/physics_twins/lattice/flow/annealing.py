"""Non-equilibrium steps: trajectories of HMC between pieces of a flow, with the work accounted for."""

import numpy as np
import torch
from numpy.typing import NDArray

from physics_twins.lattice import scalar
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.geometry import longest_waves, neighbours
from physics_twins.lattice.model import Flow


@torch.no_grad()
def annealed(
    flow: Flow, n: int, *, n_stages: int, seed: int, n_updates: int = 1
) -> NDArray[np.float64]:
    """Return logarithms of the weights of fields that were updated on the way, (field,).

    After each piece of the path its fields are updated by HMC in the theory of that time, which
    changes no weight (Caselle et al. 2022, arXiv 2201.08862). It helps flows that follow the path;
    one that was refined takes its own way, and then the weights tell.

    Args:
        flow: Of phi^4.
        n: Fields.
        n_stages: Pieces of the path.
        seed: Of fields and updates.
        n_updates: Trajectories after each piece.

    Raises:
        TypeError: It is a flow of gauge fields.
    """
    path, rng = flow.path, np.random.default_rng(seed)
    if not isinstance(path, Path):
        raise TypeError(f"flows of {path.theory} have no non-equilibrium steps: phi4 has")
    hop, waves = neighbours(path.shape), longest_waves(path.shape)
    series, n_leaps = np.empty((n_updates, len(scalar.OBSERVABLES))), float(max(4, path.shape[0] // 4))
    phi = path.draw_prior(n, torch.Generator().manual_seed(seed))
    logs = -path.prior_log_density(phi)
    steps = -(-flow.n_steps // n_stages)
    for stage in range(n_stages):
        begin, end = stage / n_stages, (stage + 1) / n_stages
        before = path.action(phi, begin) if stage else torch.zeros(n, dtype=torch.float64)
        phi, log_jacobian = transport(flow.velocity, phi, n_steps=steps, begin=begin, end=end)
        logs += before - path.action(phi, end) + log_jacobian
        if stage < n_stages - 1:
            for field in phi.flatten(1).numpy():
                scalar.run(field, hop, waves, *path.couplings(end), 0, n_leaps, 1.0, 1, rng, series)
    return logs.numpy()
