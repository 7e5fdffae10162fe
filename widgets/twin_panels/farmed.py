"""Calls that a panel hands to Dask workers: results as they come, cancelled once not wanted."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import xarray as xr
from distributed import CancelledError, KilledWorker, wait

HEARTBEAT_S = 0.1  # so often a caller may say that it has lost interest
NO_WORKER_S = 20.0
_NEXT = "start the cluster again, or build the panel without client=, and move a control"


class WorkerError(RuntimeError):
    """Workers did not compute what was asked for; the message says why, and what to do."""


def farmed(
    client: Any, calls: Sequence[Callable[[], Any]], *, no_worker_s: float = NO_WORKER_S
) -> Iterator[Any]:
    """Yield the results of calls as workers finish them, and None while there is nothing new.

    A caller that closes the iterator cancels what has not been computed.

    Args:
        client: A Dask client.
        calls: Each a `functools.partial` of a module's function.
        no_worker_s: How long to wait where there is no worker at all.

    Raises:
        WorkerError: A worker died over it several times, there is none, or the cluster is gone.
        Exception: What a call raised.
    """
    try:
        futures = [client.submit(call, pure=False) for call in calls]
    except Exception as error:
        raise WorkerError(f"the cluster does not answer ({error}): {_NEXT}") from error
    try:
        yield from _results(client, futures, no_worker_s)
    except KilledWorker as error:
        raise WorkerError(
            f"workers died while they computed this, {error.last_worker.address} the last:"
            " they may have too little memory; " + _NEXT
        ) from error
    except (CancelledError, OSError) as error:
        raise WorkerError(
            f"the cluster was closed or is lost ({type(error).__name__}): {_NEXT}"
        ) from error
    finally:
        for future in futures:
            future.cancel()


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


def _results(client: Any, futures: list[Any], no_worker_s: float) -> Iterator[Any]:
    waiting, last_worker = set(futures), time.monotonic()
    while waiting:
        try:
            ended: Any = wait(waiting, timeout=HEARTBEAT_S, return_when="FIRST_COMPLETED")
            done = ended.done
        except TimeoutError:
            done = set()
        for future in done:
            yield future.result()
        waiting -= done
        if done or client.scheduler_info()["workers"]:
            last_worker = time.monotonic()
        elif client.status != "running":
            raise CancelledError
        elif time.monotonic() - last_worker > no_worker_s:
            raise WorkerError(f"no worker has come within {no_worker_s:g} s: {_NEXT}")
        yield None
