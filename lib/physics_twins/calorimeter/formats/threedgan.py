"""Files of 3DGAN (Khattak et al., Eur. Phys. J. C 82 (2022) 386): `ECAL`, `energy`, `theta` in HDF5.

`ECAL` is (event, x, y, layer), `energy` in GeV and `theta` in radians, pi/2 where a particle enters
straight. The files do not say in which unit cells are: GeV, unless told otherwise. Files of this
project say it in an attribute, and may hold `phi`, `x`, `y`, `pdg` and `geometry` besides.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.formats.shower_file import (
    GrowingArray,
    ShowerFileError,
    blocks,
    check_scale,
    check_shape,
    check_values,
    numbers,
    reading,
    writing,
)

if TYPE_CHECKING:
    import h5py

CELLS = "ECAL"
_MEV_PER = {"MeV": 1.0, "GeV": 1000.0, "keV": 1e-3}


@dataclass(frozen=True)
class Column:
    """One number for each shower: its unit, and between which values it lies."""

    unit: str
    low: float
    high: float
    open_low: bool = False
    dtype: Any = np.float64


# GeV, radians, mm; particles as the Particle Data Group numbers them.
COLUMNS: Mapping[str, Column] = {
    "energy": Column("GeV", 0.0, 1e6, open_low=True),
    "theta": Column("rad", 0.0, np.pi),
    "phi": Column("rad", -2 * np.pi, 2 * np.pi),
    "x": Column("mm", -1e6, 1e6),
    "y": Column("mm", -1e6, 1e6),
    "pdg": Column("1", -1e9, 1e9, dtype=np.int64),
    "geometry": Column("1", 0, 1e9, dtype=np.int64),
}
NEEDED = ("energy", "theta")


@dataclass(frozen=True)
class ShowerBlock:
    """Some showers of a file.

    Attributes:
        first: Number of the first.
        cells_mev: Shape (event, x, y, layer).
        columns: By name, shape (event,), in the units of `COLUMNS`.
    """

    first: int
    cells_mev: NDArray[Any]
    columns: Mapping[str, NDArray[Any]]


class ThreeDGanReader:
    """A file of 3DGAN, read block by block in constant memory."""

    def __init__(self, path: str | os.PathLike[str], *, cells_in: str = "") -> None:
        """Look at a file.

        Args:
            path: The file.
            cells_in: Unit of the cells: MeV, GeV or keV; by default what the file says, else GeV.

        Raises:
            FileNotFoundError: There is no such file.
            ShowerFileError: It is damaged, or its arrays have wrong shapes or types.
        """
        self.path = Path(path)
        with reading(self.path) as file:
            cells, columns = self._arrays(file)
            self.n_showers: int = cells.shape[0]
            self.shape: tuple[int, ...] = cells.shape[1:]
            self.names = tuple(columns)
            self._event_bytes = int(np.prod(self.shape)) * (cells.dtype.itemsize + 8)
            stated = cells_in or _text(cells.attrs.get("units")) or "GeV"
        if stated not in _MEV_PER:
            raise ShowerFileError(f"{path}: {CELLS}: unit {stated!r}, expected {', '.join(_MEV_PER)}")
        self._mev = _MEV_PER[stated]

    def __len__(self) -> int:
        """Number of showers."""
        return self.n_showers

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[ShowerBlock]:
        """Yield the showers, some at a time.

        Raises:
            ShowerFileError: A value is negative, out of range or no number, or cannot be read; or cells
                hold a thousandth or a thousandfold of what they can, in a wrong unit.
        """
        stop = self.n_showers if stop is None else min(stop, self.n_showers)
        with reading(self.path) as file:
            cells, columns = self._arrays(file)
            for first, last in blocks(stop - start, self._event_bytes):
                here = slice(start + first, start + last)
                energy = cells[here]
                check_values(energy, CELLS, self.path, here.start)
                # What is in MeV already stays as it is, bit for bit.
                energy = energy if self._mev == 1 else energy * energy.dtype.type(self._mev)
                found = {name: column[here].reshape(-1) for name, column in columns.items()}
                check_columns(found, self.path, here.start)
                totals_mev = energy.sum(axis=(1, 2, 3), dtype=np.float64)
                check_scale(1e3 * found["energy"], totals_mev, CELLS, self.path)
                yield ShowerBlock(here.start, energy, found)

    def _arrays(self, file: "h5py.File") -> tuple["h5py.Dataset", dict[str, "h5py.Dataset"]]:
        cells = numbers(file, CELLS, self.path)
        check_shape(cells, CELLS, self.path, [(None, None, None, None)])
        n = cells.shape[0]
        columns = {}
        for name in COLUMNS:
            if name in NEEDED or name in file:
                columns[name] = numbers(file, name, self.path)
                check_shape(columns[name], name, self.path, [(n,), (n, 1)])
        return cells, columns


def check_columns(columns: Mapping[str, NDArray[Any]], path: Path, first: int) -> None:
    """Check that every column lies in its range.

    Raises:
        ShowerFileError: A value does not; the message names key and event.
    """
    for name, values in columns.items():
        about = COLUMNS[name]
        span: Any = {"low": about.low, "high": about.high, "open_low": about.open_low}
        check_values(values, name, path, first, unit=about.unit, **span)


class ThreeDGanWriter:
    """A file of 3DGAN being written, event by event; used in a `with` block."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, ...],
        *,
        columns: tuple[str, ...] = NEEDED,
        dtype: Any = np.float32,
        cells_in: str = "MeV",
    ) -> None:
        """Begin a file.

        Args:
            path: Its name, which it takes when the block ends well.
            shape: Number of cells in x, y and layers.
            columns: Names of `COLUMNS` that it holds.
            dtype: Type of the cells' energies.
            cells_in: Unit in which they are stored; the file says it.
        """
        self.path, self.n_showers = Path(path), 0
        self._shape, self._columns, self._dtype, self._unit = shape, columns, dtype, cells_in
        self._context = writing(self.path)

    def __enter__(self) -> "ThreeDGanWriter":
        """Open it."""
        file = self._context.__enter__()
        self._cells = GrowingArray(file, CELLS, self._shape, self._dtype)
        file[CELLS].attrs["units"] = self._unit
        self._arrays = {}
        for name in self._columns:
            self._arrays[name] = GrowingArray(file, name, (), COLUMNS[name].dtype)
            file[name].attrs["units"] = COLUMNS[name].unit
        return self

    def __exit__(self, *error: Any) -> None:
        """Give it its name, or leave nothing."""
        self._context.__exit__(*error)

    def write(self, cells_mev: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> None:
        """Add showers, cells of shape (event, x, y, layer) in MeV.

        Raises:
            ShowerFileError: A value is negative, out of range or no number, or a shape is wrong.
        """
        n, mev = len(cells_mev), _MEV_PER[self._unit]
        if cells_mev.shape[1:] != self._shape or any(len(c) != n for c in columns.values()):
            raise ShowerFileError(
                f"{self.path}: {CELLS}: shape {cells_mev.shape}, expected {(n, *self._shape)}"
            )
        check_values(cells_mev, CELLS, self.path, self.n_showers)
        check_columns(columns, self.path, self.n_showers)
        self._cells.add(cells_mev if mev == 1 else cells_mev / mev)
        for name, array in self._arrays.items():
            array.add(columns[name])
        self.n_showers += n


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
