"""Where work can run, and what runs there now, in words."""

import pandas as pd
from pandas.io.formats.style import Styler

from physics_twins import clusters, runs
from physics_twins.sweeps.sweep import Sweep

MOST_NAMED = 3
ANSWER_S = 5.0  # a batch system that takes longer is said not to answer


def places() -> Styler:
    """Return each value of `on`, what it is and what it does now; starts and submits nothing."""
    missing = {system: clusters.missing_commands(system) for system in clusters.BATCH_SYSTEMS}
    absent = ", ".join(system for system in missing if missing[system])
    rows = [("local", this_machine(), _here())]
    rows += [(system, *_batch_system(system)) for system in missing if not missing[system]]
    if absent:
        rows.append((absent, "commands not found on this machine", "nothing"))
    address = "a Dask scheduler that runs already, on any machine that can be reached"
    rows.append(("tcp://host:port", address, "asked when a run names it"))
    table = pd.DataFrame(rows, columns=["on", "what it is", "now"]).set_index("on")
    return table.style.set_table_styles([{"selector": "th, td", "props": "text-align: left"}])


def this_machine() -> str:
    """Return how many processes work runs in here, with how much, in words."""
    n, n_threads, memory = clusters.sizes()
    devices = clusters.gpus()
    gpus = f"GPU {', '.join(devices)}" if devices else "no GPU"
    return f"{n} processes of {n_threads} thread(s) and {memory / 1e9:.1f} GB; {gpus}"


def _here() -> str:
    """Return which runs and sweeps of this project are in progress."""
    running = [run.provenance.get("notebook", str(run)) for run in runs.find(status="running")]
    running += [f"sweep {sweep}" for sweep in Sweep.find() if sweep.is_driven]
    if not running:
        return "nothing; processes start with a run and end with it"
    more = f" and {len(running) - MOST_NAMED} more" if len(running) > MOST_NAMED else ""
    return f"{len(running)} in progress: {', '.join(running[:MOST_NAMED])}{more}"


def _batch_system(system: str) -> tuple[str, str]:
    own = [name for name in clusters.sections() if name.partition("-")[0] == system]
    missing = f"jobs not described yet: write {clusters.DESCRIPTION}, see the book's page on clusters"
    described = f"jobs described as {', '.join(own)}" if own else missing
    listing = clusters.listing(system, ANSWER_S)
    if listing is None:
        return described, "does not answer"
    n = sum(1 for line in listing.splitlines() if line.strip()[:1].isdigit())
    return described, f"{n or 'no'} job{'s' * (n > 1)} of yours in the queue"
