"""Points of a sweep: grids, steps, Sobol sequences, files."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import qmc

from physics_twins.sweeps import points

FINITE = st.floats(-1e12, 1e12)
STEPS = st.floats(0, 1)


def test_the_last_axis_of_a_grid_changes_fastest():
    grid = points.grid({"a": [1, 2], "b": ["x", "y", "z"]})
    assert [tuple(point.values()) for point in grid] == [
        (1, "x"),
        (1, "y"),
        (1, "z"),
        (2, "x"),
        (2, "y"),
        (2, "z"),
    ]


def test_a_grid_without_axes_is_one_point_and_with_an_empty_axis_none():
    assert points.grid({}) == [{}]
    assert points.grid({"a": [1, 2], "b": []}) == []


@given(low=FINITE, high=FINITE, step=STEPS)
def test_a_step_never_leaves_its_range(low, high, step):
    assume(low < high)
    assert low <= points.scaled(step, low, high) <= high


@given(low=st.floats(1e-300, 1e300), high=st.floats(1e-300, 1e300), step=STEPS)
def test_a_step_in_factors_never_leaves_its_range(low, high, step):
    assume(low < high)
    assert low <= points.scaled(step, low, high, logarithmic=True) <= high


@pytest.mark.parametrize(
    ("low", "high"), [(2.0, 1.0), (1.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (-math.inf, 0.0)]
)
def test_a_range_that_does_not_go_upwards_or_has_no_end_is_refused(low, high):
    with pytest.raises(ValueError, match="a range must go upwards"):
        points.scaled(0.5, low, high)


def test_a_range_in_factors_must_begin_above_zero():
    with pytest.raises(ValueError, match="must begin above 0, found 0"):
        points.scaled(0.5, 0.0, 1.0, logarithmic=True)


BOX = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


def as_array(listed):
    return np.array([list(point.values()) for point in listed])


def test_sobol_points_fill_a_box_more_evenly_than_random_ones():
    discrepancy = qmc.discrepancy(as_array(points.sobol(BOX, 64, seed=1)))
    random = [qmc.discrepancy(np.random.default_rng(seed).random((64, 2))) for seed in range(20)]
    assert discrepancy < 0.5 * min(random)  # it is about 8 times smaller than their mean


def test_sobol_points_are_the_same_for_the_same_seed_only():
    assert points.sobol(BOX, 7, seed=3) == points.sobol(BOX, 7, seed=3)
    assert points.sobol(BOX, 7, seed=3) != points.sobol(BOX, 7, seed=4)


@given(few=st.integers(1, 40), more=st.integers(1, 40))
def test_more_sobol_points_begin_with_the_fewer_ones(few, more):
    both = few + more
    assert points.sobol(BOX, both, seed=1)[:few] == points.sobol(BOX, few, seed=1)


def test_sobol_points_halve_each_axis_evenly_in_its_own_scale():
    ranges = {"even": (0.0, 100.0), "factor": (0.01, 100.0)}
    found = as_array(points.sobol(ranges, 16, seed=2, logarithmic=["factor"]))
    assert ((found[:, 0] > 50).sum(), (found[:, 1] > 1).sum()) == (8, 8)


def test_each_whole_number_of_a_range_gets_its_even_share_of_sobol_points():
    listed = points.sobol({"n": (1, 4)}, 64, seed=1, whole=["n"])
    values = [point["n"] for point in listed]
    assert all(type(value) is int for value in values)
    assert [values.count(n) for n in (1, 2, 3, 4)] == [16, 16, 16, 16]


def test_a_range_without_a_whole_number_is_refused():
    with pytest.raises(ValueError, match=r"no two whole numbers between 1\.2 and 2\.9"):
        points.sobol({"n": (1.2, 2.9)}, 4, seed=1, whole=["n"])


@pytest.mark.parametrize(("ranges", "n"), [(BOX, 0), (BOX, -1), ({}, 4)])
def test_sobol_without_points_or_ranges_is_refused(ranges, n):
    with pytest.raises(ValueError, match="Sobol points need"):
        points.sobol(ranges, n, seed=1)
