"""Where heavy work runs: this machine, a batch system, or a Dask scheduler that is running already.

A batch system's jobs are described in dask-jobqueue's own file, `~/.config/dask/jobqueue.yaml`; how
many run at once stands under `physics-twins: jobs:` in any file of that folder (two by default).
"""

import difflib
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_jobqueue.core import Job
    from distributed import Client

BATCH_SYSTEMS = ("slurm", "pbs", "lsf", "sge", "oar", "htcondor")
WORDS = ("local", "threads", *BATCH_SYSTEMS)
CONNECT_TIMEOUT_S = 8.0
DEFAULT_JOBS = 2

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/]+:\d+")
_LOOPBACK = "127.0.0.1"


class ClusterError(RuntimeError):
    """A cluster that cannot be used; the message says what is missing."""


def check(where: str) -> None:
    """Check that `where` names a kind of cluster, without looking whether it is there.

    Raises:
        ValueError: It is no known word and no address; the nearest word is suggested.

    >>> check("slrum")
    Traceback (most recent call last):
    ValueError: on = 'slrum' is no cluster; did you mean 'slurm'?
    """
    if where in WORDS or _ADDRESS.fullmatch(where):
        return
    nearest = difflib.get_close_matches(where, WORDS, n=1)
    known = f"known are {', '.join(WORDS)} and tcp://host:port"
    raise ValueError(
        f"on = {where!r} is no cluster; " + (f"did you mean {nearest[0]!r}?" if nearest else known)
    )


def connect(where: str = "local", *, jobs: int | None = None) -> "Client":
    """Return a Dask client; closing it, or leaving its `with` block, also ends a cluster it started.

    Args:
        where: `local` (one process per core), `threads` (in this process, for light work), a batch
            system such as `slurm`, or the address `tcp://host:port` of a scheduler.
        jobs: Workers on this machine, or jobs of a batch system; by default one per core, or what
            `physics-twins.jobs` in Dask's configuration says. Ignored for an address.

    Raises:
        ValueError: `where` is no known word and no address.
        ClusterError: Nobody answers at the address, or the batch system's commands or the description
            of its jobs are missing.
    """
    check(where)
    if where in BATCH_SYSTEMS:
        return _owned(_batch_cluster(where, jobs))
    if where in ("local", "threads"):
        return _owned(_local_cluster(where, jobs))
    from distributed import Client

    try:
        return Client(where, timeout=CONNECT_TIMEOUT_S)
    except OSError:
        limit = f"within {CONNECT_TIMEOUT_S:g} s"
        raise ClusterError(f"no Dask scheduler answers at {where} {limit}: is it running?") from None


def job_script(where: str) -> str:
    """Return the script that each job of a batch system would be submitted with.

    Raises:
        ValueError: `where` is no batch system.
        ClusterError: The description of its jobs is missing.
    """
    if where not in BATCH_SYSTEMS:
        raise ValueError(f"{where!r} submits no jobs; batch systems are {', '.join(BATCH_SYSTEMS)}")
    options = {"scheduler": "tcp://<scheduler>:<port>", "name": "worker"}
    return _described(where, lambda: _cluster_class(where).job_cls(**options)).job_script()


def _local_cluster(where: str, jobs: int | None) -> Any:
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    cores = jobs or CPU_COUNT
    processes = where == "local"
    return LocalCluster(
        host=_LOOPBACK if processes else None,
        processes=processes,
        n_workers=cores if processes else 1,
        threads_per_worker=1 if processes else cores,
        dashboard_address=f"{_LOOPBACK}:0",
    )


def _batch_cluster(where: str, jobs: int | None) -> Any:
    from dask import config

    cluster_class = _cluster_class(where)
    _check_commands(where, cluster_class.job_cls)
    given = config.get(f"jobqueue.{where}.scheduler-options", None) or {}
    options = {"dashboard_address": f"{_LOOPBACK}:0"} | given
    cluster = _described(where, lambda: cluster_class(scheduler_options=options))
    n = jobs or config.get("physics-twins.jobs", DEFAULT_JOBS)
    cluster.adapt(
        minimum_jobs=n, maximum_jobs=n
    )  # unlike scale(n), this replaces a job that was killed
    return cluster


def _cluster_class(where: str) -> Any:
    import dask_jobqueue

    return getattr(dask_jobqueue, {"htcondor": "HTCondor"}.get(where, where.upper()) + "Cluster")


def _check_commands(where: str, job_class: "type[Job]") -> None:
    commands = (job_class.submit_command, job_class.cancel_command)
    missing = [command for command in commands if command and not shutil.which(command)]
    if missing:
        raise ClusterError(
            f"{where}: {' and '.join(missing)} not found; run this where jobs can be submitted"
        )


def _described(where: str, make: Any) -> Any:
    """Return `make()`, with dask-jobqueue's complaint about its configuration in one sentence."""
    try:
        return make()
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        complaint = " ".join(str(error).split()[:30])
        raise ClusterError(
            f"{where}: its jobs are not described: set cores, memory and the like under jobqueue: "
            f"{where}: in ~/.config/dask/jobqueue.yaml (dask-jobqueue says: {complaint})"
        ) from None


def _owned(cluster: Any) -> "Client":
    from physics_twins.owning_client import OwningClient

    return OwningClient(cluster)
