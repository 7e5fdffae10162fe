"""A gauge configuration as a file holds it, time slice by time slice, and how it is believed.

Files that are larger than memory are read, checked and written like small ones: no more than a few
slices are held at once.
"""

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice import gauge
from physics_twins.lattice.geometry import crossings, neighbours

# How far what is recomputed may be from what is stated, by the bytes of a number in the file.
TOLERANCE = {4: 3e-6, 8: 2e-9}
# How far from unitary a link may be; a file of double precision may have been one of single precision.
UNITARY = {4: 3e-4, 8: 5e-6}
_MOST_DIGITS = 12

# A checksum's values from those so far, the next bytes of the links and where in the links they begin.
Update = Callable[[tuple[int, ...], memoryview, int], tuple[int, ...]]
# Links of time slices, each (site in space, direction, N, N), or angles (site in space, direction).
Slices = Callable[[range], Iterator[NDArray[Any]]]


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
class Sums:
    """Checksums of the links' bytes: their names, what is stated, and how they grow."""

    names: tuple[str, ...]
    stated: tuple[int, ...]
    update: Update

    def checks(self, found: tuple[int, ...]) -> list[Check]:
        """Return what was stated beside what was found."""
        together = zip(self.names, self.stated, found, strict=True)
        return [Check(name, f"{a:08x}", f"{b:08x}", a == b) for name, a, b in together]


@dataclass
class Stored(ABC):
    """Links in a file, with what the file says of them.

    Attributes:
        path: The file.
        form: Name of the format.
        shape: Sites in each direction, time first.
        n: Colours; 1 where the links are angles.
        number: Type of a real number in the file, such as `>f4`.
        start: Byte at which the links begin.
        sums: Checksums of the links' bytes.
        stated: Numbers in print: the name of the check, its text, which of `Recomputed.numbers` it is,
            and by which factor it is larger.
        facts: What else the file says.
        wrong: What is wrong with the file besides.
    """

    path: Path
    form: str
    shape: tuple[int, ...]
    n: int
    number: np.dtype[Any]
    start: int
    sums: Sums | None = None
    stated: list[tuple[str, str, str, float]] = field(default_factory=list)
    facts: Mapping[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @abstractmethod
    def slices(self, times: range) -> Iterator[tuple[memoryview, NDArray[Any]]]:
        """Yield each time slice's bytes, where they follow each other, and its links as `Slices`."""

    @property
    def tolerance(self) -> float:
        """How far a recomputed number may be from the stated one."""
        return TOLERANCE[self.number.itemsize]

    def compared(self, numbers: Mapping[str, float]) -> list[Check]:
        """Return the numbers that the file states beside those that its links have."""
        return [
            compare(name, text, factor * numbers[key], self.tolerance)
            for name, text, key, factor in self.stated
        ]


@dataclass
class ByTime(Stored):
    """Sites with x fastest and t slowest; matrices whole, or without their last row."""

    rows: int = 0

    @property
    def slice_bytes(self) -> int:
        """Bytes of a time slice."""
        return math.prod(self.shape[1:]) * 8 * self.rows * self.n * self.number.itemsize

    def slices(self, times: range) -> Iterator[tuple[memoryview, NDArray[Any]]]:
        """Yield bytes and links of time slices."""
        with self.path.open("rb") as file:
            for t in times:
                raw = exactly(file, self.start + t * self.slice_bytes, self.slice_bytes)
                values = as_complex(raw, self.number).reshape(-1, self.rows, self.n)
                whole = values if self.rows == self.n else _completed(values)
                yield raw, from_xyzt(whole, self.shape[1:])


def exactly(file: BinaryIO, start: int, n_bytes: int) -> memoryview:
    """Return so many bytes of a file from a place on."""
    file.seek(start)
    raw = file.read(n_bytes)
    if len(raw) != n_bytes:
        raise ConfigurationError(f"byte {start}: {n_bytes} bytes are needed, found {len(raw)}")
    return memoryview(raw)


def _completed(values: NDArray[Any]) -> NDArray[Any]:
    """Return matrices of SU(2) or SU(3) with the last row that the first ones leave."""
    if values.shape[-1] == 2:
        last = np.conj(np.stack([-values[..., 0, 1], values[..., 0, 0]], axis=-1))
    else:
        last = np.conj(np.cross(values[..., 0, :], values[..., 1, :]))
    return np.concatenate([values, last[..., None, :]], axis=-2)


def compare(name: str, text: str, found: float, tolerance: float) -> Check:
    """Return a number in print beside what it is, to as many digits as were printed."""
    digits = min(max(0, -int(Decimal(text).as_tuple().exponent)), _MOST_DIGITS)
    stated = float(text)
    allowed = tolerance + 0.6 * 10.0**-digits
    return Check(name, f"{stated:.{digits}f}", f"{found:.{digits}f}", abs(stated - found) <= allowed)


class Recomputed:
    """Plaquettes, link trace and unitarity of links that come time slice by time slice."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        two, n_space = (2, *shape[1:]), math.prod(shape[1:])
        self._hop, self._crossed = neighbours(two)[:n_space], crossings(two, 0)[:n_space]
        self._n_sites = math.prod(shape)
        self._first: Any = None
        self._last: Any = None
        self._sums, self._trace = np.zeros((4, 4)), 0.0
        self.unitarity = 0.0

    def add(self, links: NDArray[Any]) -> None:
        """Take the next slice, as `Slices` has it."""
        if links.ndim == 2:
            with np.errstate(all="ignore"):
                links = (np.cos(links) + 1j * np.sin(links))[..., None, None]
        if self._first is None:
            self._first = links
        else:
            self._pair(self._last, links)
        self._last = links
        n = links.shape[-1]
        with np.errstate(all="ignore"):  # damaged numbers may be none
            self._trace += np.einsum("xmii->", links).real / (4 * n * self._n_sites)
        far = _unitarity(links.reshape(-1, n, n), (0.0,) * n)
        self.unitarity = max(self.unitarity, float(far))

    def _pair(self, links: NDArray[Any], following: NDArray[Any]) -> None:
        colours = (0.0,) * links.shape[-1]
        sums = gauge.plaquette_sums(links, self._hop, self._crossed, colours, following)
        self._sums += sums / self._n_sites

    def numbers(self) -> dict[str, float]:
        """Return mean plaquette, that in planes of space, that with time, and link trace, over N."""
        self._pair(self._last, self._first)
        return {
            "plaquette": float(self._sums.sum() / 6),
            "plaquette_space": float(self._sums[1:, 1:].sum() / 3),
            "plaquette_time": float(self._sums[1:, 0].sum() / 3),
            "link_trace": float(self._trace),
        }


@numba.njit(cache=True, nogil=True)
def _unitarity(matrices: Any, colours: Any) -> float:
    """Return how far, at most, matrices are from being unitary; endless where a number is none."""
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


def from_xyzt(values: NDArray[Any], space: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return links, as `Slices` has them, from a file's: x fastest, directions x to t.

    Args:
        values: Complex, (site in space, direction, N, N) in any shape.
        space: Sites in x, y, z.
    """
    x, y, z = space
    n = math.isqrt(values.size // (4 * x * y * z))
    links = np.empty((x, y, z, 4, n, n), dtype=np.complex128)
    read = values.reshape(z, y, x, 4, n, n).transpose(2, 1, 0, 3, 4, 5)
    links[..., 1:, :, :], links[..., 0, :, :] = read[..., :3, :, :], read[..., 3, :, :]
    return links.reshape(-1, 4, n, n)


def written(
    file: BinaryIO, slices: Slices, shape: tuple[int, ...], number: np.dtype[Any], update: Update
) -> tuple[tuple[int, ...], dict[str, float]]:
    """Write links as `from_xyzt` reads them; return their checksums, and `Recomputed.numbers`."""
    recomputed, sums, place = Recomputed(shape), (0, 0), 0
    for links in slices(range(shape[0])):
        recomputed.add(links)
        n = links.shape[-1]
        turned = links.reshape(*shape[1:], 4, n, n)[..., [1, 2, 3, 0], :, :].transpose(2, 1, 0, 3, 4, 5)
        data = as_bytes(turned, number)
        file.write(data)
        sums = update(sums, memoryview(data), place)
        place += len(data)
    return sums, recomputed.numbers()


def as_complex(raw: memoryview, number: np.dtype[Any]) -> NDArray[Any]:
    """Return pairs of real numbers of a file as complex numbers, in the file's order of bytes."""
    return np.frombuffer(raw, dtype=f"{number.str[0]}c{2 * number.itemsize}")


def as_bytes(values: NDArray[np.complex128], number: np.dtype[Any]) -> bytes:
    """Return complex numbers as pairs of real ones of a file."""
    return np.ascontiguousarray(values).view(np.float64).astype(number).tobytes()


def rotated(order: str) -> Update:
    """Return MILC's two sums: words of 32 bits, rotated by their place modulo 29 and 31, by xor."""

    def update(sums: tuple[int, ...], raw: memoryview, place: int) -> tuple[int, ...]:
        return with_words(sums, np.frombuffer(raw, f"{order}u4").astype(np.uint32), place // 4)

    return update


def of_sites(site_bytes: int) -> Update:
    """Return SciDAC's two checksums: CRC-32 of every site, rotated by its number modulo 29 and 31."""

    def update(sums: tuple[int, ...], raw: memoryview, place: int) -> tuple[int, ...]:
        parts = range(0, len(raw), site_bytes)
        crc = np.array([zlib.crc32(raw[i : i + site_bytes]) for i in parts], dtype=np.uint32)
        return with_words(sums, crc, place // site_bytes)

    return update


def with_words(sums: tuple[int, ...], words: NDArray[np.uint32], first: int) -> tuple[int, ...]:
    """Return the sums modulo 29 and 31 with further words, the first of which has this number."""
    return tuple(
        old ^ _rotated_xor(words, modulus, first) for old, modulus in zip(sums, (29, 31), strict=True)
    )


@numba.njit(cache=True, nogil=True)
def _rotated_xor(words: Any, modulus: int, first: int) -> int:
    # Words that are rotated alike are put together first.
    together = np.zeros(modulus, dtype=np.uint32)
    n_whole = len(words) // modulus
    for row in range(n_whole):
        for by in range(modulus):
            together[by] ^= words[row * modulus + by]
    for by in range(len(words) - n_whole * modulus):
        together[by] ^= words[n_whole * modulus + by]
    found = np.uint32(0)
    for place in range(modulus):
        by = (place + first) % modulus
        word = np.uint64(together[place])
        turned = (word << np.uint64(by)) | (word >> np.uint64(32 - by))
        found ^= np.uint32(turned & np.uint64(0xFFFFFFFF))
    return int(found)
