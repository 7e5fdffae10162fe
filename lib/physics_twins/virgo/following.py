"""A subtraction that follows its couplings, and stops where they go away.

In narrow bands, each input of a Wiener filter gets a complex factor that is learnt from the seconds
before: 1 while the filters stay right, less where a coupling fades, -1 where it has changed its sign, 0
where a line has stopped, a turned phase where a witness comes late. Four guesses compete in every band:
the filters as they are, a slow and a quick memory, and no subtraction at all. What would have left
least in the last seconds is used next. Nothing is learnt from the part that is cleaned.
"""

from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo.cleaning import Wiener, parts_of

Series = NDArray[np.floating]

PART_S = 2.0  # cleaned at once, under a window that overlaps by half
MEMORIES_S = (64.0, 8.0)
_JUDGED_S = 6.0  # over which the guesses are compared
_BANDS_HZ, _WIDTH, _WIDTHS_HZ = (10.0, 480.0), 0.2, (2.0, 16.0)
_PRIOR = 4.0  # certainty of a factor of 1: a standard deviation of a half
_SHRINK = 3.0  # a factor leaves 1 by what is beyond so many variances


def follow(wiener: Wiener, stretch: xr.Dataset) -> Series:
    """Return what to subtract from a strain, shape (time,), second by second from the past alone.

    Args:
        wiener: From `fit`: its filters are the first guess.
        stretch: With `strain` and the channels that it was fitted to.
    """
    inputs = list(parts_of(wiener, stretch).values())
    strain = stretch["strain"].values.astype(float)
    rate_hz = 2 * float(wiener.frequency_hz[-1])
    n_part = round(PART_S * rate_hz)
    window, hop = np.hanning(n_part + 1)[:-1], n_part // 2
    joined = np.stack([*inputs, strain])
    series = np.zeros((len(joined), hop + len(strain) + n_part))
    series[:, hop : hop + len(strain)] = joined
    edges = _edges(n_part, rate_hz)
    experts = _Experts(len(inputs), len(edges) - 1)
    found = np.zeros(series.shape[1])
    waiting: list[tuple[NDArray, NDArray]] = []
    for first in range(0, series.shape[1] - n_part + 1, hop):
        spectra = np.fft.rfft(series[:, first : first + n_part] * window)
        factors = np.ones((len(inputs), spectra.shape[1]), complex)
        chosen = experts.chosen()
        factors[:, edges[0] : edges[-1]] = np.repeat(chosen, np.diff(edges), axis=0).T
        found[first : first + n_part] += np.fft.irfft(np.sum(factors * spectra[:-1], axis=0), n_part)
        waiting.append((spectra[:-1], spectra[-1]))
        if len(waiting) > 2:  # the next part shares nothing with it
            experts.learn(*waiting.pop(0), edges)
    return found[hop : hop + len(strain)]


class _Experts:
    """The guesses of factors for each band, what they rest on, and how well they did."""

    def __init__(self, n_inputs: int, n_bands: int) -> None:
        self._xx = np.zeros((len(MEMORIES_S), n_bands, n_inputs, n_inputs), complex)
        self._xy = np.zeros((len(MEMORIES_S), n_bands, n_inputs), complex)
        ones = np.ones((n_bands, n_inputs), complex)
        # As they are, then one for each memory, then none.
        self._factors = np.stack([ones] * (1 + len(MEMORIES_S)) + [0 * ones])
        self._left = np.zeros((len(self._factors), n_bands))
        self._level, self._n_learnt = np.zeros(n_bands), 0

    def chosen(self) -> NDArray:
        """Return the factors of the best guess in each band, shape (band, input)."""
        best = self._left.argmin(axis=0)
        return self._factors[best, np.arange(len(best))]

    def learn(self, inputs: NDArray, strain: NDArray, edges: NDArray) -> None:
        """Judge all guesses by a part, (input, frequency) and (frequency), then learn from it."""
        for b, (low, high) in enumerate(pairwise(edges.tolist())):
            x, y = inputs[:, low:high], strain[low:high]
            left = np.sum(np.abs(y - self._factors[:, b] @ x) ** 2, axis=-1)
            keep = np.exp(-0.5 * PART_S / _JUDGED_S)
            self._left[:, b] = keep * self._left[:, b] + left
            # In units of what the best guess leaves in a bin, slowly followed: when all guesses fail at
            # once, what is seen then must not count less than what was seen before.
            level = np.log(max(float(left.min()) / (high - low), 1e-300))
            keep = np.exp(-0.5 * PART_S / MEMORIES_S[0]) if self._n_learnt else 0.0
            self._level[b] = keep * self._level[b] + (1 - keep) * level
            unit = np.exp(self._level[b])
            for m, memory_s in enumerate(MEMORIES_S):
                keep = np.exp(-0.5 * PART_S / memory_s)
                self._xx[m, b] = keep * self._xx[m, b] + x.conj() @ x.T / unit
                self._xy[m, b] = keep * self._xy[m, b] + x.conj() @ y / unit
        self._factors[1:-1] = self._solved()
        self._n_learnt += 1

    def _solved(self) -> NDArray:
        """Return the factors that both memories think best, drawn to 1 by what chance may do."""
        prior = _PRIOR * np.eye(self._xx.shape[-1])
        rest = self._xy - self._xx.sum(axis=-1)  # of what the filters as they are leave
        away = np.linalg.solve(self._xx + prior, rest[..., None])[..., 0]
        sure = np.abs(away) ** 2 * np.einsum("mbii->mbi", self._xx).real
        return 1 + away * np.maximum(0, 1 - _SHRINK / np.maximum(sure, 1e-9))


def _edges(n_part: int, sample_rate_hz: float) -> NDArray[np.integer]:
    """Return the edges of the bands as bins of a part's spectrum."""
    edges_hz = [_BANDS_HZ[0]]
    while edges_hz[-1] < min(_BANDS_HZ[1], 0.45 * sample_rate_hz):
        edges_hz.append(edges_hz[-1] + float(np.clip(_WIDTH * edges_hz[-1], *_WIDTHS_HZ)))
    return np.round(np.array(edges_hz) * n_part / sample_rate_hz).astype(int)
