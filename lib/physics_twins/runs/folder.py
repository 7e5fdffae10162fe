"""A run is a folder: parameters, executed notebook, datasets, tables, metrics and provenance."""

import html
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import clusters, data
from physics_twins.data import plain_metrics, read_json, replacing, write_json
from physics_twins.runs import kernel, provenance

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

PARAMETERS = "parameters.json"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
REPORT = "report.html"
WORKERS = ".workers.json"  # what the workers of its kernel do, while it lasts
PLAN = "plan.json"  # of a sweep or study, whose cells are not listed among the runs

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


class RunError(ValueError):
    """A run that cannot be found, read or written; the message is one sentence."""


@dataclass(frozen=True)
class Run:
    """One folder with all that a notebook's execution took and gave.

    Attributes:
        folder: Absolute path.
        reused: Whether it was found finished, and not computed again.
    """

    folder: Path
    reused: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """What was computed: every parameter by name, without where and how it ran."""
        return _read(self.folder / PARAMETERS)

    @property
    def metrics(self) -> dict[str, Any]:
        """Results by name: a number, or a mapping with `value`, `error` and `unit`."""
        return _read(self.folder / METRICS)

    @property
    def provenance(self) -> dict[str, Any]:
        """Code, environment, machine, input files, times, status and error."""
        return _read(self.folder / PROVENANCE)

    @property
    def status(self) -> str:
        """One of running, complete, failed, cancelled, interrupted, interactive, starting, damaged."""
        try:
            record = self.provenance
            _check_record(record)
            plain_metrics(self.metrics)
            _read(self.folder / PARAMETERS)
            silent_s = time.time() - (self.folder / PROVENANCE).stat().st_mtime
        except (ValueError, OSError):
            return "damaged"
        if not record:  # claimed, and nothing written yet
            return "starting" if silent_s < provenance.SILENT_S else "interrupted"
        status = record["status"]
        gone = status == "running" and provenance.process_is_gone(record["machine"], silent_s)
        return "interrupted" if gone else status

    def save(self, name: str, dataset: "xr.Dataset") -> Path:
        """Write a dataset as `name`.nc into the run; return its path."""
        from physics_twins.data import save

        return save(dataset, self._path(name, ".nc"))

    def save_table(self, name: str, table: "pd.DataFrame") -> Path:
        """Write a table, without its index, as `name`.csv into the run; return its path."""
        path = self._path(name, ".csv")
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False)
        return path

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Add results to the run; a name that is there already takes the new value.

        Args:
            metrics: By name a number, an `Estimate`, or a mapping with `value` and any of `error` and
                `unit`. A number that is not finite is written as null.

        Raises:
            ValueError: A metric is none of these.
        """
        write_json(self.folder / METRICS, self.metrics | plain_metrics(metrics))

    def _path(self, name: str, suffix: str) -> Path:
        name = name.removesuffix(suffix)
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no file name: use letters, digits and any of _ . + -")
        return self.folder / f"{name}{suffix}"

    def __str__(self) -> str:
        """Return the run's address: its folder, from the current one where it lies below."""
        here = Path.cwd()
        inside = here in self.folder.parents
        return str(self.folder.relative_to(here) if inside else self.folder)

    def _repr_html_(self) -> str:
        files = sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))
        listed = ", ".join(files)
        return f"Run <code>{html.escape(str(self))}</code><br><small>{html.escape(listed)}</small>"


def default_root() -> Path:
    """Return the folder of all runs: `PHYSICS_TWINS_RUNS`, or `runs/` of the project or of here."""
    if named := os.environ.get("PHYSICS_TWINS_RUNS"):
        return Path(named).expanduser().resolve()
    return (data.project_root() or Path.cwd()) / "runs"


def open_run(run_dir: str | Path = "") -> Run:
    """Return the run that a notebook writes to.

    Args:
        run_dir: Its folder, made when missing; empty makes a new one under `interactive/` of
            `default_root`, named after the time.

    What workers do that this process asks for from now on is kept there, see `clusters.connect`; so is
    what this process is and what it reads, see `data.note`.
    """
    if run_dir:
        folder = Path(run_dir).expanduser().resolve()
        claimed = claim(folder)
    else:
        folder, claimed = _new_folder(default_root() / "interactive"), True
    if claimed:
        record = {"status": "interactive", "started": now(), "machine": provenance.describe_machine()}
        write_json(folder / PROVENANCE, record | {"code": provenance.describe_code()})
    is_driven = Run(folder).provenance.get("status") != "interactive"
    kernel.tell(folder, kernel.TOLD if is_driven else PROVENANCE)
    os.environ[clusters.WORKERS_FILE] = str(folder / WORKERS)
    return Run(folder)


def load(folder: str | Path) -> Run:
    """Return the run in `folder`.

    Raises:
        RunError: The folder holds no run.
    """
    path = Path(folder).expanduser().resolve()
    if not (path / PROVENANCE).is_file():
        raise RunError(f"{folder} is no run: it has no {PROVENANCE}")
    return Run(path)


def find(
    root: Path | None = None, *, notebook: str | None = None, status: str | None = None
) -> list[Run]:
    """Return the runs below `root`, oldest first.

    Args:
        root: Folder to search; `default_root` by default.
        notebook: Only runs of this notebook, as in `pulsar/4_infer`.
        status: Only runs with this status.
    """
    found = []
    for run in _below(root or default_root()):
        state = run.status
        record = {} if state == "damaged" else run.provenance
        if notebook in (None, record.get("notebook")) and status in (None, state):
            found.append((record.get("started") or "", run.folder, run))
    return [run for *_, run in sorted(found, key=lambda item: item[:2])]


def resolve(address: str, root: Path | None = None) -> Run:
    """Return the run that `address` names: its folder, its folder's name or how that name begins.

    Raises:
        RunError: No run or more than one fits.
    """
    if (Path(address).expanduser() / PROVENANCE).is_file():
        return load(address)
    runs = find(root)
    fitting = [r for r in runs if r.folder.name == address]
    fitting = fitting or [r for r in runs if r.folder.name.startswith(address)]
    if not fitting:
        raise RunError(f"no run {address!r} in {root or default_root()}; `twins runs` lists them")
    if len(fitting) > 1:
        names = ", ".join(r.folder.name for r in fitting[:5])
        raise RunError(f"{address!r} fits {len(fitting)} runs ({names}): give more of the name")
    return fitting[0]


def claim(folder: Path) -> bool:
    """Take `folder`, made when missing, for one new run; return False where another run has it.

    The exclusive creation of the provenance file is the lock between processes.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROVENANCE).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written ({error.strerror}): set PHYSICS_TWINS_RUNS to a folder of yours"
        ) from None
    return True


def now() -> str:
    """Return this moment with its time zone, to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


_KINDS: dict[str, Any] = {"status": str, "started": str, "machine": dict, "code": dict}
_MAY_HAVE: dict[str, Any] = {"notebook": str, "duration_s": (int, float), "error": str, "sources": list}


def _check_record(record: dict[str, Any]) -> None:
    """Refuse a provenance that this library has not written; an empty one has only been claimed.

    Raises:
        ValueError: An entry is missing, or of another type.
    """
    for name, kind in _KINDS.items() if record else ():
        if not isinstance(record.get(name), kind):
            raise ValueError(f"{PROVENANCE} has no sound {name}")
    if record and not {"host", "pid", "process_started"} <= record["machine"].keys():
        raise ValueError(f"{PROVENANCE} does not say which process it is of")
    for name, kind in _MAY_HAVE.items():
        if record.get(name) is not None and not isinstance(record[name], kind):
            raise ValueError(f"{PROVENANCE} has no sound {name}")


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _new_folder(parent: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    names = [stamp, *(f"{stamp}-{n}" for n in range(2, 1000))]
    return next(parent / name for name in names if claim(parent / name))


def _below(root: Path) -> Iterator[Run]:
    """Yield every run below `root` without looking inside runs and sweeps."""
    for folder, subfolders, files in os.walk(root):
        if PLAN in files:
            subfolders.clear()
        elif PROVENANCE in files:
            subfolders.clear()
            yield Run(Path(folder).resolve())
