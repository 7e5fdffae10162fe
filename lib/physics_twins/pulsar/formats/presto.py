"""PRESTO time series: dedispersed samples in a `.dat`, what they are in the `.inf` beside it.

The `.dat` holds 32-bit floating-point numbers, little endian, and nothing else. Source: PRESTO,
`makeinf.h` and `ioinf.c`.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.formats.keywords import Keywords
from physics_twins.pulsar.formats.observation_file import (
    FilterbankHeader,
    ObservationFileError,
    ObservationReader,
    check_header,
)

MAX_INF_BYTES = 1 << 16
_NAMES = {
    "n_channels": "Number of channels",
    "n_bits": "bits",
    "sampling_time_s": "Width of each time series bin",
    "channel_width_mhz": "Total bandwidth",
    "frequency": "Central freq of low channel",
}


class PrestoError(ObservationFileError):
    """A pair of files that is no sound PRESTO time series; the message names file and field."""


class PrestoReader(ObservationReader):
    """A time series opened for streaming: one channel, in the middle of the band that was added up.

    Either file of the pair can be named. `attributes` hold the dispersion measure, the position, the
    telescope and whether times are those of the solar system's barycentre. Where the observation has
    breaks, `on_bins` are first and last samples of its parts; what lies between was filled in, and
    what follows the last is left out.
    """

    error = PrestoError

    def _data_path(self) -> Path:
        return self.path.with_suffix(".dat")

    def _open(self, drop_partial: bool) -> None:
        self._inf = self.path.with_suffix(".inf")
        fields = _fields(self._inf)
        self.header = _header(fields)
        check_header(self.header, self._inf, PrestoError, names=_NAMES, depths=(32,))
        self.attributes = _attributes(fields)
        stated = fields.integer("Number of bins in the time series", high=1 << 48)
        held = self._count_spectra(0, 4, drop_partial)
        if held > stated or (held < stated and not drop_partial):
            problem = f"Number of bins in the time series = {stated}: the .dat holds {held}"
            raise PrestoError(f"{self._inf}: {problem}")
        self.n_spectra = min(stated, held)
        on_bins = _on_bins(fields, stated)
        if on_bins:
            self.attributes["on_bins"] = on_bins
            self.n_spectra = min(self.n_spectra, on_bins[-1] + 1)

    def _read(self, start: int, count: int) -> NDArray[Any]:
        return np.frombuffer(self._bytes(4 * start, 4 * count), "<f4").reshape(count, 1)

    def series(self) -> xr.DataArray:
        """Return the whole series (time), as `dedispersed` makes it; it is read at once."""
        dataset = self.dataset()
        series = dataset["data"].isel(frequency=0, drop=True).rename("dedispersed")
        series.attrs |= dataset.attrs
        return series


def _fields(path: Path) -> Keywords:
    """Return the lines `label = value` of an `.inf`."""
    with path.open("rb") as file:
        raw = file.read(MAX_INF_BYTES + 1)
    if len(raw) > MAX_INF_BYTES:
        raise PrestoError(f"{path}: longer than {MAX_INF_BYTES} bytes")
    pairs = re.findall(r"^ (\S.*?) *=[ \t]*(.*)$", raw.decode("latin-1"), re.MULTILINE)
    # What stands in brackets behind a label is its unit or how to answer.
    values = {re.sub(r"\s*\(.*", "", label).rstrip("?"): value for label, value in pairs}
    return Keywords(path, values, PrestoError)


def _header(fields: Keywords) -> FilterbankHeader:
    band = fields.text("Type of observation")
    if band != "Radio":
        raise PrestoError(f"{fields.where}: Type of observation = {band!r}: expected Radio")
    lowest_mhz = fields.number("Central freq of low channel")
    bandwidth_mhz = fields.number("Total bandwidth")
    half_channel_mhz = fields.number("Channel bandwidth") / 2
    return FilterbankHeader(
        n_channels=1,
        n_bits=32,
        first_frequency_mhz=lowest_mhz - half_channel_mhz + bandwidth_mhz / 2,
        channel_width_mhz=bandwidth_mhz,
        sampling_time_s=fields.number("Width of each time series bin"),
        start_mjd=fields.number("Epoch of observation"),
        source_name=fields.text("Object being observed", ""),
    )


def _attributes(fields: Keywords) -> dict[str, Any]:
    return {
        "dm_pc_cm3": fields.number("Dispersion measure"),
        "barycentred": fields.integer("Barycentered", high=1),
        "right_ascension": fields.text("J2000 Right Ascension", ""),
        "declination": fields.text("J2000 Declination", ""),
        "telescope": fields.text("Telescope used", ""),
    }


def _on_bins(fields: Keywords, n_bins: int) -> list[int]:
    """Return first and last samples of the observation's parts, one after the other."""
    if not fields.integer("Any breaks in the data", high=1):
        return []
    pairs = [value for label, value in fields.values.items() if label.startswith("On/Off bin pair")]
    try:
        bins = [int(float(number)) for pair in pairs for number in pair.split(",")]
    except (ValueError, OverflowError):
        bins = []
    if (
        not bins
        or len(bins) != 2 * len(pairs)
        or sorted(bins) != bins
        or not 0 <= bins[0] <= bins[-1] < n_bins
    ):
        raise PrestoError(
            f"{fields.where}: On/Off bin pair: expected pairs of rising bins below {n_bins}"
        )
    return bins
