"""Mean profiles and spectra of several sets of showers side by side, and by how much they differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating import response
from physics_twins.calorimeter.evaluating.separation import separation
from physics_twins.calorimeter.projections import BAND
from physics_twins.data import mean

# Profiles that figures show. What is counted is told over the root of the particle's energy in GeV:
# counts rise about so, and the spread of energies would else hide what differs.
PROFILES: Mapping[str, tuple[str, str]] = {
    "layer_mev": ("layer_mev", "Energy in a layer"),
    "ring_mev": ("ring_mev", "Energy in a ring"),
    "cells_per_root_gev": ("cell_count", "Cells over √(E / GeV)"),
    "hits_per_root_gev": ("hit_count", "Cells over √(E / GeV)"),
    "pairs_per_root_gev": ("pair_count", "Pairs over √(E / GeV)"),
}
# Where bins of `features.CELL_MEV_EDGES` are joined: 10, 50, 160 keV, 0.5, 1.6, 5, 16 and 50 MeV.
_HALF_DECADES = (0, 7, 12, 17, 22, 27, 32, 37)


def shapes(numbers: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return what the figures show of each set.

    Args:
        numbers: From `features` by name, one of them `reference`, of the same energies.

    Returns:
        By `source`: each of `PROFILES` with `_error`, `_low` and `_high` (source, place), means and the
        central 68 % of showers; `response`, `core_resolution` with `_error` (source, energy).
    """
    known = numbers["reference"]["energy_gev"].values
    edges_gev = response.energy_edges(known, bin_showers=response.BIN_SHOWERS)
    parts = [
        xr.merge([_profiles(each), response.response_table(each, edges_gev)], join="exact")
        for each in numbers.values()
    ]
    options: Any = {"join": "exact", "coords": "minimal", "compat": "override", "data_vars": "all"}
    return xr.concat(parts, "source", **options).assign_coords(source=list(numbers))


def separations(numbers: xr.Dataset, known: xr.Dataset, *, seed: int) -> dict[str, tuple[float, float]]:
    """Return separation powers of numbers of a shower, and means over those of layers and rings."""
    found = {}
    for name, variable in (
        ("separation_total", "response"),
        ("separation_depth", "depth_mm"),
        ("separation_length", "length_mm"),
        ("separation_radius", "radius_mm"),
        ("separation_layers", "layer_mev"),
        ("separation_rings", "ring_mev"),
    ):
        pair = []
        for each in (numbers, known):
            column = each[variable].values.reshape(each.sizes["shower"], -1)
            # Energies as parts of the incident one, else its spread would hide what differs.
            whole = 1e3 * each["energy_gev"].values[:, None] if variable.endswith("_mev") else 1.0
            pair.append(column / whole)
        values, errors = separation(*pair, seed=seed)
        found[name] = float(values[-1]), float(errors[-1])
    return found


def profile_differences(
    numbers: xr.Dataset, known: xr.Dataset, *, seed: int
) -> dict[str, tuple[float, float]]:
    """Return differences of mean profiles, and of counts of cells."""
    found = {}
    for name, variable in (
        ("longitudinal", "layer_mev"),
        ("lateral", "ring_mev"),
        ("cell_spectrum", "cell_count"),
    ):
        pair = [each[variable].values for each in (numbers, known)]
        found[name] = response.profile_difference(*pair, seed=seed)
    found["cells_by_energy"] = max(cell_differences(numbers, known), key=lambda each: abs(each[0]))
    for name, variable in (("hits", "hit_count"), ("pairs", "pair_count")):
        ours, theirs = (
            _per_root_gev(each, each[variable].sum("layer").values) for each in (numbers, known)
        )
        found[name] = _relative(ours, theirs)
    return found


def cell_differences(numbers: xr.Dataset, known: xr.Dataset) -> list[tuple[float, float]]:
    """Return relative differences of mean numbers of cells, with errors, for half decades of energy.

    From the threshold to 50 keV, and then on to 50 MeV; those of which there is no cell are left out.
    Means are those over the root of the particle's energy.
    """
    starts, end = _HALF_DECADES[:-1], _HALF_DECADES[-1]
    ours, theirs = (
        np.add.reduceat(each["cell_count"].values[:, :end], starts, axis=1) for each in (numbers, known)
    )
    return [
        _relative(_per_root_gev(numbers, one), _per_root_gev(known, other))
        for one, other in zip(ours.T, theirs.T, strict=True)
        if other.any()
    ]


def _per_root_gev(numbers: xr.Dataset, values: NDArray[Any]) -> NDArray[np.float64]:
    return values / np.sqrt(numbers["energy_gev"].values)


def _relative(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    (one, one_error), (other, other_error) = mean(ours), mean(theirs)
    if not other:
        return np.nan, np.nan
    return one / other - 1, float(np.hypot(one_error, other_error * one / other)) / other


def _profiles(numbers: xr.Dataset) -> xr.Dataset:
    """Return mean profiles with errors and bands."""
    made = {}
    for name, (variable, told) in PROFILES.items():
        array, units = numbers[variable], "MeV"
        if name.endswith("per_root_gev"):
            array, units = array / np.sqrt(numbers["energy_gev"]), "1"
        low, high = (array.quantile(q, "shower").drop_vars("quantile") for q in BAND)
        error = array.std("shower", ddof=1) / np.sqrt(array.sizes["shower"])
        columns = {"": array.mean("shower"), "_error": error, "_low": low, "_high": high}
        for suffix, column in columns.items():
            made[name + suffix] = column.assign_attrs(units=units, long_name=told)
    return xr.Dataset(made)
