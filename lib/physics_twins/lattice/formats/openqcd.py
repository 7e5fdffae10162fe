"""openQCD's export: four sizes, the mean trace of a plaquette, and the eight links of each odd site.

All little-endian, double precision, SU(3). openQ*D writes its SU(3) field in the same way, and the
photons in the same order behind it or alone: their mean plaquette and a real number for each link, the
angle of the compact link (its archive.c). Of a C-periodic lattice it writes the half that is no mirror
image, and the plaquette of that half as if it were periodic.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.geometry import neighbours

_SIZES_BYTES, _HEADER_BYTES = 16, 24
NUMBER: np.dtype[Any] = np.dtype("<f8")
_OF_SITE = {3: 576, 1: 32}  # bytes of the links, by colours


def shape_of(head: bytes, n_bytes: int) -> tuple[int, ...]:
    """Return the sizes, time first, of a file of such a length that begins so; () for no such file."""
    if len(head) < _HEADER_BYTES:
        return ()
    shape = struct.unpack_from("<4i", head)
    n_sites = math.prod(shape)
    known = [_HEADER_BYTES + each * n_sites for each in _OF_SITE.values()]
    known.append(sum(known) - _SIZES_BYTES)
    return shape if min(shape) > 0 and n_bytes in known else ()


def stored(path: Path, shape: tuple[int, ...]) -> list[conf.Stored]:
    """Return the fields in a file: of quarks' colours, of photons, or both in this order.

    Raises:
        ConfigurationError: A size is odd: then odd sites do not hold all links.
    """
    if any(size % 2 for size in shape):
        raise conf.ConfigurationError(f"sizes {shape} must be even")
    n_bytes, n_sites, place = path.stat().st_size, math.prod(shape), _SIZES_BYTES
    both = n_bytes > _HEADER_BYTES + _OF_SITE[3] * n_sites
    found: list[conf.Stored] = []
    for n in (3, 1) if both else (3,) if n_bytes > _HEADER_BYTES + _OF_SITE[1] * n_sites else (1,):
        with path.open("rb") as file:
            (mean,) = struct.unpack("<d", conf.exactly(file, place, 8))
        if not math.isfinite(mean):
            raise conf.ConfigurationError(f"byte {place}: the mean trace of a plaquette is {mean}")
        name = "trace of a plaquette" if n == 3 else "plaquette of photons"
        stated = [(name, f"{mean:.12f}", "plaquette", float(n))]
        form = "openQCD" if n == 3 else "openQ*D's photons"
        found.append(OddSites(path, form, shape, n, NUMBER, place + 8, None, stated))
        place += 8 + _OF_SITE[n] * n_sites
    return found


@dataclass
class OddSites(conf.Stored):
    """The links forward and backward at each odd site."""

    def slices(self, times: range) -> Iterator[tuple[memoryview, NDArray[Any]]]:
        """Yield nothing, and the links of time slices; the next slice has some of them."""
        if not times:
            return
        backward, n_times = _backward(self.shape[1:]), self.shape[0]
        with self.path.open("rb") as file:
            known: dict[int, NDArray[Any]] = {}
            for t in times:
                after = (t + 1) % n_times
                known = {
                    each: known[each] if each in known else self._slice(file, each)
                    for each in (t, after)
                }
                here, there = known[t], known[after]
                links = np.empty((2 * len(here), 4, *here.shape[2:]), dtype=here.dtype)
                odd, odd_after = _odd(self.shape[1:], t), _odd(self.shape[1:], after)
                for mu in range(4):
                    links[odd, mu] = here[:, 2 * mu]
                    if mu:
                        links[backward[odd, mu - 1], mu] = here[:, 2 * mu + 1]
                links[odd_after, 0] = there[:, 1]
                yield memoryview(b""), links

    def _slice(self, file: BinaryIO, t: int) -> NDArray[Any]:
        size = _OF_SITE[self.n] * math.prod(self.shape[1:])
        raw = conf.exactly(file, self.start + t * size, size)
        if self.n == 1:
            return np.frombuffer(raw, NUMBER).reshape(-1, 8)
        return conf.as_complex(raw, NUMBER).reshape(-1, 8, 3, 3)


def write(
    file: BinaryIO,
    slices: conf.Slices,
    shape: tuple[int, ...],
    number: np.dtype[Any],
    photons: conf.Slices | None = None,
) -> None:
    """Write a file, of photons alone where `slices` has angles.

    Raises:
        ConfigurationError: A size is odd, the field is not SU(3), or `number` is not `<f8`.
    """
    first = next(slices(range(1)))
    n = 1 if first.ndim == 2 else first.shape[-1]
    if any(size % 2 for size in shape) or n not in _OF_SITE or number != NUMBER:
        raise conf.ConfigurationError(
            f"openQCD has even sizes, SU(3) and <f8; here are {shape}, SU({n}), {number.str}"
        )
    file.write(struct.pack("<4i", *shape))
    for each in (slices, photons) if photons else (slices,):
        _write_field(file, each, shape)


def _write_field(file: BinaryIO, slices: conf.Slices, shape: tuple[int, ...]) -> None:
    recomputed, place = conf.Recomputed(shape), file.tell()
    file.write(bytes(8))
    backward, last = _backward(shape[1:]), shape[0] - 1
    before = next(slices(range(last, shape[0])))
    for t, links in enumerate(slices(range(shape[0]))):
        recomputed.add(links)
        odd = _odd(shape[1:], t)
        values = np.empty((len(odd), 8, *links.shape[2:]), dtype=links.dtype)
        for mu in range(4):
            values[:, 2 * mu] = links[odd, mu]
            if mu:
                values[:, 2 * mu + 1] = links[backward[odd, mu - 1], mu]
        values[:, 1] = before[odd, 0]
        before = links
        file.write(values.astype("<c16" if links.ndim == 4 else "<f8").tobytes())
    file.seek(place)
    n = 1 if before.ndim == 2 else 3
    file.write(struct.pack("<d", n * recomputed.numbers()["plaquette"]))
    file.seek(0, 2)


def _odd(space: tuple[int, ...], t: int) -> NDArray[np.int64]:
    """Return the odd sites of a time slice."""
    return np.flatnonzero((np.indices(space).sum(axis=0).ravel() + t) % 2)


def _backward(space: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the sites of a time slice one step back in x, y and z, (site, direction)."""
    return neighbours(space)[:, 3:]
