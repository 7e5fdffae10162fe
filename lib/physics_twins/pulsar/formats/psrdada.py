"""PSRDADA files (`.dada`) with detected power: a streaming reader.

A header of text lines, keyword and value, fills HDR_SIZE bytes (mostly 4096); samples follow, spectrum
by spectrum, unsigned, little endian. Source: PSRDADA software specification, appendix B; keywords as
DSPSR documents them (FREQ and BW in MHz, TSAMP in microseconds).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import (
    MAX_CHANNELS,
    SAMPLE_TYPES,
    FilterbankHeader,
    Keywords,
    ObservationFileError,
    ObservationReader,
    check_header,
)

MAX_HEADER_BYTES = 1 << 20
# Below 8 bits there is no order of samples in a byte that all instruments agree on.
DEPTHS = (8, 16, 32)
_NAMES = "NCHAN", "NBIT", "TSAMP", "BW / NCHAN", "FREQ, BW"
_MJD_0 = datetime(1858, 11, 17, tzinfo=UTC)
# By STATE and NPOL: which polarisation products make total intensity, and how, in words.
_INTENSITY = {
    ("INTENSITY", 1): ((0,), "total intensity"),
    ("PPQQ", 2): ((0, 1), "total intensity: PP + QQ"),
    ("COHERENCE", 4): ((0, 1), "total intensity: PP + QQ of the coherence products"),
    ("STOKES", 4): ((0,), "total intensity: I of the Stokes parameters"),
    ("", 1): ((0,), "unknown"),
    ("", 2): ((0, 1), "total intensity: the sum of two polarisations"),
}


class DadaError(ObservationFileError):
    """A file that is no sound PSRDADA filterbank; the message names the file and the field."""


class DadaReader(ObservationReader):
    """A PSRDADA file opened for streaming: samples as stored, or their sum over two polarisations.

    `attributes["polarisation"]` says what was taken. Voltages (NDIM 2, or a STATE such as Nyquist or
    Analytic) are refused.
    """

    error = DadaError

    def _open(self, drop_partial: bool) -> None:
        keywords = _keywords(self.path, self._read_text())
        self._data_start = keywords.integer("HDR_SIZE", low=1, high=MAX_HEADER_BYTES)
        self._n_polarisations = keywords.integer("NPOL", 1, low=1, high=4)
        self._taken, words = _intensity(keywords, self._n_polarisations)
        self._channel_last = _channel_last(keywords, self._n_polarisations)
        self.header = self._understood(_header(keywords, self._n_polarisations))
        check_header(self.header, self.path, DadaError, names=_NAMES, depths=DEPTHS)
        self._spectrum_bytes = self.header.spectrum_bytes * self._n_polarisations
        self.n_spectra = self._count_spectra(self._data_start, self._spectrum_bytes, drop_partial)
        self.attributes |= {"polarisation": words}

    def _read_text(self) -> str:
        start = self._file.read(4096)
        size = _keywords(self.path, _text(start)).integer("HDR_SIZE", low=1, high=MAX_HEADER_BYTES)
        if size <= len(start):
            return _text(start[:size])
        return _text(start + self._file.read(size - len(start)))

    def _read(self, start: int, count: int) -> NDArray[Any]:
        position = self._data_start + start * self._spectrum_bytes
        raw = self._bytes(position, count * self._spectrum_bytes)
        samples = np.frombuffer(raw, SAMPLE_TYPES[self.header.n_bits])
        n_channels, n_polarisations = self.header.n_channels, self._n_polarisations
        if self._channel_last:
            samples = samples.reshape(count, n_polarisations, n_channels)
        else:
            samples = samples.reshape(count, n_channels, n_polarisations).swapaxes(1, 2)
        if len(self._taken) == 1:
            return samples[:, self._taken[0]]
        return samples[:, [*self._taken]].sum(axis=1, dtype=np.float32)


def _keywords(path: Path, text: str) -> Keywords:
    lines = (line.partition("#")[0].split(None, 1) for line in text.splitlines())
    return Keywords(path, {line[0]: line[1] for line in lines if len(line) == 2}, DadaError)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1")


def _intensity(keywords: Keywords, n_polarisations: int) -> tuple[tuple[int, ...], str]:
    n_dimensions = keywords.integer("NDIM", 1, low=1, high=2)
    state = keywords.text("STATE", "")
    found = _INTENSITY.get((state.upper(), n_polarisations))
    if n_dimensions != 1 or found is None:
        raise DadaError(
            f"{keywords.where}: NDIM = {n_dimensions}, STATE = {state!r}, NPOL = {n_polarisations}:"
            " only detected power can be read: NDIM 1, STATE Intensity, PPQQ, Coherence, Stokes or none"
        )
    return found


def _channel_last(keywords: Keywords, n_polarisations: int) -> bool:
    """Return whether channels follow each other, and not the polarisations of one channel."""
    order = keywords.text("ORDER", "TFP").upper()
    if order not in ("TF", "TFP", "TPF"):
        raise DadaError(f"{keywords.where}: ORDER = {order!r}: expected TF, TFP or TPF")
    return n_polarisations == 1 or order == "TPF"


def _header(keywords: Keywords, n_polarisations: int) -> FilterbankHeader:
    n_channels = keywords.integer("NCHAN", low=1, high=MAX_CHANNELS)
    n_bits = keywords.integer("NBIT", low=1, high=64)
    width_mhz = keywords.number("BW") / n_channels
    sampling_s = 1e-6 * keywords.number("TSAMP")
    # Bytes from the start of the observation to this file's first.
    offset_spectra = keywords.number("OBS_OFFSET", 0) / (n_channels * n_polarisations * n_bits / 8)
    return FilterbankHeader(
        n_channels=n_channels,
        n_bits=n_bits,
        # FREQ is the middle of the band, half a channel from a channel's centre where there is an
        # even number.
        first_frequency_mhz=keywords.number("FREQ") - width_mhz * (n_channels - 1) / 2,
        channel_width_mhz=width_mhz,
        sampling_time_s=sampling_s,
        start_mjd=_start_mjd(keywords) + offset_spectra * sampling_s / 86400,
        source_name=keywords.text("SOURCE", ""),
    )


def _start_mjd(keywords: Keywords) -> float:
    utc = keywords.text("UTC_START", "unknown")
    if utc.lower() in ("unknown", "unset"):
        return keywords.number("MJD_START", 0)
    whole, _, fraction = utc.partition(".")
    try:
        start = datetime.strptime(whole, "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC)
        second = float(f"0.{fraction}") if fraction else 0.0
    except ValueError:
        expected = "expected yyyy-mm-dd-hh:mm:ss"
        raise DadaError(f"{keywords.where}: UTC_START = {utc!r}: {expected}") from None
    second += 1e-12 * keywords.number("PICOSECONDS", 0)
    since = start - _MJD_0
    return since.days + (since.seconds + second) / 86400
