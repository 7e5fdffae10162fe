"""PSRFITS files in search mode (`.sf`, `.fits`): a streaming reader.

The rows of the table SUBINT are sub-integrations of NSBLK spectra, with a scale and an offset for each
channel and polarisation and a weight for each channel; in a byte the first sample is in the highest
bits. Source: Hotan, van Straten and Manchester (2004), PASA 21, 302; PSRFITS definition, version 6.1.
What that leaves open (the sign of ZERO_OFF, AA and BB added and not averaged, weights that multiply) is
as in PRESTO.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.fits_table import Cards, FitsError, Table, find_table
from physics_twins.pulsar.formats.observation_file import (
    MAX_CHANNELS,
    FilterbankHeader,
    ObservationFileError,
    ObservationReader,
    check_header,
    unpack,
)

# Type of DATA in the table and of its samples, by bits in a sample.
DEPTHS = {1: ("BX", "u1"), 2: ("BX", "u1"), 4: ("BX", "u1"), 8: ("B", "u1"), 16: ("I", ">i2")}
DEPTHS |= {32: ("E", ">f4")}


def _check_mode(primary: Cards, cards: Cards) -> None:
    """Raise FitsError where a file holds no search-mode data."""
    if primary.text("FITSTYPE", "") != "PSRFITS":
        raise FitsError(f"FITSTYPE = {primary.text('FITSTYPE', '')!r}: expected 'PSRFITS'")
    mode = primary.text("OBS_MODE")
    if mode not in ("SEARCH", "SRCH"):
        raise FitsError(f"OBS_MODE = {mode!r}: only search mode can be read")
    cards.integer("NBIN", 1, low=1, high=1)


def _shift(table: Table) -> float:
    """Return TZERO of the column DATA, as FITS stores numbers that its type does not know.

    Raises:
        FitsError: It has a TSCAL besides, which PSRFITS has DAT_SCL for.
    """
    if "DATA" not in table.columns:
        return 0.0
    number = [*table.columns].index("DATA") + 1
    scale = table.cards.number(f"TSCAL{number}", 1.0)
    if scale != 1.0:
        raise FitsError(f"SUBINT: TSCAL{number} = {scale:g}: samples are scaled by DAT_SCL only")
    return table.cards.number(f"TZERO{number}", 0.0)


def _intensity(kind: str, n_polarisations: int) -> tuple[tuple[int, ...], str]:
    """Return which polarisation products make total intensity, and how, in words."""
    if n_polarisations == 1:
        return (0,), kind or "unknown"
    if kind.startswith(("AABB", "XXYY", "LLRR")):
        return (0, 1), f"total intensity: {kind[:2]} + {kind[2:4]} of {kind}"
    if kind.startswith(("IQUV", "STOKE")):
        return (0,), f"total intensity: I of {kind}"
    raise FitsError(
        f"SUBINT: POL_TYPE = {kind!r} with NPOL = {n_polarisations}: expected AABB..., XXYY..., LLRR..."
        " or IQUV"
    )


# Channel centres, often stored as 32-bit numbers, may lie this far from equal spacing.
MAX_SPACING_ERROR_CHANNELS = 0.1
N_ROWS_LOOKED_AT = 8  # for weights
MAX_LOST = 10  # rows for each that is there
MAX_ROW_ERROR = 0.25  # of a row, between its time and one at which a row may begin
NAMES = tuple(f"SUBINT: {name}" for name in ("NCHAN", "NBITS", "TBIN", "DAT_FREQ", "DAT_FREQ"))


class PsrfitsError(ObservationFileError):
    """A file that is no sound PSRFITS search-mode file; the message names the file and the field."""


class PsrfitsReader(ObservationReader):
    """A search-mode file opened for streaming: total intensity as 32-bit floating-point numbers.

    `attributes["polarisation"]` says what that was made of. Rows are read in pieces: memory grows with
    what is asked for, not with the file or its rows. Rows are counted by their times; one that is
    missing in the file reads as not-a-number.
    """

    error = PsrfitsError
    suffix = ".sf"

    def _open(self, drop_partial: bool) -> None:
        self._scaling_of: tuple[int, NDArray[Any], NDArray[Any]] | None = None
        try:
            primary, self._table = find_table(self._file, "SUBINT")
            _check_mode(primary, self._table.cards)
            self._read_layout()
            self._n_rows = self._count_rows(drop_partial)
            self._stored = self._stored_rows()
            self.n_spectra = self._count()
            self.header = self._understood(self._read_header(primary))
        except FitsError as error:
            raise PsrfitsError(f"{self.path}: {error}") from None
        check_header(self.header, self.path, PsrfitsError, names=NAMES, depths=tuple(DEPTHS))
        self._weights_are_set = self._has_weights()

    def _read_layout(self) -> None:
        """Find how the samples of the table lie.

        Raises:
            FitsError: The header is damaged, or does not agree with the column DATA.
        """
        cards, column = self._table.cards, self._table.columns.get("DATA")
        self._n_bits = cards.integer("NBITS", low=1, high=32)
        if self._n_bits not in DEPTHS:
            raise FitsError(f"SUBINT: NBITS = {self._n_bits}: expected one of {[*DEPTHS]}")
        letters, self._sample_type = DEPTHS[self._n_bits]
        if self._n_bits == 8 and cards.number("SIGNINT", 0) == 1:
            self._sample_type = "i1"
        self._n_polarisations = cards.integer("NPOL", 1, low=1, high=4)
        # Which polarisation products make total intensity, and how, in words.
        self._taken, words = _intensity(cards.text("POL_TYPE", ""), self._n_polarisations)
        self.attributes |= {"polarisation": words}
        self._n_channels = cards.integer("NCHAN", low=1, high=MAX_CHANNELS)
        self._row_spectra = cards.integer("NSBLK", low=1, high=1 << 40)
        self._sampling_s = cards.number("TBIN")
        if not self._sampling_s > 0:
            raise FitsError(f"SUBINT: TBIN = {self._sampling_s} s: must be positive")
        self._row_s = self._row_spectra * self._sampling_s
        self._zero = abs(cards.number("ZERO_OFF", 0.0))  # written with either sign
        self._shift = _shift(self._table)
        self._spectrum_bytes = self._n_channels * self._n_polarisations * self._n_bits // 8
        if column is None or column.letter not in letters:
            found = "there is no such column" if column is None else f"of the type {column.letter}"
            raise FitsError(f"SUBINT: DATA: {found}, expected one of the type {' or '.join(letters)}")
        expected = self._row_spectra * self._spectrum_bytes
        if column.n_bytes != expected:
            raise FitsError(
                f"SUBINT: NSBLK = {self._row_spectra}: spectra of {self._spectrum_bytes} bytes are"
                f" {expected} bytes, DATA has {column.n_bytes}"
            )

    def _read(self, start: int, count: int) -> NDArray[np.float32]:
        out = np.empty((count, self.header.n_channels), dtype=np.float32)
        done = 0
        while done < count:
            row, first = divmod(start + done, self._row_spectra)
            n = min(self._row_spectra - first, count - done)
            if self._stored[row] >= 0:
                scale, offset = self._scaling(row)
                total = offset[None]
                for p, samples in enumerate(self._samples(row, first, n)):
                    total = total + samples * scale[p]
                out[done : done + n] = total
            else:
                out[done : done + n] = np.nan
            done += n
        return out

    def _samples(self, row: int, first: int, count: int) -> list[NDArray[Any]]:
        """Return the samples of one row as they are stored, of each polarisation that is taken."""
        start = self._position("DATA", int(self._stored[row])) + first * self._spectrum_bytes
        raw = np.frombuffer(self._bytes(start, count * self._spectrum_bytes), self._sample_type)
        values = unpack(raw, self._n_bits, high_first=True)
        if self._shift:
            values = values.astype(np.float32) + np.float32(self._shift)
        values = values.reshape(count, self._n_polarisations, self._n_channels)
        return [values[:, p] for p in self._taken]

    def _has_weights(self) -> bool:
        """Return whether any weight is not zero, as far as a few rows tell."""
        if "DAT_WTS" not in self._table.columns or self._n_rows == 0:
            return True
        rows = np.unique(np.linspace(0, self._n_rows - 1, N_ROWS_LOOKED_AT).astype(int))
        if any(self._numbers("DAT_WTS", int(row)).any() for row in rows):
            return True
        self._assume("all weights (DAT_WTS) are 0: every channel is taken as it is")
        return False

    def _scaling(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what one row's samples are multiplied by, and what is added, weights included.

        Returns:
            Scales of the polarisations that are taken, shape (polarisation, channel), and their offsets
            with ZERO_OFF, summed, shape (channel,).

        Raises:
            PsrfitsError: One of them is not finite.
        """
        row = int(self._stored[row])
        if self._scaling_of is None or self._scaling_of[0] != row:
            shape = self._n_polarisations, self._n_channels
            weight = np.ones(shape[1], np.float32)
            if self._weights_are_set:
                weight = self._channel_values("DAT_WTS", row, 1, (1, shape[1]))[0]
            scale = self._channel_values("DAT_SCL", row, 1, shape)
            offset = self._channel_values("DAT_OFFS", row, 0, shape)
            offset = (offset - self._zero * scale).astype(np.float32)
            taken = [*self._taken]
            self._scaling_of = row, scale[taken] * weight, offset[taken].sum(axis=0) * weight
        return self._scaling_of[1:]

    def _channel_values(
        self, name: str, row: int, default: float, shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return a column's numbers, the default where there is none.

        One value for each channel stands for all polarisations.
        """
        if name not in self._table.columns:
            return np.full(shape, default, dtype=np.float32)
        values = self._numbers(name, row).astype(np.float32)
        if values.size not in (shape[1], shape[0] * shape[1]):
            raise PsrfitsError(
                f"{self.path}: SUBINT: {name}: {values.size} values for {shape} channels"
            )
        if not np.isfinite(values).all():
            raise PsrfitsError(f"{self.path}: SUBINT: {name} in row {row}: not all values are finite")
        return np.broadcast_to(values.reshape(-1, shape[1]), shape)

    def _numbers(self, name: str, row: int) -> NDArray[np.float64]:
        column = self._table.columns[name]
        kind = {"D": ">f8", "E": ">f4"}.get(column.letter)
        if kind is None or column.count > 4 * MAX_CHANNELS:
            form = f"{column.count}{column.letter}"
            raise PsrfitsError(f"{self.path}: SUBINT: {name}: of the form {form}, expected numbers")
        values = np.frombuffer(self._bytes(self._position(name, row), column.n_bytes), kind)
        return values.astype(np.float64)

    def _position(self, name: str, row: int) -> int:
        return self._table.start + row * self._table.row_bytes + self._table.columns[name].offset

    def _count_rows(self, drop_partial: bool) -> int:
        table = self._table
        held = (os.fstat(self._file.fileno()).st_size - table.start) // table.row_bytes
        if held < table.n_rows and not drop_partial:
            self._assume(f"NAXIS2 = {table.n_rows}, but the file is cut: its {held} rows are read")
        return min(held, table.n_rows)

    def _count(self) -> int:
        """Return the number of spectra; the last row may be filled up, and NSTOT says where it ends."""
        row_spectra = self._row_spectra
        filled_up = self._n_rows * row_spectra - int(self._table.cards.number("NSTOT", 0))
        n_spectra = len(self._stored) * row_spectra
        return n_spectra - filled_up if 0 < filled_up < row_spectra else n_spectra

    def _read_header(self, primary: Cards) -> FilterbankHeader:
        first_mhz, width_mhz = self._frequencies()
        return FilterbankHeader(
            n_channels=self._n_channels,
            n_bits=self._n_bits,
            first_frequency_mhz=first_mhz,
            channel_width_mhz=width_mhz,
            sampling_time_s=self._sampling_s,
            start_mjd=_start_mjd(primary) + self._first_s() / 86400,
            source_name=primary.text("SRC_NAME", ""),
        )

    def _frequencies(self) -> tuple[float, float]:
        """Return the first channel's centre and the step to the next."""
        cards, n_channels = self._table.cards, self._n_channels
        if "DAT_FREQ" not in self._table.columns:
            raise FitsError("SUBINT: DAT_FREQ: there is no such column")
        if self._n_rows == 0:
            raise FitsError("SUBINT: NAXIS2 = 0: there are no rows, and so no channel frequencies")
        frequency_mhz = self._numbers("DAT_FREQ", 0)
        if len(frequency_mhz) != n_channels:
            raise FitsError(f"SUBINT: DAT_FREQ: {len(frequency_mhz)} values for {n_channels} channels")
        width_mhz = cards.number("CHAN_BW", 0.0)
        if n_channels == 1:
            return float(frequency_mhz[0]), width_mhz
        step_mhz = float(frequency_mhz[-1] - frequency_mhz[0]) / (n_channels - 1)
        # CHAN_BW has all its digits; where the column disagrees, it is right.
        allowed_mhz = MAX_SPACING_ERROR_CHANNELS * abs(step_mhz)
        if not abs(abs(width_mhz) - abs(step_mhz)) * n_channels <= allowed_mhz:
            width_mhz = step_mhz
        width_mhz = float(np.copysign(width_mhz, step_mhz))
        equal_mhz = frequency_mhz[0] + width_mhz * np.arange(n_channels)
        if not (np.abs(frequency_mhz - equal_mhz) <= allowed_mhz).all():
            raise FitsError("SUBINT: DAT_FREQ: the channels are not equally spaced")
        return float(frequency_mhz[0]), width_mhz

    def _first_s(self) -> float:
        """Return the time of the first spectrum from the start that the primary header states."""
        row_s = self._row_s
        if not self._has_times():
            return self._table.cards.number("NSUBOFFS", 0) * row_s
        begin_s = self._middle_s(0) - row_s / 2
        # Not a rounding error far below a sample.
        return begin_s if abs(begin_s) > 1e-3 * self._sampling_s else 0.0

    def _stored_rows(self) -> NDArray[np.int64]:
        """Return which row of the table is the n-th in time, -1 where that is lost.

        Raises:
            FitsError: The rows' times are not those of whole rows that follow each other.
        """
        stored = np.arange(self._n_rows)
        if not self._has_times():
            return stored
        row_s, last = self._row_s, self._n_rows - 1
        first_s, last_s = self._middle_s(0), self._middle_s(last)
        n_lost = (last_s - first_s) / row_s - last
        if abs(n_lost) < 0.5:
            return stored
        n_rows = last + 1
        span = f"{first_s:g} s in the first, {last_s:g} s in the last of {n_rows} rows of {row_s:g} s"
        if not -1 < n_lost <= MAX_LOST * n_rows:
            raise FitsError(f"SUBINT: OFFS_SUB: {span}: {n_lost:.1f} rows would be missing")
        middle_s = np.array([self._middle_s(row) for row in range(n_rows)])
        in_time = (middle_s - first_s) / row_s
        place = np.round(in_time).astype(np.int64)
        if not (np.abs(in_time - place) < MAX_ROW_ERROR).all() or not (np.diff(place) > 0).all():
            raise FitsError(f"SUBINT: OFFS_SUB: {span}: not all begin where a row may")
        self._assume(
            f"{place[-1] - last} rows of {row_s:g} s are missing (OFFS_SUB): they hold no data"
        )
        out = np.full(place[-1] + 1, -1)
        out[place] = stored
        return out

    def _has_times(self) -> bool:
        """Return whether the rows' times were written."""
        if "OFFS_SUB" not in self._table.columns or self._n_rows == 0:
            return False
        return not self._middle_s(0) == self._middle_s(self._n_rows - 1) == 0

    def _middle_s(self, row: int) -> float:
        return float(self._numbers("OFFS_SUB", row)[0])


def _start_mjd(primary: Cards) -> float:
    day = primary.integer("STT_IMJD", 0, low=0, high=1_000_000)
    second = primary.number("STT_SMJD", 0.0) + primary.number("STT_OFFS", 0.0)
    return day + second / 86400
