"""Follow a stream of frames with a calibrated twin, and call when it no longer fits."""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.calibrate import calibrated
from physics_twins.pulsar.fitting.frame_evidence import (
    BACKGROUND,
    SHAPE,
    FrameEvidence,
    FrameReader,
    bandpass_distance,
    expected_shifts,
    frame_noise,
)
from physics_twins.pulsar.fitting.pieces import receiver
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.twin_parameters import MonitorParameters
from physics_twins.twin import Estimate, TwinState
from physics_twins.twin.drift import Alarm, Call, ChangeTest, long_run_scatter, watched

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
# What is normal is known with an error: so many of its standard deviations do not count as a change.
SLACK_SIGMA = 1.0


class Monitor:
    """Watches a stream.

    Attributes:
        state: The twin's record; `watch` returns it with its health as seen.
        expected: The calibrated observation.
        normal: Mean and standard deviation of each number in quiet frames, by name.
        alarms: All that were called.
    """

    def __init__(
        self,
        state: TwinState,
        quiet: Iterable[xr.Dataset],
        *,
        receiver_parameters: ObservationParameters | None = None,
        settings: MonitorParameters | None = None,
    ) -> None:
        """Learn from quiet frames what is normal; those of the calibration will do.

        Args:
            state: The calibrated state.
            quiet: Frames with `data` (time, frequency), each with a pulse and its whole sweep.
            receiver_parameters: What the state does not know of the observation.
            settings: Changes to look for, and the alarm's threshold.

        Raises:
            ValueError: There are too few frames, or too few with a pulse.
        """
        self.settings = settings or MonitorParameters()
        self.state = state
        self.expected = calibrated(receiver_parameters or ObservationParameters(), state.parameters)
        self.alarms: list[Alarm] = []
        self._n_seen = 0
        self._test = ChangeTest((*SHAPE, *BACKGROUND), threshold=self.settings.alarm_threshold)
        self._learn(list(quiet))
        self._since: list[FrameEvidence] = []
        self._batch: list[dict[str, float]] = []

    def watch(
        self,
        frames: Iterable[xr.Dataset],
        *,
        on_alarm: Callable[[Alarm], None] | None = None,
        stop_at_alarm: bool = False,
    ) -> xr.Dataset:
        """Follow frames, and return what was seen.

        Args:
            frames: As those that were learnt from; an iterator may be endless.
            on_alarm: Called with each alarm as it comes.
            stop_at_alarm: Whether to return after the first.

        Returns:
            For each frame `drift_score`, an alarm where it is 1 or more, `snr`, and for each number
            its deviation from normal in standard deviations, `deviation` (frame, number).
        """
        rows = []
        for frame in frames:
            rows.append(self.look(frame))
            if self.alarms and self.alarms[-1].frame == self._n_seen - 1:
                if on_alarm:
                    on_alarm(self.alarms[-1])
                if stop_at_alarm:
                    break
        return self._table(rows)

    def look(self, frame: xr.Dataset) -> tuple[float, float, dict[str, float]]:
        """Take one frame in; return drift score, S/N, and every number's deviation from normal."""
        evidence = self._reader.read(_spectra(frame))
        sigma, shift = self._against_normal(evidence)
        call = self._test.add(self._judged(sigma), shift, self._slack)
        self._since = [*self._since, evidence][-int(max(self._test.n_frames.max(), 1)) :]
        score = self._test.score
        self._n_seen += 1
        if call:
            alarm = self._alarm(call)
            self.alarms.append(alarm)
            self.state = self.state.watched(score, alarm.parameter)
            self._test.reset()
            self._since = []
        elif self.state.drift_score < 1:
            self.state = self.state.watched(score)
        return score, evidence.snr, sigma

    def _learn(self, quiet: list[xr.Dataset]) -> None:
        if len(quiet) < MIN_QUIET_FRAMES:
            raise ValueError(
                f"{len(quiet)} quiet frames are too few to know what is normal: give"
                f" {MIN_QUIET_FRAMES} or more"
            )
        band, snr_min = receiver(quiet[0]), self.settings.frame_snr_min
        spectra = [_spectra(frame) for frame in quiet]
        self._reader = FrameReader(self.expected, band, snr_min=snr_min)
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
                f"{n_pulses} of {len(seen)} quiet frames hold a pulse of S/N {snr_min:g} or more:"
                f" {MIN_QUIET_FRAMES} are needed"
            )
        numbers = {name: np.array([_number(each, name) for each in seen]) for name in self._test.names}
        self.normal = {name: long_run_scatter(values) for name, values in numbers.items()}
        n_known = {name: int(np.isfinite(values).sum()) for name, values in numbers.items()}
        self._slack = {
            name: SLACK_SIGMA * float(np.sqrt((1 if name in SHAPE else BATCH_FRAMES) / max(n, 1)))
            for name, n in n_known.items()
        }
        self._background_shift = {}
        for name, change in self._background_changes().items():
            scatter = max(self.normal[name][1], 1e-9) / np.sqrt(BATCH_FRAMES)
            wanted, shift = change / scatter, min(change / scatter, MAX_BACKGROUND_SHIFT)
            self._background_shift[name] = float(shift)
            self._slack[name] = max(self._slack[name], float(wanted - shift) / 2)

    def _background_changes(self) -> dict[str, float]:
        """Return the changes that are looked for, as the numbers of the background are counted."""
        noise = float(np.log1p(self.settings.noise_change))
        occupancy = float(np.log1p(self.settings.occupancy_change))
        return {
            "fluence": float(np.log1p(self.settings.fluence_change)),
            "noise": noise,
            "bandpass": noise,
            "narrowband_occupancy": occupancy,
            "broadband_occupancy": occupancy,
        }

    def _judged(self, sigma: dict[str, float]) -> dict[str, float]:
        """Return what is tested now: the shape in each frame, the background when a batch is full."""
        shape = {name: z for name, z in sigma.items() if name in SHAPE}
        self._batch.append(sigma)
        if len(self._batch) < BATCH_FRAMES:
            return shape
        batch, self._batch = self._batch, []
        background = {}
        for name in BACKGROUND:
            known = [each[name] for each in batch if name in each]
            if known:
                z = float(np.mean(known) * np.sqrt(len(known)))
                most = MAX_OCCUPANCY_SIGMA if name.endswith("occupancy") else np.inf
                background[name] = float(np.clip(z, -most, most))
        return shape | background

    def _against_normal(self, evidence: FrameEvidence) -> tuple[dict[str, float], dict[str, float]]:
        """Return each number's deviation in standard deviations, and what a change would make it."""
        settings = self.settings
        changes = {
            "dm_pc_cm3": settings.dm_change_pc_cm3,
            "width_ms": settings.width_change * self.expected.width_ms,
            "scattering_ms": settings.scattering_change_ms,
        }
        shift = expected_shifts(evidence.information, changes)
        shift |= self._background_shift
        sigma = {}
        for name, (mean, scatter) in self.normal.items():
            value = _number(evidence, name)
            if np.isfinite(value) and scatter > 0:
                sigma[name] = (value - mean) / scatter
            if name in shift and name in SHAPE:
                shift[name] /= max(scatter, 1e-9)
        return sigma, shift

    def _alarm(self, call: Call) -> Alarm:
        """Return the alarm, its parameter the one whose change explains most of what was seen since.

        A longer tail also looks like a broader pulse and a higher DM: of the numbers of the shape, the
        one counts that alone raises the likelihood most.
        """
        frame = self._n_seen - 1
        if call.name not in SHAPE:
            return Alarm(frame, call.name, call.n_frames, None)
        since = [each for each in self._since[-call.n_frames :] if each.slope]
        best, change, gained = call.name, None, -1.0
        for name in SHAPE:
            mean, scatter = self.normal[name]
            information = sum(each.information[name] for each in since)
            # Normal is not exactly the calibrated value: what quiet frames show is taken away.
            usual = sum(mean * np.sqrt(each.information[name]) for each in since)
            slope = sum(each.slope[name] for each in since) - usual
            if slope**2 / information / scatter**2 > gained:
                gained = slope**2 / information / scatter**2
                unit = self.state.parameters[name].unit if name in self.state.parameters else "1"
                error = scatter / np.sqrt(information)
                best, change = name, Estimate.of(slope / information, error, unit)
        return Alarm(frame, best, call.n_frames, change)

    def _table(self, rows: list[tuple[float, float, dict[str, float]]]) -> xr.Dataset:
        seen = watched([row[0] for row in rows], [row[2] for row in rows], self._test.names)
        return seen.assign(snr=("frame", np.array([row[1] for row in rows]), {"units": "1"}))


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
