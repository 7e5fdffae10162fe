"""Cells of a sweep or study, computed on the workers of a Dask client, a batch at a time."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from physics_twins.runs import provenance
from physics_twins.sweeps import ledger, tasks
from physics_twins.sweeps.cell_batches import CELLS, KERNELS, FarmError, compute_batch, failure
from physics_twins.sweeps.ledger import Record

# Short cells travel together. A batch this long costs little to send and is little to lose.
BATCH_S = 0.25
_SHORT_NOTEBOOK_S = 2.0
# How often the caller hears that nothing has come.
_TICK_S = 0.5
# By then the scheduler has surely heard that a batch is done with.
_FORGOTTEN_S = 30.0
# A network file system may show a worker's file to other machines only after a minute.
_LATE_S = 120.0
_GONE = "the Dask scheduler is gone; start again, and what is complete is kept"


@dataclass(frozen=True)
class Cell:
    """One point that is to be computed.

    Attributes:
        key: What its result is known by, see `tasks.key`.
        values: Every parameter, checked.
    """

    key: str
    values: dict[str, Any]


def compute(
    task: tasks.Task, cells: Iterable[Cell], folder: Path, client: Any
) -> Iterator[list[Record]]:
    """Compute cells on a client's workers; yield the record of each as the ledger takes it in.

    Every half second without a record yields an empty list. Leaving the iteration early cancels what
    has not begun.

    Args:
        task: What is computed.
        cells: Where, all different.
        folder: A folder that the workers see; takes ledger and results.
        client: A Dask client.

    Raises:
        FarmError: The scheduler is gone, or a worker runs other code or cannot write its results.
    """
    with Farm(task, folder, client) as farm:
        farm.add(cells)
        while farm.is_busy:
            yield farm.step()


def workers(client: Any) -> dict[str, int]:
    """Return the number of threads of each worker by its address.

    Raises:
        FarmError: The scheduler is gone.
    """
    try:
        return client.nthreads()
    except OSError:
        raise FarmError(_GONE) from None


class Farm:
    """Cells that a client's workers compute; more may be added while it runs.

    Use it in a `with` block, whose end cancels what has not begun. A worker that dies is made good by
    another; a cell that several workers die of is recorded as failed.
    """

    def __init__(self, task: tasks.Task, folder: Path, client: Any) -> None:
        self._task, self._folder, self._client = task, folder, client
        self._code = (task.sha256, provenance.source_sha256(task.twins))
        self._waiting: deque[Cell] = deque()
        self._missing: set[str] = set()  # keys of cells without a record
        self._suspects: deque[Cell] = deque()  # workers died while they had these
        self._on_trial: Cell | None = None
        self._out: dict[Any, list[Cell]] = {}
        self._ended: deque[tuple[float, list[Cell]]] = deque()
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
        return max(1, sum(workers(self._client).values()))

    @property
    def is_busy(self) -> bool:
        """Whether a cell is not finished."""
        waiting = (cell.key for cell in (*self._waiting, *self._suspects))
        return bool(self._out or self._late) or any(key in self._missing for key in waiting)

    def add(self, cells: Iterable[Cell]) -> None:
        """Take cells that are to be computed."""
        new = list(cells)
        self._waiting.extend(new)
        self._missing.update(cell.key for cell in new)

    def step(self) -> list[Record]:
        """Send cells, wait for results up to half a second, return the first record of each that came.

        Raises:
            FarmError: The scheduler is gone, or a worker runs other code or cannot write its results.
        """
        self._fill()
        ended, lost = self._wait()
        came = self._ledger.take_in(ended=ended, busy=self._busy())
        found = self._count(came + lost)
        too_late = self._never_seen()
        self._ledger.add(lost + too_late)
        return found + self._count(too_late)

    def _fill(self) -> None:
        """Keep every worker busy and one batch ahead."""
        n_slots = self.n_slots
        while len(self._out) < (1 if self._suspects or self._on_trial else 2 * n_slots):
            if not (batch := self._next_suspect() or self._next_batch(n_slots)):
                break
            payload = [(cell.key, cell.values) for cell in batch]
            arguments = (self._task.name, self._code, payload, str(self._folder))
            self._out[self._client.submit(compute_batch, *arguments, pure=False)] = batch

    def _wait(self) -> tuple[list[list[str]], list[Record]]:
        """Wait for a batch; return the keys of those that ended, and records of what cannot be."""
        from distributed import CancelledError, wait

        if not self._out:
            time.sleep(_TICK_S)
        else:
            with suppress(TimeoutError, CancelledError):
                wait(list(self._out), timeout=_TICK_S, return_when="FIRST_COMPLETED")
        done = [future for future in self._out if future.status != "pending"]
        if self._client.status not in ("running", "connecting"):
            raise FarmError(_GONE)
        ended = [(future, self._out.pop(future)) for future in done]
        self._ended.extend((time.monotonic(), batch) for _, batch in ended)
        lost = [record for future, batch in ended for record in self._settle(future, batch)]
        return [[cell.key for cell in batch] for _, batch in ended], lost

    def _busy(self) -> set[str]:
        """Return the keys of all cells that are with the workers, or were a moment ago.

        A scheduler that does not know yet that a batch is not wanted any more sends it out again when
        the worker that computed it dies.
        """
        while self._ended and self._ended[0][0] < time.monotonic() - _FORGOTTEN_S:
            self._ended.popleft()
        batches = [*self._out.values(), *(batch for _, batch in self._ended)]
        return {cell.key for batch in batches for cell in batch}

    def _count(self, records: list[Record]) -> list[Record]:
        """Return the first record of each cell, and learn from them how long a cell takes.

        A worker of an earlier driver, who is gone, may leave one too: that cell is not sent out again.
        """
        new = {record["key"]: record for record in reversed(records) if record["key"] in self._missing}
        self._missing -= set(new)
        if new:
            spent_s = sum(record["seconds"] for record in new.values())
            self._cell_s = max(spent_s / len(new), 1e-5)
        return list(new.values())

    def _never_seen(self) -> list[Record]:
        """Return failures of cells that were computed, but whose records did not appear in time."""
        self._late = {key: until for key, until in self._late.items() if key in self._missing}
        gone = [key for key, until in self._late.items() if until < time.monotonic()]
        for key in gone:
            del self._late[key]
        error = FarmError(f"its record never appeared in {self._folder}: do all machines share it?")
        return [failure(key, error, time.time(), 0.0) for key in gone]

    def _next_suspect(self) -> list[Cell]:
        """Return a cell that is now computed with nothing beside it that could be the culprit."""
        suspects = self._taken(self._suspects, 1)
        self._on_trial = suspects[0] if suspects else None
        return suspects

    def _next_batch(self, n_slots: int) -> list[Cell]:
        fair = len(self._waiting) // (2 * n_slots)  # towards the end shorter, to end together
        return self._taken(self._waiting, max(1, min(self._most(), max(fair, self._most() // 8))))

    def _taken(self, cells: deque[Cell], n: int) -> list[Cell]:
        """Take the next `n` cells that have no record yet."""
        taken: list[Cell] = []
        while cells and len(taken) < n:
            if (cell := cells.popleft()).key in self._missing:
                taken.append(cell)
        return taken

    def _most(self) -> int:
        """Return how many cells may travel together."""
        if self._cell_s is None:
            return 1
        if isinstance(self._task, tasks.NotebookTask):
            return 2 * KERNELS if self._cell_s < _SHORT_NOTEBOOK_S else 1
        return int(BATCH_S / self._cell_s)

    def _settle(self, future: Any, batch: list[Cell]) -> list[Record]:
        """Return records of cells that cannot be computed; see that the others will be."""
        from distributed import KilledWorker

        on_trial, self._on_trial = self._on_trial, None
        if future.status in ("cancelled", "lost"):
            self._waiting.extendleft(reversed(batch))
            return []
        error = future.exception()
        if error is None:
            self._late |= {cell.key: time.monotonic() + _LATE_S for cell in batch}
            return []
        if not isinstance(error, KilledWorker):  # errors of cells are in their records
            told = str(error) if isinstance(error, FarmError) else f"{type(error).__name__}: {error}"
            raise FarmError(f"a worker cannot compute: {told}")
        if batch != [on_trial]:
            self._suspects.extend(batch)
            return []
        death = FarmError("several workers died while computing this: out of memory, or crashed?")
        return [failure(cell.key, death, time.time(), 0.0) for cell in batch]
