"""A monitor stays quiet over quiet frames, and names what changed; scenarios say what would."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import xarray as xr

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.calibrate import calibrate
from physics_twins.pulsar.files import write_dataset
from physics_twins.pulsar.fitting.stream_frames import frames
from physics_twins.pulsar.monitor import Monitor, long_run_scatter
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.simulate import simulate
from physics_twins.pulsar.whatif import (
    another_distance,
    changed,
    more_interference,
    what_if,
)
from physics_twins.twin import TwinState

TRUTH = ObservationParameters(
    duration_s=2.0,
    period_s=0.1,
    fluence_jy_ms=1.0,
    scattering_ms=2.0,
    energy_scatter=0.3,
    bandpass_ripple=0.0,
    n_channels=128,
    carrier_rate_hz=0.5,
    impulse_rate_hz=0.5,
)


@cache
def calibrated_state() -> TwinState:
    return calibrate(simulate(TRUTH, seed=4), start=TRUTH, seed=1).state("simulated, seed 4")


def stream(seed: int, **changes: float) -> list[xr.Dataset]:
    return list(frames(simulate(TRUTH.replace(**changes), seed=seed), TRUTH))


@cache
def quiet_frames() -> tuple[xr.Dataset, ...]:
    return tuple(stream(4))


@cache
def learnt() -> Monitor:
    return Monitor(calibrated_state(), quiet_frames(), receiver_parameters=TRUTH)


def watcher() -> Monitor:
    """A monitor that has seen nothing but quiet frames."""
    return deepcopy(learnt())


def test_quiet_frames_raise_no_alarm():
    monitor = watcher()
    seen = monitor.watch(stream(5))
    assert monitor.alarms == []
    assert float(seen["drift_score"].max()) < 1
    assert monitor.state.health == "ok"


@pytest.mark.parametrize(
    ("name", "value"), [("scattering_ms", 2.5), ("dm_pc_cm3", 57.17), ("width_ms", 1.1)]
)
def test_changed_shape_is_found_and_named_with_its_size(name, value):
    monitor = watcher()
    monitor.watch(stream(6, **{name: value}), stop_at_alarm=True)
    assert monitor.alarms[0].parameter == name
    change = value - getattr(TRUTH, name)
    assert abs(monitor.alarms[0].change.value - change) < 5 * monitor.alarms[0].change.error
    assert monitor.state.health == "drifted"
    assert monitor.state.drifted == name


def test_scatter_of_numbers_that_hang_together_is_that_of_their_sums():
    rng = np.random.default_rng(3)
    white = rng.standard_normal(4000)
    held = np.repeat(rng.standard_normal(1000), 4)
    # 4000 values, eight covariances: standard error 4 per cent.
    assert long_run_scatter(white)[1] == pytest.approx(1.0, abs=0.2)
    # Each held for four frames: 2, of which the weights of Newey and West keep 1.86.
    assert long_run_scatter(held)[1] == pytest.approx(1.86, abs=0.4)


def test_louder_receiver_is_found_as_noise():
    loud = [frame.copy(deep=True) for frame in stream(7, duration_s=3.0)]
    for frame in loud:
        counts = frame["data"].values.astype(float)
        frame["data"].values[:] = np.clip(counts.mean() + 1.1 * (counts - counts.mean()), 0, 255)
    monitor = watcher()
    monitor.watch(loud, stop_at_alarm=True)
    assert [alarm.parameter for alarm in monitor.alarms] == ["noise"]


def test_new_calibration_makes_a_drifted_twin_healthy_again():
    monitor = watcher()
    changed_observation = simulate(TRUTH.replace(scattering_ms=3.0), seed=8)
    monitor.watch(frames(changed_observation, TRUTH), stop_at_alarm=True)
    again = calibrate(changed_observation, start=TRUTH, seed=1)
    after = again.update(monitor.state, data_id="new", reason="scattering drifted")
    assert (monitor.state.health, after.health) == ("drifted", "ok")
    assert after.history[-1].health == "drifted"
    assert (
        abs(after.parameters["scattering_ms"].value - 3.0) < 5 * after.parameters["scattering_ms"].error
    )


def test_frames_of_a_file_are_those_of_its_dataset(tmp_path):
    observation = simulate(TRUTH, seed=9)
    path = tmp_path / "stream.fil"
    write_dataset(observation, path)
    pairs = zip(frames(path, TRUTH), frames(observation, TRUTH), strict=True)
    assert all((a["data"].values == b["data"].values).all() for a, b in pairs)


def test_frames_find_the_phase_at_which_pulses_are_in_their_middle():
    observation = simulate(TRUTH, seed=9)
    first_s = float(next(frames(observation, TRUTH))["time"].values[0])
    turns = (observation["pulse_time_s"].values - first_s) / TRUTH.period_s
    # Scattering moves the peak behind the arrival.
    assert np.abs(turns % 1 - 0.5).max() < 0.02


def test_every_frame_holds_the_whole_track_of_a_pulse():
    assert all(s > 6 for s in watcher().watch(stream(5))["snr"].values)


def test_too_few_quiet_frames_are_refused():
    with pytest.raises(ValueError, match="3 quiet frames are too few"):
        Monitor(calibrated_state(), quiet_frames()[:3], receiver_parameters=TRUTH)


def test_scenarios_change_what_they_say():
    far = another_distance(2.0)(TRUTH)
    assert far.fluence_jy_ms == pytest.approx(TRUTH.fluence_jy_ms / 4)
    assert far.dm_pc_cm3 == pytest.approx(2 * TRUTH.dm_pc_cm3)
    assert far.scattering_ms > TRUTH.scattering_ms
    loud = more_interference(2.0)(TRUTH)
    assert loud.carrier_rate_hz == 2 * TRUTH.carrier_rate_hz


def test_signal_to_noise_follows_the_radiometer_equation_and_the_distance():
    found = what_if(
        calibrated_state(),
        {
            "double noise": changed(system_temperature_k=42.0, gain_k_per_jy=1.5),
            "same distance": another_distance(1.0),
        },
        receiver=TRUTH.replace(duration_s=0.3),
        seed=1,
        classifier=lambda _: xr.Dataset(
            {"label": ("candidate", np.array([], dtype=str)), "time_s": ("candidate", np.array([]))},
            attrs={"delay_s_per_dm": 1e-3},
        ),
    )
    snr = found["value"].sel(number="snr_ideal").values
    assert snr[1] == pytest.approx(snr[0] / 2)
    assert snr[2] == pytest.approx(snr[0])
    assert (found["value"].sel(number="recall").values == 0).all()  # it finds nothing
    error = found["error"].sel(number="snr_ideal").values
    assert error[1] == pytest.approx(error[0] / 2)  # all slopes are halved
    apart = found["difference_error"].sel(number="snr_ideal").values
    assert apart[1] == pytest.approx(error[0] / 2)  # both sides have the same calibration
    assert apart[2] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_blind_search_finds_what_a_scenario_leaves_to_be_found():
    scenarios = {"far": another_distance(2.5)}
    found = what_if(calibrated_state(), scenarios, receiver=TRUTH.replace(duration_s=1.0), seed=1)
    recall = found["value"].sel(number="recall").values
    assert recall[0] > 0.7 > recall[1]


def test_impossible_scenario_is_refused_by_name():
    with pytest.raises(ParameterError, match="gain_k_per_jy = -1"):
        changed(gain_k_per_jy=-1.0)(TRUTH)
    with pytest.raises(ValueError, match="factor = 0 must be positive"):
        another_distance(0.0)
