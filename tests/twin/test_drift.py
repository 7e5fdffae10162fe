"""Changes in streams of numbers are found soon, and rarely where there are none."""

import numpy as np
import pytest

from physics_twins.twin.drift import ChangeTest, Number

CERTAIN = Number(np.inf)  # what is normal is known exactly


def frames_until_call(rng, mean: float, *, threshold: float, limit: int = 20_000) -> int:
    test = ChangeTest({"x": CERTAIN}, threshold=threshold)
    for n in range(1, limit + 1):
        if test.add({"x": mean + rng.standard_normal()}, {"x": 1.0}):
            return n
    return limit


def test_false_calls_are_rarer_than_lorden_promises():
    rng = np.random.default_rng(1)
    until = [frames_until_call(rng, 0.0, threshold=4.0) for _ in range(50)]
    # Two sides: on average after more than exp(4) / 2 = 27 frames; really, the sum's overshoot helps.
    assert np.mean(until) > np.exp(4.0) / 2


def test_a_change_is_found_about_as_soon_as_its_information_adds_up():
    rng = np.random.default_rng(2)
    until = [frames_until_call(rng, 1.0, threshold=9.0) for _ in range(100)]
    # The sum gains d^2 / 2 = 0.5 a frame: 18 frames, and some for the overshoot; s.e. 0.6.
    assert np.mean(until) == pytest.approx(19.0, abs=3.0)


def test_a_single_outlier_never_calls():
    test = ChangeTest({"x": CERTAIN}, threshold=9.0)
    assert test.add({"x": 1e9}, {"x": 1.0}) is None
    assert test.score < 1


def test_the_number_that_changed_is_named_with_how_long_ago():
    test = ChangeTest({"steady": CERTAIN, "falling": CERTAIN}, threshold=9.0)
    calls = (
        test.add({"steady": 0.1, "falling": -2.0}, {"steady": 1.0, "falling": 1.0}) for _ in range(20)
    )
    assert next(call for call in calls if call) == ("falling", 6)  # 1.5 a frame


def test_a_number_of_batches_is_judged_by_means_and_for_no_more_than_the_largest_change():
    number = Number(np.inf, 4.0, at_most=1.0, n_frames=4, most=3.0)
    assert number.slack == 1.5  # half of the change beyond the one that is looked for
    test = ChangeTest({"x": number}, threshold=1.9)
    told = [test.add({"x": each}, {}) for each in (9.0, 9.0, np.nan, 9.0, *[2.0] * 4)]
    # The first mean counts as 3: 1.5 beyond the slack, less half. The second is 4, and counts the same.
    assert told == [None] * 7 + [("x", 5)]


def test_numbers_that_are_not_told_leave_the_mean_to_the_others():
    assert Number(1.0).mean([1.0, np.nan, 3.0]) == pytest.approx(4 / np.sqrt(2))
    assert np.isnan(Number(1.0).mean([np.nan]))


def test_what_is_not_known_exactly_does_not_call():
    certain = ChangeTest({"x": CERTAIN}, threshold=9.0)
    uncertain = ChangeTest({"x": Number(25.0)}, threshold=9.0)  # to a fifth of a standard deviation
    calls = []
    for _ in range(200):
        calls.append(certain.add({"x": 0.6}, {"x": 1.0}))
        assert uncertain.add({"x": 0.6}, {"x": 1.0}) is None
    assert any(calls)


def test_frames_that_tell_nothing_change_nothing():
    test = ChangeTest({"x": CERTAIN}, threshold=9.0)
    test.add({"x": 2.0}, {"x": 1.0})
    before = test.score
    test.add({}, {"x": 1.0})
    test.add({"x": np.nan}, {"x": 1.0})
    assert test.score == before


def test_threshold_must_be_positive():
    with pytest.raises(ValueError, match="threshold = 0 must be positive"):
        ChangeTest({"x": CERTAIN}, threshold=0.0)
