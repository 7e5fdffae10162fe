"""SU(2) and SU(3) gauge fields, Wilson's action S = beta sum of (1 - Re tr plaquette / N).

Links are (site, direction, N, N). Over a C-periodic boundary a link is seen complex conjugated.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice import matrices as su
from physics_twins.lattice.geometry import crossings, neighbours
from physics_twins.lattice.omelyan import kicks
from physics_twins.lattice.parameters import LatticeParameters

SAMPLERS = {"hmc": 0, "metropolis": 1, "heatbath": 2}
OBSERVABLES = ("plaquette", "polyakov_real", "polyakov_imaginary", "accepted")
WIDTHS = (0.5, 1.0)  # of Metropolis proposals: to begin with, and the largest


def colours_of(theory: str) -> tuple[float, ...]:
    """Return as many numbers as the theory has colours, as compiled functions want them."""
    return (0.0,) * int(theory[-1])


def start(parameters: LatticeParameters, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Return links to begin with, (site, direction, N, N): one when cold, any when hot."""
    colours = colours_of(parameters.theory)
    n = len(colours)
    size = (math.prod(parameters.shape), parameters.n_dimensions, n, n)
    links = np.zeros(size, dtype=np.complex128) + np.eye(n)
    if parameters.start == "hot":
        links[:] = rng.normal(size=size) + 1j * rng.normal(size=size)
        repair(links, colours)
    return links


def tables(parameters: LatticeParameters) -> tuple[Any, ...]:
    """Return what `run` is told besides the field."""
    crossed = crossings(parameters.shape, parameters.n_c_directions)
    colours, n_over = colours_of(parameters.theory), parameters.n_overrelaxations
    return neighbours(parameters.shape), crossed, parameters.shape[0], parameters.beta, n_over, colours


def in_space(field: NDArray[np.complex128], parameters: LatticeParameters) -> NDArray[np.complex128]:
    """Return links with one axis for each direction, then direction, row and column."""
    return field.reshape(*parameters.shape, *field.shape[1:])


@numba.njit(cache=True, nogil=True)
def repair(links: Any, colours: Any) -> None:
    """Bring links that rounding has moved back into the group, in place."""
    for x in range(links.shape[0]):
        for mu in range(links.shape[1]):
            su.make_unitary(links[x, mu], colours)


@numba.njit(cache=True, nogil=True)
def _take(links: Any, x: int, mu: int, is_conjugate: bool, out: Any, colours: Any) -> None:
    for i in range(len(colours)):
        for j in range(len(colours)):
            value = links[x, mu, i, j]
            out[i, j] = value.conjugate() if is_conjugate else value


@numba.njit(cache=True, nogil=True)
def _staple(
    links: Any, hop: Any, crossed: Any, x: int, mu: int, work: Any, out: Any, colours: Any
) -> None:
    """Write the sum A of staples at a link U into `out`, such that Re tr(U A) sums its plaquettes."""
    size = links.shape[1]
    a, b, c, ab = work[0], work[1], work[2], work[3]
    out[:] = 0
    for nu in range(size):
        if nu == mu:
            continue
        ahead, above, below = hop[x, mu], hop[x, nu], hop[x, size + nu]
        _take(links, ahead, nu, crossed[x, mu], a, colours)
        _take(links, above, mu, crossed[x, nu], b, colours)
        _take(links, x, nu, False, c, colours)
        su.product_dagger(a, b, ab, colours)
        su.product_dagger(ab, c, a, colours)
        out += a
        corner = hop[below, mu]
        behind = crossed[x, size + nu]
        _take(links, corner, nu, behind != crossed[below, mu], a, colours)
        _take(links, below, mu, behind, b, colours)
        _take(links, below, nu, behind, c, colours)
        su.product(b, a, ab, colours)
        su.dagger_product(ab, c, a, colours)
        out += a


@numba.njit(cache=True, nogil=True)
def plaquette_sums(links: Any, hop: Any, crossed: Any, colours: Any, later: Any = None) -> Any:
    """Return the sums of Re tr / N over the plaquettes of each plane, (direction, smaller direction).

    Args:
        links: Links, (site, direction, N, N).
        hop: What `geometry.neighbours` returns.
        crossed: What `geometry.crossings` returns.
        colours: What `colours_of` returns.
        later: Links of the sites that `hop` counts on with, where `links` are those of a time slice.
    """
    n, size = len(colours), links.shape[1]
    sums = np.zeros((size, size))
    for x in range(len(links)):
        for mu in range(size):
            for nu in range(mu):
                a, b = links[x, mu], _at(links, later, hop[x, mu])[nu]
                c, d = links[x, nu], _at(links, later, hop[x, nu])[mu]
                of_b = -1.0 if crossed[x, mu] else 1.0
                of_d = -1.0 if crossed[x, nu] else 1.0
                trace = 0.0
                for i in range(len(colours)):
                    for j in range(len(colours)):
                        ab, cd = 0j, 0j
                        for k in range(len(colours)):
                            ab += a[i, k] * complex(b[k, j].real, of_b * b[k, j].imag)
                            cd += c[i, k] * complex(d[k, j].real, of_d * d[k, j].imag)
                        trace += ab.real * cd.real + ab.imag * cd.imag
                sums[mu, nu] += trace / n
    return sums


@numba.njit(cache=True, nogil=True)
def _at(links: Any, later: Any, site: int) -> Any:
    if later is not None and site >= len(links):
        return later[site - len(links)]
    return links[site]


@numba.njit(cache=True, nogil=True)
def polyakov(links: Any, hop: Any, n_time: int, colours: Any) -> complex:
    """Return the mean over space of the trace / N of all links in time; arguments as `plaquette_sums`.

    The sites of time 0 are the first ones.
    """
    n, n_space, total = len(colours), len(links) // n_time, 0j
    line, longer = np.empty((2, n, n), dtype=np.complex128)
    for start in range(n_space):
        line[:] = links[start, 0]
        x = hop[start, 0]
        while x != start:
            su.product(line, links[x, 0], longer, colours)
            line[:] = longer
            x = hop[x, 0]
        for i in range(n):
            total += line[i, i] / (n * n_space)
    return total


@numba.njit(cache=True, nogil=True)
def kick(
    links: Any, momenta: Any, hop: Any, crossed: Any, beta: float, time: float, colours: Any
) -> None:
    """Add to the momenta, i times a sum of generators, what the force adds in a time."""
    n = len(colours)
    work = np.empty((6, n, n), dtype=np.complex128)
    staple, loop = work[4], work[5]
    for x in range(links.shape[0]):
        for mu in range(links.shape[1]):
            _staple(links, hop, crossed, x, mu, work, staple, colours)
            su.product(links[x, mu], staple, loop, colours)
            mean = 0.0
            for i in range(n):
                mean += loop[i, i].imag / n
            for i in range(n):
                for j in range(n):
                    part = 0.5 * (loop[i, j] - loop[j, i].conjugate())
                    if i == j:
                        part -= complex(0.0, mean)
                    momenta[x, mu, i, j] -= time * beta / (2 * n) * part


@numba.njit(cache=True, nogil=True)
def drift(links: Any, momenta: Any, time: float, colours: Any) -> None:
    """Turn links, U to exp(time momentum) U, in place."""
    n = len(colours)
    work = np.empty((4, n, n), dtype=np.complex128)
    for x in range(links.shape[0]):
        for mu in range(links.shape[1]):
            for i in range(n):
                for j in range(n):
                    work[0, i, j] = time * momenta[x, mu, i, j]
            su.exponential(work[0], work[1], work[2], colours)
            su.product(work[1], links[x, mu], work[3], colours)
            links[x, mu] = work[3]


@numba.njit(cache=True, nogil=True)
def random_momenta(momenta: Any, rng: Any, colours: Any) -> None:
    """Draw momenta, (site, direction, N, N), in place."""
    for x in range(momenta.shape[0]):
        for mu in range(momenta.shape[1]):
            su.random_algebra(momenta[x, mu], rng, colours)


def _trajectory(
    links: Any, hop: Any, crossed: Any, beta: float, n_steps: int, length: float, rng: Any, colours: Any
) -> bool:
    old, momenta, step = links.copy(), np.empty_like(links), length / n_steps
    random_momenta(momenta, rng, colours)

    def energy() -> float:
        kinetic = np.vdot(momenta, momenta).real
        return float(kinetic - beta * plaquette_sums(links, hop, crossed, colours).sum())

    before = energy()
    times = kicks(n_steps, step)
    kick(links, momenta, hop, crossed, beta, times[0], colours)
    for time in times[1:]:
        drift(links, momenta, 0.5 * step, colours)
        kick(links, momenta, hop, crossed, beta, time, colours)
    accepted = rng.random() < math.exp(min(0.0, before - energy()))
    if not accepted:
        links[:] = old
    return accepted


@numba.njit(cache=True, nogil=True)
def _sweep(
    links: Any, hop: Any, crossed: Any, beta: float, how: int, width: float, rng: Any, colours: Any
) -> float:
    """Visit each SU(2) of each link and return which part moved.

    `how` is 1 for Metropolis, 2 for heat bath, 3 for overrelaxation. Subgroups of SU(3) come one after
    the other (Cabibbo and Marinari 1982, Phys. Lett. B 119, 387).
    """
    n, n_accepted = len(colours), 0
    work = np.empty((6, n, n), dtype=np.complex128)
    staple, loop = work[4], work[5]
    now, new, turn = np.empty((3, 4))
    for mu in range(links.shape[1]):
        for x in range(links.shape[0]):
            _staple(links, hop, crossed, x, mu, work, staple, colours)
            su.product(links[x, mu], staple, loop, colours)
            for i in range(n - 1):
                for j in range(i + 1, n):
                    size = su.subgroup(loop, i, j, now)
                    weight = 2 * beta / n * size
                    if how == 2:
                        su.heat_bath(weight, new, rng)
                        su.times_conjugate(new, now, turn)
                    elif how == 3:
                        new[0] = now[0]
                        new[1:] = -now[1:]
                        su.times_conjugate(new, now, turn)
                    else:
                        short = width * rng.random()
                        turn[0] = math.sqrt(1 - short * short)
                        su.point_on_sphere(short, turn, rng)
                        along = turn[0] * now[0]
                        for k in range(1, 4):
                            along -= turn[k] * now[k]
                        gain = weight * (along - now[0])
                        if gain < 0 and rng.random() >= math.exp(gain):
                            continue
                    su.rotate(turn, links[x, mu], i, j, colours)
                    su.rotate(turn, loop, i, j, colours)
                    n_accepted += 1
    return n_accepted / (links.shape[0] * links.shape[1] * (n * (n - 1) // 2))


def run(
    links: Any,
    hop: Any,
    crossed: Any,
    n_time: int,
    beta: float,
    n_overrelaxations: int,
    colours: Any,
    sampler: int,
    setting: float,
    length: float,
    interval: int,
    rng: Any,
    series: Any,
) -> float:
    """Update links in place, note what they are like, and return which part was accepted.

    Args:
        links: Links, (site, direction, N, N), complex128.
        hop: What `geometry.neighbours` returns.
        crossed: What `geometry.crossings` returns.
        n_time: Sites in the direction of time.
        beta: Inverse coupling.
        n_overrelaxations: Sweeps of overrelaxation after each heat bath.
        colours: What `colours_of` returns.
        sampler: Number in `SAMPLERS`.
        setting: Steps of a trajectory for HMC, else the width of Metropolis proposals.
        length: Length of a trajectory.
        interval: Updates between two measurements.
        rng: Generator of all random numbers.
        series: Filled with `OBSERVABLES`, (measurement, observable).
    """
    accepted, size = 0.0, links.shape[1]
    n_plaquettes = len(links) * size * (size - 1) // 2
    for row in range(len(series)):
        before = accepted
        for _ in range(interval):
            if sampler == 0:
                accepted += _trajectory(links, hop, crossed, beta, int(setting), length, rng, colours)
                continue
            accepted += _sweep(links, hop, crossed, beta, sampler, setting, rng, colours)
            for _ in range(n_overrelaxations if sampler == 2 else 0):
                _sweep(links, hop, crossed, beta, 3, setting, rng, colours)
        repair(links, colours)
        line = polyakov(links, hop, n_time, colours)
        mean = plaquette_sums(links, hop, crossed, colours).sum() / n_plaquettes
        series[row] = mean, line.real, line.imag, (accepted - before) / interval
    return accepted / (len(series) * interval)
