"""Cells of a sweep or study on their worker: each ends in a record, whatever it does."""

import functools
import logging
import multiprocessing
import os
import platform
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from physics_twins.clusters import ClusterError
from physics_twins.data import file_sha256, noted
from physics_twins.runs import resolve, source_sha256
from physics_twins.sweeps import records, tasks
from physics_twins.sweeps.records import COMPLETE, FAILED, Record

CELLS = "cells"  # folder of results that are files or runs
# A short notebook mostly waits for its kernel: so many run beside each other in one worker.
AT_ONCE = 2
# So much later than its cells a worker may learn that it is to end.
_MOMENT_S = 0.05


class FarmError(ClusterError):
    """A farm that cannot work; the message says why."""


class CellInterruptedError(FarmError):
    """A cell that was broken off with its worker: not failed, but to be computed elsewhere."""


def compute_batch(
    name: str, code: tuple[str, str], batch: str, cells: list[tuple[str, dict[str, Any]]], folder: str
) -> list[Record]:
    """Compute cells one after the other, leave their records in a file and return them.

    Args:
        name: What is computed, as `tasks.find` knows it.
        code: Hash of the task and of the library, as the driver has them.
        batch: What the records' file is called.
        cells: Key and checked parameters of each.
        folder: The folder that takes records and results.

    Raises:
        FarmError: The folder is not there, or this worker runs other code.
    """
    place = Path(folder)
    if not (place / CELLS).is_dir():
        raise FarmError(
            f"{platform.node()} does not see {folder}: use a folder that all machines share"
        )
    if done := records.left(place, batch):
        return done  # by a worker that died right after
    if multiprocessing.parent_process():  # what workers print would run through the driver's bar
        os.environ.setdefault("TQDM_DISABLE", "1")
        for library in ("papermill", "asyncio", "distributed.worker.state_machine"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
    task = _task(name)
    if (task.sha256, source_sha256(task.twins)) != code:
        raise FarmError(f"{platform.node()} runs other code than was asked for: restart its workers")
    worker = _own_worker()
    compute = functools.partial(_record, task, place / CELLS, worker)
    if isinstance(task, tasks.NotebookTask):
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = list(threads.map(functools.partial(_in_thread, compute), cells))
    else:
        found = [compute(key, values) for key, values in cells]
    if any(record["status"] == FAILED for record in found):
        time.sleep(_MOMENT_S)
        if _is_ending(worker):
            raise CellInterruptedError(f"{platform.node()} ended meanwhile")
    records.leave(place, batch, found)
    return found


def failure(key: str, error: BaseException, started: float, seconds: float) -> Record:
    """Return the record of a cell that failed."""
    described = traceback.TracebackException.from_exception(error)  # also of an error without words
    words = f"{type(error).__name__}: {' '.join(str(described).split())}"
    trace = "".join(described.format())
    return row(key, FAILED, started, seconds, error=_writable(words), trace=_writable(trace))


def row(
    key: str,
    status: str,
    started: float,
    seconds: float,
    *,
    result: dict[str, Any] | None = None,
    error: str = "",
    trace: str = "",
    read: Sequence[Mapping[str, Any]] = (),
) -> Record:
    """Return a cell's record."""
    row = {"key": key, "status": status, "result": result or {}, "error": error, "trace": trace}
    row |= {"sources": list(read)} if read else {}
    times = {"started": started, "finished": time.time(), "seconds": seconds}
    return row | times | {"host": platform.node()}


def _in_thread(compute: Callable[..., Record], cell: tuple[str, dict[str, Any]]) -> Record:
    """Return a cell's record; close the event loop that Jupyter leaves open in a thread."""
    from jupyter_core.utils import ensure_event_loop

    try:
        return compute(*cell)
    finally:
        ensure_event_loop().close()


def _record(task: tasks.Task, cells: Path, worker: Any, key: str, values: dict[str, Any]) -> Record:
    started, clock = time.time(), time.perf_counter()
    try:
        with noted() as read:
            result = _stored(task, task.compute(values, cells), cells, key)
    except BaseException as error:  # whatever a cell does, the others go on
        if isinstance(error, KeyboardInterrupt) or _is_ending(worker):
            raise CellInterruptedError(f"{platform.node()} ended meanwhile") from error
        return failure(key, error, started, time.perf_counter() - clock)
    found = read + _read_by_run(result, cells)
    return row(key, COMPLETE, started, time.perf_counter() - clock, result=result, read=found)


def _read_by_run(result: dict[str, Any], cells: Path) -> list[dict[str, Any]]:
    """Return what a cell's notebook has read."""
    return resolve(cells / result["run"]).provenance["sources"] if "run" in result else []


def _own_worker() -> Any:
    """Return the worker that this runs on, None outside of one."""
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def _is_ending(worker: Any) -> bool:
    """Return whether a worker has been told to end: what its cells raise then is not theirs."""
    if sys.is_finalizing():
        return True
    return worker is not None and worker.status.name not in ("running", "paused")


def _stored(task: tasks.Task, result: Any, cells: Path, key: str) -> dict[str, Any]:
    """Return what a record keeps of a result; a dataset is written to a file of its own."""
    xarray = sys.modules.get("xarray")
    if not (xarray and isinstance(result, xarray.Dataset)):
        return tasks.plain_result(task, result)
    from physics_twins.data import save

    # Two workers may compute a cell when one was taken for dead: neither disturbs the other's file.
    path = save(result, cells / f"{key}-{secrets.token_hex(4)}.nc")
    return {"file": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size}


def _writable(text: str) -> str:
    """Return text that a file takes: the name of a file may have parts that are no characters."""
    return text.encode(errors="backslashreplace").decode()


def _task(name: str) -> tasks.Task:
    """Return the task as this process runs it: a notebook is read each time, a module only once."""
    return _function_task(name) if ":" in name else tasks.find_task(name)


@functools.cache
def _function_task(name: str) -> tasks.Task:
    return tasks.find_task(name)
