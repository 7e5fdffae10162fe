"""MILC's binary files of single precision in either byte order, and its links as text.

Version 5 has 96 bytes of header with two checksums; versions 1 to 4, here `v1`, 28 bytes and none; text
has the same numbers as version 5, but for the checksums.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice.formats import configuration as conf

MAGIC = 20103
MAGIC_V1 = 59354
_HEADER_BYTES, _HEADER_BYTES_V1 = 96, 28
_TEXT = re.compile(rb'20103\s+"([^"\n]{0,200})"\s+' + rb"\s+".join([rb"(\d{1,5})"] * 4) + rb"\s")
_LONG_TOKEN = 16  # characters: a number of more is of double precision


def order_of(head: bytes, magic: int = MAGIC) -> str:
    """Return the byte order of a file that begins so, "" where it is none of MILC's."""
    return next((o for o in "<>" if head[:4] == struct.pack(f"{o}i", magic)), "")


def is_text(head: bytes) -> bool:
    """Return whether a file that begins so is MILC's links as text."""
    return re.match(rb'20103\s+"', head) is not None


def stored(path: Path, head: bytes, order: str) -> conf.Stored:
    """Return what a file holds that begins so.

    Raises:
        ConfigurationError: The header or the length is wrong.
    """
    found = _stored(path, head, order, _HEADER_BYTES, "MILC v5")
    natural, sum29, sum31 = struct.unpack_from(f"{order}iII", head, 84)
    if natural != 0:
        raise conf.ConfigurationError(
            f"sites are not in their natural order: order is {natural}, not 0"
        )
    found.facts = {"written": head[20:84].split(b"\0")[0].decode("latin-1")}
    found.sums = conf.Sums(("sum29", "sum31"), (sum29, sum31), conf.rotated(order))
    return found


def stored_v1(path: Path, head: bytes, order: str) -> conf.Stored:
    """Return what a file of versions 1 to 4 holds, which has no checksum.

    Raises:
        ConfigurationError: The header or the length is wrong.
    """
    found = _stored(path, head, order, _HEADER_BYTES_V1, "MILC v1")
    couplings = ", ".join(f"{each:.7g}" for each in struct.unpack_from(f"{order}2f", head, 20))
    found.facts = {"couplings": couplings}
    return found


def _stored(path: Path, head: bytes, order: str, header_bytes: int, form: str) -> conf.ByTime:
    if len(head) < header_bytes:
        raise conf.ConfigurationError(f"the header has {header_bytes} bytes, found {len(head)}")
    x, y, z, t = struct.unpack_from(f"{order}4i", head, 4)
    expected, n_bytes = header_bytes + 288 * x * y * z * t, path.stat().st_size
    if min(x, y, z, t) < 1 or n_bytes != expected:
        found = f"{x} x {y} x {z} x {t} sites need {expected} bytes, found {n_bytes}"
        raise conf.ConfigurationError(found)
    return conf.ByTime(path, form, (t, x, y, z), 3, np.dtype(f"{order}f4"), header_bytes, rows=3)


@dataclass
class Text(conf.Stored):
    """Links as text, which are read whole: such files are small."""

    def slices(self, times: range) -> Iterator[tuple[memoryview, NDArray[Any]]]:
        """Yield nothing, and the links of time slices."""
        t, x, y, z = self.shape
        words, needed = self.path.read_bytes()[self.start :].split(), 72 * math.prod(self.shape)
        if len(words) != needed:
            raise conf.ConfigurationError(
                f"{x} x {y} x {z} x {t} sites need {needed} numbers, found {len(words)}"
            )
        try:
            values = np.array([float(word) for word in words]).view(np.complex128)
        except ValueError as error:
            raise conf.ConfigurationError(f"among the links is no number: {str(error)[:80]}") from None
        for time in times:
            yield memoryview(b""), conf.from_xyzt(values.reshape(t, -1)[time], (x, y, z))


def stored_text(path: Path, head: bytes) -> conf.Stored:
    """Return what links as text hold, which have no checksum.

    Raises:
        ConfigurationError: The header is wrong.
    """
    match = _TEXT.match(head)
    if not match:
        raise conf.ConfigurationError("the header must have a time in quotes and four sizes")
    x, y, z, t = (int(size) for size in match.groups()[1:])
    needed, most = 72 * x * y * z * t, path.stat().st_size // 2  # a digit and a space
    if not 0 < needed <= most:
        raise conf.ConfigurationError(
            f"{x} x {y} x {z} x {t} sites need {needed} numbers, found at most {most}"
        )
    is_long = max(map(len, head[match.end() :].split()[:72]), default=0) > _LONG_TOKEN
    facts = {"written": match[1].decode("latin-1")}
    number: np.dtype[Any] = np.dtype("<f8" if is_long else "<f4")
    return Text(path, "MILC text", (t, x, y, z), 3, number, match.end(), facts=facts)


def write_v1(
    file: BinaryIO, slices: conf.Slices, shape: tuple[int, ...], number: np.dtype[Any]
) -> None:
    """Write a file of version 1; couplings are not known, and written as 0."""
    order = ">" if number.str[0] == ">" else "<"
    t, x, y, z = shape
    file.write(struct.pack(f"{order}5i2f", MAGIC_V1, x, y, z, t, 0.0, 0.0))
    conf.written(file, slices, shape, np.dtype(f"{order}f4"), conf.rotated(order))


def write_text(
    file: BinaryIO, slices: conf.Slices, shape: tuple[int, ...], number: np.dtype[Any]
) -> None:
    """Write links as text, with as many digits as the precision has."""
    t, x, y, z = shape
    digits = 7 if number.itemsize == 4 else 16
    file.write(f'{MAGIC}\n"{_now()}"\n{x}\t{y}\t{z}\t{t}\n'.encode())

    def as_text(sums: tuple[int, ...], raw: memoryview, place: int) -> tuple[int, ...]:
        file.seek(-len(raw), 1)
        pairs = np.frombuffer(raw, np.float64).reshape(-1, 2)
        file.write("".join(f"{a:.{digits}e}\t{b:.{digits}e}\n" for a, b in pairs).encode())
        return sums

    conf.written(file, slices, shape, np.dtype(np.float64), as_text)


def write(file: BinaryIO, slices: conf.Slices, shape: tuple[int, ...], number: np.dtype[Any]) -> None:
    """Write a file of version 5; the precision is single in this format."""
    order = ">" if number.str[0] == ">" else "<"
    t, x, y, z = shape
    head = struct.pack(f"{order}5i64si", MAGIC, x, y, z, t, _now().encode(), 0)
    file.write(head + bytes(8))
    sums, _ = conf.written(file, slices, shape, np.dtype(f"{order}f4"), conf.rotated(order))
    file.seek(len(head))
    file.write(struct.pack(f"{order}II", *sums))


def _now() -> str:
    return datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y")
