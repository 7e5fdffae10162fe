"""Small telescope files for the tests, made without the library's own writers; pulses put into one."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from astropy.io import fits
from numpy.typing import NDArray

from physics_twins.pulsar.files import ObservationReader, open_observation, write_dataset
from physics_twins.pulsar.injection import inject_file

FREQUENCY_MHZ = 1500.0 - np.arange(16)


def psrfits(
    path: Path,
    samples: NDArray[Any],
    *,
    row_spectra: int = 8,
    primary: dict[str, Any] | None = None,
    subint: dict[str, Any] | None = None,
    columns: dict[str, NDArray[Any] | None] | None = None,
    history: bool = False,
) -> Path:
    """Write whole bytes or wider samples, (time, polarisation, channel), as astropy writes tables.

    `primary` and `subint` change keywords, `columns` replaces or, with None, drops a column.
    """
    n_time, n_polarisations, n_channels = samples.shape
    n_rows = n_time // row_spectra
    head = fits.PrimaryHDU()
    sound = {"FITSTYPE": "PSRFITS", "OBS_MODE": "SEARCH", "SRC_NAME": "J0000+0000"}
    sound |= {"STT_IMJD": 60000, "STT_SMJD": 43200, "STT_OFFS": 0.25}
    head.header.update(sound | (primary or {}))
    wide = {"u": "B", "i": "I", "f": "E"}[samples.dtype.kind]
    per_channel = np.ones((n_rows, n_channels * n_polarisations), ">f4")
    row_s = row_spectra * 1e-3
    values: dict[str, tuple[str, Any]] = {
        "OFFS_SUB": ("D", (np.arange(n_rows) + 0.5) * row_s),
        "DAT_FREQ": (f"{n_channels}D", np.tile(FREQUENCY_MHZ[:n_channels], (n_rows, 1))),
        "DAT_WTS": (f"{n_channels}E", np.ones((n_rows, n_channels))),
        "DAT_OFFS": (f"{per_channel.shape[1]}E", 0 * per_channel),
        "DAT_SCL": (f"{per_channel.shape[1]}E", per_channel),
        "DATA": (f"{samples[0].size * row_spectra}{wide}", samples.reshape(n_rows, -1)),
    }
    for name, value in (columns or {}).items():
        form = values[name][0].lstrip("0123456789")
        if value is None:
            del values[name]
        else:
            values[name] = (f"{value.size // n_rows}{form}", value.reshape(n_rows, -1))
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, form, array=array) for name, (form, array) in values.items()]
    )
    table.name = "SUBINT"
    table.header.update(
        {"NBITS": 8 * samples.itemsize, "NPOL": n_polarisations, "POL_TYPE": "AA+BB", "TBIN": 1e-3}
        | {"NCHAN": n_channels, "NSBLK": row_spectra, "CHAN_BW": -1.0, "NSUBOFFS": 0}
        | (subint or {})
    )
    other = fits.BinTableHDU.from_columns([fits.Column("PROC_CMD", "80A", array=["made for a test"])])
    other.name = "HISTORY"
    fits.HDUList([head, other, table] if history else [head, table]).writeto(path, overwrite=True)
    return path


def dada(path: Path, data: bytes, keywords: dict[str, str | None] | None = None) -> Path:
    """Write a PSRDADA file keyword by keyword, sound or not; None leaves a keyword out."""
    sound = {
        "HEADER": "DADA                # Distributed acquisition and data analysis",
        "HDR_VERSION": "1.0",
        "HDR_SIZE": "4096",
        "SOURCE": "J0000+0000",
        "FREQ": "1492.5          # centre frequency in MHz",
        "BW": "-16",
        "NCHAN": "16",
        "NPOL": "1",
        "NDIM": "1",
        "NBIT": "8",
        "TSAMP": "1000            # microseconds",
        "UTC_START": "2023-02-25-12:00:00",
        "OBS_OFFSET": "0",
    }
    lines = [f"{k:<16}{v}\n" for k, v in (sound | (keywords or {})).items() if v is not None]
    path.write_bytes("".join(lines).encode().ljust(4096, b"\0") + data)
    return path


def injected(
    observation: xr.Dataset, pulses: list[Any], **options: Any
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Return an observation with pulses put in, by way of a file, and the truth about them."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(observation, folder / "in.fil")
        truth = inject_file(folder / "in.fil", folder / "out.fil", pulses, **options)
        with open_observation(folder / "out.fil") as file:
            data = file.read(0, file.n_spectra)
    return observation.assign(data=(("time", "frequency"), data, observation["data"].attrs)), truth


def blocks(file: ObservationReader, count: int) -> Iterator[NDArray[Any]]:
    """Yield a file's spectra, so many at a time."""
    for start in range(0, file.n_spectra, count):
        yield file.read(start, min(count, file.n_spectra - start))
