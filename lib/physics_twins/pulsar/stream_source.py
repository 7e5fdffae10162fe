"""An observation that is read from its start to its end: a file of any format, or a dataset."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.observation_file import FilterbankHeader, ObservationReader


class StreamSource:
    """Spectra in order of time, the highest frequency first, best in a `with` block.

    Attributes:
        name: What messages call it.
        header: Channels, depth and times.
        n_spectra: Spectra in it.
    """

    def __init__(
        self, data: xr.Dataset | str | os.PathLike[str], *, drop_partial: bool = False
    ) -> None:
        """Open a file, or take a dataset with `data` (time, frequency).

        Args:
            data: The observation.
            drop_partial: Accept a file that is still being written.

        Raises:
            FileNotFoundError: There is no such file.
            ObservationFileError: The file is damaged or of no known format.
            ValueError: It has a single channel, and so no dispersion.
        """
        self.reader: ObservationReader | None = None
        self._values: NDArray[Any] = np.empty((0, 0))
        if isinstance(data, xr.Dataset):
            self.name = str(data.attrs.get("source_name") or "the observation")
            self.header = _dataset_header(data)
            self._values = data["data"].transpose("time", "frequency").values
            self.n_spectra = len(self._values)
        else:
            self.reader = open_observation(data, drop_partial=drop_partial)
            self.name = str(self.reader.path)
            self.header, self.n_spectra = self.reader.header, self.reader.n_spectra
        if self.header.n_channels < 2:
            self.close()
            raise ValueError(f"{self.name}: nchans = 1: dispersed pulses need 2 channels or more")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it is one."""
        if self.reader:
            self.reader.close()

    @property
    def frequency_mhz(self) -> NDArray[np.float64]:
        """Channel centres, the highest first, shape (channel,)."""
        return np.sort(self.header.frequency_mhz)[::-1]

    def raw(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra in the observation's own order of channels, shape (time, channel)."""
        return self.reader.read(start, count) if self.reader else self._values[start : start + count]

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra, the highest frequency first, shape (time, channel)."""
        spectra = self.raw(start, count)
        return spectra if self.header.channel_width_mhz < 0 else spectra[:, ::-1]

    def identity(self, n_spectra: int) -> str:
        """Return a hash of the header and the first spectra, the same while a file grows."""
        digest = hashlib.sha256(repr(self.header).encode())
        digest.update(np.ascontiguousarray(self.raw(0, n_spectra)).tobytes())
        return digest.hexdigest()

    def part(self, start: int, count: int) -> xr.Dataset:
        """Return some spectra as a dataset whose times count from the observation's start."""
        time_s = (start + np.arange(count)) * self.header.sampling_time_s
        return xr.Dataset(
            {"data": (("time", "frequency"), self.read(start, count), {"units": "counts"})},
            coords={
                "time": ("time", time_s, {"units": "s"}),
                "frequency": ("frequency", self.frequency_mhz, {"units": "MHz"}),
            },
            attrs={
                "n_bits": self.header.n_bits,
                "sampling_time_s": self.header.sampling_time_s,
                "start_mjd": self.header.start_mjd,
                "source_name": self.header.source_name,
            },
        )

    def header_from(self, start: int) -> FilterbankHeader:
        """Return the header of a piece that begins at a spectrum."""
        later_days = start * self.header.sampling_time_s / 86400
        return replace(self.header, start_mjd=self.header.start_mjd + later_days)

    @property
    def path(self) -> Path | None:
        """The file, None of a dataset."""
        return self.reader.path if self.reader else None


def _dataset_header(data: xr.Dataset) -> FilterbankHeader:
    frequency_mhz = data["frequency"].values.astype(float)
    steps_mhz = np.diff(frequency_mhz)
    if len(steps_mhz) and np.ptp(steps_mhz) > 1e-6 * abs(steps_mhz[0]):
        raise ValueError("frequency: equally spaced channels are needed")
    values = data["data"]
    return FilterbankHeader(
        n_channels=len(frequency_mhz),
        n_bits=int(data.attrs.get("n_bits", 32 if values.dtype.kind == "f" else 8)),
        first_frequency_mhz=float(frequency_mhz[0]),
        channel_width_mhz=float(np.mean(steps_mhz)) if len(steps_mhz) else -1.0,
        sampling_time_s=float(data.attrs["sampling_time_s"]),
        start_mjd=float(data.attrs.get("start_mjd", 0.0)),
        source_name=str(data.attrs.get("source_name", "")),
    )
