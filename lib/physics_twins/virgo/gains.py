"""Gains of couplings that drift: one real number for each input, at all frequencies at once.

A coupling that drifts does so in its whole band, so that its gain is known within seconds, and better
than a factor in a narrow band could be. A Kalman filter (Kalman 1960, J. Basic Eng. 82, 35) follows it
with its speed, which walks at random: what drifts with a temperature has no corners, and one that goes
on as it went is followed without a lag (Bar-Shalom et al. 2001, Estimation with Applications, 6.2).
"""

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.floating]

# Standard deviations of the steps in a second: of a gain by itself, and of its speed in 1/s.
WALK, SPEED_WALK = 1e-5, 1e-4
_BEGIN, _BEGIN_SPEED = 0.1, 1e-3  # and of what both are at the beginning, around 1 and 0
_OVERLAP = 0.5  # of two parts, which tell half of it twice


class Gains:
    """What each input's gain is now.

    Attributes:
        weight: Inverse of the expected power of a part's spectrum without inputs, shape (frequency,).
    """

    def __init__(self, n_inputs: int, noise: Series) -> None:
        """Begin with gains of 1.

        Args:
            n_inputs: How many.
            noise: Expected power of a part's spectrum without inputs, shape (frequency,).
        """
        self._n = n_inputs
        self._state = np.repeat([1.0, 0.0], n_inputs)  # gains, then their speeds
        self._covariance = np.diag(np.repeat([_BEGIN**2, _BEGIN_SPEED**2], n_inputs))
        self._walk = np.diag(np.repeat([WALK**2, SPEED_WALK**2], n_inputs))
        self._passes = np.eye(2 * n_inputs) + np.eye(2 * n_inputs, k=n_inputs)
        self.weight = _OVERLAP / noise

    @property
    def now(self) -> Series:
        """Shape (input,)."""
        return self._state[: self._n]

    def wait(self) -> None:
        """Let a second pass."""
        self._state = self._passes @ self._state
        self._covariance = self._passes @ self._covariance @ self._passes.T + self._walk

    def learn(self, inputs: NDArray, strain: NDArray, edges: NDArray[np.integer]) -> None:
        """Learn from a part.

        Args:
            inputs: Spectra of the inputs with gain 1, shape (input, frequency).
            strain: Spectrum of the strain, shape (frequency,).
            edges: Of bands: one that is louder than noise counts for less, shape (band + 1,).
        """
        if not self._n:
            return
        inside = slice(edges[0], edges[-1])
        x, y, weight = inputs[:, inside], strain[inside], self.weight[inside]
        left = y - self.now @ x
        loud = np.add.reduceat(weight * np.abs(left) ** 2, edges[:-1] - edges[0])
        loud = loud / (_OVERLAP * np.maximum(np.diff(edges), 1))
        weight = weight / np.repeat(np.maximum(1.0, loud), np.diff(edges))
        # Of a complex Gaussian of power 1 / weight: twice the real part.
        known = np.linalg.inv(self._covariance)
        known[: self._n, : self._n] += 2 * np.real((x.conj() * weight) @ x.T)
        self._covariance = np.linalg.inv(known)
        told = 2 * np.real(x.conj() @ (weight * left))
        self._state = self._state + self._covariance[:, : self._n] @ told
