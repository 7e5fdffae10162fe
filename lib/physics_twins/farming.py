"""Cells of a sweep or study, computed on the workers of a Dask client, a batch at a time."""

import functools
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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
# A network file system may show a worker's file to other machines only after a minute.
_LATE_S = 120.0


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
    task: tasks.Task, cells: Iterable[Cell], folder: Path, client: Any
) -> Iterator[list[Record]]:
    """Compute cells on a client's workers; yield records as the ledger takes them in.

    Every half second without a record yields an empty list. Leaving the iteration early cancels what
    has not begun.

    Args:
        task: What is computed.
        cells: Where, all different.
        folder: A folder that the workers see; takes ledger and results.
        client: A Dask client.

    Raises:
        FarmError: The scheduler is gone.
    """
    with Farm(task, folder, client) as farm:
        farm.add(cells)
        while farm.is_busy:
            yield farm.step()


class Farm:
    """Cells that a client's workers compute; more may be added while it runs.

    Use it in a `with` block, whose end cancels what has not begun. A worker that dies is made good by
    another; a cell that several workers die of is recorded as failed.
    """

    def __init__(self, task: tasks.Task, folder: Path, client: Any) -> None:
        self._task, self._folder, self._client = task, folder, client
        self._code = (task.sha256, provenance.source_sha256())
        self._waiting: deque[Cell] = deque()
        self._alone: deque[Cell] = deque()  # cells of a batch that a worker died of
        self._out: dict[Any, list[Cell]] = {}
        self._came: set[str] = set()  # keys of all records so far
        self._late: dict[str, float] = {}  # until when the record of a computed cell is waited for
        self._cell_s: float | None = None

    def __enter__(self) -> Self:
        (self._folder / CELLS).mkdir(exist_ok=True)
        self._ledger = ledger.Ledger(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        with self._ledger:
            if self._out and self._client.status == "running":
                self._client.cancel(list(self._out))
            self._ledger.take_in()

    @property
    def n_slots(self) -> int:
        """How many cells can be computed at the same time, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    @property
    def is_busy(self) -> bool:
        """Whether a cell is not finished."""
        return bool(self._waiting or self._alone or self._out or self._late)

    def add(self, cells: Iterable[Cell]) -> None:
        """Take cells that are to be computed."""
        self._waiting.extend(cells)

    def step(self) -> list[Record]:
        """Send cells, wait for results up to half a second, return the records that came.

        Raises:
            FarmError: The scheduler is gone.
        """
        self._fill()
        lost = self._finished()
        records = self._ledger.take_in()
        if records:
            spent_s = sum(record["seconds"] for record in records)
            self._cell_s = max(spent_s / len(records), 1e-5)
        lost += self._never_seen({record["key"] for record in records})
        self._ledger.add(lost)
        return records + lost

    def _fill(self) -> None:
        """Keep every worker busy and one batch ahead."""
        n_slots = self.n_slots
        while (self._waiting or self._alone) and len(self._out) < 2 * n_slots:
            batch = self._next_batch(n_slots)
            payload = [(cell.key, cell.values) for cell in batch]
            arguments = (self._task.name, self._code, payload, str(self._folder))
            self._out[self._client.submit(compute_batch, *arguments, pure=False)] = batch

    def _finished(self) -> list[Record]:
        """Wait for a batch; return records of cells that cannot be computed."""
        from distributed import wait

        done: set[Any] = set()
        try:
            if not self._out:
                time.sleep(_TICK_S)
            else:
                out = list(self._out)
                done = wait(out, timeout=_TICK_S, return_when="FIRST_COMPLETED").done  # pyright: ignore
        except TimeoutError:
            pass
        lost = [record for future in done for record in self._settle(future, self._out.pop(future))]
        if self._client.status not in ("running", "connecting"):
            raise FarmError("the Dask scheduler is gone; start again, and what is complete is kept")
        return lost

    def _never_seen(self, came: set[str]) -> list[Record]:
        """Return failures of cells that were computed, but whose records did not appear in time."""
        self._came |= came
        if not self._late:
            return []
        now = time.monotonic()
        lost = [key for key, until in self._late.items() if key not in came and until < now]
        self._late = {key: t for key, t in self._late.items() if key not in came and t >= now}
        error = FarmError(f"its record never appeared in {self._folder}: do all machines share it?")
        return [_failure(key, error, time.time(), 0.0) for key in lost]

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
            self._late |= {c.key: time.monotonic() + _LATE_S for c in batch if c.key not in self._came}
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


@functools.cache
def _task(name: str) -> tasks.Task:
    return tasks.find(name)


@functools.cache
def _source_sha256() -> str:
    """Return the hash of the library as it was when this process first asked."""
    return provenance.source_sha256()
