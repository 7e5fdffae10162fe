"""A simulated stretch obeys the laws it is built on, and its truth is what was put in."""

import numpy as np
import pytest
from scipy import signal
from units import check_units

from physics_twins import data
from physics_twins.parameters import ParameterError
from physics_twins.virgo import couplings, glitches, noise, witnesses
from physics_twins.virgo.oracle import oracle
from physics_twins.virgo.parameters import (
    EASY,
    GLITCH_FAMILIES,
    HARD,
    CleaningParameters,
    VirgoParameters,
)
from physics_twins.virgo.sensitivity import noise_asd
from physics_twins.virgo.simulate import COMPONENTS, simulate

QUIET = {"duration_s": 64.0, "sample_rate_hz": 1024, "glitch_rate_hz": 0.0, "n_signals": 0}
ALL = HARD | {
    "duration_s": 64.0,
    "witness_gap_s": 8.0,
    "loop_open_s": 6.0,
    "missing_s": 5.0,
    "glitch_rate_hz": 0.3,
    "n_signals": 2,
}


@pytest.fixture(scope="module")
def everything():
    return simulate(VirgoParameters(**ALL), seed=3)


def witness(stretch, name):
    return stretch["witness"].sel(channel=name).values.astype(float)


def welch(series, seconds=4):
    return signal.welch(series, 1024, nperseg=1024 * seconds, detrend=False)


def test_the_parts_of_the_strain_add_up_to_it_exactly(everything):
    added = np.zeros(everything.sizes["time"])
    for name in COMPONENTS:
        added += everything[name].values
    np.testing.assert_array_equal(added, everything["strain"])


def test_the_same_seed_gives_the_same_stretch_and_another_one_another(everything):
    parameters = VirgoParameters(**ALL)
    assert everything.identical(simulate(parameters, seed=3))
    other = simulate(parameters, seed=4)
    assert abs(np.corrcoef(other["noise"], everything["noise"])[0, 1]) < 5 / np.sqrt(20 * 64)


def test_a_coupling_twice_as_strong_changes_its_own_part_alone(everything):
    stronger = simulate(VirgoParameters(**ALL | {"seismic": 10.0}), seed=3)
    np.testing.assert_allclose(stronger["seismic"], 2 * everything["seismic"], rtol=1e-12)
    for name in set(COMPONENTS) - {"seismic"}:
        np.testing.assert_array_equal(stronger[name], everything[name])


def test_every_number_has_a_unit_and_a_stretch_is_saved_and_loaded_unchanged(everything, tmp_path):
    check_units(everything)
    loaded = data.open_dataset(data.save(everything, tmp_path / "stretch.nc"))
    assert data.content_sha256(loaded) == data.content_sha256(everything)


@pytest.mark.parametrize("detector", ["virgo_o3", "virgo_o4", "virgo_design", "einstein_telescope"])
def test_the_noise_has_the_detectors_spectrum_within_its_error(detector):
    made = simulate(VirgoParameters(**QUIET, detector=detector), seed=1)["noise"].values
    frequency_hz, psd = welch(made)
    ratio = psd / noise_asd(np.maximum(frequency_hz, 0.1), detector) ** 2
    for low_hz, high_hz in ((20, 40), (40, 100), (100, 400)):
        inside = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
        error = 1 / np.sqrt(64 * (high_hz - low_hz))  # a time-frequency area of 1 is one number
        assert ratio[inside].mean() == pytest.approx(1, abs=5 * error)


def test_noise_has_the_power_that_parseval_asks_for():
    rng = np.random.default_rng(0)
    series = noise.coloured(lambda f: np.full(f.shape, 2.0), 1 << 16, 1024.0, rng)
    # White noise of 2/sqrt(Hz) up to 512 Hz; the variance of n samples scatters by sqrt(2 / n).
    assert series.var() == pytest.approx(4 * 512, rel=5 * np.sqrt(2 / (1 << 16)))


@pytest.mark.parametrize("name", ["seismic", "angular", "length", "magnetic", "unknown"])
def test_a_coupling_is_as_strong_as_its_parameter_says(name):
    stretch = simulate(VirgoParameters(**QUIET | {name: 7.0, "duration_s": 256.0}), seed=2)
    coupling = next(c for c in couplings.COUPLINGS if c.name == name)
    _, psd = welch(stretch[name].values)
    grid_hz = np.arange(0, 512, 0.1)
    response = np.abs(np.fft.rfft(stretch["response"].sel(coupling=name), 10240))[: len(grid_hz)]
    model = response * couplings.basis_asd(coupling, grid_hz)
    over = np.where(grid_hz >= 10, model / noise_asd(np.maximum(grid_hz, 0.1), "virgo_o4"), 0)
    peak = grid_hz[over.argmax()]
    assert over.max() == pytest.approx(7.0, rel=1e-6)
    near = slice(round(4 * peak) - 2, round(4 * peak) + 3)
    mean = np.sqrt(psd[near].mean()) / noise_asd(peak, "virgo_o4")
    assert mean == pytest.approx(7.0, rel=0.15)  # 5 lines of 127 windows: 4 % each


def test_mains_lines_have_the_root_mean_square_that_is_asked_for():
    parameters = VirgoParameters(**QUIET | {"mains": 30.0})
    line = simulate(parameters, seed=5)["mains"].values
    near_50 = signal.sosfiltfilt(signal.butter(4, (45, 55), "bandpass", fs=1024, output="sos"), line)
    asked = 30.0 * noise_asd(50.0, "virgo_o4")
    assert near_50[4096:-4096].std() == pytest.approx(asked, rel=0.02)  # the filter has 1 % ripple


def test_the_fringe_depends_on_the_motion_as_interference_does():
    position_um = np.linspace(0, 1.064, 101)
    fringe = couplings.fringe(position_um)
    # Two full turns for each wavelength of motion: light goes there and back.
    np.testing.assert_allclose(fringe, np.sin(4 * np.pi * np.linspace(0, 1, 101)), atol=1e-12)
    np.testing.assert_allclose(couplings.fringe(position_um + 0.532), fringe, atol=1e-12)


def test_angle_times_mains_makes_sidebands_and_leaves_the_carrier():
    time_s = np.arange(8 * 1024) / 1024
    both = couplings.product(np.cos(2 * np.pi * 50 * time_s), np.cos(2 * np.pi * 2 * time_s))
    lines = np.abs(np.fft.rfft(both)) / len(time_s)
    assert set(np.flatnonzero(lines > 1e-6) / 8) == {48.0, 52.0}


def test_faults_are_what_their_table_says(everything):
    table = {
        str(kind): (str(channel), float(start), float(stop))
        for kind, channel, start, stop in zip(
            *(everything[f"fault_{n}"].values for n in ("kind", "channel", "start", "stop")),
            strict=True,
        )
    }
    time_s = everything["time"].values

    def inside(kind):
        _, start_s, stop_s = table[kind]
        return (time_s >= start_s) & (time_s < stop_s)

    gap = inside("missing, zeros")
    assert (witness(everything, witnesses.GROUND.name)[gap] == 0).all()
    assert everything["seismic"].values[gap].std() > 0.5 * everything["seismic"].values.std()
    off = inside("off, true zeros")
    assert (witness(everything, witnesses.LENGTH.name)[off] == 0).all()
    quiet = (
        off & (time_s > table["off, true zeros"][1] + 1) & (time_s < table["off, true zeros"][2] - 1)
    )
    assert np.abs(everything["length"].values[quiet]).max() < 1e-6 * everything["length"].values.std()
    lost = ~np.isfinite(everything["witness"].values)
    assert (lost.any(axis=0) == inside("missing, not a number")).all()
    assert (everything["line"].values[inside("line stopped")] == 0).all()
    assert witness(everything, witnesses.LINE.name)[inside("line stopped")].std() > 0.9
    flipped = inside("sign flipped")
    gain = everything["gain"].sel(coupling="length").values
    assert (gain[flipped] < 0).all()
    assert (gain[~flipped] > 0).all()


def test_a_late_witness_is_late_by_what_is_asked_for(everything):
    record = witness(everything, witnesses.MAGNET.name)
    on_time = simulate(VirgoParameters(**ALL | {"delay_jump_ms": 0.0}), seed=3)
    before = witness(on_time, witnesses.MAGNET.name)
    late = round(4e-3 * 1024)
    at_s = dict(zip(everything["fault_kind"].values, everything["fault_start"].values, strict=True))
    half = round(at_s["late"] * 1024)
    np.testing.assert_array_equal(record[:half], before[:half])
    shifted = np.corrcoef(record[half + late :], before[half:-late])[0, 1]
    assert shifted > 0.999
    assert np.corrcoef(record[half:], before[half:])[0, 1] < 0.99


def test_unsafe_channels_contain_strain_and_idle_ones_do_not(everything):
    strain = everything["strain"].values
    for name, low, high in (("CAL_NE_MIR_Z", 0.5, 1.0), ("ENV_IDLE_0", 0, 0.1), ("ENV_IDLE_1", 0, 0.1)):
        _, coherence = signal.coherence(witness(everything, name), strain, 1024, nperseg=1024)
        assert low <= coherence[20:100].mean() <= high


def test_dead_channels_are_zero_and_counters_count(everything):
    assert not everything["witness"].sel(channel="ENV_DEAD_0").any()
    counts = witness(everything, "DAQ_0_Tpro_processed_packets")
    assert set(np.diff(counts)) == {0.0, 1.0}


@pytest.mark.parametrize("family", GLITCH_FAMILIES)
def test_a_glitch_has_the_snr_that_a_matched_filter_finds(family):
    rng = np.random.default_rng(5)
    shape = glitches.draw(family, 20.0, "virgo_o4", 1024, rng)
    # Independently, in the time domain: the noise is whitened by a filter, and energies are added up.
    frequency_hz = np.fft.rfftfreq(len(shape), 1 / 1024)
    density = noise_asd(np.maximum(frequency_hz, 0.1), "virgo_o4") * np.sqrt(1024 / 2)
    white = np.fft.irfft(np.where(frequency_hz >= 8, np.fft.rfft(shape) / density, 0))
    assert np.sqrt((white**2).sum()) == pytest.approx(20.0, rel=1e-3)


def test_families_lie_where_their_names_say():
    def middle_hz(family):
        power = np.zeros(4097)
        for seed in range(8):
            shape = glitches.draw(family, 10.0, "virgo_o4", 1024, np.random.default_rng(seed))
            power += np.abs(np.fft.rfft(shape)) ** 2
        return np.interp(0.5, np.cumsum(power) / power.sum(), np.arange(4097) / 8)

    found = {family: middle_hz(family) for family in ("scattered_light", "tomte", "whistle", "blip")}
    assert 20 < found["tomte"] < 60
    assert found["scattered_light"] < 60
    assert found["blip"] > 80
    assert found["whistle"] > 90


def test_glitches_of_no_strength_leave_strain_and_channels_as_without_any():
    quiet = VirgoParameters(duration_s=16.0, sample_rate_hz=1024)
    asked = quiet.replace(glitch_rate_hz=1.0, glitch_snr=0.0)
    alone, with_them = (simulate(each, seed=7) for each in (quiet.replace(glitch_rate_hz=0.0), asked))
    assert with_them.sizes["glitch"] > 5
    for name in ("strain", "witness"):
        np.testing.assert_array_equal(alone[name], with_them[name])


def test_witnessed_glitches_are_in_their_channels_and_others_in_none(everything):
    quiet = simulate(VirgoParameters(**ALL | {"glitch_rate_hz": 0.0}), seed=3)
    extra = everything["witness"] - quiet["witness"]
    channels = everything["glitch_channel"].values
    assert {"", *(c.name for c in witnesses.VIBRATION)} == set(channels)
    for time_s, channel in zip(everything["glitch_time"].values, channels, strict=True):
        near = (np.abs(everything["time"] - time_s) < 0.01).values
        seen = [c.name for c in witnesses.VIBRATION if extra.sel(channel=c.name).values[near].any()]
        assert not channel or channel in seen
    for name in set(everything["channel"].values) - {c.name for c in witnesses.VIBRATION}:
        if not name.startswith("CAL"):
            assert not np.nan_to_num(extra.sel(channel=name).values).any()


def test_a_signal_has_its_snr_and_ends_at_its_time():
    asked = QUIET | {"n_signals": 1, "signal_snr": 12.0, "mass_1_msun": 8.0, "mass_2_msun": 8.0}
    stretch = simulate(VirgoParameters(**asked), seed=6)
    strain = stretch["signals"].values
    assert glitches.optimal_snr(strain, "virgo_o4", 1024) == pytest.approx(12.0, rel=1e-3)
    after = stretch["time"].values > float(stretch["signal_time"][0]) + 0.05
    # What ends suddenly at the last stable orbit rings a little.
    assert np.abs(strain[after]).max() < 0.05 * np.abs(strain).max()


def test_the_easy_set_has_no_faults_and_the_hard_one_has_all_of_them(everything):
    assert VirgoParameters(**EASY).coupling_drift == 0
    assert everything.sizes["fault"] == 6
    assert VirgoParameters(**HARD).unknown > 0


def test_a_fault_longer_than_a_quarter_of_the_stretch_is_refused():
    with pytest.raises(
        ParameterError, match="missing_s = 20 s must be at most a quarter of duration_s"
    ):
        VirgoParameters(missing_s=20.0)


@pytest.mark.parametrize(("start_s", "stop_s"), [(30.0, 20.0), (30.0, 30.0), (30.0, 0.0)])
def test_what_is_held_and_ends_before_it_begins_is_refused(start_s, stop_s):
    told = f"held_stop_s = {stop_s:g} s must be later than held_start_s = 30 s"
    with pytest.raises(ParameterError, match=told):
        CleaningParameters(held_start_s=start_s, held_stop_s=stop_s)
    assert CleaningParameters(held_stop_s=20.0).held_s == [(0.0, 20.0)]
    assert CleaningParameters().held_s == []


def test_a_witness_that_is_off_records_zeros_and_couples_on():
    asked = VirgoParameters(duration_s=16.0, sample_rate_hz=1024, seismic=20.0, glitch_rate_hz=0.0)
    on, off = (simulate(asked.replace(witness_off=name), seed=4) for name in ("none", "ENV_SEIS_N"))
    np.testing.assert_array_equal(off["strain"], on["strain"])
    assert not off["witness"].sel(channel="ENV_SEIS_N").any()
    others = [name for name in on["channel"].values if name != "ENV_SEIS_N"]
    np.testing.assert_array_equal(off["witness"].sel(channel=others), on["witness"].sel(channel=others))
    assert off["fault_channel"].values.tolist() == ["ENV_SEIS_N"]
    # What nobody recorded the oracle cannot take away: all that it took of the ground before.
    inner = slice(512, -512)  # half a filter at each end is not known
    missing, seismic = (each[inner] for each in (oracle(on) - oracle(off), on["seismic"].values))
    assert np.corrcoef(missing, seismic)[0, 1] > 0.999
