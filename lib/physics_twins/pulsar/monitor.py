"""Follow a stream of frames with a calibrated twin, read each one, and call when it no longer fits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import Estimate
from physics_twins.pulsar.calibrate import calibrated
from physics_twins.pulsar.fitting.least_squares import gradients, solve
from physics_twins.pulsar.fitting.pulse_finding import expected_boxcar_s
from physics_twins.pulsar.fitting.pulse_model import (
    DM,
    SCATTERING,
    SQUARED_WIDTH,
    TIME,
    ChannelLaws,
    cut,
    squared_sigma,
)
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, Band
from physics_twins.pulsar.searching.cleaning import Cleaned, clean
from physics_twins.pulsar.searching.dedispersion import dedisperse
from physics_twins.twin import Evidence, Number, TwinState, Watch

SHAPE = {"dm_pc_cm3": DM, "width_ms": SQUARED_WIDTH, "scattering_ms": SCATTERING}
# Added to an occupancy before its logarithm is taken.
LEAST_OCCUPANCY = 1e-3
FRAME_SNR_MIN = 6.0  # that a pulse needs to tell of its shape


@dataclass(frozen=True)
class FrameEvidence:
    """What a frame tells.

    Attributes:
        slope: Slope of the logarithm of the likelihood with each number of `SHAPE` at its calibrated
            value, fluence and arrival eliminated; empty without a pulse.
        information: Its variance, where the calibration holds: by how much a change of one shifts it.
        background: The logarithms of fluence, noise and occupancies, and how far the bandpass is
            from the expected; not finite where the frame does not tell.
        gain: Noise of each channel in counts, shape (channel,).
        snr: S/N of the pulse; 0 without one.
    """

    slope: dict[str, float]
    information: dict[str, float]
    background: dict[str, float]
    gain: NDArray[np.float64]
    snr: float


class FrameReader:
    """Reads frames as a calibrated twin expects them.

    Attributes:
        expected: The calibrated observation.
        band: The receiver.
        gain: Noise of each channel as it should be, in counts, shape (channel,); None if not known.
    """

    gain: NDArray[np.float64] | None = None

    def __init__(self, expected: ObservationParameters, band: Band) -> None:
        """Prepare for frames of one receiver."""
        self.expected, self.band = expected, band
        self._laws = ChannelLaws.of(band, expected)
        self._boxcar_s = expected_boxcar_s(expected, self._laws)

    def read(self, spectra: NDArray[Any]) -> FrameEvidence:
        """Return what a frame tells.

        Args:
            spectra: Counts, the highest frequency first, shape (time, channel).
        """
        cleaned = clean(spectra, delays=self.band.delays(self.expected.dm_pc_cm3))
        gain = _noise(spectra, cleaned)
        level = np.nanmedian(gain) if np.isfinite(gain).any() else np.nan
        narrow = cleaned.narrowband | cleaned.bad_channel[:, None]
        background = {
            "noise": float(np.log(level)) if level > 0 else np.nan,
            "bandpass": np.nan if self.gain is None else bandpass_distance(gain, self.gain),
            # Interference comes in bursts: its logarithm is not ruled by the strongest.
            "narrowband_occupancy": float(np.log(narrow.mean() + LEAST_OCCUPANCY)),
            "broadband_occupancy": float(np.log(cleaned.broadband.mean() + LEAST_OCCUPANCY)),
            "fluence": np.nan,
        }
        slope, information, fluence, snr = self._pulse(cleaned)
        if snr:
            background["fluence"] = float(np.log(fluence))
        return FrameEvidence(slope, information, background, gain, snr)

    def _pulse(self, cleaned: Cleaned) -> tuple[dict[str, float], dict[str, float], float, float]:
        """Return slopes, information, fluence and S/N of the frame's strongest pulse."""
        nothing: tuple[dict[str, float], dict[str, float], float, float] = ({}, {}, np.nan, 0.0)
        arrival_s = self._arrival_s(cleaned)
        if arrival_s is None:
            return nothing
        windows = cut(
            cleaned.data,
            self.band,
            self.expected.dm_pc_cm3,
            [arrival_s],
            self._boxcar_s,
            laws=self._laws,
        )
        if not windows.values.any():
            return nothing
        shape = [
            1e3 * (arrival_s - windows.start_s[0]),
            self.expected.dm_pc_cm3,
            squared_sigma(self.expected.width_ms),
            self.expected.scattering_ms,
        ]
        found = solve(windows, np.array([shape]), ())
        snr = float(found.snr[0])
        if snr < FRAME_SNR_MIN:
            return nothing
        matrix, slopes = found.matrices()[0], gradients(found)[0]
        slope, information = {}, {}
        for name, column in SHAPE.items():
            n = column - TIME
            along = matrix[0, n] / matrix[0, 0]
            # The slope of the fitted number with the parameter.
            factor = 2 * self.expected.width_ms * SIGMA_PER_FWHM**2 if column == SQUARED_WIDTH else 1.0
            slope[name] = float(slopes[n] - along * slopes[0]) * factor
            information[name] = max(float(matrix[n, n] - along * matrix[0, n]), 1e-12) * factor**2
        return slope, information, float(found.fluence[0]), snr

    def _arrival_s(self, cleaned: Cleaned) -> float | None:
        """Return where the frame's strongest pulse arrives, None where the frame is too short."""
        delays = self.band.whole_delays(self.expected.dm_pc_cm3)
        series, present = dedisperse(cleaned.data, delays, ~cleaned.bad_channel)
        whole = int((present == present.max()).sum()) if present.max() > 0 else 0
        n_box = max(1, round(self._boxcar_s / self.band.sampling_s))
        if whole <= 2 * n_box:
            return None
        sums = np.convolve(series[:whole], np.ones(n_box), mode="valid")
        return (int(sums.argmax()) + (n_box - 1) / 2) * self.band.sampling_s


def bandpass_distance(gain: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return how far a bandpass is from the expected one: the median channel's relative change.

    Args:
        gain: Noise of each channel in counts, not finite where unknown, shape (channel,).
        expected: The same as it should be; only ratios of channels count.
    """
    known = np.isfinite(gain) & np.isfinite(expected)
    if not known.any():
        return np.nan
    change = np.log(gain[known] / expected[known])
    return float(np.median(np.abs(change - np.median(change))))


def frame_noise(frames: list[FrameEvidence]) -> NDArray[np.float64]:
    """Return the noise of each channel over some frames, shape (channel,)."""
    gains = np.stack([frame.gain for frame in frames])
    known = np.isfinite(gains).any(axis=0)
    noise = np.full(gains.shape[1], np.nan)
    noise[known] = np.nanmedian(gains[:, known], axis=0)
    return noise


def _noise(spectra: NDArray[Any], cleaned: Cleaned) -> NDArray[np.float64]:
    """Return the standard deviation of each channel's quiet samples, not finite where it has none."""
    quiet = ~(cleaned.narrowband | cleaned.broadband | cleaned.bad_channel[:, None])
    counts = np.where(quiet, spectra.T.astype(np.float32), 0.0)
    n = quiet.sum(axis=1).astype(float)
    n[n < 32] = np.nan
    mean = counts.sum(axis=1) / n
    variance = np.where(quiet, (counts - mean[:, None]) ** 2, 0.0).sum(axis=1) / (n - 1)
    return np.sqrt(np.where(variance > 0, variance, np.nan))


# The changes that are looked for: those of the width and of what is behind the pulses are relative.
SHAPE_CHANGES = {"dm_pc_cm3": 0.2, "width_ms": 0.2, "scattering_ms": 0.5}
BACKGROUND_CHANGES = {
    "fluence": 0.5,
    "noise": 0.03,
    "bandpass": 0.03,
    "narrowband_occupancy": 1.0,
    "broadband_occupancy": 1.0,
}
# Logarithm of the likelihood ratio, summed, at which a change is called.
ALARM_THRESHOLD = 11.0
# Quiet frames that are needed to know what is normal.
MIN_QUIET_FRAMES = 8
N_FOLDS = 8
# What is behind the pulses is judged by means over so many frames, since interference lasts for some.
BATCH_FRAMES = 8
REACH_FRAMES = 8  # over which the numbers hang together
# A change of the background by more than so many standard deviations of such a mean is looked for as
# if it were so large: half of the true change must still be passed.
MAX_BACKGROUND_SHIFT = 1.5
# Interference is not Gaussian: more than this does not count.
MAX_OCCUPANCY_SIGMA = 3.0


class Monitor(Watch[FrameEvidence]):
    """Watches a stream; see `twin.Watch`. Its table tells the S/N of each frame, `snr`, too.

    Attributes:
        expected: The calibrated observation.
        normal: Mean and standard deviation of each number in quiet frames, by name.
    """

    def __init__(
        self,
        state: TwinState,
        quiet: Iterable[xr.Dataset],
        *,
        receiver_parameters: ObservationParameters | None = None,
    ) -> None:
        """Learn from quiet frames what is normal; those of the calibration will do.

        Args:
            state: The calibrated state.
            quiet: Frames with `data` (time, frequency), each with a pulse and its whole sweep.
            receiver_parameters: What the state does not know of the observation.

        Raises:
            ValueError: There are too few frames, or too few with a pulse.
        """
        self.expected = calibrated(receiver_parameters or ObservationParameters(), state.parameters)
        numbers = self._learn(list(quiet))
        super().__init__(state, numbers, alarm_threshold=ALARM_THRESHOLD)

    def read(self, frame: xr.Dataset) -> Evidence[FrameEvidence]:
        """Return every number's deviation from normal, and what a change would make it."""
        evidence = self._reader.read(_spectra(frame))
        changes = SHAPE_CHANGES | {"width_ms": SHAPE_CHANGES["width_ms"] * self.expected.width_ms}
        # By how many standard deviations these changes would move the frame's slopes.
        shift = {n: changes[n] * float(np.sqrt(i)) for n, i in evidence.information.items()}
        sigma = {}
        for name, (mean, scatter) in self.normal.items():
            value = _number(evidence, name)
            if np.isfinite(value) and scatter > 0:
                sigma[name] = (value - mean) / scatter
            if name in shift:
                shift[name] /= max(scatter, 1e-9)
        return Evidence(sigma, evidence, shift, {"snr": evidence.snr})

    def explain(self, name: str, since: Sequence[FrameEvidence]) -> tuple[str, Estimate | None]:
        """Return the parameter whose change explains most of what was seen since.

        A longer tail also looks like a broader pulse and a higher DM: of the numbers of the shape, the
        one counts that alone raises the likelihood most.
        """
        if name not in SHAPE:
            return name, None
        with_pulse = [frame for frame in since if frame.slope]
        best, change, gained = name, None, -1.0
        for each in SHAPE:
            mean, scatter = self.normal[each]
            information = sum(frame.information[each] for frame in with_pulse)
            # Normal is not exactly the calibrated value: what quiet frames show is taken away.
            usual = sum(mean * np.sqrt(frame.information[each]) for frame in with_pulse)
            slope = sum(frame.slope[each] for frame in with_pulse) - usual
            if slope**2 / information / scatter**2 > gained:
                gained = slope**2 / information / scatter**2
                unit = self.state.parameters[each].unit if each in self.state.parameters else "1"
                error = scatter / np.sqrt(information)
                best, change = each, Estimate.of(slope / information, error, unit)
        return best, change

    def _learn(self, quiet: list[xr.Dataset]) -> dict[str, Number]:
        """Return what is watched, known from quiet frames."""
        if len(quiet) < MIN_QUIET_FRAMES:
            raise ValueError(
                f"{len(quiet)} quiet frames are too few to know what is normal: give"
                f" {MIN_QUIET_FRAMES} or more"
            )
        spectra = [_spectra(frame) for frame in quiet]
        with open_spectra(quiet[0]) as frame:
            self._reader = FrameReader(self.expected, frame.band)
        seen = [self._reader.read(each) for each in spectra]
        self._reader.gain = frame_noise(seen)
        # Held against frames that it is not among: its own noise would make it look too near.
        for fold in range(N_FOLDS):
            others = frame_noise([each for n, each in enumerate(seen) if n % N_FOLDS != fold])
            for each in seen[fold::N_FOLDS]:
                each.background["bandpass"] = bandpass_distance(each.gain, others)
        n_pulses = sum(bool(each.snr) for each in seen)
        if n_pulses < MIN_QUIET_FRAMES:
            raise ValueError(
                f"{n_pulses} of {len(seen)} quiet frames hold a pulse of S/N {FRAME_SNR_MIN:g} or more:"
                f" {MIN_QUIET_FRAMES} are needed"
            )
        watched = {}
        self.normal = {}
        for name in (*SHAPE, *BACKGROUND_CHANGES):
            values = np.array([_number(each, name) for each in seen])
            n_known = int(np.isfinite(values).sum())
            self.normal[name] = long_run_scatter(values)
            if name in SHAPE:
                watched[name] = Number(n_known)
                continue
            scatter = max(self.normal[name][1], 1e-9) / np.sqrt(BATCH_FRAMES)
            watched[name] = Number(
                max(n_known, 1) / BATCH_FRAMES,
                float(np.log1p(BACKGROUND_CHANGES[name])) / scatter,
                at_most=MAX_BACKGROUND_SHIFT,
                n_frames=BATCH_FRAMES,
                most=MAX_OCCUPANCY_SIGMA if name.endswith("occupancy") else np.inf,
            )
        return watched


def _spectra(frame: xr.Dataset) -> NDArray[np.generic]:
    ordered = frame["data"].sortby("frequency", ascending=False)
    return ordered.transpose("time", "frequency").values


def _number(evidence: FrameEvidence, name: str) -> float:
    """Return a frame's number: of the shape, the slope over its standard deviation."""
    if name not in SHAPE:
        return evidence.background[name]
    if name not in evidence.slope:
        return np.nan
    return evidence.slope[name] / float(np.sqrt(evidence.information[name]))


def long_run_scatter(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean, and the standard deviation that counts for sums of values that hang together.

    Interference lasts for many frames: a sum of n of them scatters more than by the root of n, by what
    the autocovariances add (Newey and West 1987, Econometrica 55, 703).

    Args:
        values: A number in frame after frame, shape (frame,); what is not finite is left out.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else 0.0), np.nan
    away = values - values.mean()
    variance = float(away @ away) / (len(values) - 1)
    long_run = variance
    for lag in range(1, min(REACH_FRAMES, len(values) - 1) + 1):
        long_run += (
            2 * (1 - lag / (REACH_FRAMES + 1)) * float(away[:-lag] @ away[lag:]) / (len(values) - 1)
        )
    return float(values.mean()), float(np.sqrt(max(long_run, variance)))
