"""The figures of the pulsar's classifier: recall of faint pulses, and labels; part of `pulsar.py`.

Thresholds come from frames without a pulse whose seeds no test uses. Errors are those of counting, of
the test's frames and of those that set the threshold.
"""

from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from _table import Figure, this_machine
from physics_twins.pulsar.classifying import recall_curves
from physics_twins.pulsar.classifying.calibration import macro_f1, reliability
from physics_twins.pulsar.classifying.examples import examples
from physics_twins.pulsar.classifying.labels import CLASSES, components
from physics_twins.pulsar.classifying.recall_curves import threshold_at
from physics_twins.pulsar.model import load_classifier, predict, pulse_score
from physics_twins.pulsar.searching.frontend import Frames
from physics_twins.pulsar.verb_parameters import (
    EFFELSBERG_MIX,
    EIGHT_CLASSES,
    W_CLS,
    WindowParameters,
)

# Of no training and no validation, though weights that were rejected have been judged on them; each
# stands for a million seeds of streams.
HARSH_MIX = dict.fromkeys(EFFELSBERG_MIX, 0.3)
# Interference that imitates: three frames of ten hold narrow-band, as many broad-band events, one a
# swept one, each between what nobody sees and what is there without doubt.
FAINT_MIX = HARSH_MIX | {"peryton_fraction": 0.1, "rfi_snr_min": 3.0, "rfi_snr_max": 8.0}
ANY_SNR = {"other_fraction": 0.1, "rfi_snr_min": 1.0, "clear_only": False}
WHITE_SEED, MIX_SEED, HARSH_SEED, CLASSES_SEED, FAINT_SEED, UNCLEAR_SEED = range(901, 907)
TREES_SEED, N_TREES_STREAMS = 907, 300  # of the trees' training
STRONG_SEED = 908
# Streams of 32 pulses for each S/N, and of 128 frames without a pulse.
AMOUNT = {"snr": (5.0, 6.0, 7.0), "n_streams": 100, "n_noise_streams": 160}
FAINT_AMOUNT: dict[str, Any] = {"snr": (6.0, 7.0), "n_streams": 60, "n_noise_streams": 96}
N_CLASS_STREAMS = 125  # of 32 frames
# For the loss in interference: streams of 128 frames without, and for each S/N of 32 with a pulse.
N_DROP_NOISE, N_DROP_PULSES, N_RESAMPLED = 400, 60, 200


def recall_white() -> Figure:
    """Part of W-CLS pulses of S/N 5, 6 and 7 found at 1 % false alarms, DM 40 to 72 unknown."""
    return _recall("classifier")


def recall_white_boxcar() -> Figure:
    """The same by a boxcar of 5 samples, at the ideal filter's steps of DM."""
    return _recall("boxcar search")


def recall_white_front_end() -> Figure:
    """The same by the S/N of the network's own front end."""
    return _recall("front end")


def recall_rfi_drop() -> Figure:
    """How much recall is lost at 0.1 % false alarms with interference as often as at Effelsberg."""
    return _drop(EFFELSBERG_MIX, MIX_SEED)


def recall_rfi_drop_harsh() -> Figure:
    """The same with interference in half of all frames."""
    return _drop(HARSH_MIX, HARSH_SEED)


def recall_faint_rfi() -> Figure:
    """Part of W-CLS pulses of S/N 6 and 7 found at 1 % false alarms among faint interference."""
    return _among_faint("classifier")


def recall_faint_rfi_front_end() -> Figure:
    """The same by the S/N of the network's own front end."""
    return _among_faint("front end")


def recall_faint_rfi_drop() -> Figure:
    """How much less that is, by the classifier, than in the same noise without interference."""
    mixed, white = (_faint(is_there).sel(detector="classifier") for is_there in (True, False))
    error = np.hypot(mixed["recall_error"].values, white["recall_error"].values)
    return _figure((white["recall"] - mixed["recall"]).values, error, "", FAINT_SEED)


def recall_strong_rfi() -> Figure:
    """The same where all of it is strong, S/N 8 to 100: by the classifier, then by its front end."""
    mix = FAINT_MIX | {"rfi_snr_min": 8.0, "rfi_snr_max": 100.0}
    detectors = _classifier_and_front_end()
    both = recall_curves.compared(detectors, mix, false_alarms=0.01, seed=STRONG_SEED, **FAINT_AMOUNT)
    return _figure(both["recall"].values.ravel(), both["recall_error"].values.ravel(), "", STRONG_SEED)


def macro_f1_unclear() -> Figure:
    """Macro F1 of nine labels with interference of any S/N from 1 to 100, and the calibration error.

    Interference has a label from S/N 8 within the frame on; a frame in ten has the label other.
    """
    first = 1_000_000 * UNCLEAR_SEED
    workload = EIGHT_CLASSES.replace(n_windows=32, **ANY_SNR)
    frames = examples([workload], [range(first, first + N_CLASS_STREAMS)])
    scores = _scores(predict(load_classifier(), frames), frames["label"].values)
    return _figure(*scores, "0.90, 0.03 wanted", UNCLEAR_SEED)


def macro_f1_unclear_trees() -> Figure:
    """The same by boosted trees that have learnt other streams' numbers of the front end."""
    first, learnt = 1_000_000 * UNCLEAR_SEED, 1_000_000 * TREES_SEED
    workload = EIGHT_CLASSES.replace(n_windows=32, **ANY_SNR)
    known = examples([workload], [range(learnt, learnt + N_TREES_STREAMS)])
    frames = examples([workload], [range(first, first + N_CLASS_STREAMS)])
    names = known["label"].values
    held = [names == len(CLASSES)]
    held += [np.array([*ones, False])[names] for ones in zip(*map(components, CLASSES), strict=True)]
    other, *parts = (_tree_probability(known, is_there, frames) for is_there in held)
    eight = np.stack([1 - other] * len(CLASSES), axis=1)
    for part, ones in zip(parts, zip(*map(components, CLASSES), strict=True), strict=True):
        eight *= np.where(ones, part[:, None], 1 - part[:, None])
    scores = _scores(np.column_stack([eight, other]), frames["label"].values)
    return _figure(*scores, "0.90, 0.03 wanted", UNCLEAR_SEED)


def _tree_probability(
    known: xr.Dataset, is_there: NDArray[np.bool_], frames: xr.Dataset
) -> NDArray[np.float64]:
    trees = HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=15, random_state=0)
    return trees.fit(known["scalars"].values, is_there).predict_proba(frames["scalars"].values)[:, 1]


def macro_f1_and_calibration() -> Figure:
    """Macro F1 of the eight classes, each component of S/N 8 or more, and the calibration error.

    No frame of this workload is "other", and so the probabilities are those given that none is.
    """
    classifier = load_classifier()
    first = 1_000_000 * CLASSES_SEED
    seeds = range(first, first + N_CLASS_STREAMS)
    frames = examples([EIGHT_CLASSES.replace(n_windows=32)], [seeds])
    probability = predict(classifier, frames)[:, : len(CLASSES)]
    probability /= probability.sum(axis=1, keepdims=True)
    label = frames["label"].values
    return _figure(*_scores(probability, label), "0.97, 0.02 wanted", CLASSES_SEED)


def _scores(
    probability: NDArray[np.floating], label: NDArray[np.integer]
) -> tuple[list[float], list[float]]:
    """Return macro F1 and calibration error, and the errors of both."""
    value, error, _ = macro_f1(probability, label)
    bins = reliability(probability, label)
    calibration = [float(bins[f"calibration_error{end}"]) for end in ("", "_error")]
    return [value, calibration[0]], [error, calibration[1]]


def _among_faint(name: str) -> Figure:
    one = _faint(True).sel(detector=name)
    return _figure(one["recall"].values, one["recall_error"].values, "0.80, 0.95 wanted", FAINT_SEED)


@cache
def _faint(is_there: bool) -> xr.Dataset:
    """Return the recall of classifier and front end, with faint interference or without."""
    mix = FAINT_MIX if is_there else {}
    detectors = _classifier_and_front_end()
    return recall_curves.compared(detectors, mix, false_alarms=0.01, seed=FAINT_SEED, **FAINT_AMOUNT)


def _classifier_and_front_end() -> dict[str, recall_curves.Detector]:
    """Return both, the frames of a stream made once."""
    classifier, seen = load_classifier(), {}

    def score(frames: Frames) -> NDArray[np.floating]:
        seen["snr"] = frames.snr
        return pulse_score(classifier.probabilities(frames))

    def front_end(stream: xr.Dataset) -> NDArray[np.floating]:
        return seen["snr"][stream["labelled"].values]

    return {"classifier": recall_curves.front_end_detector(score), "front end": front_end}


def _figure(value: ArrayLike, error: ArrayLike, reference: str, seed: int) -> Figure:
    values, errors = (np.asarray(each, dtype=float).tolist() for each in (value, error))
    return Figure(values, errors, "", reference, this_machine(), (seed,))


def _recall(name: str) -> Figure:
    curves = _white()
    one, ideal = curves.sel(detector=name), curves.sel(detector="ideal filter")
    words = "ideal filter " + _words(ideal["recall"].values)
    return _figure(one["recall"].values, one["recall_error"].values, words, WHITE_SEED)


def _drop(mix: dict[str, float], seed: int) -> Figure:
    """Return recall in white noise less that in the mix, of the same noise and the same pulses."""
    detect = {"classifier": recall_curves.network_detector(load_classifier())}
    first = 1_000_000 * seed
    pulses, without = [], []
    for fractions in ({}, mix):
        empty = W_CLS.replace(n_windows=128, window_frames=1, pulse_fraction=0.0, **fractions)
        without.append(_by_stream(detect, empty, range(first, first + N_DROP_NOISE)))
        held = [W_CLS.replace(n_windows=32, snr_min=s, snr_max=s, **fractions) for s in AMOUNT["snr"]]
        begins = [first + 500_000 + 1_000 * n for n in range(len(held))]
        pulses.append(
            [
                _by_stream(detect, each, range(begin, begin + N_DROP_PULSES))
                for each, begin in zip(held, begins, strict=True)
            ]
        )
    every = np.arange(N_DROP_NOISE), np.arange(N_DROP_PULSES)
    rng = np.random.default_rng(seed)
    drawn = [[rng.choice(each, len(each)) for each in every] for _ in range(N_RESAMPLED)]
    value = _lost(pulses, without, *every)
    error = np.std([_lost(pulses, without, *each) for each in drawn], axis=0)
    return _figure(value, error, "0.05", seed)


def _by_stream(
    detect: dict[str, recall_curves.Detector], parameters: WindowParameters, seeds: range
) -> NDArray[np.floating]:
    """Return scores of labelled frames, shape (stream, frame)."""
    return recall_curves.scores(detect, parameters, seeds)["classifier"].reshape(len(seeds), -1)


def _lost(
    pulses: list[list[NDArray[np.floating]]],
    without: list[NDArray[np.floating]],
    noise_streams: NDArray[np.integer],
    pulse_streams: NDArray[np.integer],
) -> NDArray[np.floating]:
    """Return the loss of recall for each S/N, of the chosen streams."""
    recall = []
    for scores, noise in zip(pulses, without, strict=True):
        threshold = threshold_at(noise[noise_streams].ravel(), 0.001)
        recall.append([float((each[pulse_streams] > threshold).mean()) for each in scores])
    return np.subtract(*recall)


@cache
def _white() -> xr.Dataset:
    """Return the recall of all detectors in white noise at 1 % false alarms."""
    detectors = recall_curves.side_by_side(load_classifier())
    return recall_curves.compared(detectors, {}, false_alarms=0.01, seed=WHITE_SEED, **AMOUNT)


def _words(values: NDArray[np.floating]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


BENCHMARKS = {
    "recall_white_sn5_sn6_sn7": recall_white,
    "recall_white_boxcar": recall_white_boxcar,
    "recall_white_front_end": recall_white_front_end,
    "recall_rfi_drop": recall_rfi_drop,
    "recall_rfi_drop_harsh": recall_rfi_drop_harsh,
    "recall_faint_rfi": recall_faint_rfi,
    "recall_faint_rfi_front_end": recall_faint_rfi_front_end,
    "recall_faint_rfi_drop": recall_faint_rfi_drop,
    "recall_strong_rfi": recall_strong_rfi,
    "macro_f1_unclear": macro_f1_unclear,
    "macro_f1_unclear_trees": macro_f1_unclear_trees,
    "macro_f1": macro_f1_and_calibration,
}
