"""A step in the gain of all channels is no pulse, and hides none."""

import numpy as np
import pytest
from test_pulsar_missing import SAMPLING_S, SEARCH, recording

from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.searching.cells import measure_cells
from physics_twins.pulsar.searching.gain_steps import measured, steps
from physics_twins.pulsar.verb_parameters import LabelParameters

SOUGHT = LabelParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)
NEAR = (7950, 8100)  # while the pulse crosses the band: a part of it is lost


def with_step(at, change, snr=15.0, offset=0.0):
    """A recording whose counts are multiplied and shifted from a spectrum on."""
    data = recording(snr)
    counts = data["data"].values.astype(float)
    counts[at:] = counts[at:] * change + offset
    data["data"].values[:] = np.rint(counts).clip(0, 255).astype("u1")
    return data


@pytest.mark.parametrize("change", [0.7, 0.97, 1.02, 1.1, 1.3, 2.0])
@pytest.mark.parametrize("at", [4000, *NEAR, 12007])
def test_a_pulse_is_found_beside_a_step_and_nothing_else(tmp_path, at, change):
    data = with_step(at, change)
    found = infer(SEARCH, data)
    assert found["label"].values.tolist() == ["pulse"]
    assert found["time_s"].item() == pytest.approx(8000 * SAMPLING_S, abs=2e-3)
    assert found["snr"].item() > (0.8 if at in NEAR else 0.95) * 14.5
    done = label(data, SOUGHT, out_folder=tmp_path / "step", measure=None, progress=False)
    frames = done.labels()
    assert np.flatnonzero(frames["kept"].values).tolist() == [8000 // 256]
    assert done.n_alerts <= 1  # of the pulse


def test_a_step_of_the_level_alone_is_one_too():
    found = infer(SEARCH, with_step(5000, 1.0, offset=20.0))
    assert found["label"].values.tolist() == ["pulse"]
    assert found["snr"].item() == pytest.approx(14.5, rel=0.08)


def test_noise_holds_no_step_and_is_left_as_it_is():
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(96, 12, (8192, 128)).astype(np.float32)
        assert steps(measure_cells(noise, drift=0.1)) == []
    assert measured(noise, drift=0.1)[0] is noise


@pytest.mark.parametrize("snr", [100.0, 300.0, 1000.0])
def test_a_bright_pulse_is_no_step(snr):
    assert steps(measure_cells(recording(snr)["data"].values, drift=1.0)) == []


@pytest.mark.parametrize("width_s", [2e-3, 8e-3, 20e-3, 80e-3])
def test_a_bright_pulse_that_crosses_the_band_in_two_and_a_half_widths_is_no_step(width_s):
    time_s, delay_s = np.arange(8192)[:, None] * 256e-6, np.linspace(0, 2.5 * width_s, 96)
    pulse = np.exp(-0.5 * ((time_s - 0.8 - delay_s) / (width_s / 2.3548)) ** 2)
    noise = np.random.default_rng(5).normal(size=pulse.shape)
    for snr in (30.0, 100.0, 300.0):
        counts = 96 + 12 * (noise + snr * pulse / np.sqrt((pulse**2).sum()))
        assert steps(measure_cells(counts.astype(np.float32), drift=1.0)) == []


def test_a_transmitter_that_goes_on_stays_to_be_seen_as_one():
    data = with_step(4000, 1.2)
    data["data"].values[9000:, 40:44] = 200
    spectra, cells = measured(data["data"].values, drift=1.0)
    assert abs(np.median(spectra[4200:8000]) - np.median(spectra[9000:, :40])) < 2
    assert cells.removed[9000 // 16 + 2 :, 40:44].all() or cells.bad_channel[40:44].all()
