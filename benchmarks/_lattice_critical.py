"""The critical coupling of phi^4 in two dimensions, from the cluster sampler.

Reflections of each site about the minimum of its action, accepted or refused, are put between sweeps
and clusters: the field's short waves, nearly free at small couplings, would else move slowly.

f = quartic / mu^2, where mu^2 is mass2 without its tadpole: mass2 = mu^2 - 3 quartic A(mu^2), A the
lattice propagator at distance zero. The critical mass2 at a quartic coupling is that at which the
correlation length over the side is the 2D Ising model's at criticality on a square torus; its error
from a finite side falls with about the third power of the side times mu. The continuum is quartic -> 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ellipk

from _table import Figure, this_machine
from physics_twins.lattice import scalar
from physics_twins.lattice.geometry import longest_waves, neighbours

# Salas and Sokal 2000, J. Stat. Phys. 98, 551.
ISING_LENGTH_OVER_SIDE = 0.9050488
FIRST_GUESS = 10.5
N_BLOCKS = 40
# (quartic, side in 1 / mu, updates): some 7.5 CPU minutes; two sides at one coupling tell their effect.
RUNS = (
    (1.0, 8, 196_000),
    (1.0, 14, 62_000),
    (0.5, 14, 48_000),
    (0.25, 14, 32_000),
    (0.125, 14, 24_000),
    (0.0625, 14, 20_000),
    (0.03125, 14, 20_000),
)
SIZE_POWER = -2.75  # of the shift: 7/4 from the susceptibility's analytic part, and 1 from 1 / nu
N_REFLECTIONS = 1
CLUSTER, WIDTH = scalar.SAMPLERS["cluster"], 1.5  # of Metropolis proposals, half of which are accepted


def critical_coupling(seed: int = 52_000) -> Figure:
    """The critical coupling of phi^4 in 2D in the continuum; then its values on the lattice.

    Least squares of f = f_c + a q + b q log q + c q^2 + d side^-2.75 over quartic couplings q from 1 to
    1/32; errors are statistical. The reference is arXiv 2512.16536.
    """
    found = [
        critical_f(quartic, side, (n // 40, n // 12, n), seed=seed + 10 * number)
        for number, (quartic, side, n) in enumerate(RUNS)
    ]
    quartic, side = np.array([run[:2] for run in RUNS], dtype=float).T
    values, errors = np.array(found).T
    terms = [quartic**0, quartic, quartic * np.log(quartic), quartic**2, side**SIZE_POWER]
    design = np.array(terms).T / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    fitted = covariance @ design.T @ (values / errors)
    told, of = (
        [float(fitted[0]), *map(float, values)],
        [float(covariance[0, 0] ** 0.5), *map(float, errors)],
    )
    return Figure(told, of, "", "11.1097(22)", this_machine(), (seed,))


def tadpole(mu2: float) -> float:
    """Return the propagator of the free field at distance zero, on an endless square lattice.

    >>> round(tadpole(1.0) / np.mean([[1 / (5 - 2 * np.cos(a) - 2 * np.cos(b))
    ...     for a in 2 * np.pi * np.arange(64) / 64] for b in 2 * np.pi * np.arange(64) / 64]), 9)
    1.0
    """
    return 2 / (np.pi * (4 + mu2)) * float(ellipk((4 / (4 + mu2)) ** 2))


def mass2_of(f: float, quartic: float) -> float:
    """Return the bare mass squared of a dimensionless coupling."""
    mu2 = quartic / f
    return mu2 - 3 * quartic * tadpole(mu2)


def f_of(mass2: float, quartic: float) -> float:
    """Return the dimensionless coupling of a bare mass squared."""
    return _root(lambda f: mass2_of(f, quartic) - mass2, 0.5, 200.0)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    found: Any = brentq(function, low, high, xtol=1e-12)
    return float(found)


def critical_f(
    quartic: float, sites_over_length: float, updates: tuple[int, ...], *, seed: int
) -> tuple[float, float]:
    """Return the critical f at a quartic coupling with its statistical error.

    Args:
        quartic: In lattice units.
        sites_over_length: Side of the lattice in units of 1 / mu.
        updates: Of each run; each begins where the last one found the critical point.
        seed: Of all runs.
    """
    side = 2 * round(sites_over_length / np.sqrt(quartic / FIRST_GUESS) / 2)
    f, error = FIRST_GUESS, np.inf
    for number, n in enumerate(updates):
        mass2 = mass2_of(f, quartic)
        series = _chain(side, mass2, quartic, n, seed + number)
        blocks = np.array_split(np.arange(n), N_BLOCKS)
        f = f_of(mass2 + _shift(series, side), quartic)
        left = [f_of(mass2 + _shift(np.delete(series, b, axis=1), side), quartic) for b in blocks]
        error = float(np.sqrt((N_BLOCKS - 1) * np.var(left)))
    return f, error


def _chain(side: int, mass2: float, quartic: float, n: int, seed: int) -> NDArray[np.float64]:
    """Return power at zero and smallest momentum, and the sum of phi^2 less its mean, (3, update)."""
    shape, rng = (side, side), np.random.default_rng(seed)
    hop, waves = neighbours(shape), longest_waves(shape)
    phi, seen = np.zeros(side**2), np.empty((n + n // 4, len(scalar.OBSERVABLES)))
    for row in range(len(seen)):
        for _ in range(N_REFLECTIONS):
            reflect(phi, hop, mass2, quartic, rng)
        scalar.run(phi, hop, waves, mass2, quartic, CLUSTER, WIDTH, 1.0, 1, rng, seen[row : row + 1])
    magnetisation, phi2, structure = seen[n // 4 :, [0, 1, 3]].T
    return np.array([side**2 * magnetisation**2, structure, side**2 * (phi2 - phi2.mean())])


@numba.njit(cache=True, nogil=True)
def reflect(phi: Any, hop: Any, mass2: float, quartic: float, rng: Any) -> None:
    """Mirror each site at a centre that its neighbours set, and refuse what the action forbids."""
    n_near = hop.shape[1]
    for x in range(len(phi)):
        near = 0.0
        for step in range(n_near):
            near += phi[hop[x, step]]
        stiff = n_near + mass2
        centre = near / n_near
        for _ in range(3):  # Newton's steps to the minimum; any function of the neighbours is allowed
            slope = stiff * centre + 2 * quartic * centre**3 - near
            centre -= slope / (stiff + 6 * quartic * centre**2)
        new = 2 * centre - phi[x]
        old2, new2 = phi[x] * phi[x], new * new
        change = (stiff + quartic * (new2 + old2)) * (new2 - old2) - 2 * near * (new - phi[x])
        if change <= 0 or rng.random() < math.exp(-change):
            phi[x] = new


def _shift(series: NDArray[np.float64], side: int) -> float:
    """Return by how much mass2 must change until the correlation length is the critical one."""
    power, structure, energy = series

    def away(shift: float) -> float:
        weights = np.exp(-shift * energy - np.max(-shift * energy))
        ratio = (weights @ power) / (weights @ structure)
        length = np.sqrt(max(ratio - 1, 0.0)) / (2 * np.sin(np.pi / side))
        return float(length / side - ISING_LENGTH_OVER_SIDE)

    widest = float(2.0 / np.std(energy))  # further than this, weights are those of few fields
    if away(-widest) * away(widest) > 0:
        return widest if away(widest) > 0 else -widest
    return _root(away, -widest, widest)
