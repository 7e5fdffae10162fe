"""What classifiers label, the figure of it, and how a classifier is found by its name."""

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from physics_twins.figures import load_extension
from physics_twins.models import ModelError
from physics_twins.pulsar.classifying.classifiers import find_classifier
from physics_twins.pulsar.classifying.labels import HAS_PULSE, LABELS, from_components
from physics_twins.pulsar.classifying.network import FrameNetwork
from physics_twins.pulsar.figures import search_plots
from physics_twins.pulsar.model import Classifier
from physics_twins.pulsar.searching.frontend import Frames
from physics_twins.pulsar.streams.label_files import COLUMNS


def test_the_labels_are_drawn():
    load_extension()
    columns = {
        name: ("frame", np.array([1.0, 2.0]), {"units": unit or "1"}) for name, unit in COLUMNS.items()
    }
    table = xr.Dataset({**columns, "label": ("frame", np.array(["pulse+nbrfi", "none"]))})
    drawn = search_plots.labels_over_time(table.assign(kept=("frame", np.array([1, 0]))))
    assert {part.label for part in drawn} == {"pulse", "nothing", "kept"}
    assert "1 of 2 frames are kept" in hv.render(drawn).title.text


def test_probabilities_of_independent_components_multiply():
    p = from_components(*(np.array([x]) for x in (0.5, 0.25, 0.0, 0.2)))
    expected = dict.fromkeys(LABELS, 0.0)
    expected |= {"none": 0.3, "pulse": 0.3, "nbrfi": 0.1, "pulse+nbrfi": 0.1, "other": 0.2}
    assert dict(zip(LABELS, p[0].tolist(), strict=True)) == pytest.approx(expected)
    assert p[:, HAS_PULSE].sum() == pytest.approx(0.4)


def _labels(*rows: dict[str, float]) -> tuple[list[str], np.ndarray]:
    """What a classifier whose network gives these probabilities says of a stream."""

    class Told(Classifier):
        def probabilities(self, frames: Frames) -> np.ndarray:
            return np.array([[row.get(name, 0) for name in LABELS] for row in rows], np.float32)

    trained_at = dict(zip(LABELS, from_components(0.5, 0.5, 0.5, 0.1).tolist(), strict=True))
    found = Told(FrameNetwork(), frequencies=trained_at).classify(None)  # pyright: ignore
    return [LABELS[n] for n in found.argmax(axis=1)], found[:, HAS_PULSE].sum(axis=1)


def test_a_trained_network_labels_by_its_probabilities():
    names, p_pulse = _labels({"pulse+bbrfi": 1.0})
    assert names == ["pulse+bbrfi"]
    assert p_pulse == pytest.approx([1.0])


def test_what_is_rare_in_a_stream_needs_better_evidence_than_in_the_training():
    rows = {"none": 0.3, "pulse": 0.7}, {"none": 0.0001, "pulse": 0.9999}
    names, p_pulse = _labels(*rows)
    assert names == ["none", "pulse"]
    odds = 0.7 / 0.3 * 0.002 / 0.998
    assert p_pulse[0] == pytest.approx(odds / (1 + odds), rel=1e-3)


def test_a_frame_is_other_only_where_the_network_is_sure_of_it():
    names, _ = _labels({"nbrfi": 0.1, "other": 0.9}, {"nbrfi": 0.001, "other": 0.999})
    assert names == ["nbrfi", "other"]


def test_a_classifier_is_found_by_its_name():
    assert find_classifier("thresholds").name == "thresholds"
    with pytest.raises(ModelError, match="nobody"):
        find_classifier("nobody")
