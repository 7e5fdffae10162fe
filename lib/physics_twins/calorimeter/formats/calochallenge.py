"""Files of the Fast Calorimeter Simulation Challenge (CaloChallenge, arXiv:2410.21611).

HDF5 with `incident_energies` (event, 1) and `showers` (event, cell), both in MeV, compressed with
gzip; cells go by layer, then angle, then radius. Which cells these are says an XML file, see
`binning`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.calorimeter.formats.binning import Binning
from physics_twins.calorimeter.formats.shower_file import (
    MAX_MEV,
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

ENERGIES, SHOWERS = "incident_energies", "showers"
# The challenge's particles have 256 MeV and more; some of a block reach this, in MeV.
LEAST_MEV = 200.0


class CaloChallengeReader:
    """A file of the challenge, read block by block in constant memory."""

    def __init__(self, path: str | os.PathLike[str], *, binning: Binning | None = None) -> None:
        """Look at a file.

        Args:
            path: The file.
            binning: Its cells, where known: then the number of cells is checked.

        Raises:
            FileNotFoundError: There is no such file.
            ShowerFileError: It is damaged, or its arrays have wrong shapes or types.
        """
        self.path = Path(path)
        self.binning = binning
        with reading(self.path) as file:
            energies, showers = self._arrays(file)
            self.n_showers, self.n_cells = showers.shape
            self._event_bytes = self.n_cells * (showers.dtype.itemsize + 8)
            del energies

    def __len__(self) -> int:
        """Number of showers."""
        return self.n_showers

    def blocks(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.float64], NDArray[Any]]]:
        """Yield number of the first shower, energies in MeV (event,) and cells in MeV (event, cell).

        Raises:
            ShowerFileError: A value is negative or no number, the unit is another one, or a part cannot
                be read.
        """
        stop = self.n_showers if stop is None else min(stop, self.n_showers)
        with reading(self.path) as file:
            energies, showers = self._arrays(file)
            for first, last in blocks(stop - start, self._event_bytes):
                here = slice(start + first, start + last)
                incident = energies[here].reshape(-1).astype(np.float64)
                check_values(incident, ENERGIES, self.path, here.start, open_low=True)
                cells = showers[here]
                check_values(cells, SHOWERS, self.path, here.start, high=MAX_MEV)
                check_scale(incident, cells.sum(axis=1, dtype=np.float64), SHOWERS, self.path)
                if incident.max(initial=0.0) < LEAST_MEV:
                    raise ShowerFileError(
                        f"{self.path}: {ENERGIES}: at most {incident.max():g} MeV: are they in GeV?"
                    )
                yield here.start, incident, cells

    def _arrays(self, file: "h5py.File") -> tuple["h5py.Dataset", "h5py.Dataset"]:
        energies, showers = (numbers(file, key, self.path) for key in (ENERGIES, SHOWERS))
        check_shape(showers, SHOWERS, self.path, [(None, self.binning and self.binning.n_cells)])
        n = showers.shape[0]
        check_shape(energies, ENERGIES, self.path, [(n, 1), (n,)])
        return energies, showers


class CaloChallengeWriter:
    """A file of the challenge being written, event by event; used in a `with` block."""

    def __init__(self, path: str | os.PathLike[str], n_cells: int, *, dtype: Any = np.float32) -> None:
        """Begin a file.

        Args:
            path: Its name, which it takes when the block ends well.
            n_cells: Number of cells of a shower.
            dtype: Type of the cells' energies.
        """
        self.path = Path(path)
        self.n_showers = 0
        self._n_cells, self._dtype = n_cells, dtype
        self._context = writing(self.path)

    def __enter__(self) -> "CaloChallengeWriter":
        """Open it."""
        file = self._context.__enter__()
        self._energies = GrowingArray(file, ENERGIES, (1,), np.float64)
        self._showers = GrowingArray(file, SHOWERS, (self._n_cells,), self._dtype)
        return self

    def __exit__(self, *error: Any) -> None:
        """Give it its name, or leave nothing."""
        self._context.__exit__(*error)

    def write(self, energy_mev: NDArray[Any], cells_mev: NDArray[Any]) -> None:
        """Add showers.

        Args:
            energy_mev: Energies of the particles, shape (event,).
            cells_mev: Shape (event, cell), or (event, layer, angle, radius).

        Raises:
            ShowerFileError: A value is negative or no number, or a shape is wrong.
        """
        cells = cells_mev.reshape(len(cells_mev), -1)
        if cells.shape != (len(energy_mev), self._n_cells):
            raise ShowerFileError(
                f"{self.path}: {SHOWERS}: shape {cells.shape}, expected"
                f" {(len(energy_mev), self._n_cells)}"
            )
        check_values(energy_mev, ENERGIES, self.path, self.n_showers, open_low=True)
        check_values(cells, SHOWERS, self.path, self.n_showers)
        self._energies.add(energy_mev[:, None])
        self._showers.add(cells)
        self.n_showers += len(cells)
