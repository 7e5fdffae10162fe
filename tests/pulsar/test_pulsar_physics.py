"""The interstellar medium, the receiver and the simulation."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.fitting.pulse_limits import ideal_snr
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters, SourceParameters
from physics_twins.pulsar.physics.ism import (
    SIGMA_PER_FWHM,
    channel_smearing,
    dispersion_delay,
    pulse_cumulative,
    pulse_profile,
    scattering_time,
    snr_ratio_at_dm_error,
)
from physics_twins.pulsar.physics.receiver import bandpass, noise_sigma_jy
from physics_twins.pulsar.physics.source import beam_components
from physics_twins.pulsar.searching.dedispersion import dedisperse, dm_trials
from physics_twins.pulsar.simulate import simulate, simulate_pulse

SHORT = ObservationParameters(duration_s=0.6, n_channels=64)
QUIET = SHORT.replace(carrier_rate_hz=0.0, impulse_rate_hz=0.0)


def test_half_the_frequency_is_delayed_four_times_as_long():
    high, low = dispersion_delay([700.0, 350.0], 50.0, reference_mhz=np.inf)
    assert low == pytest.approx(4 * high)


def test_the_crab_sweeps_the_effelsberg_band_in_60_ms():
    # 59.9 ms over 1210-1530 MHz at DM 56.7: the figure that makes a 26 ms frame too short.
    assert dispersion_delay(1210.0, 56.7, reference_mhz=1530.0) == pytest.approx(0.0602, abs=5e-4)


def test_a_frequency_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="frequency_mhz must be positive"):
        dispersion_delay([0.0, 100.0], 50.0, reference_mhz=100.0)


def test_smearing_adds_up_to_the_sweep_of_the_band():
    frequency_mhz = np.linspace(1529.375, 1210.625, 256)
    smear_s = channel_smearing(frequency_mhz, 56.7, channel_width_mhz=1.25)
    assert smear_s.sum() == pytest.approx(dispersion_delay(1210.0, 56.7, reference_mhz=1530.0))


@pytest.mark.parametrize("tau_s", [0.0, 1e-5, 1e-4, 5e-4, 5e-3])
def test_a_profile_has_unit_area_and_is_delayed_by_its_tail(tau_s):
    time_s = np.linspace(-0.05, 0.2, 500_001)
    profile = pulse_profile(time_s, 1e-3, tau_s)
    step_s = time_s[1] - time_s[0]
    assert (profile >= 0).all()
    assert profile.sum() * step_s == pytest.approx(1, rel=1e-6)
    arrived = pulse_cumulative(time_s, 1e-3, tau_s)
    np.testing.assert_allclose(arrived, np.cumsum(profile) * step_s, atol=1e-3)
    assert (profile * time_s).sum() * step_s == pytest.approx(tau_s, rel=1e-4, abs=1e-9)


def test_a_short_tail_moves_a_pulse_as_steadily_as_a_long_one():
    # In standard deviations of the Gaussian, across the threshold; a jump would be a dead slider.
    sigma_s, time_s = 1e-3 * SIGMA_PER_FWHM, np.linspace(-0.01, 0.02, 60_001)
    tails = np.array([5e-4, 2e-3, 0.01, 0.05, 0.09, 0.11, 0.2])
    peaks = [pulse_profile(time_s, 1e-3, tail * sigma_s).max() * sigma_s for tail in tails]
    at_rest = 1 / np.sqrt(2 * np.pi)
    # The variances add up: the peak falls by half of the squared ratio.
    np.testing.assert_allclose(1 - np.array(peaks) / at_rest, tails**2 / 2, atol=2e-3)
    middles = [
        np.average(time_s, weights=pulse_profile(time_s, 1e-3, tail * sigma_s)) for tail in tails
    ]
    np.testing.assert_allclose(middles, np.where(tails > 1e-3, tails, 0) * sigma_s, atol=2e-6 * sigma_s)


def test_scattering_agrees_with_a_convolution_done_numerically():
    step_s = 1e-6
    time_s = np.arange(-0.01, 0.03, step_s)
    gauss = pulse_profile(time_s, 1e-3, 0.0)
    tail = np.exp(-np.arange(0, 0.02, step_s) / 1e-3) / 1e-3
    expected = np.convolve(gauss, tail)[: len(time_s)] * step_s
    np.testing.assert_allclose(pulse_profile(time_s, 1e-3, 1e-3), expected, atol=2e-3 * expected.max())


def test_scattering_falls_with_the_fourth_power():
    low, high = scattering_time([1000.0, 2000.0], 0.001)
    assert low == pytest.approx(16 * high)


def test_the_loss_at_a_wrong_dm_is_the_published_one():
    # Cordes & McLaughlin 2003: zeta = 6.91e-3 dDM B_MHz / (W_ms nu_GHz^3); the ratio at zeta = 1.
    delay_s = float(dispersion_delay(1399.5, 1.0, reference_mhz=1400.5))
    dm_error = 1.0 / (6.91e-3 * 1 / (1.0 * 1.4**3))
    assert snr_ratio_at_dm_error(dm_error, 1e-3, delay_s) == pytest.approx(0.7468, abs=1e-3)


def test_trials_lose_no_more_than_promised():
    frequency_mhz = np.linspace(1530, 1210, 256)
    sought = SearchParameters(dm_min_pc_cm3=0, dm_max_pc_cm3=500, dm_loss=0.05)
    trials = dm_trials(frequency_mhz, sought, sampling_s=1e-4)
    band_delay_s = float(dispersion_delay(1210.0, 1.0, reference_mhz=1530.0))
    smear_s = channel_smearing([1370.0], trials[:-1], channel_width_mhz=1.25)
    kept = snr_ratio_at_dm_error(np.diff(trials) / 2, np.hypot(1e-4, smear_s), band_delay_s)
    assert (kept > 0.949).all()
    assert (kept < 0.955).all()
    assert trials[-1] >= 500


def test_dedispersion_agrees_with_plain_shifting_and_adding():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(8, 300)).astype(np.float32)
    delays = np.array([0, 1, 3, 7, 12, 20, 31, 45], dtype=np.int32)
    good = np.array([1, 1, 0, 1, 1, 1, 1, 1], dtype=bool)
    series, present = dedisperse(data, delays, good)
    expected = sum(data[c, delays[c] : delays[c] + 250] for c in range(8) if good[c]) / np.sqrt(7)
    np.testing.assert_allclose(series[:250], expected, rtol=1e-4, atol=1e-5)
    assert (present[:255] == 7).all()
    assert present[256] == 6
    assert series[299] == pytest.approx(data[0, 299])


def test_noise_follows_the_radiometer_equation():
    observation = simulate(QUIET.replace(fluence_jy_ms=0.0), seed=1)
    noise = observation["noise"].values
    expected = noise_sigma_jy(14.0, channel_width_mhz=5.0, sampling_s=102.4e-6)
    # The relative error of a standard deviation is 1 / sqrt(2 n).
    assert noise.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * noise.size))
    assert expected == pytest.approx(14 / np.sqrt(2 * 5e6 * 102.4e-6))


def test_a_nebula_in_the_beam_and_the_air_add_noise_and_dim_the_pulses():
    clear = QUIET.replace(n_bits=32)
    hazy = clear.replace(background_jy=30.0, zenith_opacity=0.2, elevation_deg=30.0)
    through = np.exp(-0.4)
    first, second = (simulate(each, seed=1) for each in (clear, hazy))
    assert float(second["transmission"]) == pytest.approx(through)
    assert float(second["background"]) == pytest.approx(30.0 * through)
    worth_jy = (21.0 + 275.0 * (1 - through)) / 1.5 + 30.0 * through
    assert second.attrs["system_jy"] == pytest.approx(worth_jy)
    np.testing.assert_allclose(second["noise"], first["noise"] * worth_jy / 14.0, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(second["pulses"], first["pulses"] * through, rtol=1e-4, atol=1e-7)
    # What left the pulsar is the same; the filter finds less of it.
    np.testing.assert_array_equal(second["pulse_fluence_jy_ms"], first["pulse_fluence_jy_ms"])
    lost = through * 14.0 / worth_jy
    np.testing.assert_allclose(second["pulse_snr_ideal"], first["pulse_snr_ideal"] * lost, rtol=1e-4)
    assert ideal_snr(hazy) == pytest.approx(ideal_snr(clear) * lost)


def test_the_distance_follows_from_the_electrons_on_the_way():
    crab = QUIET.replace(dm_pc_cm3=56.77, electron_density_cm3=0.0284)
    assert float(simulate(crab, seed=1)["distance"]) == pytest.approx(2.0, rel=1e-3)


def test_a_distance_sets_the_dispersion_and_a_new_dispersion_ends_it():
    # By the definition of the dispersion measure: 2 kpc of 0.0284 electrons in a cubic centimetre.
    crab = ObservationParameters(distance_kpc=2.0, electron_density_cm3=0.0284)
    assert crab.dm_pc_cm3 == pytest.approx(56.8)
    twice = QUIET.replace(distance_kpc=4.0, electron_density_cm3=0.0284)
    seen = simulate(twice, seed=1)
    assert float(seen["distance"]) == pytest.approx(4.0)
    np.testing.assert_allclose(seen["pulse_dm_pc_cm3"], 113.6)
    other = twice.replace(dm_pc_cm3=60.0)
    assert (other.dm_pc_cm3, other.distance_kpc) == (60.0, 0.0)
    assert ObservationParameters.from_json(twice.to_json()) == twice
    with pytest.raises(ParameterError, match="dispersion measure of 4000 pc cm-3: 3000 is the highest"):
        QUIET.replace(distance_kpc=100.0, electron_density_cm3=0.04)


def test_the_components_add_up_to_the_data():
    parameters = SHORT.replace(n_bits=32, gain_drift=0.05, baseline_jy=0.3, n_notches=2)
    parameters = parameters.replace(background_jy=20.0, zenith_opacity=0.05)
    observation = simulate(parameters, seed=2)
    names = ("pulses", "noise", "narrowband", "broadband", "other")
    flux_jy = sum(observation[name] for name in names)
    system_jy = observation.attrs["system_jy"]
    received_jy = observation["gain"] * (flux_jy + system_jy) - system_jy + observation["baseline"]
    expected = received_jy / observation.attrs["noise_sigma_jy"] * observation["bandpass"]
    np.testing.assert_allclose(observation["data"], expected, rtol=1e-4, atol=1e-3)


def test_pulses_carry_their_fluence_in_every_channel():
    one_pulse = QUIET.replace(energy_scatter=0.0, period_s=1.0, fluence_jy_ms=2.0, duration_s=1.0)
    observation = simulate(one_pulse, seed=1)
    per_channel = observation["pulses"].values.sum(axis=0) * observation.attrs["sampling_time_s"] * 1e3
    assert observation["pulse_time_s"].values[0] < 0.9  # the sweep ends inside
    np.testing.assert_allclose(per_channel, 2.0, rtol=1e-3)


def test_the_ideal_snr_is_what_a_matched_filter_finds():
    parameters = QUIET.replace(fluence_jy_ms=1.0, n_bits=32, bandpass_ripple=0.0)
    snr = []
    for seed in range(40):
        observation = simulate_pulse(parameters, seed=seed)
        template = observation["pulses"].values
        received = observation["pulses"].values + observation["noise"].values
        sigma_jy = observation.attrs["noise_sigma_jy"]
        snr.append((received * template).sum() / np.sqrt((template**2).sum()) / sigma_jy)
    ideal = float(observation["pulse_snr_ideal"].values[0])
    assert np.mean(snr) == pytest.approx(ideal, abs=5 / np.sqrt(40))


def test_one_seed_gives_one_observation():
    first, again, other = (simulate(SHORT, seed=seed) for seed in (5, 5, 6))
    xr.testing.assert_identical(first, again)
    assert not first["data"].equals(other["data"])


def test_switching_interference_off_leaves_noise_and_pulses_alone():
    with_rfi, without = simulate(SHORT, seed=5), simulate(QUIET, seed=5)
    xr.testing.assert_identical(with_rfi["pulses"], without["pulses"])
    xr.testing.assert_identical(with_rfi["noise"], without["noise"])
    assert not without["narrowband"].any()
    assert not without["broadband"].any()


def test_every_variable_has_units_and_the_parameters_are_kept():
    observation = simulate(SHORT, seed=1)
    for name in [*observation.data_vars, *observation.coords]:
        assert "units" in observation[name].attrs, name
    assert observation.attrs["dm_pc_cm3"] == SHORT.dm_pc_cm3
    assert observation.attrs["seed"] == 1


def test_the_bandpass_rolls_off_and_stays_positive():
    gain = bandpass(np.linspace(1530, 1210, 256), 0.9, np.random.default_rng(1))
    assert (gain > 0).all()
    assert gain[0] < 0.7 * gain.max()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dm_pc_cm3": 0.0},
        {"dm_pc_cm3": 3000.0},
        {"scattering_ms": 50.0},
        {"width_ms": 0.05, "dm_pc_cm3": 1.0},
        {"width_ms": 200.0},
    ],
)
def test_a_preview_holds_its_whole_pulse(changes):
    parameters = ObservationParameters(carrier_rate_hz=0.0, impulse_rate_hz=0.0).replace(**changes)
    observation = simulate_pulse(parameters, seed=1)
    assert observation.sizes["time"] <= 513
    received_ms = observation["pulses"].values.sum(axis=0) * observation.attrs["sampling_time_s"] * 1e3
    np.testing.assert_allclose(received_ms, parameters.fluence_jy_ms, rtol=0.05)


def test_bands_and_ranges_that_contradict_themselves_are_refused():
    with pytest.raises(ParameterError, match="bandwidth_mhz = 900 MHz reaches below 0 MHz"):
        ObservationParameters(centre_frequency_mhz=400.0, bandwidth_mhz=900.0)
    with pytest.raises(ParameterError, match="dm_min_pc_cm3 = 50 pc cm-3 must be below"):
        SearchParameters(dm_min_pc_cm3=50.0, dm_max_pc_cm3=20.0)


@pytest.mark.parametrize(("inclination_deg", "impact_deg"), [(20.0, 4.0), (4.0, 8.0), (9.0, -5.0)])
def test_the_core_fades_with_the_impact_as_a_beam_on_the_sphere_does(inclination_deg, impact_deg):
    # The line of sight just touches the cone, which shines with all its power; the core is further off.
    source = SourceParameters(
        inclination_deg=inclination_deg,
        impact_deg=impact_deg,
        width_ms=40.0,
        cone_fraction=0.5,
        cone_radius_deg=abs(impact_deg),
    )
    found = beam_components(source, np.array([1400.0]), reference_mhz=1400.0).weight[0, :, 0]
    alpha, zeta = np.deg2rad([inclination_deg, inclination_deg + impact_deg])
    phase = np.deg2rad(np.linspace(-60, 60, 20_001))
    angle = np.arccos(np.cos(alpha) * np.cos(zeta) + np.sin(alpha) * np.sin(zeta) * np.cos(phase))

    # The beam whose core is 40 ms wide on this line of sight.
    def width_s(beam: float) -> float:
        seen = np.exp(-4 * np.log(2) * (angle**2 - angle.min() ** 2) / beam**2) > 0.5
        return np.ptp(phase[seen]) / (2 * np.pi) * source.period_s

    beams = np.deg2rad(np.geomspace(0.2, 60, 400))
    beam = np.interp(40e-3, [width_s(beam) for beam in beams], beams)
    faded = np.exp(-4 * np.log(2) * (np.deg2rad(impact_deg) / beam) ** 2)
    assert found[0] / found[1:].sum() == pytest.approx(faded, rel=0.1)


def test_a_line_of_sight_beyond_the_rotation_axis_is_refused():
    with pytest.raises(ParameterError, match="must lie between 0 and 180 deg"):
        SourceParameters(inclination_deg=10.0, impact_deg=-20.0)
    with pytest.raises(ParameterError, match="must lie between 0 and 180 deg"):
        SourceParameters(inclination_deg=170.0, impact_deg=20.0)
