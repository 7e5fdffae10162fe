"""Where work can run, and what runs there now, in words."""

import pandas as pd
from pandas.io.formats.style import Styler

from physics_twins import clusters, runs
from physics_twins.sweeps.sweep import Sweep

MOST_NAMED = 3


def places() -> Styler:
    """Return each value of `on`, what it is and what it does now; starts and submits nothing."""
    found = clusters.batch_systems()
    rows = [("local", clusters.this_machine(), _here())]
    rows += [(system, *told) for system, told in found.items()]
    if absent := ", ".join(system for system in clusters.BATCH_SYSTEMS if system not in found):
        rows.append((absent, "commands not found on this machine", "nothing"))
    address = "a Dask scheduler that runs already, on any machine that can be reached"
    rows.append(("tcp://host:port", address, "asked when a run names it"))
    table = pd.DataFrame(rows, columns=["on", "what it is", "now"]).set_index("on")
    return table.style.set_table_styles([{"selector": "th, td", "props": "text-align: left"}])


def _here() -> str:
    """Return which runs and sweeps of this project are in progress."""
    running = [run.provenance.get("notebook", str(run)) for run in runs.find(status="running")]
    running += [f"sweep {sweep}" for sweep in Sweep.find() if sweep.is_driven]
    if not running:
        return "nothing; processes start with a run and end with it"
    more = f" and {len(running) - MOST_NAMED} more" if len(running) > MOST_NAMED else ""
    return f"{len(running)} in progress: {', '.join(running[:MOST_NAMED])}{more}"
