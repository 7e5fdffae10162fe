"""PSRFITS files in search mode: a streaming writer.

The keywords, columns and units are those of the PSRFITS definition, version 6.1; what an observation
does not say of them stands there as 0 or empty.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from physics_twins.pulsar.formats.fits_table import BLOCK_BYTES
from physics_twins.pulsar.formats.observation_file import (
    FilterbankHeader,
    ObservationWriter,
    check_header,
    pack,
)
from physics_twins.pulsar.formats.psrfits import NAMES, PsrfitsError

DEPTHS = (1, 2, 4, 8, 32)
ROW_BYTES = 1 << 20
ROW_SPECTRA = 4096
# Keywords of the PSRFITS definition 6.1 in its order, with values for what is not known: 0 where
# the definition has `*` for a number, because readers expect numbers.
CARDS = Path(__file__).parent
_MJD_0 = datetime(1858, 11, 17, tzinfo=UTC)


class PsrfitsWriter(ObservationWriter):
    """A search-mode file being written row by row; it takes its name when complete.

    One row of spectra is kept in memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: FilterbankHeader,
        *,
        row_spectra: int | None = None,
    ) -> None:
        """Begin a file with one polarisation product, AA+BB.

        Args:
            path: The file.
            header: Channels, depth, time; `others` is left out, for its keywords are SIGPROC's.
            row_spectra: Spectra in a row, a multiple of 8; by default 4096, or fewer in a megabyte.

        Raises:
            PsrfitsError: The header describes no file that can be written.
            ValueError: `row_spectra` is no multiple of 8.
        """
        check_header(header, Path(path), PsrfitsError, names=NAMES, depths=DEPTHS)
        most = min(ROW_SPECTRA, ROW_BYTES // header.spectrum_bytes // 8 * 8)
        self._row_spectra = max(8, most) if row_spectra is None else row_spectra
        if self._row_spectra < 8 or self._row_spectra % 8:
            raise ValueError(f"{path}: row_spectra = {row_spectra}: must be a positive multiple of 8")
        primary = _primary(header, Path(path))
        super().__init__(path, header)
        self._file.write(_bytes(primary))
        self._table_start = self._file.tell()
        self._rows, self._n_spectra = 0, 0
        self._table = self._table_header()
        self._file.write(_bytes(self._table))
        self._waiting: list[NDArray[Any]] = []

    def _write(self, spectra: NDArray[Any]) -> None:
        # Packed at once, so that a value that does not fit is refused by the call that brought it.
        raw = pack(spectra, self.header.n_bits, self.path, high_first=True)
        kind = "<f4" if self.header.n_bits == 32 else "u1"
        n_items = self.header.spectrum_bytes // np.dtype(kind).itemsize
        self._waiting.append(np.frombuffer(raw, kind).reshape(len(spectra), n_items))
        self._n_spectra += len(spectra)
        if sum(map(len, self._waiting)) >= self._row_spectra:
            waiting = np.concatenate(self._waiting)
            while len(waiting) >= self._row_spectra:
                self._write_row(waiting[: self._row_spectra])
                waiting = waiting[self._row_spectra :]
            self._waiting = [waiting.copy()]

    def close(self) -> None:
        """Fill up the last row, write the number of rows, and give the file its name."""
        if any(map(len, self._waiting)):
            last = np.concatenate(self._waiting)
            fill = np.zeros((self._row_spectra - len(last), last.shape[1]), last.dtype)
            self._write_row(np.concatenate([last, fill]))
        self._file.write(b"\0" * (-self._file.tell() % BLOCK_BYTES))
        self._file.seek(self._table_start)
        self._table["NAXIS2"], self._table["NSTOT"] = self._rows, self._n_spectra
        self._file.write(_bytes(self._table))
        super().close()

    def _write_row(self, spectra: NDArray[Any]) -> None:
        row_s = self._row_spectra * self.header.sampling_time_s
        row = np.zeros((), dtype=self._row_type)
        row["TSUBINT"], row["OFFS_SUB"] = row_s, (self._rows + 0.5) * row_s
        row["DAT_FREQ"] = self.header.frequency_mhz
        row["DAT_WTS"] = row["DAT_SCL"] = 1
        row["DATA"] = spectra.reshape(-1)
        self._file.write(row.tobytes())
        self._rows += 1

    def _table_header(self) -> Header:
        """Return the table's header, and learn from it how a row lies."""
        header, n_bits, n_channels = self.header, self.header.n_bits, self.header.n_channels
        n_samples = self._row_spectra * n_channels
        result: Any = Header.fromtextfile(CARDS / "psrfits_subint.txt")
        # The last five columns are as long as there are channels, or samples in a row.
        lengths = {13: f"{n_channels}D"} | dict.fromkeys((14, 15, 16), f"{n_channels}E")
        lengths[17] = f"{n_samples}E" if n_bits == 32 else f"{n_samples * n_bits // 8}B"
        for number, form in lengths.items():
            result[f"TFORM{number}"] = form
        kinds = {"D": ">f8", "E": ">f4", "B": "u1"}
        columns = [(result[f"TTYPE{n}"], result[f"TFORM{n}"]) for n in range(1, result["TFIELDS"] + 1)]
        self._row_type = np.dtype(
            [(name, kinds[form[-1]], (int(form[:-1]),)) for name, form in columns]
        )
        known = {
            "TBIN": header.sampling_time_s,
            "NBITS": n_bits,
            "NCHAN": n_channels,
            "CHAN_BW": header.channel_width_mhz,
            "REFFREQ": _centre_mhz(header),
            "NAXIS1": self._row_type.itemsize,
            "NSBLK": self._row_spectra,
            "TDIM17": f"(1,{n_channels},1,{self._row_spectra * min(n_bits, 8) // 8})",
        }
        for name, value in known.items():
            result[name] = value
        return result


def _primary(header: FilterbankHeader, path: Path) -> Header:
    seconds, start = _start(header.start_mjd)
    known = {
        "DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "DATE-OBS": start.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3],
        "OBSFREQ": _centre_mhz(header),
        "OBSBW": header.channel_width_mhz * header.n_channels,
        "OBSNCHAN": header.n_channels,
        "SRC_NAME": header.source_name,
        "STT_IMJD": int(header.start_mjd),
        "STT_SMJD": int(seconds),
        "STT_OFFS": seconds - int(seconds),
    }
    result = Header.fromtextfile(CARDS / "psrfits_primary.txt")
    try:
        for name, value in known.items():
            result[name] = value
    except ValueError as error:
        raise PsrfitsError(f"{path}: primary header: {error}") from None
    return result


def _start(mjd: float) -> tuple[float, datetime]:
    """Return the seconds since midnight, and the date and time."""
    seconds = (mjd - int(mjd)) * 86400
    return seconds, _MJD_0 + timedelta(days=int(mjd), seconds=seconds)


def _centre_mhz(header: FilterbankHeader) -> float:
    return header.first_frequency_mhz + header.channel_width_mhz * (header.n_channels - 1) / 2


def _bytes(header: Header) -> bytes:
    return header.tostring().encode("ascii")
