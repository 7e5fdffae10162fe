"""A telescope's fitted noise, drawn without end in constant memory."""

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.sparse import csr_array

from physics_twins.pulsar.telescopes.marginals import SHAPE_NODES
from physics_twins.pulsar.telescopes.telescope_noise import Noise, expand

# How long a stretch is that is drawn at once: changes slower than it cannot be.
STRETCH_SPECTRA = 8192
MIN_STRETCH_SPECTRA = 512
MAX_STRETCH_SAMPLES = 1 << 22
BASELINE_SPECTRA = 32768
# What a channel gets of another is left out below this.
MIN_MIXED = 3e-4


class NoiseStream:
    """Noise without end, drawn in overlapping stretches that are faded into each other.

    Each stretch is a Gaussian process with the wanted spectra, made by a Fourier transform. Where two
    meet, their weights are a sine and a cosine, so that the variance is the same everywhere.
    """

    def __init__(self, model: Noise, rng: np.random.Generator) -> None:
        """Begin a stream; the generator's state says what comes, however it is cut."""
        n_channels = len(model.level)
        rng_channels, rng_baseline = rng.spawn(2)
        affordable = max(MIN_STRETCH_SPECTRA, MAX_STRETCH_SAMPLES // n_channels)
        length = min(STRETCH_SPECTRA, 1 << int(np.log2(affordable)))
        self._shape = model.shape.astype(np.float32)
        self._modes = model.mode.T.astype(np.float32)
        own = np.sqrt(expand(model.spectrum, model.edge, length)).T
        self._channels = _Faded(rng_channels, own.astype(np.float32), _mixing(model))
        common = np.sqrt(expand(model.mode_spectrum, model.mode_edge, BASELINE_SPECTRA)).T
        self._baseline = _Faded(rng_baseline, common.astype(np.float32), None)

    def read(self, count: int) -> NDArray[np.float32]:
        """Return the next spectra in standard deviations from the level, shape (time, channel)."""
        g = self._channels.read(count)
        g += self._baseline.read(count) @ self._modes
        _shape_in_place(g, self._shape, np.float32(SHAPE_NODES[0]), np.float32(SHAPE_NODES[1]))
        return g


class _Faded:
    """A stationary Gaussian process of given amplitude spectra, shape (frequency, column)."""

    def __init__(
        self, rng: np.random.Generator, amplitude: NDArray[np.float32], mix: csr_array | None
    ) -> None:
        self._rng, self._amplitude, self._mix = rng, amplitude, mix
        self._length = 2 * (len(amplitude) - 1)
        phase = (np.arange(self._length) + 0.5) * np.pi / self._length
        self._weight = np.sin(phase).astype(np.float32)[:, None]
        self._tail = self._stretch()[self._length // 2 :]
        self._ready = self._tail[:0]

    def read(self, count: int) -> NDArray[np.float32]:
        """Return the next values, shape (time, column)."""
        half, parts, n_ready = self._length // 2, [self._ready], len(self._ready)
        while n_ready < count:
            stretch = self._stretch()
            parts.append(self._tail + stretch[:half])
            self._tail = stretch[half:]
            n_ready += half
        joined = np.concatenate(parts)
        self._ready = joined[count:].copy()
        return joined[:count]

    def _stretch(self) -> NDArray[np.float32]:
        white = self._rng.standard_normal((self._length, self._amplitude.shape[1]), dtype=np.float32)
        if self._mix is not None:
            white = np.ascontiguousarray((self._mix @ white.T).T)
        coloured = irfft(np.asarray(rfft(white, axis=0)) * self._amplitude, n=self._length, axis=0)
        return np.asarray(coloured, dtype=np.float32) * self._weight


def _mixing(model: Noise) -> csr_array | None:
    """Return the symmetric root of the channels' correlation matrix; None where it is the identity."""
    if not len(model.link):
        return None
    matrix = np.eye(len(model.level))
    first, second = model.link.T
    matrix[first, second] = matrix[second, first] = model.correlation
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    root[np.abs(root) < MIN_MIXED] = 0
    return csr_array((root / np.sqrt((root**2).sum(axis=1, keepdims=True))).astype(np.float32))


@numba.njit(cache=True, nogil=True)
def _shape_in_place(g, shape, first, second):  # pragma: no cover
    """Give values (time, channel) their channel's marginal distribution, shape (channel, node).

    Nodes are equally spaced; beyond the ends the mean slope of the three steps before goes on.
    """
    n_time, n_channels = g.shape
    last = shape.shape[1] - 1
    step = second - first
    for t in range(n_time):
        for c in range(n_channels):
            place = (g[t, c] - first) / step
            if place <= 0:
                g[t, c] = shape[c, 0] + place * (shape[c, 3] - shape[c, 0]) / 3
            elif place >= last:
                slope = (shape[c, last] - shape[c, last - 3]) / 3
                g[t, c] = shape[c, last] + (place - last) * slope
            else:
                n = int(place)
                g[t, c] = shape[c, n] + (place - n) * (shape[c, n + 1] - shape[c, n])
