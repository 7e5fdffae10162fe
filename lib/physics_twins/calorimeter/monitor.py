"""Follow a stream of showers with a calibrated twin, and call when the calorimeter has aged.

Each shower says how its likelihood would rise with the energy scale, the scatter of the gain and the
thickness of the absorbers. Batches of showers say it together, and Page's test adds it up for a change
of each number alone (`twin.ChangeTest`): no test finds such a change sooner. Which of them has changed
is told at an alarm by a fit of all: where sensors alone are seen, a thicker absorber lowers what is
seen much as a lower gain does.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from physics_twins.calorimeter.calibrate import COORDINATES, reported
from physics_twins.calorimeter.fitting.maximum import Fit, Maximum
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import LEAST_VARIANCE
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.twin_parameters import MonitorParameters
from physics_twins.data import Estimate
from physics_twins.twin import Evidence, Number, TwinState, Watch

WATCHED: tuple[str, ...] = ("energy_scale", "resolution", "absorber_mm")
MIN_QUIET_SHOWERS = 100
# A change that moves a batch by more standard deviations is looked for as if it moved it by so many, so
# that several batches must call it, not one.
MAX_SHIFT = 2.0
# So many of the last showers say by how much a number has changed.
MAX_SHOWERS_FITTED = 500


class Monitor(Watch[xr.Dataset]):
    """Watches a stream of showers, in the form of `simulate` and in the order in which they came.

    See `twin.Watch`; a frame is a batch, and showers that fill none are left out.

    Attributes:
        since: Showers of the batches since the change that the last alarm has found: what to calibrate
            on again. None without an alarm.
    """

    frame_word = "Batch"

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
        self.settings = settings or MonitorParameters()
        self.since: xr.Dataset | None = None
        self._member = model.members[0]
        self._values = _values(state)
        self._bounds = {
            "log_scale": (self._values["log_scale"] - 1.0, self._values["log_scale"] + 1.0),
            "absorber_mm": tuple(np.add(model.ranges["absorber_mm"], (-0.05, 0.05))),
        }
        self._layout = model.parameters.layout
        numbers = self._learn(MeasuredShowers.of(quiet, self._layout))
        super().__init__(state, numbers, alarm_threshold=self.settings.alarm_threshold)

    def frames(self, stream: xr.Dataset) -> Iterable[xr.Dataset]:
        """Yield the showers batch by batch."""
        size = self.settings.batch_showers
        for first in range(0, stream.sizes["shower"] - size + 1, size):
            yield stream.isel(shower=slice(first, first + size))

    def read(self, frame: xr.Dataset) -> Evidence[xr.Dataset]:
        """Return every number's deviation from normal in a batch."""
        measured = MeasuredShowers.of(frame, self._layout)
        slope = self._fit(measured).slopes_at(self._values).mean(axis=0) - self._normal
        sigma = slope * np.sqrt(len(measured)) / self._scatter
        return Evidence(dict(zip(WATCHED, map(float, sigma), strict=True)), frame)

    def explain(self, name: str, since: Sequence[xr.Dataset]) -> tuple[str, Estimate | None]:
        """Return the number that has changed most, in standard errors, and by how much.

        All numbers are free in the fit, as one may change for another.
        """
        self.since = xr.concat(since, "shower", join="exact")
        measured = MeasuredShowers.of(self.since.isel(shower=slice(-MAX_SHOWERS_FITTED, None)))
        found = self._fit(measured).maximum(self._values)
        best, change, most = name, None, 0.0
        for number, each in enumerate(WATCHED):
            away, error = _change(found, number, self._values)
            # What quiet showers show is no change.
            away -= float(self._offset[number])
            if error > 0 and abs(away) / error > most:
                best, most = each, abs(away) / error
                change = _as_reported(each, away, error, self._values)
        return best, change

    def _learn(self, quiet: MeasuredShowers) -> dict[str, Number]:
        """Return what is watched, known from quiet showers."""
        n, size = len(quiet), self.settings.batch_showers
        if n < MIN_QUIET_SHOWERS:
            raise ValueError(
                f"{n} quiet showers are too few to know what is normal: {MIN_QUIET_SHOWERS} are needed"
            )
        slopes = self._fit(quiet).slopes_at(self._values)
        self._normal, self._scatter = slopes.mean(axis=0), slopes.std(axis=0, ddof=1)
        # The scatter of the slopes is the information that a shower has.
        self._offset = np.linalg.solve(np.cov(slopes, rowvar=False), self._normal)
        changes = {
            "energy_scale": np.log1p(self.settings.scale_change),
            "resolution": self.settings.resolution_change**2,
            "absorber_mm": self.settings.absorber_change_mm,
        }
        wanted = {name: float(changes[name] * np.sqrt(size)) for name in WATCHED}
        return {
            name: Number(n / size, wanted[name] * scatter, at_most=MAX_SHIFT)
            for name, scatter in zip(WATCHED, self._scatter, strict=True)
        }

    def _fit(self, showers: MeasuredShowers) -> Fit:
        free = tuple(COORDINATES[name] for name in WATCHED)
        return Fit(self._member, showers, free, self._bounds)


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
    start = before[COORDINATES[name]]
    old, now = reported(name, start, 0.0).value, reported(name, start + away, error)
    return Estimate(value=now.value - old, low=now.low - old, high=now.high - old, unit=now.unit)
