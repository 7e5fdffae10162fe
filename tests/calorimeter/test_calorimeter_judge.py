"""The judge of showers: it sees stated damage, and nothing where there is none."""

import numpy as np
import pytest
import xarray as xr
from judges import judge

from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters

trees = judge("_calorimeter_trees")


@pytest.fixture(scope="module")
def pair() -> list[xr.Dataset]:
    """Return two sets of showers of one kind, quickly drawn from a parametrisation."""
    from test_calorimeter_parametrised import MODEL, generate

    parameters = CalorimeterParameters(
        **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=4.0, n_showers=300
    )
    return [generate(MODEL, parameters, seed=seed) for seed in (1, 2)]


def test_showers_of_one_kind_cannot_be_told_apart_and_noisy_ones_can(pair, monkeypatch):
    monkeypatch.setattr(trees, "N_TREES", 60)
    one, other = (trees.numbers(each) for each in pair)
    told, error = trees.told(one, other, seed=1)
    assert abs(told - 0.5) < 4 * error
    damaged = trees.numbers(trees.damaged(pair[0], "cell noise 30 %", seed=3))
    told, error = trees.told(damaged, other, seed=1)
    assert told > 0.5 + 4 * error


@pytest.mark.parametrize("name", list(trees.DAMAGES))
def test_a_damage_leaves_what_it_says(pair, name):
    before, after = pair[0]["showers"], trees.damaged(pair[0], name, seed=3)["showers"]
    assert not np.array_equal(before, after)
    assert float(after.where(after > 0).min()) >= trees.THRESHOLD_MEV * (1 - 1e-6)
    if not name.startswith("cell noise"):
        layers = [each.sum(("angle", "radius"), dtype=float) for each in (before, after)]
        np.testing.assert_allclose(*layers, rtol=1e-5)
    if name in ("layers turned", "cells of a ring shuffled"):
        rings = [np.sort(each.values, axis=2) for each in (before, after)]
        np.testing.assert_array_equal(*rings)
