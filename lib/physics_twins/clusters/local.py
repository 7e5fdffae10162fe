"""Worker processes on this machine, as many as its cores and memory carry, and one for each GPU."""

import logging
import os
import subprocess
from typing import Any

MEMORY_PER_PROCESS_BYTES = 10**9  # Python, numba and torch take half of it before any data
_LOOPBACK = "127.0.0.1"


def this_machine() -> str:
    """Return how many processes work runs in here, with how much, in words."""
    n, n_threads, memory = sizes()
    devices = gpus()
    held = f"GPU {', '.join(devices)}" if devices else "no GPU"
    threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
    return f"{n} processes of {threads} and {memory / 1e9:.1f} GB; {held}"


def sizes(jobs: int | None = None) -> tuple[int, int, int]:
    """Return how many processes run here, with how many threads and bytes of memory each.

    Cores and memory are those that this process may use, as a container or a batch job limits them.

    Args:
        jobs: Number of processes, then of one thread; by default one per core, fewer with more threads
            where memory is short.
    """
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    n = jobs or max(1, min(CPU_COUNT, MEMORY_LIMIT // MEMORY_PER_PROCESS_BYTES))
    return n, 1 if jobs else CPU_COUNT // n, MEMORY_LIMIT // (n + len(gpus()))


def gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    try:
        driver = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = driver.stdout.splitlines() if driver.returncode == 0 else []
    present = [str(n) for n in range(sum(line.startswith("GPU ") for line in lines))]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not present:
        return present
    names = [name.strip() for name in chosen.split(",")]
    # As CUDA does: what follows an invalid name counts for nothing.
    end = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:end]


def start(jobs: int | None = None) -> Any:
    """Return a cluster of worker processes on the loopback interface.

    Each GPU has one further worker of its own, with the Dask resource `GPU`; the others see none.

    Args:
        jobs: Number of processes without a GPU; by default see `sizes`.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    n, n_threads, memory = sizes(jobs)
    devices = gpus()
    # A worker that is lost is told by `calls` and by the view; what Dask logs is of a busy machine.
    quiet: dict[str, Any] = {"silence_logs": logging.CRITICAL}
    common = {"host": _LOOPBACK, "memory_limit": memory, "dashboard": False, **quiet}
    common |= {"preload": ["physics_twins.clusters.deaf"]}
    plain = common | {"nthreads": n_threads}
    if devices:
        plain["env"] = {"CUDA_VISIBLE_DEVICES": ""}
    workers = {str(i): {"cls": Nanny, "options": plain} for i in range(n)}
    for device in devices:
        own = {"nthreads": 1, "resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": device}}
        workers[f"gpu-{device}"] = {"cls": Nanny, "options": common | own}
    options = {"host": _LOOPBACK, "dashboard_address": f"{_LOOPBACK}:0"}
    return SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": options}, **quiet)


def start_threads(jobs: int | None = None) -> Any:
    """Return a cluster inside this process, with as many threads as it may use cores."""
    from dask import config
    from dask.system import CPU_COUNT
    from distributed import LocalCluster

    threads, dashboard = jobs or CPU_COUNT, f"{_LOOPBACK}:0"
    # Dask's profiler asks for all threads' frames a hundred times a second; up to Python 3.12 that may
    # stop the process for ever where garbage is collected meanwhile (python/cpython issue 106883).
    with config.set({"distributed.worker.profile.enabled": False}):
        return LocalCluster(
            1,
            processes=False,
            threads_per_worker=threads,
            dashboard_address=dashboard,
            silence_logs=logging.CRITICAL,
        )
