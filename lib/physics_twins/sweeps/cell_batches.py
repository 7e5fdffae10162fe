"""Cells of a sweep or study on their worker: each leaves a record, whatever it does."""

import functools
import logging
import multiprocessing
import os
import platform
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from physics_twins.clusters import ClusterError
from physics_twins.runs import provenance
from physics_twins.sweeps import ledger, tasks
from physics_twins.sweeps.ledger import COMPLETE, FAILED, Record

CELLS = "cells"  # folder of results that are files or runs
# A short notebook mostly waits for its kernel: so many run beside each other in one worker.
KERNELS = 2


class FarmError(ClusterError):
    """A farm that cannot work; the message says why."""


def compute_batch(
    name: str, code: tuple[str, str], cells: list[tuple[str, dict[str, Any]]], folder: str
) -> None:
    """Compute cells one after the other and leave their records; runs on a worker.

    Args:
        name: What is computed, as `tasks.find` knows it.
        code: Hash of the task and of the library, as the driver has them.
        cells: Key and checked parameters of each.
        folder: The folder that takes ledger and results.

    Raises:
        FarmError: The folder is not there, or this worker runs other code.
    """
    place = Path(folder)
    if not (place / CELLS).is_dir():
        raise FarmError(
            f"{platform.node()} does not see {folder}: use a folder that all machines share"
        )
    if ledger.is_left(place, [key for key, _ in cells]):
        return  # done by a worker that died right after, or for a driver that did
    if multiprocessing.parent_process():  # what workers print would run through the driver's bar
        os.environ.setdefault("TQDM_DISABLE", "1")
        for library in ("papermill", "asyncio", "distributed.worker.state_machine"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
    task = _task(name)
    if (task.sha256, provenance.source_sha256(task.twins)) != code:
        raise FarmError(f"{platform.node()} runs other code than was asked for: restart its workers")
    record = functools.partial(_record, task, place / CELLS)
    if isinstance(task, tasks.NotebookTask):
        with ThreadPoolExecutor(KERNELS) as threads:
            records = list(threads.map(functools.partial(_in_thread, record), cells))
    else:
        records = [record(key, values) for key, values in cells]
    ledger.leave(place, records)


def _in_thread(record: Callable[..., Record], cell: tuple[str, dict[str, Any]]) -> Record:
    """Return a cell's record; close the event loop that Jupyter leaves open in a thread."""
    from jupyter_core.utils import ensure_event_loop

    try:
        return record(*cell)
    finally:
        ensure_event_loop().close()


def _record(task: tasks.Task, cells: Path, key: str, values: dict[str, Any]) -> Record:
    started, clock = time.time(), time.perf_counter()
    try:
        result = _stored(task, task.compute(values, cells), cells, key)
    except BaseException as error:  # whatever a cell does, the others go on
        return failure(key, error, started, time.perf_counter() - clock)
    return row(key, COMPLETE, started, time.perf_counter() - clock, result=result)


def _stored(task: tasks.Task, result: Any, cells: Path, key: str) -> dict[str, Any]:
    """Return what the ledger keeps of a result; a dataset is written to a file of its own."""
    xarray = sys.modules.get("xarray")
    if not (xarray and isinstance(result, xarray.Dataset)):
        return tasks.plain_result(task, result)
    from physics_twins.data import datasets

    # Two workers may compute a cell when one was taken for dead: neither disturbs the other's file.
    path = datasets.save(result, cells / f"{key}-{secrets.token_hex(4)}.nc")
    return {"file": path.name, "sha256": provenance.file_sha256(path), "bytes": path.stat().st_size}


def failure(key: str, error: BaseException, started: float, seconds: float) -> Record:
    """Return the record of a cell that failed."""
    described = traceback.TracebackException.from_exception(error)  # also of an error without words
    words = f"{type(error).__name__}: {' '.join(str(described).split())}"
    trace = "".join(described.format())
    return row(key, FAILED, started, seconds, error=_writable(words), trace=_writable(trace))


def _writable(text: str) -> str:
    """Return text that a database takes: the name of a file may have parts that are no characters."""
    return text.encode(errors="backslashreplace").decode()


def row(
    key: str,
    status: str,
    started: float,
    seconds: float,
    *,
    result: dict[str, Any] | None = None,
    error: str = "",
    trace: str = "",
) -> Record:
    row = {"key": key, "status": status, "result": result or {}, "error": error, "trace": trace}
    return row | {
        "started": started,
        "finished": time.time(),
        "seconds": seconds,
        "host": platform.node(),
    }


def _task(name: str) -> tasks.Task:
    """Return the task as this process runs it: a notebook is read each time, a module only once."""
    return _function_task(name) if ":" in name else tasks.find(name)


@functools.cache
def _function_task(name: str) -> tasks.Task:
    return tasks.find(name)
