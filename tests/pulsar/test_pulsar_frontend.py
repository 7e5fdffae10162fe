"""The front end: what a stream of spectra shows, frame by frame."""

import numpy as np
import pytest
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import Band, dispersion_delay
from physics_twins.pulsar.searching import dm_plane
from physics_twins.pulsar.searching.cells import (
    UNIT,
    measure_cells,
    normalise_into,
    normalised,
    normalised_shape,
)
from physics_twins.pulsar.searching.frontend import SCALARS, Frames, FrontEnd
from physics_twins.pulsar.searching.impulses import find_impulses
from physics_twins.pulsar.verb_parameters import LabelParameters

SAMPLING_S = 102.4e-6
FREQUENCY_MHZ = np.linspace(1529.375, 1210.625, 256)
N_FRAMES = 24
FRAME = 256


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(Band(FREQUENCY_MHZ, SAMPLING_S), LabelParameters())


def noise(front_end: FrontEnd, seed: int) -> NDArray[np.float32]:
    n = front_end.n_before + N_FRAMES * FRAME + front_end.n_after
    return np.random.default_rng(seed).standard_normal((n, 256), dtype=np.float32)


def add_pulse(spectra: NDArray[np.float32], first: float, dm: float, snr: float, sigma: float) -> None:
    delay = dispersion_delay(FREQUENCY_MHZ, dm, reference_mhz=FREQUENCY_MHZ[0]) / SAMPLING_S
    peak = snr / np.sqrt(256 * np.sqrt(np.pi) * sigma)
    time = np.arange(len(spectra))[:, None]
    spectra += (peak * np.exp(-0.5 * ((time - first - delay) / sigma) ** 2)).astype(np.float32)


def recorded(spectra: NDArray[np.float32]) -> NDArray[np.uint8]:
    """8-bit counts behind a bandpass."""
    gain = 1 + 0.3 * np.cos(np.arange(256) / 20)
    return np.clip(np.rint(96 + 16 * spectra * gain), 0, 255).astype(np.uint8)


def look(front_end: FrontEnd, counts: NDArray[np.uint8]) -> Frames:
    return front_end(counts, n_before=front_end.n_before, n_frames=N_FRAMES)


@pytest.mark.parametrize("snr", [12.0, 40.0])
@pytest.mark.parametrize(("dm", "sigma"), [(42.0, 1.8), (56.7, 3.0), (71.0, 12.0)])
def test_a_pulse_is_found_in_its_frame_with_its_snr_dm_and_time(
    front_end: FrontEnd, dm: float, sigma: float, snr: float
):
    spectra = noise(front_end, 1)
    add_pulse(spectra, front_end.n_before + 5 * FRAME + 100, dm, snr, sigma)
    found = look(front_end, recorded(spectra))
    # Unit noise, and a few per cent are lost between trials of DM and width.
    assert found.snr[5] == pytest.approx(0.97 * snr, abs=3 + 0.05 * snr)
    width_ms = sigma * 2.355 * SAMPLING_S * 1e3
    assert found.dm_pc_cm3[5] == pytest.approx(dm, abs=1 + width_ms * 6 / snr)
    assert found.sample[5] == pytest.approx(5 * FRAME + 100, abs=3 + 8 * sigma / snr * 6)
    assert 5 in found.gated
    assert found.snr.argmax() == 5


def test_every_frame_of_noise_looks_like_noise(front_end: FrontEnd):
    found = look(front_end, recorded(noise(front_end, 2)))
    column = dict(zip(SCALARS, found.scalars.T, strict=True))
    assert (found.snr < 6).all()
    assert column["removed_fraction"].max() < 1e-3
    assert column["impulse_fraction"].max() == 0
    assert len(found.gated) < N_FRAMES / 2
    assert (column["shadow_snr"] == 0).all()
    # 24 frames of 4096 cells: their scatter is known to about one per cent.
    assert column["scatter"] == pytest.approx(1.0, abs=0.05)


def test_the_stack_holds_the_pulse_in_every_subband(front_end: FrontEnd):
    spectra = noise(front_end, 3)
    add_pulse(spectra, front_end.n_before + 7 * FRAME + 128, 56.7, 60.0, 2.0)
    found = look(front_end, recorded(spectra))
    stack = found.stacks[list(found.gated).index(7)]
    on = stack[:, 61:68].sum(axis=1) / np.sqrt(7)
    assert (on > 3).all()  # 60 / sqrt(32) = 10.6, a third of it lost to the edges of the bins
    off = np.delete(stack, range(50, 79), axis=1)
    assert off.std() == pytest.approx(1.0, abs=0.08)  # some 3000 values
    assert found.present[list(found.gated).index(7)].min() > 0.95


def test_a_transmitter_is_removed_and_shows_in_the_boxes(front_end: FrontEnd):
    spectra = noise(front_end, 4)
    first = front_end.n_before + 3 * FRAME + 40
    spectra[first : first + 150, 80:82] += 3.0
    found = look(front_end, recorded(spectra))
    column = dict(zip(SCALARS, found.scalars.T, strict=True))
    assert column["box_1x1"].argmax() == 3
    assert column["box_1x1"][3] > 10
    assert column["removed_fraction"][3] > 0.003  # 300 of 65536 samples are 0.0046
    assert found.snr[3] < 6.5


def test_an_impulse_is_removed_and_shows_as_common_to_all_subbands(front_end: FrontEnd):
    spectra = noise(front_end, 5)
    first = front_end.n_before + 9 * FRAME + 60
    spectra[first : first + 3] += 1.0  # S/N 28
    found = look(front_end, recorded(spectra))
    column = dict(zip(SCALARS, found.scalars.T, strict=True))
    # Each of its three samples has S/N 16, of which the median over subbands keeps 80 %.
    assert column["impulse_1"].argmax() == 9
    assert column["impulse_1"][9] > 8
    assert column["impulse_fraction"][9] > 0
    assert found.snr[9] < 6.5


def test_a_strong_impulse_costs_no_more_than_its_own_spectra(front_end: FrontEnd):
    spectra = noise(front_end, 5)
    first = front_end.n_before + 9 * FRAME + 60
    spectra[first] += 10.0  # S/N 160; a boxcar of 64 samples sees it with S/N 20
    found = look(front_end, recorded(spectra))
    removed = found.scalars[9, SCALARS.index("impulse_fraction")] * FRAME
    assert 1 <= removed <= 8


def test_a_bright_pulse_is_not_taken_for_interference(front_end: FrontEnd):
    spectra = noise(front_end, 6)
    add_pulse(spectra, front_end.n_before + 4 * FRAME + 30, 56.7, 400.0, 3.0)
    found = look(front_end, recorded(spectra))
    assert found.snr[4] > 330  # 8 bits saturate
    assert found.scalars[:, SCALARS.index("removed_fraction")].max() < 0.01


def test_wings_of_a_strong_pulse_in_other_frames_are_known_as_such(front_end: FrontEnd):
    spectra = noise(front_end, 7)
    add_pulse(spectra, front_end.n_before + 10 * FRAME + 250, 56.7, 150.0, 3.0)
    found = look(front_end, recorded(spectra))
    shadow = found.scalars[:, SCALARS.index("shadow_snr")]
    assert shadow[10] == 0
    wings = np.flatnonzero((found.snr > 7) & (np.arange(N_FRAMES) != 10))
    assert len(wings)
    assert (shadow[wings] > 100).all()


def test_a_frame_at_the_end_of_an_observation_needs_nothing_after_it(front_end: FrontEnd):
    spectra = noise(front_end, 8)[: front_end.n_before + N_FRAMES * FRAME]
    found = look(front_end, recorded(spectra))
    assert np.isfinite(found.scalars).all()
    assert (found.snr < 6.5).all()


def test_the_same_frames_come_out_whatever_block_they_are_in(front_end: FrontEnd):
    spectra = noise(front_end, 9)
    add_pulse(spectra, front_end.n_before + 12 * FRAME + 30, 50.0, 15.0, 3.0)
    counts = recorded(spectra)
    whole = look(front_end, counts)
    later = front_end(counts[8 * FRAME :], n_before=FRAME, n_frames=N_FRAMES - 8)
    # Level and noise are measured over other spectra: one or two per cent.
    assert later.snr == pytest.approx(whole.snr[8:], rel=0.06, abs=0.2)
    assert later.sample[4] + 8 * FRAME == whole.sample[12]


def test_subbands_lose_little_against_the_exact_sum():
    trials = np.arange(40.0, 72.0, 0.4)
    data = np.random.default_rng(10).standard_normal((256, 12000)).astype(np.float32)
    add_pulse(data.T, 700.3, 61.3, 30.0, 1.7)  # as wide as the narrowest filter
    plan = dm_plane.make_plan(
        FREQUENCY_MHZ, trials, sampling_s=SAMPLING_S, width_min_s=5e-4, width_max_s=2e-3
    )
    counts = np.rint(UNIT * data).astype(np.int8)
    there = {"good": np.ones(256, bool), "n_time": 12000}
    found = dm_plane.frame_peaks(counts, plan, **there, start=256, n_frames=40, frame_spectra=256)
    delay = dispersion_delay(FREQUENCY_MHZ, 61.3, reference_mhz=FREQUENCY_MHZ[0]) / SAMPLING_S
    time = np.arange(12000)
    template = np.exp(-0.5 * ((time - 700.3 - delay[:, None]) / 1.7) ** 2)
    exact = float((data * template).sum() / np.sqrt((template**2).sum()))
    # Noise is shared; what differs is rounding, the grid of DMs and the smearing of subbands.
    assert 0.93 * exact < found.snr[1] < 1.04 * exact


def test_level_and_noise_are_those_of_the_quiet_part():
    rng = np.random.default_rng(11)
    counts = 100 + 7 * rng.standard_normal((8192, 32))
    counts[1000:3500, 5] += 40.0
    cells = measure_cells(counts, drift=1.0)
    # A level from 256 cells of 16 spectra; two standard errors more for the occupied channel.
    assert cells.level == pytest.approx(100.0, abs=5 * 7 / np.sqrt(4096) + 0.3)
    assert cells.sigma == pytest.approx(7.0, rel=0.05)
    assert cells.removed[70:210, 5].all()
    assert cells.removed.mean() < 0.02  # what was added fills 0.0095


@pytest.mark.parametrize(("n_time", "n_channels"), [(256, 16), (1000, 13), (77, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_normalised_spectra_are_the_counts_turned_and_rounded(n_time: int, n_channels: int, kind: type):
    counts = np.random.default_rng(13).integers(60, 130, (n_time, n_channels)).astype(kind)
    cells = measure_cells(counts, drift=1.0)
    data = np.ones(normalised_shape(n_time, n_channels), np.int8)
    normalise_into(data, counts, cells)
    expected = UNIT * (counts - cells.level) / cells.sigma
    n_cells = len(cells.baseline)
    cell = np.minimum(np.arange(n_time) // 16, n_cells - 1)
    expected -= UNIT / 4 * cells.baseline[cell]
    expected[cells.removed[cell]] = 0
    # What lies exactly between two numbers may go to either.
    assert np.abs(data[:n_channels, :n_time] - expected.T).max() <= 0.5 + 1e-4
    assert (data[n_channels:] == 0).all()
    assert (data[:, n_time:] == 0).all()
    np.testing.assert_allclose(normalised(counts, cells), expected.T / UNIT, atol=1e-4)


@pytest.mark.parametrize("n_channels", [21, 256, 1024])
def test_the_plane_is_the_filtered_sum_along_the_tracks(n_channels: int):
    frequency_mhz, trials = np.linspace(1529.0, 1211.0, n_channels), np.array([20.0, 41.0, 60.0])
    width = {"width_min_s": 8e-4, "width_max_s": 8e-4}  # 4 samples: one filter
    plan = dm_plane.make_plan(frequency_mhz, trials, sampling_s=2e-4, **width)
    data = np.random.default_rng(14).integers(-100, 101, (n_channels, 2600)).astype(np.int8)
    there = {"good": np.ones(n_channels, bool), "n_time": 2600}
    found = dm_plane.frame_peaks(data, plan, **there, start=0, n_frames=8, frame_spectra=256)
    taps = np.exp(-0.5 * (np.arange(-5, 6) * 2.3548 / 4) ** 2)
    tops = np.zeros((8, 3))
    for n in range(3):
        shift = plan.inside[plan.nominal[n]] + np.repeat(plan.between[n], plan.n_channels)[:n_channels]
        padded = np.pad(data.astype(float), ((0, 0), (0, shift.max())))
        series = np.sum([padded[c, s : s + 2600] for c, s in enumerate(shift)], axis=0)
        frames = np.convolve(series, taps, "same")[:2048].reshape(8, 256)
        tops[:, n] = frames.max(axis=1)
        best = found.trial == n
        assert (found.sample == frames.argmax(axis=1) + 256 * np.arange(8))[best].all()
        # At each DM less its middle and over its noise; filters have single precision.
        line = np.polyfit(tops[:, n], found.curve[:, n], 1)
        assert found.curve[:, n] == pytest.approx(np.polyval(line, tops[:, n]), rel=1e-5)


def test_a_track_that_leaves_the_data_counts_the_channels_that_remain():
    frequency_mhz, trials = np.linspace(1529.0, 1211.0, 64), np.array([50.0, 200.0])
    plan = dm_plane.make_plan(
        frequency_mhz, trials, sampling_s=2e-4, width_min_s=8e-4, width_max_s=8e-4
    )
    place = {"start": 0, "n_frames": 64, "frame_spectra": 64}
    curves = []
    for seed in range(20):
        data = np.random.default_rng(seed).normal(0, UNIT, (64, 4096)).round().astype(np.int8)
        found = dm_plane.frame_peaks(data, plan, good=np.ones(64, bool), n_time=4096, **place)
        curves.append(found.curve[:, 1])
    highest = np.mean(curves, axis=0)
    # A sweep of 1,050 samples: from frame 48 on channels are missing, half of them in frame 55. Their
    # noise alone would be lower by up to 0.29; the mean of 140 highest values is known to 0.04.
    assert highest[49:56].mean() == pytest.approx(highest[:48].mean(), rel=0.1)
    assert highest[-1] == pytest.approx(0.0, abs=0.1)  # less than a quarter is left


def test_noise_is_told_for_each_dm_and_width():
    frequency_mhz, trials = np.linspace(1529.0, 1211.0, 64), np.linspace(0.0, 100.0, 51)
    plan = dm_plane.make_plan(
        frequency_mhz, trials, sampling_s=2e-4, width_min_s=8e-4, width_max_s=13e-3
    )
    rng = np.random.default_rng(16)
    common = np.repeat(rng.normal(0, 0.3 * UNIT, 400), 80)  # all channels rise and fall together
    data = (rng.normal(0, UNIT, (64, len(common))) + common).round().clip(-127, 127).astype(np.int8)
    place = {"start": 0, "n_frames": 110, "frame_spectra": 256}
    found = dm_plane.frame_peaks(data, plan, good=np.ones(64, bool), n_time=len(common), **place)
    # White noise makes 2.9 of so many values; with one noise for all DMs it is 7 at the lowest.
    assert found.curve[:, :5].mean() < 3.3
    assert found.curve[:, -5:].mean() < 3.3


def test_a_constant_channel_is_removed_and_divides_nothing_by_zero():
    counts = np.random.default_rng(12).integers(80, 120, (4096, 32)).astype(np.uint8)
    counts[:, 3] = 17
    cells = measure_cells(counts, drift=1.0)
    data = np.ones(normalised_shape(4096, 32), np.int8)
    normalise_into(data, counts, cells)
    assert cells.bad_channel.tolist() == [n == 3 for n in range(32)]
    assert (data[3] == 0).all()
    # 31 channels of 4096 values, rounded to 1/8 of their standard deviation.
    assert np.delete(data, 3, axis=0).std() == pytest.approx(UNIT, rel=0.02)


def test_no_impulse_is_looked_for_without_channels():
    data = np.zeros((16, 2048), np.int8)
    found = find_impulses(
        data, np.ones(16, bool), delays=np.zeros(16), start=0, n_frames=8, frame_spectra=256
    )
    assert not found.removed.any()
    assert (found.common == 0).all()


def test_a_frame_that_is_no_whole_number_of_cells_is_refused():
    with pytest.raises(ValueError, match="frame_spectra = 100 must be a multiple of 16"):
        FrontEnd(Band(FREQUENCY_MHZ, SAMPLING_S), LabelParameters(frame_spectra=100))
