"""What the run panel shows of a run, as HTML: how far it is, its workers, its results."""

import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from physics_twins import runs
from physics_twins.data import in_words
from physics_twins.runs import Notebook, Run

STALE_S = 10.0  # the view is written every second
AGAIN = ("failed", "cancelled", "interrupted")
N_RECENT = 5
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Expected:
    """How long a run will take.

    Attributes:
        time_s: In s; None where nothing is known.
        n_runs: From how many finished runs; 0 where the notebook alone says so.
        low_s: The shortest of them.
        high_s: The longest.
    """

    time_s: float | None
    n_runs: int = 0
    low_s: float = 0.0
    high_s: float = 0.0


def expected(notebook: Notebook) -> Expected:
    """Return how long a notebook will take: the median of its last finished runs, or what it says."""
    root = runs.default_root() / notebook.name
    finished = runs.find(root, notebook=notebook.name, status="complete")
    spent = [s for run in finished[-N_RECENT:] if (s := run.provenance.get("duration_s")) is not None]
    if spent:
        return Expected(statistics.median(spent), len(spent), min(spent), max(spent))
    return said(notebook)


def said(notebook: Notebook) -> Expected:
    """Return how long a notebook says that it takes: the first time in its words."""
    match = re.search(r"(\d+(?:\.\d+)?)\s*(s|min|h)\b", notebook.time)
    return Expected(float(match[1]) * _SECONDS[match[2]] if match else None)


def duration(time_s: float) -> str:
    """Return a duration as a reader says it.

    >>> duration(4.26), duration(75), duration(7200)
    ('4.3 s', '75 s', '2 h')
    """
    if time_s < 10:
        return f"{time_s:.1f} s"
    if time_s < 100:
        return f"{time_s:.0f} s"
    return f"{time_s / 60:.0f} min" if time_s < 6000 else f"{time_s / 3600:.3g} h"


def estimate(expected: Expected, says: str) -> str:
    """Return how long a run will take, and how that is known.

    Args:
        expected: As from `expected`.
        says: What the notebook says itself.
    """
    if expected.n_runs == 1:
        return f"about {duration(expected.low_s)}, as the one finished run took"
    if expected.time_s is not None and expected.n_runs:
        spread = f"{duration(expected.low_s)} to {duration(expected.high_s)}"
        return f"about {duration(expected.time_s)}; the last {expected.n_runs} runs took {spread}"
    return f"{says}, says the notebook; no run has finished here yet" if says else "not known yet"


def standing(run: Run, expected: Expected) -> str:
    """Return in a sentence how far a run is, or how it ended and what can be done next."""
    known = run.summary()
    status, record = known["status"], known["provenance"]
    spent_s = _elapsed_s(record)
    if status == "running":
        return _going(record, spent_s, expected)
    if status == "complete":
        return f"Complete in {duration(spent_s)}."
    if status == "failed":
        told = f"Failed in cell {record.get('cell')}: {record.get('error')}."
        return f"{told} Its report shows what it had done. Change a parameter, or press Resume."
    if status == "cancelled":
        where = f" in cell {record['cell']}" if record.get("cell") else ""
        return f"Cancelled{where} after {duration(spent_s)}. Resume starts it again."
    if status == "interrupted":
        return "Its process was killed, or the machine restarted. Resume starts it again."
    if status == "damaged":
        return f"Its record cannot be read: look at {run}, or start it again."
    return f"The run is {status}."


def share_done(run: Run) -> float:
    """Return which share of the cells is done, from 0 to 1."""
    known = run.summary()
    if known["status"] == "complete":
        return 1.0
    where = _progress(known["provenance"])
    return where[0] / where[1] if where else 0.0


def workers(run: Run) -> str:
    """Return a table of a running run's workers, or why there is none."""
    view = run.workers
    if not view:
        return "No cluster is used here so far: the notebook computes in its own process."
    if view["is_closed"]:
        return f"The notebook has closed its cluster ({escape(view['on'])})."
    age_s = time.time() - view["time"]
    parts = [] if view["workers"] else [escape(_without_workers(view))]
    if view["workers"] and age_s > STALE_S:
        silent = f"Nothing was heard of the workers for {duration(age_s)}: "
        parts.append(silent + "the notebook's kernel is busy, or it has gone.")
    if view["workers"]:
        parts.append(_worker_table(view))
    parts += [escape(_loss(worker, view)) for worker in list(view["gone"].values())[-3:]]
    return "<br>".join(parts)


def results(run: Run) -> str:
    """Return a table of a run's numbers."""
    try:
        metrics: Mapping[str, Any] = run.metrics
    except ValueError as error:
        return escape(str(error))
    if not metrics:
        return "It has recorded no numbers." if run.status == "complete" else ""
    return _table(("result", "value"), [(name, in_words(value)) for name, value in metrics.items()])


def links(run: Run) -> str:
    """Return links to a run's report, executed notebook and folder, as JupyterLab resolves them."""
    found = [("Report with figures", run.report.name)]
    found += [("executed notebook", path.name) for path in sorted(run.folder.glob("*.ipynb"))[:1]]
    shown = [run.link(name, text) for text, name in found if (run.folder / name).is_file()]
    return ", ".join([*shown, f"folder {run.link(text=run.folder.name)}"])


def row(run: Run, defaults: Mapping[str, Any]) -> str:
    """Return a run as one line: when, how it ended, how long, what differs from the defaults."""
    known = run.summary()
    status, record, values = known["status"], known["provenance"], known["parameters"]
    if status == "damaged":
        return f"{run.folder.name}: damaged"
    started = record.get("started", "")[:16].replace("T", " ")
    spent_s = record.get("duration_s")
    changed = [f"{k}={v}" for k, v in values.items() if k in defaults and v != defaults[k]]
    words = (started, status, "" if spent_s is None else duration(spent_s), ", ".join(changed))
    return " · ".join(filter(None, words))


def _elapsed_s(record: Mapping[str, Any]) -> float:
    """Return how long a run has lasted, or lasted in all; 0 where its record does not say."""
    if record.get("duration_s") is not None:
        return float(record["duration_s"])
    if "started" not in record:
        return 0.0
    started = datetime.fromisoformat(record["started"])
    return (datetime.now().astimezone() - started).total_seconds()


def _progress(record: Mapping[str, Any]) -> tuple[int, int, str] | None:
    """Return how many cells are done, of how many, and the title of the one that is in progress."""
    match = re.fullmatch(r"(\d+) of (\d+) \((.*)\)", record.get("cell") or "")
    return (int(match[1]) - 1, int(match[2]), match[3]) if match else None


def _going(record: Mapping[str, Any], spent_s: float, expected: Expected) -> str:
    where = _progress(record)
    if where is None:
        return f"Its kernel starts · {spent_s:.0f} s elapsed."
    n_done, n_cells, title = where
    told = f"{n_done} of {n_cells} cells done · now: {title}"
    told += f" · {spent_s:.0f} s elapsed"
    if expected.time_s is None:
        return told + "."
    left_s = expected.time_s - spent_s
    late = f", longer than the {duration(expected.time_s)} expected."
    return told + (f", about {duration(left_s)} remaining." if left_s > 0 else late)


def _without_workers(view: dict[str, Any]) -> str:
    if view["jobs"]:
        return f"No worker has come yet: {'; '.join(view['jobs'])}."
    if view["gone"]:
        return "No worker is left; the tasks wait for a new one."
    return f"No worker has come yet on {view['on']}: the cluster starts."


def _loss(worker: dict[str, Any], view: dict[str, Any]) -> str:
    seen = datetime.fromtimestamp(worker["seen"]).strftime("%H:%M:%S")
    others = "go to the others" if view["workers"] else "wait for a new worker"
    held = f"; its tasks ({worker['n_tasks']}) {others}" if worker["n_tasks"] else ""
    return f"Worker {worker['name']} has gone, last seen at {seen}{held}."


def _worker_table(view: dict[str, Any]) -> str:
    rows = []
    for each in view["workers"].values():
        limit = f" of {each['limit_bytes'] / 1e9:.1f}" if each["limit_bytes"] else ""
        memory = f"{each['memory_bytes'] / 1e9:.2f}{limit} GB"
        ago = f"{max(0.0, view['time'] - each['seen']):.0f} s ago"
        rows.append((each["name"], str(each["n_tasks"]), memory, ago))
    return _table(("worker", "tasks", "memory", "last seen"), rows)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cell = 'style="padding: 1px 14px 1px 0; text-align: left"'
    head = "".join(f'<th scope="col" {cell}>{escape(text)}</th>' for text in header)
    body = ["".join(f"<td {cell}>{escape(text)}</td>" for text in row) for row in rows]
    lines = "".join(f"<tr>{line}</tr>" for line in (head, *body))
    return f'<table style="line-height: 1.4">{lines}</table>'
