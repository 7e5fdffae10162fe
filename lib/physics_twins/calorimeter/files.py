"""Files of showers: CaloChallenge's and 3DGAN's HDF5, to and from the form of `simulate`; and ROOT.

`open_showers` knows by itself which of them a file is.

All are read and written block by block, so that memory does not grow with a file. What cannot be
right in one is refused with its name, the key and the event.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.formats.binning import (
    Binning,
    Layer,
    read_binning,
    regular,
    write_binning,
)
from physics_twins.calorimeter.formats.calochallenge import (
    ENERGIES,
    CaloChallengeReader,
    CaloChallengeWriter,
)
from physics_twins.calorimeter.formats.root import Converted, RootMapping, convert_root
from physics_twins.calorimeter.formats.shower_file import (
    ShowerFileError,
    blocks,
    check_values,
    numbers,
    reading,
)
from physics_twins.calorimeter.formats.threedgan import CELLS, ThreeDGanReader, ThreeDGanWriter
from physics_twins.calorimeter.geant4 import voxels
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.data import open_dataset

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Binning",
    "CaloChallengeReader",
    "CaloChallengeWriter",
    "Converted",
    "Layer",
    "RootMapping",
    "ShowerFileError",
    "ThreeDGanReader",
    "ThreeDGanWriter",
    "binning_of",
    "calochallenge_showers",
    "convert_root",
    "open_showers",
    "read_binning",
    "regular",
    "threedgan_showers",
    "write_binning",
    "write_calochallenge",
    "write_threedgan",
]
_MEV_PER_GEV = 1000.0


def binning_of(parameters: CalorimeterParameters) -> Binning:
    """Return the cylindrical cells of a calorimeter as CaloChallenge describes them."""
    edges = tuple(float(parameters.cell_mm * n) for n in range(voxels.RINGS + 1))
    return regular(parameters.particle, voxels.DEPTHS, voxels.ANGLES, edges)


def write_calochallenge(showers: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write showers in cylindrical cells as a file of CaloChallenge; lazy ones are read block by block.

    The file knows nothing of angles and places.

    Raises:
        ShowerFileError: The cells are not cylindrical, or a value is negative or no number.
    """
    cells = _cells(showers, ("depth", "angle", "radius"), path)
    with CaloChallengeWriter(path, int(np.prod(cells.shape[1:])), dtype=cells.dtype) as file:
        for first, last in blocks(cells.shape[0], cells[:1].nbytes * 2):
            energy = _MEV_PER_GEV * showers["energy_gev"][first:last].values
            file.write(energy, cells[first:last].values)


def calochallenge_showers(
    path: str | os.PathLike[str],
    parameters: CalorimeterParameters,
    *,
    start: int = 0,
    stop: int | None = None,
) -> Iterator["xr.Dataset"]:
    """Yield the showers of a CaloChallenge file, some at a time, in the form of `simulate`.

    Args:
        path: The file.
        parameters: The calorimeter and its cylindrical cells; particles enter it straight.
        start: Number of the first shower.
        stop: Number of the shower after the last.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is damaged or has other cells, or a value is negative or no number.
    """
    _need_layout(parameters, "cylindrical", path)
    reader = CaloChallengeReader(path, binning=binning_of(parameters))
    shape = (voxels.DEPTHS, voxels.ANGLES, voxels.RINGS)
    for first, energy, cells in reader.blocks(start, stop):
        columns = {"energy_gev": energy / _MEV_PER_GEV}
        yield _dataset(parameters, path, first, cells.reshape(-1, *shape), columns)


def write_threedgan(
    showers: "xr.Dataset", path: str | os.PathLike[str], *, cells_in: str = "MeV"
) -> None:
    """Write showers in cartesian cells as a file of 3DGAN, with azimuth and place besides.

    Raises:
        ShowerFileError: The cells are not cartesian, or a value is negative or no number.
    """
    cells = _cells(showers, ("x", "y", "layer"), path)
    options = {"columns": tuple(_COLUMNS), "cells_in": cells_in}
    with ThreeDGanWriter(path, cells.shape[1:], dtype=cells.dtype, **options) as file:
        for first, last in blocks(cells.shape[0], cells[:1].nbytes * 2):
            some = showers.isel(shower=slice(first, last))
            columns = {name: some[own].values for name, own in _COLUMNS.items()}
            columns["theta"] = np.pi / 2 - np.deg2rad(columns["theta"])
            columns["phi"] = np.deg2rad(columns["phi"])
            file.write(cells[first:last].values, columns)


def threedgan_showers(
    path: str | os.PathLike[str],
    parameters: CalorimeterParameters,
    *,
    cells_in: str = "",
    start: int = 0,
    stop: int | None = None,
) -> Iterator["xr.Dataset"]:
    """Yield the showers of a 3DGAN file, some at a time, in the form of `simulate`.

    Args:
        path: The file.
        parameters: The calorimeter and its cartesian cells.
        cells_in: Unit of the cells: MeV, GeV or keV; by default what the file says, else GeV.
        start: Number of the first shower.
        stop: Number of the shower after the last.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is damaged or has other cells, or a value is negative or no number.
    """
    _need_layout(parameters, "cartesian", path)
    reader = ThreeDGanReader(path, cells_in=cells_in)
    expected = tuple(len(axis.centres) for axis in voxels.axes(parameters))
    if reader.shape != expected:
        raise ShowerFileError(f"{path}: ECAL: {reader.shape} cells, expected {expected}")
    for block in reader.blocks(start, stop):
        columns = {own: block.columns[n] for n, own in _COLUMNS.items() if n in block.columns}
        inclined = 90 - np.rad2deg(columns["theta_deg"])
        # Beyond pi/2 a particle is inclined the other way.
        turned = np.where(inclined < 0, 180.0, 0.0)
        phi = np.rad2deg(columns.get("phi_deg", np.zeros(len(inclined))))
        angles = {"theta_deg": np.abs(inclined), "phi_deg": (phi + turned) % 360}
        yield _dataset(parameters, path, block.first, block.cells_mev, columns | angles)


def open_showers(
    path: str | os.PathLike[str], parameters: CalorimeterParameters, *, theta_deg: float = math.nan
) -> Iterator["xr.Dataset"]:
    """Yield the showers of a file of any of these formats, some at a time, in the form of `simulate`.

    A file of CaloChallenge, of 3DGAN, or a dataset of `simulate` that was saved: what it holds tells.

    Args:
        path: The file.
        parameters: The calorimeter and its cells.
        theta_deg: The particles' angle where the file tells none, as CaloChallenge's do not.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is damaged, of no such format, has other cells, or a value is negative or no
            number.
    """
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"root":
                raise ShowerFileError(f"{path}: a ROOT file: convert_root makes HDF5 of it")
    with reading(path) as file:
        held = list(file)
        is_saved = {*_SAVED} <= {*held} and not {ENERGIES, CELLS} & {*held}
        if is_saved:
            arrays = [numbers(file, key, path) for key in _SAVED]
            is_saved = all("DIMENSION_LIST" in each.attrs for each in arrays)  # as netCDF-4 has it
    if ENERGIES in held:
        for block in calochallenge_showers(path, parameters):
            angles = block["theta_deg"]
            yield block.assign(theta_deg=angles.copy(data=np.full(angles.shape, theta_deg)))
    elif CELLS in held:
        yield from threedgan_showers(path, parameters)
    elif is_saved:
        yield from _saved_showers(path, parameters)
    else:
        told = ", ".join(held[:20]) or "nothing"
        raise ShowerFileError(
            f"{path}: no showers of CaloChallenge ({ENERGIES}), of 3DGAN ({CELLS}) or of simulate"
            f" ({', '.join(_SAVED)}): the file holds {told}"
        )


_SAVED = ("showers", "energy_gev", "theta_deg")  # what of a saved dataset is checked


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


_COLUMNS = {"energy": "energy_gev", "theta": "theta_deg", "phi": "phi_deg", "x": "x_mm", "y": "y_mm"}


def _cells(
    showers: "xr.Dataset", axes: tuple[str, ...], path: str | os.PathLike[str]
) -> "xr.DataArray":
    cells = showers["showers"]
    if cells.dims != ("shower", *axes):
        raise ShowerFileError(f"{path}: showers have axes {cells.dims}, expected {('shower', *axes)}")
    return cells


def _need_layout(parameters: CalorimeterParameters, layout: str, path: str | os.PathLike[str]) -> None:
    if parameters.layout != layout:
        raise ShowerFileError(f"{path}: layout = {parameters.layout!r}: this format is {layout}")


def _dataset(
    parameters: CalorimeterParameters,
    path: str | os.PathLike[str],
    first: int,
    cells: NDArray[np.float32],
    columns: dict[str, NDArray[np.float64]],
) -> "xr.Dataset":
    """Return showers of a file as a dataset; what a file does not tell is 0."""
    from physics_twins.calorimeter import form
    from physics_twins.calorimeter.geant4.beam import Beam

    n = len(cells)
    values = {
        name: np.asarray(columns.get(name, np.zeros(n)), dtype=float) for name in _COLUMNS.values()
    }
    place = np.stack([values["x_mm"], values["y_mm"]], axis=1)
    angles = (values["theta_deg"], values["phi_deg"])
    stream = np.zeros((n, 2), dtype=np.uint64)
    beam = Beam(parameters.particle, values["energy_gev"], *angles, place, stream)
    facts = {"title": f"Showers of {parameters.particle}s from a file", "made_by": Path(path).name}
    attributes = facts | parameters.to_attributes()
    return form.shower_dataset(parameters, beam, cells, {}, attributes, first=first)
