"""The search: cleaning, candidates, labels, blocks, real files."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from real_files import real_file

from physics_twins import runs
from physics_twins.parameters import ParameterError
from physics_twins.pulsar.evaluate import evaluate
from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter, write_dataset
from physics_twins.pulsar.infer import candidate_table, infer, split_blocks
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.physics.ism import Band, dispersion_delay
from physics_twins.pulsar.searching.cleaning import clean
from physics_twins.pulsar.searching.search import strongest_first
from physics_twins.pulsar.simulate import simulate

OBSERVATION = ObservationParameters(n_channels=64, duration_s=2.0)
SEARCH = SearchParameters(dm_min_pc_cm3=30.0, dm_max_pc_cm3=80.0, dm_loss=0.1)
BAND = Band(np.linspace(1527.5, 1212.5, 64), 102.4e-6)


@pytest.fixture(scope="module")
def observation() -> xr.Dataset:
    return simulate(OBSERVATION, seed=11)


@pytest.fixture(scope="module")
def result(observation) -> xr.Dataset:
    return infer(SEARCH, observation)


def test_every_pulse_above_ideal_snr_9_is_found_and_none_invented(observation, result):
    scores = evaluate(observation, result)
    sought = scores.where(scores["complete"] & (scores["pulse_snr_ideal"] >= 9), drop=True)
    assert sought.sizes["pulse"] >= 5
    assert np.isfinite(sought["snr"]).all()
    assert np.abs(sought["dm_error_pc_cm3"]).max() < 1
    assert np.abs(sought["time_error_s"]).max() < 1e-3
    assert int(scores["n_false"]) == 0


def test_candidates_at_random_match_no_pulse(observation, result):
    rng = np.random.default_rng(1)
    n = 2000
    drawn = {
        "dm_pc_cm3": rng.uniform(30, 80, n),
        "time_s": rng.uniform(0, 2, n),
        "width_s": np.full(n, 2e-3),
        "snr": np.full(n, 10.0),
    }
    columns = {name: ("candidate", values) for name, values in drawn.items()}
    random = xr.Dataset(columns | {"label": ("candidate", ["pulse"] * n)}, attrs=result.attrs)
    matched = evaluate(observation, random)["matched"].values >= 0
    # 20 pulses of 2 s, 2 ms either way: 4 %; 2 ms are 1.9 pc cm-3 either way of 50: 8 %.
    assert matched.mean() < 0.01


def test_a_pulse_told_twice_is_invented_once(observation, result):
    twice = xr.concat([result[["snr", "time_s", "dm_pc_cm3", "width_s", "label"]]] * 2, "candidate")
    once = evaluate(observation, result)
    again = evaluate(observation, twice)
    assert int(again["n_false"]) == int((once["matched"] >= 0).sum()) > 0
    np.testing.assert_array_equal(again["snr"], once["snr"])


def test_a_boxcar_finds_the_snr_that_theory_gives_it():
    # The best boxcar keeps 0.943 of a Gaussian's matched-filter S/N, trials of DM and width less.
    quiet = OBSERVATION.replace(carrier_rate_hz=0.0, impulse_rate_hz=0.0, fluence_jy_ms=2.0)
    ratio = []
    for seed in (1, 2, 3):
        observation = simulate(quiet, seed=seed)
        scores = evaluate(observation, infer(SEARCH, observation))
        ratio.extend((scores["snr"] / scores["pulse_snr_ideal"]).values[scores["complete"].values])
    assert np.mean(ratio) == pytest.approx(0.93, abs=0.03)


def test_interference_does_not_cost_snr(observation, result):
    quiet = simulate(OBSERVATION.replace(carrier_rate_hz=0.0, impulse_rate_hz=0.0), seed=11)
    with_rfi, without = evaluate(observation, result), evaluate(quiet, infer(SEARCH, quiet))
    both = np.isfinite(with_rfi["snr"]) & np.isfinite(without["snr"])
    ratio = (with_rfi["snr"] / without["snr"]).values[both.values]
    assert len(ratio) >= 5
    assert ratio.mean() > 0.93


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_in_interference_without_pulses(seed):
    storm = OBSERVATION.replace(
        fluence_jy_ms=0.0, carrier_rate_hz=5.0, impulse_rate_hz=10.0, impulse_jy=20.0, carrier_jy=20.0
    )
    result = infer(SEARCH, simulate(storm, seed=seed))
    assert "pulse" not in result["label"].values


def test_an_impulse_that_is_left_in_is_never_surely_a_pulse(observation):
    # With a lowest DM near zero an impulse too weak to be removed becomes a candidate. Its DM sweeps
    # over less than its own length, so that a pulse explains it about as well.
    quiet = OBSERVATION.replace(fluence_jy_ms=0.0, carrier_rate_hz=0.0, impulse_rate_hz=0.0)
    search = SearchParameters(dm_min_pc_cm3=0.5, dm_max_pc_cm3=20.0, snr_min=5.5)
    n_found = 0
    for seed in range(4, 10):
        observation = simulate(quiet.replace(n_bits=32, duration_s=1.0), seed=seed)
        observation["data"][5000:5012] += 0.25
        table = candidate_table(infer(search, observation))
        found = table[np.abs(table["time_s"] - 5005.5 * 102.4e-6) < 2e-3]
        assert (found["probability"][found["label"] == "pulse"] < 0.8).all()
        n_found += len(found)
    assert n_found >= 2


def test_blocks_cover_every_spectrum_once():
    search = SEARCH.replace(block_s=0.5)
    for n_spectra in (1, 100, 5000, 10000, 123_457):
        blocks = list(split_blocks(n_spectra, BAND, search))
        assert blocks[0].start == 0
        assert sum(b.n_core for b in blocks) == n_spectra
        assert all(a.start + a.n_core == b.start for a, b in pairwise(blocks))
        assert all(b.start + b.n_read <= n_spectra for b in blocks)


def test_a_search_in_blocks_finds_what_a_search_of_the_whole_finds(observation, result):
    in_blocks = infer(SEARCH.replace(block_s=0.4), observation)
    scores, whole = evaluate(observation, in_blocks), evaluate(observation, result)
    bright = whole["snr"].values > 8
    assert np.isfinite(scores["snr"].values[bright]).all()
    assert int(scores["n_false"]) == 0
    np.testing.assert_allclose(scores["snr"].values[bright], whole["snr"].values[bright], rtol=0.15)


def test_a_file_gives_the_same_candidates_as_its_dataset(observation, result, tmp_path):
    write_dataset(observation, tmp_path / "a.fil")
    xr.testing.assert_equal(infer(SEARCH, tmp_path / "a.fil"), result)


def test_the_order_of_the_channels_does_not_matter(observation, result, tmp_path):
    write_dataset(observation.isel(frequency=slice(None, None, -1)), tmp_path / "a.fil")
    xr.testing.assert_allclose(infer(SEARCH, tmp_path / "a.fil"), result)


def test_a_client_gives_the_same_result(observation, result, tmp_path):
    from physics_twins.clusters import connect

    write_dataset(observation, tmp_path / "a.fil")
    with connect("threads") as client:
        for data in (observation, tmp_path / "a.fil"):
            xr.testing.assert_equal(infer(SEARCH, data, client=client), result)


def test_an_observation_shorter_than_the_sweep_gives_no_candidate_and_no_error():
    observation = simulate(OBSERVATION.replace(duration_s=0.05), seed=1)
    result = infer(SearchParameters(dm_max_pc_cm3=3000.0, dm_min_pc_cm3=2000.0), observation)
    assert result.sizes["candidate"] == 0


@pytest.mark.parametrize(
    ("n_channels", "n_spectra", "message"),
    [(16, 0, r"a\.fil: data: holds no spectra"), (1, 100, r"a\.fil: n_channels = 1")],
)
def test_a_file_that_cannot_be_searched_is_refused_by_name(tmp_path, n_channels, n_spectra, message):
    header = FilterbankHeader(n_channels, 8, 1500.0, -1.0, 1e-3)
    with FilterbankWriter(tmp_path / "a.fil", header) as file:
        file.write(np.zeros((n_spectra, n_channels), dtype=np.uint8))
    with pytest.raises(ValueError, match=message):
        infer(SEARCH, tmp_path / "a.fil")


def test_a_constant_file_gives_no_candidate_and_no_error(observation):
    flat = observation.assign(data=observation["data"] * 0 + 7)
    assert infer(SEARCH, flat).sizes["candidate"] == 0


def test_dead_and_disturbed_channels_are_removed(observation):
    data = observation["data"].values.astype(np.float32)
    rng = np.random.default_rng(0)
    data[:, 5] = 3
    data[:, 20] += 20 * np.repeat(rng.normal(size=len(data) // 50 + 1), 50)[: len(data)]
    cleaned = clean(data, delays=30.0 * np.arange(data.shape[1]))
    assert cleaned.bad_channel[5]
    assert cleaned.bad_channel[20]
    assert cleaned.bad_channel.sum() <= 4


def test_clean_noise_is_left_alone():
    quiet = OBSERVATION.replace(fluence_jy_ms=0.0, carrier_rate_hz=0.0, impulse_rate_hz=0.0)
    data = simulate(quiet, seed=3)["data"].values
    cleaned = clean(data, delays=30.0 * np.arange(data.shape[1]))
    assert not cleaned.bad_channel.any()
    assert cleaned.narrowband.mean() < 1e-3
    assert not cleaned.broadband.any()
    np.testing.assert_allclose(cleaned.data.std(axis=1), 1, atol=0.02)


def test_a_weaker_detection_of_the_same_pulse_joins_the_stronger():
    delay = BAND.delay_s_per_dm
    # The same pulse at a DM too high by 5: it seems to start earlier, and is weaker.
    dm = np.array([56.8, 61.8, 56.8])
    time_s = np.array([1.0, 1.0 - 2.5 * delay, 1.5])
    snr = np.array([20.0, 8.0, 9.0])
    assert strongest_first(dm, time_s, np.full(3, 1e-3), snr, delay) == [0, 2]


def test_a_weak_impulse_does_not_hide_a_pulse_whose_track_it_crosses():
    delay = BAND.delay_s_per_dm
    dm, time_s = np.array([0.5, 56.8]), np.array([1.02, 1.0])
    strongest = strongest_first(dm, time_s, np.full(2, 1e-3), np.array([12.0, 10.0]), delay)
    assert strongest == [0, 1]


def test_as_many_pulses_as_there_are_are_told():
    # Three thousand, each with detections at neighbouring DMs, and one of another source.
    delay, n = BAND.delay_s_per_dm, 3000
    dm = np.concatenate([np.tile([56.8, 57.8, 55.8], n), [75.0]])
    time_s = np.concatenate([np.repeat(0.1 * np.arange(n), 3), [150.05]])
    snr = np.concatenate([np.tile([15.0, 9.0, 8.0], n), [8.0]])
    strongest = strongest_first(dm, time_s, np.full(len(dm), 2e-3), snr, delay)
    assert strongest == [*range(0, 3 * n, 3), 3 * n]


@pytest.mark.parametrize("n_spectra", [100, 200, 1000])
def test_a_file_shorter_than_the_widest_boxcar_is_searched_with_what_fits(n_spectra):
    frequency_mhz = 1500.0 - 300 / 256 * np.arange(256)
    time_s = np.arange(n_spectra) * 256e-6
    delay_s = dispersion_delay(frequency_mhz, 12.0, reference_mhz=1500.0)
    pulse = np.exp(-0.5 * ((time_s[:, None] - 8e-3 - delay_s) / 0.4e-3) ** 2)
    noise = np.random.default_rng(1).normal(size=pulse.shape)
    counts = np.rint(96 + 12 * (noise + 20 * pulse / np.sqrt((pulse**2).sum())))
    data = xr.Dataset(
        {"data": (("time", "frequency"), counts.astype("u1"), {"units": "counts"})},
        {"time": ("time", time_s), "frequency": ("frequency", frequency_mhz)},
        {"sampling_time_s": 256e-6},
    )
    found = infer(SearchParameters(width_max_ms=1000.0), data)
    assert found["label"].values[0] == "pulse"
    # Noise that so few spectra tell is known to a tenth.
    assert found["snr"].values[0] == pytest.approx(19.0, rel=0.1 if n_spectra == 1000 else 0.25)
    assert found["time_s"].values[0] == pytest.approx(8e-3, abs=1e-3)


def test_no_dm_outside_the_range_is_told():
    observation = simulate(OBSERVATION.replace(dm_pc_cm3=49.9, fluence_jy_ms=2.0), seed=4)
    found = infer(SEARCH.replace(dm_min_pc_cm3=50.0, dm_max_pc_cm3=50.2), observation)
    assert found.sizes["candidate"] > 3
    assert found["dm_pc_cm3"].min() >= 50.0
    assert found["dm_pc_cm3"].max() <= 50.2


def test_what_a_labelling_would_refuse_is_refused_before_the_search():
    notebook = runs.notebook("pulsar/4_infer")
    for width_ms in (0.2, 250.0, 1000.0):
        assert notebook.check({"width_max_ms": width_ms})["width_max_ms"] == width_ms
    with pytest.raises(ParameterError, match="frame_spectra = 72 must be a multiple of 16"):
        notebook.check({"frame_spectra": 72})


def test_the_real_burst_is_found_and_nothing_else():
    result = infer(SearchParameters(dm_max_pc_cm3=600.0), str(real_file("pulsar/askap_frb_28.fil")))
    table = candidate_table(result)
    bright = table[(table["label"] == "pulse") & (table["snr"] > 8)]
    assert len(bright) == 1
    assert bright["snr"].iloc[0] >= 15
    assert bright["dm_pc_cm3"].iloc[0] == pytest.approx(475.5, abs=2)
    assert bright["time_s"].iloc[0] == pytest.approx(2.028, abs=0.005)
    assert bright["probability"].iloc[0] > 0.99


def test_real_interference_is_not_taken_for_a_pulse():
    result = infer(SearchParameters(dm_max_pc_cm3=100.0), str(real_file("pulsar/parkes_8bit_1.fil")))
    assert "pulse" not in result["label"].values


def recording(snr: float, width_ms: float, dm: float, *, impulse: float = 0.0) -> xr.Dataset:
    """ASKAP's band and sampling, 8 bits, with one dispersed Gaussian pulse, or an impulse, at 2 s."""
    frequency_mhz, sampling_s = 1465.0 - np.arange(336.0), 1.266e-3
    time_s = np.arange(4096) * sampling_s
    delay_s = 4148.808 * dm * (frequency_mhz**-2 - frequency_mhz[0] ** -2)
    pulse = np.exp(-0.5 * ((time_s[:, None] - 2.0 - delay_s) / (1e-3 * width_ms / 2.3548)) ** 2)
    noise = np.random.default_rng(5).normal(size=pulse.shape)
    noise[1579:1583] += impulse / np.sqrt(4 * 336)
    counts = np.rint(64 + 8 * (noise + snr * pulse / np.sqrt((pulse**2).sum()))).clip(0, 255)
    return xr.Dataset(
        {"data": (("time", "frequency"), counts.astype(np.uint8), {"units": "counts"})},
        {"time": ("time", time_s), "frequency": ("frequency", frequency_mhz)},
        {"sampling_time_s": sampling_s},
    )


ASKAP_SEARCH = SearchParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)


@pytest.mark.parametrize(("width_ms", "dm"), [(2.0, 68.0), (10.0, 68.0), (20.0, 40.0)])
@pytest.mark.parametrize("snr", [20.0, 40.0, 150.0, 300.0])
def test_a_pulse_is_not_lost_because_it_is_bright(snr, width_ms, dm):
    found = infer(ASKAP_SEARCH, recording(snr, width_ms, dm))
    strongest = int(found["snr"].values.argmax())
    assert str(found["label"].values[strongest]) == "pulse"
    assert float(found["time_s"][strongest]) == pytest.approx(2.0, abs=0.02)
    # A boxcar has 0.943 of the matched filter; samples as long as the pulse cost more.
    assert float(found["snr"][strongest]) > 0.8 * snr


@pytest.mark.parametrize("impulse", [20.0, 40.0, 150.0])
def test_an_impulse_of_the_whole_band_is_still_none(impulse):
    data = recording(0.0, 2.0, 68.0, impulse=impulse)
    found = infer(ASKAP_SEARCH, data)
    assert "pulse" not in found["label"].values
    removed = clean(data["data"].values, delays=np.linspace(0, 120, 336)).broadband
    assert removed[1579:1583].all()
    assert removed.sum() < 40
