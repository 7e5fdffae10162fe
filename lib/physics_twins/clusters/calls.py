"""Many calls on a Dask client: results as they come, cancelled when nobody wants them any more."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from physics_twins.data import note, noted

HEARTBEAT_S = 0.1  # so often a caller may say that it has lost interest
NO_WORKER_S = 20.0
Call = Callable[[], Any]


class WorkerError(RuntimeError):
    """Workers did not compute what was asked for; the message says why, and what to do."""


def results(client: Any, calls: Iterable[Call], *, ahead: int | None = None) -> Iterator[Any]:
    """Yield the results of calls in their order.

    A caller that closes the iterator, or fails, cancels what has not been computed.

    Args:
        client: A Dask client; None computes here, one call after the other.
        calls: Each a `functools.partial` of a module's function.
        ahead: How many are under way for each worker, so that calls may be without end, and results
            do not pile up; by default all of them at once.

    Raises:
        WorkerError: A worker died over a call several times, or the cluster is gone.
        Exception: What a call raised.
    """
    if client is None:
        yield from (call() for call in calls)
        return
    under_way: deque[Any] = deque()
    try:
        with _in_words("start the cluster again"):
            for call in calls:
                if ahead is not None and len(under_way) >= ahead * max(1, _n_workers(client)):
                    yield _taken(client, under_way)
                under_way.append(_submitted(client, call))
            while under_way:
                yield _taken(client, under_way)
    finally:
        _cancel(client, list(under_way))


def as_they_come(
    client: Any,
    calls: Sequence[Call],
    *,
    no_worker_s: float = NO_WORKER_S,
    advice: str = "start the cluster again",
) -> Iterator[Any]:
    """Yield the results of calls as workers finish them, and None while there is nothing new.

    A caller that closes the iterator cancels what has not been computed.

    Args:
        client: A Dask client.
        calls: As for `results`.
        no_worker_s: How long to wait where there is no worker at all.
        advice: What to do next, for the message of an error.

    Raises:
        WorkerError: A worker died over a call several times, there is none, or the cluster is gone.
        Exception: What a call raised.
    """
    try:
        futures = [_submitted(client, call) for call in calls]
    except Exception as error:
        raise WorkerError(f"the cluster does not answer ({error}): {advice}") from error
    try:
        with _in_words(advice):
            yield from _finished(client, futures, no_worker_s, advice)
    finally:
        _cancel(client, futures)


def _taken(client: Any, under_way: deque[Any]) -> Any:
    if not _is_there(client):
        raise WorkerError("the cluster was closed: start the cluster again")
    future = under_way[0]
    found, read = future.result()
    under_way.popleft().release()
    _note_all(read)
    return found


def _submitted(client: Any, call: Call) -> Any:
    from dask.utils import funcname

    key = f"{funcname(call)}-{secrets.token_hex(16)}"  # dashboards show what stands before the dash
    return client.submit(_observed, call, key=key, pure=False)


def _observed(call: Call) -> tuple[Any, list[dict[str, str]]]:
    """Return a call's result and what the worker read for it."""
    with noted() as read:
        found = call()
    return found, read


def _note_all(read: Iterable[dict[str, str]]) -> None:
    for source in read:
        note(**source)


def _cancel(client: Any, futures: list[Any]) -> None:
    if futures and _is_there(client):  # else all are cancelled
        client.cancel(futures)


def _is_there(client: Any) -> bool:
    return getattr(client, "status", "running") not in ("closing", "closed")


def _n_workers(client: Any) -> int:
    return len(client.nthreads())  # `scheduler_info` tells of five workers at most


def _finished(client: Any, futures: list[Any], no_worker_s: float, advice: str) -> Iterator[Any]:
    from distributed import CancelledError, wait

    waiting, last_worker = set(futures), time.monotonic()
    while waiting:
        try:
            ended: Any = wait(waiting, timeout=HEARTBEAT_S, return_when="FIRST_COMPLETED")
            done = ended.done
        except TimeoutError:
            done = set()
        for future in done:
            found, read = future.result()
            _note_all(read)
            yield found
        waiting -= done
        if done or _n_workers(client):
            last_worker = time.monotonic()
        elif client.status != "running":
            raise CancelledError
        elif time.monotonic() - last_worker > no_worker_s:
            raise WorkerError(f"no worker has come within {no_worker_s:g} s: {advice}")
        yield None


@contextmanager
def _in_words(advice: str) -> Iterator[None]:
    """Turn what Dask raises where workers or the cluster are lost into a sentence."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise WorkerError(
            f"workers died while they computed this, {error.last_worker.address} the last:"
            f" they may have too little memory; {advice}"
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise WorkerError(
            f"the cluster was closed or is lost ({type(error).__name__}): {advice}"
        ) from error
