"""The twin's verbs: strengths with errors that hold the truth, what a lost channel costs, drift."""

import numpy as np
import pytest

from physics_twins import twin
from physics_twins.virgo import selection, whatif
from physics_twins.virgo.calibrate import calibrate, identity
from physics_twins.virgo.monitor import Monitor
from physics_twins.virgo.parameters import CleaningParameters, VirgoParameters
from physics_twins.virgo.sensitivity import inspiral_range, noise_asd
from physics_twins.virgo.simulate import simulate

ASKED = {"duration_s": 192.0, "sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}
START = VirgoParameters(**ASKED | {"sign_flip": True, "n_idle": 2})  # at 115.2 s
SETTINGS = CleaningParameters(train_fraction=1.0, filter_s=2.0)


@pytest.fixture(scope="module")
def stretch():
    return simulate(START, seed=71)


@pytest.fixture(scope="module")
def first(stretch):
    return stretch.sel(time=slice(0, 112.0))


@pytest.fixture(scope="module")
def calibration(first):
    selected = selection.select(first, SETTINGS)
    return calibrate(first, start=START, selection=selected, settings=SETTINGS)


@pytest.fixture(scope="module")
def state(calibration, first):
    return calibration.state(identity(first))


def test_strengths_are_found_with_errors_that_hold_the_truth(state):
    known = state.parameters
    assert set(known) >= {"seismic", "angular", "length", "magnetic", "mains", "fringe", "jitter"}
    for name, estimate in known.items():
        truth = getattr(START, name)
        # Five standard deviations, and 5 % for the largest of several noisy values being too large.
        assert abs(estimate.value - truth) < 5 * estimate.error + 0.05 * truth, name
        assert estimate.error < 0.2 * truth, name


def test_the_fringes_calibration_is_found_within_its_error(state):
    estimate = state.parameters["fringe_calibration"]
    assert abs(estimate.value - START.fringe_calibration) < 5 * estimate.error
    assert estimate.error < 1e-3


def test_a_lost_channel_costs_range_and_a_quieter_coupling_gives_it_back(calibration, state):
    asked = {"no bench": whatif.without("SIB2_POS_X"), "no light": twin.changed(fringe=0.0)}
    found = whatif.what_if(calibration.wiener, state, asked, start=START)
    cleaned = found["difference"].sel(number="cleaned_range_mpc")
    recorded = found["difference"].sel(number="range_mpc")
    assert float(cleaned.sel(scenario="no bench")) < -1
    assert float(recorded.sel(scenario="no bench")) == 0
    error = float(found["difference_error"].sel(number="range_mpc", scenario="no light"))
    assert float(recorded.sel(scenario="no light")) > 5 * error > 0


def test_without_couplings_the_range_is_that_of_the_detector(calibration, state):
    quiet = twin.changed(**{name: 0.0 for name in state.parameters if name != "fringe_calibration"})
    found = whatif.what_if(calibration.wiener, state, {"quiet": quiet}, start=START)
    grid = np.arange(12.0, 400.25, 0.25)
    expected = inspiral_range(grid, noise_asd(grid, START.detector) ** 2)
    told = found["value"].sel(scenario="quiet")
    assert float(told.sel(number="range_mpc")) == pytest.approx(expected, rel=2e-3)  # another grid


def test_a_monitor_keeps_quiet_and_then_calls_the_coupling_that_flipped(calibration, state, stretch):
    monitor = Monitor(calibration.wiener, state, stretch.sel(time=slice(0, 80.0)))
    monitor.watch(stretch.sel(time=slice(80.0, 112.0)))
    assert not monitor.alarms
    monitor.watch(stretch.sel(time=slice(118.0, 150.0)), stop_at_alarm=True)
    alarm = monitor.alarms[0]
    assert alarm.parameter == "LSC_MICH"
    assert alarm.change.value == pytest.approx(-2, abs=0.3)
    assert monitor.state.health == "drifted"
