"""Whether a training loses anything when it is killed."""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _table import Figure, Skipped, this_machine

if TYPE_CHECKING:
    from physics_twins.training import Task

N_TRAININGS = int(os.environ.get("PHYSICS_TWINS_N_TRAININGS", "20"))
TRAINING_SEEDS = (1, 2, 3, 4, 5)
N_STEPS = 1500


def resume_exact() -> Figure:
    """Trainings killed at a random moment, each third one twice, that end with the same bits.

    The reference is how many there were. What each draws on: first weights, order of the data,
    dropout, Python's and numpy's generators, running averages, a schedule; it writes some tens of
    checkpoints, so that some moments are in the middle of writing one. A training whose last step was
    kept before it was killed does not count.
    """
    if not hasattr(os, "fork"):
        raise Skipped("processes are copied, which only Unix does")
    rng = np.random.default_rng()  # other moments each time
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, spent_s = {}, []
        for seed in TRAINING_SEEDS:
            begun = time.monotonic()
            undisturbed[seed], _ = _finish(Path(folder, f"undisturbed_{seed}"), seed)
            spent_s.append(time.monotonic() - begun)
        n_same = 0
        for n in range(N_TRAININGS):
            seed, place = TRAINING_SEEDS[n % len(TRAINING_SEEDS)], Path(folder, str(n))
            n_killed = 0
            while not n_killed:  # its last step may have been kept before the moment came
                shutil.rmtree(place, ignore_errors=True)
                moments_s = rng.uniform(0, min(spent_s), size=2 if n % 3 == 0 else 1)
                n_killed = sum(_kill(place, seed, moment_s) for moment_s in moments_s)
            sha256, resumed_at = _finish(place, seed)
            n_same += sha256 == undisturbed[seed]
            story = f"killed {n_killed} times, went on at {resumed_at or 'the start'}"
            print(f"resume_exact {n_same} of {n + 1}: {story}", file=sys.stderr, flush=True)
    return Figure(n_same, None, "", N_TRAININGS, this_machine(), TRAINING_SEEDS)


def _finish(folder: Path, seed: int) -> tuple[str, list[int]]:
    """Train to the end; return the SHA-256 of the weights, and the steps at which it went on."""
    _, status = os.waitpid(_started(folder, seed), 0)
    if status:
        raise RuntimeError(f"a training ended with status {status}")
    result = json.loads((folder / "result.json").read_text())
    return result["sha256"], result["resumed_at"]


def _kill(folder: Path, seed: int, after_s: float) -> bool:
    """Train, and kill it after a time; return whether its last step was not yet kept."""
    child = _started(folder, seed)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    return killed and not list((folder / "training").glob(f"checkpoint-*{N_STEPS}-*.safetensors"))


def _started(folder: Path, seed: int) -> int:
    """Train in a copy of this process, which itself never computes with torch; return its number."""
    # Imported here and not in each copy, where they would take longer than the training.
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401

    from physics_twins.training import TrainingSettings, train

    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child:
        return child
    settings = TrainingSettings(
        max_steps=N_STEPS,
        batch_size=32,
        ema_decay=0.9,
        validate_every=20,
        checkpoint_s=0.05,
        cpu_threads=1,
    )
    status = 1
    try:
        trained = train(_regression, settings, seed=seed, folder=folder / "training", progress=False)
        result = {"sha256": trained.weights_sha256, "resumed_at": trained.resumed_at}
        (folder / "result.json").write_text(json.dumps(result))
        status = 0
    finally:
        os._exit(status)


def _regression() -> "Task":
    """A small net with dropout, from noisy data, whose noise comes from three generators."""
    import torch
    from torch import nn

    from physics_twins.training import Objective, Task

    x = torch.randn(500, 8)
    y = x.sum(1, keepdim=True).sin()
    net = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)

    def loss(modules, batch, step):
        noise = random.gauss(0, 0.1) + float(np.random.normal(0, 0.1))  # noqa: NPY002
        return nn.functional.mse_loss(modules["net"](batch[0] + noise), batch[1])

    def validate(modules):
        return {"error": nn.functional.mse_loss(modules["net"](x), y)}

    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, N_STEPS)
    return Task({"net": net}, {"net": Objective(loss, optimizer, schedule)}, (x, y), validate)


BENCHMARKS: dict[str, Callable[[], Figure]] = {
    "resume_exact": resume_exact,
}
