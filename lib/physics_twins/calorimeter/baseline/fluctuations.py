"""Fluctuations from shower to shower: of the shape, and of the energy that is left."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from physics_twins.calorimeter.baseline.longitudinal import Shapes
from physics_twins.calorimeter.baseline.model import Numbers

# ln(mean depth) and ln(alpha) at 10 GeV and per x, their spreads, and their correlation.
_SHAPE_START = np.array([1.9, 0.1, 1.2, 0.1, -2.2, -0.2, -1.5, -0.2, -0.3, 0.0])


def shape_covariance(
    numbers: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the standard deviations of ln(depth) and ln(alpha), (shower, 2), and their correlation."""
    spreads = np.exp(np.stack([numbers[0] + numbers[1] * x, numbers[2] + numbers[3] * x], axis=1))
    return spreads, np.tanh(numbers[4] + numbers[5] * x)


def fit_shapes_on_energy(
    shapes: Shapes, x: NDArray[np.float64], grain_mev: float, energy_mev: NDArray[np.float64]
) -> tuple[Numbers, Numbers, Numbers]:
    """Fit how shapes depend on energy: normal, correlated, widened by what the grain does to a fit.

    Args:
        shapes: Those of single showers.
        x: ln(energy / 10 GeV).
        grain_mev: Variance over mean of the energy in a slice.
        energy_mev: Energy that each shape was fitted to.

    Returns:
        Mean ln(depth), mean ln(alpha), and the fluctuations, as in `ParametrisedShower`.
    """
    noise = np.linalg.inv(shapes.information + 1e-9 * np.eye(2))
    noise *= (grain_mev / energy_mev)[:, None, None]

    def loss(n: NDArray[np.float64]) -> float:
        spreads, correlation = shape_covariance(n[4:], x)
        a = spreads[:, 0] ** 2 + noise[:, 0, 0]
        b = spreads[:, 1] ** 2 + noise[:, 1, 1]
        c = correlation * spreads.prod(axis=1) + noise[:, 0, 1]
        u, v = (shapes.values - np.stack([n[0] + n[1] * x, n[2] + n[3] * x], axis=1)).T
        determinant = np.maximum(a * b - c**2, 1e-12)
        squares = (b * u**2 - 2 * c * u * v + a * v**2) / determinant
        return float((squares + np.log(determinant)).sum() / 2)

    found = _minimise(loss, _SHAPE_START)
    return tuple(Numbers(values=found.values[s], errors=found.errors[s]) for s in _SHAPE_PARTS)  # pyright: ignore


_SHAPE_PARTS = (slice(0, 2), slice(2, 4), slice(4, 10))


def fit_response(
    per_gev: NDArray[np.float64], energy_gev: NDArray[np.float64], x: NDArray[np.float64]
) -> Numbers:
    """Fit mean and spread of an energy against that of the particle.

    Args:
        per_gev: Energy left by an endless calorimeter in MeV, per GeV of the particle.
        energy_gev: Energy of the particles.
        x: ln(energy / 10 GeV).

    Returns:
        Mean at 10 GeV in MeV per GeV; its relative change per x; the relative spread at 1 GeV that
        falls with the root of energy; the relative spread that stays.
    """
    scale = float(np.median(per_gev))
    relative = per_gev / scale

    def loss(n: NDArray[np.float64]) -> float:
        mean = n[0] * (1 + n[1] * x)
        variance = mean**2 * (np.exp(2 * n[2]) / energy_gev + np.exp(2 * n[3]))
        # A shower that lost much in one nucleus counts no more than one that is 4 sigma off.
        squares = np.minimum((relative - mean) ** 2 / variance, 16.0)
        return float((squares + np.log(variance)).sum() / 2)

    spread = np.log(max(float(np.std(relative * np.sqrt(energy_gev))), 1e-4))
    found = _minimise(loss, np.array([1.0, 0.0, spread, spread - 2]))
    values, errors = np.array(found.values), np.array(found.errors)
    factors = np.array([scale, 1.0, np.exp(values[2]), np.exp(values[3])])
    values = np.array([scale * values[0], values[1], factors[2], factors[3]])
    return Numbers.of(values, factors * errors)


def _minimise(loss: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64]) -> Numbers:
    rough = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 4000, "adaptive": True})
    found = minimize(loss, rough.x, method="BFGS")
    return Numbers.of(found.x, np.sqrt(np.maximum(np.diag(_covariance(loss, found.x)), 0.0)))


def _covariance(
    loss: Callable[[NDArray[np.float64]], float], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the inverse of the matrix of second derivatives."""
    steps = 1e-3 * np.eye(len(at))
    second = [
        [
            sum(s * t * loss(at + s * one + t * other) for s in (1, -1) for t in (1, -1)) / 4e-6
            for other in steps
        ]
        for one in steps
    ]
    return np.linalg.pinv(np.array(second), hermitian=True)
