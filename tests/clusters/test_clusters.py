import shutil
import socket
import time

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from distributed import Client

from physics_twins import clusters
from physics_twins.clusters import ClusterError, batch
from physics_twins.clusters import client as connecting

NEEDED = {
    "slurm": {"queue": "debug"},
    "pbs": {},
    "lsf": {"lsf-units": "mb"},
    "sge": {"resource-spec": "h_vmem=2G"},
    "oar": {"memory-per-core-property-name": "memcore"},
    "htcondor": {"disk": "1GB"},
}
MARKS = {
    "slurm": "#SBATCH -p debug",
    "pbs": "#PBS -l select=1:ncpus=2",
    "lsf": "#BSUB -n 2",
    "sge": "#$ -l h_vmem=2G",
    "oar": "#OAR -l /nodes=1/core=2",
    "htcondor": "RequestMemory",
}


def described(where):
    batch.load_jobqueue()  # brings its defaults
    jobs = {"cores": 2, "memory": "2GB"} | NEEDED[where]
    return dask.config.set({f"jobqueue.{where}.{key}": value for key, value in jobs.items()})


def square(number):
    return number**2


def test_worker_processes_of_this_machine_compute_and_end_with_the_client():
    with clusters.connect("local", jobs=1) as client:
        assert client.gather(client.map(square, range(4))) == [0, 1, 4, 9]
        cluster = client.cluster
        (worker,) = client.scheduler_info()["workers"].values()
        assert (worker["nthreads"], worker["host"]) == (1, "127.0.0.1")
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert client.dashboard_link.startswith("http://127.0.0.1:")
    assert cluster.status.name == "closed"


def test_threads_compute_in_this_process():
    with clusters.connect("threads", jobs=2) as client:
        assert client.submit(square, 5).result() == 25
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 2


def test_a_client_joins_a_scheduler_by_its_address_and_leaves_it_running():
    with clusters.connect("local", jobs=1) as owner:
        with clusters.connect(owner.cluster.scheduler_address) as guest:
            assert guest.submit(square, 6).result() == 36
        assert owner.submit(square, 7).result() == 49


def closed_as_opened():
    first, second = clusters.connect("threads", jobs=1), clusters.connect("threads", jobs=1)
    first.close()
    second.close()


def closed_twice():
    with clusters.connect("threads", jobs=1) as client:
        client.close()


def closed_before_one_of_dasks_own():
    ours = clusters.connect("threads", jobs=1)
    with Client(processes=False, dashboard_address="127.0.0.1:0"):
        ours.close()


@pytest.mark.parametrize("use", [closed_as_opened, closed_twice, closed_before_one_of_dasks_own])
def test_what_is_computed_after_clients_are_closed_asks_for_none(use, tmp_path):
    use()
    xr.Dataset({"counts": ("time", np.arange(4.0))}).chunk().to_netcdf(tmp_path / "later.nc")


def test_dask_computes_with_the_client_and_keeps_the_users_own_scheduler_afterwards():
    values = dask.array.ones(3)
    with dask.config.set(scheduler="synchronous"):
        closed_as_opened()
        assert dask.config.get("scheduler") == "synchronous"
    with clusters.connect("threads", jobs=1) as client:
        assert dask.base.get_scheduler() == client.get
        assert values.sum().compute() == 3


def test_an_address_where_nobody_answers_is_given_up_soon(monkeypatch):
    assert connecting.CONNECT_TIMEOUT_S <= 8  # 10 s are promised, start and end included
    monkeypatch.setattr("physics_twins.clusters.client.CONNECT_TIMEOUT_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(ClusterError, match=f"no Dask scheduler answers at {where}"):
            clusters.connect(where)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("where", ["slrum", "", "http://127.0.0.1:80", "tcp://127.0.0.1", "Local"])
def test_what_is_no_cluster_is_refused(where):
    with pytest.raises(ValueError, match="is no cluster"):
        clusters.connect(where)


@pytest.mark.parametrize("where", clusters.BATCH_SYSTEMS)
def test_a_job_script_follows_the_sites_configuration(where):
    with described(where):
        script = clusters.job_script(where)
    assert MARKS[where] in script
    assert "distributed.cli.dask_worker" in script


def test_jobs_that_are_not_described_say_which_keys_are_missing():
    with pytest.raises(
        ClusterError, match=r"slurm: .* cores and memory .*8.*24GB.* slurm: in .*jobqueue\.yaml"
    ):
        clusters.job_script("slurm")


def test_a_missing_submit_command_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with described("slurm"), pytest.raises(ClusterError, match="sbatch and scancel not found"):
        clusters.connect("slurm")


def test_only_batch_systems_have_a_job_script():
    with pytest.raises(ValueError, match="submits no jobs"):
        clusters.job_script("local")


def test_threads_are_not_profiled():
    # In Python 3.11 the profiler may stop the process, and with it a notebook's kernel, for ever.
    with clusters.connect("threads", jobs=1) as client:
        (worker,) = client.cluster.workers.values()
        assert "profile" not in worker.periodic_callbacks
