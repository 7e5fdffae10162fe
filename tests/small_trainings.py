"""Small trainings that the tests start, kill and send to workers; each takes a second or less."""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from physics_twins.training import Objective, Task, Trained, TrainingSettings, train

# 3 batches an epoch, so that most checkpoints are in the middle of one.
N_ITEMS, BATCH_SIZE, N_STEPS = 50, 16, 14
SETTINGS = TrainingSettings(
    max_steps=N_STEPS,
    batch_size=BATCH_SIZE,
    ema_decay=0.9,
    clip_norm=1.0,
    validate_every=5,
    cpu_threads=1,
    checkpoint_s=0.0,
)


QUIET = {"progress": False, "seed": 1}


class Stopped(Exception):
    """A training that a test has broken off."""


def stopping(at):
    """Return what breaks off a training in the loss of a step, once."""
    todo = [at]

    def stop(step):
        if step in todo:
            todo.remove(step)
            raise Stopped

    return stop


def everything_random(at_step: Callable[[int], None] = lambda step: None) -> Task:
    """A regression that draws from every generator: first weights, order, dropout, Python and numpy.

    Args:
        at_step: Called within the loss with the number of steps done.
    """
    x = torch.randn(N_ITEMS, 4)
    y = x.sum(1, keepdim=True).sin()
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)

    def loss(modules, batch, step):
        at_step(step)
        inputs, targets = batch
        noisy = inputs + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.normal())  # noqa: NPY002
        return nn.functional.mse_loss(modules["net"](noisy), targets)

    def validate(modules):
        return {"error": nn.functional.mse_loss(modules["net"](x), y)}

    objective = Objective(loss, optimizer, CosineAnnealingLR(optimizer, N_STEPS))
    return Task({"net": net}, {"net": objective}, (x, y), validate)


def without_chance() -> Task:
    """A regression whose result does not depend on how a batch is shared out."""
    x = torch.randn(N_ITEMS, 4)
    net = nn.Linear(4, 1)
    objective = Objective(_squares, torch.optim.SGD(net.parameters(), lr=0.05))
    return Task({"net": net}, {"net": objective}, (x, x.sum(1, keepdim=True)))


def _squares(modules, batch, step):
    return nn.functional.mse_loss(modules["net"](batch[0]), batch[1])


def killing(steps: tuple[int, ...], marks: Path, *, rank: str = "0") -> Callable[[int], None]:
    """Return what kills its own process in the loss of some steps, once each."""

    def kill(step: int) -> None:
        mark = marks / f"killed_at_{step}"
        if step in steps and os.environ.get("LOCAL_RANK", "0") == rank and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def waiting(seconds: float, marks: Path) -> Callable[[int], None]:
    """Return what makes each step take some time, and half-way notes the worker's number."""

    def wait(step: int) -> None:
        if step == N_STEPS // 2:
            (marks / f"half_way_{os.getppid()}").touch()
        time.sleep(seconds)

    return wait


def slow_training(folder: Path) -> tuple[str, tuple[int, ...], int]:
    """Train on a worker; return the weights' SHA-256, where it was resumed, and the last worker."""
    build = partial(everything_random, waiting(0.1, folder))
    trained = train(build, SETTINGS, seed=1, folder=folder / "training")
    return trained.weights_sha256, trained.resumed_at, os.getppid()


def weight_of_line(n_devices: int, folder: Path) -> list[float]:
    """Train what does not depend on chance on some processes; return its weights."""
    settings = SETTINGS.replace(devices=n_devices, accelerator="cpu")
    trained = train(without_chance, settings, seed=1, folder=folder, progress=False)
    return trained.modules["net"].get_parameter("weight")[0].tolist()


def in_child(work: Callable[[], Trained], result: Path) -> int:
    """Do some work in a copy of this process, and write what came out; return the child's status.

    This process must not have computed with torch before: threads do not outlive the copying.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        trained = work()
        weights = [p.detach().view(-1) for m in trained.modules.values() for p in m.parameters()]
        found = {"sha256": trained.weights_sha256, "resumed_at": trained.resumed_at}
        found["weights"] = torch.cat(weights).tolist()
        result.write_text(json.dumps(found))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def until_finished(folder: Path, kills: tuple[int, ...], settings: TrainingSettings) -> dict:
    """Train with kills at some steps, and take it up again each time; return what came out."""
    folder.mkdir()
    build = partial(everything_random, killing(kills, folder))
    work = partial(train, build, settings, seed=1, folder=folder / "training", progress=False)
    statuses = [in_child(work, folder / "result.json") for _ in range(len(kills) + 1)]
    return json.loads((folder / "result.json").read_text()) | {"statuses": statuses}


def spoiled(folder: Path) -> dict:
    """Kill a training and cut its newest checkpoint short; return what came out in the end."""
    folder.mkdir()
    build = partial(everything_random, killing((8,), folder))
    work = partial(train, build, SETTINGS, seed=1, folder=folder / "training", progress=False)
    in_child(work, folder / "result.json")
    newest = max((folder / "training").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    in_child(work, folder / "result.json")
    return json.loads((folder / "result.json").read_text())


def in_shares(folder: Path) -> list[float]:
    """Return how far the weights after training on two processes are from those of one."""
    trained = []
    for n in (1, 2):
        settings = SETTINGS.replace(devices=n, accelerator="cpu", strategy=("auto", "ddp_fork")[n - 1])
        result = folder / f"shared_{n}.json"
        work = partial(train, without_chance, settings, seed=1, folder=folder / f"shared_{n}")
        assert in_child(work, result) == 0
        trained.append(json.loads(result.read_text())["weights"])
    return [abs(a - b) for a, b in zip(*trained, strict=True)]


def main(folder: Path, kills: tuple[int, ...]) -> dict:
    """Return what came out of trainings with and without kills."""
    return {
        "undisturbed": until_finished(folder / "undisturbed", (), SETTINGS),
        "killed": until_finished(folder / "killed", kills, SETTINGS),
        "spoiled": spoiled(folder / "spoiled"),
    }


def main_on_two(folder: Path, kills: tuple[int, ...]) -> dict:
    """The same with two processes, as two GPUs would have; and how near they come to one."""
    two = SETTINGS.replace(devices=2, accelerator="cpu", strategy="ddp_fork")
    return {
        "undisturbed": until_finished(folder / "undisturbed", (), two),
        "killed": until_finished(folder / "killed", kills[:1], two),
        "differences": in_shares(folder),
    }


if __name__ == "__main__":
    case = {"1": main, "2": main_on_two}[sys.argv[1]]
    sys.stdout.write(json.dumps(case(Path(sys.argv[2]), tuple(map(int, sys.argv[3:])))))
