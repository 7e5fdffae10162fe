"""What of a filter was not known when it was told, learnt when its input is first heard there.

A bench that moves faster than it ever did brings its fringe to frequencies where its filter is a guess.
A model of filters tells how far such a guess may be wrong, as modes over the frequencies: a few seconds
of the strain then decide between them, and the filter is known when the bench moves so again (linear
regression with a Gaussian prior, Rasmussen & Williams 2006, chapter 2).
"""

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo.cleaning import Wiener

Series = NDArray[np.floating]

_HEARD = 0.05  # a bin in which the modes may leave less, over the noise, teaches nothing
_LEAST = 0.05  # of a filter's size: where it is smaller, what is subtracted cannot be scaled to it
_MEMORY_S = 512.0
_NEAR = 17  # bins over which strain that is louder than noise is seen, and counts for less
_PASSES = 3  # what looks loud before it is explained need not be so afterwards


class Relearner:
    """What has been learnt of the modes of each input."""

    def __init__(self, wiener: Wiener, weight: Series) -> None:
        """Begin with the filters as they were told.

        Args:
            wiener: Whose `modes` are learnt, in parts whose bins are the filters'.
            weight: Inverse of the expected power of a part without inputs, shape (frequency,).
        """
        self._modes, self._weight = {}, weight
        for i, number in enumerate(wiener.used):
            if (modes := wiener.modes.get(wiener.inputs[number])) is not None:
                response = wiener.response[number]
                power = np.abs(response) ** 2
                least = _LEAST**2 * np.mean(power + np.sum(np.abs(modes) ** 2, axis=1))
                self._modes[i] = modes * (response.conj() / (power + least))[:, None]
        self._size = {i: np.sum(np.abs(modes) ** 2, axis=1) for i, modes in self._modes.items()}
        n_modes = {i: modes.shape[1] for i, modes in self._modes.items()}
        self._known = {i: np.zeros((n, n), complex) for i, n in n_modes.items()}
        self._told = {i: np.zeros(n, complex) for i, n in n_modes.items()}
        self._now = {i: np.zeros(n, complex) for i, n in n_modes.items()}

    def corrected(self, spectra: NDArray) -> NDArray:
        """Return the spectra of inputs behind filters as they are known now, (input, frequency)."""
        found = spectra.copy()
        for i, now in self._now.items():
            if now.any():
                found[i] *= 1 + self._modes[i] @ now
        return found

    def learn(self, spectra: NDArray, strain: NDArray) -> None:
        """Learn from a part, a second after the one before.

        Args:
            spectra: Of inputs behind filters as they were told, shape (input, frequency).
            strain: Its spectrum, shape (frequency,).
        """
        left = strain - self.corrected(spectra).sum(axis=0)
        for i, modes in self._modes.items():
            self._known[i] *= np.exp(-1 / _MEMORY_S)
            self._told[i] *= np.exp(-1 / _MEMORY_S)
            heard = self._weight * np.abs(spectra[i]) ** 2 * self._size[i] > _HEARD
            if not heard.any():
                continue
            x = modes[heard] * spectra[i, heard, None]
            known, told, now = self._known[i], self._told[i], self._now[i]
            y, rest = left[heard] + x @ now, left.copy()
            for _ in range(_PASSES):
                rest[heard] = y - x @ now
                loud = np.convolve(
                    self._weight * np.abs(rest) ** 2, np.ones(_NEAR) / _NEAR, mode="same"
                )
                weighed = x.conj() * (self._weight / np.maximum(1, loud))[heard, None]
                known, told = self._known[i] + weighed.T @ x, self._told[i] + weighed.T @ y
                now = np.linalg.solve(known + np.eye(len(now)), told)
            self._known[i], self._told[i], self._now[i] = known, told, now
