"""Where a shower leaves its energy on average: a gamma distribution in depth, a core and a tail across.

Along the beam dE/dt = E beta (beta t)^(alpha-1) exp(-beta t) / Gamma(alpha) (Longo & Sestili, Nucl.
Instrum. Meth. 128 (1975) 283), with the mean depth alpha / beta. Across it f(r) = p 2 r C^2 / (r^2 +
C^2)^2 + (1 - p) r / T^2 exp(-r / T), where core C, tail T and share p change with tau, the depth in
units of the mean depth, and with energy. The core is that of Grindhammer & Peters, hep-ex/0001020,
section 3.2; their tail has the same form, which lies up to 15 % off what Geant4 leaves in single rings,
the exponential half as much. ln C, ln T and logit p are polynomials of second degree in tau, plus a
term in x = ln(energy / 10 GeV).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import gammainc

from physics_twins.calorimeter.geant4.materials import ABSORBERS, SENSORS
from physics_twins.calorimeter.parameters import DetectorParameters

# Shapes that a shower may have: ln of the mean depth in radiation lengths, and of alpha.
LIMITS = np.log([0.3, 1.02]), np.log([40.0, 60.0])
_STEPS, _STEP = 40, 1e-4
# Beyond this depth, in units of the mean depth, the profile across changes no more.
_DEEPEST = 3.0
# 1 mm and growing, 8 mm, four fifths in the core; and between which numbers it stays the core.
_START = np.array([0.0, 0.6, -0.1, 0.0, 2.1, 0.2, 0.0, 0.0, 1.5, 0.0, -0.1, 0.0])
_BOUNDS = (
    np.array([-2.5, -2.0, -0.7, -0.5, 1.0, -1.5, -0.5, -0.5, -4.0, -6.0, -3.0, -1.5]),
    np.array([2.5, 4.0, 0.5, 0.5, 4.5, 1.5, 0.5, 0.5, 6.0, 6.0, 3.0, 1.5]),
)


def radiation_length_mm(parameters: DetectorParameters) -> float:
    """Return the radiation length of the layers taken together.

    >>> round(radiation_length_mm(DetectorParameters()), 2)
    4.1
    """
    absorber = parameters.absorber_mm / ABSORBERS[parameters.absorber].radiation_length_mm
    sensor = parameters.sensor_mm / SENSORS[parameters.sensor].radiation_length_mm
    return (parameters.absorber_mm + parameters.sensor_mm) / (absorber + sensor)


def along(shapes: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share of its energy a shower leaves in each slice, shape (shower, slice).

    Args:
        shapes: ln(mean depth in radiation lengths) and ln(alpha), shape (shower, 2).
        edges: Edges of the slices in radiation lengths, shape (slice + 1,).
    """
    depth, alpha = np.exp(shapes[:, :1]), np.exp(shapes[:, 1:])
    return np.diff(gammainc(alpha, alpha * edges / depth), axis=1)


def across(
    radius_mm: ArrayLike, tau: ArrayLike, x: ArrayLike, numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of energy within a radius.

    Args:
        radius_mm: Radii, which broadcast with the next two.
        tau: Depth in units of the shower's mean depth.
        x: ln(energy / 10 GeV).
        numbers: The 12 numbers of core, tail and share of the core.

    >>> across([0.0, 2.0, 1e9], 0.0, 0.0, np.array([np.log(2), 0, 0, 0, 3, 0, 0, 0, 99, 0, 0, 0]))
    array([0. , 0.5, 1. ])
    """
    squared = np.square(radius_mm, dtype=float)
    tau, x = np.clip(tau, 0, _DEEPEST), np.asarray(x, dtype=float)
    core, tail, logit = (n[0] + n[1] * tau + n[2] * tau**2 + n[3] * x for n in numbers.reshape(3, 4))
    share = 1 / (1 + np.exp(-np.clip(logit, -30, 99)))
    near = squared / (squared + np.exp(2 * np.clip(core, -5, 10)))
    lengths = np.sqrt(squared) / np.exp(np.clip(tail, -5, 10))
    return share * near + (1 - share) * (1 - (1 + lengths) * np.exp(-lengths))


def fit_along(
    energy: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a shape to each shower by maximum likelihood, what leaves the last slice allowed for.

    Args:
        energy: Energy in each slice, shape (shower, slice), in any unit.
        edges: Edges of the slices in radiation lengths, shape (slice + 1,).

    Returns:
        Shapes as `along` takes them, and their inverse covariance where the energy is 1 MeV, and the
        variance of the energy of a slice is 1 MeV times its mean, shape (shower, 2, 2).
    """
    weights = energy / energy.sum(axis=1, keepdims=True)
    middles = (edges[1:] + edges[:-1]) / 2
    mean = weights @ middles
    variance = np.maximum(weights @ middles**2 - mean**2, 1e-3)
    values = np.clip(np.stack([np.log(mean), np.log(mean**2 / variance)], axis=1), *LIMITS)

    def shares(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.maximum(along(shapes, edges), 1e-12)
        return found / found.sum(axis=1, keepdims=True)

    information = np.zeros((len(values), 2, 2))
    for _ in range(_STEPS):
        ends = [[np.log(shares(values + s * step)) for s in (1, -1)] for step in _STEP * np.eye(2)]
        slopes = np.stack([(above - below) / (2 * _STEP) for above, below in ends], axis=1)
        information = np.einsum("nks,nls,ns->nkl", slopes, slopes, shares(values))
        score = np.einsum("nks,ns->nk", slopes, weights)
        steps = np.linalg.solve(information + 1e-9 * np.eye(2), score[..., None])[..., 0]
        before, values = values, np.clip(values + np.clip(steps, -0.3, 0.3), *LIMITS)
        if np.abs(values - before).max() < 1e-6:
            break
    return values, information


def fit_across(
    energy_mev: NDArray[np.float64],
    tau: NDArray[np.float64],
    x: NDArray[np.float64],
    edges_mm: NDArray[np.float64],
    grain_mev: float,
) -> NDArray[np.float64]:
    """Fit the 12 numbers of `across` to energies in rings.

    Args:
        energy_mev: Sums over slices of about the same tau and x, shape (group, ring).
        tau: Mean depth of each group in units of the showers' own, shape (group,).
        x: Mean ln(energy / 10 GeV), shape (group,).
        edges_mm: Edges of the rings.
        grain_mev: Variance over mean of the energies, roughly.
    """
    whole = energy_mev.sum(axis=1, keepdims=True)
    found = energy_mev / whole
    # No shape is exact: without 2 % the core would count alone.
    errors = np.hypot(np.sqrt(np.maximum(found, 1e-4) * grain_mev / whole), 0.02 * found)

    def residuals(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        within = across(edges_mm, tau[:, None], x[:, None], numbers)
        return ((np.diff(within, axis=1) / within[:, -1:] - found) / errors).ravel()

    return least_squares(residuals, _START, bounds=_BOUNDS).x
