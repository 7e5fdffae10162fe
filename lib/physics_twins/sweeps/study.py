"""Studies: parameters for which a function or a notebook does best, searched by Optuna on any client.

A study is a folder like that of a sweep: `plan.json` (what is asked), `optuna.journal` (its trials),
`records/` (what became of the cells computed), `cells/`, `confirmation/` (a sweep), `trials.csv` and
`report/`. Trials are cells: a result that is there is found by its key and not computed again.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters, data
from physics_twins.data import Estimate, mean
from physics_twins.parameters import ParameterError, Parameters, field, unknown
from physics_twins.runs import HOW, PLAN
from physics_twins.sweeps import sweep, trials
from physics_twins.sweeps.farm import CELLS, COMPLETE, FAILED, Cell, Farm, Record, Records
from physics_twins.sweeps.sweep import WAITING, Computation, Sweep, SweepError, cell_of
from physics_twins.sweeps.tasks import Task, find_task
from physics_twins.sweeps.trials import KEY, REASON, MetricError, MissingMetricError, metric_of

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

SEED = "seed"
CONFIRMATION = "confirmation"  # folder of the sweep that confirms a study
_TRIALS = "trials.csv"
# What makes a study another one; the number of trials, for instance, may grow.
_ASKED = ("task", "metric", "maximise", "ranges", "choices", "fixed", "sampler", "seed", "code")
_STATES = {"COMPLETE": COMPLETE, "FAIL": FAILED}


class StudyChoice(Parameters):
    """Which study a report is about."""

    study_dir: str = field("", help="Folder of a study; empty makes a small one")


@dataclass(frozen=True)
class Verdict:
    """Whether the best trial of a study is better than the defaults, or was only lucky.

    The best of many noisy trials looks better than it is. So the best point and the defaults are
    computed again with fresh seeds, the same for both, and compared seed by seed.

    Attributes:
        best: The best point; None where no trial is complete.
        defaults: Those of what was varied; None where a parameter has none.
        seeds: The fresh seeds that the best point was computed with.
        metrics: `best`, `baseline` (the defaults) and `gain`, how much better the best is, above 0 in
            either direction; `best_confirmed`, `baseline_confirmed` and `gain_confirmed`, their means
            over the fresh seeds. What was not computed, or failed, is missing.
    """

    best: dict[str, Any] | None
    defaults: dict[str, Any] | None
    seeds: tuple[int, ...]
    metrics: dict[str, Estimate]

    @property
    def gain(self) -> Estimate | None:
        """How much better the best point is, confirmed where it was."""
        return self.metrics.get("gain_confirmed") or self.metrics.get("gain")

    @property
    def is_real(self) -> bool:
        """Whether the gain is above 0 by two of its standard errors."""
        return self.gain is not None and self.gain.value > 2 * self.gain.error


class Study(Computation):
    """A study's folder, while it runs and afterwards."""

    kind = ("study", "studies")
    entry, state = "metric", trials.JOURNAL

    @property
    def trials(self) -> "list[FrozenTrial]":
        """All trials as Optuna has them, in the order in which they were asked for."""
        there = (self.folder / trials.JOURNAL).is_file()
        return trials.asked(trials.journal(self.folder)) if there else []

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are complete, failed and waiting, those not asked for yet included."""
        states = [_STATES.get(trial.state.name) for trial in self.trials]
        counts = {name: states.count(name) for name in (COMPLETE, FAILED)}
        return counts | {WAITING: max(0, self.plan["trials"] - sum(counts.values()))}

    @property
    def status(self) -> str:
        """One of running, complete, unfinished."""
        return "running" if self.is_driven else "unfinished" if self.counts[WAITING] else "complete"

    @property
    def best(self) -> "FrozenTrial | None":
        """The best complete trial, of equal ones the first."""
        return _best(self.trials, maximise=self.plan["maximise"])

    @property
    def failures(self) -> list[dict[str, Any]]:
        """For each failed trial its `point`, `error`, and where it was computed `trace` and `host`."""
        failed = [trial for trial in self.trials if trial.state.name == "FAIL"]
        none = {"trace": "", "host": ""}
        records = [none | self.by_key.get(trial.user_attrs[KEY], {}) for trial in failed]
        return [
            {"point": trial.params, "error": self._outcome(trial)[1]}
            | {name: record[name] for name in none}
            for trial, record in zip(failed, records, strict=True)
        ]

    def table(self) -> "pd.DataFrame":
        """Return one row for each trial: status, value with error, parameters, who computed it."""
        import pandas as pd

        rows = []
        for trial in self.trials:
            record = self.by_key.get(trial.user_attrs[KEY], {})
            estimate, reason = self._outcome(trial)
            row = {"trial": trial.number, "status": _STATES.get(trial.state.name, WAITING)}
            row |= {"value": trial.value, "error": (estimate and estimate.error) or None}
            row |= {f"params_{name}": value for name, value in trial.params.items()}
            row |= {"seconds": record.get("seconds"), "host": record.get("host"), "reason": reason}
            rows.append(row)
        return pd.DataFrame(rows)

    def _outcome(self, trial: "FrozenTrial") -> tuple[Estimate | None, str]:
        """Return a trial's metric, or why there is none."""
        record = self.by_key.get(trial.user_attrs[KEY])
        if record is None:
            return None, trial.user_attrs.get(REASON, "")
        try:
            return metric_of(record, self.plan["metric"], self.folder / CELLS), ""
        except MetricError as error:
            return None, str(error)

    @property
    def verdict(self) -> Verdict:
        """The best trial, and by how much it beats the defaults, from what is computed so far."""
        plan, best, defaults = self.plan, self.best, self.plan["baseline"]
        found = self._found()
        unit = next((estimate.unit for estimate in found.values()), "1")
        sign = 1 if plan["maximise"] else -1

        def at(point: Mapping[str, Any] | None, seed: int | None) -> Estimate | None:
            return found.get(_text(point, seed)) if point else None

        point = best and best.params
        fresh = [(at(point, seed), at(defaults, seed), seed) for seed in plan["seeds"]]
        first, baseline = at(point, plan["used_seed"]), at(defaults, plan["used_seed"])
        gain = None
        if first and baseline:
            errors = first.error, baseline.error
            error = math.hypot(*errors) if all(errors) else None
            gain = Estimate.of(sign * (first.value - baseline.value), error, unit)
        metrics = {
            "best": first,
            "baseline": baseline,
            "gain": gain,
            "best_confirmed": _mean((b.value for b, _, _ in fresh if b), unit),
            "baseline_confirmed": _mean((d.value for _, d, _ in fresh if d), unit),
            "gain_confirmed": _mean((sign * (b.value - d.value) for b, d, _ in fresh if b and d), unit),
        }
        known = {name: estimate for name, estimate in metrics.items() if estimate}
        return Verdict(point, defaults, tuple(seed for b, _, seed in fresh if b), known)

    def comparison(self) -> "pd.DataFrame":
        """Return the best trial beside the defaults in words, as found and with fresh seeds."""
        import pandas as pd

        verdict, metric = self.verdict, self.plan["metric"]
        if verdict.best is None:
            return pd.DataFrame({"best": ["no trial is complete"]}, index=[metric])
        texts = {name: estimate.text for name, estimate in verdict.metrics.items()}
        rows = {metric: [texts.get(name, "-") for name in ("best", "baseline", "gain")]}
        if verdict.seeds:
            names = ("best_confirmed", "baseline_confirmed", "gain_confirmed")
            fresh = f"{metric}, {len(verdict.seeds)} fresh seeds"
            rows[fresh] = [texts.get(name, "-") for name in names]
        defaults = verdict.defaults or {}
        rows |= {name: [value, defaults.get(name, "-"), ""] for name, value in verdict.best.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["best", "defaults", "better by"])

    def resume(self, *, n_trials: int | None = None, **options: Any) -> "Study":
        """Run it on, or to `n_trials` in all; `options` as for `tune`."""
        plan = self.plan
        same = ("metric", "maximise", "ranges", "choices", "fixed", "sampler", "seed", "confirm")
        asked: dict[str, Any] = {name: plan[name] for name in same} | options
        return tune(plan["task"], **asked, n_trials=n_trials or plan["trials"], out=self.folder)

    def _found(self) -> dict[str, Estimate]:
        """Return the metric of every point that has one, by its text with the seed."""
        plan = self.plan
        cells = [(trial.params, self.by_key.get(trial.user_attrs[KEY])) for trial in self.trials]
        known = [(point, record, self.folder) for point, record in cells]
        place = self.folder / CONFIRMATION
        if (place / PLAN).is_file():
            again = Sweep(place)
            known += [(p, r, place) for p, r in zip(again.plan["points"], again.records, strict=True)]
        found: dict[str, Estimate] = {}
        for point, record, folder in known:
            with suppress(MetricError):
                if record:
                    text = _text(point, point.get(SEED, plan["used_seed"]))
                    found[text] = metric_of(record, plan["metric"], folder / CELLS)
        return found


def tune(
    what: str | Callable[..., Any],
    *,
    metric: str,
    maximise: bool = False,
    ranges: Mapping[str, Sequence[float]] | None = None,
    choices: Mapping[str, Sequence[Any]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    n_trials: int = 30,
    sampler: str = "tpe",
    seed: int = 1,
    confirm: int = 3,
    on: str = "local",
    client: Any = None,
    parallel: int | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Study:
    """Search for the parameters at which a metric is best, and compare them with the defaults.

    The first trial has the defaults. In the end the best point and the defaults are computed again with
    fresh seeds, because the best of many noisy trials looks better than it is. Interrupted, by Ctrl-C
    or worse, it is resumed by the same call; with a higher `n_trials` it goes on.

    Args:
        what: `module:function`, a function of a module, or a notebook; see `find_task`.
        metric: The result that is to be lowest; a number, or one with an error.
        maximise: Whether it is to be highest instead.
        ranges: Lowest and highest value of parameters by name.
        choices: Values to choose from by name; text is converted to the parameter's type.
        fixed: Parameters that all trials share; the others keep their defaults.
        n_trials: How many trials there shall be in all, failed ones included.
        sampler: `tpe`, or `random` for the comparison that it should win.
        seed: Seed of the search. With one trial at a time the same seed gives the same trials.
        confirm: With how many fresh seeds to confirm, where the task has a parameter `seed`.
        on: Where to compute, see `clusters.connect`; nothing starts when nothing is to do.
        client: A Dask client to use instead.
        parallel: How many trials are computed at a time; by default as many as there are workers.
        out: The study's folder; by default one under `studies/` of the runs that depends on what is
            asked and on the code.
        progress: Whether to show a progress bar.

    Raises:
        ParameterError: A parameter is refused; nothing has been computed.
        MissingMetricError: A result has no such metric, and none before had; the message names those
            that it has.
        SweepError: A range or choice is refused, the folder holds another study, or a number is wrong.
        ClusterError: `on` cannot be used.
        FarmError: The scheduler vanished.
        KeyboardInterrupt: The user stopped it; what was complete is kept.
    """
    clusters.check(on)
    _check_numbers(n_trials, sampler, confirm, parallel)
    task = find_task(what)
    plan = _planned(task, dict(fixed or {}), ranges or {}, choices or {}, confirm)
    plan |= {"metric": metric, "maximise": maximise, "sampler": sampler, "seed": seed}
    plan |= {"trials": n_trials, "confirm": confirm}
    space = _space(task, plan)
    asked = {name: plan[name] for name in _ASKED}
    folder = sweep.place(out, "studies", task, asked)
    with sweep.driving(folder), ExitStack() as stack:
        _check_occupant(folder, asked)
        sweep.write_plan(folder, plan)
        search = _Search(task, space, plan, folder)
        if search.has_work():
            client = client or stack.enter_context(clusters.connect(on))
            search.run(client, parallel, progress)
        n_confirmed = _confirm(Study(folder), on=on, client=client, progress=progress)
        study = Study(folder, search.computed + n_confirmed)
        with data.replacing(folder / _TRIALS) as path:
            study.table().to_csv(path, index=False)
    return study


def _planned(
    task: Task,
    fixed: Mapping[str, Any],
    ranges: Mapping[str, Sequence[float]],
    choices: Mapping[str, Sequence[Any]],
    confirm: int,
) -> dict[str, Any]:
    """Return what is searched of which code, checked."""
    names = [*ranges, *choices]
    if not names:
        raise SweepError("nothing is varied: give a range or choices of a parameter")
    for name in names:
        if name not in task.fields:
            raise ParameterError(unknown(name, task.fields))
        if name == SEED or name in HOW:
            raise SweepError(f"{name} cannot be tuned: it is no property of what is computed")
        if name in fixed or names.count(name) > 1:
            raise SweepError(f"{name} is given twice: fix it, or give one range or list of choices")
    start = {name: values[0] for name, values in {**ranges, **choices}.items()}

    def checked(name: str, value: Any) -> Any:
        is_whole = task.fields[name].kind is int and isinstance(value, float) and value.is_integer()
        return task.check({**fixed, **start, name: int(value) if is_whole else value})[name]

    start = {name: checked(name, value) for name, value in start.items()}
    complete = task.check({**fixed, **start})
    try:
        defaults = task.check(fixed)
    except ParameterError:  # of those that are varied, as the others have been checked
        defaults = None
    used = complete.get(SEED)
    fresh = [] if used is None else [n for n in range(1, confirm + 2) if n != used][:confirm]
    return sweep.about(task, {name: complete[name] for name in fixed}) | {
        "ranges": {name: [checked(name, end) for end in ends] for name, ends in ranges.items()},
        "choices": {name: [checked(name, each) for each in all] for name, all in choices.items()},
        "baseline": defaults and {name: defaults[name] for name in names},
        "used_seed": used,
        "seeds": fresh,
        "code": task.key(complete),  # of input files, too
    }


def _space(task: Task, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan varies, as Optuna has it."""
    for name, values in plan["choices"].items():
        if len(values) < 2 or len(set(values)) < len(values):
            shown = ", ".join(map(repr, values))
            raise SweepError(f"{name} needs two or more different choices, found {shown}")
    for name in plan["ranges"]:
        info = task.fields[name]
        if info.kind not in (int, float) or info.choices:
            raise SweepError(f"{name} has no range: give choices, allowed is {info.allowed}")
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, Any] = {}
    for name, (low, high) in plan["ranges"].items():
        kind = IntDistribution if task.fields[name].kind is int else FloatDistribution
        try:
            space[name] = kind(low, high, log=task.fields[name].logarithmic)
        except ValueError as error:
            raise SweepError(f"{name} = {low:g} to {high:g} is no range: {error}") from None
    return space | {name: CategoricalDistribution(v) for name, v in plan["choices"].items()}


def _check_numbers(n_trials: int, sampler: str, confirm: int, parallel: int | None) -> None:
    if n_trials < 1:
        raise SweepError(f"a study needs one trial or more, found {n_trials}")
    if sampler not in trials.SAMPLERS:
        raise SweepError(f"unknown sampler {sampler!r}; known are {', '.join(trials.SAMPLERS)}")
    if confirm < 0:
        raise SweepError(f"the best cannot be confirmed with {confirm} seeds: give 0 or more")
    if parallel is not None and parallel < 1:
        raise SweepError(f"{parallel} trials at a time are none: give 1 or more")


def _check_occupant(folder: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a folder with another study, or whose trials have read what is another now."""
    old = data.read_json(folder / PLAN) if (folder / PLAN).is_file() else {}
    if differing := [name for name, value in asked.items() if old and old.get(name) != value]:
        raise SweepError(
            f"{folder} holds a study that differs in {', '.join(differing)}: give another folder"
        )
    records = Records(folder).by_key.values()
    if changed := data.changed(each for r in records for each in r.get("sources", ())):
        names = ", ".join(sorted(each["name"] for each in changed))
        raise SweepError(
            f"{folder} holds trials that were computed with another {names}: give another folder"
        )


class _Search:
    """Brings a study, whose folder is locked, to its end.

    A trial that an earlier driver left waiting goes on: its result is taken where a worker finished it
    meanwhile, and computed otherwise.

    Attributes:
        computed: Cells that were given to workers.
    """

    def __init__(
        self, task: Task, space: Mapping[str, Any], plan: Mapping[str, Any], folder: Path
    ) -> None:
        self._task, self._space, self._plan, self._folder = task, dict(space), plan, folder
        self._journal = trials.journal(folder, maximise=plan["maximise"])
        self._known = Records(folder).by_key
        self._out: dict[str, list[int]] = {}  # trials by the key that they wait for
        self.computed = 0
        self._new: list[Cell] = []
        asked = self._asked()
        if not asked and not trials.queued(self._journal) and self._tries_defaults():
            self._journal.enqueue_trial(plan["baseline"])
        for trial in asked:
            if not trial.state.is_finished():
                self._take(trial.number, cell_of(task, plan["fixed"], trial.params))

    def has_work(self) -> bool:
        """Return whether a trial is missing."""
        return self._n_finished() < max(self._plan["trials"], len(self._asked()))

    def run(self, client: Any, parallel: int | None, progress: bool) -> None:
        """Compute what is missing, `parallel` trials at a time, by default one for each worker.

        Raises:
            MissingMetricError: A result does not have the metric, and none before had.
            FarmError: The scheduler is gone.
        """
        n_done = self._n_finished()
        n_all = max(n_done, self._plan["trials"])
        with (
            Farm(self._task, find_task, self._folder, client) as farm,
            sweep.progress_bar("tune", "trial", n_all, n_done, shown=progress) as step,
        ):
            self._ask(farm, parallel)
            while farm.is_busy:
                for record in farm.step():
                    self._known[record["key"]] = record
                    for number in self._out.pop(record["key"], []):
                        self._tell(number, record)
                self._ask(farm, parallel)
                n_before, n_done = n_done, self._n_finished()
                best = _best(self._asked(), maximise=self._plan["maximise"])
                step(n_done - n_before, farm, best=best and f"{best.value:.4g}")

    def _ask(self, farm: Farm, parallel: int | None) -> None:
        """Keep as many trials with the workers as can be computed at a time."""
        from optuna.trial import TrialState

        plan, n_asked = self._plan, len(self._asked())
        while len(self._out) < (parallel or farm.n_slots) and n_asked < plan["trials"]:
            self._journal.sampler = trials.sampler(plan["sampler"], plan["seed"], n_asked)
            trial = self._journal.ask(self._space)
            n_asked += 1
            try:
                cell = cell_of(self._task, plan["fixed"], trial.params)
            except ParameterError as error:  # parameters that do not fit together
                trial.set_user_attr(REASON, str(error))
                trial.set_user_attr(KEY, "")
                self._journal.tell(trial.number, state=TrialState.FAIL)
            else:
                trial.set_user_attr(KEY, cell.key)
                self._take(trial.number, cell)
        farm.add(self._new)
        self.computed += len(self._new)
        self._new = []

    def _take(self, number: int, cell: Cell) -> None:
        """Tell a trial's result where it is known, and have it computed otherwise."""
        if cell.key in self._known:
            self._tell(number, self._known[cell.key])
        elif cell.key in self._out:
            self._out[cell.key].append(number)
        else:
            self._out[cell.key] = [number]
            self._new.append(cell)

    def _tell(self, number: int, record: Record) -> None:
        from optuna.trial import TrialState

        try:
            value = metric_of(record, self._plan["metric"], self._folder / CELLS).value
        except MetricError as error:
            is_missing = isinstance(error, MissingMetricError)
            if is_missing and not _best(self._asked(), maximise=self._plan["maximise"]):
                raise
            self._journal.tell(number, state=TrialState.FAIL)
        else:
            self._journal.tell(number, value)

    def _asked(self) -> "list[FrozenTrial]":
        return trials.asked(self._journal)

    def _n_finished(self) -> int:
        return sum(trial.state.is_finished() for trial in self._asked())

    def _tries_defaults(self) -> bool:
        """Return whether the defaults lie where is searched."""
        plan, point = self._plan, self._plan["baseline"]
        return point is not None and all(
            [low <= point[name] <= high for name, (low, high) in plan["ranges"].items()]
            + [point[name] in allowed for name, allowed in plan["choices"].items()]
        )


def _confirm(study: Study, **options: Any) -> int:
    """Compute the best point and the defaults with fresh seeds, as a sweep inside the study's folder.

    Args:
        study: Its folder is locked.
        options: As for `sweep.run`: `client`, `on`, `progress`.

    Returns:
        How many cells were computed.
    """
    plan, best = study.plan, study.best
    baseline, seeds = plan["baseline"], plan["seeds"] if best else []
    both = [point for point in (best and best.params, baseline) if point]
    points = [{**point, SEED: seed} for seed in seeds for point in both]
    if baseline and all(trial.params != baseline for trial in study.trials):
        points.append(baseline | ({SEED: plan["used_seed"]} if seeds else {}))
    if not points:
        return 0
    fixed = {name: value for name, value in plan["fixed"].items() if name != SEED or not seeds}
    out = study.folder / CONFIRMATION
    return sweep.run(plan["task"], points, fixed=fixed, out=out, **options).computed


def _best(asked: "Sequence[FrozenTrial]", *, maximise: bool) -> "FrozenTrial | None":
    """Return the best complete trial, of equal ones the first; None where none is complete."""
    sign = -1 if maximise else 1
    complete = [trial for trial in asked if trial.state.name == "COMPLETE"]
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)


def _text(point: Mapping[str, Any], seed: int | None) -> str:
    return json.dumps({**point, SEED: seed}, sort_keys=True)


def _mean(values: Iterable[float], unit: str) -> Estimate | None:
    known = list(values)
    value, error = mean(known)
    return Estimate.of(value, error if len(known) > 1 else None, unit) if known else None
