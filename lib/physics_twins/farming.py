"""Cells of a sweep or study, computed on the workers of a Dask client, a batch at a time."""

import functools
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins import ledger, provenance, tasks
from physics_twins.ledger import COMPLETE, FAILED, Record

CELLS = "cells"  # folder of results that are files or runs
# Short cells travel together. A batch this long costs little to send and is little to lose.
BATCH_S = 0.25
# A short notebook mostly waits for its kernel: so many run beside each other in one worker.
_KERNELS = 2
_SHORT_NOTEBOOK_S = 2.0
# How often the caller hears that nothing has come.
_TICK_S = 0.5


@dataclass(frozen=True)
class Cell:
    """One point that is to be computed.

    Attributes:
        key: What its result is known by, see `tasks.key`.
        values: Every parameter, checked.
    """

    key: str
    values: dict[str, Any]


class FarmError(RuntimeError):
    """A farm that cannot work; the message says why."""


def compute(
    task: tasks.Task, cells: Sequence[Cell], folder: Path, client: Any
) -> Iterator[list[Record]]:
    """Compute cells on a client's workers; yield records as the ledger takes them in.

    Every half second without a record yields an empty list. A worker that dies is made good by
    another; a cell that several workers die of is recorded as failed. Leaving the iteration early
    cancels what has not begun.

    Args:
        task: What is computed.
        cells: Where, all different.
        folder: A folder that the workers see; takes ledger and results.
        client: A Dask client.

    Raises:
        FarmError: The scheduler is gone.
    """
    farm = _Farm(task, cells, folder, client)
    (folder / CELLS).mkdir(exist_ok=True)
    with ledger.Ledger(folder) as book:
        try:
            while farm.fill():
                lost = farm.finished()
                yield farm.count(book.take_in()) + _written(book, lost)
        finally:
            farm.cancel()
            book.take_in()


class _Farm:
    """What is with the workers, and what waits."""

    def __init__(self, task: tasks.Task, cells: Sequence[Cell], folder: Path, client: Any) -> None:
        self._task, self._folder, self._client = task, folder, client
        self._code = (task.sha256, provenance.source_sha256())
        self._waiting = deque(cells)
        self._alone: deque[Cell] = deque()  # cells of a batch that a worker died of
        self._out: dict[Any, list[Cell]] = {}
        self._cell_s: float | None = None

    def fill(self) -> bool:
        """Keep every worker busy and one batch ahead; return whether anything is out."""
        n_slots = max(1, sum(self._client.nthreads().values()))
        while (self._waiting or self._alone) and len(self._out) < 2 * n_slots:
            batch = self._next_batch(n_slots)
            payload = [(cell.key, cell.values) for cell in batch]
            arguments = (self._task.name, self._code, payload, str(self._folder))
            self._out[self._client.submit(compute_batch, *arguments, pure=False)] = batch
        return bool(self._out)

    def finished(self) -> list[Record]:
        """Wait for a batch; return records of cells that cannot be computed."""
        from distributed import wait

        try:
            waited: Any = wait(list(self._out), timeout=_TICK_S, return_when="FIRST_COMPLETED")
            done = waited.done
        except TimeoutError:
            done = set()
        lost = [record for future in done for record in self._settle(future, self._out.pop(future))]
        if self._client.status not in ("running", "connecting"):
            raise FarmError("the Dask scheduler is gone; start again, and what is complete is kept")
        return lost

    def count(self, records: list[Record]) -> list[Record]:
        """Learn from records how long a cell takes."""
        if records:
            spent_s = sum(record["seconds"] for record in records)
            self._cell_s = max(spent_s / len(records), 1e-5)
        return records

    def cancel(self) -> None:
        """Give up what is out."""
        if self._out and self._client.status == "running":
            self._client.cancel(list(self._out))

    def _next_batch(self, n_slots: int) -> list[Cell]:
        if self._alone:
            return [self._alone.popleft()]
        fair = len(self._waiting) // (2 * n_slots)  # towards the end shorter, to end together
        n = max(1, min(self._most(), max(fair, self._most() // 8)))
        return [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]

    def _most(self) -> int:
        """Return how many cells may travel together."""
        if self._cell_s is None:
            return 1
        if isinstance(self._task, tasks.NotebookTask):
            return 2 * _KERNELS if self._cell_s < _SHORT_NOTEBOOK_S else 1
        return int(BATCH_S / self._cell_s)

    def _settle(self, future: Any, batch: list[Cell]) -> list[Record]:
        from distributed import KilledWorker

        if future.status == "cancelled":
            self._alone.extend(batch)
            return []
        error = future.exception()
        if error is None:
            return []
        if isinstance(error, KilledWorker):
            if len(batch) > 1:  # find out which cell it is
                self._alone.extend(batch)
                return []
            error = FarmError("several workers died while computing this: out of memory, or crashed?")
        return [_failure(cell.key, error, time.time(), 0.0) for cell in batch]


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
    if multiprocessing.parent_process():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of workers would overwrite each other
    task = _task(name)
    if (task.sha256, _source_sha256()) != code:
        raise FarmError(f"{platform.node()} runs other code than was asked for: restart its workers")
    with ThreadPoolExecutor(_KERNELS if isinstance(task, tasks.NotebookTask) else 1) as threads:
        records = threads.map(lambda cell: _record(task, cell[0], cell[1], place / CELLS), cells)
    ledger.leave(place, list(records))


def _record(task: tasks.Task, key: str, values: dict[str, Any], cells: Path) -> Record:
    started, clock = time.time(), time.perf_counter()
    try:
        result = _stored(task, task.compute(values, cells), cells / f"{key}.nc")
    except (Exception, SystemExit) as error:  # whatever a cell does, the others go on
        return _failure(key, error, started, time.perf_counter() - clock)
    return _row(key, COMPLETE, started, time.perf_counter() - clock, result=result)


def _stored(task: tasks.Task, result: Any, path: Path) -> dict[str, Any]:
    """Return what the ledger keeps of a result; a dataset is written to `path`."""
    xarray = sys.modules.get("xarray")
    if not (xarray and isinstance(result, xarray.Dataset)):
        return tasks.plain_result(task, result)
    from physics_twins import datasets

    datasets.save(result, path)
    return {"file": path.name, "sha256": provenance.file_sha256(path), "bytes": path.stat().st_size}


def _failure(key: str, error: BaseException, started: float, seconds: float) -> Record:
    words = " ".join(str(error).split())
    trace = "".join(traceback.format_exception(error))
    return _row(key, FAILED, started, seconds, error=f"{type(error).__name__}: {words}", trace=trace)


def _row(
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


def _written(book: ledger.Ledger, records: list[Record]) -> list[Record]:
    book.add(records)
    return records


@functools.cache
def _task(name: str) -> tasks.Task:
    return tasks.find(name)


@functools.cache
def _source_sha256() -> str:
    """Return the hash of the library as it was when this process first asked."""
    return provenance.source_sha256()
