"""Audit the flow with real Geant4, fired on workers while the test goes on."""

from functools import partial
from typing import Any

import xarray as xr

from physics_twins.calorimeter import audit as audits
from physics_twins.calorimeter import simulate
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.parameters import CalorimeterParameters

# Showers of the flow that Geant4's are ranked among.
N_TWIN = 2000


def audit_twin(
    model: ShowerFlow,
    parameters: CalorimeterParameters,
    *,
    seed: int,
    n_showers: int = 500,
    batch: int = 50,
    client: Any = None,
    progress: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Return what `audit.audit` finds when Geant4 fires at the flow, batch by batch.

    It ends at the shower where the flow is rejected, or after `n_showers`. Interrupted by Ctrl-C, it
    leaves no work behind on the workers.

    Args:
        model: A trained flow.
        parameters: Energy, angle and calorimeter that are looked at; `n_showers` of them counts not.
        seed: Of Geant4's showers, whatever the number of workers; the flow's have the next one.
        n_showers: Showers of Geant4 at most.
        batch: So many are fired at once.
        client: A Dask client whose workers fire them.
        progress: Whether to show a bar for each batch.
        options: Those of `audit.audit`: `alpha`, `go_on`.

    Raises:
        ValueError: The flow was not trained for this.
    """
    # Another seed: the particles of the flow are drawn independently of Geant4's.
    twin = generate(model, parameters.replace(n_showers=N_TWIN), seed=seed + 1)
    fire = partial(simulate.part, parameters, seed=seed, client=client, progress=progress)
    found = audits.audit(fire, twin, seed=seed, n_showers=n_showers, batch=batch, **options)
    asked = {n: getattr(parameters, n) for n in ("energy_gev", "theta_deg", "absorber_mm")}
    return found.assign_attrs(asked | {"model": model.address})
