"""MILC's binary files of single precision in either byte order, and its links as text.

Version 5 has 96 bytes of header with two checksums; versions 1 to 4, here `v1`, 28 bytes and none; text
has the same numbers as version 5, but for the checksums.
"""

import re
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np

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


def read(raw: bytes, order: str) -> conf.Configuration:
    """Return the configuration in a file's bytes.

    Raises:
        ConfigurationError: The header or the length is wrong.
    """
    links, shape, number = _sites(raw, order, _HEADER_BYTES)
    natural, sum29, sum31 = struct.unpack_from(f"{order}iII", raw, 84)
    if natural != 0:
        raise conf.ConfigurationError(
            f"sites are not in their natural order: order is {natural}, not 0"
        )
    written = raw[20:84].split(b"\0")[0].decode("latin-1")
    found = conf.Configuration(links, shape, "MILC v5", number, facts={"written": written})
    words = np.frombuffer(raw, f"{order}u4", offset=_HEADER_BYTES).astype(np.uint32)
    found.compare_words("sum29", sum29, conf.rotated_xor(words, 29))
    found.compare_words("sum31", sum31, conf.rotated_xor(words, 31))
    return found


def read_v1(raw: bytes, order: str) -> conf.Configuration:
    """Return the configuration in the bytes of a file of versions 1 to 4, which have no checksum.

    Raises:
        ConfigurationError: The header or the length is wrong.
    """
    links, shape, number = _sites(raw, order, _HEADER_BYTES_V1)
    couplings = ", ".join(f"{each:.7g}" for each in struct.unpack_from(f"{order}2f", raw, 20))
    return conf.Configuration(links, shape, "MILC v1", number, facts={"couplings": couplings})


def _sites(
    raw: bytes, order: str, header_bytes: int
) -> tuple[Any, tuple[int, int, int, int], np.dtype[Any]]:
    """Return links, sizes (t, x, y, z) and type of numbers, behind a header that begins with sizes."""
    if len(raw) < header_bytes:
        raise conf.ConfigurationError(f"the header has {header_bytes} bytes, found {len(raw)}")
    x, y, z, t = struct.unpack_from(f"{order}4i", raw, 4)
    expected = header_bytes + 288 * x * y * z * t
    if min(x, y, z, t) < 1 or len(raw) != expected:
        found = f"{x} x {y} x {z} x {t} sites need {expected} bytes, found {len(raw)}"
        raise conf.ConfigurationError(found)
    number: np.dtype[Any] = np.dtype(f"{order}f4")
    links = conf.from_xyzt(conf.as_complex(raw[header_bytes:], number), (t, x, y, z))
    return links, (t, x, y, z), number


def read_text(raw: bytes) -> conf.Configuration:
    """Return the configuration in links as text, which have no checksum.

    Raises:
        ConfigurationError: The header, how many numbers there are, or one of them is wrong.
    """
    head = _TEXT.match(raw)
    if not head:
        raise conf.ConfigurationError("the header must have a time in quotes and four sizes")
    x, y, z, t = (int(size) for size in head.groups()[1:])
    expected = 72 * x * y * z * t
    tokens = raw[head.end() :].split()
    if len(tokens) != expected or not expected:
        found = f"{x} x {y} x {z} x {t} sites need {expected} numbers, found {len(tokens)}"
        raise conf.ConfigurationError(found)
    try:
        values = np.array([float(token) for token in tokens])
    except ValueError as error:
        raise conf.ConfigurationError(f"among the links is no number: {str(error)[:80]}") from None
    is_long = max(map(len, tokens[:72])) > _LONG_TOKEN
    links = conf.from_xyzt(values.view(np.complex128), (t, x, y, z))
    written = head[1].decode("latin-1")
    number: np.dtype[Any] = np.dtype("<f8" if is_long else "<f4")
    return conf.Configuration(links, (t, x, y, z), "MILC text", number, facts={"written": written})


def write_v1(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return the bytes of a file of version 1; couplings are not known, and written as 0."""
    order = ">" if number.str[0] == ">" else "<"
    t, x, y, z = shape
    data = conf.as_bytes(conf.to_xyzt(links, shape), np.dtype(f"{order}f4"))
    return struct.pack(f"{order}5i2f", MAGIC_V1, x, y, z, t, 0.0, 0.0) + data


def write_text(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return links as text, with as many digits as the precision has."""
    t, x, y, z = shape
    digits = 7 if number.itemsize == 4 else 16
    pairs = conf.to_xyzt(links, shape).reshape(-1).view(np.float64).reshape(-1, 2)
    lines = "".join(f"{real:.{digits}e}\t{imaginary:.{digits}e}\n" for real, imaginary in pairs)
    written = datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y")
    return f'{MAGIC}\n"{written}"\n{x}\t{y}\t{z}\t{t}\n{lines}'.encode()


def write(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return a file's bytes; the precision is single in this format."""
    order = ">" if number.str[0] == ">" else "<"
    data = conf.as_bytes(conf.to_xyzt(links, shape), np.dtype(f"{order}f4"))
    words = np.frombuffer(data, f"{order}u4").astype(np.uint32)
    t, x, y, z = shape
    written = datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y").encode()
    sums = (conf.rotated_xor(words, 29), conf.rotated_xor(words, 31))
    return struct.pack(f"{order}5i64siII", MAGIC, x, y, z, t, written, 0, *sums) + data
