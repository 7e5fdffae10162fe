"""What a classifier keeps against what it deletes, as the threshold moves: the trade of a stream."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import fraction
from physics_twins.pulsar.classifying.frame_labels import Classifier
from physics_twins.pulsar.classifying.threshold_classifier import ThresholdClassifier
from physics_twins.pulsar.classifying.trained_classifier import find_classifier
from physics_twins.pulsar.classifying.window_canvas import SAMPLING_S, band_mhz
from physics_twins.pulsar.classifying.windows import labelled_stream
from physics_twins.pulsar.label_parameters import LabelParameters
from physics_twins.pulsar.searching.frontend import Frames, FrontEnd
from physics_twins.pulsar.window_parameters import EFFELSBERG_MIX, WindowParameters

# What every classifier is held against: the S/N of the best candidate alone.
ALONE = "S/N alone"
# Faint pulses, at which classifiers differ; at most one frame in eight has one, so that the frames
# beside it are not another's.
STREAM = WindowParameters(
    n_windows=32, window_frames=8, pulse_fraction=0.7, snr_min=5.0, snr_max=9.0
).replace(**EFFELSBERG_MIX)


def trade(
    classifiers: Mapping[str, Classifier] | None = None,
    *,
    seed: int,
    n_streams: int = 8,
    stream: WindowParameters = STREAM,
) -> xr.Dataset:
    """Return the share of pulses kept against the share of other frames kept with them.

    Args:
        classifiers: By the name that a figure shows; by default the thresholds, and the trained
            classifier where there is one.
        seed: Of the streams.
        n_streams: Streams that are labelled.
        stream: What is in them; the first frame of a window may hold a pulse.

    Returns:
        `kept` with its binomial error `kept_error` (classifier, false_kept): the share of pulses above
        the threshold above which `false_kept` of the frames without a pulse are. `threshold_false` and
        `threshold_kept` (classifier): where each classifier's own threshold is on its curve; NaN for
        `S/N alone`, which is added.
    """
    if classifiers is None:
        known = (find_classifier(), ThresholdClassifier())
        classifiers = {classifier.name: classifier for classifier in known}
    front_end = FrontEnd(band_mhz(), SAMPLING_S, LabelParameters())
    names = [*classifiers, ALONE]
    pulses: dict[str, list[NDArray[np.floating]]] = {name: [] for name in names}
    others: dict[str, list[NDArray[np.floating]]] = {name: [] for name in names}
    for child in np.random.SeedSequence(seed).generate_state(n_streams):
        data = labelled_stream(stream, seed=int(child))
        n_frames = data.sizes["frame"]
        frames = front_end(data["data"].values, n_before=0, n_frames=n_frames)
        held = np.isin(np.arange(n_frames), data["pulse_frame"].values)
        # The frames beside a pulse hold parts of its sweep, and are kept with it.
        beside = np.convolve(held, np.ones(7), "same") > 0
        for name, score in _scores(classifiers, frames).items():
            pulses[name].append(score[held])
            others[name].append(score[~beside])
    return _curves(
        {name: np.concatenate(parts) for name, parts in pulses.items()},
        {name: np.concatenate(parts) for name, parts in others.items()},
        {name: classifier.keep_threshold for name, classifier in classifiers.items()},
    )


def _scores(classifiers: Mapping[str, Classifier], frames: Frames) -> dict[str, NDArray[np.floating]]:
    found = {name: classifier.classify(frames).p_pulse for name, classifier in classifiers.items()}
    return found | {ALONE: frames.snr}


def _curves(
    pulses: Mapping[str, NDArray[np.floating]],
    others: Mapping[str, NDArray[np.floating]],
    thresholds: Mapping[str, float],
) -> xr.Dataset:
    n = len(others[ALONE])
    n_false = np.unique(np.geomspace(1, n, 200).astype(int))
    kept, errors, own = [], [], []
    for name, score in pulses.items():
        threshold = np.sort(others[name])[::-1][n_false - 1]
        share, error = fraction((score[:, None] >= threshold).sum(axis=0), len(score))
        kept.append(share)
        errors.append(error)
        limit = thresholds.get(name, np.nan)
        known = np.isfinite(limit)
        own.append([np.mean(part >= limit) if known else np.nan for part in (others[name], score)])
    own_false, own_kept = np.array(own).T
    one = {"units": "1"}
    return xr.Dataset(
        {
            "kept": (("classifier", "false_kept"), np.array(kept), one),
            "kept_error": (("classifier", "false_kept"), np.array(errors), one),
            "threshold_false": ("classifier", own_false, one),
            "threshold_kept": ("classifier", own_kept, one),
        },
        {"classifier": [*pulses], "false_kept": ("false_kept", n_false / n, one)},
        {"n_pulses": len(pulses[ALONE]), "n_others": n},
    )
