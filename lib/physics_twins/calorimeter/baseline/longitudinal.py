"""The longitudinal profile of a shower: a gamma distribution in depth, different for each shower.

dE/dt = E beta (beta t)^(alpha-1) exp(-beta t) / Gamma(alpha) (Longo & Sestili, Nucl. Instrum. Meth.
128 (1975) 283), where ln(depth) and ln(alpha) of single showers are correlated and nearly normal
(Grindhammer & Peters, hep-ex/0001020, section 3). They take the depth of the maximum, (alpha - 1) /
beta; the mean depth, alpha / beta, that is used here exists for every shower.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from physics_twins.calorimeter.geant4.materials import ABSORBERS, SENSORS
from physics_twins.calorimeter.parameters import DetectorParameters

_STEPS, _STEP = 40, 1e-4
# Shapes that a fit may not leave: ln of the mean depth in radiation lengths, and of alpha.
LIMITS = np.log([0.3, 1.02]), np.log([40.0, 60.0])


@dataclass(frozen=True)
class Shapes:
    """Longitudinal shapes of single showers.

    Attributes:
        values: ln(mean depth in radiation lengths) and ln(alpha), shape (shower, 2).
        information: Fisher information on them in one MeV of grain 1 MeV, shape (shower, 2, 2).
    """

    values: NDArray[np.float64]
    information: NDArray[np.float64]


def radiation_length_mm(parameters: DetectorParameters) -> float:
    """Return the radiation length of the layers taken together.

    >>> round(radiation_length_mm(DetectorParameters()), 2)
    4.1
    """
    absorber = parameters.absorber_mm / ABSORBERS[parameters.absorber].radiation_length_mm
    sensor = parameters.sensor_mm / SENSORS[parameters.sensor].radiation_length_mm
    return (parameters.absorber_mm + parameters.sensor_mm) / (absorber + sensor)


def shares(shapes: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share of its energy a shower leaves in each slice.

    Args:
        shapes: ln(mean depth) and ln(alpha), shape (shower, 2).
        edges: Edges of the slices in radiation lengths, shape (shower, slice + 1).

    Returns:
        Shape (shower, slice); with an endless last slice they would sum up to 1.
    """
    depth, alpha = np.exp(shapes[:, :1]), np.exp(shapes[:, 1:])
    return np.diff(gammainc(alpha, alpha * edges / depth), axis=1)


def fit_shapes(energy: NDArray[np.float64], edges: NDArray[np.float64]) -> Shapes:
    """Fit a shape to each shower by maximum likelihood, what leaves the last slice allowed for.

    Args:
        energy: Energy in each slice, shape (shower, slice), in any unit.
        edges: Edges of the slices in radiation lengths, shape (shower, slice + 1).
    """
    weights = energy / energy.sum(axis=1, keepdims=True)
    values = _moments(weights, edges)
    information = np.zeros((len(values), 2, 2))
    for _ in range(_STEPS):
        p, slopes = _slopes(values, edges)
        information = np.einsum("nks,nls,ns->nkl", slopes, slopes, p)
        score = np.einsum("nks,ns->nk", slopes, weights)
        steps = np.linalg.solve(information + 1e-9 * np.eye(2), score[..., None])[..., 0]
        moved = np.clip(values + np.clip(steps, -0.3, 0.3), *LIMITS)
        done = np.abs(moved - values).max() < 1e-6
        values = moved
        if done:
            break
    return Shapes(values, information)


def _moments(weights: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    mean = (weights * middles).sum(axis=1)
    variance = (weights * (middles - mean[:, None]) ** 2).sum(axis=1)
    start = np.stack([np.log(mean), np.log(mean**2 / np.maximum(variance, 1e-3))], axis=1)
    return np.clip(start, *LIMITS)


def _slopes(
    values: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the slices' probabilities, and the slopes of their logarithms, (shower, 2, slice)."""
    slopes = []
    for step in _STEP * np.eye(2):
        above, below = (np.log(_probabilities(values + s * step, edges)) for s in (1, -1))
        slopes.append((above - below) / (2 * _STEP))
    return _probabilities(values, edges), np.stack(slopes, axis=1)


def _probabilities(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.maximum(shares(values, edges), 1e-12)
    return found / found.sum(axis=1, keepdims=True)
