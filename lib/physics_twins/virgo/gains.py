"""Gains of couplings that drift: one real number for each input, at all frequencies at once.

A coupling that drifts does so in its whole band, so that its gain is known within seconds, and better
than a factor in a narrow band could be. Two Kalman filters (Kalman 1960, J. Basic Eng. 82, 35) whose
gains walk at random, one slowly and one quickly, learn it; an input has its quick gain only while that
has told more of the strain: a signal moves what is learnt quickly.
"""

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.floating]

WALKS = (3e-4, 3e-3)  # standard deviation of a gain's steps in a second, slow and quick
_BEGIN = 0.1  # and of what it is at the beginning, around 1
_OVERLAP = 0.5  # of two parts, which tell half of it twice
_MEMORY_S, _BETTER = 64.0, 8.0  # over which both are compared, by the logarithm of their likelihoods


class Gains:
    """What each input's gain is now."""

    def __init__(self, n_inputs: int, noise: Series) -> None:
        """Begin with gains of 1.

        Args:
            n_inputs: How many.
            noise: Expected power of a part's spectrum without inputs, shape (frequency,).
        """
        self._gains = np.ones((len(WALKS), n_inputs))
        self._covariance = np.array([_BEGIN**2 * np.eye(n_inputs)] * len(WALKS))
        self._weight = _OVERLAP / noise
        self._score, self._quick = np.zeros(n_inputs), np.zeros(n_inputs, bool)

    @property
    def now(self) -> Series:
        """Shape (input,)."""
        return np.where(self._quick, self._gains[1], self._gains[0])

    def learn(self, inputs: NDArray, strain: NDArray, edges: NDArray[np.integer]) -> None:
        """Learn from a part, a second after the one before.

        Args:
            inputs: Spectra of the inputs with gain 1, shape (input, frequency).
            strain: Spectrum of the strain, shape (frequency,).
            edges: Of bands: one that is louder than noise counts for less, shape (band + 1,).
        """
        if not len(self._quick):
            return
        inside = slice(edges[0], edges[-1])
        x, y, weight = inputs[:, inside], strain[inside], self._weight[inside]
        left = y - self.now @ x
        loud = np.add.reduceat(weight * np.abs(left) ** 2, edges[:-1] - edges[0])
        loud = loud / (_OVERLAP * np.maximum(np.diff(edges), 1))
        weight = weight / np.repeat(np.maximum(1.0, loud), np.diff(edges))
        # Of a complex Gaussian of power 1 / weight: twice the real part.
        told = 2 * np.real(x.conj() @ (weight * left))
        information = 2 * np.real((x.conj() * weight) @ x.T)
        self._compare(told, information)
        now = self.now
        for n, walk in enumerate(WALKS):
            known = np.linalg.inv(self._covariance[n] + walk**2 * np.eye(len(now)))
            self._covariance[n] = np.linalg.inv(known + information)
            rest = told - information @ (self._gains[n] - now)
            self._gains[n] = self._gains[n] + self._covariance[n] @ rest

    def _compare(self, told: Series, information: NDArray) -> None:
        """Decide which inputs have their quick gains, by what both would have left of a part."""
        apart = self._gains[1] - self._gains[0]
        own = np.diag(information)
        # Given the others as they are now, the quick gain instead of the slow one.
        from_slow = told + own * np.where(self._quick, apart, 0)
        better = apart * from_slow - 0.5 * own * apart**2
        self._score = np.exp(-1 / _MEMORY_S) * self._score + better
        self._quick = self._score > np.where(self._quick, 0, _BETTER)
