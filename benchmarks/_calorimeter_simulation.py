"""The figures of the calorimeter's simulation by Geant4; part of `calorimeter.py`."""

import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _table import Figure, median_and_spread, this_machine
from physics_twins import clusters
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.simulate import chunk, simulate

# Not used while any of this was written.
SEEDS = {"energies": 41_000, "reference": 42_000, "time": 43_000, "farm": 44_000}
# 25 x (2.8 mm tungsten + 0.5 mm silicon), 10 GeV electrons.
REFERENCE = CalorimeterParameters()
# 36 radiation lengths deep, so that nothing leaves it at the back: 90 x (1.4 mm + 0.3 mm).
DEEP = CalorimeterParameters(**CALO_CHALLENGE_2)
# Showers at each energy in GeV, about equal in cost.
N_SHOWERS = {1.0: 1600, 3.0: 600, 10.0: 250, 30.0: 100, 100.0: 40}
N_REFERENCE = 500
N_TIMINGS, N_TIMED = 9, 20
N_PAIRS, N_FARMED = 5, 160


def closure() -> Figure:
    """Energy left in all matter over that of the electron, at 1, 10 and 100 GeV, set 2's calorimeter.

    The rest is scattered back out of the face, and taken by nuclei.
    """
    shares = [_energies()[energy_gev][0] for energy_gev in (1.0, 10.0, 100.0)]
    values, errors = zip(*map(_mean, shares), strict=True)
    return Figure(list(values), list(errors), "", 1.0, this_machine(), (SEEDS["energies"],))


def linearity() -> Figure:
    """Largest deviation of the sensors' response from proportional, 1 to 100 GeV, in per cent.

    Five energies in set 2's calorimeter, against their weighted mean.
    """
    shares = [seen for _, seen in _energies().values()]
    means, errors = (np.array(column) for column in zip(*map(_mean, shares), strict=True))
    common = np.average(means, weights=errors**-2)
    deviations = 100 * np.abs(means / common - 1)
    worst = int(deviations.argmax())
    error = 100 * float(errors[worst] / common)
    return Figure(float(deviations[worst]), error, "%", 0.0, this_machine(), (SEEDS["energies"],))


def reference_10gev() -> Figure:
    """Energy seen by the sensors in MeV, and its relative spread in per cent, 10 GeV electrons.

    The reference is Geant4 11.4.1 through another Python package, with tabulated bremsstrahlung.
    """
    showers = simulate(REFERENCE.replace(n_showers=N_REFERENCE), seed=SEEDS["reference"])
    seen = showers["layer_energy_mev"].sum("layer_number").values
    mean, error = _mean(seen)
    spread = 100 * float(seen.std(ddof=1)) / mean
    values, errors = [mean, spread], [error, spread / float(np.sqrt(2 * N_REFERENCE))]
    reference = "252.1, 6.1"
    return Figure(values, errors, "MeV, %", reference, this_machine(), (SEEDS["reference"],))


def geant4_cpu_s() -> Figure:
    """Time that one core needs for a shower of 10 GeV in the reference calorimeter, cells included.

    A core whose neighbour is busy is slower: the median of several runs and their spread.
    """
    parameters = REFERENCE.replace(n_showers=N_TIMED)
    simulate(parameters.replace(n_showers=1), seed=1)  # Geant4 starts
    spent_s = []
    for n in range(N_TIMINGS):
        begun = time.process_time()
        simulate(parameters, seed=SEEDS["time"] + n)
        spent_s.append((time.process_time() - begun) / N_TIMED)
    value, spread = median_and_spread(spent_s)
    seeds = tuple(range(SEEDS["time"], SEEDS["time"] + N_TIMINGS))
    return Figure(value, spread, "CPU-s", 0.0468, this_machine(), seeds)


def farm_speedup() -> Figure:
    """Showers per second with two workers over those with one, and the same of two bare processes.

    Showers of 3 GeV in set 2's calorimeter, runs of each kind in turn. Other work on the machine lowers
    both, since two workers have no two cores then: what the farm itself costs is the difference.
    """
    parameters = DEEP.replace(energy_gev=3.0, n_showers=N_FARMED)
    half = N_FARMED // 2
    ratios, limits = [], []
    with (
        clusters.connect("local", jobs=1) as one,
        clusters.connect("local", jobs=2) as two,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes,
    ):
        for seed in range(SEEDS["farm"] - 1, SEEDS["farm"] + N_PAIRS):
            single_s, double_s = (_seconds(parameters, seed, each) for each in (one, two))
            begun = time.perf_counter()
            halves = [processes.submit(chunk, parameters, seed, n, half) for n in (0, half)]
            for each in halves:
                each.result()
            if seed >= SEEDS["farm"]:  # the first run starts Geant4 everywhere
                ratios.append(single_s / double_s)
                limits.append(single_s / (time.perf_counter() - begun))
    (value, spread), (limit, _) = median_and_spread(ratios), median_and_spread(limits)
    seeds = tuple(range(SEEDS["farm"], SEEDS["farm"] + N_PAIRS))
    return Figure(value, spread, "", limit, this_machine(), seeds)


def _seconds(parameters: CalorimeterParameters, seed: int, client: Any) -> float:
    begun = time.perf_counter()
    simulate(parameters, seed=seed, client=client)
    return time.perf_counter() - begun


@cache
def _energies() -> dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return for each energy the share left in all matter and that seen by the sensors, by shower."""
    found = {}
    for energy_gev, n_showers in N_SHOWERS.items():
        parameters = DEEP.replace(energy_gev=energy_gev, n_showers=n_showers)
        showers = simulate(parameters, seed=SEEDS["energies"])
        whole_mev = 1e3 * showers["energy_gev"].values
        seen = showers["layer_energy_mev"].sum("layer_number").values
        found[energy_gev] = (showers["deposited_mev"].values / whole_mev, seen / whole_mev)
    return found


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


BENCHMARKS = {
    "closure": closure,
    "linearity": linearity,
    "reference_10gev": reference_10gev,
    "geant4_cpu_s_10gev": geant4_cpu_s,
    "farm_speedup": farm_speedup,
}
