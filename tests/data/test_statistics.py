"""Errors that say how far a number scatters: each against many repetitions."""

import numpy as np
import pytest

from physics_twins.data import fraction, mean, of_members


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


def test_a_mean_of_nothing_is_not_a_number():
    assert np.isnan(mean([np.nan])).all()
    assert mean([2.0, np.inf])[0] == 2.0


def test_members_scatter_as_they_are():
    assert of_members([[1.0, 5.0], [3.0, 5.0]]).tolist() == pytest.approx([np.sqrt(2), 0.0])
