"""Compact U(1) in two dimensions, S = beta sum over plaquettes of (1 - cos of the plaquette's angle).

Its charge is an integer that HMC hardly changes at large beta. The winding step (Albandea, Hernandez,
Ramos and Romero-Lopez 2021, Eur. Phys. J. C 81, 873, arXiv 2106.14234) offers another one: a gauge
transformation of the sites in a square that winds once around its edge, where links lead out of it. The
flux step offers one charge more or less spread evenly over the whole lattice, which changes the action
less. Either is accepted or refused by Metropolis.
"""

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.lattice.geometry import crossings, neighbours
from physics_twins.lattice.omelyan import kicks
from physics_twins.lattice.parameters import LatticeParameters

SAMPLERS = {"hmc": 0, "metropolis": 1, "heatbath": 2, "winding": 3, "flux": 4}
OBSERVABLES = ("plaquette", "charge", "accepted")
WIDTHS = (1.0, 3.14)  # of Metropolis proposals: to begin with, and the largest


def start(parameters: LatticeParameters, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return angles of links to begin with, (site, direction): zero when cold, any when hot."""
    size = (math.prod(parameters.shape), 2)
    return np.zeros(size) if parameters.start == "cold" else rng.uniform(-np.pi, np.pi, size)


def tables(parameters: LatticeParameters) -> tuple[Any, ...]:
    """Return what `run` is told besides the field."""
    shape = parameters.shape
    signs = 1.0 - 2.0 * crossings(shape, parameters.n_c_directions)
    flux, square = one_flux(shape), max(1, min(shape) - 2)
    return neighbours(shape), signs, flux, square, parameters.beta, parameters.n_overrelaxations


def in_space(field: NDArray[np.float64], parameters: LatticeParameters) -> NDArray[np.float64]:
    """Return angles in -pi to pi, with one axis for each direction and one for the links."""
    angles = np.remainder(field + np.pi, 2 * np.pi) - np.pi
    return angles.reshape(*parameters.shape, 2)


def one_flux(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return angles of links whose plaquettes are all alike and add up to a charge of 1."""
    n_t, n_x = shape
    t, x = np.indices(shape)
    flux = 2 * np.pi / (n_t * n_x)
    across = np.where(x == n_x - 1, flux * n_x * t, 0.0)
    return np.stack([-flux * x, across], axis=-1).reshape(-1, 2)


@numba.njit(cache=True, nogil=True)
def angle(links: Any, hop: Any, signs: Any, x: int) -> float:
    """Return the angle of the plaquette at a site, before it is folded into -pi to pi.

    Args:
        links: Angles, (site, direction).
        hop: What `geometry.neighbours` returns.
        signs: -1 where a step of `hop` crosses a C-periodic boundary, else 1.
        x: The site.
    """
    ahead = signs[x, 0] * links[hop[x, 0], 1] - signs[x, 1] * links[hop[x, 1], 0]
    return links[x, 0] - links[x, 1] + ahead


@numba.njit(cache=True, nogil=True)
def action(links: Any, hop: Any, signs: Any, beta: float) -> float:
    """Return the action of all plaquettes; arguments as of `angle`."""
    total = 0.0
    for x in range(len(links)):
        total += beta * (1 - math.cos(angle(links, hop, signs, x)))
    return total


@numba.njit(cache=True, nogil=True)
def kick(links: Any, momenta: Any, hop: Any, signs: Any, beta: float, time: float) -> None:
    """Add to the momenta what the force, minus the action's gradient, adds in a time."""
    for x in range(len(links)):
        push = time * beta * math.sin(angle(links, hop, signs, x))
        momenta[x, 0] -= push
        momenta[x, 1] += push
        momenta[hop[x, 0], 1] -= push * signs[x, 0]
        momenta[hop[x, 1], 0] += push * signs[x, 1]


@numba.njit(cache=True, nogil=True)
def _trajectory(
    links: Any, hop: Any, signs: Any, beta: float, n_steps: int, length: float, rng: Any
) -> bool:
    old, step = links.copy(), length / n_steps
    momenta = rng.normal(0.0, 1.0, links.shape)
    before = 0.5 * (momenta * momenta).sum() + action(links, hop, signs, beta)
    times = kicks(n_steps, step)
    kick(links, momenta, hop, signs, beta, times[0])
    for time in times[1:]:
        links += 0.5 * step * momenta
        kick(links, momenta, hop, signs, beta, time)
    after = 0.5 * (momenta * momenta).sum() + action(links, hop, signs, beta)
    accepted = rng.random() < math.exp(min(0.0, before - after))
    if not accepted:
        links[:] = old
    return accepted


@numba.njit(cache=True, nogil=True)
def turn_square(links: Any, hop: Any, corner: int, square: int, sign: float) -> None:
    """Turn links that lead out of a square, each by its place on the edge, one turn in all; in place.

    Args:
        links: Angles, (site, direction).
        hop: What `geometry.neighbours` returns.
        corner: The site of the square with the smallest coordinates.
        square: Links along a side of it.
        sign: 1 or -1, the sense of the turn.
    """
    x, step = corner, sign * 2 * math.pi / (4 * square)
    for number in range(4 * square):
        side = number // square
        # Along x, t, back along x, back along t; a corner has links out of two sides.
        for edge in range(side - (number % square == 0), side + 1):
            out = (2, 1, 0, 3)[edge % 4]
            if out < 2:
                links[x, out] += step * number
            else:
                links[hop[x, out], out - 2] -= step * number
        x = hop[x, (1, 0, 3, 2)[side]]


@numba.njit(cache=True, nogil=True)
def _wind(
    links: Any, flux: Any, square: int, hop: Any, signs: Any, beta: float, evenly: bool, rng: Any
) -> bool:
    """Offer another charge, in either sense half of the time: evenly, or around a square."""
    new, sign = links.copy(), 1.0 if rng.random() < 0.5 else -1.0
    if evenly:
        new += sign * flux
    else:
        turn_square(new, hop, int(rng.random() * len(links)), square, sign)
    change = action(new, hop, signs, beta) - action(links, hop, signs, beta)
    accepted = rng.random() < math.exp(min(0.0, -change))
    if accepted:
        links[:] = new
    return accepted


@numba.njit(cache=True, nogil=True)
def _staple(links: Any, hop: Any, signs: Any, x: int, mu: int) -> complex:
    """Return the sum of exp(i angle) of both plaquettes at a link, without that link."""
    nu, back = 1 - mu, hop[x, 3 - mu]
    above, behind, beyond = hop[x, nu], signs[x, 3 - mu], hop[back, mu]
    ahead = signs[x, mu] * links[hop[x, mu], nu] - signs[x, nu] * links[above, mu] - links[x, nu]
    corner = behind * signs[back, mu] * links[beyond, nu]
    below = -corner - behind * links[back, mu] + behind * links[back, nu]
    return complex(math.cos(ahead) + math.cos(below), math.sin(ahead) + math.sin(below))


@numba.njit(cache=True, nogil=True)
def _von_mises(kappa: float, rng: Any) -> float:
    """Return an angle drawn with weight exp(kappa cos(angle)) (Best and Fisher 1979)."""
    if kappa < 1e-8:
        return math.pi * (2 * rng.random() - 1)
    tau = 1 + math.sqrt(1 + 4 * kappa * kappa)
    rho = (tau - math.sqrt(2 * tau)) / (2 * kappa)
    r = (1 + rho * rho) / (2 * rho)
    while True:
        z = math.cos(math.pi * rng.random())
        f = (1 + r * z) / (r + z)
        c, u = kappa * (r - f), 1 - rng.random()
        if c * (2 - c) > u or math.log(c / u) + 1 >= c:
            found = math.acos(min(1.0, max(-1.0, f)))
            return found if rng.random() < 0.5 else -found


@numba.njit(cache=True, nogil=True)
def _sweep(links: Any, hop: Any, signs: Any, beta: float, how: int, width: float, rng: Any) -> float:
    """Visit each link: 1 Metropolis, 2 heat bath, 3 overrelaxation; return which part was accepted."""
    n_accepted = 0
    for mu in range(2):
        for x in range(len(links)):
            staple = _staple(links, hop, signs, x, mu)
            size, middle = abs(staple), -math.atan2(staple.imag, staple.real)
            if how == 1:
                new = links[x, mu] + width * (2 * rng.random() - 1)
                gain = beta * size * (math.cos(new - middle) - math.cos(links[x, mu] - middle))
                if gain < 0 and rng.random() >= math.exp(gain):
                    continue
            elif how == 2:
                new = middle + _von_mises(beta * size, rng)
            else:
                new = 2 * middle - links[x, mu]
            links[x, mu] = new
            n_accepted += 1
    return n_accepted / links.size


@numba.njit(cache=True, nogil=True)
def run(
    links: Any,
    hop: Any,
    signs: Any,
    flux: Any,
    square: int,
    beta: float,
    n_overrelaxations: int,
    sampler: int,
    setting: float,
    length: float,
    interval: int,
    rng: Any,
    series: Any,
) -> float:
    """Update links in place, note what they are like, and return which part was accepted.

    Args:
        links: Angles, (site, direction), float64.
        hop: What `geometry.neighbours` returns.
        signs: -1 where a step of `hop` crosses a C-periodic boundary, else 1.
        flux: What `one_flux` returns.
        square: Links along the side of a winding step's square.
        beta: Inverse coupling.
        n_overrelaxations: Sweeps of overrelaxation after each heat bath.
        sampler: Number in `SAMPLERS`.
        setting: Steps of a trajectory for HMC, else the width of Metropolis proposals.
        length: Length of a trajectory.
        interval: Updates between two measurements.
        rng: Generator of all random numbers.
        series: Filled with `OBSERVABLES`, (measurement, observable).
    """
    accepted = 0.0
    for n in range(len(series)):
        before = accepted
        for _ in range(interval):
            if sampler == 0 or sampler >= 3:
                accepted += _trajectory(links, hop, signs, beta, int(setting), length, rng)
                if sampler >= 3:
                    _wind(links, flux, square, hop, signs, beta, sampler == 4, rng)
                continue
            accepted += _sweep(links, hop, signs, beta, sampler, setting, rng)
            if sampler == 2:
                for _ in range(n_overrelaxations):
                    _sweep(links, hop, signs, beta, 3, setting, rng)
        total, charge = 0.0, 0.0
        for x in range(len(links)):
            plaquette = angle(links, hop, signs, x)
            total += math.cos(plaquette)
            charge += plaquette / (2 * math.pi) - round(plaquette / (2 * math.pi))
        series[n, 0], series[n, 1] = total / len(links), charge
        series[n, 2] = (accepted - before) / interval
    return accepted / (len(series) * interval)
