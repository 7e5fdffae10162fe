"""Prepare a block of spectra for a search: normalise each channel and remove interference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.searching.cells import CELL, MIN_CELLS, baseline_cells, quiet_noise
from physics_twins.pulsar.searching.gain_steps import measured
from physics_twins.pulsar.searching.impulses import drift_of, find_impulses
from physics_twins.pulsar.searching.missing import filled
from physics_twins.pulsar.searching.normalisation import normalise_into, normalised, normalised_shape


@dataclass(frozen=True)
class Cleaned:
    """Normalised spectra and what was removed from them.

    Attributes:
        data: Mean 0, standard deviation 1 in each channel, 0 where removed; shape (channel, time).
        bad_channel: Channels that were removed whole, shape (channel,).
        narrowband: Samples removed as narrow-band bursts, shape (channel, time).
        broadband: Spectra removed as broad-band impulses, shape (time,).
        n_missing: Samples that carried no data; they are 0 too.
    """

    data: NDArray[np.float32]
    bad_channel: NDArray[np.bool_]
    narrowband: NDArray[np.bool_]
    broadband: NDArray[np.bool_]
    n_missing: int = 0


def clean(spectra: NDArray[Any], *, delays: NDArray[np.float64], width_max: float = 0.0) -> Cleaned:
    """Normalise spectra and remove interference, and what carries no data.

    Args:
        spectra: Counts, shape (time, channel); where they are few, no interference is removed.
        delays: Of the highest DM that is sought, from `dedispersion.longest_delays`: what such a pulse
            explains better than an impulse of the whole band stays; zeros where none is sought.
        width_max: Of the widest pulse that is sought, in samples: it is no baseline.
    """
    spectra, missing = filled(spectra)
    n_missing = 0 if missing is None else int(missing.sum())
    narrowband = np.zeros(spectra.T.shape, dtype=bool)
    if len(spectra) < MIN_CELLS * CELL:
        data = normalise(spectra)
        if missing is not None:
            data[missing.T] = 0
        nothing = np.zeros(len(spectra), dtype=bool)
        return Cleaned(data, np.logical_not(data.any(axis=1)), narrowband, nothing, n_missing)
    spectra, cells = measured(spectra, drift=drift_of(delays), n_baseline=baseline_cells(width_max))
    data = normalised(spectra, cells)
    coarse = np.empty(normalised_shape(*spectra.shape), np.int8)
    normalise_into(coarse, spectra, cells)
    n_time = len(spectra)
    whole = {"start": 0, "n_frames": 1, "frame_spectra": n_time}
    impulses = find_impulses(coarse, cells.bad_channel, delays=delays, **whole)
    broadband = impulses.removed[:n_time]
    data[:, broadband] = 0
    if missing is not None:
        data[missing.T] = 0
    n_whole = len(cells.removed) * CELL
    narrowband[:, :n_whole] = np.repeat(cells.removed.T, CELL, axis=1)
    return Cleaned(data, cells.bad_channel, narrowband, broadband, n_missing)


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
