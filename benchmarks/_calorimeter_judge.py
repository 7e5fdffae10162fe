"""What boosted trees tell of the calorimeter's flow and baseline; part of `calorimeter.py`.

4,000 showers of Geant4 that nothing was learnt from stand against as many others: of Geant4 again,
which is the floor; damaged, which is the judge's power; of the flow; of the parametrised shower.
Simulating them takes half a CPU-hour; a folder in PHYSICS_TWINS_SHOWERS keeps them.
"""

from functools import cache

import numpy as np
import xarray as xr

from _calorimeter_parametrised import ParametrisedShower, fit_parametrised
from _calorimeter_parametrised import generate as generate_parametrised
from _calorimeter_showers import geant4_showers
from _calorimeter_trees import DAMAGES, damaged, numbers, told
from _table import Figure, this_machine
from physics_twins.calorimeter import samples
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.evaluating.shapes import cell_differences
from physics_twins.calorimeter.infer import generate, infer
from physics_twins.calorimeter.model import load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters

# Not used while any of this was written.
SEEDS = {"reference": 93_000, "floor": 94_000, "drawn": 95_000, "damage": 96_000, "folds": 97_000}
N_SHOWERS = 4000
# Trainings of the judge in each figure: each with other folds, and another draw of what is judged.
N_TRAININGS = 3


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


def baseline_auc() -> Figure:
    """AUC of the parametrised shower against Geant4."""
    made = [
        numbers(generate_parametrised(_fitted(), _asked(), seed=SEEDS["drawn"] + k))
        for k in range(N_TRAININGS)
    ]
    return _figure([_several(made, _geant4("reference"))], "", ("reference", "floor", "drawn"))


def cell_spectrum() -> Figure:
    """Relative difference of the flow's mean number of cells from Geant4's, by half decades of energy.

    From the threshold to 50 keV, 160 keV, and so on to 50 MeV.
    """
    reference = xr.concat([_geant4("reference"), _geant4("floor")], "shower", join="exact")
    drawn = infer(load_flow(), reference, seed=SEEDS["drawn"])
    differences = cell_differences(features(drawn), features(reference))
    return _figure(differences, "0.03 asked", ("reference", "floor", "drawn"))


def _several(made: list[np.ndarray], reference: xr.Dataset) -> tuple[float, float]:
    """Return the mean AUC of several trainings, its error from showers and from training."""
    known = numbers(reference)
    found = [told(each, known, seed=SEEDS["folds"] + k) for k, each in enumerate(made)]
    values, errors = np.array(found).T
    return float(values.mean()), float(np.hypot(errors.mean(), values.std(ddof=1)))


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


BENCHMARKS = {each.__name__: each for each in (judge_power, auc_boosted, baseline_auc, cell_spectrum)}
