"""The pulsar's beam, rotation, orbit and pulse energies, and the medium: the laws they must obey."""

from itertools import islice

import numpy as np
import pytest
from scipy import stats

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.parameters import ObservationParameters, SourceParameters
from physics_twins.pulsar.physics.ism import Screen, pulse_cumulative, smeared_cumulative
from physics_twins.pulsar.physics.source import (
    Rotations,
    arrival_s,
    beam_components,
    cone_phase_deg,
    eccentric_anomaly,
    roemer_delay_s,
    rotations,
)


def many(source: SourceParameters, chunks: int = 200, seed: int = 1) -> Rotations:
    """Some ten thousand rotations, one after the other."""
    parts = list(islice(rotations(source, seed), chunks))
    names = ("number", "energy", "giant", "mode", "jitter")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Rotations(stop=parts[-1].stop, **joined)


@pytest.mark.parametrize(
    ("alpha", "beta", "rho"), [(60.0, 0.5, 2.0), (90.0, 3.0, 5.0), (20.0, -2.0, 8.0)]
)
def test_a_cone_is_as_wide_as_gil_and_others_say(alpha, beta, rho):
    # Gil, Gronkowski & Rudnicki 1984, A&A 132, 312, in half angles.
    half = np.deg2rad([rho / 2, beta / 2])
    turn = np.sin(np.deg2rad(alpha)) * np.sin(np.deg2rad(alpha + beta))
    sine = np.sqrt((np.sin(half[0]) ** 2 - np.sin(half[1]) ** 2) / turn)
    assert cone_phase_deg(rho, alpha, beta) == pytest.approx(2 * np.rad2deg(np.arcsin(sine)))


def test_a_line_of_sight_that_misses_the_cone_sees_no_two_peaks():
    assert cone_phase_deg(2.0, 60.0, 3.0) == 0


def test_a_core_has_the_fluence_and_width_asked_for_at_the_reference():
    source = SourceParameters(spectral_index=-1.6, beam_index=0.2)
    beam = beam_components(source, np.array([1400.0, 700.0]), reference_mhz=1400.0)
    assert beam.weight[0, 0] == pytest.approx([1.0, 2**1.6], rel=0.5)  # the beam widens, too
    assert beam.weight[0, 0, 0] == pytest.approx(1.0)
    assert beam.width_s[0] == pytest.approx([0.8e-3, 0.8e-3 * 2**0.2])


def test_the_spectrum_is_a_power_law():
    source = SourceParameters(spectral_index=-1.6)
    weight = beam_components(source, np.array([1400.0, 700.0]), reference_mhz=1400.0).weight
    assert weight[0].sum(axis=0) == pytest.approx([1.0, 2**1.6])


def test_a_cone_makes_two_peaks_beside_the_core_that_part_at_low_frequencies():
    source = SourceParameters(cone_fraction=0.5, beam_index=0.2)
    beam = beam_components(source, np.array([1400.0, 350.0]), reference_mhz=1400.0)
    core, early, late = beam.offset_s
    assert core == pytest.approx([0, 0])
    assert early == pytest.approx(-late)
    assert late[1] > 1.2 * late[0]


def test_core_and_cone_swap_in_the_other_mode():
    source = SourceParameters(cone_fraction=0.2, mode_fraction=0.5)
    weight = beam_components(source, np.array([1400.0]), reference_mhz=1400.0).weight[:, :, 0]
    assert weight.sum(axis=1) == pytest.approx([1, 1])
    assert weight[0, 0] > weight[1, 0]


def test_rotations_slow_down_as_the_period_grows():
    # P(t) = P0 + Pdot t, so that the phase is ln(1 + Pdot t / P0) / Pdot: n = that, to second order.
    source = SourceParameters(period_s=0.1, period_derivative=1e-8)
    time_s = arrival_s(np.array([10**6]), source)[0]
    assert np.log1p(1e-8 * time_s / 0.1) / 1e-8 == pytest.approx(1e6, rel=1e-4)
    assert time_s > 1e5


@pytest.mark.parametrize("eccentricity", [0.0, 0.3, 0.6, 0.95])
def test_keplers_equation_is_solved(eccentricity):
    mean = np.linspace(-20, 20, 2001)
    anomaly = eccentric_anomaly(mean, eccentricity)
    np.testing.assert_allclose(anomaly - eccentricity * np.sin(anomaly), mean, atol=1e-12)


def test_an_orbit_comes_back_after_its_period_and_spans_twice_its_axis():
    source = SourceParameters(orbit_axis_ls=2.3, orbit_period_h=7.75, orbit_eccentricity=0.617)
    time_s = np.linspace(0, 7.75 * 3600, 20001)
    delay_s = roemer_delay_s(time_s, source)
    assert delay_s[-1] == pytest.approx(delay_s[0], abs=1e-9)
    assert np.ptp(delay_s) == pytest.approx(2 * 2.3 * np.sqrt(1 - 0.617**2), rel=1e-6)


def test_a_circular_orbit_shifts_the_period_by_doppler():
    source = SourceParameters(period_s=0.01, orbit_axis_ls=2.0, orbit_period_h=1.0)
    first, second = arrival_s(np.array([0, 1]), source)
    speed = 2 * np.pi * 2.0 / 3600  # of light
    assert (second - first) / 0.01 == pytest.approx(1 + speed, rel=1e-7)


def test_an_orbit_faster_than_light_is_refused():
    with pytest.raises(ParameterError, match="orbit_axis_ls = 500 ls is too wide"):
        SourceParameters(orbit_axis_ls=500.0, orbit_period_h=0.1)


def test_ordinary_energies_are_log_normal():
    energy = many(SourceParameters(energy_scatter=0.7)).energy
    assert stats.kstest(np.log(energy) / 0.7, "norm").pvalue > 1e-4


@pytest.mark.parametrize("index", [1.7, 3.2])
def test_giants_follow_their_power_law_and_are_as_frequent_as_asked(index):
    source = SourceParameters(giant_fraction=0.1, giant_index=index, giant_least=20.0)
    pulses = many(source)
    n, energy = len(pulses.giant), pulses.energy[pulses.giant]
    assert len(energy) / n == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / n))
    # The maximum-likelihood slope and its standard error (Hill 1975).
    slope = 1 / np.log(energy / 20.0).mean()
    assert slope == pytest.approx(index, abs=5 * index / np.sqrt(len(energy)))


@pytest.mark.parametrize(("fraction", "length"), [(0.2, 5.0), (0.7, 20.0)])
def test_nulls_fill_their_fraction_and_last_as_long_as_asked(fraction, length):
    pulses = many(SourceParameters(nulling_fraction=fraction, nulling_periods=length), chunks=800)
    off = np.ones(pulses.stop, bool)
    off[pulses.number] = False
    n_nulls = int((np.diff(off.astype(int)) == 1).sum())
    # Lengths are geometric: their standard deviation is nearly their mean.
    assert off.sum() / n_nulls == pytest.approx(length, abs=5 * length / np.sqrt(n_nulls) + 0.01)
    error = 2 * fraction * (1 - fraction) / np.sqrt(n_nulls)
    assert off.mean() == pytest.approx(fraction, abs=5 * error)


def test_the_other_mode_has_its_share_and_its_energy():
    source = SourceParameters(mode_fraction=0.3, mode_periods=5.0, mode_ratio=0.25, energy_scatter=0.0)
    pulses = many(source, chunks=400)
    assert pulses.mode.mean() == pytest.approx(0.3, abs=0.03)
    assert set(pulses.energy[pulses.mode == 1]) == {0.25}
    assert set(pulses.energy[pulses.mode == 0]) == {1.0}


def test_switching_nulls_on_leaves_the_other_pulses_as_they_are():
    without, with_nulls = many(SourceParameters()), many(SourceParameters(nulling_fraction=0.5))
    np.testing.assert_array_equal(with_nulls.energy, without.energy[with_nulls.number])
    np.testing.assert_array_equal(with_nulls.jitter, without.jitter[with_nulls.number])


def test_jitter_scatters_pulses_by_the_part_of_their_width_asked_for():
    jitter = many(SourceParameters(jitter=0.3)).jitter
    assert jitter.std() == pytest.approx(0.3, rel=5 / np.sqrt(2 * len(jitter)))


def intensities(n: int, frequency_mhz: list[float], bandwidth_mhz: float = 10.0) -> np.ndarray:
    """Intensities on n independent screens, at two times, shape (screen, time, channel)."""
    settings = {"bandwidth_mhz": bandwidth_mhz, "timescale_s": 60.0, "index": 4.0}
    screens = (Screen(np.array(frequency_mhz), seed=seed, **settings) for seed in range(n))
    return np.stack([screen.intensity(np.array([0.0, 60.0])) for screen in screens])


def test_scintillation_is_exponential():
    intensity = intensities(2000, [1370.0])[:, 0, 0]
    assert stats.kstest(intensity, "expon").pvalue > 1e-4


def test_scintillation_is_correlated_over_the_bandwidth_and_the_time_asked_for():
    n = 4000
    intensity = intensities(n, [1375.0, 1365.0])
    half = np.corrcoef(intensity[:, 0, 0], intensity[:, 0, 1])[0, 1]
    later = np.corrcoef(intensity[:, 0, 0], intensity[:, 1, 0])[0, 1]
    # Intensities are exponential, so correlations scatter by up to 2 / sqrt(n).
    assert half == pytest.approx(0.5, abs=5 * 2 / np.sqrt(n) * 0.75)
    assert later == pytest.approx(np.exp(-1), abs=5 * 2 / np.sqrt(n) * 0.86)


def test_scintles_are_narrower_at_low_frequencies():
    intensity = intensities(1000, [1600.0, 1590.0, 1010.0, 1000.0])[:, 0]
    high = np.corrcoef(intensity[:, 0], intensity[:, 1])[0, 1]
    low = np.corrcoef(intensity[:, 2], intensity[:, 3])[0, 1]
    assert high > low + 5 * 2 / np.sqrt(1000)


def test_smearing_by_a_box_agrees_with_a_mean_over_it():
    time_s = np.linspace(-5e-3, 2e-2, 100)
    box_s = (np.arange(1000) - 499.5) * 4e-6
    for tau_s in (0.0, 1e-3):
        expected = pulse_cumulative(time_s[:, None] + box_s, 1e-3, tau_s).mean(axis=1)
        found = smeared_cumulative(time_s, 1e-3, tau_s, 4e-3)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_at_most_six_parameters_are_not_folded_away():
    described = ObservationParameters.describe().values()
    assert len([one for one in described if not one.folded]) <= 6
