"""How a telescope's recorder levels its channels: anew after a number of spectra, found and imitated.

Many recorders choose level and scale of each channel for one stretch after the other, so that the mean
of a stretch is exactly what it should be, and the noise's width changes in steps with the interference.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The sum over a whole stretch strays by less than this part of what the sum of white noise would.
LEVELLED_SHARE = 0.2
MIN_LEVELLED_SPECTRA = 32
# A step in a channel's scale is kept where it is so many standard errors.
SCALE_SIGMA = 5.0
# Slower changes than this many cycles in a stretch are mostly gone.
LEAST_CYCLES = 0.75


@dataclass(frozen=True)
class Levelling:
    """How channels are levelled, in numbers.

    Attributes:
        n_spectra: Spectra that are levelled together; 0 where nothing is.
        mean: What their mean becomes, in counts, shape (channel,).
        step: Standard deviation of the logarithm of the noise's width from one stretch to the next,
            with the sign that says which channels widen together, shape (channel,).
        memory: Correlation of a stretch's width with the next one's.
    """

    n_spectra: int
    mean: NDArray[np.float64]
    step: NDArray[np.float64]
    memory: float


def find_levelling(counts: NDArray[Any]) -> int:
    """Return after how many spectra each channel's mean is what it always is; 0 where never.

    Args:
        counts: A segment that begins where a levelled stretch does, shape (time, channel).
    """
    n_time = len(counts)
    apart = counts - counts.mean(axis=0, dtype=float)
    width = apart.std(axis=0)
    alive = width > 0
    if not alive.any():
        return 0
    sums = np.median(np.abs(apart[:, alive].cumsum(axis=0)) / width[alive], axis=1)[:-1]
    n = np.arange(1, n_time)
    # A sum of white noise that ends at zero, a Brownian bridge; 0.6745 is its median over its sigma.
    stray = sums / (0.6745 * np.sqrt(n * (n_time - n) / n_time))
    candidates = n[(stray < LEVELLED_SHARE) & (n >= MIN_LEVELLED_SPECTRA)]
    for length in candidates[candidates <= n_time // 2]:
        ends = np.arange(length, n_time, length)
        ends = ends[(n_time - ends) >= min(MIN_LEVELLED_SPECTRA, length)]
        neighbours = stray[max(0, length - 3) : length + 2]
        if (stray[ends - 1] < LEVELLED_SHARE).all() and stray[length - 1] == neighbours.min():
            return int(length)
    return 0


def fit_levelling(n_spectra: int, mean: NDArray[np.float64], sigma: NDArray[np.float64]) -> Levelling:
    """Return the numbers of a levelling from each stretch's noise.

    Args:
        n_spectra: From `find_levelling`.
        mean: Of all counts, shape (channel,).
        sigma: Width of the noise, shape (stretch, channel).
    """
    nothing = np.zeros(len(mean))
    if n_spectra == 0 or len(sigma) < 2:
        return Levelling(n_spectra, mean, nothing, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(sigma) - np.log(sigma).mean(axis=0)
    change = np.where(np.isfinite(change).all(axis=0), change, 0)
    scatter = np.sqrt((change**2).mean(axis=0))
    change[:, scatter < SCALE_SIGMA / np.sqrt(2 * n_spectra)] = 0
    if not change.any():
        return Levelling(n_spectra, mean, nothing, 0.0)
    left, values, right = np.linalg.svd(change, full_matrices=False)
    together = left[:, 0] * np.sqrt(len(left))  # (stretch,), of variance 1
    step = right[0] * values[0] / np.sqrt(len(left))
    memory = float(np.clip(np.mean(together[1:] * together[:-1]), 0, 0.99))
    return Levelling(n_spectra, mean, step, memory)


def unlevelled(power: NDArray[np.float64], n_spectra: int) -> NDArray[np.float64]:
    """Return the power spectrum that there was before levelling, shape (frequency, ...).

    Taking away the means of stretches of n spectra leaves 1 - sinc^2(n f) of the power at frequency f.
    Where that is little, what is just above is continued.

    Args:
        power: Of a levelled series, from frequency 0 up to half a cycle per spectrum.
        n_spectra: Length of a stretch; 0 changes nothing.
    """
    if n_spectra == 0:
        return power
    cycles = np.arange(len(power)) / (2 * (len(power) - 1)) * n_spectra
    kept = (1 - np.sinc(cycles) ** 2).reshape(-1, *[1] * (power.ndim - 1))
    first = int(np.searchsorted(cycles, LEAST_CYCLES))
    restored = power / np.maximum(kept, 0.1)
    restored[:first] = restored[first : 2 * first + 1].mean(axis=0)
    return restored


class LevellingStream:
    """A recorder that levels one stretch after the other.

    Its scales jump between two: of the few stretches of a recording no more can be known.
    """

    def __init__(self, model: Levelling, rng: np.random.Generator) -> None:
        """Begin a stream; the generator's state says what its scales are."""
        self._model, self._rng = model, rng
        self._width = float(rng.choice([-1.0, 1.0]))

    def level(self, stretch: NDArray[np.float32], level: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the next stretch (time, channel) in counts, levelled as the model says.

        Args:
            stretch: In counts, with the widths that noise has on average.
            level: Of the noise, in counts, shape (channel,).
        """
        model = self._model
        if model.n_spectra == 0:
            return stretch
        if model.step.any():
            factor = np.exp(model.step * self._width).astype(np.float32)  # (channel,)
            stretch = np.asarray(level + (stretch - level) * factor, dtype=np.float32)
            if self._rng.random() > (1 + model.memory) / 2:
                self._width = -self._width
        return stretch + (model.mean - stretch.mean(axis=0, dtype=float)).astype(np.float32)
