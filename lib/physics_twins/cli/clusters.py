"""The command `twins cluster`: what there is to compute on, and whether it works."""

import os
import platform
import time
from typing import Annotated

import typer

from physics_twins import clusters
from physics_twins.cli.texts import aligned


def cluster(
    where: Annotated[
        str | None, typer.Argument(help="local, slurm, slurm-gpu, ... or an address.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print a job's script; submit nothing.")] = False,
    wait: Annotated[float, typer.Option(help="Wait for a worker at most so many seconds.")] = 300.0,
) -> None:
    """Try a cluster with one small task, or list what there is; Ctrl-C ends the job."""
    if where is None:
        print(aligned([*clusters.places().data.itertuples(name=None)]))
        print("try one: twins cluster NAME")
    elif show:
        print(clusters.job_script(where, example=True))
    else:
        clusters.check(where)
        _try(where, wait)


def _try(where: str, wait_s: float) -> None:
    begun = time.monotonic()
    is_batch = clusters.is_batch(where)
    with clusters.connect(where, jobs=1 if is_batch else None) as client:
        if is_batch:
            clusters.wait_for_worker(client.cluster, timeout_s=wait_s)
        about = client.submit(_about, pure=False).result(timeout=max(wait_s, 1.0))
        print(f"{where}: after {time.monotonic() - begun:.1f} s a worker answers from {about}")
        print(f"dashboard: {client.dashboard_link}")


def _about() -> str:
    """Return what a worker has, when asked on it."""
    from distributed import get_worker

    worker = get_worker()
    memory = worker.memory_manager.memory_limit or 0
    text = f"{platform.node()}: {worker.state.nthreads} threads, {memory / 1e9:.1f} GB"
    if not worker.state.available_resources.get("GPU"):
        return text
    return f"{text}, a GPU (CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')})"
