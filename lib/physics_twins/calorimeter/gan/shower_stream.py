"""Showers that 3DGAN learns from, each read from its dataset or file when its batch comes."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from physics_twins.calorimeter import files
from physics_twins.calorimeter.formats.threedgan import ThreeDGanReader
from physics_twins.calorimeter.gan import images
from physics_twins.calorimeter.gan.networks import SHAPE
from physics_twins.calorimeter.gan_parameters import GanImage, GanParameters
from physics_twins.calorimeter.parameters import CalorimeterParameters

_BLOCK = 64


class ShowerStream(Dataset[dict[str, Tensor]]):
    """Showers by number; in memory are only three numbers of each.

    Attributes:
        parameters: Calorimeter and range of the particles.
        settings: How showers become images.
        sides: Azimuths that occur: 0, 180 or both.
        n_left_out: Showers with too small a sum, which are left out.
    """

    def __init__(
        self,
        read: Callable[[int], NDArray[np.floating]],
        blocks: Iterable[xr.Dataset],
        parameters: CalorimeterParameters,
        settings: GanImage,
    ) -> None:
        """Look through all showers once, block by block, for their sums.

        Args:
            read: Returns the cells in MeV of a shower, shape (x, y, layer), by its number.
            blocks: All showers in their order, in the form of `simulate`.
            parameters: Their calorimeter and range.
            settings: How showers become images.

        Raises:
            ValueError: A shower has other cells, does not enter at the middle, has another azimuth than
                0 or 180, or a cell that is negative or no number; or none is left.
        """
        self._read, self.parameters, self.settings = read, parameters, settings
        columns = [np.stack(_columns(block, settings), axis=1) for block in blocks]
        found = np.concatenate(columns) if columns else np.zeros((0, 4))
        self._numbers = np.flatnonzero(found[:, 2] > settings.lowest_sum)
        self.n_left_out = len(found) - len(self._numbers)
        if not len(self._numbers):
            raise ValueError(
                f"none of {len(found)} showers has scaled cells that sum up to more than lowest_sum ="
                f" {settings.lowest_sum:g}: is scale = {settings.scale:g} right?"
            )
        self._known = torch.from_numpy(found[self._numbers, :3]).float()
        self.sides = tuple(float(side) for side in np.unique(found[self._numbers, 3]))

    def __len__(self) -> int:
        """How many showers there are."""
        return len(self._numbers)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """Return `image` (1, 51, 51, 25), `energy` in 100 GeV, `angle` in rad and `energy_sum`."""
        cells = self._read(int(self._numbers[item]))
        known = dict(zip(("energy", "angle", "energy_sum"), self._known[item], strict=True))
        return {"image": torch.from_numpy(images.image(cells, self.settings))} | known

    @property
    def sha256(self) -> str:
        """Hash of what is known of all showers, and of how they are seen."""
        digest = hashlib.sha256(self._known.numpy().tobytes())
        digest.update(self.parameters.to_json().encode())
        return digest.hexdigest()


def stream_showers(showers: xr.Dataset, settings: GanImage | None = None) -> ShowerStream:
    """Return the showers of a dataset in the form of `simulate`, which may be a lazy one.

    One of `data.open_dataset(path, chunks={"shower": 1})` is read shower by shower; larger chunks
    are read whole for each of their showers.

    Raises:
        ValueError: As for `ShowerStream`.
    """
    parameters = images.parameters_of(showers)
    starts = range(0, showers.sizes["shower"], _BLOCK)
    blocks = (showers.isel(shower=slice(start, start + _BLOCK)) for start in starts)
    read = partial(_read_dataset, showers["showers"])
    return ShowerStream(read, blocks, parameters, settings or GanParameters())


def stream_files(
    paths: Sequence[str | os.PathLike[str]],
    parameters: CalorimeterParameters,
    settings: GanImage | None = None,
    *,
    cells_in: str = "",
) -> ShowerStream:
    """Return the showers of files of 3DGAN.

    Args:
        paths: The files.
        parameters: Calorimeter and range of the particles, of which such files say nothing.
        settings: How showers become images; scale 1 for 3DGAN's own files.
        cells_in: Unit of the cells: MeV, GeV or keV; by default what a file says, else GeV.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is damaged, or as for `ShowerStream`.
    """
    ends = np.cumsum([len(ThreeDGanReader(path, cells_in=cells_in)) for path in paths])
    options = {"parameters": parameters, "cells_in": cells_in}
    read = partial(_read_files, list(paths), ends, options)
    return ShowerStream(read, _blocks(paths, options), parameters, settings or GanParameters())


def _read_dataset(cells: xr.DataArray, number: int) -> NDArray[np.floating]:
    return cells[number].values


def _read_files(
    paths: Sequence[Any], ends: NDArray[np.integer], options: dict[str, Any], number: int
) -> NDArray[np.floating]:
    which = int(np.searchsorted(ends, number, side="right"))
    here = number - int(ends[which - 1]) if which else number
    block = next(files.threedgan_showers(paths[which], start=here, stop=here + 1, **options))
    return block["showers"].values[0]


def _blocks(paths: Sequence[Any], options: dict[str, Any]) -> Iterator[xr.Dataset]:
    for path in paths:
        yield from files.threedgan_showers(path, **options)


def _columns(block: xr.Dataset, settings: GanImage) -> tuple[NDArray[np.float64], ...]:
    """Return what the networks are told of each shower, and its side; shape (shower,)."""
    cells = _checked(block)
    sums = np.array([images.scaled(each, settings).sum(dtype=float) for each in cells])
    angle = images.angle_to_face(block["theta_deg"].values, block["phi_deg"].values)
    side = np.where(angle > np.float32(np.pi / 2), 180.0, 0.0)
    return block["energy_gev"].values / images.ENERGY_GEV, angle.astype(float), sums, side


def _checked(block: xr.Dataset) -> NDArray[np.floating]:
    cells = block["showers"]
    if cells.shape[1:] != SHAPE:
        raise ValueError(f"showers has cells of shape {cells.shape[1:]}: 3DGAN needs {SHAPE}")
    values = cells.values
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=(1, 2, 3))
    if bad.any():
        number = int(block["shower"][bad][0])
        raise ValueError(f"showers: shower {number} has a cell that is negative or not a number")
    for name in ("x_mm", "y_mm"):
        if name in block and np.any(block[name].values != 0):
            raise ValueError(
                f"{name}: 3DGAN needs particles that enter at 0 mm, the middle of the face"
            )
    return values
