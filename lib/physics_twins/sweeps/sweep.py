"""Sweeps: one function or notebook at many points, on any Dask client, resumed where it stopped.

A sweep is a folder: `plan.json` (what, where), `records/` (what became of the cells computed),
`cells/` (results that are files), `result.nc` (all of them as one dataset) and, of the command
`twins sweep`, `report/`. That of a study has the same form.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filelock import FileLock, Timeout

from physics_twins import clusters, data
from physics_twins.parameters import Parameters, field
from physics_twins.runs import PLAN, Run, default_root, json_sha256, now, source_sha256
from physics_twins.sweeps.farm import CELLS, COMPLETE, FAILED, RECORDS, Cells, Farm, Record, Records
from physics_twins.sweeps.tasks import Task, find_task

if TYPE_CHECKING:
    import holoviews as hv
    import xarray as xr
    from pandas.io.formats.style import Styler

RESULT = "result.nc"
LOCK = "driver.lock"
WAITING = "waiting"
_SUMMARY = "summary.json"
_LOOK_S = 1.0  # longer than anybody who only looks holds the lock


class SweepChoice(Parameters):
    """Which sweep a report is about."""

    sweep_dir: str = field("", help="Folder of a sweep; empty makes a small one")


class SweepError(ValueError):
    """A sweep or study that cannot be found, read or run; the message is one sentence."""


@dataclass(frozen=True)
class Computation:
    """The folder of a sweep or study, while it runs and afterwards.

    Attributes:
        folder: Absolute path.
        computed: Cells that were computed in this call, as opposed to found complete.
    """

    folder: Path
    computed: int = 0

    kind: ClassVar[tuple[str, str]]  # one, many
    entry: ClassVar[str]  # of its plan, that of no other kind
    state: ClassVar[str]  # file or folder in which it stands how far it is

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return what is in `folder`, which is noted, see `data.sources`.

        Raises:
            SweepError: The folder holds none.
        """
        path = Path(folder).expanduser().resolve()
        if not (path / PLAN).is_file() or cls.entry not in data.read_json(path / PLAN):
            raise SweepError(f"{folder} is no {cls.kind[0]}: it has no {PLAN} with {cls.entry}")
        for name in (PLAN, cls.state):
            data.note_path(path / name)
        return cls(path)

    @classmethod
    def find(cls, root: Path | None = None) -> list[Self]:
        """Return all below `root`, by default the folder of all runs, oldest first."""
        found: list[tuple[str, Path]] = []
        for folder, subfolders, files in os.walk(root or default_root()):
            if PLAN in files:  # a sweep or study has none inside
                subfolders.clear()
            with suppress(ValueError):  # a damaged plan must not hide the others
                plan = data.read_json(Path(folder) / PLAN) if PLAN in files else {}
                if cls.entry in plan:
                    found.append((plan["started"], Path(folder).resolve()))
        return [cls(folder) for _, folder in sorted(found)]

    @classmethod
    def resolve(cls, address: str, root: Path | None = None) -> Self:
        """Return what `address` names: a folder, or how the folder's name begins.

        Raises:
            SweepError: None or more than one fits.
        """
        if (Path(address).expanduser() / PLAN).is_file():
            return cls.load(address)
        fitting = [each for each in cls.find(root) if each.folder.name.startswith(address)]
        if len(fitting) != 1:
            many = cls.kind[1]
            raise SweepError(f"{address!r} fits {len(fitting)} {many}; `twins {many}` lists them")
        return cls.load(fitting[0].folder)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What is asked: `task`, `fixed` parameters, `units`, and `points` or a `metric`."""
        return data.read_json(self.folder / PLAN)

    @cached_property
    def by_key(self) -> dict[str, Record]:
        """Of each cell the record that counts, when first asked for."""
        return Records(self.folder).by_key

    @property
    def states(self) -> list[str]:
        """Of each cell or trial whether it is complete, failed or waiting."""
        raise NotImplementedError

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Of each failed cell or trial its `point` and its record."""
        raise NotImplementedError

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        raise NotImplementedError

    @property
    def counts(self) -> dict[str, int]:
        """How many cells or trials are complete, failed and waiting."""
        states = self.states
        return {name: states.count(name) for name in (COMPLETE, FAILED, WAITING)}

    @property
    def status(self) -> str:
        """One of running, unfinished, complete; of a sweep with failed cells failed."""
        return "running" if self.is_driven else "unfinished" if self.counts[WAITING] else "complete"

    @property
    def is_driven(self) -> bool:
        """Whether a process computes it now."""
        if not (self.folder / LOCK).is_file():
            return False
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's folder, which cannot be written
            return False

    @property
    def report(self) -> Path | None:
        """The report's page, None where there is none."""
        page = self.folder / "report" / "report.html"
        return page if page.is_file() else None

    def facts(self) -> "Styler":
        """Return what was computed, with which code, how far it is, and how to go on."""
        from physics_twins.sweeps import report

        return report.facts(self)

    def errors(self) -> "Styler":
        """Return each error: how often it came, where in the code, the first point that had it."""
        from physics_twins.sweeps import report

        return report.errors(self)

    def __str__(self) -> str:
        """Return the folder, from the current one where it lies below."""
        here = Path.cwd()
        return str(self.folder.relative_to(here) if here in self.folder.parents else self.folder)

    def _repr_html_(self) -> str:
        states = ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
        folder = Run(self.folder)
        report = f"; {folder.link('report/report.html', 'report')}" if self.report else ""
        told = f"{self.kind[0].title()} {folder.link()}: {states}{report}"
        return f'<div class="twin-run">{told}</div>'


class Sweep(Computation):
    """A sweep's folder, while it runs and afterwards."""

    kind = ("sweep", "sweeps")
    entry, state = "points", RECORDS

    @property
    def records(self) -> list[Record | None]:
        """Of each cell the record that counts; None where it waits."""
        return [self.by_key.get(key) for key in self.plan["keys"]]

    @property
    def states(self) -> list[str]:
        """Of each cell whether it is complete, failed or waiting."""
        return [record["status"] if record else WAITING for record in self.records]

    @property
    def status(self) -> str:
        """One of running, complete, failed, unfinished."""
        status = super().status
        return "failed" if status == "complete" and self.counts[FAILED] else status

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Of each failed cell its `point` and its record: `error`, `trace`, `host`, `attempts`, ..."""
        pairs = zip(self.plan["points"], self.records, strict=True)
        return [{"point": point} | r for point, r in pairs if r and r["status"] == FAILED]

    @property
    def go_on(self) -> str:
        """The command that goes on with it."""
        return f"twins sweep {self.folder}" + (" --retry-failed" if self.failures else "")

    @property
    def sha256(self) -> str | None:
        """Hash of the combined dataset's content, None before there is one."""
        summary = self.folder / _SUMMARY
        return data.read_json(summary)["content_sha256"] if summary.is_file() else None

    def dataset(self) -> "xr.Dataset":
        """Return all results so far, with the parameters as coordinates; see `combining.combine`."""
        from physics_twins.sweeps import combining

        plan = self.plan
        results = [r["result"] if r and r["status"] == COMPLETE else None for r in self.records]
        cells = self.folder / CELLS
        combined = combining.combine(plan["points"], results, cells, units=plan["units"])
        facts = plan["fixed"] | {name: plan[name] for name in ("task", "title", "source_sha256")}
        return combined.assign_attrs({name: _attribute(value) for name, value in facts.items()})

    def plot(self, *metrics: str) -> "hv.Layout | hv.Div":
        """Return metrics against what was varied: means over the seeds, with standard errors.

        That error comes from the scatter of the seeds or, where it is larger, from the cells' own
        errors: a few seeds that agree by chance do not make a mean exact. A grid with few combinations
        besides its longest axis is drawn as curves, everything else as one figure a parameter.

        Args:
            metrics: What to draw; by default what has one number for each cell and differs, first what
                has errors, and no more than six.
        """
        from physics_twins.sweeps import report

        return report.plot(self.dataset(), metrics)

    def resume(self, **options: Any) -> "Sweep":
        """Run it on, with the points that its folder names; `options` as for `run`."""
        plan = self.plan
        return run(plan["task"], plan["points"], fixed=plan["fixed"], out=self.folder, **options)


def run(
    what: str | Callable[..., Any],
    points: Sequence[Mapping[str, Any]],
    *,
    fixed: Mapping[str, Any] | None = None,
    on: str = "local",
    client: Any = None,
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: bool = True,
) -> Sweep:
    """Compute every point that has no result yet, and combine all results.

    Interrupted, by Ctrl-C or worse, it is resumed by the same call. A cell that failed is kept with its
    error, and computed again only when asked.

    Args:
        what: `module:function`, a function of a module, or a notebook; see `find_task`.
        points: The parameters of each cell, see `points`; equal points are computed once.
        fixed: Parameters that all cells share; the others keep their defaults.
        on: Where to compute, see `clusters.connect`; nothing starts when nothing is to do.
        client: A Dask client to use instead.
        out: The sweep's folder; by default one under `sweeps/` of the runs that depends on what is
            swept, and not on when.
        retry_failed: Whether to compute failed cells again.
        progress: Whether to show a progress bar.

    Returns:
        The sweep; its `status` is complete or failed.

    Raises:
        ParameterError: A point is refused; nothing has been computed.
        SweepError: There are no points, or the folder holds something else, or another process
            drives this sweep.
        ClusterError: `on` cannot be used.
        FarmError: The scheduler vanished.
        KeyboardInterrupt: The user stopped it; what was complete is kept.
    """
    clusters.check(on)
    task = find_task(what)
    plan, cells = _planned(task, points, dict(fixed or {}))
    asked = {name: plan[name] for name in ("task", "points", "fixed")}
    with driving(place(out, "sweeps", task, asked), plan, ("task",)) as folder:
        todo = _missing(folder, cells, {COMPLETE} if retry_failed else {COMPLETE, FAILED})
        if todo:
            n_done = len(cells) - len(todo)
            with (
                nullcontext(client) if client else clusters.connect(on) as client,
                Farm(task, find_task, folder, client) as farm,
                progress_bar("sweep", "cell", len(cells), n_done, shown=progress) as bar,
            ):
                farm.add(todo)
                while farm.is_busy:
                    show(bar, len(farm.step()), farm)
        sweep = Sweep(folder, len(todo))
        _combine_if_new(sweep)
    return sweep


def _planned(
    task: Task, points: Sequence[Mapping[str, Any]], fixed: dict[str, Any]
) -> tuple[dict[str, Any], Cells]:
    """Return the plan and its cells, checked, in order and each once."""
    if not points:
        raise SweepError("a sweep needs one point or more")
    varied = list(dict.fromkeys(name for point in points for name in point))
    if both := sorted(set(fixed) & set(varied)):
        raise SweepError(f"{', '.join(both)} cannot be both fixed and varied")
    checked = [task.check({**fixed, **point}) for point in points]
    cells = {task.key(values): values for values in checked}
    listed = [{name: values[name] for name in varied} for values in cells.values()]
    plan = about(task, {name: checked[0][name] for name in fixed})
    return plan | {"points": listed, "keys": list(cells)}, cells


def about(task: Task, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every plan tells of a task."""
    return {
        "task": task.name,
        "title": task.title,
        "fixed": fixed,
        "units": {name: info.unit for name, info in task.fields.items()},
        "source_sha256": source_sha256(task.twins),
        "started": now(),
    }


def place(out: str | Path | None, kind: str, task: Task, asked: Mapping[str, Any]) -> Path:
    """Return the folder `out`, or that of a task and of all that is asked: the same call finds it.

    Args:
        out: What the user has named.
        kind: `sweeps` or `studies`.
        task: The folder's name begins with its name.
        asked: Everything that makes a folder another one.
    """
    if out:
        return Path(out).expanduser().resolve()
    name = task.name.rpartition(":")[2].removesuffix(".ipynb")
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", name)[-40:].strip("-")
    return default_root() / kind / f"{slug}-{json_sha256(asked)[:10]}"


class _Stopped(KeyboardInterrupt):
    """The user stopped what is computed; a notebook shows its sentence alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@contextmanager
def driving(folder: Path, plan: Mapping[str, Any], same: Iterable[str]) -> Iterator[Path]:
    """Hold the folder's lock, which the system releases when this process ends, however it does.

    Args:
        folder: Made where it is missing.
        plan: Written, unless the same one is there, whenever that was begun.
        same: Entries in which a plan that is there must be the same.

    Raises:
        SweepError: Another process holds it, or it holds something else.
        KeyboardInterrupt: The user stopped what is computed; its message says how it goes on.
    """
    known = data.read_json(folder / PLAN) if (folder / PLAN).is_file() else {}
    other = {name for name in same if known.get(name) != plan[name]} | (known.keys() ^ plan.keys())
    if known and (differing := sorted(other)):
        told = f"{folder} holds another computation, which differs in {', '.join(differing)}"
        raise SweepError(f"{told}: give another folder")
    there = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
    if not known and {path.name for path in there} - {LOCK}:
        raise SweepError(f"{folder} holds other files: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=_LOOK_S)
    try:
        lock.acquire()
    except Timeout:
        raise SweepError(f"{folder} is being computed by another process") from None
    except (NotImplementedError, OSError) as error:  # a file system without locks, or read-only
        raise SweepError(f"{folder} cannot be locked ({error}): give a folder elsewhere") from None
    try:
        if {**known, "started": ""} != {**plan, "started": ""}:
            data.write_json(folder / PLAN, plan)
        yield folder
    except KeyboardInterrupt:
        raise _Stopped(
            f"Stopped. Run it again to go on: what is complete is kept in {folder}"
        ) from None
    finally:
        lock.release()


def progress_bar(name: str, unit: str, n_all: int, n_done: int, *, shown: bool) -> Any:
    """Return a progress bar on the terminal or in the notebook, to be used in a `with` block."""
    from tqdm import tqdm

    pace = 0.2 if _is_seen() else 10.0
    options: dict[str, Any] = {"total": n_all, "initial": n_done, "mininterval": pace}
    return tqdm(desc=name, unit=unit, disable=not shown, **options)


def show(bar: Any, n_new: int, farm: Farm) -> None:
    """Count `n_new` more on a progress bar; show how many workers there are, and cells that failed."""
    if not bar.disable:
        told = {"workers": len(farm.threads)} | ({"failed": farm.n_failed} if farm.n_failed else {})
        bar.set_postfix(told, refresh=_is_seen() and not n_new)
        bar.update(n_new)


def _is_seen() -> bool:
    return "ipykernel" in sys.modules or sys.stderr.isatty()


def _missing(folder: Path, cells: Cells, done: set[str]) -> Cells:
    """Return the cells without a record in one of the states `done` that still holds."""
    known = Records(folder)
    records = {key: known.by_key[key] for key in cells if key in known.by_key}
    changed = data.changed(each for r in records.values() for each in r.get("sources", ()))
    known.forget({key for key, record in records.items() if not _holds(folder, record, changed)})
    finished = {key for key, record in known.by_key.items() if record["status"] in done}
    return {key: values for key, values in cells.items() if key not in finished}


def _holds(folder: Path, record: Record, changed: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether nothing that a cell has read has changed, and its file or run is there.

    The file's hash is checked when it is read.
    """
    if any(source in changed for source in record.get("sources", ())):
        return False
    result = record["result"]
    if "file" in result:
        path = folder / CELLS / Path(result["file"]).name
        return path.is_file() and path.stat().st_size == result["bytes"]
    return "run" not in result or (folder / CELLS / Path(result["run"]).name).is_dir()


def _combine_if_new(sweep: Sweep) -> None:
    """Write the combined dataset, unless these very records are in it already."""
    facts = ("key", "status", "finished")
    states = [record and [record[name] for name in facts] for record in sweep.records]
    digest = json_sha256([sweep.plan["points"], states])
    summary = sweep.folder / _SUMMARY
    known = data.read_json(summary) if summary.is_file() else {}
    if known.get("records_sha256") == digest and (sweep.folder / RESULT).is_file():
        return
    combined = sweep.dataset()
    data.save(combined, sweep.folder / RESULT)
    found = {"records_sha256": digest, "content_sha256": data.content_sha256(combined)}
    data.write_json(summary, found | {"finished": now()} | sweep.counts)


def _attribute(value: Any) -> Any:
    """Return what a file holds as an attribute: a large integer only as text."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return int(value) if isinstance(value, bool) else value
