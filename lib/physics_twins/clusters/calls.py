"""Many calls on a Dask client: their results in order, cancelled when nobody wants them any more."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from physics_twins.data import note, noted

NO_WORKER_S = 20.0  # so long a caller who looks at the clock waits where there is no worker at all
_AGAIN = "start the cluster again"
_Call = Callable[[], Any]


class ClusterError(RuntimeError):
    """A cluster that cannot be used, or did not compute what was asked for; the message says why."""


def results(
    client: Any, calls: Iterable[_Call], *, ahead: int | None = None, tick_s: float | None = None
) -> Generator[Any, None, None]:
    """Yield the results of calls in their order.

    A caller that closes the iterator, or fails, cancels what has not been computed.

    Args:
        client: A Dask client; None computes here, one call after the other.
        calls: Each a `functools.partial` of a module's function.
        ahead: How many are under way for each worker, so that calls may be without end, and results
            do not pile up; by default all of them at once.
        tick_s: Yield None, too, whenever nothing has come for so long, so that a caller may lose
            interest. By default wait for the next result, and for the first worker, without end.

    Raises:
        ClusterError: A worker died over a call several times, there is none for a caller who ticks, or
            the cluster is gone.
        Exception: What a call raised.
    """
    if client is None:
        yield from (call() for call in calls)
        return
    under_way: deque[Any] = deque()
    try:
        with _in_words():
            for call in calls:
                # `nthreads` has an entry for each worker; `scheduler_info` tells of five at most.
                if ahead is not None and len(under_way) >= ahead * max(1, len(client.nthreads())):
                    yield from _next(client, under_way, tick_s)
                under_way.append(_submitted(client, call))
            while under_way:
                yield from _next(client, under_way, tick_s)
    finally:
        if under_way and _is_open(client):  # else all are cancelled
            client.cancel(list(under_way))


def _next(client: Any, under_way: deque[Any], tick_s: float | None) -> Iterator[Any]:
    _check_open(client)
    if tick_s is not None:
        yield from _ticks(client, under_way[0], tick_s)
    found, read = under_way[0].result()
    under_way.popleft().release()
    for source in read:
        note(**source)
    yield found


def _ticks(client: Any, future: Any, tick_s: float) -> Iterator[None]:
    """Yield None until a call is done."""
    from distributed import wait

    last_worker = time.monotonic()
    while not future.done():
        with suppress(TimeoutError):
            wait(future, timeout=tick_s)
            return
        yield None
        _check_open(client)
        if client.nthreads():
            last_worker = time.monotonic()
        elif time.monotonic() - last_worker > NO_WORKER_S:
            raise ClusterError(f"no worker has come within {NO_WORKER_S:g} s: {_AGAIN}")


def _submitted(client: Any, call: _Call) -> Any:
    from dask.utils import funcname

    _check_open(client)
    key = f"{funcname(call)}-{secrets.token_hex(16)}"  # dashboards show what stands before the dash
    return client.submit(_observed, call, key=key, pure=False)


def _observed(call: _Call) -> tuple[Any, list[dict[str, str]]]:
    """Return a call's result and what the worker read for it."""
    with noted() as read:
        found = call()
    return found, read


def _is_open(client: Any) -> bool:
    return getattr(client, "status", "running") not in ("closing", "closed")


def _check_open(client: Any) -> None:
    if not _is_open(client):
        raise ClusterError(f"the cluster was closed: {_AGAIN}")


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what Dask raises where workers or the cluster are lost into a sentence."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"workers died while they computed this, {error.last_worker.address} the last:"
            f" they may have too little memory; {_AGAIN}"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise ClusterError(
            f"the cluster was closed or is lost ({type(error).__name__}): {_AGAIN}"
        ) from error
