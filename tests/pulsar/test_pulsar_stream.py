"""Observations of any length: the same as those in memory, in constant memory, with their truth."""

import csv
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import xarray as xr

from physics_twins.pulsar.files import ObservationFileError, open_observation
from physics_twins.pulsar.parameters import ALL_PHYSICS, ObservationParameters
from physics_twins.pulsar.physics.interference import KINDS
from physics_twins.pulsar.physics.receiver import integrated_noise
from physics_twins.pulsar.simulate import simulate
from physics_twins.pulsar.stream import stream, write_stream

EVERYTHING = ObservationParameters(**ALL_PHYSICS).replace(period_s=0.0334, duration_s=1.5)
RATES = {f"{kind}_rate_hz": 4.0 for kind in KINDS if kind != "persistent"}
QUIET = {f"{kind}_rate_hz": 0.0 for kind in KINDS if kind != "persistent"}


@pytest.fixture(scope="module")
def everything() -> xr.Dataset:
    return simulate(EVERYTHING.replace(**RATES), seed=3, each_kind=True)


@pytest.mark.parametrize("n_bits", [1, 2, 4, 8, 16, 32])
def test_a_stream_gives_the_counts_that_are_simulated_in_memory(n_bits):
    parameters = EVERYTHING.replace(n_bits=n_bits, n_channels=64, **RATES)
    blocks = [block.counts.copy() for block in stream(parameters, seed=3)]
    np.testing.assert_array_equal(np.concatenate(blocks), simulate(parameters, seed=3)["data"])


def test_a_longer_observation_begins_like_a_shorter_one():
    parameters = EVERYTHING.replace(n_channels=64)
    short, long = (simulate(parameters.replace(duration_s=s), seed=3) for s in (1.03, 2.5))
    n = short.sizes["time"]
    for name in ("data", "pulses", "noise", "narrowband", "broadband", "other", "dropped"):
        np.testing.assert_array_equal(short[name], long[name][:n])


def test_a_stream_without_end_goes_on():
    blocks = stream(EVERYTHING.replace(n_channels=64), seed=1, duration_s=np.inf)
    assert [len(block.counts) for block in itertools.islice(blocks, 4)] == 4 * [(1 << 20) // 64]


def test_the_truth_of_a_stream_is_that_of_the_observation(everything):
    rows = [row for block in stream(EVERYTHING.replace(**RATES), seed=3) for row in block.truth]
    pulses = sorted((row for row in rows if row.label == "pulse"), key=lambda row: row.rotation)
    events = [row for row in rows if row.label != "pulse"]
    assert [row.snr_ideal for row in pulses] == everything["pulse_snr_ideal"].values.tolist()
    assert [row.kind for row in events] == everything["event_kind"].values.tolist()


def test_every_kind_has_its_own_component_and_its_events_their_fluence(everything):
    sampling_ms = 1e3 * everything.attrs["sampling_time_s"]
    end_s = float(everything["time"][-1])
    for kind in set(KINDS) - {"dropout"}:
        chosen = everything["event_kind"].values == kind
        assert chosen.any(), kind
        if (everything["event_stop_s"].values[chosen] > end_s).any():
            continue  # some of it comes after the end
        width_mhz = everything["event_high_mhz"] - everything["event_low_mhz"]
        fluence = float((everything["event_fluence_jy_ms"] * width_mhz / 1.25)[chosen].sum())
        assert float(everything[kind].sum()) * sampling_ms == pytest.approx(fluence, rel=1e-3)


def test_the_kinds_add_up_to_the_components_of_their_labels(everything):
    names = {"nbrfi": "narrowband", "bbrfi": "broadband", "other": "other"}
    for label, name in names.items():
        kinds = [kind for kind, of in KINDS.items() if of == label and kind != "dropout"]
        total = sum(everything[kind] for kind in kinds)
        np.testing.assert_allclose(everything[name], total, rtol=1e-4, atol=1e-4)


def test_what_is_dropped_is_stored_as_zero_and_marked(everything):
    dropped = everything["dropped"].values
    assert 0 < dropped.mean() < 0.5
    assert (everything["data"].values[dropped] == 0).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "persistent"])
def test_each_kind_can_be_switched_off_alone(kind):
    parameters = EVERYTHING.replace(n_channels=32, duration_s=0.5, **RATES)
    without = simulate(parameters.replace(**{f"{kind}_rate_hz": 0.0}), seed=3, each_kind=True)
    with_it = simulate(parameters, seed=3, each_kind=True)
    assert kind not in without["event_kind"].values
    for other in set(KINDS) - {kind, "dropout"}:
        np.testing.assert_array_equal(without[other], with_it[other])


def test_pulses_without_anything_else_are_as_bright_as_their_fluence_says():
    parameters = EVERYTHING.replace(scattering_ms=0.0, n_bits=32, **QUIET, persistent_carriers=0)
    observation = simulate(parameters, seed=4)
    sampling_ms = 1e3 * observation.attrs["sampling_time_s"]
    complete = observation["pulse_time_s"] < 1.4
    arrived = float(observation["pulses"][: round(1.47 / 102.4e-6)].sum() / 256) * sampling_ms
    expected = float(observation["pulse_fluence_jy_ms"][complete].sum())
    assert arrived == pytest.approx(expected, rel=0.05)  # the last sweep is cut


def test_scattering_falls_with_the_index_asked_for():
    # The mean arrival is later than without scattering by the scattering time.
    settings = {"dm_pc_cm3": 0.0, "n_channels": 8, "bandwidth_mhz": 600.0, "period_s": 30.0}
    plain = ObservationParameters(**settings, duration_s=30.0, sampling_time_us=1000.0, jitter=0.0)
    late_s = []
    for scattering_ms in (0.0, 20.0):
        scattered = plain.replace(scattering_ms=scattering_ms, scattering_index=4.4)
        observation = simulate(scattered, seed=1)
        pulses = observation["pulses"]
        late_s.append((pulses * pulses["time"]).sum("time") / pulses.sum("time"))
    tau_s = (late_s[1] - late_s[0]).values
    slope = np.polyfit(np.log(observation["frequency"].values), np.log(tau_s), 1)[0]
    assert slope == pytest.approx(-4.4, abs=0.05)


def test_a_drifting_dm_delays_the_last_pulse_more():
    parameters = ObservationParameters(dm_drift_pc_cm3_per_h=10.0, duration_s=30.0, n_channels=8)
    observation = simulate(parameters.replace(sampling_time_us=1000.0), seed=1)
    dm_pc_cm3, time_s = observation["pulse_dm_pc_cm3"].values, observation["pulse_time_s"].values
    np.testing.assert_allclose(dm_pc_cm3, 56.77 + 10 * time_s / 3600)


def test_the_noise_of_a_whole_observation_follows_the_radiometer_equation():
    parameters = ObservationParameters(fluence_jy_ms=0.0, n_bits=32, baseline_jy=0.0, gain_drift=0.0)
    parameters = parameters.replace(bandpass_ripple=0.0, system_temperature_k=50.0, **QUIET)
    counts = np.concatenate([b.counts.copy() for b in stream(parameters, seed=1, duration_s=1.0)])
    scatter_jy = counts[:, 64:192].std() * simulate(parameters, seed=1).attrs["noise_sigma_jy"]
    expected = 50.0 / 1.5 / np.sqrt(2 * 1.25e6 * 102.4e-6)
    assert scatter_jy == pytest.approx(expected, rel=5 / np.sqrt(2 * counts[:, 64:192].size))


def test_steady_noise_averages_down_and_drifting_noise_does_not():
    steady = ObservationParameters(n_channels=16, gain_drift=0.0, baseline_jy=0.0, **QUIET)
    ratio = integrated_noise(simulate(steady, seed=1))
    n_averages = 39062 / 2 ** ratio["doublings"].values
    # A standard deviation of n values scatters by 1 / sqrt(2 n).
    assert (np.abs(ratio - 1) < 5 / np.sqrt(2 * n_averages)).all()
    drifting = simulate(steady.replace(gain_drift=0.01, gain_drift_s=1.0), seed=1)
    assert integrated_noise(drifting)[-1] > 3


@pytest.mark.parametrize("name", ["observation.fil", "observation.sf"])
def test_a_written_stream_reads_back_with_its_truth(tmp_path, name):
    table = write_stream(EVERYTHING, tmp_path / name, seed=3)
    observation = simulate(EVERYTHING, seed=3)
    with open_observation(tmp_path / name) as file:
        np.testing.assert_array_equal(file.read(0, file.n_spectra), observation["data"])
        assert file.header.frequency_mhz[0] == pytest.approx(observation["frequency"].values[0])
    with table.open() as lines:
        rows = list(csv.DictReader(lines))
    pulses = [row for row in rows if row["label"] == "pulse"]
    assert len(pulses) == observation.sizes["pulse"]
    assert len(rows) - len(pulses) == observation.sizes["event"]


def test_an_interrupted_stream_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        yield next(stream(*args, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr("physics_twins.pulsar.stream.stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_stream(EVERYTHING, tmp_path / "a.fil", seed=3)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_end_and_a_depth_that_the_format_lacks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="duration_s = inf s: a file has a finite length"):
        write_stream(EVERYTHING, tmp_path / "a.fil", seed=3, duration_s=np.inf)
    with pytest.raises(ObservationFileError, match="NBITS = 16"):
        write_stream(EVERYTHING.replace(n_bits=16), tmp_path / "a.sf", seed=3)
    with pytest.raises(ValueError, match=r"duration_s = -1\.0 s must be positive"):
        next(stream(EVERYTHING, seed=3, duration_s=-1.0))
    assert list(tmp_path.iterdir()) == []


def test_a_pulse_too_long_for_the_table_is_refused():
    endless = ObservationParameters(scattering_ms=500.0, centre_frequency_mhz=300.0)
    with pytest.raises(ValueError, match="take a longer one, or a shorter width_ms"):
        simulate(endless, seed=1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length():
    def highest(duration_s: float) -> int:
        tracemalloc.start()
        for _ in stream(EVERYTHING, seed=1, duration_s=duration_s):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    highest(1.0)
    # Bright events come and go, so that peaks of 20 MB differ by a few.
    assert highest(60.0) < highest(20.0) + 20e6


def test_streaming_imports_no_torch():
    code = "import sys; import physics_twins.pulsar.stream; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
