"""Errors that say how far a number scatters: each against many repetitions."""

import numpy as np
import pytest

from physics_twins.data import auc, bootstrap, fraction, jackknife, mean, of_members

N_REPEATED = 400


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    for truth in (0.5, 0.9, 0.98):
        share, error = fraction(rng.binomial(50, truth, 20_000), 50)
        # Of counts only some coverages are possible; these intervals err on the wide side.
        assert 0.62 < (np.abs(share - truth) <= error).mean() < 0.95


def test_a_share_at_the_end_has_an_error_and_one_of_nothing_none():
    share, error = fraction([0, 20, 0], [20, 20, 0])
    assert share[:2].tolist() == [0, 1]
    assert error[0] == pytest.approx(error[1])
    assert error[0] > 0.04
    assert np.isnan([share[2], error[2]]).all()


def test_bootstrap_and_jackknife_give_the_scatter_of_a_mean():
    values = np.random.default_rng(2).normal(3.0, 2.0, 200)
    expected = mean(values)[1]
    told, error = bootstrap(np.mean, values, seed=1, n_draws=1000)
    assert told == values.mean()
    assert error == pytest.approx(expected, rel=0.1)  # 1/sqrt(2000) is 2 %
    left_out = [np.delete(values, n).mean() for n in range(len(values))]
    assert jackknife(left_out) == pytest.approx(expected)


def test_bootstrap_takes_arrays_of_statistics_and_repeats_with_its_seed():
    values = np.random.default_rng(2).normal(size=(100, 3))
    first, again = (bootstrap(lambda v: v.mean(axis=0), values, seed=4) for _ in range(2))
    assert first[1].shape == (3,)
    assert (first[1] == again[1]).all()


def test_the_error_of_an_area_is_its_scatter_over_repetitions():
    rng = np.random.default_rng(3)
    told = [auc(rng.normal(1.0, 1.0, 80), rng.normal(size=60)) for _ in range(N_REPEATED)]
    areas, errors = np.array(told).T
    # 0.7602: the chance that one Gaussian is above another, one standard deviation apart.
    assert areas.mean() == pytest.approx(0.7602, abs=4 * areas.std() / np.sqrt(N_REPEATED))
    assert errors.mean() == pytest.approx(areas.std(), rel=0.15)


def test_equal_scores_are_by_chance():
    assert auc([1.0, 1.0], [1.0, 1.0])[0] == 0.5


def test_a_mean_of_nothing_is_not_a_number():
    assert np.isnan(mean([np.nan])).all()
    assert mean([2.0, np.inf])[0] == 2.0


def test_members_scatter_as_they_are():
    assert of_members([[1.0, 5.0], [3.0, 5.0]]).tolist() == pytest.approx([np.sqrt(2), 0.0])
