"""Sweeps: one function or notebook at many points, on any Dask client, resumed where it stopped.

A sweep is a folder: `plan.json` (what, where), `records/` (what became of the cells computed),
`cells/` (results that are files), `result.nc` (all of them as one dataset) and, of the command
`twins sweep`, `report/`. That of a study has the same form.
"""

import errno
import html
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from filelock import FileLock, Timeout

from physics_twins import clusters, data
from physics_twins.parameters import Parameters, field
from physics_twins.runs import PLAN, PROVENANCE, default_root, json_sha256, now, source_sha256
from physics_twins.sweeps.farm import CELLS, COMPLETE, FAILED, RECORDS, Cell, Farm, Record, Records
from physics_twins.sweeps.tasks import Task, find_task

if TYPE_CHECKING:
    import xarray as xr

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
            if PLAN in files or PROVENANCE in files:  # a sweep, study or run has none inside
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
    def counts(self) -> dict[str, int]:
        """How many cells or trials are complete, failed and waiting."""
        raise NotImplementedError

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

    def __str__(self) -> str:
        """Return the folder, from the current one where it lies below."""
        here = Path.cwd()
        return str(self.folder.relative_to(here) if here in self.folder.parents else self.folder)

    def _repr_html_(self) -> str:
        states = ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
        return f"{self.kind[0].title()} <code>{html.escape(str(self))}</code>: {states}"


class Sweep(Computation):
    """A sweep's folder, while it runs and afterwards."""

    kind = ("sweep", "sweeps")
    entry, state = "points", RECORDS

    @property
    def records(self) -> list[Record | None]:
        """Of each cell the record that counts; None where it waits."""
        return [self.by_key.get(key) for key in self.plan["keys"]]

    @property
    def counts(self) -> dict[str, int]:
        """How many cells are complete, failed and waiting."""
        states = [record["status"] if record else WAITING for record in self.records]
        return {name: states.count(name) for name in (COMPLETE, FAILED, WAITING)}

    @property
    def status(self) -> str:
        """One of running, complete, failed, unfinished."""
        if self.is_driven:
            return "running"
        counts = self.counts
        return "unfinished" if counts[WAITING] else "failed" if counts[FAILED] else "complete"

    @property
    def failures(self) -> list[dict[str, Any]]:
        """For each failed cell its `point`, `error`, `trace`, `host` and `attempts`."""
        pairs = zip(self.plan["points"], self.records, strict=True)
        failed = [(point, record) for point, record in pairs if record and record["status"] == FAILED]
        names = ("error", "trace", "host", "attempts")
        return [{"point": point} | {name: record[name] for name in names} for point, record in failed]

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
    folder = place(out, "sweeps", task, asked)
    _check_occupant(folder, task)
    with driving(folder):
        write_plan(folder, plan)
        todo = _missing(folder, cells, {COMPLETE} if retry_failed else {COMPLETE, FAILED})
        if todo:
            with nullcontext(client) if client else clusters.connect(on) as client:
                _compute(task, todo, len(cells), folder, client, progress)
        sweep = Sweep(folder, len(todo))
        _combine_if_new(sweep)
    return sweep


def _compute(
    task: Task, todo: list[Cell], n_all: int, folder: Path, client: Any, progress: bool
) -> None:
    """Compute cells under a progress bar."""
    n_failed, n_done = 0, n_all - len(todo)
    with (
        Farm(task, find_task, folder, client) as farm,
        progress_bar("sweep", "cell", n_all, n_done, shown=progress) as step,
    ):
        farm.add(todo)
        while farm.is_busy:
            records = farm.step()
            n_failed += sum(record["status"] == FAILED for record in records)
            step(len(records), farm, failed=n_failed)


def _planned(
    task: Task, points: Sequence[Mapping[str, Any]], fixed: dict[str, Any]
) -> tuple[dict[str, Any], list[Cell]]:
    """Return the plan and its cells, checked, in order and each once."""
    if not points:
        raise SweepError("a sweep needs one point or more")
    varied = list(dict.fromkeys(name for point in points for name in point))
    if both := sorted(set(fixed) & set(varied)):
        raise SweepError(f"{', '.join(both)} cannot be both fixed and varied")
    found = {(cell := cell_of(task, fixed, point)).key: cell for point in points}
    cells = list(found.values())
    listed = [{name: cell.values[name] for name in varied} for cell in cells]
    plan = about(task, {name: cells[0].values[name] for name in fixed})
    return plan | {"points": listed, "keys": list(found)}, cells


def cell_of(task: Task, fixed: Mapping[str, Any], point: Mapping[str, Any]) -> Cell:
    """Return the cell of a point, checked."""
    values = task.check({**fixed, **point})
    return Cell(task.key(values), values)


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


def write_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan, unless the same one is there, whenever that was begun."""
    old = data.read_json(folder / PLAN) if (folder / PLAN).is_file() else {}
    if {**old, "started": ""} != {**plan, "started": ""}:
        data.write_json(folder / PLAN, plan)


@contextmanager
def driving(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when this process ends, however it does.

    Raises:
        SweepError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK, timeout=_LOOK_S)
        lock.acquire()
    except Timeout:
        raise SweepError(f"{folder} is being computed by another process") from None
    except (NotImplementedError, OSError) as reason:
        if getattr(reason, "errno", errno.ENOLCK) not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        told = f"{folder} is on a file system without locks: give a folder elsewhere"
        raise SweepError(told) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def progress_bar(
    name: str, unit: str, n_all: int, n_done: int, *, shown: bool
) -> Iterator[Callable[..., None]]:
    """Show progress on the terminal or in the notebook; yield what counts more of it.

    Args:
        name: What goes on.
        unit: What is counted.
        n_all: How many there are.
        n_done: How many were done before.
        shown: Whether to show it.
    """
    from tqdm import tqdm

    seen = "ipykernel" in sys.modules or sys.stderr.isatty()
    pace = {"mininterval": 0.2 if seen else 10.0, "disable": not shown}
    with tqdm(desc=name, unit=unit, total=n_all, initial=n_done, **pace) as bar:

        def step(n_new: int, workers: Farm, **facts: Any) -> None:
            if shown:
                told = {name: value for name, value in facts.items() if value}
                bar.set_postfix({"workers": workers.n_workers} | told, refresh=seen and not n_new)
                bar.update(n_new)

        yield step


def _check_occupant(folder: Path, task: Task) -> None:
    """Refuse a folder that holds something else than a sweep of this task."""
    if (folder / PLAN).is_file():
        found = Sweep.load(folder).plan["task"]
        if found != task.name:
            raise SweepError(f"{folder} holds a sweep of {found}: give another folder for {task.name}")
    elif folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {LOCK}):
        raise SweepError(f"{folder} holds other files: give another folder")


def _missing(folder: Path, cells: Sequence[Cell], done: set[str]) -> list[Cell]:
    """Return the cells without a record in one of the states `done` that still holds."""
    known = Records(folder)
    records = {cell.key: known.by_key[cell.key] for cell in cells if cell.key in known.by_key}
    changed = data.changed(each for r in records.values() for each in r.get("sources", ()))
    known.forget({key for key, record in records.items() if not _holds(folder, record, changed)})
    finished = {key for key, record in known.by_key.items() if record["status"] in done}
    return [cell for cell in cells if cell.key not in finished]


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
