"""Labelled streams: what a classifier is trained and tested on, at a stated signal-to-noise ratio.

A window is some frames of a stream, and its first frame gets the label; a pulse belongs to the frame
in which it arrives at the highest channel, though its sweep goes on after that frame. The counts are
those of an 8-bit recorder behind a bandpass, so that no two channels have the same level and gain.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes
from physics_twins.pulsar.classifying.labels import CLASSES, LABELS, components
from physics_twins.pulsar.classifying.window_canvas import (
    FRAME_SPECTRA,
    KINDS,
    SNR_PRESENT,
    Canvas,
    add_interference,
    add_other,
    add_peryton,
    add_pulse,
)
from physics_twins.pulsar.physics.receiver import bandpass
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.verb_parameters import WindowParameters

WINDOW_SPECTRA = 1024  # holds the sweep of every pulse up to DM 72 at Effelsberg
# From the 8-bit digitiser: counts of one standard deviation, and of the system's level.
SIGMA_COUNTS, LEVEL_COUNTS = 16.0, 96.0
SNR_ABSENT = (
    1.0  # interference of less S/N within a frame is not there; between the two nobody can tell
)


def labelled_stream(parameters: WindowParameters, *, seed: int) -> xr.Dataset:
    """Return a stream whose frames have labels.

    Args:
        parameters: What is in it; there are `n_windows * window_frames` frames.
        seed: Two calls with one seed give the same stream.

    Returns:
        `data` (time, frequency), uint8, longer than all frames by a window. For each frame: `label`, a
        number of `LABELS`; `labelled`, whether it is the first of a window; `clear`, whether each
        kind of interference is there or not, without doubt; `snr_nbrfi`, `snr_bbrfi`, what the best
        boxcar in that interference finds within the frame; `snr_other`, what a filter matched to a
        sweep finds, and 8 for a fault. For each pulse: `pulse_frame`,
        `pulse_time_s` at the highest channel, `pulse_dm_pc_cm3`, `pulse_width_ms`, `pulse_snr` of the
        whole sweep. `level` and `gain` (frequency): mean and standard deviation of the noise.
    """
    plan, rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    held = _drawn_contents(parameters, plan)
    n_frames = len(held["pulse"])
    band = receiver_band(parameters)
    longest = int(parameters.dm_max_pc_cm3 * band.delay_s_per_dm / band.sampling_s)
    n_spectra = (n_frames + 1) * FRAME_SPECTRA + max(WINDOW_SPECTRA, longest)
    canvas = Canvas(np.zeros((n_spectra, parameters.n_channels), np.float32), n_frames, band)
    pulses = [
        add_pulse(canvas, int(frame), parameters, plan) for frame in np.flatnonzero(held["pulse"])
    ]
    for kind in ("nbrfi", "bbrfi"):
        add_interference(canvas, kind, held[kind], parameters, plan)
    for frame in np.flatnonzero(held["other"]):
        add_other(canvas, int(frame), parameters, plan)
    if parameters.peryton_fraction:
        for frame in np.flatnonzero(plan.random(n_frames) < parameters.peryton_fraction):
            add_peryton(canvas, int(frame), parameters, plan)
    level, gain = _level_and_gain(band.frequency_mhz, plan)
    data = _recorded(canvas, level, gain, rng)
    return _dataset(parameters, seed, data, canvas, held, pulses, level, gain)


def normalised_windows(stream: xr.Dataset, *, n_spectra: int = WINDOW_SPECTRA) -> xr.DataArray:
    """Return a window for each labelled frame, in standard deviations of the true noise.

    Args:
        stream: From `labelled_stream`.
        n_spectra: Spectra from the frame's first on.

    Returns:
        Shape (window, time, frequency), float32. A telescope does not know level and gain as this does:
        it is for limits, and for networks that are compared with them.
    """
    starts = np.flatnonzero(stream["labelled"].values) * FRAME_SPECTRA
    data, level, gain = (stream[name].values for name in ("data", "level", "gain"))
    out = np.empty((len(starts), n_spectra, data.shape[1]), np.float32)
    for n, start in enumerate(starts):
        out[n] = (data[start : start + n_spectra] - level) / gain
    return xr.DataArray(
        out,
        dims=("window", "time", "frequency"),
        coords={"frequency": stream["frequency"]},
        attrs={"units": "sigma"},
    )


def _drawn_contents(
    parameters: WindowParameters, rng: np.random.Generator
) -> dict[str, NDArray[np.bool_]]:
    """Return for each component the frames that shall hold it."""
    n = parameters.n_windows
    if parameters.balanced:
        labels = rng.permutation(np.arange(n) % len(CLASSES))
        pulse, nbrfi, bbrfi = np.array([components(CLASSES[label]) for label in labels]).T
    else:
        p = parameters
        fractions = (p.pulse_fraction, p.nbrfi_fraction, p.bbrfi_fraction)
        pulse, nbrfi, bbrfi = (rng.random(n) < fraction for fraction in fractions)
    other = rng.random(n) < parameters.other_fraction
    held = {}
    outsides = {"nbrfi": parameters.nbrfi_outside, "bbrfi": parameters.bbrfi_outside}
    for name, first in (("pulse", pulse), ("nbrfi", nbrfi), ("bbrfi", bbrfi), ("other", other)):
        outside = outsides.get(name, 0.0)
        frames = rng.random((n, parameters.window_frames)) < outside
        frames[:, 0] = first
        held[name] = frames.ravel()
    return held


def _level_and_gain(
    frequency_mhz: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of the noise in each channel, in counts."""
    shape = bandpass(frequency_mhz, 0.2, rng)
    gain = SIGMA_COUNTS * shape * np.exp(0.05 * rng.standard_normal(len(shape)))
    level = LEVEL_COUNTS * shape * np.exp(0.05 * rng.standard_normal(len(shape)))
    return level.astype(np.float32), gain.astype(np.float32)


def _recorded(
    canvas: Canvas,
    level: NDArray[np.float32],
    gain: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the counts of signal and noise, (time, frequency)."""
    counts = rng.standard_normal(canvas.signal.shape, dtype=np.float32)
    counts += canvas.signal
    counts *= gain
    counts += level
    for times, channels, factor in canvas.faults:
        counts[times, channels] *= np.float32(factor)
    np.rint(counts, out=counts)
    return np.clip(counts, 0, 255, out=counts).astype(np.uint8)


def _dataset(
    parameters: WindowParameters,
    seed: int,
    data: NDArray[np.uint8],
    canvas: Canvas,
    held: dict[str, NDArray[np.bool_]],
    pulses: list[dict[str, float]],
    level: NDArray[np.float32],
    gain: NDArray[np.float32],
) -> xr.Dataset:
    snr = {kind: np.sqrt(canvas.power[kind][: canvas.n_frames]) for kind in KINDS}
    label, clear = _labels(held["pulse"], snr)
    labelled = np.arange(canvas.n_frames) % parameters.window_frames == 0
    sampling_s = canvas.band.sampling_s
    units = {"time_s": "s", "dm_pc_cm3": "pc cm-3", "width_ms": "ms"}
    one = {"units": "1"}
    return xr.Dataset(
        {
            "data": (("time", "frequency"), data, {"units": "counts"}),
            "label": ("frame", label, one | {"flag_meanings": " ".join(LABELS)}),
            "labelled": ("frame", labelled, one),
            "clear": ("frame", clear, one),
            "level": ("frequency", level, {"units": "counts"}),
            "gain": ("frequency", gain, {"units": "counts"}),
        }
        | {f"snr_{kind}": ("frame", snr[kind], one) for kind in KINDS}
        | {
            f"pulse_{name}": (
                "pulse",
                np.array([p[name] for p in pulses]),
                {"units": units.get(name, "1")},
            )
            for name in ("frame", "time_s", "dm_pc_cm3", "width_ms", "snr")
        },
        coords={
            "time": ("time", np.arange(len(data)) * sampling_s, {"units": "s"}),
            "frequency": ("frequency", canvas.band.frequency_mhz, {"units": "MHz"}),
        },
        attrs=attributes(parameters, seed=seed, title="A labelled stream", sampling_time_s=sampling_s),
    )


def _labels(
    pulse: NDArray[np.bool_], snr: dict[str, NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each frame's number among `LABELS`, and whether it is beyond doubt."""
    there = {kind: snr[kind] >= SNR_PRESENT * (1 - 1e-6) for kind in KINDS}
    clear = np.all([there[kind] | (snr[kind] < SNR_ABSENT) for kind in KINDS], axis=0)
    number = {components(name): n for n, name in enumerate(CLASSES)}
    held = zip(pulse, there["nbrfi"], there["bbrfi"], strict=True)
    label = np.array([number[bool(p), bool(n), bool(b)] for p, n, b in held])
    return np.where(there["other"], len(CLASSES), label), clear
