"""Whether the best trial of a study is better than the defaults, or was only lucky.

The best of many noisy trials looks better than it is. So the best point and the defaults are computed
again with fresh seeds, the same for both, and compared seed by seed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins.data import atomic
from physics_twins.sweeps import tasks
from physics_twins.sweeps.farm import Cell
from physics_twins.sweeps.objective import ObjectiveError, objective, unit
from physics_twins.sweeps.records import COMPLETE, Record
from physics_twins.sweeps.search_space import SEED
from physics_twins.sweeps.trials import Trial
from physics_twins.sweeps.worker import CELLS

_FILE = "confirmation.json"


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: The number.
        error: Its standard error, None where nothing is known of it.
    """

    value: float
    error: float | None = None

    def metric(self, unit: str = "") -> dict[str, Any]:
        """Return it as a run records it."""
        return {"value": self.value, "error": self.error, "unit": unit}


@dataclass(frozen=True)
class Verdict:
    """The best trial of a study beside the defaults. What is None was not computed, or failed.

    Attributes:
        best: The best trial.
        baseline_point: The defaults of what was varied.
        baseline: The metric at the defaults, with the seed that all trials share.
        gain: How much better the best trial is; above 0 is better, whatever the direction.
        seeds: The fresh seeds.
        best_values: The metric at the best point, for each fresh seed; nan where that failed.
        baseline_values: The same at the defaults.
        unit: Of the metric.
    """

    best: Trial | None
    baseline_point: dict[str, Any] | None
    baseline: Estimate | None
    gain: Estimate | None
    seeds: tuple[int, ...]
    best_values: tuple[float, ...]
    baseline_values: tuple[float, ...]
    maximise: bool
    unit: str

    @property
    def confirmed(self) -> Estimate | None:
        """The metric at the best point: mean and standard error over the fresh seeds."""
        return _mean(self.best_values)

    @property
    def baseline_confirmed(self) -> Estimate | None:
        """The same at the defaults."""
        return _mean(self.baseline_values)

    @property
    def gain_confirmed(self) -> Estimate | None:
        """How much better the best point is, seed by seed; above 0 is better."""
        pairs = zip(self.best_values, self.baseline_values, strict=False)
        return _mean([(a - b) if self.maximise else (b - a) for a, b in pairs])

    @property
    def is_real(self) -> bool:
        """Whether the gain, confirmed where it was, is above 0 by two of its standard errors."""
        gain = self.gain_confirmed or self.gain
        return gain is not None and gain.value > 2 * (gain.error or 0.0)

    def metrics(self) -> dict[str, Any]:
        """Return all that is known, as a run records it."""
        best = Estimate(self.best.value or 0.0, self.best.error) if self.best else None
        found = {
            "best": best,
            "baseline": self.baseline,
            "gain": self.gain,
            "best_confirmed": self.confirmed,
            "baseline_confirmed": self.baseline_confirmed,
            "gain_confirmed": self.gain_confirmed,
        }
        return {name: each.metric(self.unit) for name, each in found.items() if each is not None}


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial | None:
    """Return the best complete trial, of equal ones the first; None where none is complete."""
    complete = [trial for trial in trials if trial.status == COMPLETE]
    sign = -1 if maximise else 1
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)


def plan_cells(
    task: tasks.Task,
    plan: Mapping[str, Any],
    trials: Sequence[Trial],
    baseline: Mapping[str, Any] | None,
    folder: Path,
) -> list[Cell]:
    """Return the cells that compare the best trial with the defaults; note in the folder which."""
    best = best_of(trials, maximise=plan["maximise"])
    fixed = plan["fixed"]
    seeds = _fresh_seeds(task, fixed, best.point, plan["confirm"]) if best else []

    def cell(point: Mapping[str, Any], **seed: int) -> Cell:
        values = task.check({**fixed, **point, **seed})
        return Cell(tasks.key(task, values), values)

    at_best = [cell(best.point, seed=seed) for seed in seeds] if best else []
    at_baseline = [] if baseline is None else [cell(baseline, seed=seed) for seed in seeds]
    own = [] if baseline is None else [cell(baseline)]
    note = {"seeds": seeds, "best": best and best.key, "best_keys": [c.key for c in at_best]}
    note |= {"baseline_point": baseline, "baseline_key": own[0].key if own else None}
    atomic.write_json(folder / _FILE, note | {"baseline_keys": [c.key for c in at_baseline]})
    return list({c.key: c for c in (*own, *at_best, *at_baseline)}.values())


def judge(
    plan: Mapping[str, Any], trials: Sequence[Trial], records: Mapping[str, Record], folder: Path
) -> Verdict:
    """Return the best trial beside the defaults, from what has been computed so far."""
    maximise, metric = plan["maximise"], plan["metric"]
    best = best_of(trials, maximise=maximise)
    note = atomic.read_json(folder / _FILE) if (folder / _FILE).is_file() else {}
    if best is None or note.get("best") != best.key:
        note = {k: v for k, v in note.items() if k.startswith("baseline_") and k != "baseline_keys"}

    def value(key: str | None) -> Estimate | None:
        try:
            return Estimate(*objective(records[key or ""], metric, folder / CELLS))
        except (ObjectiveError, KeyError):
            return None

    def values(name: str) -> tuple[float, ...]:
        found = [value(key) for key in note.get(name, [])]
        return tuple(each.value if each else math.nan for each in found)

    baseline = value(note.get("baseline_key"))
    return Verdict(
        best=best,
        baseline_point=note.get("baseline_point"),
        baseline=baseline,
        gain=_gain(best, baseline, maximise=maximise),
        seeds=tuple(note.get("seeds", [])),
        best_values=values("best_keys"),
        baseline_values=values("baseline_keys"),
        maximise=maximise,
        unit=unit(records.get(best.key), metric) if best else "",
    )


def _fresh_seeds(
    task: tasks.Task, fixed: Mapping[str, Any], point: Mapping[str, Any], n: int
) -> list[int]:
    """Return the first `n` seeds that are not the one that all trials share; none without a seed."""
    if SEED not in task.fields:
        return []
    used = task.check({**fixed, **point})[SEED]
    return [seed for seed in range(1, n + 2) if seed != used][:n]


def _gain(best: Trial | None, baseline: Estimate | None, *, maximise: bool) -> Estimate | None:
    if best is None or best.value is None or baseline is None:
        return None
    difference = best.value - baseline.value
    both = best.error is not None and baseline.error is not None
    error = math.hypot(best.error or 0.0, baseline.error or 0.0) if both else None
    return Estimate(difference if maximise else -difference, error)


def _mean(values: Sequence[float]) -> Estimate | None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    n = len(finite)
    error = statistics.stdev(finite) / math.sqrt(n) if n > 1 else None
    return Estimate(statistics.fmean(finite), error)
