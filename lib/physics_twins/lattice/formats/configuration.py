"""A gauge configuration as a file holds it, and the numbers by which it is believed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice import gauge
from physics_twins.lattice.geometry import crossings, neighbours

# How far what is recomputed may be from what is stated, by the bytes of a number in the file.
TOLERANCE = {4: 3e-6, 8: 2e-9}


class ConfigurationError(ValueError):
    """A file is no gauge configuration, or not the one that it says; file and field are named."""


@dataclass(frozen=True)
class Check:
    """One number that a file states, and what it is when computed from the links."""

    name: str
    stated: str
    found: str
    passed: bool


@dataclass
class Configuration:
    """Links with what their file says of them.

    Attributes:
        links: (site, direction, N, N), complex128; time first, sites with the last direction fastest.
        shape: Sites in each direction, time first.
        form: Name of the format.
        number: Type of a real number in the file, such as `>f4`.
        checks: What was stated and recomputed.
        facts: What else the file says.
        wrong: What is wrong with the file besides.
    """

    links: NDArray[np.complex128]
    shape: tuple[int, ...]
    form: str
    number: np.dtype[Any]
    checks: list[Check] = field(default_factory=list)
    facts: Mapping[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """What `planes` computes from the links."""
        return planes(self.links, self.shape)

    @property
    def tolerance(self) -> float:
        """How far a recomputed number may be from the stated one."""
        return TOLERANCE[self.number.itemsize]

    def compare(self, name: str, stated: float, found: float, *, digits: int = 10) -> None:
        """Note a number that the file states beside the one that its links have."""
        # A stated number has the digits that were printed.
        allowed = self.tolerance + 0.6 * 10.0**-digits
        self.checks.append(
            Check(name, f"{stated:.{digits}f}", f"{found:.{digits}f}", abs(stated - found) <= allowed)
        )

    def compare_words(self, name: str, stated: int, found: int) -> None:
        """Note a checksum that the file states beside the one that its bytes have."""
        self.checks.append(Check(name, f"{stated:08x}", f"{found:08x}", stated == found))


def planes(links: NDArray[np.complex128], shape: tuple[int, ...]) -> dict[str, float]:
    """Return mean plaquette, that in planes of space, that with time, and link trace, each over N."""
    n, n_sites = links.shape[-1], len(links)
    hop, crossed = neighbours(shape), crossings(shape, 0)
    sums = gauge.plaquette_sums(links, hop, crossed, (0.0,) * n) / n_sites
    with np.errstate(all="ignore"):
        trace = np.einsum("xmii->", links).real / (4 * n * n_sites)
    return {
        "plaquette": float(sums.sum() / 6),
        "plaquette_space": float(sums[1:, 1:].sum() / 3),
        "plaquette_time": float(sums[1:, 0].sum() / 3),
        "link_trace": float(trace),
    }


def unitarity(links: NDArray[np.complex128]) -> float:
    """Return how far, at most, the links are from being unitary; endless where a number is none."""
    return float(_unitarity(links.reshape(-1, *links.shape[-2:]), (0.0,) * links.shape[-1]))


@numba.njit(cache=True, nogil=True)
def _unitarity(matrices: Any, colours: Any) -> float:
    largest = 0.0
    for u in matrices:
        for i in range(len(colours)):
            for j in range(i + 1):
                product = -1.0 + 0j if i == j else 0j
                for k in range(len(colours)):
                    product += u[i, k] * u[j, k].conjugate()
                square = product.real**2 + product.imag**2
                if not square <= largest:  # damaged numbers may be none
                    if not square < math.inf:
                        return math.inf
                    largest = square
    return math.sqrt(largest)


def from_xyzt(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return links from a file's array: sites with x fastest, t slowest, directions x, y, z, t.

    Args:
        values: Complex, as many as sites times 4 times N times N.
        shape: Sites in t, x, y, z.
    """
    t, x, y, z = shape
    n = int(np.sqrt(values.size // (4 * t * x * y * z)))
    native = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="), copy=False)
    links = np.empty((t, x, y, z, 4, n * n), dtype=np.complex128)
    _from_xyzt(native.reshape(t, z, y, x, 4, n * n), links)
    return links.reshape(-1, 4, n, n)


@numba.njit(cache=True, nogil=True)
def _from_xyzt(read: Any, links: Any) -> None:
    for t in range(read.shape[0]):
        for z in range(read.shape[1]):
            for y in range(read.shape[2]):
                for x in range(read.shape[3]):
                    for mu in range(4):
                        for k in range(read.shape[5]):
                            links[t, x, y, z, (mu + 1) % 4, k] = read[t, z, y, x, mu, k]


def to_xyzt(links: NDArray[np.complex128], shape: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return links as `from_xyzt` reads them, (site, direction, N, N)."""
    n = links.shape[-1]
    turned = links.reshape(*shape, 4, n, n)[..., [1, 2, 3, 0], :, :].transpose(0, 3, 2, 1, 4, 5, 6)
    return turned.reshape(-1, 4, n, n)


def as_complex(raw: bytes | memoryview, number: np.dtype[Any]) -> NDArray[Any]:
    """Return pairs of real numbers of a file as complex numbers, in the file's order of bytes."""
    return np.frombuffer(raw, dtype=f"{number.str[0]}c{2 * number.itemsize}")


def as_bytes(values: NDArray[np.complex128], number: np.dtype[Any]) -> bytes:
    """Return complex numbers as pairs of real ones of a file."""
    return np.ascontiguousarray(values).view(np.float64).astype(number).tobytes()


@numba.njit(cache=True, nogil=True)
def rotated_xor(words: Any, modulus: int) -> int:
    """Return all words, each rotated by its place modulo a number, put together by exclusive or."""
    # Words that are rotated alike are put together first.
    together = np.zeros(modulus, dtype=np.uint32)
    n_whole = len(words) // modulus
    for row in range(n_whole):
        for by in range(modulus):
            together[by] ^= words[row * modulus + by]
    for by in range(len(words) - n_whole * modulus):
        together[by] ^= words[n_whole * modulus + by]
    found = np.uint32(0)
    for by in range(modulus):
        word = np.uint64(together[by])
        turned = (word << np.uint64(by)) | (word >> np.uint64(32 - by))
        found ^= np.uint32(turned & np.uint64(0xFFFFFFFF))
    return int(found)
