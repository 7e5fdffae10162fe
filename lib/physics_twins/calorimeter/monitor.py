"""Follow batches of showers with a calibrated twin, and call when the calorimeter has aged."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.infer import infer
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.twin_parameters import MonitorParameters
from physics_twins.drift import ChangeTest
from physics_twins.twin import Estimate, TwinState

# What is watched, and the parameter of the state that a change of it points to.
POINTS_TO = {"response": "energy_scale", "depth_layers": "absorber_mm", "scatter": "resolution"}
# Showers of the twin for each measured one.
_N_TWIN = 8
# A change by more standard deviations of a batch is looked for as if it were so large: since single
# batches count for no more than four, half of a larger one could not be passed.
_MAX_SHIFT = 3.0
_MOST_SIGMA = 3.0


@dataclass(frozen=True)
class Alarm:
    """A change that was found.

    Attributes:
        batch: The batch that called, counted from the first that was watched.
        number: What changed: `response`, `depth_layers` or `scatter`.
        parameter: The parameter of the state that this points to.
        n_batches: Batches since the change, as the test dates it.
        change: By how much, in the mean of these batches; relative for response and scatter.
    """

    batch: int
    number: str
    parameter: str
    n_batches: int
    change: Estimate


class Monitor:
    """Watches showers of known energies and angles.

    Each shower is held against the calibrated twin's showers of the same particle, so that batches of
    any energies and angles in the trained range can follow each other.

    Attributes:
        state: The twin's record, with its health as seen.
        alarms: All that were called.
    """

    def __init__(
        self,
        model: ShowerFlow,
        state: TwinState,
        *,
        seed: int,
        settings: MonitorParameters | None = None,
    ) -> None:
        """Begin with no sign of a change.

        Args:
            model: The flow that was calibrated.
            state: The calibrated state.
            seed: Of the twin's showers.
            settings: Changes to look for, and the alarm's threshold.
        """
        self.settings = settings or MonitorParameters()
        self.state, self.alarms = state, []
        self._model, self._seed, self._n_seen = model, seed, 0
        self._test = ChangeTest(tuple(POINTS_TO), threshold=self.settings.alarm_threshold)
        self._since: list[dict[str, tuple[float, float]]] = []

    alarms: list[Alarm]

    def watch(
        self,
        showers: Iterable[xr.Dataset] | xr.Dataset,
        *,
        on_alarm: Callable[[Alarm], None] | None = None,
        stop_at_alarm: bool = False,
    ) -> xr.Dataset:
        """Follow showers, and return what was seen.

        Args:
            showers: Batches, or one dataset that is cut into batches; an iterator may be endless.
            on_alarm: Called with each alarm as it comes.
            stop_at_alarm: Whether to return after the first.

        Returns:
            For each batch `drift_score`, an alarm where it is 1 or more, and `deviation` (batch,
            number) from the calibrated twin, in standard deviations.

        Raises:
            ValueError: A batch has fewer than ten showers, or lies outside the trained range.
        """
        batches = (
            _cut(showers, self.settings.batch_showers) if isinstance(showers, xr.Dataset) else showers
        )
        rows = []
        for batch in batches:
            n_alarms = len(self.alarms)
            rows.append(self.look(batch))
            if len(self.alarms) > n_alarms:
                if on_alarm:
                    on_alarm(self.alarms[-1])
                if stop_at_alarm:
                    break
        return _table(rows, self._n_seen - len(rows))

    def look(self, batch: xr.Dataset) -> tuple[float, dict[str, float]]:
        """Take one batch in; return the drift score, and each number's deviation from the twin."""
        changes = self._changes(batch)
        sigma = {name: change / error for name, (change, error) in changes.items()}
        wanted = {
            "response": self.settings.response_change,
            "depth_layers": self.settings.depth_change_layers,
            "scatter": self.settings.scatter_change,
        }
        shift = {n: min(wanted[n] / error, _MAX_SHIFT) for n, (_, error) in changes.items()}
        slack = {name: self._slack(name) / error for name, (_, error) in changes.items()}
        call = self._test.add(sigma, shift, slack)
        self._since.append(changes)
        self._since = self._since[-int(max(self._test.n_frames.max(), 1)) :]
        self._n_seen += 1
        score = self._test.score
        if call:
            change = self._mean_change(call.name, call.n_frames)
            alarm = Alarm(self._n_seen - 1, call.name, POINTS_TO[call.name], call.n_frames, change)
            self.alarms.append(alarm)
            self.state = self.state.watched(score, alarm.parameter)
            self._test.reset()
            self._since = []
        elif self.state.drift_score < 1:
            self.state = self.state.watched(score)
        return score, sigma

    def _changes(self, batch: xr.Dataset) -> dict[str, tuple[float, float]]:
        """Return by how much a batch differs from the twin, with the error of that."""
        n = batch.sizes["shower"]
        if n < 10:
            raise ValueError(f"{n} showers are too few for a batch: give 10 or more")
        seen, twin = features(batch), self._twin(batch)
        root = np.sqrt(batch["energy_gev"].values)
        mean = twin["response"].mean(axis=0)
        # Times the root of the energy, a response scatters about as much at all energies.
        own = (twin["response"] / mean - 1) * root
        away = (seen["response"].values / mean - 1) * root
        # A few lose much more: they count as this many standard deviations.
        end = _MOST_SIGMA * 1.4826 * float(np.median(np.abs(own)))
        own, away = own.clip(-end, end), away.clip(-end, end)
        more = 1 + 1 / _N_TWIN  # the twin's mean scatters, too
        sigma = float(np.sqrt((own**2).mean() * _N_TWIN / (_N_TWIN - 1) * more))
        weight = float((root**2).sum())
        change = float((away * root).sum() - (own * root).sum() / _N_TWIN) / weight
        spread = np.abs(own) * np.sqrt((_N_TWIN + 1) / (_N_TWIN - 1))
        rest = np.abs(away - change * root)
        depth = _depth_layers(seen) - twin["depth_layers"].mean(axis=0)
        return {
            "response": (change, sigma / np.sqrt(weight)),
            "depth_layers": (float(depth.mean()), float(depth.std(ddof=1) / np.sqrt(n))),
            "scatter": (
                float(rest.mean() / spread.mean() - 1),
                float(spread.std() / spread.mean() / np.sqrt(n)),
            ),
        }

    def _twin(self, batch: xr.Dataset) -> dict[str, NDArray[np.float64]]:
        """Return numbers of the calibrated twin for the particles of a batch, (repetition, shower)."""
        known = self.state.parameters
        scale = known["energy_scale"].value if "energy_scale" in known else 1.0
        scatter = known["resolution"].value if "resolution" in known else 0.0
        asked = batch
        if "absorber_mm" in known:
            asked = asked.assign_attrs(absorber_mm=known["absorber_mm"].value)
        many = xr.concat([asked] * _N_TWIN, "shower", join="exact", combine_attrs="override")
        seed = (self._seed + 7919 * self._n_seen) % 2**32
        seen = features(infer(self._model, many, seed=seed))
        shape = (_N_TWIN, batch.sizes["shower"])
        rng = np.random.default_rng(seed)
        factor = scale * (1 + scatter * rng.standard_normal(shape))
        return {
            "response": seen["response"].values.reshape(shape) * factor,
            "depth_layers": _depth_layers(seen).reshape(shape),
        }

    def _slack(self, name: str) -> float:
        """Return by how much the twin may be wrong, which is no sign of a change."""
        known = self.state.parameters
        if name == "response" and "energy_scale" in known:
            return known["energy_scale"].error / known["energy_scale"].value
        return _UNKNOWN[name]

    def _mean_change(self, name: str, n_batches: int) -> Estimate:
        values, errors = np.array([each[name] for each in self._since[-n_batches:]]).T
        weights = 1 / errors**2
        return Estimate.of((weights * values).sum() / weights.sum(), weights.sum() ** -0.5)


# What the flow itself may be wrong by, as its evaluation against Geant4 shows.
_UNKNOWN = {"response": 5e-4, "depth_layers": 0.02, "scatter": 0.03}


def _depth_layers(numbers: xr.Dataset) -> NDArray[np.float64]:
    """Return the centre of gravity of each shower, in layers: millimetres grow with the absorber."""
    layers = numbers["layer_mev"].values
    return layers @ np.arange(layers.shape[1]) / layers.sum(axis=1)


def _cut(showers: xr.Dataset, n: int) -> Iterable[xr.Dataset]:
    """Yield whole batches; what is left over is too little to judge."""
    for first in range(0, showers.sizes["shower"] - n + 1, n):
        yield showers.isel(shower=slice(first, first + n))


def _table(rows: list[tuple[float, dict[str, float]]], first: int) -> xr.Dataset:
    scores = [score for score, _ in rows]
    deviations = np.array([[sigma[name] for name in POINTS_TO] for _, sigma in rows])
    return xr.Dataset(
        {
            "drift_score": ("batch", scores, {"units": "1", "long_name": "Drift score"}),
            "deviation": (
                ("batch", "number"),
                deviations.reshape(len(rows), len(POINTS_TO)),
                {"units": "1", "long_name": "Deviation from the twin in standard deviations"},
            ),
        },
        {"batch": first + np.arange(len(rows)), "number": list(POINTS_TO)},
    )
