"""A Dask client that ends its cluster when it is closed; apart, because Dask is slow to import."""

from typing import Any

from distributed import Client


class OwningClient(Client):
    """A client whose cluster nobody else uses."""

    def __init__(self, cluster: Any) -> None:
        super().__init__(cluster)
        self._owned: Any = cluster

    def close(self, *args: Any, **options: Any) -> Any:
        """Close the client, then its cluster; harmless when repeated."""
        closing = super().close(*args, **options)
        cluster, self._owned = getattr(self, "_owned", None), None
        if cluster is not None:
            cluster.close()
        return closing
