"""From what channels recorded to the inputs of a subtraction: gaps faded, products, fringes.

All of it has a short memory: what an input is now rests on `REACH_S` of its channels before and after,
so that a stream has the same inputs as a whole stretch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import windows

from physics_twins.virgo import witnesses
from physics_twins.virgo.fringe import BENCH_S, Fringe

Series = NDArray[np.floating]
Pair = tuple[str, str]

_STUCK_S = 0.1  # a channel that does not change for so long has no data
_GAPS_HZ = 0.1  # a channel with more gaps in a second has steps
_MOST_MISSING = 0.5  # a channel that lacks more of a stretch is left out
REACH_S = 0.5 * BENCH_S + 3 * _STUCK_S


@dataclass(frozen=True)
class Known:
    """What the channels of a stretch know.

    Attributes:
        series: Of each about its mean, gaps filled, shape (time,).
        means: Of each.
        whole: Where none lacks data, shape (time,).
    """

    series: dict[str, Series]
    means: dict[str, float]
    whole: NDArray[np.bool_]


def known(stretch: xr.Dataset, names: Iterable[str] | None = None) -> Known:
    """Return what channels know.

    Left out are those that are missing for most of the time, only count, or get a new value so seldom
    that they have nothing to say at the frequencies of interest.

    Args:
        stretch: With `witness` (channel, time).
        names: Which channels; all by default.
    """
    rate_hz, whole = sample_rate(stretch), np.ones(stretch.sizes["time"], bool)
    series, means = {}, {}
    for name in channels(stretch) if names is None else names:
        record = stretch["witness"].sel(channel=name).values
        here = has_data(record, rate_hz)
        rare = here.mean() <= 1 - _MOST_MISSING or _coarse(here, rate_hz)
        if not rare and not counts(record[here]):
            means[name] = float(record[here].mean(dtype=float))
            series[name] = filled(record.astype(float) - means[name], here, rate_hz)
            whole &= here
    return Known(series, means, whole)


def counts(record: NDArray[np.floating]) -> bool:
    """Return whether a record is that of a counter: whole numbers that never fall.

    >>> counts(np.array([0.0, 0.0, 1.0, 2.0])), counts(np.array([0.0, 1.0, 0.0]))
    (True, False)
    """
    return bool((np.diff(record) >= 0).all() and (record == np.round(record)).all())


def _coarse(here: NDArray[np.bool_], sample_rate_hz: float) -> bool:
    """Return whether a channel seems to be stuck again and again: its values are steps."""
    n_gaps = int(np.sum(np.diff(here.astype(int)) < 0))
    return n_gaps > _GAPS_HZ * len(here) / sample_rate_hz


def channels(stretch: xr.Dataset) -> list[str]:
    """Return the names of a stretch's channels."""
    return [str(name) for name in stretch["channel"].values]


def sample_rate(stretch: xr.Dataset) -> float:
    """Return the samples a second of a stretch, from its times."""
    time_s = stretch["time"].values
    return float(round((len(time_s) - 1) / (time_s[-1] - time_s[0])))


def has_data(record: NDArray[np.floating], sample_rate_hz: float) -> NDArray[np.bool_]:
    """Return where a record holds data: it is a number, and has changed within a tenth of a second.

    Args:
        record: Of one channel, shape (time,).
        sample_rate_hz: Of it.
    """
    n_stuck = max(2, round(_STUCK_S * sample_rate_hz))
    same = np.concatenate([[False], np.diff(record) == 0])
    if not same.any():
        return np.isfinite(record)
    run = np.convolve(same, np.ones(n_stuck))[: len(same)] > n_stuck - 0.5
    stuck = np.convolve(run[::-1], np.ones(n_stuck + 1))[: len(same)][::-1] > 0.5
    return np.isfinite(record) & ~stuck


def filled(record: Series, here: NDArray[np.bool_], sample_rate_hz: float) -> Series:
    """Return a record with zeros where it holds no data.

    The edges of a gap are faded over a tenth of a second: a step would be heard at all frequencies.

    Args:
        record: Of one channel about its mean, shape (time,).
        here: Where it holds data, shape (time,).
        sample_rate_hz: Of it.
    """
    if here.all():
        return record.astype(float)
    n_fade = 2 * max(2, round(_STUCK_S * sample_rate_hz)) + 1
    near_gap = np.convolve(~here, np.ones(n_fade), mode="same") > 0.5
    fade = np.convolve(~near_gap, windows.hann(n_fade) * 2 / (n_fade - 1), mode="same")
    return np.where(here, record, 0).astype(float) * np.clip(fade, 0, 1)


def basis(
    known: Mapping[str, Series], products: Iterable[Pair], fringe: Fringe | None, sample_rate_hz: float
) -> dict[str, Series]:
    """Return the inputs by name: the channels, products of two, the bench's fringe.

    Args:
        known: Channels about their means, gaps filled, each of shape (time,).
        products: Which channels are multiplied; one with itself is squared.
        fringe: Of the bench, where there is one.
        sample_rate_hz: Of all.
    """
    found = dict(known)
    found |= {f"{a}*{b}": known[a] * known[b] for a, b in products if {a, b} <= known.keys()}
    if fringe is not None:
        found[fringe.name] = fringe.series(known[witnesses.BENCH.name], sample_rate_hz)
    return found
