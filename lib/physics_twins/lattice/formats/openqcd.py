"""openQCD's export: four sizes, the mean trace of a plaquette, and the eight links of each odd site.

All little-endian, double precision, SU(3). openQ*D writes its SU(3) field in the same way.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.geometry import neighbours

_HEADER_BYTES = 24
NUMBER: np.dtype[Any] = np.dtype("<f8")


def shape_of(raw: bytes) -> tuple[int, ...] | None:
    """Return the sizes, time first, of a file with these bytes; None where it is none of openQCD's."""
    if len(raw) < _HEADER_BYTES:
        return None
    shape = struct.unpack_from("<4i", raw)
    fits = min(shape) > 0 and len(raw) == _HEADER_BYTES + 576 * int(np.prod(shape, dtype=object))
    return shape if fits else None


def read(raw: bytes, shape: tuple[int, ...]) -> conf.Configuration:
    """Return the configuration in a file's bytes.

    Raises:
        ConfigurationError: A size is odd: then odd sites do not hold all links.
    """
    if any(size % 2 for size in shape):
        raise conf.ConfigurationError(f"sizes {shape} must be even")
    values = conf.as_complex(raw[_HEADER_BYTES:], NUMBER).reshape(-1, 8, 3, 3)
    odd, hop = _odd(shape), neighbours(shape)
    links = np.empty((len(hop), 4, 3, 3), dtype=np.complex128)
    for mu in range(4):
        links[odd, mu] = values[:, 2 * mu]
        links[hop[odd, 4 + mu], mu] = values[:, 2 * mu + 1]
    found = conf.Configuration(links, shape, "openQCD", NUMBER)
    (stated,) = struct.unpack_from("<d", raw, 16)
    found.compare("trace of a plaquette", stated, 3 * found.numbers["plaquette"], digits=12)
    return found


def write(links: Any, shape: tuple[int, ...], number: np.dtype[Any]) -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigurationError: A size is odd, the field is not SU(3), or `number` is not `<f8`.
    """
    if any(size % 2 for size in shape) or links.shape[-1] != 3 or number != NUMBER:
        raise conf.ConfigurationError(
            f"openQCD has even sizes, SU(3) and <f8; here are {shape}, SU({links.shape[-1]}),"
            f" {number.str}"
        )
    odd, hop = _odd(shape), neighbours(shape)
    values = np.empty((len(odd), 8, 3, 3), dtype=np.complex128)
    for mu in range(4):
        values[:, 2 * mu] = links[odd, mu]
        values[:, 2 * mu + 1] = links[hop[odd, 4 + mu], mu]
    head = struct.pack("<4id", *shape, 3 * conf.planes(links, shape)["plaquette"])
    return head + conf.as_bytes(values, NUMBER)


def _odd(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.flatnonzero(np.indices(shape).sum(axis=0).ravel() % 2)
