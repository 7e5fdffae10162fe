"""A Dask client anywhere: on this machine, on a batch system, or of a scheduler that runs already."""

import socket
import struct
import threading
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

from dask import config
from distributed import Client

from physics_twins.clusters import batch, local, workers
from physics_twins.clusters.calls import ClusterError

# An address is answered within 10 s, whatever is there.
CONNECT_TIMEOUT_S, GREETING_TIMEOUT_S = 8.0, 4.0
_LONGEST_GREETING_BYTES = 1 << 20
_LIBRARY = "physics_twins"
_BY_CLIENT = "dask.distributed"
_ONE_AT_A_TIME = threading.Lock()


class TidyClient(Client):
    """A client that ends the cluster which is its own, and does not touch Dask's setting `scheduler`.

    Dask finds an open client without that setting. Clients that are closed in another order than they
    were opened in, or twice, would leave it behind, and all that computes later in this process would
    ask for a client that is gone.
    """

    def __init__(self, where: Any, **options: Any) -> None:
        """Connect to a cluster, which is closed with this client, or to the scheduler at an address."""
        self._owned = None if isinstance(where, str) else where
        self._was_connected = False
        with _ONE_AT_A_TIME:
            before = config.get("scheduler", None)
            # What is set here is put back at the end of the block, and by the last client that closes.
            with config.set(scheduler=None if before == _BY_CLIENT else before):
                try:
                    super().__init__(where, **options)
                except BaseException:
                    with suppress(Exception):
                        self.close()
                    raise
        self._was_connected = True

    def __del__(self) -> None:
        """Close a client that nobody has closed, but not one that never connected, which is."""
        # A thread that collects garbage while it starts another loop would wait for that start, and
        # that start for it.
        if self._was_connected:
            super().__del__()

    def close(self, *args: Any, **options: Any) -> Any:
        """Close the client, then its cluster; harmless when repeated."""
        closing = super().close(*args, **options)
        cluster, self._owned = getattr(self, "_owned", None), None
        if cluster is not None:
            cluster.close()
        return closing


def connect(where: str = "local", *, jobs: int | None = None) -> Client:
    """Return a Dask client; closing it, or leaving its `with` block, also ends a cluster it started.

    Where `PHYSICS_TWINS_WORKERS` names a file, what the workers do is kept there, see `workers`; a run
    has one in its folder.

    A task that needs a GPU is submitted with `resources={"GPU": 1}`; on its worker it sees that one
    GPU only. A batch system's jobs are described in dask-jobqueue's own file,
    `~/.config/dask/jobqueue.yaml`; how many run at once stands under `physics-twins: jobs:` in any file
    of that folder (two by default).

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
    batch.check(where)
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs = {jobs}: must be 1 or more")
    if batch.is_batch(where):
        client = TidyClient(batch.start(where, jobs))
    elif where == "local":
        client = TidyClient(local.start(jobs))
    elif where == "threads":
        client = TidyClient(local.start_threads(jobs))
    else:
        client = _join(where)
    workers.keep(client, where)
    return client


def _join(where: str) -> Client:
    """Return a client of the scheduler at an address, whose workers can compute for this library."""
    if where.startswith("tcp://"):
        _check_greeting(where)
    with ExitStack() as undo:
        try:
            client = TidyClient(where, timeout=CONNECT_TIMEOUT_S)
            undo.callback(client.close)
            # Asks nobody to unpack anything of ours, which would end workers that lack it.
            found: Any = client.get_versions(packages=[_LIBRARY])
        except Exception as error:  # of another version, it may answer anything
            told = f"no Dask scheduler that this one can speak to answers at {where}"
            raise ClusterError(
                f"{told} ({_first_line(error)}): is it running, and of about the same version of Dask?"
                " For tls://, Dask's configuration must name certificates:"
                " distributed.comm.tls.ca-file, .client.cert and .client.key"
            ) from None
        has_library = {name: facts["packages"][_LIBRARY] for name, facts in found["workers"].items()}
        lacking = [name for name, version in has_library.items() if not version]
        # Used from a folder here, the workers' installations would not tell.
        if lacking and found["client"]["packages"][_LIBRARY]:
            raise ClusterError(
                f"{len(lacking)} of {len(has_library)} workers of {where} lack physics-twins"
                f" ({lacking[0]}): install it there, or start the workers from this environment"
            )
        undo.pop_all()
    return client


def _check_greeting(where: str) -> None:
    """Check that what listens at an address greets as a scheduler does: Dask would wait without end."""
    parts = urlsplit(where)
    try:
        to = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(to, timeout=CONNECT_TIMEOUT_S) as connection:
            connection.settimeout(GREETING_TIMEOUT_S)
            greeting = connection.recv(8, socket.MSG_WAITALL)
    except OSError as error:
        told = _first_line(error)
    else:
        # A scheduler says the length of what follows first, as an unsigned number of 64 bits.
        if len(greeting) == 8 and struct.unpack("<Q", greeting)[0] <= _LONGEST_GREETING_BYTES:
            return
        told = f"it says {greeting!r}"
    raise ClusterError(
        f"no Dask scheduler answers at {where} ({told}): is it running, is this its own port and not"
        " its dashboard's, and is it tls:// where it is encrypted?"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
