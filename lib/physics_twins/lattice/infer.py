"""Fields from a flow, made exact, but for its steps, by accepting or refusing each."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from physics_twins.data import attributes
from physics_twins.lattice.model import Flow
from physics_twins.lattice.simulate import as_fields


def infer(flow: Flow, n: int, *, seed: int, n_kept: int = 1) -> xr.Dataset:
    """Return a chain of fields of a flow, in the form of `simulate`, so that `measured` reads it.

    A field is proposed by the flow and accepted with the ratio of its weight to that of the last one;
    else the last one is repeated: independent Metropolis (Albergo, Kanwar and Shanahan 2019, arXiv
    1904.12072). The error of the flow's steps stays in the weights; twice as many show it.

    Args:
        flow: Of any theory.
        n: Fields that are proposed.
        seed: Of proposals and of the acceptance.
        n_kept: How many of the last fields are kept, at most `n`.

    Returns:
        Histories and fields as of `simulate`; `log_weight` of each proposal, and `acceptance`.
    """
    path = flow.path
    phi, weights = flow.propose(n, seed=seed)
    logs = weights.numpy()
    places, accepted = accept(logs, np.random.default_rng([seed, 1]))
    parameters = path.parameters(1.0, n_measurements=max(10, n), n_kept=0)
    pure = {"units": "1"}
    histories = {
        name: (("chain", "measurement"), values[None, places], pure | {"long_name": name})
        for name, values in path.observed(phi).items()
    }
    taken = (places == np.arange(n)).astype(float)
    histories["accepted"] = (("chain", "measurement"), taken[None], pure | {"long_name": "accepted"})
    kept = path.in_space(phi[torch.from_numpy(places[len(places) - n_kept :])])
    found = xr.Dataset(
        histories
        | {
            "log_weight": (("chain", "measurement"), logs[None], pure),
            "acceptance": ("chain", [accepted], pure),
            "field": as_fields(kept, parameters),
        },
        coords={
            "measurement": ("measurement", np.arange(1, n + 1), pure),
            "kept": ("kept", np.arange(n - n_kept + 1, n + 1), pure),
            "chain": ("chain", [0], pure),
        },
    )
    size = " x ".join(map(str, path.shape))
    return found.assign_attrs(
        attributes(parameters, seed=seed, title=f"Chain of {path.theory} on {size} by a flow"),
        model=flow.address,
    )


def accept(log_weights: ArrayLike, rng: np.random.Generator) -> tuple[NDArray[np.int64], float]:
    """Return which proposal stands at each place of a chain, and which part was accepted.

    The first one is accepted without a question, and not counted.

    >>> accept([0.0, -100.0, 100.0], np.random.default_rng(1))
    (array([0, 0, 2]), 0.5)
    """
    logs = np.asarray(log_weights, dtype=float)
    chances = np.log(rng.random(len(logs)))
    places = np.zeros(len(logs), dtype=np.int64)
    last = 0
    for n in range(1, len(logs)):
        if chances[n] < logs[n] - logs[last]:
            last = n
        places[n] = last
    return places, float(np.mean(places[1:] == np.arange(1, len(logs))))
