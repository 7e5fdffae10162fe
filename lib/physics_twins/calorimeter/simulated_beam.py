"""A beam time that is simulated: a calorimeter with hidden values is measured, and then ages."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from physics_twins.calorimeter.observe import gains, with_gain
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate
from physics_twins.calorimeter.twin_parameters import BeamTimeParameters


@dataclass(frozen=True)
class BeamTime:
    """What is seen in a beam time.

    Attributes:
        measured: Showers to calibrate on.
        before: Showers that come later, from the same calorimeter.
        after: Showers after its gain has changed.
        truth: What the fit is not told, by the name of what it reports.
    """

    measured: xr.Dataset
    before: xr.Dataset
    after: xr.Dataset
    truth: dict[str, float]


def beam_time(
    calorimeter: CalorimeterParameters, settings: BeamTimeParameters, *, seed: int, client: Any = None
) -> BeamTime:
    """Return showers of Geant4 behind a gain, as a test beam would see them.

    Args:
        calorimeter: Layers, cells and angles; its absorbers get the hidden thickness.
        settings: Hidden values, energies and numbers of showers.
        seed: Of showers and gains.
        client: A Dask client whose workers make the showers.
    """
    n_measured, n_watched = settings.n_measured, settings.n_watched
    n = n_measured + 2 * n_watched
    asked = calorimeter.replace(
        absorber_mm=settings.hidden_absorber_mm,
        energy_gev=settings.beam_min_gev,
        energy_max_gev=settings.beam_max_gev,
        n_showers=n,
    )
    fired = simulate(asked, seed=seed, client=client)
    # What says how the showers were made would give the hidden values away.
    fired.attrs = {"made_by": fired.attrs["made_by"], "title": "Measured showers"}
    gain = settings.hidden_scale * gains(n, settings.hidden_resolution, seed=seed)
    seen = with_gain(fired, gain)
    measured, before, after = (
        seen.isel(shower=slice(first, first + count))
        for first, count in ((0, n_measured), (n_measured, n_watched), (n - n_watched, n_watched))
    )
    truth = {
        "energy_scale": settings.hidden_scale,
        "resolution": settings.hidden_resolution,
        "absorber_mm": settings.hidden_absorber_mm,
    }
    return BeamTime(measured, before, with_gain(after, settings.ageing), truth)
