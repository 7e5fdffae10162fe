"""A telescope fitted to a recording, and look-alikes of it."""

import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter
from units import check_units

from physics_twins.data import find_data_file, save
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.lookalike import LookalikeStream, lookalike, write_lookalike
from physics_twins.pulsar.realism import compare, realism
from physics_twins.pulsar.telescope import fit_telescope
from physics_twins.pulsar.telescopes.levelling import find_levelling, unlevelled
from physics_twins.pulsar.telescopes.telescope_model import (
    TelescopeModel,
    open_telescope,
    save_telescope,
)

N_SPECTRA, N_CHANNELS = 4096, 64
REAL_FILES = ("pulsar/askap_frb_28.fil", "pulsar/parkes_8bit_1.fil")


def observation(values: np.ndarray, n_bits: int = 8) -> xr.Dataset:
    """A recording of values in standard deviations of the noise, digitised."""
    if n_bits == 8:
        values = np.rint(96 + 16 * values).clip(0, 255).astype(np.uint8)
    elif n_bits < 8:
        middle, width = {2: (1.5, 1.0), 1: (0.5, 0.5)}[n_bits]
        values = np.rint(middle + width * values).clip(0, 2**n_bits - 1).astype(np.uint8)
    return xr.Dataset(
        {"data": (("time", "frequency"), values, {"units": "counts"})},
        coords={
            "time": ("time", np.arange(len(values)) * 1e-3, {"units": "s"}),
            "frequency": ("frequency", 1500.0 - np.arange(values.shape[1]), {"units": "MHz"}),
        },
        attrs={"n_bits": n_bits, "sampling_time_s": 1e-3, "source_name": "test"},
    )


def white(seed: int = 1, n: int = N_SPECTRA, n_channels: int = N_CHANNELS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, n_channels))


@pytest.fixture(scope="module")
def disturbed() -> tuple[xr.Dataset, TelescopeModel]:
    """A recording with a bit of everything, and its fit."""
    rng = np.random.default_rng(8)
    values = white()
    values += 0.05 * np.asarray(lfilter([1], [1, -0.99], rng.standard_normal((N_SPECTRA, 1)), axis=0))
    values[:, 1:] += 0.15 * values[:, :-1].copy()
    for start in range(50, N_SPECTRA, 200):
        values[start : start + 20, 10:12] += 9.0
    for start in range(170, N_SPECTRA, 300):
        values[start : start + 3] += 4.0
    recording = observation(values)
    for start in range(300, N_SPECTRA, 300):
        recording["data"].values[start : start + 8] = 0
    return recording, fit_telescope(recording, seed=1)


def test_white_noise_is_found_to_be_white_noise():
    model = fit_telescope(observation(white()), seed=1)
    assert model.transmitters == ()
    assert len(model.impulses.on) == len(model.losses.on) == model.levelling.n_spectra == 0
    assert np.abs(model.noise.correlation).max(initial=0) < 0.02
    # Low bands have one or two frequencies; from 20 on their power is known to 5 / sqrt(64 * 20).
    wide = np.diff(np.append(0, model.noise.edge)) * N_SPECTRA >= 20
    np.testing.assert_allclose(np.median(model.noise.spectrum[:, wide], axis=0), 1, atol=0.14)
    # Level and sigma come from the quiet core: errors of 1/sqrt(4096) and of 1/sqrt(8192), times 1.2.
    assert np.abs(model.noise.level - 96).max() < 5 * 1.2 * 16 / 64
    assert np.abs(model.noise.sigma / 16 - 1).max() < 5 * 1.2 / np.sqrt(2 * N_SPECTRA)


def test_a_channel_with_memory_keeps_it_and_the_others_have_none():
    values = white()
    values[:, 20] = np.asarray(lfilter([np.sqrt(1 - 0.36)], [1, -0.6], values[:, 20]))
    model = fit_telescope(observation(values), seed=1)
    made = lookalike(model, 4 * N_SPECTRA, seed=2)["data"].values.astype(float)
    made -= made.mean(axis=0)
    lag1 = (made[1:] * made[:-1]).mean(axis=0) / made.var(axis=0)
    assert lag1[20] == pytest.approx(0.6, abs=0.05)
    assert np.abs(np.delete(lag1, 20)).max() < 5 / np.sqrt(N_SPECTRA)


def test_correlated_channels_stay_so_however_far_apart():
    values = white()
    values[:, 50] = 0.8 * values[:, 50] + 0.6 * values[:, 3]
    made = lookalike(fit_telescope(observation(values), seed=1), 4 * N_SPECTRA, seed=2)["data"].values
    matrix = np.corrcoef(made.T)
    assert matrix[3, 50] == pytest.approx(0.6, abs=5 / np.sqrt(N_SPECTRA))
    matrix[3, 50] = matrix[50, 3] = 0
    np.fill_diagonal(matrix, 0)
    assert np.abs(matrix).max() < 5 / np.sqrt(N_SPECTRA)


def test_a_channel_with_tails_keeps_them():
    values = white()
    values[:, 7] = np.random.default_rng(4).exponential(1, N_SPECTRA) - 1
    made = lookalike(fit_telescope(observation(values), seed=1), 4 * N_SPECTRA, seed=2)["data"].values
    z = (made[:, 7] - made[:, 7].mean()) / made[:, 7].std()
    assert np.mean(z**3) == pytest.approx(2, abs=0.5)  # that of an exponential distribution


def test_a_transmitter_is_found_with_its_channels_times_and_strength(disturbed):
    _, model = disturbed
    (one,) = (each for each in model.transmitters if 10 in each.channel)
    assert list(one.channel) == [10, 11]
    # 21 events of 20 spectra, of which the detection may lose an edge.
    assert one.occupancy == pytest.approx(0.1, rel=0.2)
    assert one.duration_spectra == pytest.approx(20, rel=0.3)
    np.testing.assert_allclose(one.strength, 9, rtol=0.1)
    assert model.occupancy[10] == one.occupancy
    assert model.occupancy[30] == 0


def test_impulses_and_lost_spectra_are_found(disturbed):
    _, model = disturbed
    assert set(model.impulses.on.ravel()) == {3.0}
    # Of all channels' noise together and the common baseline, 0.4 sigma, so much remains in 14 means.
    assert np.median(model.impulses.strength) == pytest.approx(4, abs=5 * 0.4 / np.sqrt(14))
    assert set(model.losses.on.ravel()) == {8.0}
    assert set(model.losses.strength.ravel()) == {0.0}


def test_a_lookalike_has_the_recordings_statistics(disturbed):
    recording, model = disturbed
    real = realism(recording)
    made = realism(lookalike(model, 12 * N_SPECTRA, seed=5), segment_spectra=N_SPECTRA)
    table = compare(real, made)
    apart = np.abs(table["real"] - table["synthetic"])
    allowed = 5 * np.hypot(table["real_error"], table["synthetic_error"]) + 0.02 * table["real"]
    assert np.all(apart[1:] <= allowed[1:]), table
    assert abs(table["real"].iloc[0] - table["synthetic"].iloc[0]) <= 2 / N_CHANNELS


def test_a_lookalike_says_where_its_interference_is(disturbed):
    _, model = disturbed
    made = lookalike(model, 4 * N_SPECTRA, seed=6)
    z = (made["data"].values - model.noise.level) / model.noise.sigma
    on = made["narrowband"].values
    assert z[on].mean() > 7
    # The common baseline of 0.35 sigma is correlated over 200 of 16384 spectra.
    assert abs(z[~on].mean()) < 5 * 0.35 * np.sqrt(200 / 16384)
    assert (made["data"].values[made["lost"].values] == 0).all()
    assert made["broadband"].values.any()


def test_a_lookalike_holds_no_recorded_spectrum(disturbed):
    recording, model = disturbed
    made = lookalike(model, 2 * N_SPECTRA, seed=7)["data"].values
    recorded = {row.tobytes() for row in recording["data"].values if row.any()}
    assert not any(row.tobytes() in recorded for row in made)


def test_a_stream_does_not_depend_on_how_it_is_cut(disturbed):
    _, model = disturbed
    whole = lookalike(model, 3000, seed=9)["data"].values
    stream = LookalikeStream(model, seed=9)
    parts = [stream.read(n).data for n in (1, 999, 17, 1983)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_seeds_give_different_lookalikes_and_one_seed_the_same(disturbed):
    _, model = disturbed
    first, again, other = (lookalike(model, 512, seed=seed)["data"].values for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    np.testing.assert_array_equal(lookalike(model, 1024, seed=1)["data"].values[:512], first)


def test_a_file_of_lookalikes_is_written_block_by_block(disturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[lookalike.__module__], "BLOCK_SAMPLES", 1000 * N_CHANNELS)
    _, model = disturbed
    path = write_lookalike(model, tmp_path / "a.fil", 2500, seed=3)
    with open_observation(path) as file:
        assert file.header.sampling_time_s == 1e-3
        np.testing.assert_array_equal(file.read(0, 2500), lookalike(model, 2500, seed=3)["data"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_lookalike(disturbed):
    _, model = disturbed
    stream = LookalikeStream(model, seed=1)
    stream.read(20000)
    tracemalloc.start()
    peaks = []
    for _ in range(2):
        for _ in range(10):
            stream.read(10000)
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.parametrize("n_bits", [1, 2])
def test_few_bits_are_imitated_as_they_are(n_bits):
    values = white()
    values[:, 1:] += 0.5 * values[:, :-1].copy()
    recording = observation(values / np.sqrt(1.25), n_bits)
    model = fit_telescope(recording, seed=1)
    made = lookalike(model, 4 * N_SPECTRA, seed=2)["data"].values
    for count in range(2**n_bits):
        seen = (recording["data"].values == count).mean()
        assert (made == count).mean() == pytest.approx(seen, abs=0.01)
    adjacent = [np.median(np.diag(np.corrcoef(data.T), 1)) for data in (recording["data"].values, made)]
    assert adjacent[1] == pytest.approx(adjacent[0], rel=0.1)


def test_a_recorder_that_levels_its_channels_is_noticed_and_imitated():
    values = white(n_channels=32) + np.asarray(
        lfilter([0.01], [1, -0.999], white(2, n_channels=32), axis=0)
    )
    counts = 96 + 16 * values.reshape(8, 512, 32)
    levelled = np.rint(counts - counts.mean(axis=1, keepdims=True) + 96).reshape(N_SPECTRA, 32)
    assert find_levelling(levelled) == 512
    assert find_levelling(np.rint(counts).reshape(N_SPECTRA, 32)) == 0
    model = fit_telescope(observation((levelled - 96) / 16), seed=1)
    made = lookalike(model, 4 * 512, seed=2)["data"].values.reshape(4, 512, 32).mean(axis=1)
    assert np.abs(made - model.levelling.mean).max() < 5 * 0.29 / np.sqrt(512)


def test_levelling_of_white_noise_is_undone():
    rng = np.random.default_rng(1)
    parts = rng.standard_normal((400, 16, 128))
    levelled = (parts - parts.mean(axis=2, keepdims=True)).reshape(400, 2048)
    power = (np.abs(np.fft.rfft(levelled, axis=1)) ** 2).mean(axis=0) / 2048
    restored = unlevelled(power, 128)[1:]
    # 400 draws: 5 % each; where three quarters are missing, twice that.
    np.testing.assert_allclose(restored, 1, atol=0.5)
    assert restored.mean() == pytest.approx(1, abs=5 * 0.05 / 32)


def test_a_model_comes_back_from_its_file_unchanged(disturbed, tmp_path):
    _, model = disturbed
    again = open_telescope(save_telescope(model, tmp_path / "telescope.nc"))
    assert again.header == replace(model.header, others=())
    xr.testing.assert_identical(again.to_dataset(), model.to_dataset())
    check_units(model.to_dataset())
    first, second = (lookalike(each, 300, seed=4) for each in (model, again))
    xr.testing.assert_identical(first, second)


def test_a_model_without_interference_comes_back_too(tmp_path):
    model = fit_telescope(observation(white(n=512)), seed=1)
    again = open_telescope(save_telescope(model, tmp_path / "telescope.nc"))
    xr.testing.assert_identical(again.to_dataset(), model.to_dataset())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.drop_vars("noise_sigma"), "noise_sigma: missing"),
        (lambda d: d.assign(noise_sigma=-d["noise_sigma"]), "noise_sigma = .*: must be 0 or more"),
        (lambda d: d.assign(noise_level=d["noise_level"] * np.nan), "noise_level: not all values"),
        (lambda d: d.assign(noise_shape=d["noise_shape"].T), "noise_shape: dimensions"),
        (lambda d: d.assign(noise_link=d["noise_link"] + 1000), "noise_link = .*: must be 0 to 63"),
        (lambda d: d.assign_coords(node=d["node"] + 1), "node: other values"),
        (lambda d: d.drop_attrs(), "attribute n_bits: missing"),
        (
            lambda d: d.assign(transmitters_channel=d["transmitters_channel"] + 99),
            "transmitters_channel = .*: must be 0 to 63",
        ),
        (
            lambda d: d.assign(transmitters_transition=2 * d["transmitters_transition"]),
            "transmitters_transition: not probabilities",
        ),
        (
            lambda d: d.isel(mean=slice(1, None)),
            r"transmitters_mean: \d+ values, expected \d+",
        ),
    ],
)
def test_a_damaged_model_is_refused_by_the_name_of_its_field(disturbed, tmp_path, damage, message):
    _, model = disturbed
    save(damage(model.to_dataset()), tmp_path / "telescope.nc")
    with pytest.raises(ValueError, match=rf"telescope\.nc: {message}"):
        open_telescope(tmp_path / "telescope.nc")


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="100 spectra are too few"):
        fit_telescope(observation(white(n=100)), seed=1)
    with pytest.raises(ValueError, match="no channel varies"):
        fit_telescope(observation(np.zeros((512, 8))), seed=1)
    model = fit_telescope(observation(white(n=512, n_channels=8)), seed=1)
    with pytest.raises(ValueError, match="n_spectra = 0: must be 1 or more"):
        lookalike(model, 0, seed=1)


def test_samples_that_are_no_numbers_do_not_change_what_is_fitted_or_compared():
    whole = white(n=2048)
    holes = whole.copy()
    holes[np.random.default_rng(3).random(holes.shape) < 0.02] = np.nan
    holes[500:600, 20:40] = np.inf
    one, other = (observation(values, n_bits=32) for values in (whole, holes))
    fits = [fit_telescope(data, seed=1).noise for data in (one, other)]
    for name in ("level", "sigma"):
        # Of 2048 samples, at most a tenth of which are missing: a level is known to 0.03 either way.
        found, expected = (getattr(fit, name) for fit in fits)
        np.testing.assert_allclose(found, expected, atol=0.1)
    alike, ours = realism(one), realism(other)
    assert (abs(ours["value"] - alike["value"]) <= 3 * np.maximum(alike["error"], 0.01)).all()


def test_a_dead_channel_stays_dead():
    values = white(n=1024, n_channels=16)
    values[:, 5] = 0.0
    made = lookalike(fit_telescope(observation(values), seed=1), 1024, seed=1)["data"].values
    assert np.ptp(made[:, 5]) == 0
    assert (np.delete(made, 5, axis=1).std(axis=0) > 10).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_FILES)
def test_a_lookalike_of_a_real_file_is_within_a_factor_of_one_and_a_half(name):
    path = find_data_file(name)
    if path is None:
        pytest.skip(f"twins data fetch {name}")
    model, real = fit_telescope(path, seed=1), realism(path)
    length = int(real.attrs["segment_spectra"])
    made = realism(lookalike(model, 8 * length, seed=11), segment_spectra=length)
    table = compare(real, made)
    assert np.all(table["factor"] < 1.5), table
