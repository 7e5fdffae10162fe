"""Regression of a strain on many inputs in each bin of frequency, with a gate for what is chance.

In each bin, inputs enter one by one, the one first that explains most of what is left, as long as its
coherence with that is beyond chance: an input that has nothing to say would only add its noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.ndimage import convolve1d
from scipy.signal import windows

Series = NDArray[np.floating]
Complex = NDArray[Any]

# Parts under a Hann window that overlap by half count for less than independent ones (Welch 1967).
OVERLAP = 1.056
_SMOOTH_BINS = 5  # over so many bins coherence is averaged before it is compared with chance
_NEIGHBOURS = 2  # bins on both sides over which a transfer function is averaged
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

    def smooth(self, response: Complex, taken: NDArray[np.bool_]) -> Complex:
        """Return transfer functions averaged over neighbouring bins, each by its input's power there.

        They go on beyond the bins that an input was let into, since filters have no edges; a line that
        its witness has is subtracted with what was found at the line.
        """
        kernel, power = windows.hann(2 * _NEIGHBOURS + 3)[1:-1], self.scale**2 * taken
        total = convolve1d(power, kernel, axis=0, mode="constant")
        found = convolve1d(response * power, kernel, axis=0, mode="constant")
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0)

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
