"""One sweep on a real SLURM through a killed job and a killed driver, held against a quiet one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import watched_cells
from slurm import PrivateSlurm

from physics_twins import sweeps

GRID = sweeps.grid({"dm_pc_cm3": [30.0, 56.0], "fluence_jy_ms": [0.3, 0.6, 1.2]})
SEEDS = (1, 2, 3, 4)
N_CELLS = len(GRID) * len(SEEDS)
FIXED = {
    "duration_s": 0.6,
    "n_channels": 64,
    "dm_min_pc_cm3": 20.0,
    "dm_max_pc_cm3": 70.0,
    "dm_loss": 0.2,
}
LEAST_S = 0.4  # for each cell, so that there is something to interrupt
TIMEOUT_S = 120.0


def quiet_sweep(folder: Path, seeds: Sequence[int] = SEEDS) -> sweeps.Sweep:
    """Compute the sweep in this process, where nothing happens to it."""
    return sweeps.run(
        watched_cells.watched_recovery,
        [{**point, "seed": seed} for point in GRID for seed in seeds],
        fixed=FIXED,
        on="threads",
        out=folder,
        progress=False,
    )


def troubled_sweep(slurm: PrivateSlurm, folder: Path, seed: int) -> sweeps.Sweep:
    """Compute the sweep on SLURM; cancel a worker's job, then kill the driver, and start it again."""
    moments = random.Random(seed)
    starts = folder.with_suffix(".starts")
    driver = _driver(slurm, folder, starts)
    try:
        _wait(lambda: _n_starts(starts) > moments.randint(2, 8), driver)
        jobs = [line.split()[0] for line in slurm.queue() if "RUNNING" in line]
        slurm.command("scancel", moments.choice(jobs))
        n_before = _n_starts(starts)
        _wait(lambda: _n_starts(starts) > n_before + moments.randint(2, 6), driver)
        time.sleep(moments.uniform(0, 0.5))
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    again = _driver(slurm, folder, starts)
    if again.wait(TIMEOUT_S):
        raise RuntimeError(f"the second driver ended with status {again.returncode}")
    return sweeps.Sweep.load(folder)


def faults(quiet: sweeps.Sweep, troubled: sweeps.Sweep) -> list[str]:
    """Return in words all that went wrong; nothing where all went right."""
    found = []
    records = [record for record in troubled.records if record]
    if [record["status"] for record in records] != ["complete"] * N_CELLS:
        found.append(f"not every cell is complete: {troubled.counts}")
    pairs = zip(troubled.plan["points"], troubled.records, strict=True)
    finished = {tuple(point.values()): record["finished"] for point, record in pairs if record}
    lines = troubled.folder.with_suffix(".starts").read_text().splitlines()
    begun = [(tuple(note["point"]), note["time"]) for note in map(json.loads, lines)]
    again = [point for point, moment in begun if moment > finished.get(point, float("inf"))]
    if again:
        found.append(f"computed again after they were complete: {again}")
    if len({point for point, _ in begun}) != N_CELLS:
        found.append("not every cell was started")
    if troubled.sha256 != quiet.sha256:
        found.append("the combined dataset differs from that of the quiet sweep")
    return found


def _driver(slurm: PrivateSlurm, folder: Path, starts: Path) -> "subprocess.Popen[bytes]":
    grid = ["--grid", "dm_pc_cm3=30,56", "--grid", "fluence_jy_ms=0.3,0.6,1.2", "--seeds", "4"]
    fixed = [word for name, value in FIXED.items() for word in ("-p", f"{name}={value}")]
    command = ["sweep", "watched_cells:watched_recovery", *grid, *fixed, "--on", "slurm"]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    ours = {watched_cells.STARTS: str(starts), "PYTHONPATH": path}
    ours[watched_cells.LEAST_S] = str(LEAST_S)
    return subprocess.Popen(
        [sys.executable, "-m", "physics_twins.cli", *command, "--out", str(folder), "--no-report"],
        env={**os.environ, **slurm.environment, **ours},
        stdout=subprocess.DEVNULL,
    )


def _n_starts(starts: Path) -> int:
    return len(starts.read_text().splitlines()) if starts.is_file() else 0


def _wait(is_so: Callable[[], bool], driver: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        if driver.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the driver ended, or nothing went on, before the fault")
        time.sleep(0.05)
