"""Periods: folding, the search for them, their errors, and the barycentre."""

import numpy as np
import pytest
import xarray as xr
from judges import judge
from real_files import real_file
from scipy import stats

from physics_twins.pulsar.files import write_dataset
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.searching.dedispersion import dedispersed_series
from physics_twins.pulsar.searching.periods import (
    find_period,
    fold,
    h_log10_probability,
    h_test,
    whiten,
)
from physics_twins.pulsar.simulate import simulate

_barycentre = judge("_pulsar_barycentre")
doppler_factor, TELESCOPES_ITRF_M = _barycentre.doppler_factor, _barycentre.TELESCOPES_ITRF_M
SAMPLING_S = 1e-3
N_SAMPLES = 1 << 14


def as_series(values: np.ndarray) -> xr.DataArray:
    time_s = np.arange(len(values)) * SAMPLING_S
    return xr.DataArray(values, {"time": time_s}, dims="time", attrs={"units": "sigma"})


def pulsar(
    seed: int, period_s: float, *, width_s: float = 6e-3, amplitude: float = 1.0, jitter_s: float = 0.0
) -> xr.DataArray:
    """Gaussian pulses in white noise of unit variance, the first a third of a period in."""
    rng = np.random.default_rng(seed)
    values, time_s = rng.normal(size=N_SAMPLES), (np.arange(N_SAMPLES) + 0.5) * SAMPLING_S
    for centre_s in np.arange(period_s / 3, time_s[-1], period_s):
        later_s = time_s - centre_s - jitter_s * rng.normal()
        values += amplitude * np.exp(-0.5 * (later_s / width_s) ** 2)
    return as_series(values)


def test_a_fold_gives_the_profile_its_place_and_its_area():
    folded = fold(pulsar(1, 0.256, amplitude=5.0), 0.256)
    phase, profile = folded["phase"].values, folded["profile"].values
    assert phase[profile.argmax()] == pytest.approx(1 / 3, abs=1 / 64)
    area = (profile - np.median(profile)).sum() * 0.256 / 64
    # 64 pulses of area 5 * 6 ms * sqrt(2 pi), with noise of 1 ms^0.5 over 0.256 s of each.
    assert area == pytest.approx(5 * 6e-3 * np.sqrt(2 * np.pi), rel=0.05)


def test_errors_of_a_profile_are_those_of_its_bins_in_white_noise():
    rng = np.random.default_rng(2)
    folded = fold(as_series(rng.normal(size=N_SAMPLES)), 0.2)
    pulls = folded["profile"] / folded["profile_error"]
    assert float(folded["profile_error"].mean()) == pytest.approx(np.sqrt(64 / N_SAMPLES), rel=0.05)
    assert float((pulls**2).sum()) < stats.chi2.isf(1e-4, 64)


def test_h_of_noise_has_the_distribution_of_de_jager_and_buesching():
    rng = np.random.default_rng(5)
    harmonics = rng.normal(size=(20000, 20, 2)) @ np.array([1, 1j])
    h, used = h_test(harmonics, 2)  # |C|^2 / n has mean 1, as for n samples of unit variance
    assert used.min() == 1
    for limit in (5.0, 10.0):
        expected = 10 ** h_log10_probability(limit)
        error = np.sqrt(expected * (1 - expected) / len(h))
        assert (h > limit).mean() == pytest.approx(expected, abs=5 * error + 0.1 * expected)


@pytest.mark.parametrize(
    ("period_s", "width_s", "amplitude"),
    [
        (0.2371, 6e-3, 1.0),  # ordinary
        (0.2371, 1.5e-3, 3.0),  # narrow: as strong in every second harmonic as in each
        (0.2371, 0.05, 0.6),  # almost a sine
        (0.0071, 1e-3, 0.3),  # seven samples a turn
        (1.83, 0.03, 1.0),  # nine turns
    ],
)
def test_a_period_is_found_and_no_multiple_of_it(period_s, width_s, amplitude):
    found = find_period(pulsar(6, period_s, width_s=width_s, amplitude=amplitude))
    assert abs(float(found["period_s"]) - period_s) < 5 * float(found["period_error_s"])
    assert float(found["period_error_s"]) < 1e-3 * period_s
    assert float(found["log10_false_alarm"]) < -6


def test_errors_of_periods_cover_also_where_pulses_jitter():
    rng = np.random.default_rng(7)
    pulls = []
    for seed in range(16):
        period_s = rng.uniform(0.2, 0.3)
        found = find_period(pulsar(seed, period_s, amplitude=2.0, jitter_s=3e-3))
        pulls.append((float(found["period_s"]) - period_s) / float(found["period_error_s"]))
    # 16 pulls of a standard normal have a root mean square of 1 +- 0.18.
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_noise_holds_no_period_white_or_red():
    rng = np.random.default_rng(8)
    for _ in range(5):
        white = rng.normal(size=N_SAMPLES)
        red = white + 0.02 * np.cumsum(rng.normal(size=N_SAMPLES))
        for values in (white, red):
            assert float(find_period(as_series(values))["log10_false_alarm"]) > -3


def test_whitened_noise_is_white_and_keeps_a_pulsar():
    rng = np.random.default_rng(9)
    white = whiten(rng.normal(size=N_SAMPLES) + 0.1 * np.cumsum(rng.normal(size=N_SAMPLES)))
    power = np.abs(np.fft.rfft(white)[1:]) ** 2 / N_SAMPLES
    for part in np.array_split(power, 8):
        assert part.mean() == pytest.approx(1, abs=5 / np.sqrt(len(part)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: fold(s, 0.001), "period_s = 0.001 s is outside 0.064 s"),
        (lambda s: fold(s, 10.0), "period_s = 10 s is outside"),
        (lambda s: fold(s[:10], 0.2), "16 samples"),
        (lambda s: fold(s.where(s.time > 1), 0.2), "samples are not finite"),
        (lambda s: find_period(s[:30]), "30 samples hold no 8 turns of 4"),
        (
            lambda s: doppler_factor("18:07:38", "-08:47:43", 59313.3, "Moon"),
            "telescope = 'Moon'",
        ),
        (lambda s: doppler_factor("north", "-08:47:43", 59313.3, "GBT"), "right_ascension"),
    ],
)
def test_what_cannot_be_folded_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(pulsar(1, 0.25))


def test_the_earth_moves_at_30_km_s_and_turns_at_half_of_one():
    # Towards a source on the ecliptic over a year; and at two places at the same time.
    factors = [doppler_factor("18:00:00", "-23:26:00", 60000 + d, "GBT") for d in range(0, 366, 5)]
    speed_km_s = 299792.458 * (np.array(factors) - 1)
    assert np.ptp(speed_km_s) / 2 == pytest.approx(30.0, abs=0.7)
    places = [doppler_factor("18:00:00", "-23:26:00", 60000, name) for name in TELESCOPES_ITRF_M]
    assert np.ptp(places) * 299792.458 < 2 * 0.4651


def test_the_real_pulsar_has_the_period_of_the_catalogue():
    path = real_file("pulsar/GBT_J1807-0847.dat")
    real_file("pulsar/GBT_J1807-0847.inf")
    series = judge("_pulsar_series").read_series(path)
    found = find_period(series)
    # ATNF catalogue, Hobbs et al. (2004), MNRAS 353, 1311: at the barycentre, epoch MJD 48244.
    middle_mjd = series.attrs["start_mjd"] + float(series["time"].mean()) / 86400
    frequency_hz = 6.107714243738 - 1.074334e-15 * (middle_mjd - 48244) * 86400
    place = series.attrs["right_ascension"], series.attrs["declination"]
    at_barycentre_s = float(found["period_s"]) * doppler_factor(*place, middle_mjd, "GBT")
    # The motion of the Earth is 9.3e-5 of it: what is left without is no agreement.
    assert at_barycentre_s * frequency_hz == pytest.approx(1, abs=1e-5)
    assert float(found["period_error_s"]) < 1e-5 * at_barycentre_s
    assert float(found["period_s"]) == pytest.approx(0.163712, abs=2e-6)
    assert float(found["log10_false_alarm"]) < -1000
    assert len(found["profile"]) == 64


def test_the_period_of_an_observation_is_found_through_a_file_of_several_blocks(tmp_path, monkeypatch):
    parameters = ObservationParameters(
        n_channels=32, duration_s=4.0, period_s=0.1173, fluence_jy_ms=0.2
    )
    observation = simulate(parameters, seed=5)
    write_dataset(observation, tmp_path / "a.sf")
    monkeypatch.setattr("physics_twins.pulsar.searching.dedispersion.BLOCK_SPECTRA", 10000)
    series = dedispersed_series(tmp_path / "a.sf", parameters.dm_pc_cm3)
    xr.testing.assert_equal(series, dedispersed_series(observation, parameters.dm_pc_cm3))
    assert series.attrs["units"] == "sigma"
    assert np.diff(series["time"]) == pytest.approx(102.4e-6)
    found = find_period(series)
    assert abs(float(found["period_s"]) - 0.1173) < 5 * float(found["period_error_s"])
    assert float(found["log10_false_alarm"]) < -10


def test_a_track_that_an_observation_does_not_hold_is_refused(tmp_path):
    observation = simulate(ObservationParameters(n_channels=16, duration_s=0.05), seed=1)
    with pytest.raises(ValueError, match="dm_pc_cm3 = 1000 pc cm-3: its track takes"):
        dedispersed_series(observation, 1000.0)
    with pytest.raises(ValueError, match="n_channels = 1"):
        dedispersed_series(observation.isel(frequency=[0]), 10.0)
