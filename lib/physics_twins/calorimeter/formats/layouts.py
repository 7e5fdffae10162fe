"""Showers in HDF5 as CaloChallenge and 3DGAN keep them, read and written block by block.

CaloChallenge (arXiv:2410.21611): `showers` (event, cell) and `incident_energies` (event, 1), both in
MeV; cells go by layer, then angle, then radius. 3DGAN (Khattak et al., Eur. Phys. J. C 82 (2022) 386):
`ECAL` (event, x, y, layer), `energy` in GeV and `theta` in radians, pi/2 where a particle enters
straight. The latter do not say in which unit cells are: GeV, unless told otherwise. Files of this
project say it in an attribute, and may hold `phi`, `x`, `y`, `pdg` and `geometry` besides.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.formats.shower_file import (
    MAX_MEV,
    ShowerFileError,
    blocks,
    check_scale,
    check_shape,
    check_values,
    numbers,
    reading,
)
from physics_twins.data import replacing

if TYPE_CHECKING:
    import h5py

_MEV_PER = {"MeV": 1.0, "GeV": 1000.0, "keV": 1e-3}
_CHUNK_BYTES = 1 << 20
Columns: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Column:
    """One number for each shower: its unit, between which values it lies, and the shape of one."""

    unit: str
    low: float
    high: float
    open_low: bool = False
    dtype: Any = np.float64
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Where a format keeps what.

    Attributes:
        cells: Key of the cells' energies.
        n_axes: Axes of the cells of a shower.
        unit: Of the cells, where a file does not say it.
        columns: All that it may hold besides; the first is the particles' energy.
        needed: Those that it must hold.
        least_mev: Some particles of a block have as much.
    """

    cells: str
    n_axes: int
    unit: str
    columns: Mapping[str, Column]
    needed: tuple[str, ...]
    least_mev: float = 0.0


CALO_CHALLENGE = Layout(
    "showers",
    1,
    "MeV",
    {"incident_energies": Column("MeV", 0.0, MAX_MEV, open_low=True, shape=(1,))},
    ("incident_energies",),
    # The challenge's particles have 256 MeV and more.
    least_mev=200.0,
)
# Particles as the Particle Data Group numbers them.
THREE_D_GAN = Layout(
    "ECAL",
    3,
    "GeV",
    {
        "energy": Column("GeV", 0.0, 1e6, open_low=True),
        "theta": Column("rad", 0.0, np.pi),
        "phi": Column("rad", -2 * np.pi, 2 * np.pi),
        "x": Column("mm", -1e6, 1e6),
        "y": Column("mm", -1e6, 1e6),
        "pdg": Column("1", -1e9, 1e9, dtype=np.int64),
        "geometry": Column("1", 0, 1e9, dtype=np.int64),
    },
    ("energy", "theta"),
)


def read(
    path: str | os.PathLike[str],
    layout: Layout,
    *,
    shape: Sequence[int] | None = None,
    cells_in: str = "",
) -> Iterator[tuple[int, NDArray[Any], Columns]]:
    """Yield the number of the first shower, cells in MeV (event, ...) and columns of some at a time.

    Args:
        path: The file.
        layout: Its format.
        shape: Of the cells of a shower, where it is known.
        cells_in: Unit of the cells: MeV, GeV or keV; by default what the file or its format says.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is damaged, its arrays have wrong shapes or types, a value is negative, out
            of range or no number; or cells hold a thousandth or a thousandfold of what they can, in a
            wrong unit.
    """
    path = Path(path)
    with reading(path) as file:
        cells, columns = _arrays(file, layout, shape, path)
        stated = cells_in or _text(cells.attrs.get("units")) or layout.unit
        if stated not in _MEV_PER:
            told = f"unit {stated!r}, expected {', '.join(_MEV_PER)}"
            raise ShowerFileError(f"{path}: {layout.cells}: {told}")
        event_bytes = int(np.prod(cells.shape[1:])) * (cells.dtype.itemsize + 8)
        for first, last in blocks(cells.shape[0], event_bytes):
            found = {name: column[first:last].reshape(-1) for name, column in columns.items()}
            check_columns(found, layout, path, first)
            energy = cells[first:last]
            check_values(energy, layout.cells, path, first)
            # What is in MeV already stays as it is, bit for bit.
            mev = _MEV_PER[stated]
            energy = energy if mev == 1 else energy * energy.dtype.type(mev)
            _check_energies(found, energy, layout, path)
            yield first, energy, found


@contextmanager
def writing(
    path: str | os.PathLike[str],
    layout: Layout,
    shape: tuple[int, ...],
    *,
    columns: tuple[str, ...] = (),
    dtype: Any = np.float32,
) -> Iterator[Callable[[NDArray[Any], Columns], None]]:
    """Yield what adds showers to a file, cells in MeV and columns; it takes its name at the end.

    Where a value is negative, out of range or no number, or a shape is wrong, it raises a
    `ShowerFileError`, and no file is left.

    Args:
        path: Its name.
        layout: Its format.
        shape: Of the cells of a shower.
        columns: Those that it holds; by default those that the format needs.
        dtype: Type of the cells' energies.
    """
    import h5py

    path = Path(path)
    known = {name: layout.columns[name] for name in columns or layout.needed}
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        arrays = {layout.cells: _growing(file, layout.cells, shape, dtype, "MeV")}
        for name, about in known.items():
            arrays[name] = _growing(file, name, about.shape, about.dtype, about.unit)

        def add(cells_mev: NDArray[Any], values: Columns) -> None:
            first, n = len(arrays[layout.cells]), len(cells_mev)
            if cells_mev.shape != (n, *shape) or any(len(values[name]) != n for name in known):
                told = f"shape {cells_mev.shape}, expected {(n, *shape)}"
                raise ShowerFileError(f"{path}: {layout.cells}: {told}")
            check_values(cells_mev, layout.cells, path, first)
            check_columns(values, layout, path, first)
            for name, array in arrays.items():
                array.resize(first + n, axis=0)
                rows = cells_mev if name == layout.cells else values[name]
                array[first:] = rows.reshape(n, *array.shape[1:])

        yield add


def check_columns(columns: Columns, layout: Layout, path: Path, first: int) -> None:
    """Check that every column lies in its range.

    Raises:
        ShowerFileError: A value does not; the message names key and event.
    """
    for name, values in columns.items():
        about = layout.columns[name]
        span: Any = {"low": about.low, "high": about.high, "open_low": about.open_low}
        check_values(values, name, path, first, unit=about.unit, **span)


def _arrays(
    file: "h5py.File", layout: Layout, shape: Sequence[int] | None, path: Path
) -> tuple["h5py.Dataset", dict[str, "h5py.Dataset"]]:
    cells = numbers(file, layout.cells, path)
    check_shape(cells, layout.cells, path, [(None, *(shape or [None] * layout.n_axes))])
    n, columns = cells.shape[0], {}
    for name in layout.columns:
        if name in layout.needed or name in file:
            columns[name] = numbers(file, name, path)
            check_shape(columns[name], name, path, [(n, 1), (n,)])
    return cells, columns


def _check_energies(columns: Columns, cells_mev: NDArray[Any], layout: Layout, path: Path) -> None:
    name, about = next(iter(layout.columns.items()))
    incident_mev = _MEV_PER[about.unit] * columns[name]
    total_mev = cells_mev.reshape(len(cells_mev), -1).sum(axis=1, dtype=np.float64)
    check_scale(incident_mev, total_mev, layout.cells, path)
    if incident_mev.max(initial=0.0) < layout.least_mev:
        told = f"at most {incident_mev.max():g} MeV: are they in GeV?"
        raise ShowerFileError(f"{path}: {name}: {told}")


def _growing(
    file: "h5py.File", key: str, shape: tuple[int, ...], dtype: Any, unit: str
) -> "h5py.Dataset":
    """Return a new compressed array to which events are added."""
    n = max(1, _CHUNK_BYTES // (int(np.prod(shape)) * np.dtype(dtype).itemsize))
    stored: Any = {"chunks": (n, *shape), "compression": "gzip", "compression_opts": 3, "shuffle": True}
    made = file.create_dataset(key, (0, *shape), dtype, maxshape=(None, *shape), **stored)
    made.attrs["units"] = unit
    return made


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
