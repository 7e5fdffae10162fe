"""The command `twins cluster`: what there is to compute on, and whether it works."""

import os
import platform
import subprocess
import sys
import time
from typing import Annotated, Any

import typer

from physics_twins import clusters


def cluster(
    where: Annotated[
        str | None, typer.Argument(help="local, slurm, slurm-gpu, ... or an address.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print a job's script; submit nothing.")] = False,
    wait: Annotated[float, typer.Option(help="Wait for a worker at most so many seconds.")] = 300.0,
) -> None:
    """Try a cluster with one small task, or list what there is; Ctrl-C ends the job."""
    if where is None:
        _list()
    elif show:
        print(clusters.job_script(where))
    else:
        _try(where, wait)


def _list() -> None:
    from physics_twins import clusters
    from physics_twins.data import aligned
    from physics_twins.sweeps import this_machine

    rows = [("local", this_machine())]
    described = clusters.sections()
    for system in clusters.BATCH_SYSTEMS:
        missing = clusters.missing_commands(system)
        commands = f"{', '.join(missing)} not found" if missing else "commands found"
        own = [name for name in described if name.partition("-")[0] == system]
        rows.append(
            (system, f"{commands}; {'described: ' + ', '.join(own) if own else 'not described'}")
        )
    print(aligned(rows))
    print(f"jobs are described in {clusters.DESCRIPTION}; try one: twins cluster NAME")


def _try(where: str, wait_s: float) -> None:
    is_batch = clusters.is_batch(where)
    begun = time.monotonic()
    with clusters.connect(where, jobs=1 if is_batch else None) as client:
        if is_batch:
            clusters.wait_for_worker(client.cluster, timeout_s=wait_s, tell=_tell)
        about = client.submit(_about, pure=False).result(timeout=max(wait_s, 1.0))
        print(f"{where}: after {time.monotonic() - begun:.1f} s a worker answers from {about}")
        print(f"dashboard: {client.dashboard_link}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _about() -> str:
    """Return what a worker has, when asked on it."""
    from distributed import get_worker

    worker: Any = get_worker()
    memory = worker.memory_manager.memory_limit or 0
    text = f"{platform.node()}: {worker.state.nthreads} threads, {memory / 1e9:.1f} GB"
    if not worker.state.available_resources.get("GPU"):
        return text
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout  # noqa: S607
    except OSError:
        listed = "nvidia-smi not found"
    return (
        f"{text}, a GPU (CUDA_VISIBLE_DEVICES {visible}; {' '.join(listed.split()) or 'none listed'})"
    )
