"""What goes wrong beside a panel is told in a sentence that says what next; the last frame stays."""

import os
import threading
import time
from functools import partial
from typing import ClassVar

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from physics_twins.clusters import ClusterError
from twin_panels.background import Background
from twin_panels.farmed import farmed
from twin_panels.pulsar import PulsarPanel

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def square(number: int) -> int:
    return number**2


def fails() -> None:
    raise ValueError("no such shower")


class Gate:
    """Where calls wait until a test lets them go on; workers are threads here and share it."""

    begun, go_on = threading.Event(), threading.Event()
    numbers: ClassVar[list[int]] = []


@pytest.fixture
def gate():
    Gate.begun.clear()
    Gate.go_on.clear()
    Gate.numbers.clear()
    yield Gate
    Gate.go_on.set()


def waits(number: int) -> int:
    Gate.numbers.append(number)
    Gate.begun.set()
    Gate.go_on.wait(20)
    return number


@pytest.fixture(scope="module")
def client():
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        yield client


def results(iterator) -> list:
    return [each for each in iterator if each is not None]


def test_workers_results_all_come(client):
    calls = [partial(square, n) for n in range(5)]
    assert sorted(results(farmed(client, calls))) == [0, 1, 4, 9, 16]


def test_what_a_call_raises_is_raised(client):
    with pytest.raises(ValueError, match="no such shower"):
        results(farmed(client, [fails]))


def test_calls_that_nobody_waits_for_are_cancelled(client, gate):
    iterator = farmed(client, [partial(waits, n) for n in range(10)])
    while not gate.begun.is_set():
        assert next(iterator) is None
    iterator.close()
    gate.go_on.set()
    assert client.submit(square, 3).result(timeout=20) == 9  # behind them in the queue
    assert len(gate.numbers) < 10


def test_a_newer_request_takes_the_place_of_farmed_work(client, gate):
    heard: list = []
    background = Background(heard.append, settle_s=0.0)
    background.ask(lambda: farmed(client, [partial(waits, 1)]))
    assert gate.begun.wait(20)
    background.ask(lambda: farmed(client, [partial(square, 7)]))
    time.sleep(0.5)
    gate.go_on.set()
    background.wait()
    assert heard == [49]


def test_without_workers_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr("physics_twins.clusters.calls.NO_WORKER_S", 0.3)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        pytest.raises(ClusterError, match=r"no worker has come within 0\.3 s: start the cluster again"),
    ):
        results(farmed(client, [partial(square, 1)]))


def test_a_closed_cluster_is_told():
    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        pass
    with pytest.raises(
        ClusterError, match=r"the cluster was closed: .* build the panel without client="
    ):
        results(farmed(client, [partial(square, 1)]))


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_the_last_frame_stays(monkeypatch):
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        monkeypatch.setattr("twin_panels.pulsar._label", lambda *_: os._exit(1))
        panel = PulsarPanel(client=client)
        frame = panel.image.source.data["image"][0]
        panel.wait()
        assert panel.note.startswith("Not labelled: workers died while they computed this")
        assert "start the cluster again" in panel.note
        assert np.array_equal(panel.image.source.data["image"][0], frame)
        assert panel.error == ""
