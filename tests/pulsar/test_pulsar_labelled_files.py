"""Frames of recordings with somebody's labels, as examples for a training."""

import numpy as np
import pytest

from physics_twins.pulsar.classifying.examples import examples_of_stream
from physics_twins.pulsar.classifying.labelled_files import labelled_files
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.classifying.windows import labelled_stream
from physics_twins.pulsar.files import write_dataset
from physics_twins.pulsar.train import training_examples, validation_examples
from physics_twins.pulsar.verb_parameters import W_CLS, ClassifierParameters, LabelParameters

BRIGHT = W_CLS.replace(n_windows=24, window_frames=1, pulse_fraction=0.5, snr_min=20.0, snr_max=30.0)
FRAME_S = 256 * 102.4e-6


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A recording, and the labels of its frames as one would write them down."""
    folder = tmp_path_factory.mktemp("labelled")
    stream = labelled_stream(BRIGHT, seed=3)
    write_dataset(stream.assign_attrs(n_bits=8), folder / "night.fil")
    lines = [f"night.fil,{n * FRAME_S:.6f},{LABELS[k]}" for n, k in enumerate(stream["label"].values)]
    path = folder / "labels.csv"
    path.write_text("\n".join(["file,start_s,label", *lines]))
    return path


def test_real_frames_are_seen_as_those_of_the_same_stream_made_in_memory(table):
    real, made = labelled_files(table), examples_of_stream(BRIGHT, LabelParameters(), seed=3)
    np.testing.assert_array_equal(real["label"], made["label"])
    # Level and noise are those of a block that goes on to the end of the file.
    with_pulse = made["label"].values == LABELS.index("pulse")
    snr = {kind: each["scalars"].sel(scalar="snr").values for kind, each in (("r", real), ("m", made))}
    np.testing.assert_allclose(snr["r"][with_pulse], snr["m"][with_pulse], rtol=0.03)


def test_a_training_takes_four_of_five_real_frames_and_validates_with_the_fifth(table):
    few = ClassifierParameters(
        n_noise_streams=1, n_faint_streams=1, n_class_streams=1, n_mixed_streams=1,
        labelled_path=str(table),
    )  # fmt: skip
    counts = [
        int((made(few, seed=1)["part"] == 4).sum()) for made in (training_examples, validation_examples)
    ]
    assert counts == [19, 5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("night.fil,0.0,pulsar", "row 0: label = 'pulsar': expected one of none, pulse"),
        ("night.fil,0.001,pulse", "row 0: start_s = 0.001: expected the start of one of the 29 frames"),
        ("night.fil,9,pulse", "row 0: start_s = 9: expected the start"),
        (f"night.fil,{-FRAME_S:.6f},pulse", "row 0: start_s = -0.026214: expected the start"),
        (f"night.fil,{29 * FRAME_S - 1e-5:.6f},pulse", "row 0: start_s = 0.760208: expected the start"),
        ("night.fil,soon,pulse", "row 0: start_s = soon: expected the start"),
    ],
)
def test_a_row_that_names_no_frame_or_label_is_refused(table, line, message):
    path = table.with_name("wrong.csv")
    path.write_text(f"file,start_s,label\n{line}\n")
    with pytest.raises(ValueError, match=message):
        labelled_files(path)


def test_a_table_without_labels_is_refused(table):
    path = table.with_name("short.csv")
    path.write_text("file,start_s\nnight.fil,0\n")
    with pytest.raises(ValueError, match="column label: missing"):
        labelled_files(path)
