"""How many faint pulses are found at a stated rate of false alarms: detectors side by side.

The workload is W-CLS: pulses of one S/N, DM and width that the detectors do not know, in white noise or
with interference. Thresholds come from streams of their own, which no test uses.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numba
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from physics_twins.data import attributes, fraction
from physics_twins.pulsar.classifying.windows import FRAME_SPECTRA, labelled_stream, normalised_windows
from physics_twins.pulsar.model import Classifier, pulse_score
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.searching.frontend import Frames, FrontEnd
from physics_twins.pulsar.verb_parameters import W_CLS, LabelParameters, WindowParameters


def gaussian_template(sigma_samples: float) -> NDArray[np.float32]:
    """Return a Gaussian late by each fraction of a sample, its squares summing to 1, cut at 4 sigma.

    Returns:
        Shape (fraction, tap); row n is late by n / 4 samples.

    >>> gaussian_template(2.0).shape, (gaussian_template(2.0) ** 2).sum(axis=1).round(6).tolist()
    ((4, 19), [1.0, 1.0, 1.0, 1.0])
    """
    reach = int(4 * sigma_samples) + 1
    late = np.arange(4)[:, None] / 4
    profile = np.exp(-0.5 * ((np.arange(-reach, reach + 1) - late) / sigma_samples) ** 2)
    return (profile / np.sqrt((profile**2).sum(axis=1, keepdims=True))).astype(np.float32)


def boxcar_template(n_samples: int) -> NDArray[np.float32]:
    """Return a boxcar whose squares sum to 1, for delays in whole samples, shape (1, tap).

    >>> boxcar_template(4)
    array([[0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """
    return np.full((1, n_samples), n_samples**-0.5, np.float32)


def best_snr(
    windows: xr.DataArray, dm_pc_cm3: ArrayLike, templates: NDArray[np.float32], *, sampling_s: float
) -> NDArray[np.float32]:
    """Return the highest S/N in the first frame of each window, over all trials and positions.

    Args:
        windows: White noise of standard deviation 1 and pulses, shape (window, time, frequency).
        dm_pc_cm3: Trials; steps of 0.25 lose at most 1 % of such a pulse between two of them.
        templates: The filter in each channel, at each fraction of a sample, shape (fraction, tap).
        sampling_s: Time from one spectrum to the next.

    Returns:
        Shape (window,).
    """
    trials = np.atleast_1d(np.asarray(dm_pc_cm3, dtype=float))
    step_s = sampling_s / len(templates)
    steps = Band(windows["frequency"].values, step_s).whole_delays(trials)
    delays, fractions = np.divmod(steps, len(templates))
    half = templates.shape[1] // 2
    needed = FRAME_SPECTRA + int(delays.max())
    out = np.empty(windows.sizes["window"], np.float32)
    for n, window in enumerate(windows.values):
        padded = np.pad(window.T[:, :needed], ((0, 0), (half, half)))
        out[n] = _best(np.ascontiguousarray(padded), delays, fractions, FRAME_SPECTRA, templates)
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _best(data, delays, fractions, n_positions, templates):  # pragma: no cover
    """Return the highest matched-filter S/N of one window, (channel, time + template)."""
    n_channels, n_time = data.shape
    n_fractions, n_taps = templates.shape
    filtered = np.zeros((n_channels, n_fractions, n_time - n_taps + 1), np.float32)
    for c in range(n_channels):
        for f in range(n_fractions):
            for k in range(n_taps):
                for t in range(filtered.shape[2]):
                    filtered[c, f, t] += templates[f, k] * data[c, t + k]
    best = np.float32(-np.inf)
    for d in range(delays.shape[0]):
        series = np.zeros(n_positions, np.float32)
        for c in range(n_channels):
            shifted = filtered[c, fractions[d, c], delays[d, c] :]
            for t in range(n_positions):
                series[t] += shifted[t]
        best = max(best, series.max())
    return best / np.float32(math.sqrt(n_channels))


def threshold_at(scores_without: ArrayLike, false_alarms: float) -> float:
    """Return the score that a stated part of the frames without a pulse exceeds.

    Raises:
        ValueError: There are so few frames that not one may exceed it.

    >>> threshold_at(np.arange(100.0), 0.1)
    89.5
    """
    scores = np.sort(np.asarray(scores_without, dtype=float))
    n_above = round(false_alarms * len(scores))
    if n_above < 1:
        raise ValueError(
            f"false_alarms = {false_alarms:g} needs {math.ceil(1 / false_alarms)} frames or more,"
            f" found {len(scores)}"
        )
    return float((scores[-n_above] + scores[-n_above - 1]) / 2)


def fraction_above(scores: ArrayLike, threshold: float) -> tuple[float, float]:
    """Return the part of the scores above a threshold, and its error.

    The error is that of `data.fraction`.

    >>> [round(x, 3) for x in fraction_above([1.0, 2.0, 3.0, 4.0], 1.5)]
    [0.75, 0.171]
    """
    above = np.asarray(scores, dtype=float) > threshold
    share, error = fraction(above.sum(), len(above))
    return float(share), float(error)


# Gives each labelled frame of a stream a number that is higher the more it looks like a pulse.
Detector = Callable[[xr.Dataset], NDArray[np.floating]]
# The source projects' examples of a pulse: sigma in samples.
W_CLS_SIGMA = 2.0
FINE_DM = np.arange(40, 72.01, 0.25)


def front_end_detector(score: Callable[[Frames], NDArray[np.floating]]) -> Detector:
    """Return what scores the front end's frames; it knows neither DM nor width."""
    front_end = FrontEnd(receiver_band(W_CLS), LabelParameters())

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
        sampling_s = stream.attrs["sampling_time_s"]
        return best_snr(normalised_windows(stream), FINE_DM, templates, sampling_s=sampling_s)

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
    noise = W_CLS.replace(n_windows=32, pulse_fraction=0.0, **mix)
    others = range(first + 500_000, first + 500_000 + n_noise_streams)
    without = scores(detectors, noise, others, every_frame=True)
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
            "recall": (("detector", "snr"), recall, one | {"long_name": "Recall"}),
            "recall_error": (("detector", "snr"), error, one),
            "threshold": ("detector", level, one),
        },
        coords={
            "detector": ("detector", list(detectors), one),
            "snr": ("snr", snr, one | {"long_name": "S/N of the whole sweep"}),
        },
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
    detectors: Mapping[str, Detector],
    parameters: WindowParameters,
    seeds: Iterable[int],
    *,
    every_frame: bool = False,
) -> dict[str, NDArray[np.floating]]:
    """Return each detector's scores of the labelled frames of some streams, by name.

    Args:
        detectors: By name.
        parameters: What the streams hold.
        seeds: One for each stream.
        every_frame: Score the frames between the labelled ones, too, in which sweeps go on.
    """
    found: dict[str, list[NDArray[np.floating]]] = {name: [] for name in detectors}
    for seed in seeds:
        stream = labelled_stream(parameters, seed=seed)
        stream["labelled"] |= every_frame
        for name, detect in detectors.items():
            found[name].append(detect(stream))
    return {name: np.concatenate(parts) for name, parts in found.items()}
