"""Follow a stream of showers with a calibrated twin, and call when the calorimeter has aged.

Each shower says how its likelihood would rise with the energy scale, the scatter of the gain and the
thickness of the absorbers, that is the depth. Batches of showers say it together: each number's change
as one Newton step from the calibrated values would have it, all others free, so that what has not
changed shows no change. Page's test adds up what batches say (`drift`).
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.calibrate import COORDINATES, UNITS
from physics_twins.calorimeter.fitting.maximum import Maximum, maximise, slopes_at
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import LEAST_VARIANCE
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.twin_parameters import MonitorParameters
from physics_twins.twin import Estimate, TwinState
from physics_twins.twin.drift import Alarm, Call, ChangeTest, watched

WATCHED: tuple[str, ...] = ("energy_scale", "resolution", "absorber_mm")
MIN_QUIET_SHOWERS = 100
# A change that moves a batch by more standard deviations is looked for as if it moved it by so many, so
# that several batches must call it, not one.
MAX_SHIFT = 2.0
# What is normal is known with an error: so many of its standard deviations do not count as a change.
SLACK_SIGMA = 1.0
# So many of the last showers say by how much a number has changed.
MAX_SHOWERS_FITTED = 500


class Monitor:
    """Watches a stream of showers.

    Attributes:
        state: The twin's record, with its health as seen.
        alarms: All that were called; `frame` counts batches.
        since: Showers of the batches since the change that the last alarm has found: what to calibrate
            on again. None without an alarm.
    """

    def __init__(
        self,
        model: ShowerFlow,
        state: TwinState,
        quiet: xr.Dataset,
        *,
        settings: MonitorParameters | None = None,
    ) -> None:
        """Learn from quiet showers what is normal; those of the calibration will do.

        One member of the flow reads the showers: what it is wrong about is as wrong in quiet ones.

        Args:
            model: The flow.
            state: The calibrated state.
            quiet: Showers in the form of `simulate`.
            settings: Changes to look for, and the alarm's threshold.

        Raises:
            ValueError: There are too few showers, or they have other cells than the flow.
        """
        self.settings, self.state = settings or MonitorParameters(), state
        self.alarms: list[Alarm] = []
        self.since: xr.Dataset | None = None
        self._member = model.members[0]
        self._values = _values(state)
        self._bounds = {
            "log_scale": (self._values["log_scale"] - 1.0, self._values["log_scale"] + 1.0),
            "absorber_mm": tuple(np.add(model.ranges["absorber_mm"], (-0.05, 0.05))),
        }
        self._test = ChangeTest(WATCHED, threshold=self.settings.alarm_threshold)
        self._n_seen, self._kept = 0, list[xr.Dataset]()
        self._learn(MeasuredShowers.of(quiet))

    def watch(
        self,
        showers: xr.Dataset,
        *,
        on_alarm: Callable[[Alarm], None] | None = None,
        stop_at_alarm: bool = False,
    ) -> xr.Dataset:
        """Follow showers batch by batch, and return what was seen; what fills no batch is left out.

        Args:
            showers: In the form of `simulate`, in the order in which they came.
            on_alarm: Called with each alarm as it comes.
            stop_at_alarm: Whether to return after the first.

        Returns:
            From `drift.watched`, a frame being a batch.
        """
        size, scores, deviations = self.settings.batch_showers, [], []
        for first in range(0, showers.sizes["shower"] - size + 1, size):
            n_alarms = len(self.alarms)
            score, sigma = self.look(showers.isel(shower=slice(first, first + size)))
            scores.append(score)
            deviations.append(sigma)
            if len(self.alarms) > n_alarms:
                if on_alarm:
                    on_alarm(self.alarms[-1])
                if stop_at_alarm:
                    break
        return watched(scores, deviations, WATCHED, frame="Batch")

    def look(self, batch: xr.Dataset) -> tuple[float, dict[str, float]]:
        """Take one batch in; return the drift score, and every number's deviation from normal."""
        measured = MeasuredShowers.of(batch)
        step = self._steps(measured).mean(axis=0) - self._normal
        sigma = step * np.sqrt(len(measured)) / self._scatter
        told = dict(zip(WATCHED, map(float, sigma), strict=True))
        call = self._test.add(told, self._shift, self._slack)
        most = int(max(self._test.n_frames.max(), 1))
        self._kept = [*self._kept, batch][-most:]
        self._n_seen += 1
        score = self._test.score
        if call:
            self._call(call, score)
        elif self.state.drift_score < 1:
            self.state = self.state.watched(score)
        return score, told

    def _learn(self, quiet: MeasuredShowers) -> None:
        n, size = len(quiet), self.settings.batch_showers
        if n < MIN_QUIET_SHOWERS:
            raise ValueError(
                f"{n} quiet showers are too few to know what is normal: {MIN_QUIET_SHOWERS} are needed"
            )
        slopes = slopes_at(self._member, quiet, self._values, _free())
        # The scatter of the slopes is the information that a shower has.
        self._newton = np.linalg.inv(np.cov(slopes, rowvar=False))
        steps = self._steps(quiet)
        self._normal, self._scatter = steps.mean(axis=0), steps.std(axis=0, ddof=1)
        changes = {
            "energy_scale": np.log1p(self.settings.scale_change),
            "resolution": self.settings.resolution_change**2,
            "absorber_mm": self.settings.absorber_change_mm,
        }
        self._shift, self._slack = {}, {}
        for number, name in enumerate(WATCHED):
            wanted = float(changes[name] * np.sqrt(size) / self._scatter[number])
            self._shift[name] = min(wanted, MAX_SHIFT)
            unknown = SLACK_SIGMA * float(np.sqrt(size / n))
            # Half of the change that is looked for is no reason to call.
            self._slack[name] = max(unknown, (wanted - self._shift[name]) / 2)

    def _steps(self, showers: MeasuredShowers) -> NDArray[np.float64]:
        """Return how each shower alone would move the calibrated values, shape (shower, number)."""
        return slopes_at(self._member, showers, self._values, _free()) @ self._newton

    def _call(self, call: Call, score: float) -> None:
        self.since = xr.concat(self._kept[-call.n_frames :], "shower", join="exact")
        name, change = self._changed(self.since)
        self.alarms.append(Alarm(self._n_seen - 1, name or call.name, call.n_frames, change))
        self.state = self.state.watched(score, name or call.name)
        self._test.reset()
        self._kept = []

    def _changed(self, since: xr.Dataset) -> tuple[str, Estimate | None]:
        """Return the number that has changed most, in standard errors, and by how much.

        Single steps fall short of a change that is large against the spread of showers; a fit of all of
        them does not.
        """
        measured = MeasuredShowers.of(since.isel(shower=slice(-MAX_SHOWERS_FITTED, None)))
        found = maximise(self._member, measured, self._values, _free(), self._bounds)
        best, change, most = "", None, 0.0
        for number, name in enumerate(WATCHED):
            away, error = _change(found, number, self._values)
            # What quiet showers show is no change.
            away -= float(self._normal[number])
            if error > 0 and abs(away) / error > most:
                best, most = name, abs(away) / error
                change = _as_reported(name, away, error, self._values)
        return best, change


def _free() -> list[str]:
    return [COORDINATES[name] for name in WATCHED]


def _values(state: TwinState) -> dict[str, float]:
    """Return the coordinates of a fit at a calibrated state."""
    known = {name: each.value for name, each in state.parameters.items()}
    return {
        "log_scale": float(np.log(known.get("energy_scale", 1.0))),
        "variance": max(known.get("resolution", 0.0) ** 2, LEAST_VARIANCE),
        "theta_deg": known.get("theta_deg", 0.0),
        "absorber_mm": known["absorber_mm"],
    }


def _change(found: Maximum, number: int, before: dict[str, float]) -> tuple[float, float]:
    name = found.free[number]
    error = float(np.sqrt(max(found.covariance[number, number], 0.0)))
    return found.values[name] - before[name], error


def _as_reported(name: str, away: float, error: float, before: dict[str, float]) -> Estimate:
    """Return a change of a coordinate as one of what it is called outside."""
    if name == "energy_scale":
        scale = float(np.exp(before["log_scale"]))
        return Estimate.of(scale * np.expm1(away), scale * error * np.exp(away), UNITS[name])
    if name == "resolution":
        old = float(np.sqrt(before["variance"]))
        ends = [
            float(np.sqrt(max(before["variance"] + away + s * error, 0.0))) - old for s in (-1, 0, 1)
        ]
        return Estimate(value=ends[1], low=ends[0], high=ends[2], unit=UNITS[name])
    return Estimate.of(away, error, UNITS[name])
