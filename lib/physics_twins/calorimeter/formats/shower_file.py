"""What all files of showers have in common: hostile HDF5 opened with care, errors that say where."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import h5py

# A block of showers in memory, and the largest piece that a file may force into it.
BLOCK_BYTES = 32 << 20
MAX_CHUNK_BYTES = 256 << 20
# No calorimeter sees more in a cell.
MAX_MEV = 1e9
# What calorimeters see of a particle's energy: a sampling one little, one with calibrated cells all.
VISIBLE_SHARE = (2e-3, 10.0)


class ShowerFileError(ValueError):
    """A file that holds no sound showers; the message names file, key and event."""


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator["h5py.File"]:
    """Yield an HDF5 file opened for reading; what is damaged in it becomes a `ShowerFileError`.

    Raises:
        FileNotFoundError: There is no such file.
        ShowerFileError: It is no HDF5 file, or a part of it cannot be read.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ShowerFileError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ShowerFileError(f"{path}: damaged, cut or no HDF5 file: {reason}") from None


def numbers(file: "h5py.File", key: str, path: Path) -> "h5py.Dataset":
    """Return a dataset of numbers of a file that may be hostile.

    Raises:
        ShowerFileError: It is missing, no dataset, outside the file, of objects or text, or has pieces
            too large to read.
    """
    import h5py

    link = file.get(key, getlink=True)
    if link is None:
        held = ", ".join(list(file)[:20]) or "nothing"
        raise ShowerFileError(f"{path}: {key}: missing; the file holds {held}")
    if not isinstance(link, h5py.HardLink):
        raise ShowerFileError(f"{path}: {key}: a link to another place, which is not followed")
    found = file[key]
    if not isinstance(found, h5py.Dataset):
        raise ShowerFileError(f"{path}: {key}: a group, expected an array of numbers")
    if found.external or found.is_virtual:
        raise ShowerFileError(f"{path}: {key}: its values are in other files, which are not read")
    if found.dtype.kind not in "iuf" or found.dtype.itemsize > 8:
        raise ShowerFileError(f"{path}: {key}: values of type {found.dtype}, expected real numbers")
    piece = int(np.prod(found.chunks or (1,), dtype=float)) * found.dtype.itemsize
    if piece > MAX_CHUNK_BYTES:
        raise ShowerFileError(
            f"{path}: {key}: chunks of {piece >> 20} MiB, expected at most {MAX_CHUNK_BYTES >> 20} MiB"
        )
    event = int(np.prod(found.shape[1:], dtype=float)) * found.dtype.itemsize
    if event > MAX_CHUNK_BYTES:
        raise ShowerFileError(
            f"{path}: {key}: {event >> 20} MiB for each event, expected at most"
            f" {MAX_CHUNK_BYTES >> 20} MiB"
        )
    return found


def check_shape(
    found: "h5py.Dataset", key: str, path: Path, expected: Sequence[Sequence[int | None]]
) -> None:
    """Check a dataset's shape against those that are possible, None standing for any length.

    Raises:
        ShowerFileError: It has another shape.
    """
    for shape in expected:
        if len(shape) == len(found.shape) and all(
            want in (None, have) for want, have in zip(shape, found.shape, strict=True)
        ):
            return
    wanted = " or ".join(str(tuple(n if n is not None else "N" for n in s)) for s in expected)
    raise ShowerFileError(f"{path}: {key}: shape {found.shape}, expected {wanted}")


def check_scale(incident_mev: NDArray[Any], total_mev: NDArray[Any], key: str, path: Path) -> None:
    """Check that showers hold about as much energy as calorimeters see of what came in.

    Args:
        incident_mev: Energies of the particles, shape (event,).
        total_mev: Sums over the cells, shape (event,).
        key: Where in the file the cells come from.
        path: The file.

    Raises:
        ShowerFileError: They hold a thousandth or a thousandfold: one of both has another unit.
    """
    lit = total_mev > 0
    if not lit.any():
        return
    share = float(np.median(total_mev[lit] / incident_mev[lit]))
    low, high = VISIBLE_SHARE
    if not low <= share <= high:
        raise ShowerFileError(
            f"{path}: {key}: the median shower holds {share:.3g} of its particle's energy, expected"
            f" {low:g} to {high:g}: cells or incident energies are in another unit"
        )


def check_values(
    values: NDArray[Any],
    key: str,
    path: Path,
    first: int,
    *,
    low: float = 0.0,
    high: float = MAX_MEV,
    unit: str = "MeV",
    open_low: bool = False,
) -> None:
    """Check that all values are finite and in a range.

    Args:
        values: Shape (event, ...).
        key: Where in the file they come from.
        path: The file.
        first: Number of the first event.
        low: Lowest allowed value.
        high: Highest.
        unit: Their unit.
        open_low: Whether the lowest value itself is not allowed.

    Raises:
        ShowerFileError: A value is not; the message names the event.
    """
    with np.errstate(invalid="ignore"):
        wrong = ~((values > low if open_low else values >= low) & (values <= high))
    if wrong.any():
        at: Any = np.unravel_index(int(wrong.argmax()), values.shape)
        between = f"{'above' if open_low else 'from'} {low:g} to {high:g} {unit}"
        found = f"{values[at]:g} {unit}"
        where = f" (cell {tuple(map(int, at[1:]))})" if len(at) > 1 else ""
        raise ShowerFileError(
            f"{path}: {key}: event {first + int(at[0])}{where}: {found}, expected {between}"
        )


def blocks(n_events: int, event_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield first event and the one after the last of blocks that fit into little memory."""
    size = max(1, BLOCK_BYTES // max(event_bytes, 1))
    for first in range(0, n_events, size):
        yield first, min(first + size, n_events)
