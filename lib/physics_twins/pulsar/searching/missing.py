"""Samples that carry no data: not a number, or spectra that repeat where packets were lost.

They count for nothing in what follows: a pulse loses the share of its S/N that lay in them, and the
ends of a gap are no pulses.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import N_EQUAL

# Spectra from which a channel's level and noise are taken.
N_LEVEL = 1024
QUARTILES_OF_NOISE = 1.349  # distance of the quartiles of a unit Gaussian


def filled(spectra: NDArray[Any], n_absent: int = 0) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return spectra in which noise like their channel's stands for what is missing, and what that is.

    With it level, noise and interference are measured as if nothing were missing; what is summed up
    afterwards must be 0 there.

    Args:
        spectra: Counts, shape (time, channel).
        n_absent: So many at the end stand only for what an observation no longer holds.

    Returns:
        The spectra as they are and None where nothing is missing; else a copy, of whole numbers as
        before, and which samples are missing, shape (time, channel). A channel without any data is 0.

    >>> filled(np.array([[1.0, 5.0], [np.nan, 7.0], [1.0, 6.0]]))[0].tolist()
    [[1.0, 5.0], [1.0, 7.0], [1.0, 6.0]]
    """
    repeated = _repeated(spectra[: len(spectra) - n_absent])
    repeated = np.concatenate([repeated, np.ones(n_absent, dtype=bool)])
    lost = np.broadcast_to(repeated[:, None], spectra.shape)
    if spectra.dtype.kind == "f":
        lost = lost | ~np.isfinite(spectra)
    if not lost.any():
        return spectra, None
    lost = np.array(lost)
    return _with_noise(spectra, lost), lost


def finite(spectra: NDArray[Any]) -> NDArray[Any]:
    """Return spectra, (time, channel), where noise like their channel's stands for what is no number.

    Spectra that repeat stay: to a telescope's imitation they are what it does.
    """
    if spectra.dtype.kind != "f" or (known := np.isfinite(spectra)).all():
        return spectra
    return _with_noise(spectra, ~known)


def _with_noise(spectra: NDArray[Any], lost: NDArray[np.bool_]) -> NDArray[Any]:
    out = spectra.astype(np.float32)
    out[lost] = 0
    step = max(1, len(out) // N_LEVEL)
    known = np.where(lost[::step], np.nan, out[::step])
    told = ~np.isnan(known).all(axis=0)
    level, sigma = np.zeros((2, out.shape[1]), np.float32)
    if told.any():
        level[told], sigma[told] = level_and_noise(known[:, told])
    noise = np.random.default_rng(0).standard_normal(int(lost.sum()), dtype=np.float32)
    channel = np.nonzero(lost)[1]
    out[lost] = level[channel] + sigma[channel] * noise
    if spectra.dtype.kind in "ui":
        out = np.rint(out).clip(0, spectra.max()).astype(spectra.dtype)
    return out


def level_and_noise(spectra: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each channel's median and standard deviation, by quartiles; NaN is left out."""
    low, middle, high = np.nanquantile(spectra, [0.25, 0.5, 0.75], axis=0).astype(np.float32)
    return middle, (high - low) / np.float32(QUARTILES_OF_NOISE)


def _repeated(spectra: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which spectra stand in a run of `N_EQUAL` or more that are equal, shape (time,)."""
    n = len(spectra)
    found = np.zeros(n, dtype=bool)
    if n < N_EQUAL:
        return found
    middle = spectra[:, spectra.shape[1] // 2]
    same = middle[1:] == middle[:-1]
    maybe = np.flatnonzero(same)  # few: all channels of all spectra would fill memory
    same[maybe] = (spectra[maybe + 1] == spectra[maybe]).all(axis=1)
    runs = np.convolve(same, np.ones(N_EQUAL - 1, dtype=int), "valid") == N_EQUAL - 1
    for first in np.flatnonzero(runs):
        found[first : first + N_EQUAL] = True
    return found
