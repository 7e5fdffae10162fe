"""What is told and done about jobs, with a cluster and a batch system that only pretend."""

import logging
import time
from types import SimpleNamespace

import pytest

from physics_twins.clusters import ClusterError, batch
from physics_twins.clusters.batch import log_tail, look, waiting


class Cluster:
    """Two jobs, `c-0` and `c-1`, numbered 10 and 11, of which those in `workers_of` have workers."""

    job_cls = SimpleNamespace(default_config_name=lambda: "slurm")

    def __init__(self, *workers_of):
        self.status = SimpleNamespace(name="running")
        self.workers = {f"c-{i}": SimpleNamespace(job_id=f"1{i}") for i in range(2)}
        self.connect(*workers_of)
        self.waits, self.closed = [], []
        self.loop = SimpleNamespace(add_callback=lambda function, names: function(names))

    def connect(self, *names):
        self.scheduler_info = {"workers": {f"tls://{n}": {"name": n} for n in names}}

    def scale_down(self, names):
        """Replace jobs, as adaptive scaling does it afterwards."""
        self.closed += sorted(names)


@pytest.fixture
def queue(monkeypatch):
    """The batch system's listing, to be changed; it counts how often it was asked."""
    listing = SimpleNamespace(text="10 RUNNING None\n11 PENDING Priority\n", n_asked=0)

    def ask(system):
        listing.n_asked += 1
        return listing.text

    monkeypatch.setattr(batch, "_listing", ask)
    return listing


def test_a_job_is_told_with_what_its_batch_system_says(queue):
    (second,) = waiting(Cluster("c-0"))
    assert str(second) == "job 11: PENDING Priority"
    assert not second.is_gone


def test_one_process_of_several_counts_as_the_jobs_worker(queue):
    assert [job.name for job in waiting(Cluster("c-0-0", "c-0-1"))] == ["c-1"]
    assert [job.name for job in waiting(Cluster("c-01"))] == ["c-0", "c-1"]


def test_a_job_that_is_not_listed_is_gone_but_one_whose_batch_system_is_silent_is_not(queue):
    queue.text = "10 RUNNING None\n111 RUNNING None\n"
    assert [job.is_gone for job in waiting(Cluster())] == [False, True]
    queue.text = None
    assert [job.is_gone for job in waiting(Cluster())] == [False, False]
    assert "does not answer" in str(waiting(Cluster())[0])


def test_a_job_that_was_refused_later_is_gone(queue):
    cluster = Cluster("c-0")
    cluster.workers["c-1"].job_id = None
    assert waiting(cluster)[0].is_gone


def test_the_batch_system_is_not_asked_while_every_job_has_its_worker(queue):
    cluster = Cluster("c-0", "c-1")
    assert [look(cluster, "slurm", n) for n in range(3)] == [0, 0, 0]
    assert queue.n_asked == 0


def test_a_job_that_lost_its_worker_is_submitted_again_and_nothing_is_told_while_others_work(
    queue, caplog
):
    queue.text = "10 RUNNING None\n"
    cluster = Cluster("c-0")
    assert look(cluster, "slurm", 0) == 1
    assert cluster.closed == ["c-1"]
    assert (caplog.messages, cluster.waits) == ([], [])


def test_a_job_that_lost_its_worker_but_still_runs_is_left_alone(queue):
    cluster = Cluster("c-0")
    assert look(cluster, "slurm", 0) == 0
    assert cluster.closed == []


def test_a_warning_says_what_jobs_wait_for_once(queue, caplog):
    cluster = Cluster()
    with caplog.at_level(logging.WARNING):
        look(cluster, "slurm", 0)
        look(cluster, "slurm", 0)
    assert caplog.messages == [
        "slurm: no worker yet: job 10: RUNNING None; job 11: PENDING Priority",
    ]
    assert cluster.waits == ["job 10: RUNNING None", "job 11: PENDING Priority"]


def test_jobs_that_always_end_too_early_are_given_up_with_a_warning(queue, caplog):
    queue.text = ""
    cluster, n = Cluster(), 0
    for _ in range(9):
        n = look(cluster, "slurm", n)
    assert len(cluster.closed) == 2 * batch.MAX_RESUBMISSIONS
    assert caplog.messages[-1].endswith("to see why: twins cluster slurm")
    assert [message for message in caplog.messages if "to see why" in message] == caplog.messages[-1:]


def test_the_watch_ends_with_its_cluster_and_outlives_what_goes_wrong(queue, monkeypatch):
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.01)
    cluster = Cluster()

    def fails(*_):
        cluster.status.name = "closed"
        raise RuntimeError

    monkeypatch.setattr(batch, "look", fails)
    batch._watch(cluster, "slurm")


def test_a_log_is_found_by_the_number_of_its_job_and_shown_from_its_end(tmp_path):
    (tmp_path / "worker-12.err").write_text("\n".join(map(str, range(100))))
    (tmp_path / "worker-12.out").touch()
    (tmp_path / "worker-112.err").write_text("of another job")
    assert log_tail(tmp_path, "12", n_lines=2) == f"{tmp_path / 'worker-12.err'}:\n    98\n    99"
    assert log_tail(tmp_path, "13") == f"no log of job 13 in {tmp_path}"
    assert log_tail(tmp_path / "nowhere", "12").startswith("no log")


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("12 PENDING Priority", "PENDING Priority"),  # squeue with our format
        ("12.server   me  workq  worker  --  1 4 30gb 02:00 Q --", "me workq"),  # qstat of PBS
        ("12      me    PEND  normal     login       -        worker", "me PEND"),  # bjobs
        ("     12 0.0000 dask-worke me  qw  11/22/2026 10:00:00", "0.0000 dask-worke"),  # qstat of SGE
        ("12         dask-worker  me  2026-11-22 10:00:00 W default", "dask-worker me"),  # oarstat
        (" 12.0   me  11/22 10:00  0+00:00:00 I  0  0.0 sh", "me 11/22"),  # condor_q -nobatch
    ],
)
def test_a_jobs_line_is_found_in_each_systems_listing(listing, expected):
    number = "12.0" if ".0 " in listing[:8] else "12"
    assert batch._line(number, f"header\n{listing}\n123 other").startswith(expected)
    assert batch._line("2", listing) == ""


def test_a_batch_system_that_does_not_answer_is_not_taken_for_an_empty_queue(monkeypatch):
    for command, answers in (("false", False), ("no-such-command", False), ("echo", True)):
        monkeypatch.setitem(batch._LISTINGS, "slurm", f"{command} {{user}}")
        assert bool(batch._listing("slurm")) == answers


def test_waiting_ends_when_every_job_is_gone_or_the_time_is_over(queue, tmp_path):
    cluster = Cluster()
    cluster._job_kwargs = {"log_directory": str(tmp_path)}
    begun = time.monotonic()
    with pytest.raises(ClusterError, match=r"(?s)no worker within 0\.05 s.*job 11: PENDING"):
        batch.wait_for_worker(cluster, timeout_s=0.05)
    queue.text = ""
    (tmp_path / "worker-11.err").write_text("python: not found")
    with pytest.raises(ClusterError, match=r"(?s)no worker came.*python: not found"):
        batch.wait_for_worker(cluster, timeout_s=30)
    cluster.connect("c-1")
    batch.wait_for_worker(cluster, timeout_s=30)
    cluster.workers = {}  # between two submissions
    with pytest.raises(ClusterError, match=r"no worker within 0 s"):
        batch.wait_for_worker(cluster, timeout_s=0)
    assert time.monotonic() - begun < 2
