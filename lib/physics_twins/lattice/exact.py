"""Exact values that a sampler must reproduce: gauge fields in 2D, and the free scalar field.

In two dimensions a gauge theory is a sum over representations (Migdal 1975, Sov. Phys. JETP 42, 413).
With c_r the r-th coefficient of a plaquette's weight over the dimension of r, Z = sum over r of
c_r^(sites) on a torus. Where one direction is C-periodic, only representations that are their own
conjugate are in the sum, because a state that goes around comes back conjugated.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from physics_twins.lattice.parameters import LatticeParameters

_N_REPRESENTATIONS = 40
_STEP = 1e-4  # of the derivative by beta


def plaquette(
    theory: str, beta: float, n_sites: int | None = None, *, c_periodic: bool = False
) -> float:
    """Return the mean plaquette, the real part of the trace over N, in two dimensions.

    Args:
        theory: `u1`, `su2` or `su3`.
        beta: Inverse coupling, positive.
        n_sites: Sites of the lattice; None for an endless one.
        c_periodic: Whether one of both directions is C-periodic, where `n_sites` is given.

    >>> round(plaquette("su3", 6.0), 6), round(plaquette("u1", 7.0, 256), 6)
    (0.422532, 0.925532)
    """
    high, low = (_log_z(theory, beta + d, n_sites, c_periodic) for d in (_STEP, -_STEP))
    return (high - low) / (2 * _STEP)


def log_z(theory: str, beta: float, n_sites: int) -> float:
    """Return log Z on a torus, with Haar's measure and exp(beta Re tr U / N) for each plaquette.

    >>> round(log_z("su2", 1e-3, 16), 5)
    0.0
    """
    return n_sites * _log_z(theory, beta, n_sites, False)


def _log_z(theory: str, beta: float, n_sites: int | None, c_periodic: bool) -> float:
    """Return log Z for each site, with a weight of exp(beta Re tr U / N) for each plaquette."""
    coefficients, is_real = _COEFFICIENTS[theory](beta)
    chosen = coefficients[is_real] if c_periodic else coefficients
    largest = chosen.max()
    if n_sites is None:
        return float(np.log(largest) + beta)
    return float(np.log(largest) + beta + np.log(np.sum((chosen / largest) ** n_sites)) / n_sites)


def _u1(beta: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    n = np.arange(-_N_REPRESENTATIONS, _N_REPRESENTATIONS + 1)
    return ive(n, beta), n == 0


def _su2(beta: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    n = np.arange(1, _N_REPRESENTATIONS)
    return 2 * ive(n, beta) / beta, np.full(len(n), True)


def _su3(beta: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Sum of determinants of Bessel functions (Bars and Green 1979, Phys. Rev. D 20, 3311)."""
    windings = np.arange(-12, 13)[:, None, None]
    rows, columns = np.arange(3)[:, None], np.arange(3)[None, :]
    found, real = [], []
    for p, q in product(range(12), repeat=2):
        boxes = np.array([p + q, q, 0])[:, None]
        orders = boxes - rows + columns + windings
        dimension = (p + 1) * (q + 1) * (p + q + 2) / 2
        found.append(np.linalg.det(ive(orders, beta / 3)).sum() / dimension)
        real.append(p == q)
    return np.abs(np.array(found)), np.array(real)


_COEFFICIENTS = {"u1": _u1, "su2": _su2, "su3": _su3}


def charge_squared(beta: float, n_sites: int) -> float:
    """Return the mean square of the topological charge of U(1) on a torus.

    Minus the second derivative of log Z by the angle theta that goes with the charge, at 0.

    >>> round(charge_squared(7.0, 256), 4)
    1.0064
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angles = np.pi * nodes
    n = np.arange(-_N_REPRESENTATIONS, _N_REPRESENTATIONS + 1)[:, None]
    weights = weights * np.exp(beta * (np.cos(angles) - 1)) / 2
    whole = (weights * np.cos(n * angles)).sum(1)
    first = -(weights * angles * np.sin(n * angles)).sum(1)
    second = -(weights * angles**2 * np.cos(n * angles)).sum(1)
    power = (whole / whole.max()) ** (n_sites - 2)
    curvature = n_sites * power * ((n_sites - 1) * first**2 + whole * second)
    return float(-curvature.sum() / (power * whole**2).sum() / (2 * np.pi) ** 2)


def free_susceptibility(mass2: float) -> float:
    """Return the mean of phi^2 at zero momentum times the sites, of the field without coupling."""
    return 1 / (2 * mass2)


def free_phi2(mass2: float, shape: Sequence[int]) -> float:
    """Return the mean of phi^2 at a site, of the field without coupling."""
    waves = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    laplace = sum(4 * np.sin(wave / 2) ** 2 for wave in waves)
    return float(np.mean(1 / (2 * (laplace + mass2))))


def known(parameters: LatticeParameters) -> dict[str, float]:
    """Return by name the exact values of what `measured` returns, as far as there are any.

    Those are `plaquette` and, of periodic U(1), `charge_squared`, in two dimensions with at most one
    direction C-periodic, and `phi2` and `susceptibility` of phi4 without coupling.
    """
    if not parameters.is_gauge:
        if parameters.quartic:
            return {}
        free = free_phi2(parameters.mass2, parameters.shape)
        return {"phi2": free, "susceptibility": free_susceptibility(parameters.mass2)}
    if parameters.n_dimensions != 2 or parameters.beta == 0:
        return {}
    n_sites, twisted = math.prod(parameters.shape), bool(parameters.n_c_directions)
    found = {"plaquette": plaquette(parameters.theory, parameters.beta, n_sites, c_periodic=twisted)}
    if parameters.theory == "u1" and not twisted:
        found["charge_squared"] = charge_squared(parameters.beta, n_sites)
    return found
