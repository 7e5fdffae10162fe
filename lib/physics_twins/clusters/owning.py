"""A Dask client that leaves nothing behind; apart, because Dask is slow to import."""

import threading
from typing import Any

from dask import config
from distributed import Client

_BY_CLIENT = "dask.distributed"
_ONE_AT_A_TIME = threading.Lock()


class TidyClient(Client):
    """A client that ends the cluster which is its own, and does not touch Dask's setting `scheduler`.

    Dask finds an open client without that setting. Clients that are closed in another order than they
    were opened in, or twice, would leave it behind, and all that computes later in this process would
    ask for a client that is gone.
    """

    def __init__(self, where: Any, *, owned: Any = None, **options: Any) -> None:
        """Connect.

        Args:
            where: A cluster, or the address of a scheduler.
            owned: The cluster that is closed with this client.
            options: As for Dask's own client.
        """
        self._owned = owned
        with _ONE_AT_A_TIME:
            before = config.get("scheduler", None)
            # What is set here is put back at the end of the block, and by the last client that closes.
            with config.set(scheduler=None if before == _BY_CLIENT else before):
                super().__init__(where, **options)

    def close(self, *args: Any, **options: Any) -> Any:
        """Close the client, then its cluster; harmless when repeated."""
        closing = super().close(*args, **options)
        cluster, self._owned = getattr(self, "_owned", None), None
        if cluster is not None:
            cluster.close()
        return closing
