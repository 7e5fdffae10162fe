"""Follow a stream of frames with a calibrated twin, and call when it no longer fits."""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import Estimate
from physics_twins.pulsar.calibrate import calibrated
from physics_twins.pulsar.fitting.frame_evidence import (
    SHAPE,
    FrameEvidence,
    FrameReader,
    bandpass_distance,
    expected_shifts,
    frame_noise,
)
from physics_twins.pulsar.formats.spectra import open_spectra
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.twin import Evidence, Number, TwinState, Watch

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
FRAME_SNR_MIN = 6.0  # that a pulse needs to tell of its shape
# Quiet frames that are needed to know what is normal.
MIN_QUIET_FRAMES = 8
N_FOLDS = 8
# What is behind the pulses is judged by means over so many frames, since interference lasts for some.
BATCH_FRAMES = 8
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
        shift = expected_shifts(evidence.information, changes)
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
            self._reader = FrameReader(self.expected, frame.band, snr_min=FRAME_SNR_MIN)
        seen = [self._reader.read(each) for each in spectra]
        self._reader.gain = frame_noise(seen)
        # Held against frames that it is not among: its own noise would make it look too near.
        for fold in range(N_FOLDS):
            others = frame_noise([each for n, each in enumerate(seen) if n % N_FOLDS != fold])
            for each in seen[fold::N_FOLDS]:
                each.background["bandpass"] = bandpass_distance(each.gain, others)
        if sum(bool(each.snr) for each in seen) < MIN_QUIET_FRAMES:
            n_pulses = sum(bool(each.snr) for each in seen)
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


def long_run_scatter(values: NDArray[np.float64], *, reach: int = 8) -> tuple[float, float]:
    """Return the mean, and the standard deviation that counts for sums of values that hang together.

    Interference lasts for many frames: a sum of n of them scatters more than by the root of n, by what
    the autocovariances add (Newey and West 1987, Econometrica 55, 703).

    Args:
        values: A number in frame after frame, shape (frame,); what is not finite is left out.
        reach: Frames over which they hang together.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else 0.0), np.nan
    away = values - values.mean()
    variance = float(away @ away) / (len(values) - 1)
    long_run = variance
    for lag in range(1, min(reach, len(values) - 1) + 1):
        long_run += 2 * (1 - lag / (reach + 1)) * float(away[:-lag] @ away[lag:]) / (len(values) - 1)
    return float(values.mean()), float(np.sqrt(max(long_run, variance)))
