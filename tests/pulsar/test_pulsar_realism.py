"""The five statistics that tell recorded spectra from white noise."""

import numpy as np
import pytest
import xarray as xr
from judges import judge
from scipy.signal import lfilter

from physics_twins.data import find_data_file
from physics_twins.pulsar.files import write_dataset

statistics = judge("_pulsar_statistics")
STATISTICS, compare, realism = statistics.STATISTICS, statistics.compare, statistics.realism
N_SPECTRA, N_CHANNELS = 4096, 64
# Measured independently of this code (with the low-frequency power by another average: 20 and 87).
REAL_FILES = {
    "pulsar/askap_frb_28.fil": (0.003, 0.035, 0.099, 1.31, 20.0),
    "pulsar/parkes_8bit_1.fil": (0.061, 0.216, 0.006, 1.32, 87.0),
}


def observation(noise: np.ndarray, *, n_bits: int = 32) -> xr.Dataset:
    n_spectra, n_channels = noise.shape
    frequency_mhz = 1500.0 - np.arange(n_channels)
    return xr.Dataset(
        {"data": (("time", "frequency"), noise, {"units": "counts"})},
        coords={
            "time": ("time", np.arange(n_spectra) * 1e-3, {"units": "s"}),
            "frequency": ("frequency", frequency_mhz, {"units": "MHz"}),
        },
        attrs={"n_bits": n_bits, "sampling_time_s": 1e-3},
    )


def white(seed: int = 1, shape: tuple[int, int] = (N_SPECTRA, N_CHANNELS)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def values(noise: np.ndarray, **options) -> xr.Dataset:
    return realism(observation(noise), **options).to_array("kind").to_dataset("statistic")


def agrees(result: xr.Dataset, name: str, expected: float) -> bool:
    value, error, _ = result[name].values
    return abs(value - expected) <= 5 * error


def test_white_noise_has_the_statistics_of_white_noise():
    result = values(white())
    assert float(result["kurtosis_share"][0]) == 0
    for name in ("lag1_p95", "adjacent_median", "zero_dm_ratio", "low_frequency_ratio"):
        assert agrees(result, name, float(result[name][2])), name


def test_lag_1_is_the_coefficient_of_an_autoregressive_process():
    noise = np.asarray(lfilter([1], [1, -0.3], white(), axis=0))
    # The 95th percentile of 64 channels lies 1.6 standard errors, 0.015 each, above their mean.
    assert agrees(values(noise), "lag1_p95", 0.3 + 1.6 * 0.015)


def test_neighbours_that_share_a_part_are_correlated_by_that_part():
    noise = white()
    noise[:, 1:] += 0.2 * noise[:, :-1].copy()
    assert agrees(values(noise), "adjacent_median", 0.2 / 1.04)


def test_what_all_channels_share_widens_the_series_at_zero_dm():
    noise = white() + 0.1 * white(2, (N_SPECTRA, 1))
    assert agrees(values(noise), "zero_dm_ratio", np.sqrt((1 + 0.01 * N_CHANNELS) / 1.01))


def test_tails_are_counted_by_channel():
    noise = white()
    noise[::100, :16] += 8  # excess kurtosis of about 8
    assert float(values(noise)["kurtosis_share"][0]) == 0.25


def test_slow_changes_show_in_the_lowest_frequencies():
    time = np.arange(N_SPECTRA)[:, None] / N_SPECTRA
    noise = white() + 0.1 * np.sin(2 * np.pi * 3 * time)
    # A sine of amplitude A in N values has the power N A^2 / 4 per value; 5 frequencies share it.
    expected = 1 + N_CHANNELS * N_SPECTRA * 0.01 / 4 / 5
    assert float(values(noise)["low_frequency_ratio"][0]) == pytest.approx(expected, rel=0.1)


def test_level_and_gain_of_a_channel_do_not_matter():
    noise = white()
    scaled = noise * np.linspace(1, 20, N_CHANNELS) + np.linspace(-5, 300, N_CHANNELS)
    first, second = (realism(observation(each))["value"] for each in (noise, scaled))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_errors_from_one_segment_are_as_large_as_the_scatter_of_many():
    parts = [realism(observation(white(seed, (2048, 32)))) for seed in range(40)]
    scatter = np.std([part["value"] for part in parts], axis=0)[1:]
    stated = np.mean([part["error"] for part in parts], axis=0)[1:]
    # A standard deviation of 40 values is known to 11 %; a jackknife of a percentile is rough.
    assert ((stated / scatter > 0.5) & (stated / scatter < 2)).all()


def test_a_long_observation_is_averaged_over_segments():
    noise = white(shape=(16384, 16))
    whole = realism(observation(noise), segment_spectra=2048)
    assert whole.attrs["n_segments"] == 8
    parts = [realism(observation(noise[n : n + 2048]))["value"] for n in range(0, 16384, 2048)]
    np.testing.assert_allclose(whole["value"], np.mean(parts, axis=0), rtol=1e-6)


def test_a_file_gives_what_its_dataset_gives_in_either_order_of_frequency(tmp_path):
    dataset = observation((white(shape=(512, 16)) * 16 + 96).astype(np.uint8), n_bits=8)
    write_dataset(dataset, tmp_path / "a.fil")
    write_dataset(dataset.isel(frequency=slice(None, None, -1)), tmp_path / "b.fil")
    expected = realism(dataset)["value"].values
    for name in ("a.fil", "b.fil"):
        np.testing.assert_allclose(realism(tmp_path / name)["value"], expected, rtol=1e-6)


def test_constant_channels_are_left_out():
    noise = white(shape=(512, 16))
    dead = np.concatenate([noise, np.full((512, 3), 7.0)], axis=1)
    np.testing.assert_allclose(values(dead)["zero_dm_ratio"], values(noise)["zero_dm_ratio"])


def test_a_comparison_is_one_where_both_are_alike_and_symmetric():
    first, second = (realism(observation(white(seed))) for seed in (1, 2))
    np.testing.assert_array_equal(compare(first, first)["factor"], 1)
    there, back = compare(first, second), compare(second, first)
    np.testing.assert_allclose(there["factor"], back["factor"])
    assert list(there.index) == list(STATISTICS.values())


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"segment_spectra = 5000: expected 64 to 4096"):
        realism(observation(white()), segment_spectra=5000)
    with pytest.raises(ValueError, match="fewer than 2 channels vary"):
        realism(observation(np.ones((128, 4))))
    with pytest.raises(ValueError, match="n_channels = 1"):
        realism(observation(white(shape=(128, 1))))
    short, long = realism(observation(white())), realism(observation(white()), segment_spectra=1024)
    with pytest.raises(ValueError, match=r"segment_spectra = 1024 .* must be 4096"):
        compare(short, long)


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_have_the_statistics_that_were_measured_before(name):
    path = find_data_file(name)
    if path is None:
        pytest.skip(f"twins data fetch {name}")
    measured = realism(path)["value"].values
    tolerances = (0.0005, 0.002, 0.001, 0.005, 0.05 * REAL_FILES[name][4])
    for value, expected, tolerance in zip(measured, REAL_FILES[name], tolerances, strict=True):
        assert value == pytest.approx(expected, abs=tolerance)
