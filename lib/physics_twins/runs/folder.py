"""A run is a folder: parameters, executed notebook, datasets, tables, metrics and provenance."""

import itertools
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from physics_twins import clusters, data
from physics_twins.data import changed, plain_metrics, replacing, write_json
from physics_twins.parameters import Execution
from physics_twins.runs import links, provenance

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from physics_twins.runs.notebooks import Notebook

PARAMETERS = "parameters.json"
METRICS = "metrics.json"
PROVENANCE = "provenance.json"
REPORT = "report.html"
PLAN = "plan.json"  # of a sweep or study, whose cells are not listed among the runs
WORKERS = ".workers.json"  # what the workers of its kernel do, while it lasts
TOLD = ".kernel.json"  # what its kernel tells of itself, until whoever drives it takes that over

# A process on another machine gives a sign of life every `ALIVE_S`; after `SILENT_S` it counts as dead.
ALIVE_S, SILENT_S = 20.0, 300.0

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_MUST_HAVE = {"status": str, "started": str, "machine": dict, "code": dict}
_MAY_HAVE = {"notebook": str, "duration_s": int | float, "error": str, "cell": str, "sources": list}


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
        return provenance.read(self.folder / PARAMETERS)

    @property
    def metrics(self) -> dict[str, Any]:
        """Results by name: a number, or a mapping with `value`, `error` and `unit`."""
        return provenance.read(self.folder / METRICS)

    @property
    def provenance(self) -> dict[str, Any]:
        """Code, environment, machine, input files, times, status, error, and the cell that it is in."""
        return provenance.read(self.folder / PROVENANCE)

    @property
    def status(self) -> str:
        """One of running, complete, failed, cancelled, interrupted, interactive, starting, damaged."""
        return self.summary()["status"]

    @property
    def report(self) -> Path:
        """The page of the executed notebook."""
        return self.folder / REPORT

    @property
    def workers(self) -> dict[str, Any] | None:
        """What the workers do that its kernel has asked for, see `clusters.workers`, or None."""
        try:
            return data.read_json(self.folder / WORKERS)
        except (OSError, ValueError):
            return None

    @property
    def address(self) -> str:
        """Where a browser finds the report: in a terminal of JupyterLab its address, else its path."""
        return links.address(self.report)

    def link(self, name: str = "", text: str = "") -> str:
        """Return HTML that opens a file of the run, or shows its folder in JupyterLab's file browser.

        Args:
            name: The file's; by default the folder is meant.
            text: What is read; by default the file's name, or the run's address.
        """
        return links.link(self.folder / name, text or name or str(self))

    def summary(self) -> dict[str, Any]:
        """Return `status`, `parameters`, `metrics` and `provenance`, read once.

        Of a damaged run the last three are empty, but for `error` of the provenance, which says why.
        """
        try:
            record = self.provenance
            silent_s = time.time() - (self.folder / PROVENANCE).stat().st_mtime
            known = {"status": _status(record, silent_s), "parameters": self.parameters}
            return known | {"metrics": plain_metrics(self.metrics), "provenance": record}
        except (ValueError, OSError) as error:
            told = {"error": str(error)}
            return {"status": "damaged", "parameters": {}, "metrics": {}, "provenance": told}

    def save(self, name: str, dataset: "xr.Dataset") -> Path:
        """Write a dataset as `name`.nc into the run; return its path."""
        return data.save(dataset, self._path(name, ".nc"))

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

    def keep(self, values: Mapping[str, Any]) -> None:
        """Write the parameters; those that say where and how it runs are left out."""
        what = {name: value for name, value in values.items() if name not in Execution.HOW}
        write_json(self.folder / PARAMETERS, what)

    def note(self, facts: Mapping[str, Any]) -> None:
        """Put facts into the run's provenance."""
        write_json(self.folder / PROVENANCE, self.provenance | dict(facts))

    def end(self, status: str, *, error: str | None = None) -> None:
        """Mark the run complete, failed or cancelled, with the error.

        What its kernel has told of itself takes the place of what was expected of it.
        """
        record = self.provenance | provenance.read(self.folder / TOLD)
        finished = now()
        spent = datetime.fromisoformat(finished) - datetime.fromisoformat(record["started"])
        record |= {"status": status, "finished": finished, "error": error}
        record |= {"duration_s": spent.total_seconds()}
        self.note(record | ({"cell": None} if status == "complete" else {}))
        for name in (TOLD, WORKERS):
            (self.folder / name).unlink(missing_ok=True)

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
        files = sorted(p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith("."))
        listed = ", ".join(links.link(path, path.name) for path in files)
        return f'<div class="twin-run">Run {self.link()}<br><small>{listed}</small></div>'


def default_root() -> Path:
    """Return the folder of all runs: `PHYSICS_TWINS_RUNS`, or `runs/` of the project or of here."""
    if named := os.environ.get("PHYSICS_TWINS_RUNS"):
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    return next((home for home in data.homes() if here.is_relative_to(home)), here) / "runs"


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
        _claim(folder)
    else:
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = _claim_next(default_root() / "interactive" / stamp)
    run = Run(folder)
    by_hand = {"status": "interactive", "started": now(), "machine": provenance.describe_process()}
    record = run.provenance or by_hand
    known = record.get("code", {})
    facts = provenance.describe_origin(known.get("twins"))
    facts["code"] = known | facts["code"]
    if record["status"] == "interactive":
        provenance.tell(folder / PROVENANCE, record | facts)
    else:
        what = known["notebook_sha256"], run.parameters, record["inputs"], known["twins"]
        provenance.tell(folder / TOLD, facts | {"identity": provenance.identity_of(*what)})
    os.environ[clusters.WORKERS_FILE] = str(folder / WORKERS)
    return run


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
        known = run.summary()
        record = known["provenance"]
        if notebook in (None, record.get("notebook")) and status in (None, known["status"]):
            found.append((record.get("started", ""), run.folder, run))
    return [run for *_, run in sorted(found, key=lambda item: item[:2])]


def resolve(address: str | Path) -> Run:
    """Return the run that `address` names: its folder, its folder's name or how that name begins.

    Raises:
        RunError: No run or more than one fits.
    """
    folder = Path(address).expanduser().resolve()
    if (folder / PROVENANCE).is_file():
        return Run(folder)
    runs = [run for run in _below(default_root()) if run.folder.name.startswith(str(address))]
    fitting = [run for run in runs if run.folder.name == address] or runs
    if not fitting:
        raise RunError(f"no run {str(address)!r} in {default_root()}; `twins runs` lists them")
    if len(fitting) > 1:
        names = ", ".join(run.folder.name for run in fitting[:5])
        raise RunError(f"{address!r} fits {len(fitting)} runs ({names}): give more of the name")
    return fitting[0]


def begin(
    notebook: "Notebook",
    values: Mapping[str, Any],
    *,
    out: Path | None = None,
    root: Path | None = None,
    force: bool = False,
) -> Run:
    """Return the finished run that these values have already, or a new one, marked running.

    Args:
        notebook: What is run.
        values: Every parameter, checked.
        out: The run's folder; by default a numbered one under `root`.
        root: Where numbered folders are; by default the notebook's folder of `default_root`.
        force: Whether to compute again; what is there is kept.

    Raises:
        RunError: `out` holds something else, or is being written to.
    """
    out = out and out.expanduser().resolve()
    if not force and (run := find_finished(notebook, values, root=root, out=out)):
        return replace(run, reused=True)
    key, stem = _named(notebook, values, root)
    run = Run(_claim_named(out, key, force) if out else _claim_next(stem))
    run.keep(values)
    facts = provenance.describe_origin(notebook.twins)
    facts["code"] |= {"notebook_sha256": notebook.sha256, "twins": notebook.twins}
    run.note(
        {
            "status": "running",
            "notebook": notebook.name,
            "identity": key,
            "on": values.get("on"),
            "started": now(),
            **facts,
            "machine": provenance.describe_process(),
            "inputs": provenance.describe_inputs(notebook.fields, values),
            "sources": [],
        }
    )
    return run


def find_finished(
    notebook: "Notebook",
    values: Mapping[str, Any],
    *,
    root: Path | None = None,
    out: Path | None = None,
) -> Run | None:
    """Return the newest finished run with these values of which all that it read is still the same.

    Args:
        notebook: What would be run.
        values: Every parameter, checked.
        root: Where numbered folders are, see `begin`.
        out: The folder to look at in their place.
    """
    key, stem = _named(notebook, values, root)
    numbered = stem.parent.glob(f"{stem.name}-*")
    for folder in [out] if out else sorted(numbered, key=lambda p: (len(p.name), p.name), reverse=True):
        status, _, _, record = Run(folder).summary().values()
        is_same = status == "complete" and record.get("identity") == key
        if is_same and not changed(record.get("sources", [])):
            return Run(folder)
    return None


def _named(notebook: "Notebook", values: Mapping[str, Any], root: Path | None) -> tuple[str, Path]:
    """Return the identity of a run, and how its folders are called before their number."""
    key = provenance.identity(notebook.sha256, notebook.fields, values, notebook.twins)
    return key, (root or default_root() / notebook.name).resolve() / key[:12]


def now() -> str:
    """Return this moment with its time zone, so finely that runs begun in one go keep their order."""
    return datetime.now().astimezone().isoformat(timespec="microseconds")


def _status(record: Mapping[str, Any], silent_s: float) -> str:
    """Return a run's status from its record, and from how long ago it last gave a sign of life.

    Raises:
        ValueError: This library has not written the record. An empty one has only been claimed.
    """
    if not record:
        return "starting" if silent_s < SILENT_S else "interrupted"
    for name, kind in (_MUST_HAVE | _MAY_HAVE).items():
        is_sound = isinstance(record.get(name), kind)
        if not is_sound and (name in _MUST_HAVE or record.get(name) is not None):
            raise ValueError(f"{PROVENANCE} has no sound {name}")
    if not {"host", "pid", "process_started"} <= record["machine"].keys():
        raise ValueError(f"{PROVENANCE} does not say which process it is of")
    is_gone = record["status"] == "running" and _is_gone(record["machine"], silent_s)
    return "interrupted" if is_gone else record["status"]


def _is_gone(machine: Mapping[str, Any], silent_s: float) -> bool:
    """Return whether a process has ended; on another host it has when it is silent.

    Its start is compared too, because numbers of processes are used again.
    """
    if machine["host"] != platform.node():
        return silent_s > SILENT_S
    try:
        return abs(psutil.Process(machine["pid"]).create_time() - machine["process_started"]) > 1.0
    except psutil.NoSuchProcess:
        return True


def _below(root: Path) -> Iterator[Run]:
    """Yield every run below `root` without looking inside runs and sweeps."""
    for folder, subfolders, files in os.walk(root):
        if PLAN in files:
            subfolders.clear()
        elif PROVENANCE in files:
            subfolders.clear()
            yield Run(Path(folder).resolve())


def _claim(folder: Path) -> bool:
    """Take `folder`, made when missing, for one new run; return False where another run has it.

    The exclusive creation of the provenance file is the lock between processes.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROVENANCE).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        hint = "set PHYSICS_TWINS_RUNS to a folder of yours"
        raise RunError(f"{folder} cannot be written ({error.strerror}): {hint}") from None
    return True


def _claim_next(stem: Path) -> Path:
    numbered = (stem.with_name(f"{stem.name}-{n}") for n in itertools.count(1))
    return next(filter(_claim, numbered))


def _claim_named(out: Path, key: str, force: bool) -> Path:
    """Take the folder that the user named; what is in it moves to a numbered name beside it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _refuse_to_disturb(out, key, force)
        aside = (out.with_name(f"{out.name}~{n}") for n in itertools.count(1))
        out.rename(next(path for path in aside if not path.exists()))
    if not _claim(out):
        raise RunError(f"{out} was taken by another run just now")
    return out


def _refuse_to_disturb(out: Path, key: str, force: bool) -> None:
    is_run = (out / PROVENANCE).is_file()
    status, _, _, record = Run(out).summary().values()
    if is_run and status in ("running", "starting"):
        raise RunError(f"{out} is being written to by a run that has not ended")
    is_unfinished = status in ("failed", "cancelled", "interrupted") and record.get("identity") == key
    if not force and not is_unfinished:
        content = f"another run ({status})" if is_run else "other files"
        raise RunError(
            f"{out} holds {content}: give another --out, or --force to move it to {out.name}~1"
        )
