"""Filterbank files of the SIGPROC form (`.fil`): a streaming reader and writer.

A file is a binary header of keyword-value pairs followed by spectra, one after the other, each with
`nchans` samples of 1, 2, 4, 8 or 16 bits (unsigned) or 32 bits (floating point), little endian.
Source: D. R. Lorimer, SIGPROC documentation, version 4.3.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

SAMPLE_TYPES = {1: "u1", 2: "u1", 4: "u1", 8: "u1", 16: "<u2", 32: "<f4"}
MAX_CHANNELS = 1 << 20
MAX_HEADER_BYTES = 1 << 20


class FilterbankError(ValueError):
    """A file that is no sound filterbank; the message names the file and the field."""


@dataclass(frozen=True)
class FilterbankHeader:
    """What a filterbank file says about itself.

    Attributes:
        n_channels: Channels in a spectrum.
        n_bits: Bits in a sample.
        first_frequency_mhz: Centre of the first channel in the file.
        channel_width_mhz: Step to the next channel; negative where the highest comes first.
        sampling_time_s: Time from one spectrum to the next.
        start_mjd: Time of the first spectrum.
        source_name: Name of the source.
        others: Further keywords of the header, by their SIGPROC names.
    """

    n_channels: int
    n_bits: int
    first_frequency_mhz: float
    channel_width_mhz: float
    sampling_time_s: float
    start_mjd: float = 0.0
    source_name: str = ""
    others: tuple[tuple[str, int | float | str], ...] = ()

    @property
    def frequency_mhz(self) -> NDArray[np.float64]:
        """Channel centres in the file's order, shape (channel,)."""
        channel = np.arange(self.n_channels, dtype=np.float64)
        return self.first_frequency_mhz + self.channel_width_mhz * channel

    @property
    def spectrum_bytes(self) -> int:
        """Bytes of one spectrum."""
        return self.n_channels * self.n_bits // 8


class FilterbankReader:
    """A filterbank file opened for streaming, best in a `with` block: only what is asked for is read.

    Attributes:
        path: The file.
        header: What it says about itself.
        n_spectra: Complete spectra in it.
    """

    def __init__(self, path: str | os.PathLike[str], *, drop_partial: bool = False) -> None:
        """Open and check a file.

        Args:
            path: The file.
            drop_partial: Accept a file that was cut inside its last spectrum (an observation still
                being written, say) and leave that spectrum out.

        Raises:
            FileNotFoundError: There is no such file.
            FilterbankError: The header is damaged or does not agree with the file's size.
        """
        self.path = Path(path)
        self._file: BinaryIO = self.path.open("rb")
        try:
            size = os.fstat(self._file.fileno()).st_size
            keywords = _read_keywords(self._file, self.path)
            self._data_start = self._file.tell()
            self.header = _header(keywords, self.path)
            n_bytes = size - self._data_start
            self.n_spectra = _count_spectra(self.header, keywords, n_bytes, self.path, drop_partial)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra `start` to `start + count`, shape (time, channel), in the file's order.

        Raises:
            ValueError: The range is not inside the file.
            FilterbankError: The file has become shorter since it was opened.
        """
        if not 0 <= start <= start + count <= self.n_spectra:
            wanted = f"spectra {start} to {start + count}"
            raise ValueError(f"{self.path}: {wanted} are not within 0 to {self.n_spectra}")
        n_bytes = count * self.header.spectrum_bytes
        self._file.seek(self._data_start + start * self.header.spectrum_bytes)
        raw = self._file.read(n_bytes)
        if len(raw) != n_bytes:
            raise FilterbankError(f"{self.path}: data: {n_bytes} bytes expected, {len(raw)} found")
        samples = np.frombuffer(raw, dtype=SAMPLE_TYPES[self.header.n_bits])
        return _unpack(samples, self.header.n_bits).reshape(count, self.header.n_channels)

    def blocks(self, count: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (start, spectra) over the whole file, `count` spectra at a time."""
        for start in range(0, self.n_spectra, count):
            yield start, self.read(start, min(count, self.n_spectra - start))

    def dataset(self, start: int = 0, count: int | None = None) -> xr.Dataset:
        """Return part of the file as a dataset with dimensions (time, frequency)."""
        count = self.n_spectra - start if count is None else count
        header = self.header
        time_s = (start + np.arange(count)) * header.sampling_time_s
        return xr.Dataset(
            {"data": (("time", "frequency"), self.read(start, count), {"units": "counts"})},
            coords={
                "time": ("time", time_s, {"units": "s"}),
                "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
            },
            attrs={
                "n_bits": header.n_bits,
                "sampling_time_s": header.sampling_time_s,
                "start_mjd": header.start_mjd,
                "source_name": header.source_name,
            },
        )


class FilterbankWriter:
    """A filterbank file being written spectrum by spectrum; it takes its name when complete.

    Until `close`, or the end of a `with` block without an error, the data stand under the name
    with `.part` behind it.
    """

    def __init__(self, path: str | os.PathLike[str], header: FilterbankHeader) -> None:
        """Begin a file.

        Raises:
            FilterbankError: The header describes no file that can be written.
        """
        self.path = Path(path)
        self.header = header
        _check(self.header, self.path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._file = self._part.open("wb")
        self._file.write(_header_bytes(self.header, self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def write(self, spectra: NDArray[Any]) -> None:
        """Append spectra, shape (time, channel).

        Raises:
            ValueError: The shape is wrong, or a value cannot be stored exactly in `n_bits`.
        """
        if spectra.ndim != 2 or spectra.shape[1] != self.header.n_channels:
            expected = f"(time, {self.header.n_channels})"
            raise ValueError(f"{self.path}: spectra must have shape {expected}, not {spectra.shape}")
        self._file.write(_pack(spectra, self.header.n_bits, self.path))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)


def write_dataset(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset with `data` (time, frequency) as a filterbank file.

    Raises:
        FilterbankError: Its channels are not equally spaced.
    """
    frequency_mhz = dataset["frequency"].values
    widths_mhz = np.diff(frequency_mhz)
    if len(widths_mhz) == 0 or np.ptp(widths_mhz) > 1e-6 * abs(widths_mhz[0]):
        raise FilterbankError(f"{path}: foff: two or more equally spaced channels are needed")
    header = FilterbankHeader(
        n_channels=len(frequency_mhz),
        n_bits=int(dataset.attrs["n_bits"]),
        first_frequency_mhz=float(frequency_mhz[0]),
        channel_width_mhz=float((frequency_mhz[-1] - frequency_mhz[0]) / len(widths_mhz)),
        sampling_time_s=float(dataset.attrs["sampling_time_s"]),
        start_mjd=float(dataset.attrs.get("start_mjd", 0.0)),
        source_name=str(dataset.attrs.get("source_name", "")),
    )
    with FilterbankWriter(path, header) as file:
        file.write(dataset["data"].values)


_TEXT, _INTEGER, _DOUBLE, _FLAG = "text", "<i", "<d", "<b"
_FORMS = {
    "source_name": _TEXT,
    "rawdatafile": _TEXT,
    "telescope_id": _INTEGER,
    "machine_id": _INTEGER,
    "data_type": _INTEGER,
    "barycentric": _INTEGER,
    "pulsarcentric": _INTEGER,
    "nchans": _INTEGER,
    "nbits": _INTEGER,
    "nifs": _INTEGER,
    "nsamples": _INTEGER,
    "nbeams": _INTEGER,
    "ibeam": _INTEGER,
    "npuls": _INTEGER,
    "nbins": _INTEGER,
    "tsamp": _DOUBLE,
    "tstart": _DOUBLE,
    "fch1": _DOUBLE,
    "foff": _DOUBLE,
    "az_start": _DOUBLE,
    "za_start": _DOUBLE,
    "src_raj": _DOUBLE,
    "src_dej": _DOUBLE,
    "refdm": _DOUBLE,
    "period": _DOUBLE,
    "signed": _FLAG,
}
_NEEDED = ("nchans", "nbits", "tsamp", "fch1", "foff")
_MAX_TEXT_BYTES = 256


def _read_keywords(file: BinaryIO, path: Path) -> dict[str, Any]:
    if _read_text(file, path, "HEADER_START") != "HEADER_START":
        raise FilterbankError(f"{path}: HEADER_START: not a SIGPROC filterbank file")
    keywords: dict[str, Any] = {}
    while (name := _read_text(file, path, "keyword")) != "HEADER_END":
        if name == "FREQUENCY_START":
            raise FilterbankError(f"{path}: {name}: tables of channel frequencies are not supported")
        if name not in _FORMS:
            raise FilterbankError(f"{path}: {name!r}: unknown keyword at byte {file.tell()}")
        form = _FORMS[name]
        read = _read_text if form == _TEXT else partial(_read_number, form=form)
        keywords[name] = read(file, path, name)
        if file.tell() > MAX_HEADER_BYTES:
            raise FilterbankError(f"{path}: HEADER_END: none in the first {MAX_HEADER_BYTES} bytes")
    return keywords


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
    for name in _NEEDED:
        if name not in keywords:
            raise FilterbankError(f"{path}: {name}: missing from the header")
    if keywords.get("nifs", 1) != 1:
        found = keywords["nifs"]
        raise FilterbankError(f"{path}: nifs = {found}: only files with one IF can be read")
    if keywords.get("signed", 0):
        raise FilterbankError(f"{path}: signed = 1: only unsigned samples can be read")
    own = {*_NEEDED, "tstart", "source_name", "nifs", "nsamples"}
    header = FilterbankHeader(
        n_channels=keywords["nchans"],
        n_bits=keywords["nbits"],
        first_frequency_mhz=keywords["fch1"],
        channel_width_mhz=keywords["foff"],
        sampling_time_s=keywords["tsamp"],
        start_mjd=keywords.get("tstart", 0.0),
        source_name=keywords.get("source_name", ""),
        others=tuple((name, value) for name, value in keywords.items() if name not in own),
    )
    _check(header, path)
    return header


def _check(header: FilterbankHeader, path: Path) -> None:
    """Raise FilterbankError where the header describes no possible file."""
    if not 1 <= header.n_channels <= MAX_CHANNELS:
        raise FilterbankError(f"{path}: nchans = {header.n_channels}: expected 1 to {MAX_CHANNELS}")
    if header.n_bits not in SAMPLE_TYPES:
        raise FilterbankError(f"{path}: nbits = {header.n_bits}: expected one of {[*SAMPLE_TYPES]}")
    if header.n_channels * header.n_bits % 8:
        raise FilterbankError(
            f"{path}: nchans = {header.n_channels}: with nbits = {header.n_bits} a spectrum does not"
            " fill whole bytes"
        )
    if not 0 < header.sampling_time_s < np.inf:
        raise FilterbankError(f"{path}: tsamp = {header.sampling_time_s} s: must be positive")
    if header.channel_width_mhz == 0 or not np.isfinite(header.channel_width_mhz):
        raise FilterbankError(f"{path}: foff = {header.channel_width_mhz} MHz: must not be zero")
    ends_mhz = header.frequency_mhz[[0, -1]]
    if not (np.isfinite(ends_mhz).all() and (ends_mhz > 0).all()):
        band = f"{ends_mhz[0]:g} to {ends_mhz[1]:g} MHz"
        raise FilterbankError(f"{path}: fch1, foff: channels from {band}, must be positive")


def _count_spectra(
    header: FilterbankHeader, keywords: dict[str, Any], n_bytes: int, path: Path, drop_partial: bool
) -> int:
    n_spectra, rest = divmod(n_bytes, header.spectrum_bytes)
    if rest and not drop_partial:
        raise FilterbankError(
            f"{path}: data: truncated: {n_bytes} bytes are {n_spectra} spectra of"
            f" {header.spectrum_bytes} bytes and {rest} bytes more"
        )
    stated = keywords.get("nsamples", 0)
    if stated < 0 or (stated > n_spectra and not drop_partial):
        raise FilterbankError(f"{path}: nsamples = {stated}: the data hold {n_spectra} spectra")
    return min(stated, n_spectra) if stated else n_spectra


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


def _unpack(samples: NDArray[Any], n_bits: int) -> NDArray[Any]:
    """Spread samples of 1, 2 or 4 bits over bytes, the lowest bits first."""
    if n_bits >= 8:
        return samples
    shifts = np.arange(0, 8, n_bits, dtype=np.uint8)
    return ((samples[:, None] >> shifts) & np.uint8(2**n_bits - 1)).reshape(-1)


def _pack(spectra: NDArray[Any], n_bits: int, path: Path) -> bytes:
    if n_bits == 32:
        return np.ascontiguousarray(spectra, dtype="<f4").tobytes()
    stored = spectra.astype(SAMPLE_TYPES[n_bits])
    if not (stored == spectra).all() or (spectra.size and stored.max() >= 2**n_bits):
        raise ValueError(f"{path}: data: not all values are whole numbers from 0 to {2**n_bits - 1}")
    if n_bits < 8:
        shifts = np.arange(0, 8, n_bits, dtype=np.uint8)
        packed = stored.reshape(-1, len(shifts)) << shifts
        return np.bitwise_or.reduce(packed, axis=1).tobytes()
    return stored.tobytes()
