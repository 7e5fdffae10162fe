"""What `tcp://host:port` meets: no scheduler, one that cannot be spoken to, workers of other people."""

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from physics_twins import clusters
from physics_twins.clusters import ClusterError
from physics_twins.clusters import client as connecting
from physics_twins.clusters.client import TidyClient


@contextmanager
def listening(says):
    """A program that greets with some bytes and then waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                connection.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    ("says", "told"),
    [(b"SSH-2.0-OpenSSH_9.2\r\n", "it says b'SSH-2.0-'"), (b"", "timed out")],
)
def test_a_port_of_another_program_is_told_soon(says, told, monkeypatch):
    assert connecting.CONNECT_TIMEOUT_S <= 8
    assert connecting.GREETING_TIMEOUT_S <= 4
    monkeypatch.setattr(connecting, "GREETING_TIMEOUT_S", 0.5)
    begun = time.monotonic()
    with listening(says) as where, pytest.raises(ClusterError) as refused:
        clusters.connect(where)
    assert time.monotonic() - begun < 5
    assert f"no Dask scheduler answers at {where} ({told})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_tls_without_certificates_says_what_to_set():
    with pytest.raises(ClusterError, match=r"must name certificates: distributed\.comm\.tls"):
        clusters.connect("tls://127.0.0.1:9")


def test_a_scheduler_of_another_time_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT_S", 1.0)
    closings, close = [], TidyClient.close
    monkeypatch.setattr(TidyClient, "close", lambda self: [closings.append(self.status), close(self)])
    told_of = pytest.raises(ClusterError, match="no Dask scheduler that this one can speak to")
    with listening(b"\x20" + 7 * b"\0" + 32 * b"?") as where, told_of as told:
        clusters.connect(where)
    assert "\n" not in str(told.value)
    assert closings[:1] == ["connecting"]
    # As garbage that is still open, it could stop the start of another client for ever.
    del told
    gc.collect()
    assert {*closings[1:]} <= {"closed"}


@pytest.mark.slow
def test_workers_without_the_library_are_named_and_go_on(tmp_path):
    # A Python that has everything but this library.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfrom importlib import metadata\nsys.modules['physics_twins'] = None\n"
        "found = metadata.version\n"
        "def version(name):\n"
        "    if name == 'physics_twins':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "metadata.version = version\n"
    )
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        where = cluster.scheduler_address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", where, "--no-dashboard"]
        env = os.environ | {"PYTHONPATH": str(tmp_path)}
        with (tmp_path / "log").open("w") as log:
            worker = subprocess.Popen(
                [*command, "--nworkers", "1", "--nthreads", "1"], env=env, stdout=log, stderr=log
            )
            try:
                deadline = time.monotonic() + 60
                while not cluster.scheduler_info["workers"] and time.monotonic() < deadline:
                    time.sleep(0.2)
                with pytest.raises(ClusterError, match=r"1 of 1 workers of .* lack physics-twins"):
                    clusters.connect(where)
                time.sleep(1.0)
                assert worker.poll() is None
                assert len(cluster.scheduler_info["workers"]) == 1
            finally:
                worker.terminate()
                worker.wait(30)
    assert "Closing Nanny gracefully" not in (tmp_path / "log").read_text().split("Signals.SIGTERM")[0]
