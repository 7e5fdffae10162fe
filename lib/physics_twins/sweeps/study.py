"""Studies: parameters for which a function or a notebook does best, searched by Optuna on any client.

A study is a folder like that of a sweep: `plan.json` (what is asked), `optuna.journal` (its trials),
`records/` (what became of the cells computed), `cells/`, `confirmation/` (a sweep), `trials.csv` and
`report/`. Trials are cells: a result that is there is found by its key and not computed again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters, data
from physics_twins.data import Estimate
from physics_twins.parameters import Execution, ParameterError, Parameters, field
from physics_twins.runs import PLAN
from physics_twins.sweeps import sweep, trials
from physics_twins.sweeps.farm import CELLS, COMPLETE, FAILED, Farm, Record, Records
from physics_twins.sweeps.sweep import WAITING, Computation, Sweep, SweepError
from physics_twins.sweeps.tasks import Task, find_task
from physics_twins.sweeps.trials import KEY, REASON, MetricError, MissingMetricError, metric_of

if TYPE_CHECKING:
    import holoviews as hv
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


class Study(Computation):
    """A study's folder, while it runs and afterwards.

    The best of many noisy trials looks better than it is. So the best point and the defaults are
    computed again with fresh seeds, the same for both, and compared seed by seed.
    """

    kind = ("study", "studies")
    entry, state = "metric", trials.JOURNAL

    @property
    def trials(self) -> "list[FrozenTrial]":
        """All trials as Optuna has them, in the order in which they were asked for."""
        there = (self.folder / trials.JOURNAL).is_file()
        return trials.asked(trials.journal(self.folder)) if there else []

    @property
    def states(self) -> list[str]:
        """Of each trial whether it is complete, failed or waiting, those not asked for yet included."""
        states = [_STATES.get(trial.state.name, WAITING) for trial in self.trials]
        return states + [WAITING] * (data.read_json(self.folder / PLAN)["trials"] - len(states))

    @property
    def best(self) -> "FrozenTrial | None":
        """The best complete trial, of equal ones the first."""
        sign = -1 if self.plan["maximise"] else 1
        complete = [trial for trial in self.trials if trial.value is not None]
        return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Of each failed trial its `point` and its record: `error`, `trace`, `host`, ..."""
        failed = [trial for trial in self.trials if trial.state.name == "FAIL"]
        return [{"point": trial.params} | self._record(trial) for trial in failed]

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        return f"twins tune {self.folder} --trials {2 * self.plan['trials']}"

    def table(self) -> "pd.DataFrame":
        """Return one row for each trial: status, value with error, parameters, who computed it."""
        import pandas as pd

        rows = []
        for trial in self.trials:
            record = self._record(trial)
            error = record["estimate"] and (record["estimate"].error or None)
            row = {"trial": trial.number, "status": _STATES.get(trial.state.name, WAITING)}
            row |= {"value": trial.value, "error": error}
            row |= {f"params_{name}": value for name, value in trial.params.items()}
            told = {"seconds": "seconds", "host": "host", "reason": "error"}
            rows.append(row | {name: record[fact] for name, fact in told.items()})
        return pd.DataFrame(rows)

    def history(self) -> "hv.Overlay | hv.Div":
        """Return the value of each trial, the best so far, the defaults, and fresh seeds."""
        from physics_twins.sweeps import report

        return report.history(self)

    @cached_property
    def metrics(self) -> dict[str, Estimate]:
        """What has been found, as far as it is computed, when first asked for.

        `best`, `baseline` (the defaults) and `gain`, how much better the best is, above 0 in either
        direction; `best_confirmed`, `baseline_confirmed`, `gain_confirmed`, means over the fresh seeds.
        """
        best, defaults, sign = self.best, self.plan["baseline"], 1 if self.plan["maximise"] else -1
        if best is None:
            return {}
        first = next((trial for trial in self.trials if trial.params == defaults), None)
        a, b = self._record(best)["estimate"], first and self._record(first)["estimate"]
        found = {name: estimate for name, estimate in (("best", a), ("baseline", b)) if estimate}
        if a and b:
            error = math.hypot(a.error, b.error) if a.error and b.error else None
            found["gain"] = Estimate.of(sign * (a.value - b.value), error, a.unit)
        ours, theirs = self.confirmed(best.params), self.confirmed(defaults)
        values = {
            "best_confirmed": [*ours.values()],
            "baseline_confirmed": [*theirs.values()],
            "gain_confirmed": [sign * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs],
        }
        for name, each in values.items():
            if each:
                mean, error = data.mean(each)
                known = error if min(each) < max(each) else None  # equal values tell of no error
                found[name] = Estimate.of(mean, known, a.unit if a else "1")
        return found

    @property
    def gain(self) -> Estimate | None:
        """How much better the best point is, confirmed where it was."""
        return self.metrics.get("gain_confirmed") or self.metrics.get("gain")

    @property
    def is_real(self) -> bool:
        """Whether the gain is above 0 by two of its standard errors."""
        return self.gain is not None and self.gain.value > 2 * self.gain.error

    def confirmed(self, point: Mapping[str, Any] | None) -> dict[int, float]:
        """Return the metric at a point with each fresh seed that it was computed with."""
        place = self.folder / CONFIRMATION
        found: dict[int, float] = {}
        if point and (place / PLAN).is_file():
            again = Sweep(place)
            for each, record in zip(again.plan["points"], again.records, strict=True):
                if record and each == {**point, SEED: each[SEED]}:
                    with suppress(MetricError):
                        found[each[SEED]] = metric_of(record, self.plan["metric"], place / CELLS).value
        return found

    def comparison(self) -> "pd.DataFrame":
        """Return the best trial beside the defaults in words, as found and with fresh seeds."""
        import pandas as pd

        best, metric, defaults = self.best, self.plan["metric"], self.plan["baseline"] or {}
        if best is None:
            return pd.DataFrame({"best": ["no trial is complete"]}, index=[metric])
        rows = {metric: ""}
        if n_seeds := len(self.confirmed(best.params)):
            rows[f"{metric}, {n_seeds} fresh seeds"] = "_confirmed"
        names = ("best", "baseline", "gain")
        texts = {name: estimate.text for name, estimate in self.metrics.items()}
        table = {row: [texts.get(name + end, "-") for name in names] for row, end in rows.items()}
        table |= {name: [value, defaults.get(name, "-"), ""] for name, value in best.params.items()}
        return pd.DataFrame.from_dict(table, orient="index", columns=["best", "defaults", "better by"])

    def resume(self, *, n_trials: int | None = None, **options: Any) -> "Study":
        """Run it on, or to `n_trials` in all; `options` as for `tune`."""
        plan = self.plan
        same = ("metric", "maximise", "ranges", "choices", "fixed", "sampler", "seed", "confirm")
        asked: dict[str, Any] = {name: plan[name] for name in same} | options
        return tune(plan["task"], **asked, n_trials=n_trials or plan["trials"], out=self.folder)

    def _record(self, trial: "FrozenTrial") -> Record:
        """Return a trial's record with its metric as `estimate`, or why it has none in `error`."""
        none = {"status": FAILED, "error": trial.user_attrs.get(REASON, ""), "trace": "", "host": ""}
        record = {**none, "seconds": None} | self.by_key.get(trial.user_attrs[KEY], {})
        try:
            return record | {"estimate": metric_of(record, self.plan["metric"], self.folder / CELLS)}
        except MetricError as error:
            return record | {"estimate": None, "error": str(error)}


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
        ParameterError: A parameter, range or choice is refused; nothing has been computed.
        MissingMetricError: A result has no such metric, and none before had; the message names those
            that it has.
        SweepError: Nothing is varied, the folder holds another study, or a number is wrong.
        ClusterError: `on` cannot be used.
        FarmError: The scheduler vanished.
        KeyboardInterrupt: The user stopped it; what was complete is kept.
    """
    clusters.check(on)
    if sampler not in trials.SAMPLERS:
        raise SweepError(f"unknown sampler {sampler!r}; known are {', '.join(trials.SAMPLERS)}")
    if n_trials < 1 or confirm < 0 or (parallel is not None and parallel < 1):
        raise SweepError("n_trials and parallel must be 1 or more, and confirm 0 or more")
    task = find_task(what)
    start, space = _space(task, dict(fixed or {}), ranges or {}, choices or {})
    try:
        defaults = task.check(fixed or {})
    except ParameterError:  # of those that are varied, as the others have been checked
        defaults = None
    used = start.get(SEED)
    plan = (
        sweep.about(task, {name: start[name] for name in fixed or {}})
        | {
            "metric": metric,
            "maximise": maximise,
            "ranges": {name: [space[name].low, space[name].high] for name in ranges or {}},
            "choices": {name: list(space[name].choices) for name in choices or {}},
            "sampler": sampler,
            "seed": seed,
            "code": task.key(start),  # of input files, too
            "baseline": defaults and {name: defaults[name] for name in space},
            "trials": n_trials,
            "confirm": confirm,
            "seeds": [] if used is None else [n for n in range(1, confirm + 2) if n != used][:confirm],
        }
    )
    asked = {name: plan[name] for name in _ASKED}
    place = sweep.place(out, "studies", task, asked)
    with sweep.driving(place, plan, _ASKED) as folder, ExitStack() as stack:
        _check_sources(folder)
        study = Study(folder)
        search = _Search(task, space, study)
        if search.has_work():
            client = client or stack.enter_context(clusters.connect(on))
            search.run(client, parallel, progress)
        n_confirmed = _confirm(study, on=on, client=client, progress=progress)
        study = Study(folder, search.computed + n_confirmed)
        with data.replacing(folder / _TRIALS) as path:
            study.table().to_csv(path, index=False)
    return study


def _space(
    task: Task,
    fixed: Mapping[str, Any],
    ranges: Mapping[str, Sequence[Any]],
    choices: Mapping[str, Sequence[Any]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one point, complete and checked, and what is varied, as Optuna has it."""
    given = {**ranges, **choices}
    if not given:
        raise SweepError("nothing is varied: give a range or choices of a parameter")
    for name in given:
        if name not in task.fields:
            raise ParameterError.unknown(name, task.fields)
        if name == SEED or name in Execution.HOW:
            raise SweepError(f"{name} cannot be tuned: it is no property of what is computed")
        if name in fixed or (name in ranges and name in choices):
            raise SweepError(f"{name} is given twice: fix it, or give one range or list of choices")
        if task.fields[name].kind is int:  # as a command line gives it
            whole = [isinstance(value, float) and value.is_integer() for value in given[name]]
            given[name] = [int(v) if w else v for v, w in zip(given[name], whole, strict=True)]
    start = {**fixed, **{name: values[0] for name, values in given.items()}}
    checked = {n: [task.check({**start, n: v})[n] for v in values] for n, values in given.items()}
    space = {
        name: trials.distribution(task.fields[name], values, is_choice=name in choices)
        for name, values in checked.items()
    }
    return task.check(start), space


def _check_sources(folder: Path) -> None:
    """Refuse a folder whose trials have read what is another now: their values are compared."""
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

    def __init__(self, task: Task, space: Mapping[str, Any], study: Study) -> None:
        self._task, self._space, self._plan, self._folder = task, space, study.plan, study.folder
        self._journal = trials.journal(study.folder, maximise=self._plan["maximise"])
        self._known = Records(study.folder).by_key
        self._out: dict[str, list[int]] = {}  # trials by the key that they wait for
        self._new: dict[str, dict[str, Any]] = {}  # cells that no worker has yet
        self.computed = 0
        asked = trials.asked(self._journal)
        if not asked and self._plan["baseline"]:
            trials.ask_first_for(self._journal, self._plan["baseline"], space)
        for trial in asked:
            if not trial.state.is_finished():
                self._take(trial.number, self._checked(trial.params))

    def has_work(self) -> bool:
        """Return whether a trial is missing."""
        n_asked = len(trials.asked(self._journal))
        return self._n_finished() < max(self._plan["trials"], n_asked)

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
            sweep.progress_bar("tune", "trial", n_all, n_done, shown=progress) as bar,
        ):
            self._ask(farm, parallel)
            while farm.is_busy:
                for record in farm.step():
                    self._known[record["key"]] = record
                    for number in self._out.pop(record["key"], []):
                        self._tell(number, record)
                self._ask(farm, parallel)
                n_before, n_done = n_done, self._n_finished()
                sweep.show(bar, n_done - n_before, farm)

    def _ask(self, farm: Farm, parallel: int | None) -> None:
        """Keep as many trials with the workers as can be computed at a time."""
        plan, n_asked = self._plan, len(trials.asked(self._journal))
        while len(self._out) < (parallel or farm.n_slots) and n_asked < plan["trials"]:
            self._journal.sampler = trials.sampler(plan["sampler"], plan["seed"], n_asked)
            trial = self._journal.ask(dict(self._space))
            n_asked += 1
            try:
                values = self._checked(trial.params)
            except ParameterError as error:  # parameters that do not fit together
                trial.set_user_attr(REASON, str(error))
                trial.set_user_attr(KEY, "")
                trials.fail(self._journal, trial.number)
            else:
                trial.set_user_attr(KEY, self._task.key(values))
                self._take(trial.number, values)
        farm.add(self._new)
        self.computed += len(self._new)
        self._new = {}

    def _take(self, number: int, values: dict[str, Any]) -> None:
        """Tell a trial's result where it is known, and have it computed otherwise."""
        key = self._task.key(values)
        if key in self._known:
            self._tell(number, self._known[key])
            return
        if key not in self._out:
            self._new[key] = values
        self._out.setdefault(key, []).append(number)

    def _tell(self, number: int, record: Record) -> None:
        try:
            value = metric_of(record, self._plan["metric"], self._folder / CELLS).value
        except MetricError as error:
            is_first = not any(t.value is not None for t in trials.asked(self._journal))
            if is_first and isinstance(error, MissingMetricError):
                raise
            trials.fail(self._journal, number)
        else:
            self._journal.tell(number, value)

    def _n_finished(self) -> int:
        return sum(trial.state.is_finished() for trial in trials.asked(self._journal))

    def _checked(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return self._task.check({**self._plan["fixed"], **point})


def _confirm(study: Study, **options: Any) -> int:
    """Compute the best point and the defaults with fresh seeds, as a sweep inside the study's folder.

    Args:
        study: Its folder is locked.
        options: As for `sweep.run`: `client`, `on`, `progress`.

    Returns:
        How many cells were computed.
    """
    plan, best = study.plan, study.best
    both = [point for point in (best.params, plan["baseline"]) if point] if best else []
    points = [{**point, SEED: seed} for seed in plan["seeds"] for point in both]
    if not points:
        return 0
    fixed = {name: value for name, value in plan["fixed"].items() if name != SEED}
    out = study.folder / CONFIRMATION
    return sweep.run(plan["task"], points, fixed=fixed, out=out, **options).computed
