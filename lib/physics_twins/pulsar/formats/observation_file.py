"""What files of every format have in common: a header, spectra read by the block, one kind of error."""

import math
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import note_path, read_json

if TYPE_CHECKING:
    import xarray as xr

MAX_CHANNELS = 1 << 20


# A file beside another, FILE.header.json, which says better than its header: any of these.
FORCED = ".header.json"
_MAY_BE_FORCED = {
    "first_frequency_mhz": float,
    "channel_width_mhz": float,
    "sampling_time_s": float,
    "start_mjd": float,
    "source_name": str,
}
# A header outside of these has another unit than it should.
_BAND_MHZ = (10.0, 5e5)
_LONGEST_SAMPLING_S = 1.0


class ObservationFileError(ValueError):
    """A file that is no sound observation; the message names the file and the field."""


class ObservationWarning(UserWarning):
    """What was assumed of a file whose header cannot be right, or whose end is missing."""


@dataclass(frozen=True)
class FilterbankHeader:
    """What a file of filterbank data says about itself, in whichever format.

    Attributes:
        n_channels: Channels in a spectrum.
        n_bits: Bits in a sample as stored.
        first_frequency_mhz: Centre of the first channel in the file.
        channel_width_mhz: Step to the next channel; negative where the highest comes first.
        sampling_time_s: Time from one spectrum to the next.
        start_mjd: Time of the first spectrum.
        source_name: Name of the source.
        others: Further keywords of a SIGPROC header, by their names.
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
        """Bytes of one spectrum of one polarisation."""
        return self.n_channels * self.n_bits // 8


class ObservationReader(ABC):
    """A file opened for streaming, best in a `with` block: only what is asked for is read.

    Attributes:
        path: The file.
        header: What it says about itself.
        n_spectra: Complete spectra in it.
        attributes: What the format knows besides, as attributes of `dataset`: of several polarisations
            `polarisation` says how they became total intensity.
        assumptions: What was assumed where the header cannot be right; each is an `ObservationWarning`,
            too. A file FILE.header.json beside it, with values for any of `first_frequency_mhz`,
            `channel_width_mhz`, `sampling_time_s`, `start_mjd` and `source_name`, comes before both.
        suffix: Of files that are cut out of it.
    """

    error: ClassVar[type[ObservationFileError]] = ObservationFileError
    suffix: ClassVar = ".fil"
    header: FilterbankHeader
    n_spectra: int

    def __init__(self, path: str | os.PathLike[str], *, drop_partial: bool = False) -> None:
        """Open and check a file.

        Args:
            path: The file.
            drop_partial: A file that was cut in its data is still being written: what is not complete
                is left out without a word.

        Raises:
            FileNotFoundError: There is no such file.
            ObservationFileError: The header is damaged.
        """
        self.path = Path(path)
        self.attributes: dict[str, Any] = {}
        self.assumptions: list[str] = []
        self._file: BinaryIO = self._data_path().open("rb")
        try:
            self._open(drop_partial)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _open(self, drop_partial: bool) -> None:
        """Set `header` and `n_spectra` from `_file`."""

    @abstractmethod
    def _read(self, start: int, count: int) -> NDArray[Any]:
        """Return spectra that are known to lie in the file."""

    def _data_path(self) -> Path:
        return self.path

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
            ObservationFileError: The file has become shorter since it was opened.
        """
        if not 0 <= start <= start + count <= self.n_spectra:
            wanted = f"spectra {start} to {start + count}"
            raise ValueError(f"{self.path}: {wanted} are not within 0 to {self.n_spectra}")
        return self._read(start, count)

    def dataset(self, start: int = 0, count: int | None = None) -> "xr.Dataset":
        """Return part of the file as a dataset with dimensions (time, frequency).

        Its `n_bits` are those that its values need: 32 where the format's scales made them
        floating-point numbers.
        """
        count = self.n_spectra - start if count is None else count
        return as_dataset(self.header, self.read(start, count), start, self.attributes)

    def _assume(self, what: str) -> None:
        """Tell what is assumed of the file."""
        self.assumptions.append(what)
        self.attributes["assumed"] = "; ".join(self.assumptions)
        warnings.warn(f"{self.path}: {what}", ObservationWarning, stacklevel=2)

    def _understood(self, header: FilterbankHeader) -> FilterbankHeader:
        """Return a header with what the user forces, and with units that can be.

        Raises:
            ObservationFileError: What the user forces is of no known name or of the wrong kind.
        """
        forced = self._forced()
        header = replace(header, **forced)
        sampling_s = header.sampling_time_s
        if sampling_s >= _LONGEST_SAMPLING_S and "sampling_time_s" not in forced:
            self._assume(f"a sampling time of {sampling_s:g} s is taken for {sampling_s:g} us")
            header = replace(header, sampling_time_s=1e-6 * sampling_s)
        first_mhz, width_mhz = header.first_frequency_mhz, header.channel_width_mhz
        low, high = _BAND_MHZ
        if first_mhz > high and not forced.keys() & {"first_frequency_mhz", "channel_width_mhz"}:
            for unit, factor in (("kHz", 1e-3), ("Hz", 1e-6)):
                if low <= factor * first_mhz <= high:
                    self._assume(f"a frequency of {first_mhz:.10g} MHz is taken for {unit}")
                    scaled = {"first_frequency_mhz": factor * first_mhz}
                    return replace(header, **scaled, channel_width_mhz=factor * width_mhz)
        return header

    def _forced(self) -> dict[str, Any]:
        path = self.path.with_name(self.path.name + FORCED)
        note_path(path)  # also where there is none yet
        if not path.is_file():
            return {}
        try:
            values = read_json(path)
        except ValueError as error:
            raise self.error(str(error)) from None
        for name, value in values.items():
            kind = _MAY_BE_FORCED.get(name)
            if kind is None:
                raise self.error(f"{path}: {name}: may only be one of {', '.join(_MAY_BE_FORCED)}")
            if not isinstance(value, kind | int) or isinstance(value, bool):
                raise self.error(f"{path}: {name} = {value!r}: expected a {kind.__name__}")
        if values:
            told = ", ".join(f"{name} = {value!r}" for name, value in values.items())
            self._assume(f"{path.name} says {told}")
        return values

    def _bytes(self, position: int, n_bytes: int) -> bytes:
        """Return part of the file's data."""
        self._file.seek(position)
        raw = self._file.read(n_bytes)
        if len(raw) != n_bytes:
            raise self.error(f"{self.path}: data: {n_bytes} bytes expected, {len(raw)} found")
        return raw

    def _count_spectra(self, data_start: int, spectrum_bytes: int, drop_partial: bool) -> int:
        """Return how many spectra lie one after the other up to the file's end."""
        n_bytes = os.fstat(self._file.fileno()).st_size - data_start
        if n_bytes < 0:
            raise self.error(f"{self.path}: header: the file ends inside it")
        n_spectra, rest = divmod(n_bytes, spectrum_bytes)
        if rest and not drop_partial:
            self._assume(
                f"the data are cut: behind {n_spectra} spectra of {spectrum_bytes} bytes there are"
                f" {rest} bytes more, which are left out"
            )
        return n_spectra


class ObservationWriter(ABC):
    """A file being written spectrum by spectrum; it takes its name when complete.

    Until `close`, or the end of a `with` block without an error, the data stand under the name
    with `.part` behind it; after an error nothing stays.
    """

    def __init__(self, path: str | os.PathLike[str], header: FilterbankHeader) -> None:
        """Begin a file."""
        self.path = Path(path)
        self.header = header
        self._part = self.path.with_name(self.path.name + ".part")
        self._file: BinaryIO = self._part.open("w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def write(self, spectra: NDArray[Any]) -> None:
        """Append spectra, shape (time, channel), in the header's order.

        Raises:
            ValueError: The shape is wrong, or a value cannot be stored exactly in `n_bits`.
        """
        if spectra.ndim != 2 or spectra.shape[1] != self.header.n_channels:
            expected = f"(time, {self.header.n_channels})"
            raise ValueError(f"{self.path}: spectra must have shape {expected}, not {spectra.shape}")
        self._write(spectra)

    @abstractmethod
    def _write(self, spectra: NDArray[Any]) -> None:
        """Append spectra of the right shape."""

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)


def as_dataset(
    header: FilterbankHeader,
    data: NDArray[Any],
    start: float = 0,
    attributes: dict[str, Any] | None = None,
) -> "xr.Dataset":
    """Return spectra, the first being number `start`, as a dataset (time, frequency)."""
    import xarray as xr  # late: a writer needs none, and it takes 50 MB

    time_s = (start + np.arange(len(data))) * header.sampling_time_s
    return xr.Dataset(
        {"data": (("time", "frequency"), data, {"units": "counts"})},
        coords={
            "time": ("time", time_s, {"units": "s"}),
            "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
        },
        attrs={
            "n_bits": 32 if data.dtype.kind == "f" else header.n_bits,
            "sampling_time_s": header.sampling_time_s,
            "start_mjd": header.start_mjd,
            "source_name": header.source_name,
        }
        | (attributes or {}),
    )


def header_of(dataset: "xr.Dataset") -> FilterbankHeader:
    """Return the header of a dataset with `data` (time, frequency), as `as_dataset` makes one.

    Raises:
        ObservationFileError: Its channels are not equally spaced.
    """
    frequency_mhz = dataset["frequency"].values.astype(float)
    widths_mhz = np.diff(frequency_mhz)
    if len(widths_mhz) and np.ptp(widths_mhz) > 1e-6 * abs(widths_mhz[0]):
        raise ObservationFileError("frequency: equally spaced channels are needed")
    told = dataset.attrs
    return FilterbankHeader(
        n_channels=len(frequency_mhz),
        n_bits=int(told.get("n_bits", 32 if dataset["data"].dtype.kind == "f" else 8)),
        first_frequency_mhz=float(frequency_mhz[0]),
        channel_width_mhz=float(np.mean(widths_mhz)) if len(widths_mhz) else -1.0,
        sampling_time_s=float(told["sampling_time_s"]),
        start_mjd=float(told.get("start_mjd", 0.0)),
        source_name=str(told.get("source_name", "")),
    )


def check_header(
    header: FilterbankHeader,
    path: Path,
    error: type[ObservationFileError],
    *,
    names: tuple[str, ...],
    depths: tuple[int, ...],
) -> None:
    """Raise `error` where a header describes no possible file.

    Args:
        header: What to check.
        path: The file, for messages.
        error: What to raise.
        names: The format's own names of number of channels, bits, sampling time, width of a channel,
            and frequency.
        depths: Bits per sample that the format knows.
    """
    channels, bits, sampling, width, frequency = names
    n_channels, n_bits = header.n_channels, header.n_bits
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise error(f"{path}: {channels} = {n_channels}: expected 1 to {MAX_CHANNELS}")
    if n_bits not in depths:
        raise error(f"{path}: {bits} = {n_bits}: expected one of {[*depths]}")
    if n_channels * n_bits % 8:
        raise error(
            f"{path}: {channels} = {n_channels}: with {bits} = {n_bits} a spectrum does not fill whole"
            " bytes"
        )
    if not 0 < header.sampling_time_s < np.inf:
        raise error(f"{path}: {sampling} = {header.sampling_time_s} s: must be positive")
    width_mhz = header.channel_width_mhz
    if width_mhz == 0 or not np.isfinite(width_mhz):
        raise error(f"{path}: {width} = {width_mhz} MHz: must not be zero")
    ends_mhz = header.frequency_mhz[[0, -1]]
    if not (np.isfinite(ends_mhz).all() and (ends_mhz > 0).all()):
        band = f"{ends_mhz[0]:g} to {ends_mhz[1]:g} MHz"
        raise error(f"{path}: {frequency}: channels from {band}, must be positive")


# So many equal spectra in a row are no measurement: zeros or a last value that a recorder filled in.
N_EQUAL = 3
# Little endian; FITS stores the two wide ones big endian.
SAMPLE_TYPES = {1: "u1", 2: "u1", 4: "u1", 8: "u1", 16: "<u2", 32: "<f4"}


def unpack(samples: NDArray[Any], n_bits: int, *, high_first: bool) -> NDArray[Any]:
    """Spread samples of 1, 2 or 4 bits over bytes; wider ones are returned as they are.

    Args:
        samples: Bytes as they lie in the file, or wider samples.
        n_bits: Bits in a sample.
        high_first: Whether the first sample is in a byte's highest bits, as in PSRFITS, or in its
            lowest, as in SIGPROC.

    >>> unpack(np.array([0b00011011], dtype=np.uint8), 2, high_first=True)
    array([0, 1, 2, 3], dtype=uint8)
    """
    if n_bits >= 8:
        return samples
    return _unpacked_bytes(n_bits, high_first)[samples].view("u1")


def pack(spectra: NDArray[Any], n_bits: int, path: Path, *, high_first: bool) -> bytes:
    """Return samples as they lie in a little-endian file.

    Raises:
        ValueError: A value is no whole number, or does not fit into `n_bits`; the message names
            the file.
    """
    if n_bits == 32:
        return np.ascontiguousarray(spectra, dtype="<f4").tobytes()
    with np.errstate(invalid="ignore"):  # what is no number differs from what was stored
        stored = spectra.astype(SAMPLE_TYPES[n_bits])
    if not (stored == spectra).all() or (spectra.size and stored.max() >= 2**n_bits):
        raise ValueError(f"{path}: data: not all values are whole numbers from 0 to {2**n_bits - 1}")
    if n_bits < 8:
        shifts = _shifts(n_bits, high_first)
        return np.bitwise_or.reduce(stored.reshape(-1, len(shifts)) << shifts, axis=1).tobytes()
    return stored.tobytes()


@cache
def _unpacked_bytes(n_bits: int, high_first: bool) -> NDArray[Any]:
    """Return for each byte its samples, one byte each, side by side in one number, shape (256,)."""
    every_byte = np.arange(256, dtype=np.uint8)[:, None]
    samples = (every_byte >> _shifts(n_bits, high_first)) & np.uint8(2**n_bits - 1)
    return samples.view(f"u{8 // n_bits}").reshape(-1)


def _shifts(n_bits: int, high_first: bool) -> NDArray[np.uint8]:
    shifts = np.arange(0, 8, n_bits, dtype=np.uint8)
    return shifts[::-1] if high_first else shifts


@dataclass(frozen=True)
class Keywords:
    """The keywords of one header.

    Attributes:
        where: File or header that they stand in, for messages.
        values: What stands there, by keyword.
        error: What is raised where a value cannot be.
    """

    where: object
    values: Mapping[str, Any]
    error: type[ValueError]

    def value(self, keyword: str, default: Any = None) -> Any:
        """Return a value, the default where there is none; without a default it must be there."""
        value = self.values.get(keyword, default)
        if value is None:
            raise self.error(f"{self.where}: {keyword}: missing from the header")
        return value

    def text(self, keyword: str, default: str | None = None) -> str:
        """Return text without the blanks around it."""
        return str(self.value(keyword, default)).strip()

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return a finite number; text that is one counts."""
        value = self.value(keyword, default)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{self.where}: {keyword} = {value!r}: expected a number")
        return number

    def integer(self, keyword: str, default: int | None = None, *, low: int = 0, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.number(keyword, default)
        if not (low <= value <= high and value == int(value)):
            expected = f"expected a whole number from {low} to {high}"
            raise self.error(f"{self.where}: {keyword} = {value:g}: {expected}")
        return int(value)
