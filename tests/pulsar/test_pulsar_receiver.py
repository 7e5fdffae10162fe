"""The receiver at work: its noise, its drifts and its digitiser, and interference that reaches it."""

import numpy as np
import pytest
from scipy.signal import periodogram
from scipy.special import ndtr

from physics_twins.pulsar.parameters import ALL_PHYSICS, ObservationParameters
from physics_twins.pulsar.physics.interference import KINDS, draw, events_begun
from physics_twins.pulsar.physics.receiver import (
    STEP_SIGMA,
    Receiver,
    bandpass,
    highest_count,
    keeps_bandpass,
    mean_count,
    receiver_of,
    sample_type,
)
from physics_twins.pulsar.physics.recorder import Recorder, body_table, fill_normal, generator_state

BAND_MHZ = np.linspace(1529.375, 1210.625, 256)
SAMPLING_S = 102.4e-6


def receiver(n_channels: int = 64, **changes) -> Receiver:
    """A receiver that stores its noise as numbers of mean 0 and standard deviation 1."""
    values = {"level": 0.0, "sigma": 1.0, "counts_per_jy": 1.0, "power": 0.0, "baseline": 0.0}
    values |= {"correlation": 0.0} | {k: v for k, v in changes.items() if k != "n_bits"}
    settings = {"gain_drift": 0.0, "gain_drift_s": 1.0, "baseline_s": (0.01, 100.0)}
    settings |= {name: values.pop(name) for name in list(values) if name in settings}
    channels = {name: np.full(n_channels, value, np.float32) for name, value in values.items()}
    return Receiver(**channels, **settings, sampling_s=SAMPLING_S, n_bits=changes.get("n_bits", 32))


def noise(n_time: int = 16384, **changes) -> np.ndarray:
    recorder = Recorder(receiver(**changes), seed=1)
    return recorder.record(np.zeros((n_time, 64), np.float32)).counts


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    numbers = np.empty(10_000_000, np.float32)
    fill_normal(numbers, generator_state(1, 2), body_table())
    return numbers


def test_gaussian_numbers_have_the_moments_of_a_normal_distribution(numbers):
    n, x = len(numbers), numbers.astype(np.float64)
    assert x.mean() == pytest.approx(0, abs=5 / np.sqrt(n))
    assert x.var() == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert (x**3).mean() == pytest.approx(0, abs=5 * np.sqrt(15 / n))
    assert (x**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / n))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0, 3.3, 3.6, 4.0, 4.5, 5.0])
def test_gaussian_numbers_have_the_tails_of_a_normal_distribution(numbers, sigma):
    for found in ((numbers > sigma).sum(), (numbers < -sigma).sum()):
        expected = len(numbers) * ndtr(-sigma)
        assert found == pytest.approx(expected, abs=5 * np.sqrt(expected) + 1)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 64, 257])
def test_gaussian_numbers_do_not_know_of_each_other(numbers, lag):
    for x in (numbers, numbers**2 - 1, np.abs(numbers) > 3.3):
        x = x - np.float32(x.mean())
        correlation = np.mean(x[:-lag] * x[lag:]) / np.mean(x * x)
        assert correlation == pytest.approx(0, abs=5 / np.sqrt(len(x)))


def test_other_keys_give_other_numbers():
    drawn = np.empty((3, 1000), np.float32)
    for row, key in zip(drawn, [(1, 2), (1, 2), (1, 3)], strict=True):
        fill_normal(row, generator_state(*key), body_table())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert abs(np.corrcoef(drawn[0], drawn[2])[0, 1]) < 5 / np.sqrt(1000)


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.1, 0.5])
def test_neighbouring_channels_are_correlated_as_asked_and_others_are_not(correlation):
    x = noise(correlation=correlation)
    error = 5 / np.sqrt(x.size)
    assert x.var() == pytest.approx(1, abs=2 * error)
    assert np.mean(x[:, 1:] * x[:, :-1]) == pytest.approx(correlation, abs=2 * error)
    assert np.mean(x[:, 2:] * x[:, :-2]) == pytest.approx(0, abs=2 * error)


def test_the_noise_stays_when_the_signal_changes():
    signal = np.zeros((100, 64), np.float32)
    signal[40:50] = 3.0
    with_signal = Recorder(receiver(), seed=1).record(signal).counts
    without = Recorder(receiver(), seed=1).record(np.zeros_like(signal)).counts
    np.testing.assert_allclose(with_signal - without, signal, atol=1e-5)


def test_the_baseline_is_one_over_f_and_the_same_in_all_channels():
    x = noise(1 << 18, sigma=0.0, baseline=2.0)
    np.testing.assert_array_equal(x[:, 0], x[:, 63])
    frequency_hz, power = periodogram(x[:, 0], fs=1 / SAMPLING_S)
    chosen = (frequency_hz > 0.2) & (frequency_hz < 8)  # well inside 1 / (2 pi 100 s) to 16 Hz
    bins = np.array_split(np.flatnonzero(chosen), 8)
    slope = np.polyfit(
        [np.log(frequency_hz[b].mean()) for b in bins], [np.log(power[b].mean()) for b in bins], 1
    )[0]
    assert slope == pytest.approx(-1, abs=0.35)


def test_the_gain_drifts_by_as_much_and_as_fast_as_asked():
    recorder = Recorder(receiver(gain_drift=0.02, gain_drift_s=0.01), seed=1)
    gain = recorder.record(np.zeros((1 << 18, 64), np.float32)).gain.astype(np.float64)
    n = len(gain) * SAMPLING_S / 0.02  # independent pieces
    assert gain.std() == pytest.approx(0.02, rel=5 / np.sqrt(2 * n))
    lag = round(0.01 / SAMPLING_S)
    correlation = np.corrcoef(gain[lag:], gain[:-lag])[0, 1]
    assert correlation == pytest.approx(np.exp(-1), abs=5 / np.sqrt(n))


def test_a_drifting_gain_moves_the_level_by_the_system_temperature():
    recorded = Recorder(receiver(sigma=0.0, power=100.0, gain_drift=0.1), seed=1).record(
        np.zeros((1000, 64), np.float32)
    )
    expected = 100 * (recorded.gain - 1)
    np.testing.assert_allclose(recorded.counts[:, 5], expected, rtol=1e-4, atol=1e-4)


def digitise(flux_jy: np.ndarray, gain: np.ndarray, sigma_jy: float, n_bits: int) -> np.ndarray:
    """The digitiser as numpy says it."""
    level = flux_jy / np.float32(sigma_jy * STEP_SIGMA[n_bits])
    if keeps_bandpass(n_bits):
        level *= gain.astype(np.float32)
    if n_bits == 32:
        return level
    counts = np.rint(level + np.float32(mean_count(n_bits)))
    return np.clip(counts, 0, highest_count(n_bits)).astype(sample_type(n_bits))


@pytest.mark.parametrize("n_bits", [1, 2, 4, 8, 16, 32])
def test_the_recorder_and_the_plain_digitiser_store_the_same(n_bits):
    parameters = ObservationParameters(n_bits=n_bits, gain_drift=0.0, baseline_jy=0.0)
    gain = bandpass(BAND_MHZ, 0.3, np.random.default_rng(1), n_notches=2)
    flux_jy = np.random.default_rng(2).normal(0, 3, (500, 256)).astype(np.float32)
    telescope = receiver_of(parameters, gain, 0.875)
    silent = Receiver(**(vars(telescope) | {"sigma": np.zeros_like(telescope.sigma)}))
    found = Recorder(silent, seed=1).record(flux_jy).counts
    expected = digitise(flux_jy, gain, 0.875, n_bits)
    if n_bits == 32:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    else:
        # A value half-way between two counts may go either way.
        assert (found != expected).mean() < 1e-3
        assert found.max() <= highest_count(n_bits)


@pytest.mark.parametrize(("n_bits", "kept"), [(1, 2 / np.pi), (2, 0.8812), (4, 0.9885), (8, 0.9997)])
def test_the_digitiser_keeps_as_much_signal_as_theory_says(n_bits, kept):
    # Power of S/N kept: Thompson, Moran & Swenson, table 8.1: 0.637, 0.881 and, of 16 levels, 0.988.
    recorder = Recorder(receiver_of(ObservationParameters(n_bits=n_bits), np.ones(64), 1.0), seed=1)
    counts = recorder.record(np.zeros((60_000, 64), np.float32)).counts
    again = Recorder(receiver_of(ObservationParameters(n_bits=32), np.ones(64), 1.0), seed=1)
    exact = again.record(np.zeros((60_000, 64), np.float32)).counts
    efficiency = np.corrcoef(counts.ravel(), exact.ravel())[0, 1] ** 2
    assert efficiency == pytest.approx(kept, abs=2e-3)


def test_a_strong_signal_saturates_at_either_end():
    telescope = receiver_of(ObservationParameters(), np.ones(64), 1.0)
    signal = np.stack([np.full(64, 1e6), np.full(64, -1e6)]).astype(np.float32)
    assert set(Recorder(telescope, seed=1).record(signal).counts.ravel()) == {0, 255}
    assert mean_count(8) == pytest.approx(95.625)


def test_a_notch_takes_a_fiftieth_of_the_band_out():
    plain = bandpass(BAND_MHZ, 0.0, np.random.default_rng(1))
    notched = bandpass(BAND_MHZ, 0.0, np.random.default_rng(1), n_notches=1)
    out = notched < 0.5 * plain
    assert 3 <= out.sum() <= 8
    assert (notched[~out] > 0.4).sum() > 240


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lies_in_the_band_and_is_as_narrow_as_its_label(kind):
    rng = np.random.default_rng(1)
    for _ in range(30):
        event = draw(kind, 4096, BAND_MHZ, SAMPLING_S, rng)
        assert event.patch.dtype == np.float32
        assert np.isfinite(event.patch).all()
        assert event.patch.min() >= 0
        assert 0 <= event.start < 4096
        assert 0 <= event.first_channel < event.stop_channel <= 256
        if event.label == "bbrfi":
            assert event.patch.shape[1] == 256
        if event.label == "nbrfi":
            # Never more than half the band, and at one time no more than 20 MHz of it.
            assert event.patch.shape[1] <= 128
            assert (event.patch > 0.05 * event.patch.max()).sum(axis=1).max() <= 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n_channels", "sampling_s"), [(8, 1e-6), (8, 0.1), (4096, 1e-6), (1024, 0.01)]
)
def test_every_kind_can_be_drawn_for_any_telescope(kind, n_channels, sampling_s):
    band_mhz = np.linspace(400, 430, n_channels)
    event = draw(kind, 64, band_mhz, sampling_s, np.random.default_rng(3))
    assert event.patch.size <= 1 << 22
    assert event.stop_channel <= n_channels


def test_an_event_is_added_where_it_lies_and_keeps_its_fluence():
    event = draw("radar", 100, BAND_MHZ, SAMPLING_S, np.random.default_rng(1)).scaled(2.0)
    spectra = np.zeros((2000, 256), np.float32)
    event.add_to(spectra[:1000])
    event.add_to(spectra[1000:], 1000)
    assert spectra[event.start : event.stop].sum() == pytest.approx(spectra.sum())
    fluence = spectra.sum() / event.patch.shape[1] * SAMPLING_S * 1e3
    assert event.fluence_jy_ms(SAMPLING_S) == pytest.approx(fluence, rel=1e-5)


def test_beacons_send_as_many_pulses_as_the_standard_says():
    rng, hits = np.random.default_rng(1), []
    for _ in range(60):
        patch = draw("beacon", 4096, BAND_MHZ, 1e-6, rng).patch
        hits.append((patch[:, 0] > 0).sum() / len(patch) / 1e-6)
    # Pairs of pulses, 2700 a second; two of them seldom fall into one microsecond.
    assert np.mean(hits) == pytest.approx(5400, rel=0.02)


def test_mains_pulses_come_at_50_or_100_hz():
    rng = np.random.default_rng(2)
    for _ in range(20):
        patch = draw("mains", 4096, BAND_MHZ, SAMPLING_S, rng).patch[:, 0]
        begins = np.flatnonzero(np.diff((patch > 0).astype(int)) == 1)
        steps_s = np.diff(begins) * SAMPLING_S
        assert np.median(steps_s) == pytest.approx(0.01, abs=3e-4) or np.median(
            steps_s
        ) == pytest.approx(0.02, abs=3e-4)


def begun(parameters: ObservationParameters, segment: int):
    return events_begun(
        parameters,
        1,
        first=4096 * segment,
        n_spectra=4096,
        segment_spectra=4096,
        frequency_mhz=BAND_MHZ,
        sampling_s=SAMPLING_S,
    )


def test_events_come_as_often_as_asked():
    rates = {"carrier_rate_hz": 5.0, "impulse_rate_hz": 20.0, "hopping_rate_hz": 0.0}
    parameters = ObservationParameters(**rates)
    kinds = [event.kind for segment in range(200) for event in begun(parameters, segment)]
    duration_s = 200 * 4096 * SAMPLING_S
    for kind in ("carrier", "impulse", "hopping"):
        expected = rates[f"{kind}_rate_hz"] * duration_s
        assert kinds.count(kind) == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_switching_one_kind_off_leaves_the_others_as_they_are():
    everything = ObservationParameters(**ALL_PHYSICS)
    without = everything.replace(carrier_rate_hz=0.0)
    for segment in range(20):
        expected = [event for event in begun(everything, segment) if event.kind != "carrier"]
        found = begun(without, segment)
        assert [(e.kind, e.start) for e in found] == [(e.kind, e.start) for e in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.patch, other.patch)


def test_a_persistent_carrier_stays_in_its_channel_and_never_stops():
    parameters = ObservationParameters(persistent_carriers=2, carrier_rate_hz=0.0, impulse_rate_hz=0.0)
    segments = [begun(parameters, segment) for segment in range(5)]
    places = {tuple((e.first_channel, e.patch.shape) for e in events) for events in segments}
    assert len(places) == 1
    assert all(len(event.patch) == 4096 for events in segments for event in events)
    assert not np.array_equal(segments[0][0].patch, segments[1][0].patch)
