"""Cells of a sweep or study on the workers of a Dask client, a batch at a time."""

import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from physics_twins.runs import source_sha256
from physics_twins.sweeps import records, tasks
from physics_twins.sweeps.records import Record, Records
from physics_twins.sweeps.worker import (
    AT_ONCE,
    CELLS,
    CellInterruptedError,
    FarmError,
    compute_batch,
    failure,
)

# Short cells travel together. A batch this long costs little to send and is little to lose.
BATCH_S = 0.25
_SHORT_NOTEBOOK_S = 2.0
# How often the caller hears that nothing has come, and how often at most the folder is looked at.
_TICK_S, _LOOK_S = 0.5, 0.1
# A result whose worker has just died is computed again elsewhere; it is asked for later.
_FETCH_S = 10.0
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


@dataclass(frozen=True)
class _Batch:
    cells: list[Cell]
    name: str = field(default_factory=lambda: secrets.token_hex(8))


def compute(
    task: tasks.Task, cells: Iterable[Cell], folder: Path, client: Any
) -> Iterator[list[Record]]:
    """Compute cells on a client's workers; yield their records as they come.

    Every half second without a record yields an empty list. Leaving the iteration early cancels what
    has not begun.

    Args:
        task: What is computed.
        cells: Where, all different.
        folder: A folder that the workers see; takes records and results.
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
        self._code = (task.sha256, source_sha256(task.twins))
        self._waiting: deque[Cell] = deque()
        self._missing: set[str] = set()  # keys of cells without a record
        self._suspects: deque[Cell] = deque()  # workers died while they had these
        self._on_trial: Cell | None = None
        self._out: dict[Any, _Batch] = {}
        self._cell_s: float | None = None
        self._looked_s = time.monotonic()

    def __enter__(self) -> Self:
        (self._folder / CELLS).mkdir(exist_ok=True)
        self._records = Records(self._folder)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._out and self._client.status == "running":
            self._client.cancel(list(self._out))

    @property
    def n_slots(self) -> int:
        """How many cells can be computed at the same time, at least one."""
        return max(1, sum(workers(self._client).values()))

    @property
    def is_busy(self) -> bool:
        """Whether a cell is not finished."""
        return bool(self._missing)

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
        came = [record for future in self._done() for record in self._settled(future)]
        if time.monotonic() > self._looked_s + _LOOK_S:
            self._looked_s = time.monotonic()
            came += self._records.refresh()  # of workers whose driver is gone
        found = self._first(came)
        self._cancel_known()
        return found

    def _fill(self) -> None:
        """Keep every worker busy and one batch ahead."""
        n_slots = self.n_slots
        while len(self._out) < (1 if self._suspects or self._on_trial else 2 * n_slots):
            cells = self._next_suspect() or self._next_cells(n_slots)
            if not cells:
                break
            batch = _Batch(cells)
            payload = [(cell.key, cell.values) for cell in cells]
            arguments = (self._task.name, self._code, batch.name, payload, str(self._folder))
            self._out[self._client.submit(compute_batch, *arguments, pure=False)] = batch

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
            raise FarmError(_GONE)
        return done

    def _settled(self, future: Any) -> list[Record]:
        """Return the records of a batch that ended; see that those without will be computed."""
        from distributed import CancelledError, KilledWorker

        batch = self._out.pop(future)
        try:
            return self._records.take(batch.name, future.result(timeout=_FETCH_S))
        except TimeoutError:
            self._out[future] = batch
            return []
        except (CancelledError, CellInterruptedError):
            self._waiting.extendleft(reversed(batch.cells))
            return []
        except KilledWorker:
            return self._mourned(batch)
        except FarmError as error:
            told = str(error)
        except Exception as error:  # what a cell raises is in its record
            told = f"{type(error).__name__}: {error}"
        finally:
            if future not in self._out:
                self._on_trial = None
        raise FarmError(f"a worker cannot compute: {told}")

    def _mourned(self, batch: _Batch) -> list[Record]:
        """Try cells alone that workers died of together; return the failure of one that was alone."""
        if batch.cells != [self._on_trial]:
            self._suspects.extend(batch.cells)
            return []
        death = FarmError("several workers died while computing this: out of memory, or crashed?")
        failures = [failure(cell.key, death, time.time(), 0.0) for cell in batch.cells]
        records.leave(self._folder, batch.name, failures)
        return self._records.take(batch.name, failures)

    def _first(self, came: list[Record]) -> list[Record]:
        """Return the first record of each cell, and learn from them how long a cell takes."""
        new = {record["key"]: record for record in reversed(came) if record["key"] in self._missing}
        self._missing -= set(new)
        if new:
            spent_s = sum(record["seconds"] for record in new.values())
            self._cell_s = max(spent_s / len(new), 1e-5)
        return list(new.values())

    def _cancel_known(self) -> None:
        """Take back batches whose cells all have records: of a worker whose driver is gone."""
        known = [f for f, b in self._out.items() if self._missing.isdisjoint(c.key for c in b.cells)]
        for future in known:
            del self._out[future]
        if known:
            self._client.cancel(known)

    def _next_suspect(self) -> list[Cell]:
        """Return a cell that is now computed with nothing beside it that could be the culprit."""
        suspects = self._taken(self._suspects, 1)
        self._on_trial = suspects[0] if suspects else None
        return suspects

    def _next_cells(self, n_slots: int) -> list[Cell]:
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
            return 2 * AT_ONCE if self._cell_s < _SHORT_NOTEBOOK_S else 1
        return int(BATCH_S / self._cell_s)
