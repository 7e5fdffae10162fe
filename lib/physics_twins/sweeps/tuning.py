"""Studies: parameters for which a function or a notebook does best, searched by Optuna on any client.

A study is a folder like that of a sweep: `plan.json` (what is asked), `optuna.journal` (its trials),
`records/` (what became of the cells computed), `cells/`, `trials.nc` and `report/`. Trials are cells:
a result that is there is found by its key and not computed again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters
from physics_twins.data import changed, note_path, read_json
from physics_twins.parameters import Parameters, field
from physics_twins.runs import PLAN, now, source_sha256
from physics_twins.sweeps import folders, search_space, tasks, trials, verdict
from physics_twins.sweeps.folders import FolderError
from physics_twins.sweeps.records import COMPLETE, FAILED, Records
from physics_twins.sweeps.search_space import SearchSpace
from physics_twins.sweeps.searching import Driver
from physics_twins.sweeps.trials import SAMPLERS, WAITING, Trial

if TYPE_CHECKING:
    import xarray as xr

TRIALS = "trials.nc"
# What makes a study another one; the number of trials, for instance, may grow.
_ASKED = ("task", "metric", "maximise", "ranges", "choices", "fixed", "sampler", "seed", "code")


class StudyChoice(Parameters):
    """Which study a report is about."""

    study_dir: str = field("", help="Folder of a study; empty makes a small one")


class StudyError(FolderError):
    """A study that cannot be found, read or run; the message is one sentence."""


@dataclass(frozen=True)
class Study:
    """A study's folder, while it runs and afterwards.

    Attributes:
        folder: Absolute path.
        computed: Cells that were computed in this call, as opposed to found complete.
    """

    folder: Path
    computed: int = 0

    @property
    def plan(self) -> dict[str, Any]:
        """What is asked: `task`, `metric`, `maximise`, `ranges`, `choices`, `fixed`, `trials`, ..."""
        return read_json(self.folder / PLAN)

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were asked for."""
        return trials.read(self.folder)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are complete, failed and waiting, those not asked for yet included."""
        states = [trial.status for trial in self.trials]
        counts = {name: states.count(name) for name in (COMPLETE, FAILED)}
        return counts | {WAITING: max(0, self.plan["trials"] - sum(counts.values()))}

    @property
    def status(self) -> str:
        """One of running, complete, unfinished."""
        if folders.is_driven(self.folder):
            return "running"
        return "unfinished" if self.counts[WAITING] else "complete"

    @property
    def verdict(self) -> verdict.Verdict:
        """The best trial, and by how much it beats the defaults; see `verdict.Verdict`."""
        records = Records(self.folder).by_key
        return verdict.judge(self.plan, self.trials, records, self.folder)

    @property
    def report(self) -> Path | None:
        """The report's page, None where there is none."""
        return folders.report_of(self.folder)

    def importances(self) -> dict[str, float]:
        """Return how much each parameter matters; see `trials.importances`."""
        return trials.importances(self.folder)

    def dataset(self) -> "xr.Dataset":
        """Return the trials: parameters, `value`, `error`, `status`, `reason`, `seconds`, `host`."""
        from physics_twins.sweeps import trial_table

        return trial_table.dataset(self.plan, self.trials, Records(self.folder).by_key)

    def __str__(self) -> str:
        """Return the folder, from the current one where it lies below."""
        return folders.shown(self.folder)

    def _repr_html_(self) -> str:
        import html

        states = ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
        return f"Study <code>{html.escape(str(self))}</code>: {states}"


def run(
    what: str | Callable[..., Any],
    *,
    metric: str,
    maximise: bool = False,
    ranges: Mapping[str, tuple[float, float]] | None = None,
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
        what: `module:function`, a function of a module, or a notebook; see `tasks.find`.
        metric: The result that is to be lowest; a number, or one with an error.
        maximise: Whether it is to be highest instead.
        ranges: Lowest and highest value of parameters by name.
        choices: Values to choose from by name.
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
        SpaceError: A range or choice is refused; nothing has been computed.
        MissingMetricError: The first result has no such metric; the message names the nearest.
        StudyError: The folder holds another study, or a number is wrong.
        ClusterError: `on` cannot be used.
        FarmError: The scheduler vanished.
        KeyboardInterrupt: The user stopped it; what was complete is kept.
    """
    clusters.check(on)
    _check_numbers(n_trials, sampler, confirm, parallel)
    task, fixed = tasks.find_task(what), dict(fixed or {})
    space = search_space.checked(task, fixed, ranges or {}, choices or {})
    plan = _plan(task, space, fixed) | {"metric": metric, "maximise": maximise, "sampler": sampler}
    used, fresh = verdict.fresh_seeds(task, {**space.start, **fixed}, confirm)
    plan |= {"seed": seed, "trials": n_trials, "confirm": confirm, "used_seed": used, "seeds": fresh}
    plan["baseline"] = search_space.baseline(task, plan["fixed"], space)
    asked = {name: plan[name] for name in _ASKED}
    default = folders.default("studies", task.name, asked)
    folder = Path(out).expanduser().resolve() if out else default
    with folders.driving(folder, StudyError):
        _check_same(folder, asked)
        _check_sources(folder)
        folders.write_plan(folder, plan)
        with ExitStack() as stack:
            driver = Driver(task, space, plan, folder)
            if driver.has_work():
                client = client or stack.enter_context(clusters.connect(on))
                driver.work(client, parallel, progress)
            options = {"on": on, "client": client, "progress": progress}
            confirmed = verdict.confirm(plan, trials.read(folder), folder, **options)
        study = Study(folder, driver.computed + (confirmed.computed if confirmed else 0))
        _save(study)
    return study


def resume(folder: str | Path, *, n_trials: int | None = None, **options: Any) -> Study:
    """Run an interrupted study on, or one that shall have more trials; `options` as for `run`.

    Raises:
        StudyError: The folder holds no study.
    """
    study = load(folder)
    plan = study.plan
    same = ("metric", "maximise", "ranges", "choices", "fixed", "sampler", "seed", "confirm")
    asked: dict[str, Any] = {name: plan[name] for name in same} | options
    asked["n_trials"] = n_trials or plan["trials"]
    return run(plan["task"], **asked, out=study.folder)


def load(folder: str | Path) -> Study:
    """Return the study in `folder`, which is noted, see `data.note`.

    Raises:
        StudyError: The folder holds no study.
    """
    path = Path(folder).expanduser().resolve()
    if not (path / PLAN).is_file() or "metric" not in read_json(path / PLAN):
        raise StudyError(f"{folder} is no study: it has no {PLAN} with a metric")
    for name in (PLAN, trials.JOURNAL):
        note_path(path / name)
    return Study(path)


def find(root: Path | None = None) -> list[Study]:
    """Return the studies below `root`, by default the folder of all runs, oldest first."""
    return [Study(folder) for folder in folders.find(root, "metric")]


def resolve(address: str, root: Path | None = None) -> Study:
    """Return the study that `address` names: its folder, or how the folder's name begins.

    Raises:
        StudyError: No study or more than one fits.
    """
    fitting = folders.named(address, root, "metric")
    if len(fitting) != 1:
        raise StudyError(f"{address!r} fits {len(fitting)} studies; `twins studies` lists them")
    return load(fitting[0])


def _plan(task: tasks.Task, space: SearchSpace, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked of which code."""
    start = task.check({**space.start, **fixed})
    return {
        "task": task.name,
        "title": task.title,
        "ranges": {name: list(ends) for name, ends in space.ranges.items()},
        "choices": space.choices,
        "logarithmic": list(space.logarithmic),
        "fixed": {name: start[name] for name in fixed},
        "units": {name: info.unit for name, info in task.fields.items()},
        "source_sha256": source_sha256(task.twins),
        "code": tasks.key(task, start),  # of input files, too
        "started": now(),
    }


def _check_numbers(n_trials: int, sampler: str, confirm: int, parallel: int | None) -> None:
    if n_trials < 1:
        raise StudyError(f"a study needs one trial or more, found {n_trials}")
    if sampler not in SAMPLERS:
        raise StudyError(f"unknown sampler {sampler!r}; known are {', '.join(SAMPLERS)}")
    if confirm < 0:
        raise StudyError(f"the best cannot be confirmed with {confirm} seeds: give 0 or more")
    if parallel is not None and parallel < 1:
        raise StudyError(f"{parallel} trials at a time are none: give 1 or more")


def _check_same(folder: Path, asked: Mapping[str, Any]) -> None:
    """Check that a folder holds no other study; `asked` is what makes this one."""
    old = read_json(folder / PLAN) if (folder / PLAN).is_file() else {}
    differing = [name for name, value in asked.items() if old and old.get(name) != value]
    if differing:
        raise StudyError(
            f"{folder} holds a study that differs in {', '.join(differing)}: give another folder"
        )


def _check_sources(folder: Path) -> None:
    """Check that what the trials of a study have read is the same now: their values are compared."""
    records = Records(folder).by_key.values()
    others = changed(each for record in records for each in record.get("sources", ()))
    if others:
        names = ", ".join(sorted(each["name"] for each in others))
        raise StudyError(
            f"{folder} holds trials that were computed with another {names}: give another folder"
        )


def _save(study: Study) -> None:
    from physics_twins.data import save

    save(study.dataset(), study.folder / TRIALS)
