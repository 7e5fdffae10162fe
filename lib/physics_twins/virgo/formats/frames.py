"""Frame files (`.gwf`) through the optional package gwframe, which bundles frameCPP.

The layout is that of LIGO-T970130, version 8. The checksum of the whole file is recomputed before the
library sees it: damage is refused here, and a file that states none is, too.
"""

import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from physics_twins.data import replacing
from physics_twins.virgo.formats.strain_file import Header, StrainFileError

START = b"IGWD\0"
_VERSION, _VERSION_AT, _SCHEME_AT = 8, 5, 39
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def headers(path: Path) -> list[Header]:
    """Return what a file says about its channels over all its frames.

    Raises:
        StrainFileError: It is damaged, its frames leave gaps or differ, or gwframe is not installed.
    """
    gwframe = _library(path)
    _check_sum(path)
    found: dict[str, Header] = {}
    try:
        for frame in gwframe.inspect.get_info(str(path)).frames:
            for each in gwframe.inspect.get_channel_details(str(path), frame_index=frame.index):
                header = Header(each.name, each.unit, each.sample_rate, frame.start, each.n_samples)
                found[each.name] = _joined(found.get(each.name), header)
    except StrainFileError as error:
        raise StrainFileError(f"{path}: {error}") from None
    except Exception as error:  # frameCPP's errors have no class in common
        raise StrainFileError(f"{path}: no sound frame file: {error}") from None
    if not found:
        raise StrainFileError(f"{path}: there is no channel in it")
    return list(found.values())


def _joined(before: Header | None, header: Header) -> Header:
    """Return the header of a channel over two frames that follow each other."""
    if before is None:
        return header
    same = (before.unit, before.sample_rate_hz) == (header.unit, header.sample_rate_hz)
    if not same or before.index(header.start_s) != before.n_samples:
        raise StrainFileError(
            f"{header.name}: a frame of {header.sample_rate_hz:g} Hz at GPS {header.start_s:.12g} s"
            f" does not go on from {before.sample_rate_hz:g} Hz until {before.stop_s:.12g} s"
        )
    n_samples = before.n_samples + header.n_samples
    return Header(header.name, header.unit, header.sample_rate_hz, before.start_s, n_samples)


def read(path: Path, header: Header, first: int, stop: int) -> NDArray[Any]:
    """Return samples `first` to `stop` of a channel that is in the file."""
    gwframe = _library(path)
    try:
        start_s, rate_hz = header.start_s, header.sample_rate_hz
        part = gwframe.read(
            str(path), header.name, start=start_s + first / rate_hz, end=start_s + stop / rate_hz
        )
    except Exception as error:
        raise StrainFileError(f"{path}: {header.name}: no sound frame file: {error}") from None
    if len(part.array) != stop - first:
        raise StrainFileError(
            f"{path}: {header.name}: {stop - first} samples are stated, found {len(part.array)}"
        )
    return part.array


def write(path: Path, channels: list[tuple[Header, NDArray[Any]]], *, detector: str) -> None:
    """Write channels that begin and end together as one frame, in one step.

    Raises:
        StrainFileError: They do not, or gwframe is not installed.
    """
    gwframe = _library(path)
    spans = {(header.start_s, header.stop_s) for header, _ in channels}
    if len(spans) > 1:
        raise StrainFileError(f"{path}: channels of one frame must begin and end together: {spans}")
    with replacing(path) as temporary:
        gwframe.write(
            str(temporary),
            {header.name: values for header, values in channels},
            start=channels[0][0].start_s,
            sample_rate={header.name: header.sample_rate_hz for header, _ in channels},
            unit={header.name: header.unit for header, _ in channels},
            name=detector,
        )


def _library(path: Path) -> ModuleType:
    try:
        import gwframe  # pyright: ignore[reportMissingImports] (an optional extra)
    except ImportError:
        raise StrainFileError(
            f"{path}: frame files need the package gwframe: pip install 'physics-twins[gwf]'"
        ) from None
    return gwframe


def _check_sum(path: Path) -> None:
    """Refuse a file that is cut or changed: its last word is POSIX's checksum of all before it."""
    raw = path.read_bytes()
    if len(raw) < _SCHEME_AT + 5 or not raw.startswith(START):
        raise StrainFileError(f"{path}: no frame file, or cut in its header: {len(raw)} bytes")
    if raw[_VERSION_AT] != _VERSION or raw[_SCHEME_AT] != 1:
        raise StrainFileError(
            f"{path}: version {raw[_VERSION_AT]} with checksums of kind {raw[_SCHEME_AT]}, expected"
            f" version {_VERSION} with kind 1"
        )
    order = "<" if raw[12:14] == b"\x34\x12" else ">"
    (stated,) = struct.unpack(f"{order}I", raw[-4:])
    found = posix_sum(raw[:-4])
    if found != stated:
        raise StrainFileError(f"{path}: damaged or cut: its checksum is {found:08x}, not {stated:08x}")


def posix_sum(raw: bytes) -> int:
    """Return POSIX's checksum: CRC-32 from the highest bit on, of the bytes and then their number.

    >>> posix_sum(b"hello world")
    1135714720
    """
    length = len(raw).to_bytes((len(raw).bit_length() + 7) // 8, "little")
    reversed_sum = ~zlib.crc32((raw + length).translate(_REVERSED), 0xFFFFFFFF) & 0xFFFFFFFF
    return ~int(f"{reversed_sum:032b}"[::-1], 2) & 0xFFFFFFFF
