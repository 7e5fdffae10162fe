"""Samples of 1, 2, 4, 8, 16 and 32 bits as they lie in files, packed and unpacked."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# So many equal spectra in a row are no measurement: zeros or a last value that a recorder filled in.
N_EQUAL = 3
# Little endian; FITS stores the two wide ones big endian.
SAMPLE_TYPES = {1: "u1", 2: "u1", 4: "u1", 8: "u1", 16: "<u2", 32: "<f4"}


def unpack(samples: NDArray[Any], n_bits: int, *, high_first: bool) -> NDArray[Any]:
    """Spread samples of 1, 2 or 4 bits over bytes; wider ones are returned as they are.

    Args:
        samples: Bytes as they lie in the file, or wider samples.
        n_bits: Bits in a sample.
        high_first: Whether the first sample is in a byte's highest bits, as in PSRFITS, or in its
            lowest, as in SIGPROC.

    >>> unpack(np.array([0b00011011], dtype=np.uint8), 2, high_first=True)
    array([0, 1, 2, 3], dtype=uint8)
    """
    if n_bits >= 8:
        return samples
    return _unpacked_bytes(n_bits, high_first)[samples].view("u1")


def pack(spectra: NDArray[Any], n_bits: int, path: Path, *, high_first: bool) -> bytes:
    """Return samples as they lie in a little-endian file.

    Raises:
        ValueError: A value is no whole number, or does not fit into `n_bits`; the message names
            the file.
    """
    if n_bits == 32:
        return np.ascontiguousarray(spectra, dtype="<f4").tobytes()
    with np.errstate(invalid="ignore"):  # what is no number differs from what was stored
        stored = spectra.astype(SAMPLE_TYPES[n_bits])
    if not (stored == spectra).all() or (spectra.size and stored.max() >= 2**n_bits):
        raise ValueError(f"{path}: data: not all values are whole numbers from 0 to {2**n_bits - 1}")
    if n_bits < 8:
        shifts = _shifts(n_bits, high_first)
        return np.bitwise_or.reduce(stored.reshape(-1, len(shifts)) << shifts, axis=1).tobytes()
    return stored.tobytes()


@cache
def _unpacked_bytes(n_bits: int, high_first: bool) -> NDArray[Any]:
    """Return for each byte its samples, one byte each, side by side in one number, shape (256,)."""
    every_byte = np.arange(256, dtype=np.uint8)[:, None]
    samples = (every_byte >> _shifts(n_bits, high_first)) & np.uint8(2**n_bits - 1)
    return samples.view(f"u{8 // n_bits}").reshape(-1)


def _shifts(n_bits: int, high_first: bool) -> NDArray[np.uint8]:
    shifts = np.arange(0, 8, n_bits, dtype=np.uint8)
    return shifts[::-1] if high_first else shifts
