"""Events that come and go by chance: an alternating renewal process, fitted and drawn without end.

How long an event lasts and how long the next one is waited for are drawn from distributions that are
kept as quantiles (Cox 1962, Renewal Theory, chapter 7).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtr
from scipy.stats import spearmanr

# Probabilities at which a distribution is kept, from the least to the largest that was seen.
PROBABILITIES = np.array(
    [0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0]
)
# With fewer events no distribution shows, and they are taken to come at random times.
FEW_EVENTS = 8
EVENTS_DRAWN = 64  # at once
WARM_UP_SPECTRA = 8192


@dataclass(frozen=True)
class Renewal:
    """When events come and how long they last, in numbers.

    Attributes:
        on: Quantiles of how long an event lasts, in spectra, shape (quantile,).
        off: Quantiles of how long the next is waited for, in spectra, shape (quantile,).
        on_memory: Rank correlation of one event's length with the next one's.
        off_memory: Rank correlation of one wait with the next: events come in trains.
    """

    on: NDArray[np.float64]
    off: NDArray[np.float64]
    on_memory: float
    off_memory: float


def fit_renewal(present: NDArray[np.bool_]) -> Renewal:
    """Return what events' times follow, from where there is one, shape (segment, time).

    There must be at least one.
    """
    ends = [runs(segment) for segment in present]
    on = [stop - start for start, stop in ends]
    off = [start[1:] - stop[:-1] for start, stop in ends]
    lengths, waits = np.concatenate(on).astype(float), np.concatenate(off).astype(float)
    on_memory, off_memory = (
        rank_correlation(*np.concatenate([np.stack([c[:-1], c[1:]]) for c in column if len(c)], axis=1))
        if any(len(c) for c in column)
        else 0.0
        for column in (on, off)
    )
    if len(waits) < FEW_EVENTS:
        mean = (present.size - lengths.sum()) / len(lengths)
        waits = -mean * np.log1p(-np.linspace(0.01, 0.99, 99))
    return Renewal(
        np.quantile(lengths, PROBABILITIES), np.quantile(waits, PROBABILITIES), on_memory, off_memory
    )


class EventStream:
    """Events one after the other, without end, each with a normal number of its own.

    It begins as if it had been running for `WARM_UP_SPECTRA`.
    """

    def __init__(
        self,
        times: Renewal,
        rng: np.random.Generator,
    ) -> None:
        """Begin at spectrum 0.

        Args:
            times: When events come and how long they last.
            rng: Its state says what comes.
        """
        self._times, self._rng = times, rng
        self._length_before, self._wait_before = rng.standard_normal(2)
        self._begin, self._last = 0, -WARM_UP_SPECTRA
        self._draw()
        while self._stop[-1] <= 0:
            self._draw()
        self._n = int(np.searchsorted(self._stop, 0, side="right"))

    def within(self, n_spectra: int) -> Iterator[tuple[slice, float]]:
        """Yield the events that reach into the next spectra.

        Each comes with the rows of these that it reaches, and its number.
        """
        begin, end = self._begin, self._begin + n_spectra
        self._begin = end
        while (start := self._start[self._n]) < end:
            stop = self._stop[self._n]
            rows = slice(int(max(start, begin) - begin), int(min(stop, end) - begin))
            yield rows, float(self._numbers[self._n])
            if stop > end:
                return
            self._n += 1
            if self._n == len(self._start):
                self._draw()

    def _draw(self) -> None:
        """Draw the events that follow the last one."""
        times = self._times
        length, wait, self._numbers = self._rng.standard_normal((3, EVENTS_DRAWN))
        length = _remembering(length, self._length_before, _pearson(times.on_memory))
        wait = _remembering(wait, self._wait_before, _pearson(times.off_memory))
        self._length_before, self._wait_before = float(length[-1]), float(wait[-1])
        on, off = _in_spectra(times.on, length), _in_spectra(times.off, wait)
        self._stop = self._last + np.cumsum(off + on)
        self._start = self._stop - on
        self._last, self._n = int(self._stop[-1]), 0


def runs(present: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and one past the last index of each unbroken run.

    >>> runs(np.array([True, False, True, True]))
    (array([0, 2]), array([1, 4]))
    """
    steps = np.diff(np.concatenate([[0], present.astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's correlation of what is finite in both; 0 where there is too little of it."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < FEW_EVENTS or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return 0.0
    return float(np.asarray(spearmanr(first[both], second[both]))[0])


def _pearson(rank: float) -> float:
    """Return the correlation of normal values whose ranks have this one (Spearman's)."""
    return float(np.clip(2 * np.sin(np.pi / 6 * rank), -1, 1))


def _remembering(white: NDArray[np.float64], before: float, memory: float) -> NDArray[np.float64]:
    """Return normal values that remember the one before, from independent ones."""
    values, _ = lfilter([np.sqrt(1 - memory**2)], [1, -memory], white, zi=[memory * before])
    return np.asarray(values)


def _in_spectra(quantiles: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return durations in whole spectra, at least one."""
    drawn = np.interp(ndtr(normal), PROBABILITIES, quantiles)
    return np.maximum(np.rint(drawn), 1).astype(np.int64)
