"""Where heavy work runs: this machine, a batch system, or a Dask scheduler that is running already.

A batch system's jobs are described in dask-jobqueue's own file, `~/.config/dask/jobqueue.yaml`; how
many run at once stands under `physics-twins: jobs:` in any file of that folder (two by default).
"""

from typing import TYPE_CHECKING, Any

from physics_twins.clusters import workers
from physics_twins.clusters.names import BATCH_SYSTEMS, check, is_batch

if TYPE_CHECKING:
    from distributed import Client


def connect(where: str = "local", *, jobs: int | None = None) -> "Client":
    """Return a Dask client; closing it, or leaving its `with` block, also ends a cluster it started.

    Where `PHYSICS_TWINS_WORKERS` names a file, what the workers do is kept there, see `workers`; a run
    has one in its folder.

    A task that needs a GPU is submitted with `resources={"GPU": 1}`; on its worker it sees that one
    GPU only.

    Args:
        where: `local` (processes on this machine, and one for each of its GPUs), `threads` (in this
            process, for light work), a batch system such as `slurm`, a section of its own for one
            such as `slurm-gpu`, or the address `tcp://host:port` of a scheduler.
        jobs: Processes on this machine, or jobs of a batch system; by default one per core, or what
            `physics-twins.jobs` in Dask's configuration says. Ignored for an address.

    Raises:
        ValueError: `where` is no known word and no address.
        ClusterError: No scheduler answers at the address, or its workers lack this library; or the
            batch system's commands or the description of its jobs are missing, or it refuses them.
    """
    check(where)
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs}: must be 1 or more")
    workers.announce(where)
    client = _client(where, jobs)
    workers.keep(client, where)
    return client


def job_script(where: str) -> str:
    """Return the script that each job of a batch system would be submitted with.

    Raises:
        ValueError: `where` is no batch system.
        ClusterError: The description of its jobs is missing.
    """
    if not is_batch(where):
        raise ValueError(f"{where!r} submits no jobs; batch systems are {', '.join(BATCH_SYSTEMS)}")
    check(where)
    from physics_twins.clusters import batch

    return batch.job_script(where)


def _client(where: str, jobs: int | None) -> "Client":
    if is_batch(where):
        from physics_twins.clusters import batch

        return _owned(batch.start(where, jobs))
    if where in ("local", "threads"):
        from physics_twins.clusters import local

        starting = local.start if where == "local" else local.start_threads
        return _owned(starting(jobs))
    from physics_twins.clusters import address

    return address.join(where)


def _owned(cluster: Any) -> "Client":
    from physics_twins.clusters.owning import TidyClient

    try:
        return TidyClient(cluster, owned=cluster)
    except BaseException:
        cluster.close()
        raise
