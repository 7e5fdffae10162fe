"""Choose the masses on the way to phi^4 so that the correlation length grows evenly.

As the coupling rises the mass squared must fall: too late and the field is stiff on the way, too early
and the path leads through the broken phase. Where it must be is found with short chains of the cluster
algorithm, by steps of Newton whose slopes are covariances.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial

from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.parameters import phi4
from physics_twins.lattice.simulate import simulate

_N_NODES, _N_NEWTON, _N_FREE = 6, 4, 4
_CHECKED, _FARTHEST = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9), 1.8
_MARGIN = 5.0  # of masses beyond those of both ends
_LARGEST_STEP = 0.3  # in the logarithm of the correlation length


def path_to(
    shape: Sequence[int], mass2: float, quartic: float, *, free_length: float, n: int, seed: int
) -> Path:
    """Return a path to a theory on which the logarithm of the correlation length grows evenly.

    Args:
        shape: Sites in each direction, equally many.
        mass2: Bare mass squared at the end.
        quartic: Coupling lambda at the end.
        free_length: Correlation length of the free field that it begins at, in lattice units.
        n: Measurements in each chain.
        seed: Of the chains.

    Raises:
        ValueError: Chains were too short to find it, and it leads through the broken phase.
    """
    free_mass2 = (2 * math.sinh(0.5 / free_length)) ** 2
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
    path = Path(tuple(shape), quartic, tuple(map(float, masses.coef)))
    for number, time in enumerate(_CHECKED):
        told = _length(shape, *path.couplings(time), max(n // 4, 100), seed + 1000 + number)[0]
        if told > _FARTHEST * math.exp(max(first, last)):
            raise ValueError(
                f"the path to quartic = {quartic:g} leads through a correlation length of {told:.3g}"
                f" sites at time {time:g}: more measurements (n_path = {n}) or another seed are needed"
            )
    return path


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
