"""What became of submitted jobs: refused, waiting, running, or gone before their worker came."""

import getpass
import logging
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins.clusters.names import ClusterError

TICK_S, FIRST_LOOK_S, LOOK_EVERY_S = 2.0, 20.0, 30.0
MAX_RESUBMISSIONS = 3
COMMAND_TIMEOUT_S = 20.0

# What lists a user's unfinished jobs, the job's number first in each line.
_LISTINGS = {
    "slurm": "squeue --noheader --user={user} --format='%i %T %r'",
    "pbs": "qstat -u {user}",
    "lsf": "bjobs -u {user}",
    "sge": "qstat -u {user}",
    "oar": "oarstat -u {user}",
    "htcondor": "condor_q -nobatch {user}",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobState:
    """One job that was submitted.

    Attributes:
        name: How Dask names it; its workers' names begin with it.
        number: The batch system's number, "" where the submission was refused.
        queue: The batch system's line on it, "" where it does not list it (any more), None where
            the batch system did not answer.
        refused: Why it could not be submitted, "" where it could.
        has_worker: Whether a worker of it is connected.
    """

    name: str
    number: str
    queue: str | None
    refused: str
    has_worker: bool

    @property
    def is_gone(self) -> bool:
        """Whether it ended, or was refused, before its worker came."""
        return not self.has_worker and (bool(self.refused) or self.queue == "")

    def __str__(self) -> str:
        if self.refused:
            return f"job refused: {self.refused}"
        if self.has_worker:
            return f"job {self.number}: its worker is there"
        gone = "is no longer in the queue, and its worker never came"
        unknown = "submitted; the batch system does not answer"
        return f"job {self.number}: " + (unknown if self.queue is None else self.queue or gone)


def telling(cluster_class: Any) -> Any:
    """Return a class of clusters that remember why a job was refused, and close all they opened."""
    from distributed.deploy.spec import ProcessInterface

    class Job(cluster_class.job_cls):
        refused = ""

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, ValueError, OSError) as error:
                self.refused = _reason(error)
                await ProcessInterface.start(self)

        async def close(self) -> None:
            await super().close()
            await ProcessInterface.close(self)  # which dask-jobqueue leaves out, and Dask asserts

    def close(self: Any, timeout: float | None = None) -> Any:
        closing = cluster_class.close(self, timeout)
        for name in ("ca_file", "cert", "key"):  # else they stay until the object is forgotten
            if file := getattr(self, f"_job_{name}", None):
                file.close()
        return closing

    return type(cluster_class.__name__, (cluster_class,), {"job_cls": Job, "close": close})


def connected(cluster: Any) -> dict[str, bool]:
    """Return whether each job of a cluster has a connected worker, by Dask's name of the job."""
    workers = list(cluster.scheduler_info.get("workers", {}).values())
    names = {str(worker["name"]) for worker in workers}
    jobs = [str(name) for name in list(cluster.workers)]
    return {job: any(name == job or name.startswith(f"{job}-") for name in names) for job in jobs}


def states(cluster: Any) -> list[JobState]:
    """Return what became of each job of a cluster; asks the batch system once, where need be."""
    jobs = {str(name): job for name, job in list(cluster.workers.items())}
    there = connected(cluster)
    listing = None if all(there.values()) else _listing(cluster)
    found = []
    for name, job in jobs.items():
        number = str(getattr(job, "job_id", None) or "")
        queue = None if listing is None or not number else _line(number, listing)
        found.append(JobState(name, number, queue, getattr(job, "refused", ""), there.get(name, False)))
    return found


def log_tail(folder: Path, number: str, n_lines: int = 15) -> str:
    """Return a job's logs in a folder, each name with the last lines; "" where there are none.

    Args:
        folder: The jobs' `log-directory`, or the folder where they were submitted.
        number: The batch system's number of the job.
        n_lines: How many lines of each.
    """
    of_job = re.compile(rf"(?<!\d){re.escape(number.partition('.')[0])}(?!\d)")
    texts = []
    for path in sorted(folder.iterdir()) if number and folder.is_dir() else []:
        if path.is_file() and of_job.search(path.name) and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 20_000))
                lines = file.read().decode(errors="replace").splitlines()
            texts.append("\n".join([f"{path}:", *(f"    {line}" for line in lines[-n_lines:])]))
    return "\n".join(texts)


def wait_for_worker(cluster: Any, *, timeout_s: float, tell: Callable[[str], None]) -> None:
    """Wait until the first worker of a cluster is there.

    Args:
        cluster: A cluster whose jobs are submitted.
        timeout_s: How long at most.
        tell: Called with what has become of the jobs, whenever that changes.

    Raises:
        ClusterError: Every job ended before its worker came, or none came in time; the message has
            the batch system's lines on the jobs and the ends of their logs.
    """
    deadline, told = time.monotonic() + timeout_s, ""
    while not any(connected(cluster).values()):
        jobs = states(cluster)
        now = "; ".join(map(str, jobs))
        if now != told:
            tell(now)
        told = now
        if jobs and all(job.is_gone for job in jobs):
            raise ClusterError(_with_logs("no worker came", cluster, jobs))
        if time.monotonic() > deadline:
            raise ClusterError(_with_logs(f"no worker within {timeout_s:g} s", cluster, jobs))
        time.sleep(min(TICK_S, max(0.0, deadline - time.monotonic())))


class Watch(threading.Thread):
    """Warns while jobs have no worker, and submits those again that ended without being asked to.

    Dask by itself waits without end for a job that ended before its worker came, and for one of several
    processes that was killed. What fails time after time is given up with a warning.
    """

    def __init__(self, cluster: Any, section: str) -> None:
        super().__init__(name=f"watch-{section}", daemon=True)
        self._cluster, self._section = cluster, section
        self._n_resubmitted = 0
        self._had_worker: set[str] = set()
        self._told: list[str] = []
        self._next_look_s = time.monotonic() + FIRST_LOOK_S

    def run(self) -> None:
        """Look from time to time until the cluster is closed."""
        while self._cluster.status.name == "running":
            try:
                self.look()
            except Exception:  # a cluster that closes meanwhile; the next round decides
                _log.debug("could not look at the jobs", exc_info=True)
            time.sleep(TICK_S)

    def look(self) -> None:
        """Ask the batch system when a job has lost its worker, or when one has not come for long."""
        there = connected(self._cluster)
        lost = any(name in self._had_worker and not is_there for name, is_there in there.items())
        self._had_worker |= {name for name, is_there in there.items() if is_there}
        if all(there.values()):
            self._n_resubmitted = 0
        elif lost or time.monotonic() > self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            self._judge([job for job in states(self._cluster) if not job.has_worker])

    def _judge(self, without: list[JobState]) -> None:
        told = [str(job) for job in without if job.name not in self._had_worker]
        if told and told != self._told:
            _log.warning("%s: no worker yet: %s", self._section, "; ".join(told))
        self._told = told
        gone = {job.name for job in without if job.is_gone}
        if gone and self._n_resubmitted < MAX_RESUBMISSIONS:
            self._n_resubmitted += 1
            # Adaptive scaling then submits as many new ones.
            self._cluster.loop.add_callback(self._cluster.scale_down, gone)
        elif gone and self._n_resubmitted == MAX_RESUBMISSIONS:
            self._n_resubmitted += 1
            look = f"to see why: twins cluster {self._section}"
            _log.warning("%s: jobs end before their workers come; %s", self._section, look)


def _with_logs(complaint: str, cluster: Any, jobs: list[JobState]) -> str:
    folder = Path(cluster._job_kwargs.get("log_directory") or ".").absolute()
    logs = [log_tail(folder, job.number) or f"no log of job {job.number} in {folder}" for job in jobs]
    return "\n".join([complaint, *map(str, jobs), *logs])


def _reason(error: Exception) -> str:
    """Return what the submit command complained about, in one line."""
    said = str(error).partition("stderr:")[2] or str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(lines[-1:])[:300] or type(error).__name__


def listing(system: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str | None:
    """Return what a batch system lists of this user's jobs; None where it does not answer."""
    command = _LISTINGS[system].format(user=getpass.getuser())
    try:
        done = subprocess.run(  # noqa: S603
            shlex.split(command), capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _listing(cluster: Any) -> str | None:
    return listing(cluster.job_cls.default_config_name())


def _line(number: str, listing: str) -> str:
    """Return the line that begins with a job's number, without it.

    >>> _line("12", "121 RUNNING None\\n12 PENDING Priority")
    'PENDING Priority'
    """
    match = re.search(rf"^\s*{re.escape(number)}(?!\d)\S*(.*)$", listing, re.MULTILINE)
    return " ".join(match[1].split()) or "listed" if match else ""
