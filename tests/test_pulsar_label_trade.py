"""What classifiers keep against what they delete, their figures, and how one is found by its name."""

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from physics_twins.model_manifest import ModelError
from physics_twins.plots import load_extension
from physics_twins.pulsar import label_plots, label_trade
from physics_twins.pulsar.frame_labels import FrameLabels
from physics_twins.pulsar.frontend import Frames
from physics_twins.pulsar.label_files import COLUMNS
from physics_twins.pulsar.labels import LABELS
from physics_twins.pulsar.threshold_classifier import ThresholdClassifier, labels_from
from physics_twins.pulsar.trained_classifier import TrainedClassifier, find_classifier
from physics_twins.pulsar.window_parameters import WindowParameters


@pytest.fixture(scope="module")
def curves() -> xr.Dataset:
    stream = WindowParameters(n_windows=16, window_frames=8, pulse_fraction=0.6, snr_min=9, snr_max=20)
    return label_trade.trade({"thresholds": ThresholdClassifier()}, seed=5, n_streams=1, stream=stream)


def test_pulses_well_above_the_noise_are_kept_while_nearly_all_else_is_deleted(curves: xr.Dataset):
    best = curves["kept"].sel(classifier="thresholds").isel(false_kept=0)
    assert curves.attrs["n_pulses"] >= 5
    assert float(best) == 1.0  # S/N 9 and more against one frame in a hundred of noise, at 5 or so
    assert (curves["kept"].diff("false_kept") >= 0).all()
    assert float(curves["threshold_kept"].sel(classifier="thresholds")) == 1.0
    assert np.isnan(curves["threshold_kept"].sel(classifier=label_trade.ALONE))


def test_the_trade_and_the_labels_are_drawn(curves: xr.Dataset):
    load_extension()
    figure = label_plots.kept_against_deleted(curves)
    assert {part.label for part in figure} >= {"thresholds", label_trade.ALONE}
    columns = {
        name: ("frame", np.array([1.0, 2.0]), {"units": unit or "1"}) for name, unit in COLUMNS.items()
    }
    table = xr.Dataset({**columns, "label": ("frame", np.array(["pulse+nbrfi", "none"]))})
    drawn = label_plots.labels_over_time(table.assign(kept=("frame", np.array([1, 0]))))
    assert {part.label for part in drawn} == {"pulse", "nothing", "kept"}
    assert "1 of 2 frames are kept" in hv.render(drawn).title.text


def test_probabilities_of_independent_components_multiply():
    p = labels_from(*(np.array([x]) for x in (0.5, 0.25, 0.0, 0.2)))
    expected = dict.fromkeys(LABELS, 0.0)
    expected |= {"none": 0.3, "pulse": 0.3, "nbrfi": 0.1, "pulse+nbrfi": 0.1, "other": 0.2}
    assert dict(zip(LABELS, p.probability[0].tolist(), strict=True)) == pytest.approx(expected)
    assert p.p_pulse == pytest.approx([0.4])


class _Certain:
    """A network that is certain of one label."""

    def probabilities(self, frames: Frames) -> np.ndarray:
        return np.eye(len(LABELS), dtype=np.float32)[[LABELS.index("pulse+bbrfi")]]


def test_a_trained_network_labels_by_its_probabilities():
    found = TrainedClassifier(_Certain(), "some/1").classify(None)  # pyright: ignore
    assert isinstance(found, FrameLabels)
    assert LABELS[found.label[0]] == "pulse+bbrfi"
    assert found.p_pulse == pytest.approx([1.0])


def test_a_frame_is_other_only_where_the_network_is_sure_of_it():
    class Doubtful:
        def probabilities(self, frames: Frames) -> np.ndarray:
            rows = [{"nbrfi": 0.1, "other": 0.9}, {"nbrfi": 0.005, "other": 0.995}]
            return np.array([[row.get(name, 0) for name in LABELS] for row in rows], np.float32)

    found = TrainedClassifier(Doubtful(), "some/1").classify(None)  # pyright: ignore
    assert [LABELS[n] for n in found.label] == ["nbrfi", "other"]


def test_a_classifier_is_found_by_its_name():
    assert find_classifier("thresholds").name == "thresholds"
    with pytest.raises(ModelError, match="nobody"):
        find_classifier("nobody")
