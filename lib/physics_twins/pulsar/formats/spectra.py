"""Spectra of an observation, file or dataset, read block by block with the highest frequency first."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.formats.observation_file import (
    N_EQUAL,
    FilterbankHeader,
    ObservationReader,
    ObservationWriter,
    as_dataset,
    header_of,
)
from physics_twins.pulsar.physics.ism import Band

LOOKED_AT = 256  # spectra at a time
COPIED_SAMPLES = 1 << 22  # at a time

Observation = xr.Dataset | str | os.PathLike[str]


@dataclass(frozen=True)
class Spectra:
    """An observation opened for reading.

    Attributes:
        source: The file, or the samples of a dataset, (time, frequency).
        source_header: What it says about itself.
        n_spectra: How many spectra it holds.
        name: What messages call it.
        n_filled_up: How many equal ones follow that a writer has filled its last row up with.
        first_s: Time of the first of them.
    """

    source: ObservationReader | NDArray[Any]
    source_header: FilterbankHeader
    n_spectra: int
    name: str
    n_filled_up: int = 0
    first_s: float = 0.0

    @property
    def reversed(self) -> bool:
        """Whether the source has the lowest frequency first."""
        return self.source_header.channel_width_mhz > 0

    @property
    def header(self) -> FilterbankHeader:
        """The header, the highest frequency first, whatever the order in the source."""
        return _highest_first(self.source_header) if self.reversed else self.source_header

    @property
    def band(self) -> Band:
        """Channels, the highest first, and sampling time."""
        return Band(self.header.frequency_mhz, self.header.sampling_time_s)

    @property
    def path(self) -> Path | None:
        """The file, None of a dataset."""
        return self.source.path if isinstance(self.source, ObservationReader) else None

    @property
    def n_bits(self) -> int:
        """Bits that a sample needs: 32 where the file's scales make floating-point numbers of them."""
        return 32 if self.raw(0, 1).dtype.kind == "f" else self.source_header.n_bits

    def raw(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra in the source's own order of channels, shape (time, channel)."""
        if isinstance(self.source, ObservationReader):
            return self.source.read(start, count)
        return self.source[start : start + count]

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra, the highest frequency first, shape (time, channel)."""
        return self.in_its_order(self.raw(start, count))

    def in_its_order(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return spectra with the highest frequency first as the source has them, or back."""
        return block[:, ::-1] if self.reversed else block

    def copy_to(self, file: ObservationWriter, start: int, stop: int) -> None:
        """Write spectra `start` to `stop`, a few megabytes at a time."""
        step = max(1, COPIED_SAMPLES // self.source_header.n_channels)
        for begin in range(start, stop, step):
            file.write(self.raw(begin, min(step, stop - begin)))

    def part(self, start: int, count: int) -> xr.Dataset:
        """Return some spectra as a dataset whose times count from the observation's start."""
        told = self.source.attributes if isinstance(self.source, ObservationReader) else {}
        since = start + self.first_s / self.header.sampling_time_s
        return as_dataset(self.header, self.read(start, count), since, told)

    def header_from(self, start: int) -> FilterbankHeader:
        """Return the source's header for a piece that begins at a spectrum."""
        later_days = start * self.source_header.sampling_time_s / 86400
        return replace(self.source_header, start_mjd=self.source_header.start_mjd + later_days)

    def identity(self, n_spectra: int) -> str:
        """Return a hash of the header and the first spectra, the same while a file grows."""
        digest = hashlib.sha256(repr(self.source_header).encode())
        digest.update(np.ascontiguousarray(self.raw(0, min(n_spectra, self.n_spectra))).tobytes())
        return digest.hexdigest()


@contextmanager
def open_spectra(
    data: Observation, *, drop_partial: bool = False, whole: bool = False
) -> Iterator[Spectra]:
    """Open an observation for a `with` block.

    Args:
        data: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed.
        drop_partial: Accept a file that is still being written, empty though it may be.
        whole: Whether equal spectra at a file's end, that a recorder filled it up with, count too.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged or of no known format.
        ValueError: There are fewer than two channels or no spectrum.
    """
    if isinstance(data, xr.Dataset):
        values = data["data"].transpose("time", "frequency").values
        spectra = Spectra(values, header_of(data), len(values), "the observation")
        first_s = float(data["time"].values[0]) if "time" in data.coords and len(values) else 0.0
        yield replace(_checked(spectra), first_s=first_s)
        return
    with open_observation(data, drop_partial=drop_partial) as file:
        filled_up = 0 if drop_partial or whole else _filled_up(file)
        n_spectra = file.n_spectra - filled_up
        spectra = Spectra(file, file.header, n_spectra, str(file.path), filled_up)
        yield _checked(spectra, may_be_empty=drop_partial)


def _filled_up(file: ObservationReader) -> int:
    """Return how many spectra at the end of a file are all equal: too many to have been measured."""
    n, end = 0, file.n_spectra
    if not end:
        return 0
    last = file.read(end - 1, 1)
    while n < end:
        block = file.read(max(0, end - n - LOOKED_AT), min(LOOKED_AT, end - n))
        differs = ~((block == last) | (np.isnan(block) & np.isnan(last))).all(axis=1)
        if differs.any():
            n += len(block) - 1 - int(np.flatnonzero(differs)[-1])
            return n if n >= N_EQUAL else 0
        n += len(block)
    return 0  # nothing else is in it: there is nothing to leave out


def _checked(spectra: Spectra, *, may_be_empty: bool = False) -> Spectra:
    if spectra.n_spectra == 0 and not may_be_empty:
        raise ValueError(f"{spectra.name}: data: holds no spectra")
    if spectra.source_header.n_channels < 2:
        raise ValueError(f"{spectra.name}: n_channels = 1: dispersion needs 2 or more")
    return spectra


def _highest_first(header: FilterbankHeader) -> FilterbankHeader:
    return replace(
        header,
        first_frequency_mhz=float(header.frequency_mhz[-1]),
        channel_width_mhz=-header.channel_width_mhz,
    )
