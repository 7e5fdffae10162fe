"""NERSC's archive format: a header in words, then links, whole or without the row that others give."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def read(raw: bytes) -> conf.Configuration:
    """Return the configuration in a file's bytes.

    Raises:
        ConfigurationError: The header lacks a field or has a wrong one, or the length is wrong.
    """
    end = raw.find(_END)
    if end < 0:
        raise conf.ConfigurationError("the header has no end: END_HEADER is missing")
    lines = raw[len(START) : end].decode("latin-1").splitlines()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    shape, number, n, rows = _layout(facts)
    data = raw[end + len(_END) :]
    expected = int(np.prod(shape)) * 4 * rows * n * 2 * number.itemsize
    if len(data) != expected:
        raise conf.ConfigurationError(f"the links need {expected} bytes, found {len(data)}")
    values = conf.as_complex(data, number).reshape(-1, 4, rows, n)
    links = conf.from_xyzt(values if rows == n else _completed(values), shape)
    found = conf.Configuration(links, shape, "NERSC", number, facts=facts)
    found.facts = facts | {"rows": str(rows)}
    words = np.frombuffer(data, f"{number.str[0]}u4")
    found.compare_words("CHECKSUM", int(facts.get("CHECKSUM", "0"), 16), _checksum(words))
    for name in ("PLAQUETTE", "LINK_TRACE"):
        digits = len(facts[name].partition(".")[2])
        found.compare(name, float(facts[name]), found.numbers[name.lower()], digits=min(digits, 12))
    return found


def _checksum(words: NDArray[Any]) -> int:
    return int(words.sum(dtype=np.uint64)) & 0xFFFFFFFF


def _layout(facts: dict[str, str]) -> tuple[tuple[int, ...], np.dtype[Any], int, int]:
    """Return shape, type of a number, colours, and how many rows of a matrix are in the file."""
    wanted = [*(f"DIMENSION_{n}" for n in (1, 2, 3, 4)), "DATATYPE", "FLOATING_POINT", "CHECKSUM"]
    for name in (*wanted, "PLAQUETTE", "LINK_TRACE"):
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
        _ = float(facts["PLAQUETTE"]), float(facts["LINK_TRACE"]), int(facts["CHECKSUM"], 16)
    except ValueError as error:
        raise conf.ConfigurationError(f"the header has no number where one must be: {error}") from None
    if min(x, y, z, t) < 1:
        raise conf.ConfigurationError(f"DIMENSION_1 to 4 = {x}, {y}, {z}, {t} must be positive")
    return (t, x, y, z), np.dtype(_NUMBERS[facts["FLOATING_POINT"]]), n, n if kind[2] else n - 1


def _completed(values: NDArray[Any]) -> NDArray[Any]:
    """Return matrices of SU(2) or SU(3) with the last row that the first ones leave."""
    if values.shape[-1] == 2:
        last = np.conj(np.stack([-values[..., 0, 1], values[..., 0, 0]], axis=-1))
    else:
        last = np.conj(np.cross(values[..., 0, :], values[..., 1, :]))
    return np.concatenate([values, last[..., None, :]], axis=-2)


def write(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return a file's bytes with whole matrices."""
    n, (t, x, y, z) = links.shape[-1], shape
    data = conf.as_bytes(conf.to_xyzt(links, shape), number)
    numbers = conf.planes(links, shape)
    words = np.frombuffer(data, f"{number.str[0]}u4")
    facts = {"HDR_VERSION": "1.0", "DATATYPE": f"4D_SU{n}_GAUGE_{n}x{n}"}
    facts |= {f"DIMENSION_{i + 1}": str(size) for i, size in enumerate((x, y, z, t))}
    facts |= {f"BOUNDARY_{i + 1}": "PERIODIC" for i in range(4)}
    facts |= {"CHECKSUM": f"{_checksum(words):x}"}
    facts |= {
        "PLAQUETTE": f"{numbers['plaquette']:.12f}",
        "LINK_TRACE": f"{numbers['link_trace']:.12f}",
    }
    facts |= {
        "FLOATING_POINT": next(k for k, v in _NUMBERS.items() if v == number.str and k != "IEEE32")
    }
    lines = "".join(f"{name} = {value}\n" for name, value in facts.items())
    return START + lines.encode() + _END + data
