"""Changes in streams of numbers are found soon, and rarely where there are none."""

import numpy as np
import pytest

from physics_twins.twin.drift import ChangeTest, long_run_scatter


def frames_until_call(rng, mean: float, *, threshold: float, limit: int = 20_000) -> int:
    test = ChangeTest(["x"], threshold=threshold)
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
    test = ChangeTest(["x"], threshold=9.0)
    assert test.add({"x": 1e9}, {"x": 1.0}) is None
    assert test.score < 1


def test_the_number_that_changed_is_named_with_its_direction():
    test = ChangeTest(["steady", "falling"], threshold=9.0)
    calls = (
        test.add({"steady": 0.1, "falling": -2.0}, {"steady": 1.0, "falling": 1.0}) for _ in range(20)
    )
    call = next(call for call in calls if call)
    assert (call.name, call.direction) == ("falling", -1)
    assert call.n_frames == 6  # 1.5 a frame


def test_what_is_not_known_exactly_does_not_call():
    certain, uncertain = ChangeTest(["x"], threshold=9.0), ChangeTest(["x"], threshold=9.0)
    calls = []
    for _ in range(200):
        calls.append(certain.add({"x": 0.6}, {"x": 1.0}))
        assert uncertain.add({"x": 0.6}, {"x": 1.0}, {"x": 0.2}) is None
    assert any(calls)


def test_frames_that_tell_nothing_change_nothing():
    test = ChangeTest(["x"], threshold=9.0)
    test.add({"x": 2.0}, {"x": 1.0})
    before = test.score
    test.add({}, {"x": 1.0})
    test.add({"x": np.nan}, {"x": 1.0})
    assert test.score == before


def test_scatter_of_numbers_that_hang_together_is_that_of_their_sums():
    rng = np.random.default_rng(3)
    white = rng.standard_normal(4000)
    held = np.repeat(rng.standard_normal(1000), 4)
    # 4000 values, eight covariances: standard error 4 per cent.
    assert long_run_scatter(white)[1] == pytest.approx(1.0, abs=0.2)
    # Each held for four frames: 2, of which the weights of Newey and West keep 1.86.
    assert long_run_scatter(held)[1] == pytest.approx(1.86, abs=0.4)


def test_threshold_must_be_positive():
    with pytest.raises(ValueError, match="threshold = 0 must be positive"):
        ChangeTest(["x"], threshold=0.0)
