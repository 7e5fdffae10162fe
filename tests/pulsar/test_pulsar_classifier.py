"""The classifier of frames: examples, network, calibration, probabilities."""

import numpy as np
import pytest
import torch

from physics_twins import models
from physics_twins.parameters import ParameterError
from physics_twins.pulsar.classifying.calibration import fit_scaling, macro_f1, reliability
from physics_twins.pulsar.classifying.examples import examples, examples_of_stream
from physics_twins.pulsar.classifying.labels import HAS_PULSE, LABELS, at_frequencies
from physics_twins.pulsar.classifying.network import SHEARS, FrameNetwork, Shear
from physics_twins.pulsar.model import (
    NAME,
    Classifier,
    ExampleTensors,
    load_classifier,
    pulse_score,
    save_classifier,
)
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.preview_label import label_pulse
from physics_twins.pulsar.searching.frontend import SCALARS
from physics_twins.pulsar.train import train
from physics_twins.pulsar.verb_parameters import (
    EIGHT_CLASSES,
    W_CLS,
    ClassifierParameters,
    LabelParameters,
)

BRIGHT = W_CLS.replace(n_windows=16, pulse_fraction=0.5, snr_min=20.0, snr_max=30.0)


@pytest.fixture(scope="module")
def bright():
    return examples([BRIGHT], [[1, 2]])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return FrameNetwork().eval()


def test_examples_hold_the_labelled_frames_and_pictures_of_the_gated_ones(bright):
    assert bright.sizes["frame"] == 32
    assert bright.sizes["gated"] == int(bright["is_gated"].sum())
    with_pulse = HAS_PULSE[bright["label"].values]
    assert {LABELS[n] for n in bright["label"].values} == {"none", "pulse"}
    assert bright["is_gated"].values[with_pulse].all()
    assert all("units" in bright[name].attrs for name in bright.data_vars)


def test_examples_follow_from_their_seed():
    one, again = (examples_of_stream(BRIGHT, LabelParameters(), seed=3) for _ in range(2))
    assert one.identical(again)


def test_a_stack_is_added_highest_where_it_is_not_sheared():
    stacks = torch.zeros(1, 8, 128)
    stacks[:, :, 64] = 1
    added = Shear(8, 128)(stacks)[0]
    best = divmod(int(added.argmax()), 128)
    assert best == (SHEARS.index(0), 64)
    assert added.max() == pytest.approx(8**0.5)


def test_a_shear_finds_the_stack_that_is_sheared_so():
    stacks = torch.zeros(1, 8, 128)
    for subband, shift in enumerate(torch.round(8 * torch.linspace(-0.5, 0.5, 8)).int()):
        stacks[0, subband, 64 + shift] = 1
    best = divmod(int(Shear(8, 128)(stacks)[0].argmax()), 128)
    assert best == (SHEARS.index(8), 64)


def test_frames_are_judged_alike_alone_and_among_others(bright, network):
    frames = ExampleTensors.of(bright)
    together = frames.logits(network)
    alone = torch.cat([network(*frames.inputs(torch.tensor([n]))) for n in range(32)])
    torch.testing.assert_close(together, alone.detach(), atol=1e-4, rtol=1e-4)


def test_any_height_of_interference_gives_finite_logits(bright, network):
    frames = ExampleTensors.of(bright)
    inputs = [
        part * 1e4 if part.is_floating_point() else part for part in frames.inputs(torch.arange(32))
    ]
    assert torch.isfinite(network(*inputs)).all()


def test_the_network_is_smaller_than_a_megabyte(network):
    assert sum(4 * weight.numel() for weight in network.state_dict().values()) < 1e6


@pytest.mark.slow
def test_a_short_training_tells_bright_pulses_from_noise(bright):
    settings = ClassifierParameters(n_steps=60, batch_size=16)
    held_out = examples([BRIGHT], [[3]])
    trained = train(bright, settings, validation=held_out, seed=1, progress=False)
    logits = ExampleTensors.of(held_out).logits(trained.modules["network"])
    score = pulse_score(logits.softmax(dim=1).numpy())
    with_pulse = HAS_PULSE[held_out["label"].values]
    assert score[with_pulse].min() > score[~with_pulse].max()


def test_scaling_undoes_what_was_done_to_calibrated_logits():
    rng = np.random.default_rng(1)
    logits = torch.tensor(rng.normal(0, 2, (20_000, 3)), dtype=torch.float32)
    probability = logits.softmax(dim=1).numpy()
    label = torch.tensor((probability.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1))
    scale, offset = fit_scaling(3 * logits + torch.tensor([1.0, 0.0, -1.0]), label, torch.eye(3))
    assert float(scale) == pytest.approx(1 / 3, rel=0.05)
    # Offsets are free up to a constant.
    assert np.diff(offset.numpy()) == pytest.approx([1 / 3, 1 / 3], abs=0.1)


def test_the_error_of_macro_f1_is_that_of_as_many_frames():
    rng = np.random.default_rng(6)
    label = rng.integers(0, 8, 4000)
    given = np.where(rng.random(4000) < 0.98, label, rng.integers(0, 8, 4000))
    value, error, _ = macro_f1(np.eye(len(LABELS))[given], label)
    # A share of 4000 frames; drawn with labels and answers apart, it would be twice that.
    assert error == pytest.approx(np.sqrt(value * (1 - value) / 4000), rel=0.25)


def test_every_label_that_occurs_counts_alike():
    label = np.array([0] * 90 + [LABELS.index("other")] * 10)
    # Half of "other" is missed: F1 is 180/185 for none, 10/15 for it.
    value, _, each = macro_f1(np.eye(len(LABELS))[np.array([0] * 95 + [8] * 5)], label)
    np.testing.assert_allclose(each, [180 / 185, 10 / 15])
    assert value == pytest.approx((180 / 185 + 10 / 15) / 2)


def test_frames_whose_label_is_not_clear_are_left_out_unless_wanted():
    faint = W_CLS.replace(n_windows=4, window_frames=1, pulse_fraction=0.0, nbrfi_fraction=1.0)
    faint = faint.replace(rfi_snr_min=3.0, rfi_snr_max=4.0)
    found = [examples([faint.replace(clear_only=only)], [[1]]).sizes["frame"] for only in (True, False)]
    assert found == [0, 4]


def test_honest_probabilities_have_no_calibration_error_and_boasting_ones_have():
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 1, 20_000)
    probability = np.stack([sure, 1 - sure], axis=1)
    label = (rng.random(20_000) > sure).astype(int)
    # By chance each of 15 bins is off by some half a per cent.
    assert float(reliability(probability, label)["calibration_error"]) < 0.02
    boasting = np.stack([np.ones(20_000), np.zeros(20_000)], axis=1)
    found = reliability(boasting, label)
    assert float(found["calibration_error"]) == pytest.approx(1 - sure.mean(), abs=0.02)


def test_rarer_pulses_make_a_pulse_less_probable():
    probability = np.full((1, len(LABELS)), 1 / len(LABELS))
    even = dict.fromkeys(LABELS, 1 / len(LABELS))
    rare = even | {"pulse": 0.001}
    pulse = LABELS.index("pulse")
    changed = at_frequencies(probability, even, rare)
    assert changed.sum() == pytest.approx(1)
    # Bayes: its odds fall as its frequency.
    odds = changed[0, pulse] / (1 - changed[0, pulse])
    assert odds == pytest.approx(0.009 / 8)


def test_probabilities_of_a_stream_sum_to_one_also_where_nothing_was_looked_at(network):
    from physics_twins.pulsar.classifying.windows import labelled_stream
    from physics_twins.pulsar.physics.sky import receiver_band
    from physics_twins.pulsar.searching.frontend import FrontEnd

    stream = labelled_stream(EIGHT_CLASSES.replace(n_windows=8), seed=1)
    frames = FrontEnd(receiver_band(EIGHT_CLASSES), LabelParameters())(
        stream["data"].values, n_before=0, n_frames=32
    )
    probability = Classifier(network).probabilities(frames)
    assert probability.shape == (32, len(LABELS))
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-5)


def test_dms_whose_pulses_look_like_interference_in_this_band_are_refused():
    with pytest.raises(ParameterError, match=r"dm_min_pc_cm3 = 40 pc cm-3 crosses the band in 0\."):
        ClassifierParameters(centre_frequency_mhz=5000.0, bandwidth_mhz=100.0)


def test_a_saved_classifier_knows_its_band_and_labels_no_other(tmp_path, network):
    parameters = ClassifierParameters(centre_frequency_mhz=600.0, n_channels=64, dm_max_pc_cm3=50.0)
    card = models.Card(summary="A test.", data="None.", limits="Untrained.")
    label = np.arange(len(LABELS))
    facts = {"card": card, "metrics": {"accuracy": 0.1}, "seed": 1, "root": tmp_path}
    save_classifier(network, calibrated_on=label, parameters=parameters, **facts)
    found = load_classifier(root=tmp_path)
    assert found.band.to_papermill() == {
        "centre_frequency_mhz": 600.0,
        "bandwidth_mhz": 320.0,
        "n_channels": 64,
        "sampling_time_us": 102.4,
    }
    assert found.sought.dm_max_pc_cm3 == 50
    with pytest.raises(ValueError, match="= 1370 MHz, but the classifier was trained at 600 MHz"):
        label_pulse(ObservationParameters(), seed=1, classifier=found)


def test_weights_keep_the_thresholds_that_they_were_trained_with(tmp_path, network):
    card = models.Card(summary="A test.", data="None.", limits="Untrained.")
    facts = {"card": card, "metrics": {"accuracy": 0.1}, "seed": 1, "root": tmp_path}
    saved = save_classifier(
        network, calibrated_on=np.arange(9), parameters=ClassifierParameters(), **facts
    )
    box = SCALARS.index("box_1x1")
    assert load_classifier(root=tmp_path).network.threshold[box] == 16
    older = {name: value for name, value in saved.config.items() if name != "shows"}
    models.save(network, NAME, config=older, parameters={}, **facts)
    assert load_classifier(root=tmp_path).network.threshold[box] == pytest.approx(5.4)
    wrong = older | {"shows": {"box": 1.0}}
    models.save(network, NAME, config=wrong, parameters={}, **facts)
    with pytest.raises(models.ModelError, match="shows: needed are snr, box, rough"):
        load_classifier(root=tmp_path)


def test_a_classifier_for_another_front_end_is_refused(tmp_path, network):
    card = models.Card(summary="A test.", data="None.", limits="Untrained.")
    models.save(
        network,
        "pulsar-classifier",
        config={"scalars": ["snr"]},
        card=card,
        metrics={"accuracy": 0.1},
        parameters={},
        seed=1,
        root=tmp_path,
    )
    with pytest.raises(models.ModelError, match=r"trained with scalars = \['snr'\]"):
        load_classifier(root=tmp_path)
