"""Audit a flow for one energy, angle and thickness against Geant4's showers, fired on workers.

The real showers are those of `simulate`, each with a seed of its own, compared in their order: the
result is the same whatever the number of workers. They are requested ahead, so that no worker waits
while the last ones are compared; what is not needed is cancelled.
"""

from contextlib import closing
from typing import Any

import xarray as xr

from physics_twins.calorimeter.audit import audit
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import pieces

N_TWIN = 1000
# The twin's showers have another seed than the real ones, which share their particles otherwise.
_TWIN_SEED = 1_000_003
# Showers that a worker makes at once, and how many of those are requested for each worker.
_PIECE_SHOWERS, _PIECES_AHEAD = 10, 3


def audit_twin(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    *,
    seed: int,
    n_showers: int = 500,
    n_twin: int = N_TWIN,
    client: Any = None,
    progress: bool = True,
) -> xr.Dataset:
    """Fire showers of Geant4 until the flow is rejected or enough have been seen.

    Args:
        model: A trained flow.
        parameters: Energy, angle and thickness that are audited; `n_showers` of it is not used.
        seed: Of the real showers; the flow's have another.
        n_showers: Real showers at most.
        n_twin: Showers of the flow.
        client: A Dask client whose workers make the real showers; by default this process does.
        progress: Whether to show a progress bar.

    Returns:
        As `audit.audit`, with the attribute `model`; `verdict` says "not rejected after n showers" or
        "rejected here", and at which.

    Raises:
        ValueError: The flow is not for these showers.
        Geant4Error: Geant4 gave up on a shower.
        KeyboardInterrupt: The user stopped it; the workers stop soon.
    """
    twin = generate(model, parameters.replace(n_showers=n_twin), seed=seed + _TWIN_SEED)
    starts = range(0, n_showers, _PIECE_SHOWERS)
    parts = [(first, min(_PIECE_SHOWERS, n_showers - first)) for first in starts]
    options: Any = {"seed": seed, "client": client, "progress": progress, "ahead": _PIECES_AHEAD}
    with closing(pieces(parameters, parts, **options)) as real:
        return audit(real, twin, seed=seed).assign_attrs(model=model.address)
