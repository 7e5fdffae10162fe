"""A beam time: showers of a file, or of a simulated calorimeter with hidden values; then it ages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import xarray as xr

from physics_twins.calorimeter.files import open_showers
from physics_twins.calorimeter.form import ranges_of
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
        truth: What the fit is not told, by the name of what it reports; empty for a file's.
    """

    measured: xr.Dataset
    before: xr.Dataset
    after: xr.Dataset
    truth: dict[str, float]


def beam_time(
    calorimeter: CalorimeterParameters, settings: BeamTimeParameters, *, seed: int, client: Any = None
) -> BeamTime:
    """Return showers as a test beam would see them: those of a file, or Geant4's behind a gain.

    Args:
        calorimeter: Layers, cells, energies and angles of the twin; simulated absorbers get the hidden
            thickness, and showers of a file beyond these energies and angles are left out.
        settings: Hidden values, energies and numbers of showers; or the file.
        seed: Of showers and gains.
        client: A Dask client whose workers make the showers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no such showers, or too few.
    """
    n_measured, n_watched = settings.n_measured, settings.n_watched
    n, truth = n_measured + 2 * n_watched, {}
    if settings.observed_path:
        seen = _of_file(calorimeter, settings, n)
    else:
        truth = {
            "energy_scale": settings.hidden_scale,
            "resolution": settings.hidden_resolution,
            "absorber_mm": settings.hidden_absorber_mm,
        }
        seen = _simulated(calorimeter, settings, n, seed, client)
    # What says how the showers were made would give the hidden values away.
    seen.attrs = {"made_by": seen.attrs.get("made_by", "a file"), "title": "Measured showers"}
    measured, before, after = (
        seen.isel(shower=slice(first, first + count))
        for first, count in ((0, n_measured), (n_measured, n_watched), (n - n_watched, n_watched))
    )
    return BeamTime(measured, before, with_gain(after, settings.ageing), truth)


def _simulated(
    calorimeter: CalorimeterParameters, settings: BeamTimeParameters, n: int, seed: int, client: Any
) -> xr.Dataset:
    asked = calorimeter.replace(
        absorber_mm=settings.hidden_absorber_mm,
        energy_gev=settings.beam_min_gev,
        energy_max_gev=settings.beam_max_gev,
        n_showers=n,
    )
    fired = simulate(asked, seed=seed, client=client)
    gain = settings.hidden_scale * gains(n, settings.hidden_resolution, seed=seed)
    return with_gain(fired, gain)


def _of_file(calorimeter: CalorimeterParameters, settings: BeamTimeParameters, n: int) -> xr.Dataset:
    """Return the first showers of a file that the twin's energies and angles hold."""
    path, angle = settings.observed_path, settings.observed_theta_deg
    blocks = _within(open_showers(path, calorimeter, theta_deg=angle), calorimeter)
    kept: list[xr.Dataset] = []
    n_kept = 0
    for block in blocks:
        kept.append(block)
        n_kept += block.sizes["shower"]
        if n_kept >= n:
            break
    if n_kept < n:
        told = " and ".join(
            f"{low:g} to {high:g} {unit}"
            for name, unit in (("energy_gev", "GeV"), ("theta_deg", "deg"))
            for low, high in [ranges_of(calorimeter)[name]]
        )
        raise ValueError(
            f"{path}: {n_kept} showers within {told}, for which the twin was made: lower n_measured"
            f" and n_watched, which ask for {n}"
        )
    options: Any = {"join": "override", "combine_attrs": "override"}
    return xr.concat(kept, "shower", **options).isel(shower=slice(n))


def _within(blocks: Iterator[xr.Dataset], calorimeter: CalorimeterParameters) -> Iterator[xr.Dataset]:
    """Yield of showers those whose energies and angles the twin was made for."""
    ranges = ranges_of(calorimeter)
    for block in blocks:
        is_inside = True
        for name in ("energy_gev", "theta_deg"):
            low, high = ranges[name]
            is_inside &= (block[name].values >= low) & (block[name].values <= high)
        yield block.isel(shower=is_inside)
