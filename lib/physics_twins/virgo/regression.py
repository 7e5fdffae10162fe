"""Regression of a strain on many inputs in each bin of frequency, with a gate for what is chance.

In each bin, inputs enter one by one, the one first that explains most of what is left, as long as its
coherence with that is beyond chance: an input that has nothing to say would only add its noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, signal
from scipy.signal import windows

Series = NDArray[np.floating]
Complex = NDArray[Any]

# Parts under a Hann window that overlap by half count for less than independent ones (Welch 1967).
OVERLAP = 1.056
_SMOOTH_BINS = 5  # over so many bins coherence is averaged before it is compared with chance
_DECAYS_S = (0.005, 0.01, 0.02, 0.04, 0.1)  # of a filter's taps, of which one is chosen
_SIZES, _LEAST_SIZE, _JITTER = (0.3, 1.0, 3.0, 10.0), 0.05, 1e-6  # of a filter, over its mean size
_RAMP_HZ = 2.0  # within which a filter ends below its lowest bin
_ALIKE = 8 / 3  # bins of a Hann window share their errors: 1 + 2 (2/3 + 1/6) count as one
_HEARD = 1e-10  # below this part of its greatest power, an input's bin is leakage of a window
_OWN = 0.05  # an input of which those taken explain all but this part has nothing of its own
_AT_ONCE = 16  # parts that are held at once


@dataclass(frozen=True)
class Spectra:
    """Mean cross spectra of inputs x and strain y; inputs are scaled to 1 in each bin.

    Attributes:
        xx: Shape (frequency, input, input).
        xy: Shape (frequency, input), over the square root of `yy`.
        yy: Shape (frequency,).
        scale: Shape (frequency, input).
        n: Independent parts.
    """

    xx: Complex
    xy: Complex
    yy: Series
    scale: Series
    n: float

    @staticmethod
    def of(
        inputs: Sequence[Series], strain: Series, whole: NDArray[np.bool_], n_part: int
    ) -> "Spectra":
        """Return the spectra over all parts that lack no data.

        Args:
            inputs: Each of shape (time,).
            strain: Shape (time,).
            whole: Where no input lacks data, shape (time,).
            n_part: Samples of a part.

        Raises:
            ValueError: No part is whole.
        """
        sums, n = np.zeros((n_part // 2 + 1, len(inputs) + 1, len(inputs) + 1), complex), 0
        for some in parts([*inputs, strain], whole, n_part, at_once=_AT_ONCE):
            by_bin = np.ascontiguousarray(some.transpose(2, 1, 0))  # (frequency, series, part)
            sums += by_bin.conj() @ by_bin.transpose(0, 2, 1)
            n += len(some)
        if not n:
            raise ValueError("no part of the stretch has data in all channels; leave some channels out")
        xx, xy, yy = sums[:, :-1, :-1], sums[:, :-1, -1], np.maximum(np.real(sums[:, -1, -1]), 1e-300)
        scale = np.sqrt(np.maximum(np.einsum("fii->fi", xx).real, 1e-300))
        xx = xx / (scale[:, :, None] * scale[:, None, :])
        return Spectra(xx, xy / (scale * np.sqrt(yy)[:, None]), yy, scale, n / OVERLAP)

    def solve(self, taken: NDArray[np.bool_]) -> Complex:
        """Return transfer functions of the inputs taken, zero elsewhere, shape (frequency, input)."""
        return self._weights(taken) * np.sqrt(self.yy)[:, None] / self.scale

    def error(self, taken: NDArray[np.bool_]) -> Series:
        """Return standard deviations of what `solve` returns, shape (frequency, input).

        Of real and imaginary part together (Bendat & Piersol 2010, chapter 9).
        """
        inverse = np.einsum("fii->fi", np.linalg.inv(self._of_taken(taken))).real
        variance = np.maximum(inverse, 0) * (self.left(taken) / self.n)[:, None] * taken
        return np.sqrt(variance * self.yy[:, None]) / self.scale

    def left(self, taken: NDArray[np.bool_]) -> Series:
        """Return which part of the strain's power the inputs taken leave, shape (frequency,)."""
        explained = np.sum((self.xy * taken).conj() * self._weights(taken), axis=1).real
        return np.clip(1 - explained, 1e-9, 1)

    def coherence(self) -> Series:
        """Return the multiple coherence of all inputs with the strain, shape (frequency,)."""
        return 1 - self.left(np.ones(self.xy.shape, bool))

    def _weights(self, taken: NDArray[np.bool_]) -> Complex:
        return np.linalg.solve(self._of_taken(taken), (self.xy * taken)[..., None])[..., 0] * taken

    def smooth(
        self, response: Complex, taken: NDArray[np.bool_], frequency_hz: NDArray[np.floating]
    ) -> tuple[Complex, Series]:
        """Return transfer functions without errors that no short filter has, and what error is left.

        See `interpolated`: they go on above the bins that an input was let into, as far as what is
        known there tells, and end below them, where inputs are loud and strain is filtered away. Both
        of shape (frequency, input).
        """
        error, found = self.error(taken), np.zeros(response.shape, complex)
        left = np.zeros(response.shape)
        for i in np.flatnonzero(taken.any(axis=0)):
            known = taken[:, i]
            found[:, i], left[:, i] = interpolated(
                response[known, i], error[known, i], frequency_hz[known], frequency_hz
            )
            begins = (frequency_hz - frequency_hz[known][0]) / _RAMP_HZ + 1
            found[:, i] *= 0.5 - 0.5 * np.cos(np.pi * np.clip(begins, 0, 1))
        return found, left

    def let_in(self, gate: float) -> NDArray[np.bool_]:
        """Return which inputs enter which bins, shape (frequency, input)."""
        heard = self.scale**2 > _HEARD * (self.scale**2).max(axis=0)
        if gate == 0:
            return heard
        taken = np.zeros(heard.shape, bool)
        partial, bins = np.zeros(heard.shape), np.arange(len(heard))
        for _ in range(len(self.scale[0])):
            partial[bins] = self._at(bins)._partial_coherence(taken[bins]) * self.n
            near = signal.oaconvolve(partial, np.ones((_SMOOTH_BINS, 1)) / _SMOOTH_BINS, "same", axes=0)
            strength = np.where(
                taken | ~heard, 0, np.maximum(partial, near * gate / _smooth_gate(gate))
            )
            best = strength.argmax(axis=1)
            bins = np.flatnonzero(strength.max(axis=1) > gate)
            if not len(bins):
                break
            taken[bins, best[bins]] = True
        return taken

    def _at(self, bins: NDArray[np.integer]) -> "Spectra":
        return Spectra(self.xx[bins], self.xy[bins], self.yy[bins], self.scale[bins], self.n)

    def _partial_coherence(self, taken: NDArray[np.bool_]) -> Series:
        """Return the coherence of each input's rest with the strain's rest, given those taken.

        Where hardly anything is left of an input it is 0: two inputs that differ by so little would
        stand against each other with large filters, and part as soon as they differ by more.
        """
        inverse = np.linalg.inv(self._of_taken(taken))
        mine = self.xx * taken[:, :, None]  # rows of those taken
        solved = inverse @ mine * taken[:, :, None]
        weights = (inverse @ (self.xy * taken)[..., None])[..., 0] * taken
        left = self.xy - (self.xx @ weights[..., None])[..., 0]
        rest = 1 - np.einsum("fij,fij->fj", mine.conj(), solved).real
        unexplained = 1 - np.sum((self.xy * taken).conj() * weights, axis=1).real
        partial = np.abs(left) ** 2 / np.maximum(rest * unexplained[:, None], 1e-9)
        return np.where(rest > _OWN, partial, 0)

    def _of_taken(self, taken: NDArray[np.bool_]) -> Complex:
        """Return the matrix of those taken, that of the others 1, with a hair of ridge."""
        both = taken[:, :, None] & taken[:, None, :]
        return (
            np.where(both, self.xx, 0) + np.eye(taken.shape[1]) * np.where(taken, 1e-9, 1)[:, None, :]
        )


def interpolated(
    known: Complex, error: Series, known_hz: Series, at_hz: Series
) -> tuple[Complex, Series]:
    """Return a transfer function everywhere, from some bins in which it is known with errors.

    A Gaussian process in frequency (Rasmussen & Williams 2006, chapter 2): of a filter whose taps fall
    off with their time, neighbours are alike. How fast they fall off, and how large they are, is what
    makes the known bins most probable. Far from all of them it is 0, the least harmful guess.

    Args:
        known: Shape (known,).
        error: Standard deviation of it, of real and imaginary part together, shape (known,).
        known_hz: Frequencies of `known`.
        at_hz: Frequencies that are asked for, shape (frequency,).

    Returns:
        The function and its standard deviation, likewise of both parts, each of shape (frequency,).
    """
    variance = _ALIKE * error**2
    weight = 1 / (variance + np.median(variance) + 1e-300)
    total = np.sum(weight * np.abs(known) ** 2)
    size = max(total - np.sum(weight * variance), _LEAST_SIZE * total) / weight.sum()
    best, chosen = -np.inf, None
    value, left = np.zeros(len(at_hz), complex), np.zeros(len(at_hz))
    for decay_s in _DECAYS_S if size > 0 else ():
        prior = _covariance(known_hz, known_hz, decay_s)
        for scale in size * np.array(_SIZES):
            among = scale * prior + np.diag(variance + _JITTER * scale)
            lower = linalg.cholesky(among, lower=True)
            white = linalg.solve_triangular(lower, known, lower=True)
            evidence = -np.sum(np.abs(white) ** 2) - 2 * np.sum(np.log(np.diag(lower)))
            if evidence > best:
                best, chosen = evidence, (lower, white, scale, decay_s)
    if chosen:
        lower, white, scale, decay_s = chosen
        across = scale * _covariance(known_hz, at_hz, decay_s)
        told = linalg.solve_triangular(lower, across, lower=True)
        value, left = told.T @ white, np.sqrt(np.maximum(scale - np.sum(told**2, axis=0), 0))
    return value, left


def _covariance(first_hz: Series, second_hz: Series, decay_s: float) -> Series:
    """Return how alike a filter is at frequencies whose taps fall off as exp(-|time| / decay)."""
    return 1 / (1 + (2 * np.pi * decay_s * (first_hz[:, None] - second_hz)) ** 2)


def _smooth_gate(gate: float) -> float:
    """Return the gate of a mean over neighbouring bins that chance passes about as seldom."""
    return 1 + gate / 3


def parts(
    series: Sequence[Series], whole: NDArray[np.bool_], n_part: int, *, at_once: int
) -> Iterator[Complex]:
    """Yield spectra of windowed parts, less their trends, that overlap by half and lack no data.

    Args:
        series: Each of shape (time,).
        whole: Where none lacks data, shape (time,).
        n_part: Samples of a part.
        at_once: Parts that are yielded together, shape (part, series, frequency).
    """
    window = windows.hann(n_part, sym=False)
    starts = range(0, len(whole) - n_part + 1, n_part // 2)
    lacking = np.concatenate([[0], np.cumsum(~whole)])
    used = [first for first in starts if lacking[first + n_part] == lacking[first]]
    for n in range(0, len(used), at_once):
        cut = np.stack([[each[i : i + n_part] for each in series] for i in used[n : n + at_once]])
        yield np.fft.rfft(signal.detrend(cut) * window)
