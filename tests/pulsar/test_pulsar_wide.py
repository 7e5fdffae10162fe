"""Pulses of up to a second are found where they are asked for."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.verb_parameters import LabelParameters

SAMPLING_S, ARRIVAL_S = 2e-3, 20.0
RANGE = {"dm_min_pc_cm3": 1000.0, "dm_max_pc_cm3": 3000.0, "width_max_ms": 1000.0}


def recording(width_s: float, dm_pc_cm3: float, snr: float) -> xr.Dataset:
    """50 s of 64 channels with one pulse."""
    frequency_mhz = 1500.0 - 300 / 64 * np.arange(64)
    time_s = np.arange(25_000) * SAMPLING_S
    delay_s = 4148.808 * dm_pc_cm3 * (frequency_mhz**-2 - frequency_mhz[0] ** -2)
    pulse = np.exp(-0.5 * ((time_s[:, None] - ARRIVAL_S - delay_s) / (width_s / 2.3548)) ** 2)
    noise = np.random.default_rng(1).normal(size=pulse.shape)
    counts = np.rint(96 + 16 * (noise + snr * pulse / np.sqrt((pulse**2).sum()))).clip(0, 255)
    return xr.Dataset(
        {"data": (("time", "frequency"), counts.astype("u1"), {"units": "counts"})},
        {"time": ("time", time_s), "frequency": ("frequency", frequency_mhz)},
        {"sampling_time_s": SAMPLING_S},
    )


@pytest.mark.parametrize(("width_s", "dm_pc_cm3"), [(0.1, 1200.0), (0.3, 1500.0), (1.0, 2800.0)])
def test_a_wide_pulse_keeps_four_fifths_of_its_snr(tmp_path, width_s, dm_pc_cm3):
    data = recording(width_s, dm_pc_cm3, 25.0)
    found = infer(SearchParameters(**RANGE), data)
    assert found["label"].values.tolist() == ["pulse"]
    assert found["snr"].item() > 0.8 * 25.0 * 0.93  # a boxcar sees 0.93 of a Gaussian
    assert found["time_s"].item() == pytest.approx(ARRIVAL_S, abs=0.5 * width_s)
    done = label(data, LabelParameters(**RANGE), out_folder=tmp_path, measure=None, progress=False)
    begins = done.decisions()["start_s"].to_numpy()
    ends = begins + done.decisions()["duration_s"].to_numpy()
    assert ((begins < ARRIVAL_S) & (ends > ARRIVAL_S)).any()


def crossing(sweep_widths: float, snr: float) -> tuple[xr.Dataset, float, int]:
    """4 s with a pulse of 8 ms that crosses the band in so many widths; its DM, and its frame."""
    frequency_mhz = 1500.0 - 300 / 128 * np.arange(128)
    sampling_s, per_dm_s = 256e-6, 4148.808 * (frequency_mhz[-1] ** -2 - frequency_mhz[0] ** -2)
    dm = sweep_widths * 8e-3 / per_dm_s
    time_s = np.arange(15_616) * sampling_s
    delay_s = 4148.808 * dm * (frequency_mhz**-2 - frequency_mhz[0] ** -2)
    pulse = np.exp(-0.5 * ((time_s[:, None] - 7000 * sampling_s - delay_s) / (8e-3 / 2.3548)) ** 2)
    noise = np.random.default_rng(4).normal(size=pulse.shape)
    counts = np.rint(96 + 12 * (noise + snr * pulse / np.sqrt((pulse**2).sum()))).clip(0, 255)
    data = xr.Dataset(
        {"data": (("time", "frequency"), counts.astype("u1"), {"units": "counts"})},
        {"time": ("time", time_s), "frequency": ("frequency", frequency_mhz)},
        {"sampling_time_s": sampling_s},
    )
    return data, dm, 7000 // 256


@pytest.mark.parametrize("sweep_widths", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("snr", [20.0, 60.0, 300.0])
def test_what_is_not_told_from_an_impulse_is_kept_and_marked(tmp_path, sweep_widths, snr):
    data, dm, frame = crossing(sweep_widths, snr)
    sought = LabelParameters(dm_min_pc_cm3=0.9 * dm, dm_max_pc_cm3=100.0)
    done = label(data, sought, out_folder=tmp_path, measure=None, progress=False)
    frames = done.labels()
    kept = frames["reason"].values[frame - 1 : frame + 2]
    assert set(kept) & {"pulse", "unclear"}


def test_an_impulse_that_no_pulse_sought_looks_like_is_deleted(tmp_path):
    data, *_ = crossing(1.0, 0.0)
    data["data"].values[6000:6030] += 16
    for dm_min, expected in ((10.0, "unclear"), (60.0, "")):
        sought = LabelParameters(dm_min_pc_cm3=dm_min, dm_max_pc_cm3=100.0)
        done = label(data, sought, out_folder=tmp_path / f"{dm_min}", measure=None, progress=False)
        at = done.labels().isel(frame=6000 // 256)
        assert (str(at["label"].values), str(at["reason"].values)) == ("bbrfi", expected)
        assert done.n_alerts == 0
