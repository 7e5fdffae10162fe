"""A monitor stays quiet over quiet showers and names what aged; scenarios say what would be."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter.calibrate import calibrate
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.monitor import Monitor
from physics_twins.calorimeter.observe import gains, with_gain
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.whatif import NUMBERS, thicker, what_if
from physics_twins.parameters import ParameterError
from physics_twins.twin import TwinState, changed

SCALE, SCATTER = 0.97, 0.01


@cache
def flow() -> ShowerFlow:
    return load_flow()


@cache
def beam() -> CalorimeterParameters:
    return flow().parameters.replace(energy_max_gev=5.0, n_showers=500)


@cache
def showers() -> xr.Dataset:
    drawn = generate(flow(), beam(), seed=81)
    return with_gain(drawn, SCALE * gains(500, SCATTER, seed=82))


def learnt_from() -> xr.Dataset:
    return showers().isel(shower=slice(0, 200))


def later() -> xr.Dataset:
    return showers().isel(shower=slice(200, 500))


@cache
def state() -> TwinState:
    return calibrate(flow(), learnt_from(), seed=1).state("the flow's own showers")


@cache
def _learnt() -> Monitor:
    return Monitor(flow(), state(), learnt_from())


def watcher() -> Monitor:
    """A monitor that has seen nothing but quiet showers."""
    return deepcopy(_learnt())


def deeper() -> xr.Dataset:
    asked = beam().replace(absorber_mm=1.3, n_showers=300)
    return with_gain(generate(flow(), asked, seed=83), SCALE * gains(300, SCATTER, seed=84))


def test_quiet_showers_raise_no_alarm():
    monitor = watcher()
    seen = monitor.watch(later())
    assert monitor.alarms == []
    assert seen.sizes["frame"] == 30
    assert float(seen["drift_score"].max()) < 1
    assert monitor.state.health == "ok"
    # Standard deviations: 30 batches of each number scatter by one, to five standard errors.
    assert np.abs(seen["deviation"].mean("frame")).max() < 5 / np.sqrt(30)


def test_an_ageing_of_2_percent_is_found_and_named_with_its_size():
    monitor = watcher()
    seen = monitor.watch(with_gain(later(), 0.98), stop_at_alarm=True)
    assert monitor.alarms[0].parameter == "energy_scale"
    assert abs(monitor.alarms[0].change.value + 0.02 * SCALE) < 5 * monitor.alarms[0].change.error
    assert seen.sizes["frame"] <= 10
    assert (monitor.state.health, monitor.state.drifted) == ("drifted", "energy_scale")


def test_more_scatter_is_found_as_resolution():
    monitor = watcher()
    monitor.watch(with_gain(later(), gains(300, 0.02, seed=85)), stop_at_alarm=True)
    assert [alarm.parameter for alarm in monitor.alarms] == ["resolution"]
    assert monitor.alarms[0].change.value > 0


def test_deeper_showers_are_found_as_thinner_absorbers():
    monitor = watcher()
    monitor.watch(deeper(), stop_at_alarm=True)
    assert [alarm.parameter for alarm in monitor.alarms] == ["absorber_mm"]
    assert abs(monitor.alarms[0].change.value + 0.1) < 5 * monitor.alarms[0].change.error


def test_showers_since_the_change_are_kept_to_calibrate_on():
    monitor = watcher()
    monitor.watch(with_gain(later(), 0.97), stop_at_alarm=True)
    assert monitor.since is not None
    assert monitor.since.sizes["shower"] == 10 * monitor.alarms[0].n_frames


def test_new_calibration_makes_a_drifted_twin_healthy_again():
    monitor, aged = watcher(), with_gain(later(), 0.97)
    monitor.watch(aged, stop_at_alarm=True)
    again = calibrate(flow(), aged, seed=1)
    after = again.update(monitor.state, data_id="aged", reason="the gain fell")
    assert (monitor.state.health, after.health) == ("drifted", "ok")
    assert after.history[-1].health == "drifted"
    scale = after.parameters["energy_scale"]
    assert abs(scale.value - 0.97 * SCALE) < 5 * scale.error


def test_too_few_quiet_showers_are_refused():
    with pytest.raises(ValueError, match="40 quiet showers are too few"):
        Monitor(flow(), state(), showers().isel(shower=slice(0, 40)))


@cache
def asked() -> xr.Dataset:
    particles = beam().replace(energy_gev=2.0, energy_max_gev=0.0, theta_max_deg=0.0, n_showers=60)
    scenarios = {"same": thicker(0.0), "4 GeV": changed(energy_gev=4.0), "thicker": thicker(0.1)}
    return what_if(flow(), state(), scenarios, particles=particles, seed=3)


def test_nothing_changed_makes_no_difference():
    assert asked()["scenario"].values.tolist()[0] == "as calibrated"
    same = asked().sel(scenario="same")
    assert np.abs(same["difference"].values).max() == 0
    assert same["difference_error"].values.max() == 0


def test_more_energy_goes_deeper_and_is_measured_better():
    more = asked().sel(scenario="4 GeV")
    depth = more.sel(number="depth_mm")
    assert float(depth["difference"]) > 3 * float(depth["difference_error"])
    # A radiation length of 3.5 mm tungsten for each factor of e, in steps of layers with silicon.
    assert float(depth["difference"]) == pytest.approx(np.log(2) * 3.5 * 1.7 / 1.4, rel=0.5)


def test_a_difference_is_known_better_than_either_side():
    more = asked().sel(scenario="thicker", number="depth_mm")
    assert float(more["difference_error"]) < 0.8 * float(more["error"])
    assert more["difference_parts"].shape == (3,)
    assert float(more["difference_error"]) == pytest.approx(
        np.hypot.reduce(more["difference_parts"].values)
    )


def test_every_number_has_its_unit():
    assert dict(zip(asked()["number"].values, asked()["unit"].values, strict=True)) == {
        name: unit for name, (unit, _) in NUMBERS.items()
    }


def test_an_impossible_scenario_is_refused_by_name():
    particles = beam().replace(n_showers=2)
    with pytest.raises(ParameterError, match="energy_gev = -1"):
        what_if(flow(), state(), {"x": changed(energy_gev=-1.0)}, particles=particles, seed=1)
    askew = changed(theta_deg=50.0, theta_max_deg=0.0)
    with pytest.raises(ValueError, match=r"theta_deg = 50 deg is outside 0 to 30 deg"):
        what_if(flow(), state(), {"x": askew}, particles=particles, seed=1)
