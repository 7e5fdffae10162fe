"""A pulse is fitted with errors that hold: its model, its normal equations, its intervals."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.data import find_data_file
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.fitting.pulse_fit import PulseFit, fit_pulse
from physics_twins.pulsar.fitting.pulse_model import (
    ChannelLaws,
    _smeared,
    _tailed,
    cut,
    normal_equations,
    off_pulse_noise,
    samples,
    squared_sigma,
)
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, Band, pulse_cumulative, smeared_cumulative
from physics_twins.pulsar.simulate import simulate

REAL_FILE = find_data_file("pulsar/askap_frb_28.fil")
BAND = Band(1529.375 - 1.25 * np.arange(256), 102.4e-6)
QUIET = ObservationParameters(
    duration_s=0.4, period_s=0.4, energy_scatter=0.0, carrier_rate_hz=0.0, impulse_rate_hz=0.0
)


def observed(seed: int = 3, **changes: float) -> xr.Dataset:
    """An observation that holds the whole sweep of one pulse."""
    parameters = QUIET.replace(**changes)
    observations = (simulate(parameters, seed=seed + n) for n in range(100))
    return next(o for o in observations if 0.03 < o["pulse_time_s"].values[0] < 0.25)


def fitted(observation: xr.Dataset, *, scattering_ms: float | None = 0.0) -> PulseFit:
    """A fit that starts where a search could have ended."""
    time_s = float(observation["pulse_time_s"].values[0])
    dm = float(observation.attrs["dm_pc_cm3"])
    start = dm + 0.5, time_s - 0.3e-3, 1.6e-3
    return fit_pulse(observation, *start, scattering_ms=scattering_ms)


@pytest.mark.parametrize(("sigma", "tau"), [(0.5, 0.3), (0.5, 3.0), (1.0, 0.12)])
def test_the_model_is_the_tailed_gaussian_of_the_simulator(sigma, tau):
    x = np.linspace(-3, 6, 50)
    ours = [_tailed(each, sigma**2, tau)[0] for each in x]
    assert np.allclose(ours, pulse_cumulative(x, sigma / SIGMA_PER_FWHM, tau), atol=1e-12)


@pytest.mark.parametrize("tau", [0.0, 4e-4, 6e-4, 0.02, 0.6, 20.0])
def test_every_slope_of_the_tailed_gaussian_is_its_difference_quotient(tau):
    step, sigma = 1e-5, 0.5
    for x in (-1.0, 0.1, 0.7, 2.5):
        _, density, slope, twice = _tailed(x, sigma**2, tau)
        for change, expected in (((step, 0), density), ((0, step), slope / 2)):
            high = _tailed(x + change[0], sigma**2 + change[1], tau)[0]
            low = _tailed(x - change[0], sigma**2 - change[1], tau)[0]
            assert (high - low) / (2 * step) == pytest.approx(expected, abs=1e-5)
        high, low = _tailed(x, sigma**2, tau + step)[0], _tailed(x, sigma**2, tau)[0]
        assert (high - low) / step == pytest.approx(-twice, abs=1e-4)  # one-sided: first order


@pytest.mark.parametrize("smearing", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("tau", [0.0, 0.02, 0.6])
def test_smeared_pulse_is_that_of_the_simulator(smearing, tau):
    x, sigma = np.linspace(-3, 6, 50), 0.2
    ours = [_smeared(each, sigma**2, tau, smearing)[0] for each in x]
    width = sigma / SIGMA_PER_FWHM
    theirs = smeared_cumulative(x, np.full(1, width), np.full(1, tau), np.full(1, smearing))
    # The simulator leaves out tails of less than a tenth of the Gaussian, which shift it by tau.
    assert np.allclose(ours, theirs, atol=1e-3 + (0.05 if 0 < tau < 0.1 * sigma + 1e-12 else 0))


@pytest.mark.parametrize("width_ms", [0.2, 0.8])  # smearing as a box, and as a Gaussian
def test_normal_equations_are_products_of_the_model_and_its_differences(width_ms):
    laws = ChannelLaws.of(BAND, QUIET.replace(spectral_index=-1.0))
    shape = np.array([4.0, 56.0, squared_sigma(width_ms), 0.1])
    delays = np.rint(laws.delay_ms * 56.0 / laws.sampling_ms).astype(np.int32)
    values = np.random.default_rng(0).standard_normal((1, 256, 100)).astype(np.float32)
    products, projections = normal_equations(laws, shape[None], delays, values)
    columns = [samples(laws, shape, delays, 100)]
    for n in range(4):
        step = np.eye(4)[n] * 1e-5
        high, low = (samples(laws, shape + s * step, delays, 100) for s in (1, -1))
        columns.append((high - low) / 2e-5)
    flat = np.stack(columns).reshape(5, -1)
    assert np.allclose(products[0], flat @ flat.T, rtol=1e-4, atol=1e-6)
    assert np.allclose(projections[0], flat @ values.ravel(), rtol=1e-4, atol=1e-4)


def test_removed_samples_do_not_count():
    laws = ChannelLaws.of(BAND)
    shape = np.array([4.0, 56.0, 0.1, 0.0])
    delays = np.rint(laws.delay_ms * 56.0 / laws.sampling_ms).astype(np.int32)
    model = samples(laws, shape, delays, 100)
    values = model[None].astype(np.float32)
    values[0, :128] = 0.0
    products, _ = normal_equations(laws, shape[None], delays, values)
    assert products[0, 0, 0] == pytest.approx(np.square(model[128:]).sum())


def test_a_bright_pulse_is_found_with_all_its_numbers():
    observation = observed(dm_pc_cm3=56.77, width_ms=0.8, scattering_ms=2.0, fluence_jy_ms=6.0)
    fit = fitted(observation, scattering_ms=None)
    truth = {"dm_pc_cm3": 56.77, "width_ms": 0.8, "scattering_ms": 2.0}
    for name, value in truth.items():
        estimate = fit.parameters[name]
        assert abs(estimate.value - value) < 5 * estimate.error
        assert estimate.error < 0.1 * value  # at this S/N the errors are small
    pulse = fit.pulses.isel(pulse=0)
    late_s = abs(float(pulse["time_s"]) - float(observation["pulse_time_s"][0]))
    assert late_s < 5 * float(pulse["time_error_s"])
    assert abs(float(pulse["snr"]) - float(observation["pulse_snr_ideal"][0])) < 5


def test_residual_of_the_right_model_is_noise_and_of_a_wrong_one_is_not():
    observation = observed(scattering_ms=3.0, fluence_jy_ms=8.0)
    assert fitted(observation, scattering_ms=None).p_value > 1e-4
    assert fitted(observation, scattering_ms=0.0).p_value < 1e-4


def test_width_that_cannot_be_resolved_has_an_interval_that_reaches_zero():
    fit = fitted(observed(500, width_ms=0.05, fluence_jy_ms=0.1))
    assert fit.parameters["width_ms"].low == 0.0
    assert fit.parameters["width_ms"].covers(0.05)


def test_interference_in_a_pulses_way_does_not_move_it():
    observation = observed(fluence_jy_ms=2.0)
    loud = observation.copy(deep=True)
    loud["data"].values[:, 40:44] = np.minimum(loud["data"].values[:, 40:44] + 60, 255)
    one, other = (fitted(o).parameters["dm_pc_cm3"] for o in (observation, loud))
    assert abs(one.value - other.value) < np.hypot(one.error, other.error)


def test_matched_filter_sees_noise_that_neighbouring_channels_share():
    rng = np.random.default_rng(0)
    laws = ChannelLaws.of(BAND)
    delays = np.rint(laws.delay_ms * 56.0 / laws.sampling_ms).astype(np.int32)
    template = samples(laws, np.array([4.0, 56.0, 0.1, 0.0]), delays, 100)
    white = rng.standard_normal((256, 12000)).astype(np.float32)
    shared = white + np.roll(white, 1, axis=0)  # variance 2; a filter over channels sees up to 4
    # 1 000 filters that overlap by half: 4 per cent at five standard errors is 15 per cent.
    assert off_pulse_noise(white, template, delays) == pytest.approx(1.0, abs=0.15)
    assert off_pulse_noise(shared / np.sqrt(2), template, delays) > 1.1


def test_window_beyond_the_end_of_the_data_holds_nothing_there():
    data = np.random.default_rng(0).standard_normal((256, 700)).astype(np.float32)
    windows = cut(data, BAND, 56.0, [0.06], 1e-3)
    assert windows.values[0, 0].all()
    assert not windows.values[0, -1].any()


def test_start_outside_of_the_data_is_refused():
    with pytest.raises(ValueError, match="no sample is left around the pulse"):
        fit_pulse(observed(), 50.0, 9.0, 1e-3)


def test_tail_that_cannot_be_negative_leaves_dm_and_arrival_as_certain_as_without():
    observation = observed(fluence_jy_ms=1.0)
    free, fixed = fitted(observation, scattering_ms=None), fitted(observation)
    assert free.parameters["scattering_ms"].low == 0.0
    ratio = free.parameters["dm_pc_cm3"].error / fixed.parameters["dm_pc_cm3"].error
    assert 0.9 < ratio < 3  # an unbounded tail would make it ten
    assert float((free.pulses["time_error_s"] / fixed.pulses["time_error_s"])[0]) < 4


@pytest.mark.skipif(REAL_FILE is None, reason="twins data fetch pulsar/askap_frb_28.fil")
def test_real_burst_is_fitted_near_its_published_values():
    assert REAL_FILE is not None
    with open_observation(REAL_FILE) as file:
        fit = fit_pulse(file.dataset(), 475.5, 2.028, 3e-3)
    # An independent search of this file: DM 475.5, 2.028 s, boxcar S/N 16.
    assert fit.parameters["dm_pc_cm3"].value == pytest.approx(475.0, abs=1.5)
    assert float(fit.pulses["time_s"][0]) == pytest.approx(2.028, abs=0.003)
    assert float(fit.pulses["snr"][0]) > 16  # a matched filter loses nothing to the boxcar's shape


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_promise():
    covered = []
    for seed in range(60):
        observation = observed(seed * 100, fluence_jy_ms=1.0)
        fit = fitted(observation)
        pulse = fit.pulses.isel(pulse=0)
        late_s = float(pulse["time_s"]) - float(observation["pulse_time_s"][0])
        covered.append(
            [
                fit.parameters["dm_pc_cm3"].covers(QUIET.dm_pc_cm3),
                fit.parameters["width_ms"].covers(QUIET.width_ms),
                abs(late_s) < float(pulse["time_error_s"]),
            ]
        )
    # 68 % of 180, of which the three of one pulse go together: five standard errors are 30 %.
    assert np.mean(covered) == pytest.approx(0.68, abs=0.3)


def test_squared_sigma_of_a_width_gives_the_width_back():
    assert np.sqrt(squared_sigma(2.0)) / SIGMA_PER_FWHM == pytest.approx(2.0)
