"""What judges tell of the calorimeter's flow and baseline; part of `calorimeter.py`.

4,000 showers of Geant4 that nothing was learnt from stand against as many others: of Geant4 again,
which is the floor; damaged, which is the judge's power; of the flow; of the parametrised shower.
Simulating them takes half a CPU-hour; a folder in PHYSICS_TWINS_SHOWERS keeps them. Those judge by
boosted trees. Networks, and trees once more, judge 50,000 against as many of the flow's test, which are
two CPU-hours more; what networks can see is shown on one half of these against the other.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import xarray as xr

from _calorimeter_network import CELLS_HIDDEN, FEATURES_HIDDEN, tell_apart, voxel_matrix
from _calorimeter_parametrised import ParametrisedShower, fit_parametrised
from _calorimeter_parametrised import generate as generate_parametrised
from _calorimeter_showers import geant4_showers
from _calorimeter_trees import DAMAGES, damaged, numbers, told
from _table import Figure, this_machine
from physics_twins.calorimeter import samples
from physics_twins.calorimeter.evaluating.features import features, matrix
from physics_twins.calorimeter.evaluating.shapes import cell_differences
from physics_twins.calorimeter.infer import generate, infer
from physics_twins.calorimeter.model import load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.training_showers import TEST, TEST_SEED

# Not used while any of this was written.
SEEDS = {"reference": 93_000, "floor": 94_000, "drawn": 95_000, "damage": 96_000, "folds": 97_000}
SEEDS["test"] = TEST_SEED  # of the flow
N_SHOWERS = 4000
# Trainings of the judge in each figure: each with other folds, and another draw of what is judged.
N_TRAININGS = 3
N_FOR_NETWORKS, N_NETWORKS = 50_000, 2
NETWORKS_HIDDEN = FEATURES_HIDDEN, CELLS_HIDDEN
NETWORK_DAMAGES = ("cell noise 30 %", "cell spectrum bent by 5 %")


def judge_power() -> Figure:
    """AUC of Geant4 against itself, the floor; then against showers with each of the five damages."""
    reference, other = _geant4("reference"), _geant4("floor")
    judged = [_several([numbers(other)] * N_TRAININGS, reference)]
    for name in DAMAGES:
        made = [numbers(damaged(other, name, seed=SEEDS["damage"] + k)) for k in range(N_TRAININGS)]
        judged.append(_several(made, reference))
    return _figure(judged, "0.50, -, 0.70, -, -, 0.60", ("reference", "floor", "damage"))


def auc_boosted() -> Figure:
    """AUC of the flow against Geant4."""
    flow = load_flow()
    made = [numbers(generate(flow, _asked(), seed=SEEDS["drawn"] + k)) for k in range(N_TRAININGS)]
    return _figure([_several(made, _geant4("reference"))], "0.65 asked", ("reference", "drawn"))


def auc_boosted_50000() -> Figure:
    """AUC of the flow against Geant4 by 50,000 showers of each kind; of Geant4's halves, the floor."""
    asked = _asked().replace(n_showers=N_FOR_NETWORKS)
    known = numbers(_for_networks())
    drawn = numbers(generate(load_flow(), asked, seed=SEEDS["drawn"]))
    pairs = (drawn, known), (known[::2], known[1::2])
    judged = [told(*pair, seed=SEEDS["folds"]) for pair in pairs]
    return _figure(judged, "0.65 asked of 4,000", ("test", "drawn"))


def baseline_auc() -> Figure:
    """AUC of the parametrised shower against Geant4."""
    made = [
        numbers(generate_parametrised(_fitted(), _asked(), seed=SEEDS["drawn"] + k))
        for k in range(N_TRAININGS)
    ]
    return _figure([_several(made, _geant4("reference"))], "", ("reference", "floor", "drawn"))


def network_power() -> Figure:
    """AUC of networks on features, on cells: Geant4 against itself; 30 % of noise; a bent spectrum.

    Half of the showers that judge the flow stand against the other half.
    """
    reference, other = (_for_networks().isel(shower=slice(k, None, 2)) for k in (0, 1))
    known = _seen_by_networks(reference)
    judged = _by_networks([other], known)
    for name in NETWORK_DAMAGES:
        judged += _by_networks([damaged(other, name, seed=SEEDS["damage"])], known)
    return _figure(judged, "0.50, 0.50", ("test", "damage"))


def auc_network() -> Figure:
    """AUC of networks of CaloChallenge's size, flow against Geant4: on features, on cells."""
    flow, asked = load_flow(), _asked().replace(n_showers=N_FOR_NETWORKS)
    drawn = (generate(flow, asked, seed=SEEDS["drawn"] + n) for n in range(N_NETWORKS))
    judged = _by_networks(drawn, _seen_by_networks(_for_networks()))
    return _figure(judged, "0.65, 0.65 asked", ("test", "drawn"))


def cell_spectrum() -> Figure:
    """Relative difference of the flow's mean number of cells from Geant4's, by half decades of energy.

    From the threshold to 50 keV, 160 keV, and so on to 50 MeV.
    """
    reference = _both()
    drawn = infer(load_flow(), reference, seed=SEEDS["drawn"])
    differences = cell_differences(features(drawn), features(reference))
    return _figure(differences, "0.03 asked", ("reference", "floor", "drawn"))


def _several(made: list[np.ndarray], reference: xr.Dataset) -> tuple[float, float]:
    """Return the mean AUC of several trainings, its error from showers and from training."""
    known = numbers(reference)
    return _mean_of([told(each, known, seed=SEEDS["folds"] + k) for k, each in enumerate(made)])


def _by_networks(
    made: Iterable[xr.Dataset], known: tuple[np.ndarray, np.ndarray]
) -> list[tuple[float, float]]:
    """Return the AUC on features and on cells of what is made, each the mean of some trainings."""
    found: list[list[tuple[float, float]]] = [[] for _ in known]
    for n, showers in enumerate(made):
        pairs = zip(_seen_by_networks(showers), known, NETWORKS_HIDDEN, strict=True)
        for each, (drawn, real, hidden) in zip(found, pairs, strict=True):
            each.append(tell_apart(drawn, real, seed=SEEDS["folds"] + n, hidden=hidden))
    return [_mean_of(each) for each in found]


def _for_networks() -> xr.Dataset:
    return geant4_showers(TEST, {"n_showers": N_FOR_NETWORKS}, seed=SEEDS["test"])


def _seen_by_networks(showers: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return matrix(features(showers)), voxel_matrix(showers)


def _mean_of(found: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of several trainings, and its error from showers and from training."""
    values, errors = np.array(found).T
    again = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean()), float(np.hypot(errors.mean(), again))


def _both() -> xr.Dataset:
    return xr.concat([_geant4("reference"), _geant4("floor")], "shower", join="exact")


@cache
def _fitted() -> ParametrisedShower:
    return fit_parametrised(_geant4("floor"))


@cache
def _geant4(name: str) -> xr.Dataset:
    return geant4_showers(f"judge/{name}", {"n_showers": N_SHOWERS}, seed=SEEDS[name])


def _asked() -> CalorimeterParameters:
    return CalorimeterParameters(**samples.TRAINING, n_showers=N_SHOWERS)


def _figure(judged: list[tuple[float, float]], reference: str, seeds: tuple[str, ...]) -> Figure:
    values, errors = (list(map(float, column)) for column in zip(*judged, strict=True))
    told_by = tuple(SEEDS[name] for name in (*seeds, "folds"))
    return Figure(values, errors, "", reference, this_machine(), told_by)


BENCHMARKS = {
    each.__name__: each
    for each in (
        judge_power,
        auc_boosted,
        auc_boosted_50000,
        baseline_auc,
        network_power,
        auc_network,
        cell_spectrum,
    )
}
