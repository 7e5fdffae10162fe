"""Trainings that are killed, and go on in another process, with several processes, or on a worker."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import small_trainings
import torch
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker
from lasting import leave_marks
from small_trainings import (
    N_STEPS,
    SETTINGS,
    everything_random,
    slow_training,
    weight_of_line,
)

from physics_twins import training
from physics_twins.training import own_process, train

SCRIPT = Path(small_trainings.__file__)


def came_out(n_processes, folder, *kills):
    """Return what came out of the script's trainings; its process has never computed when it forks."""
    command = [sys.executable, str(SCRIPT), str(n_processes), str(folder), *map(str, kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def kills():
    """Two steps in whose middle a process is killed; new ones each time."""
    return sorted(random.sample(range(2, N_STEPS), 2))


@pytest.fixture(scope="module")
def one(tmp_path_factory, kills):
    return came_out(1, tmp_path_factory.mktemp("one"), *kills)


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_bits(one, kills):
    assert one["killed"]["statuses"] == [signal.SIGKILL, signal.SIGKILL, 0]
    assert one["killed"]["resumed_at"] == kills
    assert one["killed"]["sha256"] == one["undisturbed"]["sha256"]


@pytest.mark.slow
def test_a_checkpoint_cut_short_costs_one_step_and_no_bits(one):
    assert one["spoiled"]["resumed_at"] == [7]
    assert one["spoiled"]["sha256"] == one["undisturbed"]["sha256"]


@pytest.fixture(scope="module")
def two(tmp_path_factory, kills):
    return came_out(2, tmp_path_factory.mktemp("two"), *kills)


@pytest.mark.slow
def test_two_processes_share_a_batch_as_if_they_were_one(two):
    # Sums of single precision in another order.
    assert max(two["differences"]) < 1e-6


@pytest.mark.slow
def test_a_worker_shares_a_batch_among_processes_of_its_own(tmp_path):
    two = own_process.call(weight_of_line, 2, tmp_path / "two")
    assert two == pytest.approx(weight_of_line(1, tmp_path / "one"), abs=1e-6)


@pytest.mark.slow
def test_two_processes_killed_end_with_the_same_bits(two, kills):
    assert two["killed"]["statuses"][0] != 0
    assert two["killed"]["resumed_at"] == kills[:1]
    assert two["killed"]["sha256"] == two["undisturbed"]["sha256"]


@pytest.mark.slow
def test_on_another_worker_it_goes_on_when_the_first_is_killed(tmp_path):
    undisturbed = train(everything_random, SETTINGS, seed=1, folder=tmp_path / "u", progress=False)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0")
    with cluster, Client(cluster) as client:
        future = training.submit(client, slow_training, tmp_path)
        mark = wait_for(tmp_path, "half_way_*")
        killed = int(mark.name.rpartition("_")[2])
        os.kill(killed, signal.SIGKILL)
        sha256, resumed_at, last = future.result(timeout=100)
    assert last != killed
    assert len(resumed_at) == 1
    assert resumed_at[0] >= N_STEPS // 2 - 1
    assert sha256 == undisturbed.weights_sha256


def wait_for(folder, pattern):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := list(folder.glob(pattern)):
            return found[0]
        time.sleep(0.02)
    raise TimeoutError(f"no {pattern} in {folder}")


def test_it_is_sent_to_the_worker_that_has_a_gpu():
    workers = {"plain": worker(), "with a gpu": worker(resources={"GPU": 1})}
    assert holder_of_result(workers) == "with a gpu"


def test_without_a_gpu_any_worker_will_do():
    assert holder_of_result({"plain": worker()}) == "plain"


def worker(**options):
    return {"cls": Worker, "options": {"nthreads": 1, **options}}


def holder_of_result(workers):
    """Return the name of the worker that a function was sent to."""
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "port": 0, "host": "127.0.0.1"}}
    with SpecCluster(workers, scheduler) as cluster, Client(cluster) as client:
        client.wait_for_workers(len(workers), timeout=10)
        future = training.submit(client, os.getppid)
        assert future.result(60) == os.getpid()  # it had a process of its own below this one
        (address,) = client.who_has(future)[future.key]
        return client.scheduler_info()["workers"][address]["name"]


def test_a_process_of_its_own_ends_with_the_one_that_started_it(tmp_path):
    parent = multiprocessing.get_context("spawn").Process(
        target=own_process.call, args=(leave_marks, tmp_path)
    )
    parent.start()
    wait_for(tmp_path, "1")
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    n = len(list(tmp_path.iterdir()))
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= n + 1


def test_an_error_in_a_process_of_its_own_comes_back():
    with pytest.raises(ZeroDivisionError):
        own_process.call(divmod, 1, 0)


def test_trainings_in_threads_of_one_process_do_not_disturb_each_other(tmp_path, capsys):
    def trained(name):
        return train(everything_random, SETTINGS, seed=1, folder=tmp_path / name).weights_sha256

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(trained, "ab"))) == 1
    assert "train:" not in capsys.readouterr().err  # no bar among a worker's messages


def test_torch_computes_with_the_threads_it_is_told_to(tmp_path):
    seen = []
    former = torch.get_num_threads()
    settings = SETTINGS.replace(cpu_threads=3, max_steps=1)

    def build():
        return everything_random(lambda step: seen.append(torch.get_num_threads()))

    train(build, settings, seed=1, folder=tmp_path, progress=False)
    assert seen == [3]
    assert torch.get_num_threads() == former
