"""How a run begins, is found again, and ends."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from physics_twins.data import changed, write_json
from physics_twins.runs import kernel, provenance
from physics_twins.runs.folder import PARAMETERS, PROVENANCE, Run, RunError, claim, default_root, load, now

# Parameters that say where and how a notebook runs, and not what it computes.
HOW = ("on", "run_dir")


def identity(
    notebook_sha256: str,
    values: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    *,
    twins: Iterable[str] | None = None,
    told: Mapping[str, Any] | None = None,
) -> str:
    """Return the SHA-256 that two runs share when they must give the same result.

    What else they have read must be the same too, see `data.note`.

    Args:
        notebook_sha256: Hash of the notebook's source.
        values: Every parameter; those in `HOW` are left out.
        inputs: Input files; each stands for its parameter by content, wherever it lies.
        twins: Whose code it depends on, see `provenance.source_sha256`.
        told: What `kernel.take` gives of the process that computes it; by default as in this one.
    """
    what = {name: value for name, value in values.items() if name not in HOW}
    what |= {item["parameter"]: item["sha256"] for item in inputs}
    if told is None:
        source, interpreter = provenance.source_sha256(twins), provenance.describe_interpreter()
    else:
        source, interpreter = provenance.source_of_parts(told["parts"], twins), told["interpreter"]
    facts = {"notebook": notebook_sha256, "parameters": what, "source": source}
    return provenance.json_sha256(
        facts | {name: interpreter[name] for name in ("python", "packages")}
    )


def begin(
    notebook: str,
    notebook_sha256: str,
    values: Mapping[str, Any],
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    twins: Iterable[str] | None = None,
    out: Path | None = None,
    root: Path | None = None,
    force: bool = False,
) -> Run:
    """Return the finished run that these values have already, or a new one, marked running.

    Args:
        notebook: Its name, as in `pulsar/4_infer`.
        notebook_sha256: Hash of its source.
        values: Every parameter, checked.
        inputs: Input files as from `provenance.describe_input`.
        twins: Whose code it depends on, see `provenance.source_sha256`.
        out: The run's folder; by default a numbered one under `root`.
        root: Where numbered folders are; by default the notebook's folder of `runs.default_root`.
        force: Whether to compute again; what is there is kept.

    Raises:
        RunError: `out` holds something else, or is being written to.
    """
    key = identity(notebook_sha256, values, inputs, twins=twins)
    parent = root or default_root() / notebook
    old = _numbered(parent, key) if out is None else _occupant(out)
    if not force and (finished := _finished(old, key)):
        return replace(finished, reused=True)
    if out is None:
        folder = _claim_next(parent, key)
    else:
        folder = _claim_out(out.expanduser().resolve(), key, old, force)
    twins = None if twins is None else list(twins)
    code = provenance.describe_code(twins) | {"notebook_sha256": notebook_sha256, "twins": twins}
    record = {
        "status": "running",
        "notebook": notebook,
        "identity": key,
        "on": values.get("on"),
        "seed": values.get("seed"),
        "started": now(),
        "finished": None,
        "duration_s": None,
        "error": None,
        "cell": None,
        "code": code,
        "interpreter": provenance.describe_interpreter(),
        "machine": provenance.describe_machine(),
        "inputs": [dict(item) for item in inputs],
        "sources": [],
    }
    write_json(folder / PROVENANCE, record)
    what = {name: value for name, value in values.items() if name not in HOW}
    write_json(folder / PARAMETERS, what)
    return Run(folder)


def find_finished(
    notebook: str,
    notebook_sha256: str,
    values: Mapping[str, Any],
    *,
    inputs: Sequence[Mapping[str, Any]] = (),
    twins: Iterable[str] | None = None,
    root: Path | None = None,
) -> Run | None:
    """Return the finished run that `begin` would find for the same arguments; None for none."""
    key = identity(notebook_sha256, values, inputs, twins=twins)
    return _finished(_numbered(root or default_root() / notebook, key), key)


def end(run: Run, status: str, *, error: str | None = None, cell: str | None = None) -> None:
    """Mark a run complete, failed or cancelled, with the error and the cell that it came from.

    What its kernel has told of itself takes the place of what was expected of it.
    """
    record = run.provenance
    if told := kernel.take(run.folder):
        record |= _as_told(record, run.parameters, told)
    finished = now()
    spent = datetime.fromisoformat(finished) - datetime.fromisoformat(record["started"])
    record |= {"status": status, "finished": finished, "error": error, "cell": cell}
    write_json(run.folder / PROVENANCE, record | {"duration_s": spent.total_seconds()})


def _as_told(
    record: Mapping[str, Any], values: Mapping[str, Any], told: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a record's facts as the kernel has them: it may have found another library than ours."""
    facts = {"interpreter": told["interpreter"], "sources": told["sources"]}
    code, twins = record["code"], record["code"]["twins"]
    if told["parts"] != provenance.part_sha256s():
        source = provenance.source_of_parts(told["parts"], twins)
        elsewhere = {"git_commit": None, "git_dirty": None}
        code = code | elsewhere | {"version": told["version"], "source_sha256": source}
    key = identity(code["notebook_sha256"], values, record["inputs"], twins=twins, told=told)
    return facts | {"code": code, "identity": key}


def _numbered(parent: Path, key: str) -> list[Run]:
    """Return the runs of an identity, lowest number first."""
    pattern = re.compile(re.escape(key[:12]) + r"-(\d+)")
    folders = parent.iterdir() if parent.is_dir() else ()
    found = [(int(m[1]), Run(f.resolve())) for f in folders if (m := pattern.fullmatch(f.name))]
    return [run for _, run in sorted(found, key=lambda item: item[0])]


def _occupant(out: Path) -> list[Run]:
    return [load(out)] if (out.expanduser() / PROVENANCE).is_file() else []


def _finished(runs: Sequence[Run], key: str) -> Run | None:
    complete = (run for run in reversed(runs) if run.status == "complete")
    same = (run for run in complete if run.provenance.get("identity") == key)
    return next((r for r in same if not changed(r.provenance.get("sources", []))), None)


def _claim_next(parent: Path, key: str) -> Path:
    taken = [int(run.folder.name.rpartition("-")[2]) for run in _numbered(parent, key)]
    n = max(taken, default=0) + 1
    while not claim(folder := parent / f"{key[:12]}-{n}"):
        n += 1
    return folder


def _claim_out(out: Path, key: str, old: Sequence[Run], force: bool) -> Path:
    """Take the folder that the user named; what is in it moves to a numbered name beside it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _refuse_to_disturb(out, key, old, force)
        n = 1
        while (aside := out.with_name(f"{out.name}~{n}")).exists():
            n += 1
        out.rename(aside)
    if not claim(out):
        raise RunError(f"{out} was taken by another run just now")
    return out


def _refuse_to_disturb(out: Path, key: str, old: Sequence[Run], force: bool) -> None:
    status = old[0].status if old else ""
    if status in ("running", "starting"):
        raise RunError(f"{out} is being written to by a run that has not ended")
    unfinished = status in ("failed", "cancelled", "interrupted")
    if force or (unfinished and old[0].provenance.get("identity") == key):
        return
    content = f"another run ({status})" if old else "other files"
    raise RunError(f"{out} holds {content}: give another --out, or --force to move it to {out.name}~1")
