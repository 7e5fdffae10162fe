"""How many faint pulses are found at a stated rate of false alarms: detectors side by side.

The workload is W-CLS: pulses of one S/N, DM and width that the detectors do not know, in white noise or
with interference. Thresholds come from streams of their own, which no test uses.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes
from physics_twins.pulsar.classifying.ideal_filter import (
    best_snr,
    boxcar_template,
    fraction_above,
    gaussian_template,
    threshold_at,
)
from physics_twins.pulsar.classifying.window_canvas import SAMPLING_S, band_mhz
from physics_twins.pulsar.classifying.windows import labelled_stream, normalised_windows
from physics_twins.pulsar.model import Classifier, pulse_score
from physics_twins.pulsar.searching.frontend import Frames, FrontEnd
from physics_twins.pulsar.verb_parameters import W_CLS, LabelParameters, WindowParameters

# Gives each labelled frame of a stream a number that is higher the more it looks like a pulse.
Detector = Callable[[xr.Dataset], NDArray[np.floating]]
# The source projects' examples of a pulse: sigma in samples.
W_CLS_SIGMA = 2.0
FINE_DM = np.arange(40, 72.01, 0.25)


def front_end_detector(score: Callable[[Frames], NDArray[np.floating]]) -> Detector:
    """Return what scores the front end's frames; it knows neither DM nor width."""
    front_end = FrontEnd(band_mhz(), SAMPLING_S, LabelParameters())

    def detect(stream: xr.Dataset) -> NDArray[np.floating]:
        frames = front_end(stream["data"].values, n_before=0, n_frames=stream.sizes["frame"])
        return score(frames)[stream["labelled"].values]

    return detect


def network_detector(classifier: Classifier) -> Detector:
    """Return the classifier behind its front end."""
    return front_end_detector(lambda frames: pulse_score(classifier.probabilities(frames)))


def filter_detector(templates: NDArray[np.float32]) -> Detector:
    """Return the best of a filter at fine steps of DM, level and gain known."""

    def detect(stream: xr.Dataset) -> NDArray[np.floating]:
        return best_snr(normalised_windows(stream), FINE_DM, templates, sampling_s=SAMPLING_S)

    return detect


def side_by_side(classifier: Classifier) -> dict[str, Detector]:
    """Return the detectors that figures show, by name, the limit first.

    The simple search is a boxcar of 5 samples, at the ideal filter's steps of DM.
    """
    return {
        "ideal filter": filter_detector(gaussian_template(W_CLS_SIGMA)),
        "classifier": network_detector(classifier),
        "front end": front_end_detector(lambda frames: frames.snr),
        "boxcar search": filter_detector(boxcar_template(5)),
    }


def compared(
    detectors: Mapping[str, Detector],
    mix: Mapping[str, float],
    *,
    snr: Iterable[float],
    false_alarms: float,
    n_streams: int,
    n_noise_streams: int,
    seed: int,
) -> xr.Dataset:
    """Return the part of pulses that each detector finds, by their S/N.

    Args:
        detectors: By name.
        mix: Fractions of interference, as `EFFELSBERG_MIX`; empty is white noise.
        snr: S/N of the whole sweep.
        false_alarms: Part of frames without a pulse that may be above the threshold.
        n_streams: Streams of 32 pulses for each S/N.
        n_noise_streams: Streams of 128 frames without a pulse, of other seeds, that set the threshold.
        seed: To each belong a million seeds of streams.

    Returns:
        `recall` and `recall_error` (detector, snr): the binomial error and that of the threshold, which
        a finite number of frames sets, in quadrature; `threshold` (detector).
    """
    first, snr = 1_000_000 * seed, [float(value) for value in snr]
    noise = W_CLS.replace(n_windows=128, window_frames=1, pulse_fraction=0.0, **mix)
    others = range(first + 500_000, first + 500_000 + n_noise_streams)
    without = scores(detectors, noise, others)
    parameters = [W_CLS.replace(n_windows=32, snr_min=value, snr_max=value, **mix) for value in snr]
    recall, error = np.empty((2, len(detectors), len(snr)))
    for n, each in enumerate(parameters):
        begin = first + n * n_streams
        found = scores(detectors, each, range(begin, begin + n_streams))
        for k, name in enumerate(detectors):
            recall[k, n], error[k, n] = recall_with_error(found[name], without[name], false_alarms)
    one = {"units": "1"}
    level = [threshold_at(without[name], false_alarms) for name in detectors]
    return xr.Dataset(
        {
            "recall": (("detector", "snr"), recall, one),
            "recall_error": (("detector", "snr"), error, one),
            "threshold": ("detector", level, one),
        },
        coords={"detector": ("detector", list(detectors), one), "snr": ("snr", snr, one)},
        attrs=attributes(parameters[0], seed=first, title="Recall of W-CLS", false_alarms=false_alarms),
    )


def recall_with_error(
    found: NDArray[np.floating], without: NDArray[np.floating], false_alarms: float
) -> tuple[float, float]:
    """Return the part of found scores above the threshold, and its error with that of the threshold."""
    value, binomial = fraction_above(found, threshold_at(without, false_alarms))
    n_above = max(1.0, false_alarms * len(without))
    spread = 1 / np.sqrt(n_above)
    strict = max(false_alarms * (1 - spread), 1 / len(without))
    low, high = (
        fraction_above(found, threshold_at(without, rate))[0]
        for rate in (strict, false_alarms * (1 + spread))
    )
    return value, float(np.hypot(binomial, (high - low) / 2))


def scores(
    detectors: Mapping[str, Detector], parameters: WindowParameters, seeds: Iterable[int]
) -> dict[str, NDArray[np.floating]]:
    """Return each detector's scores of the labelled frames of some streams, by name.

    Args:
        detectors: By name.
        parameters: What the streams hold.
        seeds: One for each stream.
    """
    found: dict[str, list[NDArray[np.floating]]] = {name: [] for name in detectors}
    for seed in seeds:
        stream = labelled_stream(parameters, seed=seed)
        for name, detect in detectors.items():
            found[name].append(detect(stream))
    return {name: np.concatenate(parts) for name, parts in found.items()}
