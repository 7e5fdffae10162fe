"""NERSC's archive format: a header in words, then links, whole or without the row that others give."""

import math
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from physics_twins.lattice.formats import configuration as conf

START = b"BEGIN_HEADER\n"
_END = b"END_HEADER\n"
_NUMBERS = {
    "IEEE32": ">f4",
    "IEEE32BIG": ">f4",
    "IEEE32LITTLE": "<f4",
    "IEEE64BIG": ">f8",
    "IEEE64LITTLE": "<f8",
}
_STATED = {"PLAQUETTE": "plaquette", "LINK_TRACE": "link_trace"}


def stored(path: Path, head: bytes) -> conf.Stored:
    """Return what a file holds that begins so.

    Raises:
        ConfigurationError: The header lacks a field or has a wrong one, or the length is wrong.
    """
    end = head.find(_END)
    if end < 0:
        raise conf.ConfigurationError("the header has no end: END_HEADER is missing")
    lines = head[len(START) : end].decode("latin-1").splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    shape, number, n, rows = _layout(facts)
    start = end + len(_END)
    expected = math.prod(shape) * 4 * rows * n * 2 * number.itemsize
    if (found := path.stat().st_size - start) != expected:
        raise conf.ConfigurationError(f"the links need {expected} bytes, found {found}")
    sums = conf.Sums(("CHECKSUM",), (int(facts["CHECKSUM"], 16),), _added(number.str[0]))
    stated = [(name, facts[name], key, 1.0) for name, key in _STATED.items()]
    return conf.ByTime(path, "NERSC", shape, n, number, start, sums, stated, facts, rows=rows)


def _added(order: str) -> conf.Update:
    """Return the checksum: the sum of all words of 32 bits."""

    def update(sums: tuple[int, ...], raw: memoryview, place: int) -> tuple[int, ...]:
        more = int(np.frombuffer(raw, f"{order}u4").sum(dtype=np.uint64))
        return ((sums[0] + more) & 0xFFFFFFFF,)

    return update


def _layout(facts: dict[str, str]) -> tuple[tuple[int, ...], np.dtype[Any], int, int]:
    """Return shape, type of a number, colours, and how many rows of a matrix are in the file."""
    wanted = [*(f"DIMENSION_{n}" for n in (1, 2, 3, 4)), "DATATYPE", "FLOATING_POINT", "CHECKSUM"]
    for name in (*wanted, *_STATED):
        if name not in facts:
            raise conf.ConfigurationError(f"the header has no {name}")
    kind = re.fullmatch(r"4D_SU(\d)_GAUGE(?:_(\d)x\2)?", facts["DATATYPE"])
    if not kind or kind[2] not in (None, kind[1]):
        raise conf.ConfigurationError(f"DATATYPE = {facts['DATATYPE']} is no gauge field")
    n = int(kind[1])
    if not kind[2] and n not in (2, 3):
        raise conf.ConfigurationError(
            f"DATATYPE = {facts['DATATYPE']}: rows are left out for SU(2), SU(3) alone"
        )
    if facts["FLOATING_POINT"] not in _NUMBERS:
        raise conf.ConfigurationError(
            f"FLOATING_POINT = {facts['FLOATING_POINT']} must be one of {', '.join(_NUMBERS)}"
        )
    try:
        x, y, z, t = (int(facts[name]) for name in wanted[:4])
        _ = int(facts["CHECKSUM"], 16), [conf.compare(name, facts[name], 0.0, 0.0) for name in _STATED]
    except (ValueError, ArithmeticError) as error:
        raise conf.ConfigurationError(f"the header has no number where one must be: {error}") from None
    if min(x, y, z, t) < 1:
        raise conf.ConfigurationError(f"DIMENSION_1 to 4 = {x}, {y}, {z}, {t} must be positive")
    return (t, x, y, z), np.dtype(_NUMBERS[facts["FLOATING_POINT"]]), n, n if kind[2] else n - 1


def write(file: BinaryIO, slices: conf.Slices, shape: tuple[int, ...], number: np.dtype[Any]) -> None:
    """Write a file with whole matrices."""
    n = next(slices(range(1))).shape[-1]
    # A header of the same length stands there first: its numbers are known when the links are written.
    file.write(_header(n, shape, number, 0, dict.fromkeys(_STATED.values(), 0.0)))
    sums, numbers = conf.written(file, slices, shape, number, _added(number.str[0]))
    file.seek(0)
    file.write(_header(n, shape, number, sums[0], numbers))


def _header(
    n: int, shape: tuple[int, ...], number: np.dtype[Any], checksum: int, numbers: dict[str, float]
) -> bytes:
    t, x, y, z = shape
    facts = {"HDR_VERSION": "1.0", "DATATYPE": f"4D_SU{n}_GAUGE_{n}x{n}"}
    facts |= {f"DIMENSION_{i + 1}": str(size) for i, size in enumerate((x, y, z, t))}
    facts |= {f"BOUNDARY_{i + 1}": "PERIODIC" for i in range(4)}
    facts |= {"CHECKSUM": f"{checksum:08x}"}
    facts |= {name: f"{numbers[key]:.12f}".ljust(15) for name, key in _STATED.items()}
    name = next(k for k, v in _NUMBERS.items() if v == number.str and k != "IEEE32")
    lines = "".join(f"{name} = {value}\n" for name, value in (facts | {"FLOATING_POINT": name}).items())
    return START + lines.encode() + _END
