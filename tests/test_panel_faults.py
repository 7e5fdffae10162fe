"""What goes wrong beside a panel is told in a sentence that says what next; the last frame stays."""

import os
import threading
import time
from functools import partial

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from twin_panels.background import Background
from twin_panels.farmed import WorkerError, farmed
from twin_panels.pulsar import PulsarPanel

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def square(number: int) -> int:
    return number**2


def fails() -> None:
    raise ValueError("no such shower")


@pytest.fixture(scope="module")
def client():
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        yield client


def results(iterator) -> list:
    return [each for each in iterator if each is not None]


def test_workers_results_all_come(client):
    calls = [partial(square, n) for n in range(5)]
    assert sorted(results(farmed(client, calls))) == [0, 1, 4, 9, 16]


def test_what_a_call_raises_is_raised(client):
    with pytest.raises(ValueError, match="no such shower"):
        results(farmed(client, [fails]))


def test_calls_that_nobody_waits_for_are_cancelled(client):
    begun, go_on = [], threading.Event()

    def slow(number: int) -> int:
        begun.append(number)
        go_on.wait(5)
        return number

    iterator = farmed(client, [partial(slow, n) for n in range(10)])
    while next(iterator) is None and not begun:
        pass
    iterator.close()
    go_on.set()
    assert client.submit(square, 3).result(timeout=10) == 9  # behind them in the queue
    assert len(begun) < 10


def test_a_newer_request_takes_the_place_of_farmed_work(client):
    heard: list = []
    background = Background(heard.append, settle_s=0.0)
    started, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        go_on.wait(10)
        return "stale"

    background.ask(lambda: farmed(client, [slow]))
    assert started.wait(10)
    background.ask(lambda: farmed(client, [partial(square, 7)]))
    time.sleep(0.5)
    go_on.set()
    background.wait()
    assert heard == [49]


def test_without_workers_a_sentence_says_what_to_do():
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        pytest.raises(WorkerError, match=r"no worker has come within 0\.3 s: start the cluster again"),
    ):
        results(farmed(client, [partial(square, 1)], no_worker_s=0.3))


def test_a_closed_cluster_is_told():
    with Client(processes=False, n_workers=1, dashboard_address=None) as client:
        pass
    with pytest.raises(WorkerError, match=r"does not answer .* build the panel without client="):
        results(farmed(client, [partial(square, 1)]))


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_the_last_frame_stays(monkeypatch):
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        panel = PulsarPanel(client=client)
        monkeypatch.setattr("twin_panels.pulsar._label", lambda *_: os._exit(1))
        panel.controls["dm_pc_cm3"].value = 60.0
        frame = panel.image.source.data["image"][0]
        panel.wait()
        assert panel.note.startswith("Not labelled: workers died while they computed this")
        assert "start the cluster again" in panel.note
        assert np.array_equal(panel.image.source.data["image"][0], frame)
        assert panel.error == ""
