"""Pulses put into recordings: their fluence, what the digitiser leaves of them, and the ideal S/N."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pulsar_files import injected

from physics_twins.data import find_data_file
from physics_twins.pulsar.files import open_observation, write_dataset
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.infer import candidate_table, infer
from physics_twins.pulsar.injection import (
    Calibration,
    Pulse,
    calibrate_spectra,
    inject_file,
    redigitise,
    track,
)
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.telescope import quiet_noise

HEADER = FilterbankHeader(64, 8, 1500.0, -4.0, 2.56e-4)
N_SPECTRA = 4096
PULSE = Pulse(time_s=0.2, dm_pc_cm3=50.0, fluence_jy_ms=4.0, width_ms=1.0, scattering_ms=0.5)
SEFD_JY = 20.0


def noise(
    seed: int = 1, *, n_bits: int = 8, sigma: float = 16.0, level: float = 96.0, n: int = N_SPECTRA
) -> xr.Dataset:
    """Gaussian noise, digitised."""
    values = np.random.default_rng(seed).normal(level, sigma, (n, HEADER.n_channels))
    if n_bits < 32:
        values = np.rint(values).clip(0, 2**n_bits - 1).astype(np.uint16 if n_bits == 16 else np.uint8)
    return xr.Dataset(
        {"data": (("time", "frequency"), values, {"units": "counts"})},
        coords={
            "time": ("time", np.arange(n) * HEADER.sampling_time_s, {"units": "s"}),
            "frequency": ("frequency", HEADER.frequency_mhz, {"units": "MHz"}),
        },
        attrs={"n_bits": n_bits, "sampling_time_s": HEADER.sampling_time_s},
    )


def with_pulse(
    observation: xr.Dataset, pulse: Pulse = PULSE, **options
) -> tuple[np.ndarray, dict[str, float]]:
    """What was added to each sample, and the truth about the pulse."""
    options = {"sefd_jy": SEFD_JY, "seed": 3} | options
    made, truth = injected(observation, [pulse], **options)
    return made["data"].values.astype(float) - observation["data"].values, truth.to_dict("records")[0]


def calibrated(observation: xr.Dataset) -> Calibration:
    with open_spectra(observation) as spectra:
        return calibrate_spectra(spectra, sefd_jy=SEFD_JY)


def test_the_radiometer_equation_says_what_a_count_is_worth():
    calibration = calibrated(noise())
    # Two polarisations of 4 MHz for 256 us: 2048 independent values.
    np.testing.assert_allclose(calibration.sigma_jy, SEFD_JY / np.sqrt(2048))
    # The median of two parts of 2048 spectra: sigma is known to 1.6 %, times 1.2 for the cut core.
    np.testing.assert_allclose(calibration.sigma, 16, rtol=5 * 0.02)


def test_the_fluence_put_in_is_that_found_by_summing():
    observation = noise()
    added, _ = with_pulse(observation)
    counts_per_jy = calibrated(observation).counts_per_jy
    fluence_jy_ms = added.sum(axis=0) / counts_per_jy * HEADER.sampling_time_s * 1e3
    # Each changed sample is rounded, 0.29 counts: about 50 of them in a channel.
    error = 0.29 * np.sqrt(50) / counts_per_jy.mean() * HEADER.sampling_time_s * 1e3
    assert fluence_jy_ms.mean() == pytest.approx(4.0, abs=5 * error / 8 + 4e-4 * 4)
    assert np.abs(fluence_jy_ms - 4.0).max() < 5 * error


def test_samples_that_no_pulse_reaches_stay_what_they_are():
    observation = noise()
    added, _ = with_pulse(observation)
    reached = track(PULSE, HEADER, np.ones(HEADER.n_channels))
    row, channel, _ = reached.within(0, N_SPECTRA)
    added[row, channel] = 0
    assert not added.any()


def test_a_pulse_far_weaker_than_a_count_is_neither_lost_nor_rounded_up():
    rng = np.random.default_rng(5)
    counts = np.rint(rng.normal(96, 16, (4000, 50))).astype(np.uint8)
    signal = np.full(counts.shape, 0.01, dtype=np.float32)
    level, sigma = np.full(50, 96.0), np.full(50, 16.0)
    change = redigitise(counts, signal, level, sigma, 8, rng).astype(float) - counts
    assert set(np.unique(change)) <= {0.0, 1.0}
    assert change.mean() == pytest.approx(0.01, abs=5 * 0.1 / np.sqrt(counts.size))


@pytest.mark.parametrize(("n_bits", "sigma", "level"), [(1, 0.5, 0.6), (2, 1.0, 1.5), (4, 3.0, 6.7)])
def test_noise_digitised_again_with_a_signal_is_as_if_the_signal_had_been_there(n_bits, sigma, level):
    rng = np.random.default_rng(2)
    before = rng.normal(level, sigma, (40000, 4))
    highest, signal = 2**n_bits - 1, 0.3
    counts = np.rint(before).clip(0, highest).astype(np.uint8)
    expected = np.rint(rng.normal(level + signal, sigma, before.shape)).clip(0, highest)
    columns = np.full(4, level), np.full(4, sigma)
    added = np.full(before.shape, signal, dtype=np.float32)
    new = redigitise(counts, added, *columns, n_bits, rng)
    for count in range(highest + 1):
        error = np.sqrt(2 * 0.25 / before.size)
        assert (new == count).mean() == pytest.approx((expected == count).mean(), abs=5 * error)


@pytest.mark.parametrize(("n_bits", "sigma", "level"), [(1, 0.5, 0.4), (2, 1.0, 1.5), (4, 3.0, 6.7)])
def test_level_and_width_of_coarsely_digitised_noise_are_recovered(n_bits, sigma, level):
    counts = noise(n_bits=n_bits, sigma=sigma, level=level)["data"].values
    _, found_level, found_sigma = quiet_noise(counts, n_bits)
    # One bit tells only how many sigma the level is from the step: sigma 1/2 is taken.
    error = sigma / np.sqrt(N_SPECTRA) * np.sqrt(np.pi / 2)
    assert np.abs(found_level - level).max() < 5 * error
    assert np.abs(found_sigma - sigma).max() < 5 * error


def test_the_ideal_snr_is_what_a_matched_filter_finds_on_average():
    weak = replace(PULSE, fluence_jy_ms=1.0)
    found, stated = [], []
    for seed in range(30):
        observation = noise(seed, n=2048)
        made, truth = injected(observation, [weak], sefd_jy=SEFD_JY, seed=seed)
        calibration = calibrated(observation)
        row, channel, counts = track(weak, HEADER, calibration.counts_per_jy).within(0, 2048)
        weight = counts / 16.0**2  # the true width of the noise
        excess = made["data"].values[row, channel] - 96.0
        found.append(np.sum(weight * excess) / np.sqrt(np.sum(weight * counts)))
        stated.append(truth["snr_ideal"][0])
    # The noise of a matched filter's S/N is 1.
    assert np.mean(found) == pytest.approx(np.mean(stated), abs=5 / np.sqrt(30))
    assert np.mean(stated) > 7
    assert np.std(found) == pytest.approx(1, abs=5 / np.sqrt(60))


def test_the_ideal_snr_grows_with_fluence_and_falls_with_the_noise():
    twice = replace(PULSE, fluence_jy_ms=8.0)
    snr = with_pulse(noise())[1]["snr_ideal"]
    assert with_pulse(noise(), twice)[1]["snr_ideal"] == pytest.approx(2 * snr)
    assert with_pulse(noise(), sefd_jy=2 * SEFD_JY)[1]["snr_ideal"] == pytest.approx(snr / 2)
    # An amplifier after the receiver changes nothing.
    louder = with_pulse(noise(sigma=24.0, level=120.0))[1]["snr_ideal"]
    assert louder == pytest.approx(snr, rel=0.01)


def test_saturation_takes_fluence():
    bright = replace(PULSE, fluence_jy_ms=400.0)
    added, _ = with_pulse(noise(), bright)
    assert (noise()["data"].values + added).max() == 255
    floating, _ = with_pulse(noise(n_bits=32), bright)
    assert added.sum() < 0.5 * floating.sum()
    wanted = track(bright, HEADER, calibrated(noise(n_bits=32)).counts_per_jy).values.sum()
    assert floating.sum() == pytest.approx(wanted, rel=1e-3)


def test_pulses_that_meet_add_up():
    weak = replace(PULSE, fluence_jy_ms=1.0)
    both, truth = injected(noise(), [weak, weak], sefd_jy=SEFD_JY, seed=1)
    assert len(truth) == 2
    added = both["data"].values.astype(float) - noise()["data"].values
    assert added.sum() == pytest.approx(2 * with_pulse(noise(), weak)[0].sum(), rel=0.02)


@pytest.mark.parametrize("name", ["a.fil", "a.fits"])
def test_a_file_is_the_same_in_whatever_blocks_and_format_it_is_made(tmp_path, name, monkeypatch):
    expected, truth = injected(noise(), [PULSE], sefd_jy=SEFD_JY, seed=3)
    monkeypatch.setattr("physics_twins.pulsar.injection.BLOCK_SAMPLES", 64 * 700)
    write_dataset(noise(), tmp_path / "in.fil")
    again = inject_file(tmp_path / "in.fil", tmp_path / name, [PULSE], sefd_jy=SEFD_JY, seed=3)
    with open_observation(tmp_path / name) as file:
        np.testing.assert_array_equal(file.read(0, N_SPECTRA), expected["data"])
    pd.testing.assert_frame_equal(again, truth)
    written = pd.read_csv(tmp_path / name.replace(name[1:], ".pulses.csv"))
    pd.testing.assert_frame_equal(written, truth)


def test_a_file_keeps_its_header_and_the_order_of_its_channels(tmp_path):
    rising = noise().isel(frequency=slice(None, None, -1))
    write_dataset(rising, tmp_path / "in.fil")
    inject_file(tmp_path / "in.fil", tmp_path / "out.fil", [PULSE], sefd_jy=SEFD_JY, seed=3)
    falling, _ = injected(noise(), [PULSE], sefd_jy=SEFD_JY, seed=3)
    with (
        open_observation(tmp_path / "in.fil") as before,
        open_observation(tmp_path / "out.fil") as after,
    ):
        assert after.header == before.header
        np.testing.assert_array_equal(after.read(0, N_SPECTRA)[:, ::-1], falling["data"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"time_s": 1.03},
            r"pulse 0: its track from 1\.02\d* to 1\.0[78]\d* s does not fit .* lasts 1\.049 s",
        ),
        ({"time_s": 0.0}, "pulse 0: its track from -0"),
        ({"dm_pc_cm3": -1.0}, "pulse 0: dm_pc_cm3 = -1 pc cm-3: must be 0 or more"),
        ({"fluence_jy_ms": 0.0}, "pulse 0: fluence_jy_ms = 0 Jy ms: must be more than 0"),
        ({"width_ms": np.nan}, "pulse 0: width_ms = nan ms: must be more than 0"),
    ],
)
def test_an_impossible_pulse_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        injected(noise(), [replace(PULSE, **changes)], sefd_jy=SEFD_JY, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sefd_jy": 0.0}, "sefd_jy = 0 Jy: must be positive"),
        ({"sefd_jy": np.nan}, "sefd_jy = nan Jy: must be positive"),
    ],
)
def test_wrong_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        injected(noise(), [PULSE], **({"sefd_jy": SEFD_JY, "seed": 1} | options))


def test_a_file_is_not_overwritten_by_itself(tmp_path):
    write_dataset(noise(), tmp_path / "in.fil")
    with pytest.raises(ValueError, match="choose another name"):
        inject_file(tmp_path / "in.fil", tmp_path / "in.fil", [PULSE], sefd_jy=SEFD_JY, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dm_pc_cm3", "sefd_jy", "fluence_jy_ms"),
    [("askap_frb_28", 300.0, 2000.0, 80.0), ("parkes_8bit_1", 60.0, 30.0, 0.5)],
)
def test_a_search_finds_pulses_put_into_a_real_file(tmp_path, name, dm_pc_cm3, sefd_jy, fluence_jy_ms):
    path = find_data_file(f"pulsar/{name}.fil")
    if path is None:
        pytest.skip(f"twins data fetch pulsar/{name}.fil")
    pulses = [Pulse(time_s, dm_pc_cm3, fluence_jy_ms, 3.0) for time_s in (0.2, 0.7, 1.2)]
    truth = inject_file(path, tmp_path / "out.fil", pulses, sefd_jy=sefd_jy, seed=1)
    assert truth["snr_ideal"].to_numpy().min() > 12
    search = SearchParameters(dm_min_pc_cm3=dm_pc_cm3 - 20, dm_max_pc_cm3=dm_pc_cm3 + 20)
    table = candidate_table(infer(search, tmp_path / "out.fil"))
    of_pulses = (table["label"] == "pulse") & (abs(table["dm_pc_cm3"] - dm_pc_cm3) < 5)
    found_s = table["time_s"].to_numpy()[of_pulses.to_numpy()]
    for pulse in pulses:
        assert np.abs(found_s - pulse.time_s).min() < 0.005
