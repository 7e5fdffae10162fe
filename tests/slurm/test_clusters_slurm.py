"""Clusters on a real SLURM: what its jobs do, and what happens when one of them or the driver dies."""

import re
import signal
import subprocess
import sys
import time

import dask
import pytest
from distributed import Client

from physics_twins import clusters
from physics_twins.clusters import ClusterError, wait_for_worker

# Two GPU jobs; one must wait, since another job has one of two GPUs. The driver dies meanwhile.
DRIVER = """
import os, signal
from physics_twins import clusters

def seen():
    import os
    return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SLURM_JOB_ID"]

client = clusters.connect("slurm-gpu", jobs=2)
print(*client.submit(seen, resources={"GPU": 1}).result(timeout=60), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def square_slowly(number):
    time.sleep(0.2)
    return number**2


def job_ids(cluster):
    return {job.job_id for job in cluster.workers.values() if job.job_id}


def wait_until(is_true, timeout_s):
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def client(slurm):
    with slurm.in_this_process(), clusters.connect("slurm", jobs=2) as client:
        client.wait_for_workers(2, timeout=60)
        yield client
    assert slurm.wait_until_empty(10) < 10


@pytest.fixture(scope="module")
def killed_driver(slurm):
    """What a driver wrote before it was killed, the queue then, and when it was empty, in s."""
    filler = slurm.command(
        "sbatch",
        "--parsable",
        "--gres=gpu:1",
        "--mem=100",
        "--output=/dev/null",
        "--wrap",
        "sleep 1000",
    )
    changed = {"DASK_JOBQUEUE__SLURM__DEATH_TIMEOUT": "4", "DASK_JOBQUEUE__SLURM__NAME": "doomed"}
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, env=slurm.environment | changed, capture_output=True, text=True)
    queue = slurm.queue("doomed")
    slurm.command("scancel", filler)
    return done, queue, slurm.wait_until_empty(60, "doomed")


def test_jobs_compute_over_encrypted_connections(client):
    assert client.gather(client.map(square_slowly, range(4))) == [0, 1, 4, 9]
    addresses = [client.cluster.scheduler_address, *client.scheduler_info()["workers"]]
    assert [address for address in addresses if not address.startswith("tls://")] == []


def test_who_has_no_certificate_cannot_reach_the_scheduler(client):
    port = client.cluster.scheduler_address.rpartition(":")[2]
    with pytest.raises(OSError, match=r"Timed out|timed out|handshake|closed"):
        Client(f"tcp://127.0.0.1:{port}", timeout=1)


def test_the_key_is_for_its_owner_only_and_goes_with_the_cluster(slurm):
    def keys():
        return set((slurm.folder / "scratch").glob(".dask-jobqueue.worker.key*"))

    others = keys()
    with slurm.in_this_process(), clusters.connect("slurm", jobs=1):
        (key,) = keys() - others
        assert key.stat().st_mode & 0o077 == 0
    assert not key.exists()


def test_a_job_that_is_cancelled_loses_no_result_and_is_replaced(client, slurm):
    before = job_ids(client.cluster)
    futures = client.map(square_slowly, range(20), pure=False)
    wait_until(lambda: sum(future.done() for future in futures) >= 2, 20)
    lost = min(before)
    slurm.command("scancel", lost)
    assert client.gather(futures) == [number**2 for number in range(20)]
    wait_until(lambda: len(job_ids(client.cluster) - {lost}) == 2, 30)
    client.wait_for_workers(2, timeout=30)
    assert len(job_ids(client.cluster) - before) == 1


def test_a_worker_of_a_gpu_section_has_one_gpu(killed_driver):
    done, _, _ = killed_driver
    assert done.stdout.split()[0] in ("0", "1"), done.stderr


def test_jobs_end_by_themselves_when_their_driver_was_killed(killed_driver):
    done, queue, empty_after_s = killed_driver
    assert done.returncode == -9
    assert sorted(line.split()[1] for line in queue) == ["PENDING", "RUNNING"]
    assert empty_after_s < 30  # the waiting one starts, finds no scheduler for 4 s, and ends


def test_a_job_that_fails_is_told_with_the_end_of_its_log(slurm):
    with (
        slurm.in_this_process(),
        dask.config.set({"jobqueue.slurm.python": "/no/such/python"}),
        clusters.connect("slurm", jobs=1) as client,
        pytest.raises(ClusterError) as failure,
    ):
        wait_for_worker(client.cluster, timeout_s=30)
    assert "no worker came" in str(failure.value)
    assert "/no/such/python: No such file or directory" in str(failure.value)
    assert re.search(r"^job \d+: .+", str(failure.value), re.MULTILINE)


def test_a_job_that_slurm_refuses_is_told_at_once(slurm):
    with (
        slurm.in_this_process(),
        dask.config.set({"jobqueue.slurm.queue": "nosuch"}),
        pytest.raises(ClusterError, match=r"^slurm: sbatch: error: .*[Ii]nvalid partition"),
    ):
        clusters.connect("slurm")


def test_a_job_that_waits_is_told_with_slurms_reason(slurm):
    later = {"jobqueue.slurm.job-extra-directives": ["--begin=now+1hour"]}
    with (
        slurm.in_this_process(),
        dask.config.set(later),
        clusters.connect("slurm", jobs=1) as client,
        pytest.raises(ClusterError) as failure,
    ):
        wait_for_worker(client.cluster, timeout_s=0.5)
    assert "no worker within 0.5 s" in str(failure.value)
    assert "PENDING BeginTime" in str(failure.value)


def test_ctrl_c_ends_a_job_that_waits(slurm):
    own = {"DASK_JOBQUEUE__SLURM__NAME": "waits"}
    own["DASK_JOBQUEUE__SLURM__JOB_EXTRA_DIRECTIVES"] = '["--begin=now+1hour"]'
    command = [sys.executable, "-m", "physics_twins.cli", "cluster", "slurm"]
    with subprocess.Popen(
        command, env=slurm.environment | own, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert "PENDING" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert slurm.queue("waits") == []
