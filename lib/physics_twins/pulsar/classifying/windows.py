"""Labelled streams: what a classifier is trained and tested on, at a stated signal-to-noise ratio.

A window is some frames of a stream, and its first frame gets the label; a pulse belongs to the frame
in which it arrives at the highest channel, though its sweep goes on after that frame. The counts are
those of an 8-bit recorder behind a bandpass, so that no two channels have the same level and gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes
from physics_twins.pulsar.classifying.labels import CLASSES, LABELS, components
from physics_twins.pulsar.physics.interference import KINDS as EVENTS
from physics_twins.pulsar.physics.interference import Event, draw
from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.physics.pulse_shapes import pulse_track
from physics_twins.pulsar.physics.receiver import bandpass
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.verb_parameters import WindowParameters


@dataclass(frozen=True)
class Pulse:
    """A dispersed pulse.

    Attributes:
        snr: What a filter matched to its profile in every channel finds over its whole sweep. The
            filter's spectrum is flat, since no search knows how a pulse scintillates.
        dm_pc_cm3: Dispersion measure.
        width_ms: Full width at half maximum, as emitted.
        scattering_ms: Scattering time at 1 GHz.
        smeared: Whether the dispersion within a channel widens it.
        spectrum: Relative strength in each channel, shape (frequency,); None is flat.
    """

    snr: float
    dm_pc_cm3: float
    width_ms: float
    scattering_ms: float = 0.0
    smeared: bool = False
    spectrum: NDArray[np.float64] | None = None


def draw_pulse(parameters: WindowParameters, rng: np.random.Generator, n_channels: int = 256) -> Pulse:
    """Return a random pulse: S/N and width log-uniform, DM uniform."""
    p = parameters
    snr, width_ms = (
        float(np.exp(rng.uniform(np.log(low), np.log(high))))
        for low, high in ((p.snr_min, p.snr_max), (p.width_min_ms, p.width_max_ms))
    )
    dm_pc_cm3 = float(rng.uniform(p.dm_min_pc_cm3, p.dm_max_pc_cm3))
    if p.pulse_kind == "plain":
        return Pulse(snr, dm_pc_cm3, width_ms)
    scattering_ms = float(width_ms * max(0.0, rng.uniform(-1, 1)))
    spectrum = _scintillation(n_channels, rng)
    return Pulse(snr, dm_pc_cm3, width_ms, scattering_ms, smeared=True, spectrum=spectrum)


def paint_pulse(
    spectra: NDArray[np.float32],
    pulse: Pulse,
    arrival: float,
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
    channel_width_mhz: float,
) -> None:
    """Add a pulse to spectra in place; what lies beyond their end is lost.

    Args:
        spectra: In standard deviations of the noise, shape (time, frequency), highest frequency first.
        pulse: Which.
        arrival: Where its peak without scattering arrives in the highest channel, in samples.
        frequency_mhz: Channel centres, shape (frequency,).
        sampling_s: Time from one spectrum to the next.
        channel_width_mhz: Width of a channel.
    """
    part = pulse_track(
        frequency_mhz,
        sampling_s,
        channel_width_mhz=channel_width_mhz if pulse.smeared else 0.0,
        time_s=arrival * sampling_s,
        dm_pc_cm3=pulse.dm_pc_cm3,
        width_ms=pulse.width_ms,
        scattering_ms=pulse.scattering_ms,
    )
    profile = part.values
    signal = profile if pulse.spectrum is None else profile * pulse.spectrum
    signal = signal * (pulse.snr * np.sqrt(np.sum(profile**2)) / np.sum(profile * signal))
    row, channel, values = replace(part, values=signal).within(0, len(spectra))
    spectra[row, channel] += values.astype(np.float32)


def _scintillation(n_channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random spectrum: exponential flux in knots as far apart as the scintles are wide."""
    n_knots = max(2, int(n_channels / np.exp(rng.uniform(np.log(4), np.log(n_channels)))))
    knots = rng.exponential(size=n_knots + 1)
    scintles = np.interp(np.linspace(0, n_knots, n_channels), np.arange(n_knots + 1), knots)
    depth = rng.uniform(0, 1)
    return (1 - depth) + depth * scintles


FRAME_SPECTRA = 256
SNR_PRESENT = 8.0  # interference of this S/N within a frame is there
KINDS = ("nbrfi", "bbrfi", "other")
GAIN_JUMP = 0.03, 0.3  # smallest and largest relative change


@dataclass
class Canvas:
    """The signal in standard deviations of the noise (time, frequency), and its truth."""

    signal: NDArray[np.float32]
    n_frames: int
    band: Band
    power: dict[str, NDArray[np.float64]] = field(init=False)  # sum of squares in each frame
    faults: list[tuple[slice, slice, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = -(-len(self.signal) // FRAME_SPECTRA)
        self.power = {kind: np.zeros(n) for kind in KINDS}

    def lacks(self, kind: str, frame: int, snr: float = SNR_PRESENT) -> bool:
        """Whether a frame that shall hold interference of some S/N does not, or not clearly."""
        return self.power[kind][frame] < min(snr, SNR_PRESENT) ** 2 * (1 - 1e-6)

    def add(self, event: Event, snr: float, frame: int, highest_snr: float) -> None:
        """Add an event, scaled so that a frame then holds the stated S/N of its kind.

        Nothing is added where the event does not reach that frame, or where it would bring another
        one that it reaches above the highest S/N.
        """
        held = self.power[event.label]
        power = _power_of_frames(event, len(held))
        if power[frame] > 0:
            scale = (snr**2 - held[frame]) / power[frame]
            total = held + scale * power
            if total[power > 0].max() <= highest_snr**2 * (1 + 1e-6):
                event.scaled(np.sqrt(scale)).add_to(self.signal)
                self.power[event.label] = total


def _power_of_frames(event: Event, n_frames: int) -> NDArray[np.float64]:
    """Return the squared S/N of an event in each frame.

    Of interference it is that of the best boxcar over some of its times and channels within the frame,
    since nobody knows how it is modulated; of what sweeps, that of a filter matched to it.
    """
    frame = (event.start + np.arange(len(event.patch))) // FRAME_SPECTRA
    power_of = _matched_power if event.label == "other" else _boxcar_power
    power = np.zeros(n_frames)
    for each in range(event.start // FRAME_SPECTRA, min(n_frames, frame[-1] + 1)):
        power[each] = power_of(event.patch[frame == each])
    return power


def _matched_power(patch: NDArray[np.float32]) -> float:
    return float(np.square(patch, dtype=np.float64).sum())


def _boxcar_power(patch: NDArray[np.float32]) -> float:
    """Return the squared S/N of the best boxcar; each side is a power of two long, or the whole."""
    total = np.pad(patch, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    best = 0.0
    for n_time in _lengths(patch.shape[0]):
        rows = total[n_time:] - total[:-n_time]
        for n_channels in _lengths(patch.shape[1]):
            boxes = rows[:, n_channels:] - rows[:, :-n_channels]
            best = max(best, float(boxes.max()) / np.sqrt(n_time * n_channels))
    return best**2


def _lengths(n: int) -> list[int]:
    return [*(1 << octave for octave in range((n - 1).bit_length())), n]


def _rfi_snr(parameters: WindowParameters, rng: np.random.Generator) -> float:
    low, high = np.log(parameters.rfi_snr_min), np.log(parameters.rfi_snr_max)
    return float(np.exp(rng.uniform(low, high)))


def add_pulse(
    canvas: Canvas, frame: int, parameters: WindowParameters, rng: np.random.Generator
) -> dict[str, float]:
    """Add a pulse that arrives somewhere in a frame; return its truth."""
    band, width_mhz = canvas.band, parameters.bandwidth_mhz / parameters.n_channels
    pulse = draw_pulse(parameters, rng, parameters.n_channels)
    arrival = FRAME_SPECTRA * (frame + rng.random())
    paint_pulse(canvas.signal, pulse, arrival, band.frequency_mhz, band.sampling_s, width_mhz)
    return {
        "frame": frame,
        "time_s": arrival * band.sampling_s,
        "dm_pc_cm3": pulse.dm_pc_cm3,
        "width_ms": pulse.width_ms,
        "snr": pulse.snr,
    }


def add_interference(
    canvas: Canvas,
    kind: str,
    frames: NDArray[np.bool_],
    parameters: WindowParameters,
    rng: np.random.Generator,
) -> None:
    """Add interference to all frames that shall hold it; narrow-band events go on in the next such."""
    names = [name for name, label in EVENTS.items() if label == kind]
    for frame in map(int, np.flatnonzero(frames)):
        snr = _rfi_snr(parameters, rng)
        while canvas.lacks(kind, frame, snr):  # what was drawn may be silent here, or too strong later
            last = frame
            while kind == "nbrfi" and frames[last + 1 : last + 2].any() and rng.random() < 0.5:
                last += 1
            event = _event(canvas.band, names, frame, last, rng)
            canvas.add(event, snr, frame, parameters.rfi_snr_max)


def add_other(
    canvas: Canvas, frame: int, parameters: WindowParameters, rng: np.random.Generator
) -> None:
    """Add a swept signal from Earth, lost packets or a jump of the gain."""
    fault = rng.integers(3)
    if fault == 0:
        add_peryton(canvas, frame, parameters, rng)
        return
    lost = _event(canvas.band, ("dropout",), frame, frame, rng)
    stop = (frame + 1) * FRAME_SPECTRA
    if fault == 1:
        while lost.stop_channel - lost.first_channel == canvas.signal.shape[1]:
            # Of the whole band it is no data, not "other".
            lost = _event(canvas.band, ("dropout",), frame, frame, rng)
        channels = slice(lost.first_channel, lost.stop_channel)
        canvas.faults.append((slice(lost.start, min(lost.stop, stop)), channels, 0.0))
    else:  # to the end of the frame: a short jump up would be a broad-band impulse
        change = rng.choice([-1, 1]) * np.exp(rng.uniform(*np.log(GAIN_JUMP)))
        canvas.faults.append((slice(lost.start, stop), slice(None), 1 + float(change)))
    canvas.power["other"][frame] += SNR_PRESENT**2  # far above the noise in any case


def add_peryton(
    canvas: Canvas, frame: int, parameters: WindowParameters, rng: np.random.Generator
) -> None:
    """Add a swept signal from Earth to a frame; it may go on in the next ones."""
    snr = _rfi_snr(parameters, rng)
    while canvas.lacks("other", frame, snr):
        last = min(frame + int(rng.integers(parameters.window_frames)), canvas.n_frames - 1)
        event = _event(canvas.band, ("peryton",), frame, last, rng)
        canvas.add(event, snr, frame, parameters.rfi_snr_max)


def _event(band: Band, names: Sequence[str], first: int, last: int, rng: np.random.Generator) -> Event:
    """Return a part of a random event: it begins in one frame and ends in another, or the same."""
    start = first * FRAME_SPECTRA + int(rng.integers(0, 3 * FRAME_SPECTRA // 4))
    stop = last * FRAME_SPECTRA + int(rng.integers(FRAME_SPECTRA // 4, FRAME_SPECTRA + 1))
    n_spectra = max(stop - start, FRAME_SPECTRA // 4)
    kind = names[int(rng.integers(len(names)))]
    event = draw(kind, n_spectra, band.frequency_mhz, band.sampling_s, rng)
    brightest = int(event.patch.max(axis=1).argmax())
    before = min(brightest, int(rng.integers(n_spectra)))
    patch = event.patch[brightest - before :][:n_spectra]
    return replace(event, start=start, patch=patch)


WINDOW_SPECTRA = 1024  # holds the sweep of every pulse up to DM 72 at Effelsberg
# From the 8-bit digitiser: counts of one standard deviation, and of the system's level.
SIGMA_COUNTS, LEVEL_COUNTS = 16.0, 96.0
# Interference of less S/N within a frame is not there; between the two nobody can tell.
SNR_ABSENT = 1.0


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


def normalised_windows(stream: xr.Dataset) -> xr.DataArray:
    """Return a window for each labelled frame, in standard deviations of the true noise.

    Args:
        stream: From `labelled_stream`.

    Returns:
        Shape (window, time, frequency), float32. A telescope does not know level and gain as this does:
        it is for limits, and for networks that are compared with them.
    """
    starts = np.flatnonzero(stream["labelled"].values) * FRAME_SPECTRA
    data, level, gain = (stream[name].values for name in ("data", "level", "gain"))
    out = np.empty((len(starts), WINDOW_SPECTRA, data.shape[1]), np.float32)
    for n, start in enumerate(starts):
        out[n] = (data[start : start + WINDOW_SPECTRA] - level) / gain
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
