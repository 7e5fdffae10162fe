"""What running on a cluster costs, and whether anything is lost when a part of it dies."""

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # a private SLURM

import short_cells
from slurm import PrivateSlurm, why_not

from _table import Figure, Skipped, median_and_spread, this_machine
from physics_twins import clusters

N_REPEATS = 5
N_TASKS = 24


def slurm_test() -> Figure:
    """From no SLURM to all results of 24 tasks on two workers, one of them cancelled mid-way."""
    if reason := why_not():
        raise Skipped(reason)
    spent_s = []
    for repeat in range(N_REPEATS):
        spent_s.append(_with_a_worker_cancelled())
        print(f"slurm_test_s {repeat + 1} of {N_REPEATS}: {spent_s[-1]:.1f} s", file=sys.stderr)
    value, spread = median_and_spread(spent_s)
    return Figure(value, spread, "s", reference=60.0, device=this_machine())


def _with_a_worker_cancelled() -> float:
    """Return how long it took, in s, from before the daemons' start until after their end."""
    begun = time.perf_counter()
    with PrivateSlurm() as slurm, slurm.in_this_process(), clusters.connect("slurm", jobs=2) as client:
        client.wait_for_workers(2, timeout=60)
        futures = client.map(short_cells.square_slowly, range(N_TASKS))
        while sum(future.done() for future in futures) < N_TASKS // 4:
            time.sleep(0.05)
        slurm.command("scancel", slurm.queue()[0].split()[0])
        if client.gather(futures) != [number**2 for number in range(N_TASKS)]:
            raise RuntimeError("results differ from those of an undisturbed run")
    return time.perf_counter() - begun


BENCHMARKS = {"slurm_test_s": slurm_test}
