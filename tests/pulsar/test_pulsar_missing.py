"""Samples that carry no data cost their share of a pulse's S/N, and nothing else."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter
from physics_twins.pulsar.formats.psrfits_writer import PsrfitsWriter
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.labelling import label
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.searching.cleaning import filled
from physics_twins.pulsar.streams.label_files import read_labels
from physics_twins.pulsar.verb_parameters import LabelParameters

SEARCH = SearchParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)
SAMPLING_S = 256e-6
# Spectra that are lost; the pulse is at 8000.
GAPS = {
    "one gap": [(3000, 3400)],
    "gaps of 4 ms": [(n, n + 16) for n in range(1000, 15000, 320)],
    "a gap near the pulse": [(7000, 7900)],
    "the last sixth": [(13000, 15616)],
}


def recording(snr: float = 12.0, kind: str = "u1") -> xr.Dataset:
    """4 s of 128 channels with a pulse of DM 60 that is 2 ms wide."""
    frequency_mhz = 1500.0 - 300 / 128 * np.arange(128)
    time_s = np.arange(15616) * SAMPLING_S
    delay_s = 4148.808 * 60.0 * (frequency_mhz**-2 - frequency_mhz[0] ** -2)
    away = (time_s[:, None] - 8000 * SAMPLING_S - delay_s) / (2e-3 / 2.3548)
    pulse = np.exp(-0.5 * away**2)
    noise = np.random.default_rng(3).normal(size=pulse.shape)
    counts = 96 + 16 * (noise + snr * pulse / np.sqrt((pulse**2).sum()))
    return xr.Dataset(
        {
            "data": (
                ("time", "frequency"),
                np.rint(counts).clip(0, 255).astype(kind),
                {"units": "counts"},
            )
        },
        {"time": ("time", time_s), "frequency": ("frequency", frequency_mhz)},
        {"sampling_time_s": SAMPLING_S},
    )


def with_gaps(data: xr.Dataset, gaps, value=0) -> xr.Dataset:
    changed = data["data"].values.copy()
    for start, stop in gaps:
        changed[start:stop] = value
    return data.assign(data=(data["data"].dims, changed, data["data"].attrs))


def pulses(data: xr.Dataset) -> list[tuple[float, float]]:
    found = infer(SEARCH, data)
    is_pulse = found["label"].values == "pulse"
    return list(zip(found["time_s"].values[is_pulse], found["snr"].values[is_pulse], strict=True))


@pytest.fixture(scope="module")
def whole() -> float:
    ((time_s, snr),) = pulses(recording())
    assert time_s == pytest.approx(8000 * SAMPLING_S, abs=2e-3)
    return snr


@pytest.mark.parametrize("value", [0, 255, 96])
@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_gaps_of_any_constant_are_no_pulses_and_hide_none(whole, gaps, value):
    ((time_s, snr),) = pulses(with_gaps(recording(), gaps, value))
    assert time_s == pytest.approx(8000 * SAMPLING_S, abs=2e-3)
    lost = sum(stop - start for start, stop in gaps) / 15616 if gaps == GAPS["gaps of 4 ms"] else 0
    assert snr == pytest.approx(whole * (1 - lost) ** 0.5, rel=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_costs_a_sample(whole, value):
    data = recording(kind="f4")
    spectra = data["data"].values
    spectra[100, 7] = spectra[8050, 30] = value
    ((_, snr),) = pulses(data)
    assert snr == pytest.approx(whole, rel=0.05)
    assert infer(SEARCH, data).attrs["missing_fraction"] == pytest.approx(2 / spectra.size)


def test_a_channel_without_any_number_is_left_out(whole):
    data = recording(kind="f4")
    data["data"].values[:, 7] = np.nan
    ((_, snr),) = pulses(data)
    assert snr == pytest.approx(whole, rel=0.05)
    assert infer(SEARCH, data)["removed_fraction"].values[7] == 1


@pytest.mark.parametrize("value", [0, 255, 96])
@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_labelling_keeps_the_pulse_alone_and_says_what_was_missing(tmp_path, gaps, value):
    sought = LabelParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)
    data = with_gaps(recording(snr=20.0), gaps, value)
    done = label(data, sought, out_folder=tmp_path / "gaps", measure=None, progress=False)
    frames = read_labels(tmp_path / "gaps")
    kept = frames["kept"].values == 1
    assert np.flatnonzero(kept).tolist() == [8000 // 256]
    assert frames["label"].values[kept] == ["pulse"]
    assert frames["snr"].values[kept] == pytest.approx(19.5, rel=0.1)
    lost = sum(min(stop, 15616) - start for start, stop in gaps) / 15616
    assert done.missing_fraction == pytest.approx(lost, rel=1e-3)
    assert frames["missing_fraction"].values.mean() == pytest.approx(lost, rel=1e-3)


def test_lost_packets_of_a_part_of_the_band_make_no_pulse_either(whole):
    data = recording()
    data["data"].values[3000:3400, 32:64] = 0
    data["data"].values[9000:9100, :64] = 0
    ((time_s, snr),) = pulses(data)
    assert time_s == pytest.approx(8000 * SAMPLING_S, abs=2e-3)
    assert snr == pytest.approx(whole, rel=0.1)


def test_a_last_row_that_was_filled_up_keeps_no_other_pieces(tmp_path):
    data = recording(snr=20.0)
    header = FilterbankHeader(128, 8, 1500.0, -300 / 128, SAMPLING_S, 59000.0, "J0000+0000")
    samples = data["data"].values
    with FilterbankWriter(tmp_path / "a.fil", header) as file:
        file.write(samples)
    for value in (0, 255, 96):
        filled_up = np.pad(samples, ((0, -len(samples) % 6000), (0, 0)), constant_values=value)
        with PsrfitsWriter(tmp_path / f"{value}.sf", header, row_spectra=6000) as file:
            file.write(filled_up)
    sought = LabelParameters(dm_min_pc_cm3=20.0, dm_max_pc_cm3=120.0)
    options = {"measure": None, "progress": False}
    plain = label(tmp_path / "a.fil", sought, out_folder=tmp_path / "plain", **options)
    for value in (0, 255, 96):
        done = label(tmp_path / f"{value}.sf", sought, out_folder=tmp_path / f"{value}", **options)
        assert done.decisions().equals(plain.decisions())
        assert done.n_spectra == len(samples)
        assert done.missing_fraction == pytest.approx((18_000 - len(samples)) / len(samples), rel=0.01)


def test_nothing_missing_changes_nothing():
    spectra = recording()["data"].values
    assert filled(spectra)[0] is spectra
    assert filled(spectra)[1] is None


def test_two_equal_spectra_may_be_chance_and_three_are_not():
    spectra = np.arange(40, dtype=np.uint8).reshape(10, 4)
    spectra[4] = spectra[3]
    assert filled(spectra)[1] is None
    spectra[5] = spectra[3]
    missing = filled(spectra)[1]
    assert missing is not None
    assert np.flatnonzero(missing.all(axis=1)).tolist() == [3, 4, 5]


def test_what_is_filled_in_stays_of_whole_numbers():
    spectra = recording()["data"].values.copy()
    spectra[3000:3400] = 0
    out, missing = filled(spectra)
    assert out.dtype == spectra.dtype
    assert missing is not None
    np.testing.assert_array_equal(out[~missing], spectra[~missing])
    assert out[missing].std() == pytest.approx(16, rel=0.05)
