"""Slow work of a panel on Dask workers: its results as they come, joined as they grow."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import xarray as xr

from physics_twins import clusters

TICK_S = 0.1  # so often a panel may lose interest


def farmed(client: Any, asked: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Yield the results of calls, and None while there is nothing new, see `clusters.results`."""
    try:
        yield from clusters.results(client, asked, tick_s=TICK_S)
    except clusters.ClusterError as error:
        raise clusters.ClusterError(
            f"{error}, or build the panel without client=, and move a control"
        ) from error


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
