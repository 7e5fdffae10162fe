"""Files of telescopes in every format that is known: open one by its content, write one by its name."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from physics_twins.pulsar.formats.observation_file import FilterbankHeader as FilterbankHeader
from physics_twins.pulsar.formats.observation_file import (
    ObservationFileError,
    ObservationWriter,
    header_of,
)
from physics_twins.pulsar.formats.observation_file import ObservationReader as ObservationReader
from physics_twins.pulsar.formats.sigproc import FilterbankError as FilterbankError
from physics_twins.pulsar.formats.sigproc import FilterbankReader, FilterbankWriter

if TYPE_CHECKING:
    import xarray as xr

_RECOGNISED_BY_BYTES = 4096


def open_observation(path: str | os.PathLike[str], *, drop_partial: bool = False) -> ObservationReader:
    """Open a file of any known format for streaming, best in a `with` block.

    What a file is, its first bytes say, not its name: SIGPROC filterbank, PSRFITS in search mode,
    or PSRDADA with detected power.

    Args:
        path: The file.
        drop_partial: Accept a file that was cut in its data, and leave out what is not complete.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is of no known format, or damaged.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(_RECOGNISED_BY_BYTES)
    return _reader(path, start)(path, drop_partial=drop_partial)


def _reader(path: Path, start: bytes) -> type[ObservationReader]:
    """Return what reads a file that begins so; a format is imported when a file needs it."""
    if start[4:16] == b"HEADER_START":
        return FilterbankReader
    if start.startswith(b"SIMPLE  ="):
        from physics_twins.pulsar.formats.psrfits import PsrfitsReader

        return PsrfitsReader
    if re.search(rb"^HDR_(SIZE|VERSION)\s", start, re.MULTILINE):
        from physics_twins.pulsar.formats.psrdada import DadaReader

        return DadaReader
    known = "SIGPROC (HEADER_START), FITS (SIMPLE), PSRDADA (HDR_SIZE)"
    raise ObservationFileError(f"{path}: the first bytes: {start[:16]!r} begin none of {known}")


def write_dataset(dataset: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a dataset with `data` (time, frequency) as a telescope file.

    The name says the format: PSRFITS where it ends in `.sf`, `.fits` or `.psrfits`, else SIGPROC.

    Raises:
        ObservationFileError: Its channels are not equally spaced.
        ValueError: A value cannot be stored exactly in the dataset's `n_bits`.
    """
    with open_writer(path, header_of(dataset)) as file:
        file.write(dataset["data"].values)


def open_writer(path: str | os.PathLike[str], header: FilterbankHeader) -> ObservationWriter:
    """Begin a telescope file in the format that its name says: PSRFITS or SIGPROC.

    Raises:
        ObservationFileError: The header describes no file of this format.
    """
    if Path(path).suffix in (".sf", ".fits", ".psrfits"):
        from physics_twins.pulsar.formats.psrfits_writer import PsrfitsWriter

        return PsrfitsWriter(path, header)
    return FilterbankWriter(path, header)
