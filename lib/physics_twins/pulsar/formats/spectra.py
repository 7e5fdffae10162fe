"""Spectra of an observation, file or dataset, read block by block with the highest frequency first."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.formats.observation_file import FilterbankHeader, ObservationReader

Observation = xr.Dataset | str | os.PathLike[str]


@dataclass(frozen=True)
class Spectra:
    """An observation opened for reading.

    Attributes:
        source: The file, or the dataset with `data` (time, frequency).
        header: What it says about itself; the highest frequency first, whatever the order in the file.
        n_spectra: How many spectra it holds.
        reversed: Whether the source has the lowest frequency first.
    """

    source: ObservationReader | xr.Dataset
    header: FilterbankHeader
    n_spectra: int
    reversed: bool

    @property
    def name(self) -> str:
        """The file's path, for messages."""
        is_file = isinstance(self.source, ObservationReader)
        return str(self.source.path) if is_file else "the observation"

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra `start` to `start + count`, shape (time, channel)."""
        if isinstance(self.source, ObservationReader):
            block = self.source.read(start, count)
        else:
            block = self.source["data"].values[start : start + count]
        return block[:, ::-1] if self.reversed else block

    @property
    def n_bits(self) -> int:
        """Bits that a sample needs: 32 where the file's scales make floating-point numbers of them."""
        return 32 if self.read(0, 1).dtype.kind == "f" else self.header.n_bits

    @property
    def source_header(self) -> FilterbankHeader:
        """The header in the order of the source."""
        return _header(self.source) if isinstance(self.source, xr.Dataset) else self.source.header

    def in_its_order(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return spectra with the highest frequency first as the source has them."""
        return block[:, ::-1] if self.reversed else block

    def blocks(self, count: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (start, spectra) over the whole observation, `count` spectra at a time."""
        for start in range(0, self.n_spectra, count):
            yield start, self.read(start, min(count, self.n_spectra - start))


@contextmanager
def open_spectra(data: Observation) -> Iterator[Spectra]:
    """Open an observation for a `with` block.

    Args:
        data: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged or of no known format.
        ValueError: There is less than two channels or no spectrum.
    """
    if isinstance(data, xr.Dataset):
        yield _checked(data, _header(data), data.sizes["time"])
        return
    with open_observation(data) as file:
        yield _checked(file, file.header, file.n_spectra)


def _checked(
    source: ObservationReader | xr.Dataset, header: FilterbankHeader, n_spectra: int
) -> Spectra:
    is_reversed = header.channel_width_mhz > 0
    if is_reversed:
        header = _highest_first(header)
    spectra = Spectra(source, header, n_spectra, is_reversed)
    if n_spectra == 0:
        raise ValueError(f"{spectra.name}: data: holds no spectra")
    if header.n_channels < 2:
        raise ValueError(f"{spectra.name}: n_channels = 1: 2 or more are needed")
    return spectra


def _highest_first(header: FilterbankHeader) -> FilterbankHeader:
    return replace(
        header,
        first_frequency_mhz=float(header.frequency_mhz[-1]),
        channel_width_mhz=-header.channel_width_mhz,
    )


def _header(dataset: xr.Dataset) -> FilterbankHeader:
    frequency_mhz = dataset["frequency"].values
    n_channels = len(frequency_mhz)
    span_mhz = float(frequency_mhz[-1] - frequency_mhz[0])
    return FilterbankHeader(
        n_channels=n_channels,
        n_bits=int(dataset.attrs["n_bits"]),
        first_frequency_mhz=float(frequency_mhz[0]),
        channel_width_mhz=span_mhz / max(1, n_channels - 1),
        sampling_time_s=float(dataset.attrs["sampling_time_s"]),
        start_mjd=float(dataset.attrs.get("start_mjd", 0.0)),
        source_name=str(dataset.attrs.get("source_name", "")),
    )
