"""MILC's version 5: 96 bytes of header, then links in single precision, in either byte order."""

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np

from physics_twins.lattice.formats import configuration as conf

MAGIC = 20103
_HEADER_BYTES = 96


def order_of(head: bytes) -> str:
    """Return the byte order of a file that begins so, "" where it is none of MILC's."""
    return next((o for o in "<>" if head[:4] == struct.pack(f"{o}i", MAGIC)), "")


def read(raw: bytes, order: str) -> conf.Configuration:
    """Return the configuration in a file's bytes.

    Raises:
        ConfigurationError: The header or the length is wrong.
    """
    if len(raw) < _HEADER_BYTES:
        raise conf.ConfigurationError(f"the header has {_HEADER_BYTES} bytes, found {len(raw)}")
    x, y, z, t = struct.unpack_from(f"{order}4i", raw, 4)
    natural, sum29, sum31 = struct.unpack_from(f"{order}iII", raw, 84)
    if natural != 0:
        raise conf.ConfigurationError(
            f"sites are not in their natural order: order is {natural}, not 0"
        )
    expected = _HEADER_BYTES + 288 * x * y * z * t
    if min(x, y, z, t) < 1 or len(raw) != expected:
        found = f"{x} x {y} x {z} x {t} sites need {expected} bytes, found {len(raw)}"
        raise conf.ConfigurationError(found)
    number: np.dtype[Any] = np.dtype(f"{order}f4")
    links = conf.from_xyzt(conf.as_complex(raw[_HEADER_BYTES:], number), (t, x, y, z))
    written = raw[20:84].split(b"\0")[0].decode("latin-1")
    found = conf.Configuration(links, (t, x, y, z), "MILC v5", number, facts={"written": written})
    words = np.frombuffer(raw, f"{order}u4", offset=_HEADER_BYTES).astype(np.uint32)
    found.compare_words("sum29", sum29, conf.rotated_xor(words, 29))
    found.compare_words("sum31", sum31, conf.rotated_xor(words, 31))
    return found


def write(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return a file's bytes; the precision is single in this format."""
    order = ">" if number.str[0] == ">" else "<"
    data = conf.as_bytes(conf.to_xyzt(links, shape), np.dtype(f"{order}f4"))
    words = np.frombuffer(data, f"{order}u4").astype(np.uint32)
    t, x, y, z = shape
    written = datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y").encode()
    sums = (conf.rotated_xor(words, 29), conf.rotated_xor(words, 31))
    return struct.pack(f"{order}5i64siII", MAGIC, x, y, z, t, written, 0, *sums) + data
