"""Sweeps: one function or notebook at many points, on any Dask client, resumed where it stopped.

A sweep is a folder: `plan.json` (what, where), `records/` (what became of the cells computed),
`cells/` (results that are files), `result.nc` (all of them as one dataset) and, of the command
`twins sweep`, `report/`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters
from physics_twins.data import changed, note_path, read_json, write_json
from physics_twins.parameters import Parameters, field
from physics_twins.runs import PLAN, now, source_sha256
from physics_twins.sweeps import farm, folders, tasks
from physics_twins.sweeps.farm import Cell
from physics_twins.sweeps.folders import FolderError
from physics_twins.sweeps.records import COMPLETE, FAILED, RECORDS, Record, Records
from physics_twins.sweeps.worker import CELLS

if TYPE_CHECKING:
    import xarray as xr

RESULT = "result.nc"
_SUMMARY = "summary.json"


class SweepChoice(Parameters):
    """Which sweep a report is about."""

    sweep_dir: str = field("", help="Folder of a sweep; empty makes a small one")


class SweepError(FolderError):
    """A sweep that cannot be found, read or run; the message is one sentence."""


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, while it runs and afterwards.

    Attributes:
        folder: Absolute path.
        computed: Cells that were computed in this call, as opposed to found complete.
    """

    folder: Path
    computed: int = 0

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What is swept: `task`, `points`, `fixed` parameters, `units`, `keys` of the cells."""
        return read_json(self.folder / PLAN)

    @cached_property
    def records(self) -> list[Record | None]:
        """Of each cell the record that counts, when first asked for; None where it waits."""
        found = Records(self.folder).by_key
        return [found.get(key) for key in self.plan["keys"]]

    @property
    def counts(self) -> dict[str, int]:
        """How many cells are complete, failed and waiting."""
        states = [record["status"] if record else "waiting" for record in self.records]
        return {name: states.count(name) for name in (COMPLETE, FAILED, "waiting")}

    @property
    def status(self) -> str:
        """One of running, complete, failed, unfinished."""
        if folders.is_driven(self.folder):
            return "running"
        counts = self.counts
        return "unfinished" if counts["waiting"] else "failed" if counts[FAILED] else "complete"

    @property
    def failures(self) -> list[dict[str, Any]]:
        """For each failed cell its `point`, `error`, `trace`, `host` and `attempts`."""
        pairs = zip(self.plan["points"], self.records, strict=True)
        failed = [(point, record) for point, record in pairs if record and record["status"] == FAILED]
        names = ("error", "trace", "host", "attempts")
        return [{"point": point} | {name: record[name] for name in names} for point, record in failed]

    @property
    def report(self) -> Path | None:
        """The report's page, None where there is none."""
        return folders.report_of(self.folder)

    @property
    def sha256(self) -> str | None:
        """Hash of the combined dataset's content, None before there is one."""
        summary = self.folder / _SUMMARY
        return read_json(summary)["content_sha256"] if summary.is_file() else None

    def dataset(self) -> "xr.Dataset":
        """Return all results so far, with the parameters as coordinates; see `combining.combine`."""
        from physics_twins.sweeps import combining

        plan = self.plan
        cells = self.folder / CELLS
        combined = combining.combine(plan["points"], self.records, cells, units=plan["units"])
        facts = {name: _attribute(plan[name]) for name in ("task", "title", "source_sha256")}
        fixed = {name: _attribute(value) for name, value in plan["fixed"].items()}
        return combined.assign_attrs(fixed | facts)

    def __str__(self) -> str:
        """Return the folder, from the current one where it lies below."""
        return folders.shown(self.folder)

    def _repr_html_(self) -> str:
        import html

        states = ", ".join(f"{n} {name}" for name, n in self.counts.items() if n)
        return f"Sweep <code>{html.escape(str(self))}</code>: {states}"


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
        what: `module:function`, a function of a module, or a notebook; see `tasks.find`.
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
    task = tasks.find_task(what)
    plan, cells = _planned(task, points, dict(fixed or {}))
    what_is_asked = {name: plan[name] for name in ("task", "points", "fixed")}
    default = folders.default("sweeps", plan["task"], what_is_asked)
    folder = Path(out).expanduser().resolve() if out else default
    _check_occupant(folder, task)
    with folders.driving(folder, SweepError):
        computed = _catch_up(task, cells, folder, plan, on, client, retry_failed, progress)
        sweep = Sweep(folder, computed)
        _combine_if_new(sweep)
    return sweep


def resume(folder: str | Path, **options: Any) -> Sweep:
    """Run an interrupted sweep on, with the points that its folder names; `options` as for `run`.

    Raises:
        SweepError: The folder holds no sweep.
    """
    sweep = load(folder)
    plan = sweep.plan
    return run(plan["task"], plan["points"], fixed=plan["fixed"], out=sweep.folder, **options)


def load(folder: str | Path) -> Sweep:
    """Return the sweep in `folder`, which is noted, see `data.note`.

    Raises:
        SweepError: The folder holds no sweep.
    """
    path = Path(folder).expanduser().resolve()
    if not (path / PLAN).is_file() or "points" not in read_json(path / PLAN):
        raise SweepError(f"{folder} is no sweep: it has no {PLAN} with points")
    for name in (PLAN, RECORDS):
        note_path(path / name)
    return Sweep(path)


def find(root: Path | None = None) -> list[Sweep]:
    """Return the sweeps below `root`, by default the folder of all runs, oldest first."""
    return [Sweep(folder) for folder in folders.find(root, "points")]


def resolve(address: str, root: Path | None = None) -> Sweep:
    """Return the sweep that `address` names: its folder, or how the folder's name begins.

    Raises:
        SweepError: No sweep or more than one fits.
    """
    fitting = folders.named(address, root, "points")
    if len(fitting) != 1:
        raise SweepError(f"{address!r} fits {len(fitting)} sweeps; `twins sweeps` lists them")
    return load(fitting[0])


def _planned(
    task: tasks.Task, points: Sequence[Mapping[str, Any]], fixed: dict[str, Any]
) -> tuple[dict[str, Any], list[Cell]]:
    """Return the plan and its cells, checked, in order and each once."""
    if not points:
        raise SweepError("a sweep needs one point or more")
    varied = list(dict.fromkeys(name for point in points for name in point))
    if both := sorted(set(fixed) & set(varied)):
        raise SweepError(f"{', '.join(both)} cannot be both fixed and varied")
    found: dict[str, Cell] = {}
    for point in points:
        values = task.check({**fixed, **point})
        key = tasks.key(task, values)
        found.setdefault(key, Cell(key, values))
    cells = list(found.values())
    plan = {
        "task": task.name,
        "title": task.title,
        "points": [{name: cell.values[name] for name in varied} for cell in cells],
        "fixed": {name: cells[0].values[name] for name in fixed},
        "units": {name: info.unit for name, info in task.fields.items()},
        "source_sha256": source_sha256(task.twins),
        "keys": [cell.key for cell in cells],
        "started": now(),
    }
    return plan, cells


def _check_occupant(folder: Path, task: tasks.Task) -> None:
    """Refuse a folder that holds something else than a sweep of this task."""
    if (folder / PLAN).is_file():
        found = load(folder).plan["task"]
        if found != task.name:
            raise SweepError(f"{folder} holds a sweep of {found}: give another folder for {task.name}")
    elif folder.exists() and (
        not folder.is_dir() or {p.name for p in folder.iterdir()} - {folders.LOCK}
    ):
        raise SweepError(f"{folder} holds other files: give another folder")


def _catch_up(
    task: tasks.Task,
    cells: Sequence[Cell],
    folder: Path,
    plan: dict[str, Any],
    on: str,
    client: Any,
    retry_failed: bool,
    progress: bool,
) -> int:
    """Compute what is missing; return how many cells that were."""
    folders.write_plan(folder, plan)
    known = Records(folder)
    records = {c.key: known.by_key[c.key] for c in cells if c.key in known.by_key}
    others = changed(each for r in records.values() for each in r.get("sources", ()))
    known.forget([key for key, r in records.items() if not _is_valid(folder, r, others)])
    done = {COMPLETE} if retry_failed else {COMPLETE, FAILED}
    finished = {key for key, record in known.by_key.items() if record["status"] in done}
    todo = [cell for cell in cells if cell.key not in finished]
    if todo:
        with ExitStack() as stack:
            client = client or stack.enter_context(clusters.connect(on))
            _follow(task, todo, len(cells), folder, client, progress)
    return len(todo)


def _follow(
    task: tasks.Task, todo: list[Cell], n_all: int, folder: Path, client: Any, progress: bool
) -> None:
    """Compute cells under a progress bar."""
    n_failed, n_done = 0, n_all - len(todo)
    with folders.Progress("sweep", "cell", n_all, n_done, shown=progress) as bar:
        for records in farm.compute(task, todo, folder, client):
            n_failed += sum(record["status"] == FAILED for record in records)
            bar.step(len(records), client, {"failed": n_failed})


def _is_valid(folder: Path, record: Record, others: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether nothing that a cell has read has changed, and its file or run is there.

    The file's hash is checked when it is read.
    """
    if any(source in others for source in record.get("sources", ())):
        return False
    result = record["result"]
    if "file" in result:
        path = folder / CELLS / Path(result["file"]).name
        return path.is_file() and path.stat().st_size == result["bytes"]
    return "run" not in result or (folder / CELLS / Path(result["run"]).name).is_dir()


def _combine_if_new(sweep: Sweep) -> None:
    """Write the combined dataset, unless these very records are in it already."""
    from physics_twins.data import content_sha256, save

    facts = ("key", "status", "finished")
    states = [record and [record[name] for name in facts] for record in sweep.records]
    digest = hashlib.sha256(json.dumps([sweep.plan["points"], states]).encode()).hexdigest()
    summary = sweep.folder / _SUMMARY
    known = read_json(summary) if summary.is_file() else {}
    if known.get("records_sha256") == digest and (sweep.folder / RESULT).is_file():
        return
    combined = sweep.dataset()
    save(combined, sweep.folder / RESULT)
    found = {"records_sha256": digest, "content_sha256": content_sha256(combined)}
    write_json(summary, found | {"finished": now()} | sweep.counts)


def _attribute(value: Any) -> Any:
    """Return what a file holds as an attribute: a large integer only as text."""
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return int(value) if isinstance(value, bool) else value
