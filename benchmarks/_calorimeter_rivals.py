"""Good ways to calibrate and to watch a calorimeter without a twin; part of `calorimeter.py`.

Each gets showers of Geant4 to learn from: 4,000 of four thicknesses; more gained it nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.training_showers import NOMINAL_MM

# Of Page's test of the ratio: as the monitor's, and so many standard deviations count of one shower.
THRESHOLD, MOST_SIGMA = 11.0, 4.0


class Moments:
    """Logarithm of the response, and mean, width and skewness of the depth, of each shower.

    Their means follow energy, angle and thickness by polynomials, their covariance the energy; scale
    and thickness are fitted by generalised least squares.
    """

    def __init__(self, showers: Sequence[MeasuredShowers], thickness_mm: Sequence[float]) -> None:
        """Learn from showers of several known thicknesses, without gain."""
        numbers = np.concatenate([_numbers(each) for each in showers])
        known = np.concatenate([_basis(each, t) for each, t in zip(showers, thickness_mm, strict=True)])
        energy = np.concatenate([each.energy_gev.numpy() for each in showers])
        self._slopes = np.linalg.lstsq(known, numbers, rcond=None)[0]
        away = numbers - known @ self._slopes
        self._edges = np.quantile(energy, [0.2, 0.4, 0.6, 0.8])
        rows = np.searchsorted(self._edges, energy)
        self._whiten = np.stack(
            [np.linalg.inv(np.linalg.cholesky(np.cov(away[rows == n].T))) for n in range(5)]
        )

    def fit(self, showers: MeasuredShowers) -> tuple[float, float]:
        """Return scale and thickness in mm."""
        numbers = _numbers(showers)
        whiten = self._whiten[np.searchsorted(self._edges, showers.energy_gev.numpy())]

        def away(x: NDArray[np.float64]) -> NDArray[np.float64]:
            left = numbers - _basis(showers, NOMINAL_MM + x[1]) @ self._slopes
            left[:, 0] -= x[0]
            return np.einsum("nij,nj->ni", whiten, left).ravel()

        found = optimize.least_squares(away, [0.0, 0.0])
        return float(np.exp(found.x[0])), NOMINAL_MM + float(found.x[1])

    def scale(self, showers: MeasuredShowers, thickness_mm: float) -> float:
        """Return seen over expected energy, weighted by energy, if absorbers are so thick."""
        away = _log_response(showers)[1] - _basis(showers, thickness_mm) @ self._slopes[:, 0]
        return float(np.exp(np.average(away, weights=showers.energy_gev.numpy())))


class RatioPage:
    """Page's test of each shower's response, for a relative change of its mean, up or down."""

    def __init__(self, quiet: MeasuredShowers, change: float) -> None:
        """Learn from quiet showers what is normal at which energy."""
        x, y = _log_response(quiet)
        self._normal = np.polyfit(x, y, 2)
        square = (y - np.polyval(self._normal, x)) ** 2
        parts = np.stack([np.exp(-x), np.ones_like(x)], axis=1)
        self._variance, self._change = optimize.nnls(parts, square)[0], change

    def called_at(self, showers: MeasuredShowers) -> int | None:
        """Return at which shower it calls, from 1; None where it does not."""
        x, y = _log_response(showers)
        sigma = np.sqrt(np.exp(-x) * self._variance[0] + self._variance[1])
        away = np.clip((y - np.polyval(self._normal, x)) / sigma, -MOST_SIGMA, MOST_SIGMA)
        shift = np.minimum(self._change / sigma, MOST_SIGMA)
        sums = np.zeros(2)
        for n, (z, d) in enumerate(zip(away, shift, strict=True), start=1):
            sums = np.maximum(sums + d * np.array([z, -z]) - d**2 / 2, 0.0)
            if sums.max() > THRESHOLD:
                return n
        return None


def _log_response(showers: MeasuredShowers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return showers.energy_gev.log().numpy(), showers.response.log().numpy()


def _numbers(showers: MeasuredShowers) -> NDArray[np.float64]:
    layers = showers.layers_mev.numpy()
    share = layers / layers.sum(axis=1, keepdims=True)
    place = np.arange(share.shape[1])
    depth = share @ place
    away = place - depth[:, None]
    length = np.sqrt((share * away**2).sum(axis=1))
    skewness = (share * away**3).sum(axis=1) / length**3
    return np.stack([_log_response(showers)[1], depth, length, skewness], axis=1)


def _basis(showers: MeasuredShowers, thickness_mm: float) -> NDArray[np.float64]:
    """Return polynomials of energy, angle and thickness, shape (shower, term)."""
    x, angle = showers.energy_gev.log().numpy() - 1.5, showers.theta_deg.numpy() / 30
    t = np.full_like(x, 10 * (thickness_mm - NOMINAL_MM))
    single = [np.ones_like(x), x, x**2, angle, angle**2, t, t**2]
    return np.stack([*single, x * angle**2, x * t, t * angle**2], axis=1)
