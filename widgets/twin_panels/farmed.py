"""Slow work of a panel on Dask workers: its results as they come, joined as they grow."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import xarray as xr

from physics_twins import clusters

_NEXT = "start the cluster again, or build the panel without client=, and move a control"


def farmed(
    client: Any, asked: Sequence[clusters.Call], *, no_worker_s: float = clusters.NO_WORKER_S
) -> Iterator[Any]:
    """Yield the results of calls as workers finish them, see `clusters.as_they_come`."""
    return clusters.as_they_come(client, asked, no_worker_s=no_worker_s, advice=_NEXT)


def growing(parts: Iterable[xr.Dataset | None], dim: str) -> Iterator[xr.Dataset | None]:
    """Yield all parts that have come, joined along a dimension, and None while there is nothing new."""
    come: list[Any] = []
    for part in parts:
        if part is None:
            yield None
            continue
        come.append(part)
        joined: Any = xr.concat(come, dim, join="override", combine_attrs="override")
        yield joined
