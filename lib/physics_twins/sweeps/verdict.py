"""Whether the best trial of a study is better than the defaults, or was only lucky.

The best of many noisy trials looks better than it is. So the best point and the defaults are computed
again with fresh seeds, the same for both, and compared seed by seed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins.data import Estimate, mean
from physics_twins.runs import PLAN
from physics_twins.sweeps import sweep
from physics_twins.sweeps.objective import ObjectiveError, objective, unit
from physics_twins.sweeps.records import COMPLETE, Record
from physics_twins.sweeps.search_space import SEED
from physics_twins.sweeps.sweep import Sweep
from physics_twins.sweeps.tasks import Task
from physics_twins.sweeps.trials import Trial
from physics_twins.sweeps.worker import CELLS

CONFIRMATION = "confirmation"  # folder of the sweep that confirms a study
_Found = tuple[dict[str, Any], Record | None, Path]


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
        return gain is not None and gain.value > 2 * gain.error

    def metrics(self) -> dict[str, Any]:
        """Return all that is known, as a run records it."""
        best = _estimate(self.best.value or 0.0, self.best.error) if self.best else None
        found = {
            "best": best,
            "baseline": self.baseline,
            "gain": self.gain,
            "best_confirmed": self.confirmed,
            "baseline_confirmed": self.baseline_confirmed,
            "gain_confirmed": self.gain_confirmed,
        }
        return {
            name: {"value": each.value, "error": each.error or None, "unit": self.unit}
            for name, each in found.items()
            if each is not None
        }


def best_of(trials: Sequence[Trial], *, maximise: bool) -> Trial | None:
    """Return the best complete trial, of equal ones the first; None where none is complete."""
    complete = [trial for trial in trials if trial.status == COMPLETE]
    sign = -1 if maximise else 1
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)


def confirm(
    plan: Mapping[str, Any], trials: Sequence[Trial], folder: Path, **options: Any
) -> Sweep | None:
    """Compute the best point and the defaults with fresh seeds, as a sweep inside the study's folder.

    Args:
        plan: The study's plan.
        trials: Its trials.
        folder: The study's folder.
        options: As for `sweep.run`: `client`, `on`, `progress`.

    Returns:
        That sweep, None where there is nothing to compute.
    """
    best, baseline = best_of(trials, maximise=plan["maximise"]), plan["baseline"]
    seeds = plan["seeds"] if best else []
    points = [
        {**point, SEED: seed} for seed in seeds for point in (best and best.point, baseline) if point
    ]
    if baseline and not any(trial.point == baseline for trial in trials):
        points.append(baseline | ({SEED: plan["used_seed"]} if seeds else {}))
    if not points:
        return None
    fixed = {name: value for name, value in plan["fixed"].items() if name != SEED or not seeds}
    return sweep.run(plan["task"], points, fixed=fixed, out=folder / CONFIRMATION, **options)


def judge(
    plan: Mapping[str, Any], trials: Sequence[Trial], records: Mapping[str, Record], folder: Path
) -> Verdict:
    """Return the best trial beside the defaults, from what has been computed so far."""
    maximise, metric, point = plan["maximise"], plan["metric"], plan["baseline"]
    best = best_of(trials, maximise=maximise)
    known = [(trial.point, records.get(trial.key), folder) for trial in trials]
    confirmed = _confirmed(folder)

    def value(wanted: Mapping[str, Any] | None, found: Sequence[_Found]) -> Estimate | None:
        try:
            record, place = next((r, f) for p, r, f in found if r and wanted == p)
            return _estimate(*objective(record, metric, place / CELLS))
        except (ObjectiveError, StopIteration):
            return None

    def values(wanted: Mapping[str, Any] | None) -> tuple[float, ...]:
        each = [value({**(wanted or {}), SEED: seed}, confirmed) for seed in seeds]
        return tuple(estimate.value if estimate else math.nan for estimate in each) if wanted else ()

    tried = {json.dumps(p, sort_keys=True) for p, *_ in confirmed}
    wanted = [{**best.point, SEED: seed} for seed in plan["seeds"]] if best else []
    is_confirmed = all(json.dumps(p, sort_keys=True) in tried for p in wanted)
    seeds = plan["seeds"] if best and is_confirmed else []
    alone = (point or {}) | ({SEED: plan["used_seed"]} if plan["seeds"] else {})
    baseline = value(point, known) or (value(alone, confirmed) if point else None)
    return Verdict(
        best=best,
        baseline_point=point,
        baseline=baseline,
        gain=_gain(best, baseline, maximise=maximise),
        seeds=tuple(seeds),
        best_values=values(best and best.point),
        baseline_values=values(point),
        maximise=maximise,
        unit=unit(records.get(best.key), metric) if best else "",
    )


def fresh_seeds(task: Task, fixed: Mapping[str, Any], n: int) -> tuple[int | None, list[int]]:
    """Return the seed that all trials share, and the first `n` others; None and none without a seed.

    Args:
        task: What is tuned.
        fixed: A complete point: every parameter that has no default.
        n: How many.
    """
    if SEED not in task.fields:
        return None, []
    used = task.check(fixed)[SEED]
    return used, [seed for seed in range(1, n + 2) if seed != used][:n]


def _confirmed(folder: Path) -> list[_Found]:
    """Return what has been computed for the confirmation so far."""
    place = folder / CONFIRMATION
    if not (place / PLAN).is_file():
        return []
    found = sweep.load(place)
    pairs = zip(found.plan["points"], found.records, strict=True)
    return [(point, record, place) for point, record in pairs]


def _estimate(value: float, error: float | None) -> Estimate:
    return Estimate.of(value, error if error is not None and math.isfinite(error) else None)


def _gain(best: Trial | None, baseline: Estimate | None, *, maximise: bool) -> Estimate | None:
    if best is None or best.value is None or baseline is None:
        return None
    difference = best.value - baseline.value
    error = math.hypot(best.error, baseline.error) if best.error and baseline.error else None
    return Estimate.of(difference if maximise else -difference, error)


def _mean(values: Sequence[float]) -> Estimate | None:
    value, error = mean(values)
    return _estimate(value, error) if math.isfinite(value) else None
