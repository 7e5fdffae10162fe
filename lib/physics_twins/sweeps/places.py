"""Where work can run, and what runs there now, in words."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from physics_twins import clusters, runs, sweeps
from physics_twins.sweeps import folders

MOST_NAMED = 3
ANSWER_S = 5.0  # a batch system that takes longer is said not to answer


@dataclass(frozen=True)
class Place:
    """One value of `on`.

    Attributes:
        on: The word itself.
        has: What it is made of, or what is missing and what to do.
        now: What it does at the moment, in words.
    """

    on: str
    has: str
    now: str


@dataclass(frozen=True)
class Places:
    """All places; prints as a table, in a notebook too."""

    rows: Sequence[Place]

    def __str__(self) -> str:
        """One line per place."""
        return "\n".join(f"{row.on:<10} {row.has}; now: {row.now}" for row in self.rows)

    def _repr_html_(self) -> str:
        cell = "<{0} style='text-align:left'>{1}</{0}>".format
        rows = ["".join(cell("th", title) for title in ("on", "what it is", "now"))]
        for row in self.rows:
            texts = map(html.escape, (row.on, row.has, row.now))
            rows.append("".join(cell("td", text) for text in texts))
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def look() -> Places:
    """Look at this machine and at every batch system; starts and submits nothing."""
    found = {system: clusters.missing_commands(system) for system in clusters.BATCH_SYSTEMS}
    there = [_batch_system(system) for system, missing in found.items() if not missing]
    absent = [system for system, missing in found.items() if missing]
    rows = [Place("local", this_machine(), _here()), *there]
    if absent:
        rows.append(Place(", ".join(absent), "commands not found on this machine", "nothing"))
    address = "a Dask scheduler that runs already, on any machine that can be reached"
    rows.append(Place("tcp://host:port", address, "asked when a run names it"))
    return Places(rows)


def this_machine() -> str:
    """Return how many processes work runs in here, with how much, in words."""
    n, n_threads, memory = clusters.sizes()
    devices = clusters.gpus()
    gpus = f"GPU {', '.join(devices)}" if devices else "no GPU"
    threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
    return f"{n} processes of {threads} and {memory / 1e9:.1f} GB; {gpus}"


def _here() -> str:
    """Return which runs and sweeps of this project are in progress."""
    running = [run.provenance.get("notebook", str(run)) for run in runs.find(status="running")]
    running += [f"sweep {sweep}" for sweep in sweeps.find() if folders.is_driven(sweep.folder)]
    if not running:
        return "nothing; processes start with a run and end with it"
    more = len(running) - MOST_NAMED
    named = ", ".join(running[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{len(running)} in progress: {named}"


def _batch_system(system: str) -> Place:
    own = [name for name in clusters.sections() if name.partition("-")[0] == system]
    described = f"jobs described as {', '.join(own)}"
    missing = f"jobs not described yet: write {clusters.DESCRIPTION}, see the book's page on clusters"
    listing = clusters.listing(system, ANSWER_S)
    if listing is None:
        return Place(system, described if own else missing, "does not answer")
    n = sum(1 for line in listing.splitlines() if line.strip()[:1].isdigit())
    queue = f"{n} job{'s' * (n != 1)} of yours in the queue" if n else "no job of yours in the queue"
    return Place(system, described if own else missing, queue)
