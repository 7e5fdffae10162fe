"""The audit: false alarms at any stopping time, and how soon a fault is found."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter.audit import NUMBERS, Audit, audit
from physics_twins.calorimeter.evaluating.betting import RankBet
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import part, simulate

# What Geant4 gives at 10 GeV in the reference calorimeter.
RESOLUTION = 0.06
SOFT = CalorimeterParameters(energy_gev=0.3, n_showers=200)


def response(generator: np.random.Generator, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * (1 + RESOLUTION * generator.normal(size=n))


def stopped_at(seed: int, *, scale: float = 1.0, n: int = 300) -> int | None:
    """Shower at which an audit of all numbers rejects a twin whose response is off by a factor."""
    generator = np.random.default_rng(seed)
    twin = {name: response(generator, 1000) for name in NUMBERS}
    real = {name: response(generator, n) for name in NUMBERS}
    real["response"] = real["response"] * scale
    test = Audit(twin, seed=seed, weights=NUMBERS)
    test.add(real)
    return test.rejected_at


def test_a_twin_that_is_right_is_seldom_rejected_at_any_of_300_looks():
    n = 150
    false = sum(stopped_at(seed) is not None for seed in range(n))
    # At most 5 %, and five standard errors of that.
    assert false / n < 0.05 + 5 * np.sqrt(0.05 * 0.95 / n)


def test_wealth_is_one_on_average_while_twin_and_real_are_alike():
    finals = []
    for seed in range(2000):
        generator = np.random.default_rng(seed)
        bet = RankBet(generator.exponential(size=50), seed=seed)
        bet.add(generator.exponential(size=3))
        finals.append(np.exp(bet.log_wealth))
    assert abs(np.mean(finals) - 1) < 5 * np.std(finals) / np.sqrt(len(finals))


def test_ranks_stay_uniform_whatever_the_distribution_and_its_ties():
    uniform = []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        bet = RankBet(generator.integers(0, 3, 25), seed=seed)
        uniform.append(bet._uniform(generator.integers(0, 3, 10).astype(float)))
    values = np.array(uniform)
    assert abs(values.mean() - 0.5) < 5 / np.sqrt(12 * values.size)
    # Independent from one shower to the next.
    one, next_one = values[:, :-1].ravel(), values[:, 1:].ravel()
    assert abs(np.corrcoef(one, next_one)[0, 1]) < 5 / np.sqrt(one.size)


def test_a_response_off_by_5_percent_is_caught_within_60_showers():
    found = [stopped_at(seed, scale=1.05) or 10**6 for seed in range(1000, 1050)]
    assert max(found) <= 60
    assert np.median(found) <= 25


def test_a_resolution_that_is_too_good_is_caught_although_the_mean_is_right():
    generator = np.random.default_rng(1)
    test = Audit({"response": 1 + 0.03 * generator.normal(size=1000)}, seed=0)
    assert test.add({"response": response(generator, 60)})


def test_it_does_not_matter_in_which_batches_showers_come():
    generator = np.random.default_rng(2)
    twin, real = {"response": response(generator, 500)}, response(generator, 60, 1.02)
    whole, parts = Audit(twin, seed=3), Audit(twin, seed=3)
    whole.add({"response": real})
    for piece in np.split(real, [1, 10, 45]):
        parts.add({"response": piece})
    np.testing.assert_allclose(parts.course, whole.course, rtol=1e-12)
    assert parts.rejected_at == whole.rejected_at


def test_verdict_says_how_many_showers_were_seen_and_what_told():
    generator = np.random.default_rng(2)
    twin = {"response": response(generator, 500), "depth_mm": response(generator, 500)}
    test = Audit(twin, seed=0)
    test.add({name: response(generator, 40) for name in twin})
    assert test.verdict == "not rejected after 40 showers"
    test.add({"response": response(generator, 60), "depth_mm": response(generator, 60, 1.2)})
    assert test.rejected_at is not None
    assert test.verdict == f"rejected here: at shower {test.rejected_at}, by depth_mm"
    first = int((test.course >= 20).argmax()) + 1
    assert test.rejected_at == first


def test_real_showers_against_others_of_the_same_are_not_rejected_and_moved_ones_are():
    real = [part(SOFT, first, 30, seed=1) for first in (0, 30)]
    twin = simulate(SOFT, seed=2)
    same = audit(real, twin, seed=0)
    assert same.attrs["verdict"] == "not rejected after 60 showers"
    assert same.sizes["n"] == 60
    layers_later = twin.assign(showers=twin["showers"].roll(layer=2))
    moved = audit(real, layers_later, seed=0)
    assert moved.attrs["rejected_at"] > 0
    assert moved.attrs["rejected_by"] == "depth_mm"


def test_what_the_audit_returns_can_be_saved(tmp_path):
    showers = simulate(SOFT.replace(n_showers=40, energy_gev=0.05), seed=2)
    result = audit([showers.isel(shower=slice(0, 20))], showers, seed=0)
    result.to_netcdf(tmp_path / "audit.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "audit.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), result)


@pytest.mark.parametrize(
    ("twin", "options", "message"),
    [
        ({}, {}, "no numbers"),
        ({"response": np.ones(5)}, {}, "expected 20"),
        ({"response": np.arange(30)}, {"alpha": 1.5}, "alpha = 1.5"),
        ({"response": np.arange(30)}, {"weights": {"depth_mm": 1.0}}, "weights"),
    ],
)
def test_an_audit_that_makes_no_sense_is_refused(twin, options, message):
    with pytest.raises(ValueError, match=message):
        Audit(twin, seed=0, **options)


def test_a_real_shower_that_is_not_a_number_is_refused():
    test = Audit({"response": np.arange(30)}, seed=0)
    with pytest.raises(ValueError, match="real value 1 is not finite"):
        test.add({"response": [1.0, np.nan]})
    with pytest.raises(ValueError, match="response is missing"):
        test.add({"depth_mm": [1.0]})
