"""Choose the masses on the way to phi^4 so that the correlation length grows evenly.

As the coupling rises the mass squared must fall: too late and the field is stiff on the way, too early
and the path leads through the broken phase. Where it must be is found with short chains of the cluster
algorithm, by steps of Newton whose slopes are covariances. They begin at a line between both ends, or
at the tadpole: what the coupling takes from the mass squared in first order. That finds the way to
larger lattices, where a mass must be right to a thousandth and the coupling must grow slowly at first.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.polynomial import Polynomial

from physics_twins.lattice.exact import free_phi2
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.parameters import phi4
from physics_twins.lattice.simulate import simulate

_N_NODES, _N_NEWTON, _N_FREE = 6, 4, 4
_CHECKED, _FARTHEST = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9), 1.8
_MARGIN = 5.0  # of masses beyond those of both ends
_LARGEST_STEP = 0.3  # in the logarithm of the correlation length
# Of the search from the tadpole: steps at most, where they stop, the largest, and the flattest slope
# that is believed, in those of a free field.
_N_LONGER, _NEAR, _LONGER_STEP, _FLATTEST = 8, 0.04, 0.6, 0.04
_POWER, _N_BEND = 3, 6  # of time, that the coupling is; coefficients of the masses besides a line

Search = Literal["line", "tadpole"]


def path_to(
    shape: Sequence[int],
    mass2: float,
    quartic: float,
    *,
    free_length: float,
    n: int,
    seed: int,
    search: Search = "line",
) -> Path:
    """Return a path to a theory on which the logarithm of the correlation length grows evenly.

    Args:
        shape: Sites in each direction, equally many.
        mass2: Bare mass squared at the end.
        quartic: Coupling lambda at the end.
        free_length: Correlation length of the free field that it begins at, in lattice units.
        n: Measurements in each chain.
        seed: Of the chains.
        search: What the first guesses of masses are.

    Raises:
        ValueError: Chains were too short to find it, and it leads through the broken phase.
    """
    found = _from_line if search == "line" else _from_tadpole
    path, longest = found(tuple(shape), mass2, quartic, free_length, n, seed)
    for number, time in enumerate(_CHECKED):
        told = _length(shape, *path.couplings(time), max(n // 4, 100), seed + 1000 + number)[0]
        if told > _FARTHEST * math.exp(longest):
            raise ValueError(
                f"the path to quartic = {quartic:g} leads through a correlation length of {told:.3g}"
                f" sites at time {time:g}: more measurements (n_path = {n}), another seed or search"
                f" (now {search}) are needed"
            )
    return path


def free_mass2_of(length: float) -> float:
    """Return the mass squared of a free field by its correlation length, in lattice units.

    >>> round(free_mass2_of(1.0), 4)
    1.0862
    """
    return (2 * math.sinh(0.5 / length)) ** 2


def _from_line(
    shape: tuple[int, ...], mass2: float, quartic: float, free_length: float, n: int, seed: int
) -> tuple[Path, float]:
    """Return a path, not yet checked, and the largest logarithm of a correlation length on it."""
    free_mass2 = free_mass2_of(free_length)
    last = math.log(_length(shape, mass2, quartic, n, seed)[0])
    first = math.log(_length(shape, free_mass2, 0.0, n, seed + 1)[0])
    times = np.linspace(0, 1, _N_NODES + 2)[1:-1]
    found: list[float] = []
    ends = [(0.0, free_mass2), (1.0, mass2)]
    for number, time in enumerate(times):
        known = np.array([*ends, *zip(times, found, strict=False)])
        order = np.argsort(known[:, 0])
        value = float(np.interp(time, *known[order].T))
        if number > 1:  # from the last two, as a parabola would
            value = float(2 * found[-1] - found[-2])
        for step in range(_N_NEWTON):
            told, slope = _length(shape, value, quartic * time, n, seed + 100 * number + step + 2)
            wish = first + (last - first) * time - math.log(told)
            value += float(np.clip(wish, -_LARGEST_STEP, _LARGEST_STEP)) / slope
            value = float(np.clip(value, mass2 - _MARGIN, free_mass2 + _MARGIN))
        found.append(value)
    line = Polynomial([free_mass2, mass2 - free_mass2])
    away = (np.array(found) - line(times)) / (times * (1 - times))
    bend = Polynomial.fit(times, away, _N_FREE - 1).convert()
    masses = line + Polynomial([0.0, 1.0, -1.0]) * bend
    return Path(shape, quartic, tuple(map(float, masses.coef))), max(first, last)


def _from_tadpole(
    shape: tuple[int, ...], mass2: float, quartic: float, free_length: float, n: int, seed: int
) -> tuple[Path, float]:
    """Return the same: what is searched for is which part of the tadpole's shift the mass has."""
    first_mass2 = free_mass2_of(free_length)
    last = math.log(_length(shape, mass2, quartic, n, seed)[0])
    first = -0.5 * math.log(first_mass2)

    def inverse2(time: float) -> float:
        """Return one over the square of the length asked: the mass squared but for the coupling."""
        return math.exp(-2 * (first + (last - first) * time))

    def shift(time: float) -> float:
        """Return what the coupling takes from the mass squared in first order."""
        return 6 * quartic * time**_POWER * free_phi2(inverse2(time), shape)

    known = {0.0: 1.0, 1.0: (inverse2(1.0) - mass2) / shift(1.0)}  # parts of that shift by time
    for number, time in enumerate(_nodes(_N_NODES)):
        part = float(np.interp(time, sorted(known), [known[each] for each in sorted(known)]))
        value = inverse2(time) - shift(time) * part
        for step in range(_N_LONGER):
            told, slope = _length(
                shape, value, quartic * time**_POWER, n, seed + 100 * number + step + 2
            )
            asked = first + (last - first) * time
            wish, steepest = asked - math.log(told), -0.5 * math.exp(2 * asked)  # of a free field
            slope = float(np.clip(slope, steepest, _FLATTEST * steepest))
            value += float(np.clip(wish, -_LONGER_STEP, _LONGER_STEP)) / slope
            value = float(np.clip(value, mass2 - _MARGIN, first_mass2 + _MARGIN))
            if abs(wish) < _NEAR:
                break
        known[time] = (inverse2(time) - value) / shift(time)
    # The part changes slowly, and the rest is known. A mass counts by the free field's slope.
    nodes = np.array(_nodes(_N_NODES))
    slow = Polynomial([1.0, known[1.0] - 1.0])
    away = (np.array([known[time] for time in nodes]) - slow(nodes)) / (nodes * (1 - nodes))
    weights = [shift(time) * time * (1 - time) / inverse2(time) for time in nodes]
    parts = slow + Polynomial([0.0, 1.0, -1.0]) * Polynomial.fit(nodes, away, 2, w=weights).convert()
    line, times = Polynomial([first_mass2, mass2 - first_mass2]), np.array(_nodes(4 * _N_NODES))
    found = np.array([inverse2(time) - shift(time) * parts(time) for time in times])
    weights = [time * (1 - time) / inverse2(time) for time in times]
    away = (found - line(times)) / (times * (1 - times))
    bend = Polynomial.fit(times, away, _N_BEND - 1, w=weights).convert()
    masses = line + Polynomial([0.0, 1.0, -1.0]) * bend
    return Path(shape, quartic, tuple(map(float, masses.coef)), _POWER), max(first, last)


def _nodes(n: int) -> list[float]:
    """Return times between 0 and 1 that polynomials are found at, close to both ends (Chebyshev)."""
    return [float(0.5 - 0.5 * math.cos(math.pi * k / (n + 1))) for k in range(1, n + 1)]


def _length(
    shape: Sequence[int], mass2: float, quartic: float, n: int, seed: int
) -> tuple[float, float]:
    """Return the correlation length, and the slope of its logarithm by the mass squared."""
    chains = simulate(phi4(shape, mass2, quartic, n_measurements=n, n_kept=0), seed=seed)
    n_sites = math.prod(shape)
    power = n_sites * chains["magnetisation"].values[0] ** 2
    smallest, squares = chains["structure"].values[0], n_sites * chains["phi2"].values[0]
    ratio = max(power.mean() / smallest.mean() - 1, 1e-3)
    slopes = [-np.cov(each, squares)[0, 1] / each.mean() for each in (power, smallest)]
    slope = 0.5 * (1 + 1 / ratio) * (slopes[0] - slopes[1])
    return math.sqrt(ratio) / (2 * math.sin(math.pi / shape[0])), min(slope, -1e-3)
