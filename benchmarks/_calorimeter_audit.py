"""The figures of the calorimeter's audit; part of `calorimeter.py`."""

from functools import cache

import numpy as np
import xarray as xr

from _table import Figure, this_machine
from physics_twins.calorimeter.audit import ALPHA, NUMBERS, Audit
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate

# Not used while any of this was written.
SEEDS = {"showers": 45_000, "drawings": 46_000}
# 25 x (2.8 mm tungsten + 0.5 mm silicon), 10 GeV electrons at normal incidence.
REFERENCE = CalorimeterParameters()
N_SHOWERS, N_TWIN, N_LOOKED = 3000, 1000, 300
N_AUDITS = 1000
BIAS = 1.05


def audit_false_alarm_showers() -> Figure:
    """Audits that wrongly reject Geant4 itself, in per cent, and showers until a bias is seen.

    Geant4 stands for the twin: 1000 of its showers at 10 GeV, and up to 300 others that are looked at
    one after the other, drawn 1000 times from 3000. First the false alarms at any of the 300 looks, of
    which there may be 5 %; then in how many showers 95 % of the audits reject a response 5 % too high.
    """
    false = [_stopped_at(n, 1.0) for n in range(N_AUDITS)]
    share = np.mean([at <= N_LOOKED for at in false])
    found = np.array([_stopped_at(N_AUDITS + n, BIAS) for n in range(N_AUDITS)])
    generator = np.random.default_rng(SEEDS["drawings"])
    again = [np.quantile(generator.choice(found, N_AUDITS), 0.95) for _ in range(200)]
    values = [100 * float(share), float(np.quantile(found, 0.95))]
    errors = [100 * float(np.sqrt(share * (1 - share) / N_AUDITS)), float(np.std(again))]
    reference = f"{100 * ALPHA:g}, 60"
    seeds = tuple(SEEDS.values())
    return Figure(values, errors, "%, showers", reference, this_machine(), seeds)


def _stopped_at(number: int, scale: float) -> int:
    """Return the shower at which an audit stops; one more than all where it does not."""
    generator = np.random.default_rng([SEEDS["drawings"], number])
    rows = generator.permutation(N_SHOWERS)
    twin, real = np.split(rows[: N_TWIN + N_LOOKED], [N_TWIN])
    numbers = {name: _showers()[name].values for name in NUMBERS}
    test = Audit({name: v[twin] for name, v in numbers.items()}, seed=number, weights=NUMBERS)
    seen = {name: v[real] for name, v in numbers.items()}
    test.add(seen | {"response": scale * seen["response"]})
    return test.rejected_at or N_LOOKED + 1


@cache
def _showers() -> xr.Dataset:
    return features(simulate(REFERENCE.replace(n_showers=N_SHOWERS), seed=SEEDS["showers"]))


BENCHMARKS = {"audit_false_alarm_showers": audit_false_alarm_showers}
