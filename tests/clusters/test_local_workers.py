import os
import subprocess
import sys

import dask.system
import distributed.system
import pytest

from physics_twins import clusters
from physics_twins.clusters import local


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend cores, memory in GB and NVIDIA GPUs."""

    def pretend(cores, memory_gb, n_gpus=0):
        monkeypatch.setattr(dask.system, "CPU_COUNT", cores)
        monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", int(memory_gb * 1e9))
        tool = tmp_path / "nvidia-smi"
        lines = "".join(f"echo 'GPU {i}: NVIDIA H100 (UUID: GPU-{i})'\n" for i in range(n_gpus))
        tool.write_text(f"#!/bin/sh\n{lines}")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return pretend


def visible():
    import os

    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("cores", "memory_gb", "expected"),
    [
        (4, 16, (4, 1, 4e9)),  # one process per core
        (16, 4, (4, 4, 1e9)),  # memory for four only: they share the cores
        (8, 0.5, (1, 8, 0.5e9)),
    ],
)
def test_processes_and_threads_follow_cores_and_memory(machine, cores, memory_gb, expected):
    machine(cores, memory_gb)
    assert local.sizes() == expected


def test_processes_that_are_asked_for_share_the_memory_and_have_one_thread(machine):
    machine(8, 12)
    assert local.sizes(3) == (3, 1, 4e9)


def test_a_gpu_worker_takes_its_share_of_the_memory(machine):
    machine(2, 12, n_gpus=2)
    assert local.sizes() == (2, 1, 3e9)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("1", ["1"]),
        ("2,0", ["2", "0"]),
        ("GPU-1", ["GPU-1"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
    ],
)
def test_only_gpus_that_this_process_may_use_are_taken(machine, monkeypatch, chosen, expected):
    machine(4, 16, n_gpus=3)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert local.gpus() == expected


def test_a_machine_without_the_driver_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert local.gpus() == []


def test_a_task_for_a_gpu_sees_that_gpu_and_others_see_none(machine, monkeypatch):
    machine(1, 4, n_gpus=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with clusters.connect("local", jobs=1) as client:
        gpu_tasks = [client.submit(visible, resources={"GPU": 1}, pure=False) for _ in range(3)]
        assert client.gather(gpu_tasks) == ["1"] * 3
        (plain,) = {
            address for address, w in client.scheduler_info()["workers"].items() if w["name"] == "0"
        }
        assert client.submit(visible, workers=[plain], pure=False).result() == ""


def test_less_than_one_process_is_refused():
    with pytest.raises(ValueError, match="jobs = 0: must be 1 or more"):
        clusters.connect("local", jobs=0)


# Logs as Dask does when a cluster is closed on a busy machine, in a worker and beside it.
COMPLAIN = """import logging
import sys

from physics_twins import clusters

if __name__ == "__main__":
    told = "the scheduler does not answer"
    with clusters.connect(sys.argv[1], jobs=1) as client:
        for part in ("worker", "nanny", "core"):
            client.submit(logging.getLogger(f"distributed.{part}").error, told).result(30)
            logging.getLogger(f"distributed.{part}").error(told)
"""


@pytest.mark.parametrize("on", ["local", "threads"])
def test_what_dask_logs_of_itself_stays_out_of_the_notebook(on):
    done = subprocess.run([sys.executable, "-c", COMPLAIN, on], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
