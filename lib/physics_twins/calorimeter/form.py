"""The one form of showers in memory, whoever made them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.geant4 import voxels
from physics_twins.calorimeter.geant4.beam import Beam
from physics_twins.calorimeter.parameters import CalorimeterParameters, DetectorParameters

# What a model of showers was made for, and no other.
FIXED = (*DetectorParameters.model_fields, "particle", "layout", "cell_mm", "scored")

# What may be known of a shower besides its cells: dimensions, and what it is. All in MeV.
_SUMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "deposited_mev": (("shower",), "Energy left in all matter"),
    "leaked_mev": (("shower",), "Kinetic energy that left the detector"),
    "layer_energy_mev": (("shower", "layer_number"), "Energy seen by each sensor"),
}


def shower_dataset(
    parameters: CalorimeterParameters,
    beam: Beam,
    showers: NDArray[np.float32],
    sums: Mapping[str, NDArray[np.float64]],
    attributes: Mapping[str, Any],
    *,
    first: int = 0,
) -> xr.Dataset:
    """Return showers as a dataset.

    Args:
        parameters: The calorimeter and its cells.
        beam: The particles that made them.
        showers: Energy in each cell in MeV, shape (shower, three axes of cells).
        sums: Those of `deposited_mev`, `leaked_mev` and `layer_energy_mev` that are known.
        attributes: Where the showers come from.
        first: Number of the first shower.
    """
    axes = voxels.axes(parameters)
    variables = _particles(beam)
    for name, (dims, about) in _SUMS.items():
        if name in sums:
            variables[name] = (dims, sums[name], {"units": "MeV", "long_name": about})
    about = {"units": "MeV", "long_name": "Energy in each cell"}
    # Most cells are empty: compressed, a shower takes a tenth.
    stored = {"zlib": True, "complevel": 3, "shuffle": True, "chunksizes": (1, *showers.shape[1:])}
    names = ("shower", *(axis.name for axis in axes))
    variables["showers"] = xr.Variable(names, showers, about, encoding=stored)
    coordinates: dict[str, Any] = {a.name: (a.name, a.centres, {"units": a.unit}) for a in axes}
    coordinates["shower"] = ("shower", np.arange(first, first + len(beam)), {"units": "1"})
    return xr.Dataset(variables, coordinates, dict(attributes))


def parameters_of(showers: xr.Dataset) -> CalorimeterParameters:
    """Return the parameters that showers of `simulate` carry; from a file they are numbers of numpy."""
    values = {k: v.item() if hasattr(v, "item") else v for k, v in showers.attrs.items()}
    return CalorimeterParameters.take(values)


def layers_alone(showers: xr.Dataset) -> xr.Dataset:
    """Return showers of Geant4 as a calorimeter sees them that reads whole layers of sensors.

    Exactly those that `simulate` makes with the layout "layers" and the sensors scored.

    Args:
        showers: In the form of `simulate`, whatever its cells; `layer_energy_mev` is known.

    Raises:
        ValueError: It is not known what the sensors saw.
    """
    if "layer_energy_mev" not in showers:
        raise ValueError("layer_energy_mev is missing: Geant4 alone knows what each sensor saw")
    parameters = parameters_of(showers).replace(layout="layers", scored="sensors")
    seen = showers["layer_energy_mev"].values
    starts = np.flatnonzero(
        np.diff(voxels.layer_depth(np.arange(seen.shape[1]), seen.shape[1]), prepend=-1)
    )
    sums = np.add.reduceat(seen, starts, axis=1)
    sums[sums < 1e-3 * parameters.threshold_kev] = 0.0
    axes = voxels.axes(parameters)
    rest = showers.drop_vars(["showers", *(a.name for a in axes)], errors="ignore")
    cells = (("shower", *(a.name for a in axes)), sums.astype(np.float32)[:, :, None, None])
    about = {"units": "MeV", "long_name": "Energy in each cell"}
    return (
        rest.assign(showers=(*cells, about))
        .assign_coords({a.name: (a.name, a.centres, {"units": a.unit}) for a in axes})
        .assign_attrs(layout="layers", scored="sensors")
    )


def check_cells(cells_mev: NDArray[np.floating], first: int = 0) -> None:
    """Check that energies of cells, shape (shower, ...), are numbers and not negative.

    Args:
        cells_mev: Of some showers.
        first: Number of the first of them.

    Raises:
        ValueError: One is not; the message names the shower.
    """
    # The sum is not a number where a cell is not.
    if not np.isfinite(cells_mev.sum(dtype=float)) or cells_mev.min(initial=0.0) < 0:
        flat = cells_mev.reshape(len(cells_mev), -1)
        bad = int(np.flatnonzero(~((flat >= 0) & np.isfinite(flat)).all(axis=1))[0])
        raise ValueError(
            f"showers: shower {first + bad} has a cell that is negative or not a number: expected MeV"
            " from 0 upwards"
        )


def check_fields(
    asked: CalorimeterParameters,
    known: CalorimeterParameters,
    made_for: str,
    *,
    names: Sequence[str] = FIXED,
) -> None:
    """Check that a model was made for the calorimeter, particle and cells that are asked for.

    Args:
        asked: What showers are asked for.
        known: What the model was made for.
        made_for: Says so.
        names: The fields that must agree.

    Raises:
        ValueError: It was not; the message names the field.
    """
    for name in names:
        if getattr(asked, name) != getattr(known, name):
            raise ValueError(f"{name} = {getattr(asked, name)!r}: {made_for} {getattr(known, name)!r}")


def ranges_of(parameters: CalorimeterParameters) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest energy, angle and thickness of absorbers."""
    p = parameters
    return {
        "energy_gev": (p.energy_gev, max(p.energy_gev, p.energy_max_gev)),
        "theta_deg": (p.theta_deg, max(p.theta_deg, p.theta_max_deg)),
        "absorber_mm": (p.absorber_mm, p.absorber_mm),
    }


def check_ranges(
    asked: CalorimeterParameters, ranges: Mapping[str, tuple[float, float]], made_for: str
) -> None:
    """Check that energies, angles and thickness lie in the ranges that a model was made for.

    Raises:
        ValueError: One does not; the message names the field.
    """
    for name, ends in ranges_of(asked).items():
        (low, high), unit = ranges[name], name.rsplit("_", 1)[1].replace("gev", "GeV")
        for value in ends:
            if not low <= value <= high:
                told = f"{name} = {value:g} {unit} is outside {low:g} to {high:g} {unit}"
                raise ValueError(f"{told}, which {made_for}")


def _particles(beam: Beam) -> dict[str, Any]:
    per_shower = {
        "energy_gev": (beam.energy_gev, "GeV", "Kinetic energy of the particle"),
        "theta_deg": (beam.theta_deg, "deg", "Its angle to the normal of the face"),
        "phi_deg": (beam.phi_deg, "deg", "Its azimuth"),
        "x_mm": (beam.position_mm[:, 0], "mm", "Where it crosses the face"),
        "y_mm": (beam.position_mm[:, 1], "mm", "Where it crosses the face"),
    }
    return {
        name: ("shower", values, {"units": unit, "long_name": about})
        for name, (values, unit, about) in per_shower.items()
    }
