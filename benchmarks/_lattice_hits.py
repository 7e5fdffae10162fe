"""Metropolis with ten hits on each link, which heat bath and overrelaxation are held against.

A hit turns one of the SU(2) of SU(3), one after the other, and the sum of staples is worked out once
for all ten. Both sides have the same links, products and compiler.
"""

import math
import time
from typing import Any

import numba
import numpy as np
import xarray as xr

from physics_twins.lattice import gauge
from physics_twins.lattice import matrices as su
from physics_twins.lattice.errors import average
from physics_twins.lattice.geometry import crossings, neighbours
from physics_twins.lattice.loops import wilson_loops
from physics_twins.lattice.parameters import LatticeParameters
from physics_twins.lattice.simulate import simulate

N_HITS, WIDTH = 10, 0.35  # so wide that about half of the hits move the link
SU3 = LatticeParameters(
    theory="su3", n_dimensions=4, side=8, beta=6.0, n_warmup=100, n_measurements=10, n_chains=1
)


@numba.njit(cache=True, nogil=True)
def sweep(links: Any, hop: Any, crossed: Any, beta: float, rng: Any, colours: Any) -> float:
    """Hit each link of SU(3) ten times, in place; return which part of the hits moved it."""
    n, n_accepted = len(colours), 0
    work = np.empty((6, n, n), dtype=np.complex128)
    staple, loop = work[4], work[5]
    now, turn = np.empty((2, 4))
    for mu in range(links.shape[1]):
        for x in range(links.shape[0]):
            gauge._staple(links, hop, crossed, x, mu, work, staple, colours)
            su.product(links[x, mu], staple, loop, colours)
            for hit in range(N_HITS):
                i = 1 if hit % 3 == 2 else 0
                j = 1 if hit % 3 == 0 else 2
                weight = 2 * beta / n * su.subgroup(loop, i, j, now)
                short = WIDTH * rng.random()
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
    return n_accepted / (N_HITS * links.shape[0] * links.shape[1])


def histories(
    first: xr.DataArray, n: int, every: int, seed: int, *, hits: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return plaquettes and 2 x 2 loops of a chain, and seconds of a sweep.

    Args:
        first: Links in equilibrium, at which it begins.
        n: Measurements.
        every: Sweeps between two of them: of ten hits, or one of heat bath and the rest of
            overrelaxation.
        seed: Of the chain.
        hits: Whether it is Metropolis with ten hits.
    """
    links = np.ascontiguousarray(first.values).view(np.complex128).reshape(-1, 4, 3, 3).copy()
    hop, crossed, rng = neighbours(SU3.shape), crossings(SU3.shape, 0), np.random.default_rng(seed)
    colours, seconds, found = (0.0,) * 3, 0.0, []
    for measurement in range(n + 1):
        start = time.process_time()
        for place in range(every):
            if hits:
                sweep(links, hop, crossed, SU3.beta, rng, colours)
            else:
                how = 3 if place else 2
                gauge._sweep(links, hop, crossed, SU3.beta, how, 0.0, rng, colours)
        seconds += time.process_time() - start if measurement else 0.0  # the first one is compiled
        field = xr.DataArray(links.view(np.float64).reshape(first.shape), dims=first.dims)
        found.append(np.diag(wilson_loops(field, 2).values[0, 0]))
    plaquettes, loops = np.array(found[1:]).T
    return plaquettes, loops, seconds / (n * every)


def compared(n: int, every: int, seed: int) -> list[tuple[float, float]]:
    """Return values with errors: of heat bath and overrelaxation, then of ten hits, then both.

    Of each the sweeps for each CPU second, and of plaquette and 2 x 2 loop the autocorrelation time in
    CPU seconds; then by which factor those of ten hits are longer.
    """
    found, taus = [], []
    first = simulate(SU3, seed=seed)["field"].isel(chain=0, kept=0)
    for hits in (False, True):
        plaquettes, loops, seconds = histories(first, n, every, seed, hits=hits)
        measured = [average(each[None]).tau for each in (plaquettes, loops)]
        times = [(seconds * every * each.value, seconds * every * each.error) for each in measured]
        found += [(1 / seconds, 0.0), *times]
        taus.append(times)
    for (ours, error), (theirs, other) in zip(*taus, strict=True):
        ratio = theirs / ours
        found.append((ratio, ratio * math.hypot(error / ours, other / theirs)))
    return found
