"""A telescope's own samples without its pulses, and look-alikes made of them."""

import sys
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from judges import judge
from pulsar_files import injected
from scipy.signal import lfilter

from physics_twins.data import find_data_file
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.injection import Pulse
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.telescope import (
    LookalikeStream,
    Telescope,
    lookalike,
    match_telescope,
    write_lookalike,
)

statistics = judge("_pulsar_statistics")

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
def disturbed() -> tuple[xr.Dataset, Telescope]:
    """A recording with a bit of everything, and its telescope."""
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
    return recording, match_telescope(recording)


@pytest.fixture(scope="module")
def pulsed() -> tuple[xr.Dataset, xr.Dataset]:
    """White noise, and the same with three pulses of S/N 15 to 60."""
    quiet = observation(white(3))
    pulses = [
        Pulse(0.6 + n, 60.0, fluence, 5.0, scattering_ms=n)
        for n, fluence in enumerate((20.0, 40.0, 80.0))
    ]
    return quiet, injected(quiet, pulses, sefd_jy=100.0, seed=1)[0]


def test_pulses_are_taken_out_and_nothing_else(pulsed):
    quiet, recording = pulsed
    search = SearchParameters()
    assert infer(search, recording).sizes["candidate"] == 3
    telescope = match_telescope(recording, search=search)
    assert telescope.n_pulses == 3
    kept = telescope.counts[0].astype(float)
    assert infer(search, quiet.assign(data=(("time", "frequency"), kept))).sizes["candidate"] == 0
    touched = (kept != recording["data"].values).mean()
    # Three tracks of some 5.5 widths of 5 to 10 ms in each channel.
    assert 0 < touched < 4 * 5.5 * 10 / N_SPECTRA
    bright = (recording["data"].values.astype(float) - quiet["data"].values) > 32  # 2 sigma
    left = kept[bright] - quiet["data"].values[bright]
    assert bright.sum() > 50
    assert abs(left.mean()) < 5 * 16 * np.sqrt(2 / bright.sum())


def test_a_lookalike_of_a_recording_with_pulses_has_none(pulsed):
    telescope = match_telescope(pulsed[1])
    assert (
        infer(SearchParameters(), lookalike(telescope, 3 * N_SPECTRA, seed=2)).sizes["candidate"] == 0
    )


def test_each_round_takes_every_sample_once(disturbed):
    _, telescope = disturbed
    drawn = lookalike(telescope, 3 * N_SPECTRA, seed=4)["drawn"].values
    for one in np.split(drawn, 3):
        assert (np.sort(one) == np.arange(N_SPECTRA)).all()
    # Eight blocks follow each other in a round, and one of them goes on at the start.
    assert (np.diff(drawn) != 1).sum() <= 3 * 9


def test_samples_are_those_of_the_recording_but_for_their_level(disturbed):
    recording, telescope = disturbed
    made = lookalike(telescope, 2 * N_SPECTRA, seed=5)
    apart = made["data"].values.astype(int) - recording["data"].values[made["drawn"].values]
    # The level strays by 0.35 sigma of 16 counts, and is known to 1 count in half a block.
    assert np.abs(apart).max() < 5 * 16 * 0.4
    assert (made["data"].values[(recording["data"].values == 0).all(axis=1)[made["drawn"]]] == 0).all()


def test_a_level_that_drifts_goes_on_where_it_was():
    values = white(n_channels=8) * 0.5
    values += np.linspace(-3, 3, N_SPECTRA)[:, None]
    recording = observation(values)
    made = lookalike(match_telescope(recording), 8 * N_SPECTRA, seed=1)["data"].values.astype(float)
    level = made.reshape(-1, 128, 8).mean(axis=1)
    # 3 counts of drift in 128 spectra, and noise of 8 counts; the level is known from 256 spectra. At a
    # seam there is no step, where blocks themselves are up to 96 counts apart.
    error = np.sqrt(2 * 8**2 / 128 + 2 * (1.2 * 8) ** 2 / 256)
    assert np.abs(np.diff(level, axis=0)).max() < 3 + 3 + 5 * error
    assert np.ptp(level) > 0.8 * 96


def test_a_lookalike_has_the_recordings_statistics(disturbed):
    recording, telescope = disturbed
    real = statistics.realism(recording)
    made = statistics.realism(lookalike(telescope, 12 * N_SPECTRA, seed=5), segment_spectra=N_SPECTRA)
    table = statistics.compare(real, made)
    apart = np.abs(table["real"] - table["synthetic"])
    allowed = 5 * np.hypot(table["real_error"], table["synthetic_error"]) + 0.02 * table["real"]
    assert np.all(apart[1:] <= allowed[1:]), table
    assert abs(table["real"].iloc[0] - table["synthetic"].iloc[0]) <= 2 / N_CHANNELS


def test_a_stream_does_not_depend_on_how_it_is_cut(disturbed):
    _, telescope = disturbed
    whole = lookalike(telescope, 3000, seed=9)["data"].values
    stream = LookalikeStream(telescope, seed=9)
    parts = [stream.read(n)[0] for n in (1, 999, 17, 1983)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_seeds_give_different_lookalikes_and_one_seed_the_same(disturbed):
    _, telescope = disturbed
    first, again, other = (lookalike(telescope, 512, seed=seed)["data"].values for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9
    np.testing.assert_array_equal(lookalike(telescope, 1024, seed=1)["data"].values[:512], first)


def test_a_file_of_lookalikes_is_written_block_by_block(disturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[lookalike.__module__], "BLOCK_SAMPLES", 1000 * N_CHANNELS)
    _, telescope = disturbed
    path = write_lookalike(telescope, tmp_path / "a.fil", 2500, seed=3)
    with open_observation(path) as file:
        assert file.header.sampling_time_s == 1e-3
        np.testing.assert_array_equal(file.read(0, 2500), lookalike(telescope, 2500, seed=3)["data"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_lookalike(disturbed):
    _, telescope = disturbed
    stream = LookalikeStream(telescope, seed=1)
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
    made = lookalike(match_telescope(recording), 4 * N_SPECTRA, seed=2)["data"].values
    for count in range(2**n_bits):
        seen = (recording["data"].values == count).mean()
        assert (made == count).mean() == pytest.approx(seen, abs=0.01)
    adjacent = [np.median(np.diag(np.corrcoef(data.T), 1)) for data in (recording["data"].values, made)]
    assert adjacent[1] == pytest.approx(adjacent[0], rel=0.1)


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(ValueError, match="100 spectra are too few"):
        match_telescope(observation(white(n=100)))
    with pytest.raises(ValueError, match="no channel varies"):
        match_telescope(observation(np.zeros((512, 8))))
    telescope = match_telescope(observation(white(n=512, n_channels=8)))
    with pytest.raises(ValueError, match="n_spectra = 0: must be 1 or more"):
        lookalike(telescope, 0, seed=1)


def test_samples_that_are_no_numbers_are_replaced_by_noise():
    holes = white(n=2048)
    holes[np.random.default_rng(3).random(holes.shape) < 0.02] = np.nan
    holes[500:600, 20:40] = np.inf
    telescope = match_telescope(observation(holes, n_bits=32))
    made = lookalike(telescope, 4096, seed=1)["data"].values
    assert np.isfinite(made).all()
    np.testing.assert_allclose(made.std(axis=0), 1, atol=5 / np.sqrt(2 * 2048) + 0.02)


def test_a_dead_channel_stays_dead():
    values = white(n=1024, n_channels=16)
    values[:, 5] = 0.0
    made = lookalike(match_telescope(observation(values)), 1024, seed=1)["data"].values
    assert np.ptp(made[:, 5]) == 0
    assert (np.delete(made, 5, axis=1).std(axis=0) > 10).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_FILES)
def test_a_lookalike_of_a_real_file_has_its_statistics(name):
    path = find_data_file(name)
    if path is None:
        pytest.skip(f"twins data fetch {name}")
    telescope, real = match_telescope(path), statistics.realism(path)
    length = int(real.attrs["segment_spectra"])
    made = lookalike(telescope, 8 * length, seed=11)
    table = statistics.compare(real, statistics.realism(made, segment_spectra=length))
    assert np.all(table["factor"] < 1.5), table
