"""The figures of the pulsar's classifier: recall of faint pulses, and labels; part of `pulsar.py`.

Thresholds come from frames without a pulse whose seeds no test uses. Errors are those of counting, of
the test's frames and of those that set the threshold.
"""

from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from _table import Figure, this_machine
from physics_twins.pulsar import recall_curves
from physics_twins.pulsar.baseline import load_baseline
from physics_twins.pulsar.calibration import reliability
from physics_twins.pulsar.confusion import macro_f1
from physics_twins.pulsar.examples import examples
from physics_twins.pulsar.model import load_classifier, predict
from physics_twins.pulsar.window_parameters import EFFELSBERG_MIX, EIGHT_CLASSES, HARSH_MIX

# Not used while the classifier was made; each stands for a million seeds of streams.
WHITE_SEED, MIX_SEED, HARSH_SEED, CLASSES_SEED = 901, 902, 903, 904
# Streams of 32 pulses for each S/N, and of 128 frames without a pulse.
AMOUNT = {"snr": (5.0, 6.0, 7.0), "n_streams": 100, "n_noise_streams": 160}
N_CLASS_STREAMS = 125  # of 32 frames


def recall_white() -> Figure:
    """Part of W-CLS pulses of S/N 5, 6 and 7 found at 1 % false alarms, DM 40 to 72 unknown."""
    return _recall("classifier")


def recall_white_boxcar() -> Figure:
    """The same by a search of 33 DMs with a boxcar of 5 samples."""
    return _recall("boxcar search")


def recall_white_small_network() -> Figure:
    """The same by the source projects' small network."""
    return _recall("small network")


def recall_rfi_drop() -> Figure:
    """How much recall is lost at 0.1 % false alarms with interference as often as at Effelsberg."""
    return _drop(EFFELSBERG_MIX, MIX_SEED)


def recall_rfi_drop_harsh() -> Figure:
    """The same with interference in half of all frames."""
    return _drop(HARSH_MIX, HARSH_SEED)


def macro_f1_and_calibration() -> Figure:
    """Macro F1 of the eight classes, each component of S/N 8 or more, and the calibration error."""
    classifier = load_classifier()
    first = 1_000_000 * CLASSES_SEED
    seeds = range(first, first + N_CLASS_STREAMS)
    frames = examples([EIGHT_CLASSES.replace(n_windows=32)], [seeds])
    probability, label = predict(classifier, frames), frames["label"].values
    value, error, _ = macro_f1(probability, label)
    bins = reliability(probability, label)
    calibration = [float(bins[f"calibration_error{end}"]) for end in ("", "_error")]
    return Figure(
        [value, calibration[0]],
        [error, calibration[1]],
        "",
        reference="0.97, 0.02 wanted",
        device=this_machine(),
        seeds=(CLASSES_SEED,),
    )


def _recall(name: str) -> Figure:
    curves = _white()
    one, ideal = curves.sel(detector=name), curves.sel(detector="ideal filter")
    return Figure(
        _listed(one["recall"].values),
        _listed(one["recall_error"].values),
        "",
        reference="ideal filter " + _words(ideal["recall"].values),
        device=this_machine(),
        seeds=(WHITE_SEED,),
    )


def _drop(mix: dict[str, float], seed: int) -> Figure:
    white, mixed = _classifier_alone({}, WHITE_SEED), _classifier_alone(mix, seed)
    errors = np.hypot(white["recall_error"].values, mixed["recall_error"].values)
    return Figure(
        _listed((white["recall"] - mixed["recall"]).values),
        _listed(errors),
        "",
        reference=0.05,
        device=this_machine(),
        seeds=(WHITE_SEED, seed),
    )


@cache
def _white() -> xr.Dataset:
    """Return the recall of all detectors in white noise at 1 % false alarms."""
    detectors = recall_curves.side_by_side(load_classifier(), load_baseline())
    return recall_curves.compared(detectors, {}, false_alarms=0.01, seed=WHITE_SEED, **AMOUNT)


def _classifier_alone(mix: dict[str, float], seed: int) -> xr.Dataset:
    """Return the recall of the classifier at 0.1 % false alarms."""
    detectors = {"classifier": recall_curves.network_detector(load_classifier())}
    curves = recall_curves.compared(detectors, mix, false_alarms=0.001, seed=seed, **AMOUNT)
    return curves.sel(detector="classifier")


def _listed(values: NDArray[np.floating]) -> list[float]:
    return [float(value) for value in values]


def _words(values: NDArray[np.floating]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


BENCHMARKS = {
    "recall_white_sn5_sn6_sn7": recall_white,
    "recall_white_boxcar": recall_white_boxcar,
    "recall_white_small_network": recall_white_small_network,
    "recall_rfi_drop": recall_rfi_drop,
    "recall_rfi_drop_harsh": recall_rfi_drop_harsh,
    "macro_f1": macro_f1_and_calibration,
}
