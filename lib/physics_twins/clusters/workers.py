"""What workers do, kept in a file for whoever looks from another process.

`PHYSICS_TWINS_WORKERS` names the file, a run one in its own folder; without it nothing is written.
"""

import logging
import os
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins.clusters.names import is_batch
from physics_twins.data import read_json, write_json

if TYPE_CHECKING:
    from distributed import Client

WORKERS_FILE = "PHYSICS_TWINS_WORKERS"
EVERY_S, QUEUE_EVERY_S = 1.0, 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """One worker as its scheduler knows it.

    Attributes:
        name: As Dask names it.
        n_tasks: Tasks that it computes or that wait at it.
        memory_bytes: What its process takes.
        limit_bytes: What it may take, 0 for no limit.
        seen: When the scheduler last heard of it, in s since 1970.
    """

    name: str
    n_tasks: int
    memory_bytes: int
    limit_bytes: int
    seen: float


@dataclass(frozen=True)
class WorkerView:
    """The workers of a run at one moment.

    Attributes:
        on: Where they run, see `clusters.connect`.
        time: When this was written, in s since 1970.
        workers: Those that are connected, by their scheduler's address of them.
        gone: Those that were connected and are not any more.
        jobs: What became of each job that has no worker; of a batch system only.
        is_closed: Whether the notebook has closed the cluster.
    """

    on: str
    time: float
    workers: dict[str, Worker] = field(default_factory=dict)
    gone: dict[str, Worker] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    is_closed: bool = False


def read_workers(path: Path) -> WorkerView | None:
    """Return the view that is kept in a file; None where there is none."""
    try:
        known = read_json(path)
        for name in ("workers", "gone"):
            known[name] = {address: Worker(**facts) for address, facts in known[name].items()}
        return WorkerView(**known)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def announce(on: str) -> None:
    """Tell in the file, where one is named, that a cluster is about to start."""
    if path := _named():
        write_json(path, asdict(WorkerView(on, time.time())))


def keep(client: "Client", on: str) -> None:
    """Keep a view in the file, where one is named, until the client is closed."""
    if path := _named():
        Keeper(client, on, path).start()


def _named() -> Path | None:
    """Return the file; None where none is named, or its folder has been moved away."""
    name = os.environ.get(WORKERS_FILE)
    return Path(name) if name and Path(name).parent.is_dir() else None


class Keeper(threading.Thread):
    """Writes what a client's workers do into a file, until the client is closed."""

    def __init__(self, client: "Client", on: str, path: Path) -> None:
        super().__init__(name="worker-view", daemon=True)
        self._client, self._path = client, path
        self.view = WorkerView(on, time.time())
        self._next_queue_s = 0.0

    def run(self) -> None:
        """Look from time to time."""
        while self._client.status not in ("closing", "closed"):
            try:
                self.look()
            except Exception:  # the cluster closes meanwhile; the next round decides
                _log.debug("could not look at the workers", exc_info=True)
            time.sleep(EVERY_S)
        self._write(replace(self.view, time=time.time(), is_closed=True, workers={}))

    def look(self) -> None:
        """Ask the scheduler, and the batch system while no worker is there; write the answer."""
        client: Any = self._client
        known, tasks = client.scheduler_info(n_workers=-1)["workers"], client.processing()
        workers = {address: _worker(each, tasks.get(address, ())) for address, each in known.items()}
        left = {k: v for k, v in self.view.workers.items() if k not in workers}
        gone = {**self.view.gone, **left}
        jobs = [] if workers else self._jobs()
        self._write(replace(self.view, time=time.time(), workers=workers, gone=gone, jobs=jobs))

    def _jobs(self) -> list[str]:
        cluster = getattr(self._client, "cluster", None)
        if not is_batch(self.view.on) or cluster is None:
            return []
        if time.monotonic() < self._next_queue_s:
            return self.view.jobs
        from physics_twins.clusters import jobs

        self._next_queue_s = time.monotonic() + QUEUE_EVERY_S
        return [str(state) for state in jobs.states(cluster)]

    def _write(self, view: WorkerView) -> None:
        self.view = view
        if self._path.parent.is_dir():  # else it has been moved away
            write_json(self._path, asdict(view))


def _worker(known: dict[str, Any], tasks: Any) -> Worker:
    memory = known.get("metrics", {}).get("memory", 0)
    limit = known.get("memory_limit") or 0
    return Worker(str(known["name"]), len(tasks), int(memory), int(limit), float(known["last_seen"]))
