"""The twin is calibrated on frames, observations and files, with errors that mean what they say."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.pulsar.calibrate import Calibration, calibrate, identity
from physics_twins.pulsar.files import write_dataset
from physics_twins.pulsar.fitting.arrivals import rotation
from physics_twins.pulsar.fitting.pulse_limits import cramer_rao, ideal_snr
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.simulate import simulate
from physics_twins.twin import TwinState

TRUTH = ObservationParameters(
    duration_s=1.2,
    period_s=0.1,
    fluence_jy_ms=1.0,
    scattering_ms=2.0,
    energy_scatter=0.3,
    n_channels=128,
)
START = TRUTH.replace(dm_pc_cm3=56.4, width_ms=1.2, scattering_ms=1.0, period_s=0.1002)


@pytest.fixture(scope="module")
def observation() -> xr.Dataset:
    return simulate(TRUTH, seed=4)


@pytest.fixture(scope="module")
def calibration(observation) -> Calibration:
    return calibrate(observation, start=START, seed=1)


def test_calibration_finds_the_truth_within_its_errors(calibration):
    for name in ("dm_pc_cm3", "width_ms", "scattering_ms", "period_s"):
        estimate, truth = calibration.parameters[name], getattr(TRUTH, name)
        assert abs(estimate.value - truth) < 5 * estimate.error, name


def test_errors_are_those_of_the_cramer_rao_limit(calibration, observation):
    fluences = observation["pulse_fluence_jy_ms"].values
    limits = cramer_rao(TRUTH, fluence_jy_ms=list(fluences), fit_scattering=True)
    for name in ("dm_pc_cm3", "width_ms", "scattering_ms"):
        # Interference costs some samples, and one pulse in twelve may be cut by the end.
        assert 0.9 < calibration.parameters[name].error / limits[name] < 1.4


def test_every_pulse_has_its_arrival_and_its_snr(calibration, observation):
    pulses = calibration.fit.pulses
    nearest = abs(pulses["time_s"].values[:, None] - observation["pulse_time_s"].values).argmin(axis=1)
    late = pulses["time_s"].values - observation["pulse_time_s"].values[nearest]
    pull = np.array([late / pulses["time_error_s"], 0 * late])
    snr_pull = pulses["snr"].values - observation["pulse_snr_ideal"].values[nearest]
    assert np.abs(pull).max() < 5
    assert np.median(np.abs(snr_pull)) < 3


def test_bandpass_is_that_of_the_receiver(calibration, observation):
    truth = observation["bandpass"] / np.median(observation["bandpass"])
    pull = (calibration.bandpass["gain"] - truth.values) / calibration.bandpass["gain_error"]
    assert float(np.abs(pull).median()) == pytest.approx(0.674, abs=0.3)  # that of a Gaussian


def test_residual_is_noise_and_held_out_pulses_agree(calibration):
    assert calibration.score["p_value"] > 1e-4
    assert calibration.score["held_out_p_value"] > 1e-4
    assert calibration.score["held_out_snr_kept"] > 0.98


def test_same_seed_gives_the_same_calibration(observation, calibration):
    again = calibrate(observation, start=START, seed=1)
    assert again.parameters == calibration.parameters
    assert again.score == calibration.score


def test_file_and_dataset_say_the_same(observation, calibration, tmp_path):
    path = tmp_path / "observation.fil"
    write_dataset(observation, path)
    from_file = calibrate(path, start=START, seed=1)
    assert from_file.parameters["dm_pc_cm3"] == calibration.parameters["dm_pc_cm3"]


def test_state_holds_what_was_calibrated_and_simulates_it_again(calibration, observation, tmp_path):
    state = calibration.state(identity(observation))
    assert TwinState.load(state.save(tmp_path / "state.json")) == state
    assert state.health == "ok"
    assert calibration.observation().dm_pc_cm3 == state.parameters["dm_pc_cm3"].value


def test_where_there_is_no_pulse_the_search_says_so(observation):
    with pytest.raises(ValueError, match="no pulse of S/N 8 or more within"):
        calibrate(observation, start=START.replace(dm_pc_cm3=200.0), seed=1)


def test_period_is_found_although_pulses_are_missing_and_the_start_is_off():
    rng = np.random.default_rng(0)
    turn = np.array([0, 1, 4, 5, 9, 30, 31, 60, 100])
    error_s = np.full(len(turn), 1e-4)
    time_s = 3.0 + 0.0337 * turn + error_s * rng.standard_normal(len(turn))
    found = rotation(time_s, error_s, 0.034)
    assert found is not None
    assert abs(found.period_s.value - 0.0337) < 5 * found.period_s.error


def test_arrivals_at_random_have_no_period():
    time_s = np.random.default_rng(1).uniform(0, 10, 30)
    assert rotation(time_s, np.full(30, 1e-4), 0.5) is None


def test_ideal_snr_is_that_of_the_simulator():
    quiet = TRUTH.replace(energy_scatter=0.0)
    observation = simulate(quiet, seed=1)
    # The simulator leaves out tails of 0.3 per mille.
    assert ideal_snr(quiet) == pytest.approx(float(observation["pulse_snr_ideal"][3]), rel=2e-3)


def test_limit_of_many_pulses_shrinks_with_the_root_of_their_number():
    one, nine = (cramer_rao(TRUTH, fluence_jy_ms=[1.0] * n, fit_scattering=True) for n in (1, 9))
    for name in ("dm_pc_cm3", "width_ms", "scattering_ms"):
        assert one[name] == pytest.approx(3 * nine[name])
