"""The field phi^4 in any dimension, S = sum of phi (-Laplace) phi + mass2 phi^2 + quartic phi^4.

In lattice units; 2D, mass2 = -4 is the line on which samplers of this field are compared. The cluster
algorithm flips signs (Brower and Tamayo 1989, Phys. Rev. Lett. 62, 1087) after a Metropolis sweep,
which moves the rest.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice.geometry import longest_waves, neighbours
from physics_twins.lattice.omelyan import kicks
from physics_twins.lattice.parameters import LatticeParameters

# The last is the cluster's update run backwards: a flip, then a sweep from the last site to the first.
SAMPLERS = {"hmc": 0, "metropolis": 1, "cluster": 2, "backward cluster": 3}
OBSERVABLES = ("magnetisation", "phi2", "action", "structure", "phi4", "accepted")
WIDTHS = (1.0, 1e3)  # of Metropolis proposals: to begin with, and the largest


def start(parameters: LatticeParameters, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a field to begin with, shape (site,): zero when cold, noise when hot."""
    n_sites = math.prod(parameters.shape)
    return np.zeros(n_sites) if parameters.start == "cold" else rng.normal(size=n_sites)


def tables(parameters: LatticeParameters) -> tuple[Any, ...]:
    """Return what `run` is told besides the field: neighbours, waves and couplings."""
    hop, waves = neighbours(parameters.shape), longest_waves(parameters.shape)
    return hop, waves, parameters.mass2, parameters.quartic


def in_space(field: NDArray[np.float64], parameters: LatticeParameters) -> NDArray[np.float64]:
    """Return the field with one axis for each direction."""
    return field.reshape(parameters.shape)


@numba.njit(cache=True, nogil=True, fastmath=True)
def action(phi: Any, hop: Any, mass2: float, quartic: float) -> float:
    """Return the action of a field.

    Args:
        phi: The field, shape (site,).
        hop: What `geometry.neighbours` returns.
        mass2: Bare mass squared.
        quartic: Coupling lambda.
    """
    size, total = hop.shape[1] // 2, 0.0
    for x in range(len(phi)):
        ahead = 0.0
        for mu in range(size):
            ahead += phi[hop[x, mu]]
        square = phi[x] * phi[x]
        total += (2 * size + mass2) * square + quartic * square * square - 2 * phi[x] * ahead
    return total


@numba.njit(cache=True, nogil=True, fastmath=True)
def kick(phi: Any, momenta: Any, hop: Any, mass2: float, quartic: float, time: float) -> None:
    """Add to the momenta what the force, minus the action's gradient, adds in a time."""
    n_near = hop.shape[1]
    for x in range(len(phi)):
        near = 0.0
        for step in range(n_near):
            near += phi[hop[x, step]]
        force = 2 * near - 2 * (n_near + mass2 + 2 * quartic * phi[x] * phi[x]) * phi[x]
        momenta[x] += time * force


@numba.njit(cache=True, nogil=True)
def _trajectory(
    phi: Any, hop: Any, mass2: float, quartic: float, n_steps: int, length: float, rng: Any
) -> bool:
    old, momenta, step = phi.copy(), rng.normal(0.0, 1.0, len(phi)), length / n_steps
    before = 0.5 * np.dot(momenta, momenta) + action(phi, hop, mass2, quartic)
    times = kicks(n_steps, step)
    kick(phi, momenta, hop, mass2, quartic, times[0])
    for time in times[1:]:
        phi += 0.5 * step * momenta
        kick(phi, momenta, hop, mass2, quartic, time)
    after = 0.5 * np.dot(momenta, momenta) + action(phi, hop, mass2, quartic)
    accepted = rng.random() < math.exp(min(0.0, before - after))
    if not accepted:
        phi[:] = old
    return accepted


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sweep(
    phi: Any, hop: Any, mass2: float, quartic: float, width: float, rng: Any, backward: bool
) -> float:
    n_sites, n_near, n_accepted = len(phi), hop.shape[1], 0
    for number in range(n_sites):
        x = n_sites - 1 - number if backward else number
        near = 0.0
        for step in range(n_near):
            near += phi[hop[x, step]]
        now, new = phi[x] * phi[x], phi[x] + width * (2 * rng.random() - 1)
        change = (n_near + mass2 + quartic * (new * new + now)) * (new * new - now)
        change -= 2 * near * (new - phi[x])
        if change <= 0 or rng.random() < math.exp(-change):
            phi[x] = new
            n_accepted += 1
    return n_accepted / len(phi)


@numba.njit(cache=True, nogil=True)
def _flip_cluster(phi: Any, hop: Any, stack: Any, rng: Any) -> None:
    """Flip one cluster of equal signs, grown from a random site (Wolff 1989)."""
    seed = int(rng.random() * len(phi))
    size, sign = 1, 1.0 if phi[seed] > 0 else -1.0
    stack[0], phi[seed] = seed, -phi[seed]
    while size > 0:
        size -= 1
        x = stack[size]
        for y in hop[x]:
            # The first of both is flipped already, so that a bond has the sign of a broken one.
            bond = 4 * phi[x] * phi[y]
            if sign * phi[y] > 0 and rng.random() < 1 - math.exp(bond):
                phi[y] = -phi[y]
                stack[size] = y
                size += 1


@numba.njit(cache=True, nogil=True)
def _observe(phi: Any, hop: Any, waves: Any, mass2: float, quartic: float, row: Any) -> None:
    n_sites, size = len(phi), len(waves)
    row[0] = phi.sum() / n_sites
    row[1] = np.dot(phi, phi) / n_sites
    row[2] = action(phi, hop, mass2, quartic) / n_sites
    row[3] = 0.0
    for mu in range(size):
        real = imaginary = 0.0
        for x in range(n_sites):
            real += phi[x] * waves[mu, x].real
            imaginary += phi[x] * waves[mu, x].imag
        row[3] += (real * real + imaginary * imaginary) / (n_sites * size)
    row[4] = 0.0
    for x in range(n_sites):
        row[4] += phi[x] ** 4 / n_sites


@numba.njit(cache=True, nogil=True)
def run(
    phi: Any,
    hop: Any,
    waves: Any,
    mass2: float,
    quartic: float,
    sampler: int,
    setting: float,
    length: float,
    interval: int,
    rng: Any,
    series: Any,
) -> float:
    """Update a field in place, note what it is like, and return which part was accepted.

    Args:
        phi: The field, shape (site,), float64.
        hop: What `geometry.neighbours` returns.
        waves: What `geometry.longest_waves` returns.
        mass2: Bare mass squared.
        quartic: Coupling lambda.
        sampler: Number in `SAMPLERS`.
        setting: Steps of a trajectory for HMC, else the width of Metropolis proposals.
        length: Length of a trajectory.
        interval: Updates between two measurements.
        rng: Generator of all random numbers.
        series: Filled with `OBSERVABLES`, (measurement, observable).
    """
    accepted = 0.0
    stack = np.empty(len(phi), dtype=np.int64)
    for n in range(len(series)):
        before = accepted
        for _ in range(interval):
            if sampler == 3:
                _flip_cluster(phi, hop, stack, rng)
            if sampler == 0:
                accepted += _trajectory(phi, hop, mass2, quartic, int(setting), length, rng)
            else:
                accepted += _sweep(phi, hop, mass2, quartic, setting, rng, sampler == 3)
            if sampler == 2:
                _flip_cluster(phi, hop, stack, rng)
        _observe(phi, hop, waves, mass2, quartic, series[n])
        series[n, 5] = (accepted - before) / interval
    return accepted / (len(series) * interval)
