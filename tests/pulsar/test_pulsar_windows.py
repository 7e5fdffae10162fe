"""Labelled streams, and the ideal filter in white noise."""

from dataclasses import replace

import numpy as np
import pytest

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.classifying.examples import examples_of_stream
from physics_twins.pulsar.classifying.labels import CLASSES, LABELS
from physics_twins.pulsar.classifying.recall_curves import (
    best_snr,
    boxcar_template,
    fraction_above,
    gaussian_template,
    threshold_at,
)
from physics_twins.pulsar.classifying.windows import (
    FRAME_SPECTRA,
    Canvas,
    Pulse,
    labelled_stream,
    normalised_windows,
    paint_pulse,
)
from physics_twins.pulsar.physics.interference import Event
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.verb_parameters import EIGHT_CLASSES, W_CLS, LabelParameters, WindowParameters

BAND = receiver_band(W_CLS)
QUIET = W_CLS.replace(n_windows=4, pulse_fraction=0.0)


@pytest.fixture(scope="module")
def mixed():
    return labelled_stream(EIGHT_CLASSES.replace(n_windows=16), seed=1)


def test_a_pulse_has_the_stated_snr_over_its_whole_sweep():
    flat = np.zeros((1024, 256), np.float32)
    pulse = Pulse(9.0, 70.0, 2.0, scattering_ms=1.0, smeared=True)
    paint_pulse(flat, pulse, 30.0, BAND.frequency_mhz, BAND.sampling_s, 1.25)
    assert np.sqrt((flat**2).sum()) == pytest.approx(9, rel=1e-5)
    sloping = np.zeros((1024, 256), np.float32)
    pulse = replace(pulse, spectrum=np.linspace(0, 1, 256))
    paint_pulse(sloping, pulse, 30.0, BAND.frequency_mhz, BAND.sampling_s, 1.25)
    assert (sloping * flat).sum() / 9 == pytest.approx(9, rel=1e-5)


def test_noise_has_the_stated_level_and_gain_in_each_channel():
    stream = labelled_stream(QUIET.replace(n_windows=16), seed=1)
    deviations = (stream["data"].values - stream["level"].values) / stream["gain"].values
    n = len(deviations)
    assert np.abs(deviations.mean(axis=0)).max() < 5 / np.sqrt(n)
    # Rounding to counts adds a variance of 1/12; the weakest channels have a gain of some 5 counts.
    expected = np.sqrt(1 + 1 / 12 / stream["gain"].values ** 2)
    np.testing.assert_allclose(deviations.std(axis=0), expected, atol=5 / np.sqrt(2 * n))


def test_the_same_seed_gives_the_same_stream_and_another_one_does_not(mixed):
    parameters = EIGHT_CLASSES.replace(n_windows=16)
    assert mixed.equals(labelled_stream(parameters, seed=1))
    assert not mixed["data"].equals(labelled_stream(parameters, seed=2)["data"])


def test_eight_classes_come_equally_often_and_each_component_is_clear(mixed):
    label = mixed["label"].values[mixed["labelled"].values]
    assert (np.bincount(label, minlength=9) == [2] * 8 + [0]).all()
    for kind in ("nbrfi", "bbrfi"):
        snr = mixed[f"snr_{kind}"].values[mixed["labelled"].values]
        there = np.array([kind in CLASSES[n] for n in label])
        assert (snr[there] > 7.99).all()
        assert not snr[~there].any()


def test_faint_interference_is_as_faint_as_stated_and_has_no_label():
    faint = QUIET.replace(n_windows=24, window_frames=1, rfi_snr_min=3.0, rfi_snr_max=6.0)
    faint = faint.replace(nbrfi_fraction=1.0, bbrfi_fraction=1.0, peryton_fraction=0.5)
    stream = labelled_stream(faint, seed=1)
    for kind in ("nbrfi", "bbrfi", "other"):
        first = stream[f"snr_{kind}"].values  # what begins in one frame may go on in the next
        assert np.median(first[first > 0]) == pytest.approx(4.2, abs=1.3)
        assert first[first > 0].size > 8
    below = (stream["snr_nbrfi"] < 8) & (stream["snr_bbrfi"] < 8) & (stream["snr_other"] < 8)
    assert int(below.sum()) > 16
    assert (stream["label"].values[below.values] == 0).all()
    assert not stream["clear"].values.any()


@pytest.mark.parametrize("kind", ["nbrfi", "bbrfi", "other"])
def test_interference_that_goes_on_is_nowhere_stronger_than_stated(kind):
    faint = QUIET.replace(n_windows=24, window_frames=4, clear_only=False, rfi_snr_max=8.0)
    often = {f"{name}_{where}": 0.5 for name in ("nbrfi", "bbrfi") for where in ("fraction", "outside")}
    often |= {"rfi_snr_min": 3.0, "peryton_fraction": 0.2}
    stream = labelled_stream(faint.replace(**often), seed=3)
    snr = stream[f"snr_{kind}"].values
    assert (snr >= 3).sum() > 10
    assert snr.max() <= 8.0 * (1 + 1e-6)


def test_interference_may_lie_outside_the_labelled_frames(mixed):
    outside = ~mixed["labelled"].values
    assert (mixed["snr_nbrfi"].values[outside] > 8).any()


def test_pulses_arrive_in_their_frames(mixed):
    frame = mixed["pulse_time_s"].values / BAND.sampling_s // FRAME_SPECTRA
    np.testing.assert_array_equal(frame, mixed["pulse_frame"])
    assert all("pulse" in CLASSES[n] for n in mixed["label"].values[mixed["pulse_frame"].values])


def test_faults_are_labelled_other():
    stream = labelled_stream(QUIET.replace(n_windows=24, other_fraction=1.0), seed=1)
    assert {LABELS[n] for n in stream["label"].values[stream["labelled"].values]} == {"other"}
    assert (stream["data"].values == 0).any()  # lost packets


def test_another_band_is_a_matter_of_parameters():
    low = WindowParameters(
        n_windows=8,
        pulse_fraction=1.0,
        centre_frequency_mhz=600.0,
        bandwidth_mhz=100.0,
        n_channels=64,
        sampling_time_us=256.0,
        snr_min=40.0,
        snr_max=40.0,
    )
    stream = labelled_stream(low, seed=1)
    assert stream.sizes["frequency"] == 64
    assert stream["frequency"].values[[0, -1]] == pytest.approx([649.21875, 550.78125])
    assert float(stream["time"][1]) == pytest.approx(256e-6)
    frames = examples_of_stream(low, LabelParameters(), seed=1)
    # Its filters are boxcars, and end at 5 ms; noise alone reaches 5.
    assert np.median(frames["scalars"].sel(scalar="snr").values) > 0.7 * 40


def test_a_pulse_that_takes_too_long_to_cross_the_band_is_refused():
    with pytest.raises(ParameterError, match="dm_max_pc_cm3 = 3000 pc cm-3 takes 40 s to cross"):
        WindowParameters(centre_frequency_mhz=400.0, bandwidth_mhz=100.0, dm_max_pc_cm3=3000.0)


def test_a_range_upside_down_is_refused():
    with pytest.raises(ParameterError, match="snr_min = 50 must not be above snr_max = 30"):
        WindowParameters(snr_min=50.0)


def test_the_matched_filter_finds_the_stated_snr_on_average():
    parameters = W_CLS.replace(n_windows=48, snr_min=20.0, snr_max=20.0)
    windows = normalised_windows(labelled_stream(parameters, seed=1))
    snr = best_snr(windows, 56.7, gaussian_template(2.0), sampling_s=BAND.sampling_s)
    # Arrivals between samples cost 0.5 %; the highest of some positions gains 1 %.
    assert snr.mean() == pytest.approx(20, abs=5 / np.sqrt(48) + 0.2)
    boxcar = best_snr(windows, 56.7, boxcar_template(5), sampling_s=BAND.sampling_s)
    assert boxcar.mean() < snr.mean()


def test_a_threshold_is_exceeded_by_the_stated_part():
    scores = np.random.default_rng(1).normal(size=1000)
    assert fraction_above(scores, threshold_at(scores, 0.05))[0] == pytest.approx(0.05)
    with pytest.raises(ValueError, match="needs 1000 frames or more, found 10"):
        threshold_at(scores[:10], 0.001)


def test_interference_has_the_snr_of_the_best_boxcar_in_it_and_not_of_the_silence_around_it():
    patch = np.zeros((200, 8), np.float32)
    patch[40:44, 2:4] = 3.0  # eight samples of 3 sigma: 24 over the root of 8
    canvas = Canvas(np.zeros((1024, 256), np.float32), 4, receiver_band(QUIET))
    event = Event("radar", start=300, first_channel=16, patch=patch)
    canvas.add(event, snr=5.0, frame=1, highest_snr=8.0)
    assert canvas.power["nbrfi"] == pytest.approx([0, 25, 0, 0])
    assert canvas.signal[340, 18] == pytest.approx(3.0 * 5.0 / (24 / 8**0.5))
