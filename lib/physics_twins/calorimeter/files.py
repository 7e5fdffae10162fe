"""Files of showers: CaloChallenge's and 3DGAN's HDF5, to and from the form of `simulate`; and ROOT.

`open_showers` knows by itself which of them a file is.

All are read and written block by block, so that memory does not grow with a file. What cannot be
right in one is refused with its name, the key and the event.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.formats import layouts
from physics_twins.calorimeter.formats.layouts import CALO_CHALLENGE, THREE_D_GAN, Columns
from physics_twins.calorimeter.formats.root import RootMapping, convert_root
from physics_twins.calorimeter.formats.shower_file import (
    ShowerFileError,
    blocks,
    check_values,
    numbers,
    reading,
)
from physics_twins.calorimeter.geant4 import voxels
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import open_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["RootMapping", "ShowerFileError", "convert_root", "open_showers", "write"]
# Which format keeps which cells.
_FORMATS: dict[tuple[str, ...], layouts.Layout] = {
    ("depth", "angle", "radius"): CALO_CHALLENGE,
    ("x", "y", "layer"): THREE_D_GAN,
}
_SAVED = ("showers", "energy_gev", "theta_deg")  # what of a saved dataset is checked
_NAMES = {"energy": "energy_gev", "theta": "theta_deg", "phi": "phi_deg", "x": "x_mm", "y": "y_mm"}


def write(showers: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write showers; lazy ones are read block by block.

    Cylindrical cells make a file of CaloChallenge, which knows nothing of angles and places; square
    ones make one of 3DGAN, with azimuth and place besides.

    Raises:
        ShowerFileError: The cells are others, or a value is negative or no number.
    """
    cells = showers["showers"]
    layout = _FORMATS.get(tuple(map(str, cells.dims[1:])))
    if layout is None:
        told = f"showers have axes {cells.dims}: expected those of a format, {list(_FORMATS)}"
        raise ShowerFileError(f"{path}: {told}")
    shape = cells.shape[1:] if layout.n_axes > 1 else (int(np.prod(cells.shape[1:])),)
    names = tuple(_NAMES) if layout is THREE_D_GAN else ()
    with layouts.writing(path, layout, shape, columns=names, dtype=cells.dtype) as add:
        for first, last in blocks(cells.shape[0], cells[:1].nbytes * 2):
            some = showers.isel(shower=slice(first, last))
            add(some["showers"].values.reshape(-1, *shape), _columns(some, layout))


def open_showers(
    path: str | os.PathLike[str],
    parameters: CalorimeterParameters,
    *,
    theta_deg: float = math.nan,
    cells_in: str = "",
) -> Iterator["xr.Dataset"]:
    """Yield the showers of a file of any of these formats, some at a time, in the form of `simulate`.

    A file of CaloChallenge, of 3DGAN, or a dataset of `simulate` that was saved: what it holds tells.

    Args:
        path: The file.
        parameters: The calorimeter and its cells.
        theta_deg: The particles' angle where the file tells none, as CaloChallenge's do not.
        cells_in: Unit of the cells: MeV, GeV or keV; by default what the file or its format says.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is damaged, of no such format, has other cells, or a value is negative or no
            number.
    """
    path, axes = Path(path), tuple(axis.name for axis in voxels.axes(parameters))
    layout = _layout_of(path)
    if layout is None:
        yield from _saved_showers(path, parameters)
        return
    if _FORMATS.get(axes) is not layout:
        kept = "cartesian" if layout is THREE_D_GAN else "cylindrical"
        raise ShowerFileError(f"{path}: layout = {parameters.layout!r}: this format is {kept}")
    shape = [len(axis.centres) for axis in voxels.axes(parameters)]
    kept = shape if layout.n_axes > 1 else [math.prod(shape)]
    for first, cells, columns in layouts.read(path, layout, shape=kept, cells_in=cells_in):
        told = _told(columns, layout, theta_deg)
        yield _dataset(parameters, path, first, cells.reshape(-1, *shape), told)


def _layout_of(path: Path) -> layouts.Layout | None:
    """Return in which format a file is, by what it holds; None where it is a saved dataset."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"root":
                raise ShowerFileError(f"{path}: a ROOT file: convert_root makes HDF5 of it")
    with reading(path) as file:
        held = list(file)
        for layout, key in (
            (CALO_CHALLENGE, CALO_CHALLENGE.needed[0]),
            (THREE_D_GAN, THREE_D_GAN.cells),
        ):
            if key in held:
                return layout
        if {*_SAVED} <= {*held}:
            arrays = [numbers(file, key, path) for key in _SAVED]
            if all("DIMENSION_LIST" in each.attrs for each in arrays):  # as netCDF-4 has it
                return None
    told = ", ".join(held[:20]) or "nothing"
    raise ShowerFileError(
        f"{path}: no showers of CaloChallenge ({CALO_CHALLENGE.needed[0]}), of 3DGAN"
        f" ({THREE_D_GAN.cells}) or of simulate ({', '.join(_SAVED)}): the file holds {told}"
    )


def _saved_showers(path: Path, parameters: CalorimeterParameters) -> Iterator["xr.Dataset"]:
    shape = {axis.name: len(axis.centres) for axis in voxels.axes(parameters)}
    try:
        saved = open_dataset(path, chunks={"shower": 1000})
    except ValueError as error:
        raise ShowerFileError(f"{path}: damaged or no netCDF-4: {error}") from None
    with saved:
        found = {str(name): n for name, n in saved["showers"].sizes.items()}
        n = found.pop("shower", 0)
        if found != shape:
            raise ShowerFileError(f"{path}: showers: cells {found}, expected {shape}")
        for name in _SAVED[1:]:
            if saved[name].dims != ("shower",):
                raise ShowerFileError(f"{path}: {name}: axes {saved[name].dims}, expected ('shower',)")
        for first, last in blocks(n, 4 * math.prod(shape.values())):
            block = saved[[*_SAVED]].isel(shower=slice(first, last)).load()
            for name in _SAVED:
                unit = str(block[name].attrs.get("units", ""))
                check_values(block[name].values, name, path, first, unit=unit)
            yield block


def _columns(showers: "xr.Dataset", layout: layouts.Layout) -> Columns:
    """Return what a file holds besides cells, in its units."""
    if layout is CALO_CHALLENGE:
        return {"incident_energies": 1e3 * showers["energy_gev"].values}
    columns = {name: showers[own].values for name, own in _NAMES.items()}
    columns["theta"] = np.pi / 2 - np.deg2rad(columns["theta"])
    return columns | {"phi": np.deg2rad(columns["phi"])}


def _told(columns: Columns, layout: layouts.Layout, theta_deg: float) -> dict[str, NDArray[Any]]:
    """Return what is known of particles, in our units."""
    if layout is CALO_CHALLENGE:
        energy_gev = columns["incident_energies"] / 1e3
        return {"energy_gev": energy_gev, "theta_deg": np.full(len(energy_gev), theta_deg)}
    found = {own: columns[name] for name, own in _NAMES.items() if name in columns}
    inclined = 90 - np.rad2deg(found["theta_deg"])
    # Beyond pi/2 a particle is inclined the other way.
    turned = np.where(inclined < 0, 180.0, 0.0)
    phi = np.rad2deg(found.get("phi_deg", np.zeros(len(inclined))))
    return found | {"theta_deg": np.abs(inclined), "phi_deg": (phi + turned) % 360}


def _dataset(
    parameters: CalorimeterParameters,
    path: str | os.PathLike[str],
    first: int,
    cells: NDArray[np.float32],
    columns: dict[str, NDArray[Any]],
) -> "xr.Dataset":
    """Return showers of a file as a dataset; what a file does not tell is 0."""
    from physics_twins.calorimeter import form
    from physics_twins.calorimeter.geant4.beam import Beam

    n = len(cells)
    values = {name: np.asarray(columns.get(name, np.zeros(n)), dtype=float) for name in _NAMES.values()}
    place = np.stack([values["x_mm"], values["y_mm"]], axis=1)
    angles = (values["theta_deg"], values["phi_deg"])
    stream = np.zeros((n, 2), dtype=np.uint64)
    beam = Beam(parameters.particle, values["energy_gev"], *angles, place, stream)
    facts = {"title": f"Showers of {parameters.particle}s from a file", "made_by": Path(path).name}
    attributes = facts | parameters.to_attributes()
    return form.shower_dataset(parameters, beam, cells, {}, attributes, first=first)
