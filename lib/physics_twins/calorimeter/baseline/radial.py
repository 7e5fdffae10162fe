"""The radial profile of a shower: a core and a tail.

f(r) = p 2 r C^2 / (r^2 + C^2)^2 + (1 - p) r / T^2 exp(-r / T), where core C, tail T and share p
change with tau, the depth in units of the shower's own, and with energy. The form of the core is
that of Grindhammer & Peters, hep-ex/0001020, section 3.2; their tail has the same form, which lies
up to 15 % off what Geant4 leaves in single rings, the exponential half as much. ln C, ln T and logit
p are polynomials of second degree in tau, plus a term in x = ln(energy / 10 GeV), in place of their
functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

# Beyond this depth, in units of the mean depth, the profile changes no more.
_DEEPEST = 3.0
# 1 mm and growing, 8 mm, four fifths in the core; and between which numbers it stays the core.
_START = np.array([0.0, 0.6, -0.1, 0.0, 2.1, 0.2, 0.0, 0.0, 1.5, 0.0, -0.1, 0.0])
_BOUNDS = (
    np.array([-2.5, -2.0, -0.7, -0.5, 1.0, -1.5, -0.5, -0.5, -4.0, -6.0, -3.0, -1.5]),
    np.array([2.5, 4.0, 0.5, 0.5, 4.5, 1.5, 0.5, 0.5, 6.0, 6.0, 3.0, 1.5]),
)


@dataclass(frozen=True)
class RingSums:
    """Energy in rings, summed over slices of showers of about the same tau and energy.

    Attributes:
        tau: Mean depth of each group in units of the showers' own, shape (group,).
        x: Mean ln(energy / 10 GeV) of each group, shape (group,).
        energy_mev: Shape (group, ring).
    """

    tau: NDArray[np.float64]
    x: NDArray[np.float64]
    energy_mev: NDArray[np.float64]


def inside(
    radius_mm: ArrayLike, tau: ArrayLike, x: ArrayLike, numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of energy within a radius.

    Args:
        radius_mm: Radii, which broadcast with the next two.
        tau: Depth in units of the shower's mean depth.
        x: ln(energy / 10 GeV).
        numbers: The 12 numbers of core, tail and share of the core.

    >>> inside([0.0, 2.0, 1e9], 0.0, 0.0, np.array([np.log(2), 0, 0, 0, 3, 0, 0, 0, 99, 0, 0, 0]))
    array([0. , 0.5, 1. ])
    """
    squared = np.square(radius_mm, dtype=float)
    tau = np.clip(tau, 0, _DEEPEST)
    x = np.asarray(x, dtype=float)
    core, tail, logit = (n[0] + n[1] * tau + n[2] * tau**2 + n[3] * x for n in numbers.reshape(3, 4))
    core = np.clip(core, -5, 10)
    tail = np.clip(tail, -5, 10)
    share = 1 / (1 + np.exp(-np.clip(logit, -30, 99)))
    near = squared / (squared + np.exp(2 * core))
    lengths = np.sqrt(squared) / np.exp(tail)
    far = 1 - (1 + lengths) * np.exp(-lengths)
    return share * near + (1 - share) * far


def bounded(
    radii_mm: NDArray[np.float64],
    outermost_mm: float,
    tau: NDArray[np.float64],
    x: NDArray[np.float64],
    numbers: NDArray[np.float64],
    outside: float,
) -> NDArray[np.float64]:
    """Return the share of energy within radii, corrected for what is outside all rings.

    Rings tell little about the far tail: what it holds is taken from the energies that are not in them.

    Args:
        radii_mm: Shape (ring,).
        outermost_mm: Outer radius of the fitted rings.
        tau: Shape (shower, slice).
        x: Shape (shower,).
        numbers: The 12 numbers of core, tail and share of the core.
        outside: Factor on the share outside all rings.

    Returns:
        Shape (shower, slice, ring).
    """
    x = x[:, None, None]
    within = inside(radii_mm, tau[..., None], x, numbers)
    last = inside(outermost_mm, tau[..., None], x, numbers)
    near = within / last * (1 - outside * (1 - last))
    return np.where(radii_mm <= outermost_mm, near, 1 - outside * (1 - within))


def fit_rings(
    sums: RingSums, edges_mm: NDArray[np.float64], grain_mev: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the 12 numbers to energies in rings; return them and their errors.

    The errors are scaled so that the residuals have the size they should have.

    Args:
        sums: Energies in rings.
        edges_mm: Edges of the rings.
        grain_mev: Variance over mean of the energies, roughly.
    """
    whole = sums.energy_mev.sum(axis=1, keepdims=True)
    found = sums.energy_mev / whole
    errors = np.sqrt(np.maximum(found, 1e-4) * grain_mev / whole)
    # No shape is exact: without this the core would count alone.
    errors = np.hypot(errors, 0.02 * found)

    def residuals(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        within = inside(edges_mm, sums.tau[:, None], sums.x[:, None], numbers)
        expected = np.diff(within, axis=1) / within[:, -1:]
        return ((expected - found) / errors).ravel()

    fit = least_squares(residuals, _START, bounds=_BOUNDS)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac)
    scale = np.median(np.abs(residuals(fit.x))) / 0.6745
    return fit.x, max(scale, 1.0) * np.sqrt(np.diag(covariance))
