"""SIGPROC filterbank files (`.fil`): a streaming reader and writer.

A file is a binary header of keyword-value pairs followed by spectra, one after the other, each with
`nchans` samples of 1, 2, 4, 8 or 16 bits (unsigned) or 32 bits (floating point), little endian.
Source: D. R. Lorimer, SIGPROC documentation, version 4.3.
"""

import contextlib
import io
import os
import re
import struct
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import (
    SAMPLE_TYPES,
    FilterbankHeader,
    Keywords,
    ObservationFileError,
    ObservationReader,
    ObservationWriter,
    check_header,
    pack,
    unpack,
)

MAX_HEADER_BYTES = 1 << 20
_NAMES = "nchans", "nbits", "tsamp", "foff", "fch1, foff"


class FilterbankError(ObservationFileError):
    """A file that is no sound SIGPROC filterbank; the message names the file and the field."""


class FilterbankReader(ObservationReader):
    """A `.fil` file opened for streaming: the samples as they are stored."""

    error = FilterbankError

    def _open(self, drop_partial: bool) -> None:
        keywords, unknown = _read_keywords(self._file, self.path)
        if unknown:
            self._assume(f"the header's words {', '.join(unknown)} are not known and passed over")
        self._data_start = self._file.tell()
        self.header = self._understood(_header(keywords, self.path))
        _check(self.header, self.path)
        self._signed = bool(keywords.get("signed", 0))
        self.n_spectra = self._count_spectra(self._data_start, self.header.spectrum_bytes, drop_partial)
        stated = keywords.get("nsamples", 0)
        if stated not in (0, self.n_spectra) and not drop_partial:
            self._assume(
                f"nsamples = {stated}, but the data hold {self.n_spectra} spectra: all are read"
            )

    def _read(self, start: int, count: int) -> NDArray[Any]:
        n_bytes, n_bits = self.header.spectrum_bytes, self.header.n_bits
        raw = self._bytes(self._data_start + start * n_bytes, count * n_bytes)
        samples = np.frombuffer(raw, dtype=SAMPLE_TYPES[n_bits])
        if self._signed:
            samples = samples ^ np.uint8(0x80)  # the same numbers, 128 higher
        return unpack(samples, n_bits, high_first=False).reshape(count, self.header.n_channels)


class FilterbankWriter(ObservationWriter):
    """A `.fil` file being written spectrum by spectrum; it takes its name when complete."""

    def __init__(self, path: str | os.PathLike[str], header: FilterbankHeader) -> None:
        """Begin a file.

        Raises:
            FilterbankError: The header describes no file that can be written.
        """
        _check(header, Path(path))
        raw = _header_bytes(header, Path(path))
        super().__init__(path, header)
        self._file.write(raw)

    def _write(self, spectra: NDArray[Any]) -> None:
        self._file.write(pack(spectra, self.header.n_bits, self.path, high_first=False))


_TEXT, _INTEGER, _DOUBLE, _FLAG = "text", "<i", "<d", "<b"
_FORMS = {
    **dict.fromkeys(("source_name", "rawdatafile"), _TEXT),
    **dict.fromkeys(("telescope_id", "machine_id", "data_type", "barycentric"), _INTEGER),
    **dict.fromkeys(("pulsarcentric", "nchans", "nbits", "nifs", "nsamples"), _INTEGER),
    **dict.fromkeys(("nbeams", "ibeam", "npuls", "nbins"), _INTEGER),
    **dict.fromkeys(("tsamp", "tstart", "fch1", "foff", "az_start", "za_start"), _DOUBLE),
    **dict.fromkeys(("src_raj", "src_dej", "refdm", "period"), _DOUBLE),
    "signed": _FLAG,
}
_NEEDED = ("nchans", "nbits", "tsamp", "fch1", "foff")
_MAX_TEXT_BYTES = 256


def _read_keywords(file: BinaryIO, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the known keywords, and the names of those that are not."""
    if _read_text(file, path, "HEADER_START") != "HEADER_START":
        raise FilterbankError(f"{path}: HEADER_START: not a SIGPROC filterbank file")
    keywords: dict[str, Any] = {}
    unknown: list[str] = []
    while (name := _read_text(file, path, "keyword")) != "HEADER_END":
        if name == "FREQUENCY_START":
            raise FilterbankError(f"{path}: {name}: tables of channel frequencies are not supported")
        if file.tell() > MAX_HEADER_BYTES:
            raise FilterbankError(f"{path}: HEADER_END: none in the first {MAX_HEADER_BYTES} bytes")
        if name not in _FORMS:
            _pass_over(file, path, name)
            unknown.append(name)
            continue
        form = _FORMS[name]
        read = _read_text if form == _TEXT else partial(_read_number, form=form)
        keywords[name] = read(file, path, name)
    return keywords, unknown


def _pass_over(file: BinaryIO, path: Path, name: str) -> None:
    """Go to the end of an unknown keyword's value: what stands behind it must be a keyword again.

    A value is a whole number, a double, a text with its length before it, a flag, or nothing.
    """
    start = file.tell()
    raw = file.read(4)
    length = int.from_bytes(raw, "little")
    for n_bytes in (4, 8, 4 + length, 1, 0) if _NAME.fullmatch(name) else ():
        file.seek(start + n_bytes)
        with contextlib.suppress(FilterbankError):
            following = _read_text(file, path, name)
            if following in _FORMS or following == "HEADER_END" or _NAME.fullmatch(following):
                file.seek(start + n_bytes)
                return
    raise FilterbankError(
        f"{path}: {name!r}: unknown keyword at byte {start}, which cannot be passed over"
    )


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,39}")


def _read_number(file: BinaryIO, path: Path, name: str, form: str) -> Any:
    raw = file.read(struct.calcsize(form))
    if len(raw) != struct.calcsize(form):
        raise FilterbankError(f"{path}: {name}: the file ends inside the header")
    return struct.unpack(form, raw)[0]


def _read_text(file: BinaryIO, path: Path, name: str) -> str:
    position = file.tell()
    length = _read_number(file, path, name, "<i")
    if not 0 <= length <= _MAX_TEXT_BYTES:
        found = f"a text of {length} bytes at byte {position}"
        kind = "not a SIGPROC filterbank file: " if position == 0 else ""
        raise FilterbankError(f"{path}: {name}: {kind}{found}, expected 0 to {_MAX_TEXT_BYTES}")
    raw = file.read(length)
    if len(raw) != length:
        raise FilterbankError(f"{path}: {name}: the file ends inside the header")
    return raw.decode("latin-1")


def _header(keywords: dict[str, Any], path: Path) -> FilterbankHeader:
    n_channels, n_bits, sampling_s, first_mhz, width_mhz = map(
        Keywords(path, keywords, FilterbankError).value, _NEEDED
    )
    if keywords.get("nifs", 1) != 1:
        found = keywords["nifs"]
        raise FilterbankError(f"{path}: nifs = {found}: only files with one IF can be read")
    if keywords.get("signed", 0) and n_bits != 8:
        raise FilterbankError(f"{path}: signed = 1: signed samples are only read where nbits = 8")
    own = {*_NEEDED, "tstart", "source_name", "nifs", "nsamples", "signed"}
    return FilterbankHeader(
        n_channels=n_channels,
        n_bits=n_bits,
        first_frequency_mhz=first_mhz,
        channel_width_mhz=width_mhz,
        sampling_time_s=sampling_s,
        start_mjd=keywords.get("tstart", 0.0),
        source_name=keywords.get("source_name", ""),
        others=tuple((name, value) for name, value in keywords.items() if name not in own),
    )


def _check(header: FilterbankHeader, path: Path) -> None:
    check_header(header, path, FilterbankError, names=_NAMES, depths=tuple(SAMPLE_TYPES))


def _header_bytes(header: FilterbankHeader, path: Path) -> bytes:
    keywords = dict(header.others) | {
        "source_name": header.source_name,
        "nchans": header.n_channels,
        "nbits": header.n_bits,
        "nifs": 1,
        "tsamp": header.sampling_time_s,
        "tstart": header.start_mjd,
        "fch1": header.first_frequency_mhz,
        "foff": header.channel_width_mhz,
    }
    out = io.BytesIO()
    out.write(_text_bytes("HEADER_START"))
    for name, value in keywords.items():
        out.write(_text_bytes(name))
        if name not in _FORMS:
            raise FilterbankError(f"{path}: {name!r}: unknown keyword")
        text = _FORMS[name] == _TEXT
        if text and len(str(value)) > _MAX_TEXT_BYTES:
            raise FilterbankError(f"{path}: {name}: longer than {_MAX_TEXT_BYTES} characters")
        out.write(_text_bytes(str(value)) if text else struct.pack(_FORMS[name], value))
    out.write(_text_bytes("HEADER_END"))
    return out.getvalue()


def _text_bytes(text: str) -> bytes:
    raw = text.encode("latin-1", errors="replace")
    return struct.pack("<i", len(raw)) + raw
