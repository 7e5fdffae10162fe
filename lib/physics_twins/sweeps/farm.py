"""Cells of a sweep or study on the workers of a Dask client, a batch at a time.

A batch of cells leaves one file of records, written whole by its worker, which nobody changes
afterwards; the worker returns them too. The folder is the state: whoever dies, nothing is lost, and a
cell that was computed twice does no harm: of its records the complete one counts, else the last.
"""

import functools
import logging
import multiprocessing
import os
import platform
import secrets
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from physics_twins.clusters import ClusterError
from physics_twins.data import noted, read_json, write_json

if TYPE_CHECKING:
    from physics_twins.sweeps.tasks import Task

COMPLETE, FAILED = "complete", "failed"
RECORDS, CELLS = "records", "cells"  # folders: of the records, and of results that are files or runs
# Short cells travel together. A batch this long costs little to send and is little to lose.
BATCH_S = 0.25
# How often the caller hears that nothing has come, and how often at most the folder is looked at.
_TICK_S, _LOOK_S = 0.5, 0.1
# A result whose worker has just died is computed again elsewhere; it is asked for later.
_FETCH_S = 10.0
# So much later than its cells a worker may learn that it is to end.
_MOMENT_S = 0.05
_FACTS = {"key", "status", "result", "error", "trace", "host", "started", "finished", "seconds"}

Record = dict[str, Any]


class FarmError(ClusterError):
    """A farm that cannot work; the message says why."""


class CellInterruptedError(FarmError):
    """A cell that was broken off with its worker: not failed, but to be computed elsewhere."""


class Records:
    """The records in a folder of a sweep or study.

    Attributes:
        by_key: Of each cell the record that counts, with `attempts`: how many records it has.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._batches: dict[str, Sequence[Record]] = {}
        self.by_key: dict[str, Record] = {}
        self.refresh()

    def refresh(self) -> list[Record]:
        """Read the files that are new; return what they hold."""
        names = {path.stem for path in (self._folder / RECORDS).glob("[!.]*.json")}
        new = sorted(names - self._batches.keys())
        return [record for batch in new for record in self.take(batch, left(self._folder, batch))]

    def take(self, batch: str, records: Sequence[Record]) -> Sequence[Record]:
        """Count a batch's records; return them, or nothing where they have been counted before."""
        if batch in self._batches:
            return []
        self._batches[batch] = records
        for record in records:
            known = self.by_key.get(record["key"], {"attempts": 0})
            counts = known if known["attempts"] and _rank(known) >= _rank(record) else record
            self.by_key[record["key"]] = counts | {"attempts": known["attempts"] + 1}
        return records

    def forget(self, keys: Collection[str]) -> None:
        """Remove the records of cells whose results turned out to be missing."""
        for batch, records in self._batches.items():
            kept = [record for record in records if record["key"] not in keys]
            if len(kept) < len(records):
                self._batches[batch] = kept
                leave(self._folder, batch, kept)
        self.by_key = {key: record for key, record in self.by_key.items() if key not in keys}


def leave(folder: Path, batch: str, records: Sequence[Record]) -> None:
    """Write a batch's records in one step into the folder of a sweep or study."""
    path = folder / RECORDS / f"{batch}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"records": list(records)})


def left(folder: Path, batch: str) -> list[Record]:
    """Return the records that a batch has left, none where it has not; a damaged file is set aside."""
    path = folder / RECORDS / f"{batch}.json"
    try:
        records = read_json(path)["records"]
        if all(record.keys() >= _FACTS for record in records):
            return records
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    logging.getLogger(__name__).warning("%s is damaged: set aside, its cells are computed again", path)
    path.replace(path.with_suffix(".damaged"))
    return []


def _rank(record: Record) -> tuple[bool, float]:
    return record["status"] == COMPLETE, record["finished"]


# On a worker.


def compute_batch(
    find: "Callable[[str], Task]",
    name: str,
    code: str,
    batch: str,
    cells: Sequence[tuple[str, dict[str, Any]]],
    folder: str,
) -> list[Record]:
    """Compute cells one after the other, leave their records in a file and return them.

    Args:
        find: Returns the task of a name.
        name: What is computed.
        code: Hash of the task's code, as the driver has it.
        batch: What the records' file is called.
        cells: Key and checked parameters of each.
        folder: The folder that takes records and results.

    Raises:
        FarmError: The folder is not there, or this worker runs other code.
    """
    place, here = Path(folder), platform.node()
    if not (place / CELLS).is_dir():
        raise FarmError(f"{here} does not see {folder}: use a folder that all machines share")
    if done := left(place, batch):
        return done  # by a worker that died right after
    if multiprocessing.parent_process():  # what workers print would run through the driver's bar
        os.environ.setdefault("TQDM_DISABLE", "1")
        for library in ("papermill", "asyncio", "distributed.worker.state_machine"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
    task = _known(find, name) if ":" in name else find(name)
    if task.code != code:
        raise FarmError(f"{here} runs other code than was asked for: restart its workers")
    records = [_computed(task, place / CELLS, key, values) for key, values in cells]
    if any(record["status"] == FAILED for record in records):
        time.sleep(_MOMENT_S)
        _check_goes_on()
    leave(place, batch, records)
    return records


@functools.cache
def _known(find: "Callable[[str], Task]", name: str) -> "Task":
    """Return the task of a function as this process runs it: its module is read only once."""
    return find(name)


def _computed(task: "Task", cells: Path, key: str, values: dict[str, Any]) -> Record:
    """Compute one cell; return its record, whatever it does."""
    started, clock = time.time(), time.perf_counter()
    try:
        with noted() as read:
            result = task.compute(values, cells)
    except KeyboardInterrupt as error:
        raise CellInterruptedError(f"{platform.node()} ended meanwhile") from error
    except BaseException as error:
        _check_goes_on()
        return failure(key, error, started, time.perf_counter() - clock)
    seconds = time.perf_counter() - clock
    facts = {"sources": read} if read else {}
    return _record(key, COMPLETE, started, seconds, result=result, **facts)


def failure(key: str, error: BaseException, started: float, seconds: float) -> Record:
    """Return the record of a cell that failed."""
    described = traceback.TracebackException.from_exception(error)  # also of an error without words
    words = f"{type(error).__name__}: {' '.join(str(described).split())}"
    # The name of a file, and so an error, may have parts that are no characters.
    told = {"error": words, "trace": "".join(described.format())}
    plain = {name: text.encode(errors="backslashreplace").decode() for name, text in told.items()}
    return _record(key, FAILED, started, seconds, **plain)


def _record(key: str, status: str, started: float, seconds: float, **facts: Any) -> Record:
    times = {"started": started, "finished": time.time(), "seconds": seconds, "host": platform.node()}
    return {"key": key, "status": status, "result": {}, "error": "", "trace": ""} | times | facts


def _check_goes_on() -> None:
    """Refuse where this worker has been told to end: what its cells raise then is not theirs."""
    if _is_ending():
        raise CellInterruptedError(f"{platform.node()} ended meanwhile")


def _is_ending() -> bool:
    from distributed import get_worker

    try:
        return sys.is_finalizing() or get_worker().status.name not in ("running", "paused")
    except ValueError:  # this is no worker
        return False


# Where the sweep is driven.


# Every parameter of what is to be computed, checked, by what its result is known by, see `Task.key`.
Cells = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class _Batch:
    keys: list[str]
    is_trial: bool = False
    name: str = field(default_factory=lambda: secrets.token_hex(8))


class Farm:
    """Cells that a client's workers compute; more may be added while it runs.

    Use it in a `with` block, whose end cancels what has not begun. A worker that dies is made good by
    another; a cell that several workers die of is recorded as failed.

    Attributes:
        n_failed: How many cells have failed.

    Args:
        task: What is computed.
        find: Returns the task of a name, on workers too.
        folder: A folder that the workers see; takes records and results.
        client: A Dask client.
    """

    def __init__(self, task: "Task", find: "Callable[[str], Task]", folder: Path, client: Any) -> None:
        self._folder, self._client = folder, client
        self._compute = functools.partial(compute_batch, find, task.name, task.code)
        self._missing: dict[str, dict[str, Any]] = {}  # cells without a record
        self._waiting: deque[str] = deque()
        self._suspects: deque[str] = deque()  # workers died while they had these
        self._out: dict[Any, _Batch] = {}
        self._cell_s = BATCH_S
        self.n_failed = 0
        self._looked_s = time.monotonic()

    def __enter__(self) -> Self:
        (self._folder / CELLS).mkdir(exist_ok=True)
        self._records = Records(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._out and self._client.status == "running":
            self._client.cancel(list(self._out))

    @property
    def threads(self) -> Mapping[str, int]:
        """How many threads each worker has now, by its address."""
        try:
            return self._client.nthreads()
        except OSError:
            raise _gone() from None

    @property
    def n_slots(self) -> int:
        """How many cells can be computed at the same time, at least one."""
        return max(1, sum(self.threads.values()))

    @property
    def is_busy(self) -> bool:
        """Whether a cell is not finished."""
        return bool(self._missing)

    def add(self, cells: Cells) -> None:
        """Take cells that are to be computed."""
        self._waiting.extend(cells)
        self._missing.update(cells)

    def step(self) -> list[Record]:
        """Send cells, wait for results up to half a second, return the first record of each that came.

        Raises:
            FarmError: The scheduler is gone, or a worker runs other code or cannot write its results.
        """
        self._fill()
        came = [record for future in self._done() for record in self._settled(future)]
        if time.monotonic() > self._looked_s + _LOOK_S:
            self._looked_s = time.monotonic()
            came += self._records.refresh()  # of workers whose driver is gone
        new = {record["key"]: record for record in reversed(came) if record["key"] in self._missing}
        for key in new:
            del self._missing[key]
        self.n_failed += sum(record["status"] == FAILED for record in new.values())
        if new:
            self._cell_s = max(sum(r["seconds"] for r in new.values()) / len(new), 1e-5)
        known = [f for f, b in self._out.items() if self._missing.keys().isdisjoint(b.keys)]
        for future in known:
            del self._out[future]
        if known:
            self._client.cancel(known)
        return list(new.values())

    def _fill(self) -> None:
        """Keep every worker busy and one batch ahead; what workers died of is tried alone."""
        n_slots, most = self.n_slots, int(BATCH_S / self._cell_s)
        while self._suspects or any(batch.is_trial for batch in self._out.values()):
            if self._out:
                return
            if keys := self._taken(self._suspects, 1):
                self._send(_Batch(keys, is_trial=True))
        while len(self._out) < 2 * n_slots:
            fair = len(self._waiting) // (2 * n_slots)  # towards the end shorter, to end together
            keys = self._taken(self._waiting, max(1, min(most, max(fair, most // 8))))
            if not keys:
                return
            self._send(_Batch(keys))

    def _taken(self, keys: deque[str], n: int) -> list[str]:
        """Take the next `n` cells that have no record yet."""
        taken: list[str] = []
        while keys and len(taken) < n:
            if (key := keys.popleft()) in self._missing:
                taken.append(key)
        return taken

    def _send(self, batch: _Batch) -> None:
        payload = [(key, self._missing[key]) for key in batch.keys]
        arguments = (batch.name, payload, str(self._folder))
        self._out[self._client.submit(self._compute, *arguments, pure=False)] = batch

    def _done(self) -> list[Any]:
        """Wait for a batch; return those that ended."""
        from distributed import CancelledError, wait

        if not self._out:
            time.sleep(_TICK_S)
        else:
            with suppress(TimeoutError, CancelledError):
                wait(list(self._out), timeout=_TICK_S, return_when="FIRST_COMPLETED")
        done = [future for future in self._out if future.status != "pending"]
        if self._client.status not in ("running", "connecting"):
            raise _gone()
        return done

    def _settled(self, future: Any) -> Sequence[Record]:
        """Return the records of a batch that ended; see that those without will be computed."""
        from distributed import CancelledError, KilledWorker

        batch = self._out.pop(future)
        try:
            return self._records.take(batch.name, future.result(timeout=_FETCH_S))
        except TimeoutError:
            self._out[future] = batch
            return []
        except (CancelledError, CellInterruptedError):
            self._waiting.extendleft(reversed(batch.keys))
            return []
        except KilledWorker:
            return self._mourned(batch)
        except FarmError as error:
            told = str(error)
        except Exception as error:  # what a cell raises is in its record
            told = f"{type(error).__name__}: {error}"
        raise FarmError(f"a worker cannot compute: {told}")

    def _mourned(self, batch: _Batch) -> Sequence[Record]:
        """Try cells alone that workers died of together; return the failure of one that was alone."""
        if not batch.is_trial:
            self._suspects.extend(batch.keys)
            return []
        death = FarmError("several workers died while computing this: out of memory, or crashed?")
        failures = [failure(key, death, time.time(), 0.0) for key in batch.keys]
        leave(self._folder, batch.name, failures)
        return self._records.take(batch.name, failures)


def _gone() -> FarmError:
    return FarmError("the Dask scheduler is gone; start again, and what is complete is kept")
