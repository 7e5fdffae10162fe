"""Prepare a block of spectra for a search: normalise each channel and remove interference.

Samples that carry no data (not a number, or spectra that repeat where packets were lost) count for
nothing in what follows: a pulse loses the share of its S/N that lay in them, and the ends of a gap are
no pulses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.observation_file import N_EQUAL
from physics_twins.pulsar.searching.cells import (
    CELL,
    MIN_CELLS,
    N_LEVEL,
    Cells,
    baseline_cells,
    level_and_noise,
    normalise_into,
    normalised,
    normalised_shape,
    quiet_noise,
)
from physics_twins.pulsar.searching.gain_steps import measured
from physics_twins.pulsar.searching.impulses import Impulses, drift_of, find_impulses


@dataclass(frozen=True)
class Prepared:
    """Spectra as the search takes them.

    Attributes:
        data: Mean 0 and standard deviation `UNIT` in each channel, 0 where removed or missing; shape
            (channel, time), both filled up.
        n_time: Spectra, those that only fill up left out.
        cells: Level, noise and narrow-band interference of each channel.
        impulses: Interference of the whole band.
        missing: Samples that carry no data, shape (time, channel), or None where there are none.
        spectra: Counts without steps in gain, noise where nothing was recorded, (time, channel).
    """

    data: NDArray[np.int8]
    n_time: int
    cells: Cells
    impulses: Impulses
    missing: NDArray[np.bool_] | None
    spectra: NDArray[Any]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Channels that are used, shape (channel,)."""
        return ~self.cells.bad_channel

    def there(self, channel: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which samples are inside the data, and neither removed nor missing."""
        inside = (time >= 0) & (time < self.n_time)
        time = time.clip(0, self.n_time - 1)
        cell = np.minimum(time // CELL, len(self.cells.removed) - 1)
        gone = self.cells.removed[cell, channel] | self.impulses.removed[time]
        if self.missing is not None:
            gone |= self.missing[time, channel]
        return inside & ~gone


def prepare(
    spectra: NDArray[Any],
    *,
    delays: NDArray[np.float64],
    width_max: float = 0.0,
    n_absent: int = 0,
    start: int = 0,
    n_frames: int = 1,
    frame_spectra: int | None = None,
) -> Prepared:
    """Normalise spectra and remove interference, and what carries no data.

    Args:
        spectra: Counts, shape (time, channel), the highest frequency first.
        delays: Of the highest DM that is sought, from `Band.delays`: what such a pulse
            explains better than an impulse of the whole band stays; zeros where none is sought.
        width_max: Of the widest pulse that is sought, in samples: it is no baseline.
        n_absent: So many spectra at the end only fill up, and carry no data.
        start: Spectrum at which the first frame begins whose impulses are told.
        n_frames: Such frames.
        frame_spectra: Spectra in one; by default all.
    """
    n_time = len(spectra) - n_absent
    few = max(0, MIN_CELLS * CELL - len(spectra))  # level and noise are told from so many
    if few:
        spectra, n_absent = np.pad(spectra, ((0, few), (0, 0))), n_absent + few
    spectra, missing = filled(spectra, n_absent)
    spectra, cells = measured(spectra, drift=drift_of(delays), n_baseline=baseline_cells(width_max))
    data = np.empty(normalised_shape(*spectra.shape), np.int8)
    normalise_into(data, spectra, cells)
    if missing is not None:
        data[: spectra.shape[1], : len(spectra)][missing.T] = 0
    frames = {"start": start, "n_frames": n_frames, "frame_spectra": frame_spectra or len(spectra)}
    impulses = find_impulses(data, cells.bad_channel, delays=delays, **frames)
    data[:, impulses.removed] = 0
    return Prepared(data, n_time, cells, impulses, missing, spectra)


@dataclass(frozen=True)
class Cleaned:
    """Normalised spectra and what was removed from them, sample by sample: what is fitted to.

    Attributes:
        data: Mean 0, standard deviation 1 in each channel, 0 where removed; shape (channel, time).
        narrowband: Samples removed as narrow-band bursts, shape (channel, time).
        broadband: Spectra removed as broad-band impulses, shape (time,).
        prepared: The same as a search takes them.
    """

    data: NDArray[np.float32]
    narrowband: NDArray[np.bool_]
    broadband: NDArray[np.bool_]
    prepared: Prepared

    @property
    def bad_channel(self) -> NDArray[np.bool_]:
        """Channels that were removed whole, shape (channel,)."""
        return self.prepared.cells.bad_channel


def clean(spectra: NDArray[Any], *, delays: NDArray[np.float64], width_max: float = 0.0) -> Cleaned:
    """Normalise spectra and remove interference, and what carries no data; as `prepare`, unrounded.

    Args:
        spectra: Counts, shape (time, channel).
        delays: As in `prepare`.
        width_max: As in `prepare`.
    """
    n_time = len(spectra)
    prepared = prepare(spectra, delays=delays, width_max=width_max)
    cells, broadband = prepared.cells, prepared.impulses.removed[:n_time]
    data = normalised(prepared.spectra[:n_time], cells)
    data[:, broadband] = 0
    if prepared.missing is not None:
        data[prepared.missing[:n_time].T] = 0
    narrowband = np.zeros(data.shape, dtype=bool)
    n_whole = min(n_time, len(cells.removed) * CELL)
    narrowband[:, :n_whole] = np.repeat(cells.removed.T, CELL, axis=1)[:, :n_whole]
    return Cleaned(data, narrowband, broadband, prepared)


def normalise(spectra: NDArray[Any]) -> NDArray[np.float32]:
    """Return spectra with mean 0 and standard deviation 1 in each channel, shape (channel, time).

    Nothing is removed. Mean and standard deviation are those of the quiet part where the spectra are
    many enough to tell; a channel that is constant becomes 0.

    Args:
        spectra: Counts, shape (time, channel).

    >>> normalise(np.array([[1, 7], [3, 7]])).round(1)
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """
    if len(spectra) < MIN_CELLS * CELL:
        level, sigma = spectra.mean(axis=0), spectra.std(axis=0)
    else:
        level, sigma = quiet_noise(spectra)
    inverse = np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1), 0)
    return np.ascontiguousarray(((spectra - level) * inverse).T, dtype=np.float32)


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
