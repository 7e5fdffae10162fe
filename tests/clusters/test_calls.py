"""Many calls on workers: in order, few at a time, cancelled when nobody wants them."""

import time
from functools import partial
from operator import mul

import pytest

from physics_twins import clusters
from physics_twins.clusters import ClusterError, results


@pytest.fixture(scope="module")
def client():
    with clusters.connect("threads", jobs=2) as client:
        yield client


def fails():
    raise ValueError("not this one")


@pytest.mark.parametrize("ahead", [None, 1, 3])
def test_results_come_in_the_order_of_the_calls(client, ahead):
    calls = [partial(mul, n, n) for n in range(12)]
    assert list(results(client, calls, ahead=ahead)) == [n * n for n in range(12)]
    assert list(results(None, calls, ahead=ahead)) == [n * n for n in range(12)]


def test_only_as_many_are_asked_for_as_are_wanted_ahead(client):
    asked = []

    def calls():
        for n in range(1000):
            asked.append(n)
            yield partial(mul, n, 1)

    coming = results(client, calls(), ahead=2)
    assert [next(coming) for _ in range(3)] == [0, 1, 2]
    # One worker with two threads; one more is drawn to see that it is too many.
    assert len(asked) <= 3 + 2
    coming.close()


def test_here_a_call_is_made_when_it_is_wanted():
    made = []
    coming = results(None, [partial(made.append, n) for n in range(3)])
    assert made == []
    next(coming)
    assert made == [0]


def test_what_is_not_wanted_any_more_is_cancelled(client):
    coming = results(client, [partial(time.sleep, 0.3)] * 40)
    next(coming)
    coming.close()
    begun = time.monotonic()
    assert client.submit(mul, 6, 7, pure=False).result(timeout=30) == 42
    assert time.monotonic() - begun < 5  # 40 of them would have taken 6 s with two threads


def test_what_a_call_raises_comes_through(client):
    with pytest.raises(ValueError, match="not this one"):
        list(results(client, [fails]))


def test_a_cluster_that_is_lost_is_told_in_a_sentence():
    with clusters.connect("threads", jobs=1) as client:
        coming = results(client, [partial(mul, 2, 3), partial(time.sleep, 3)])
        assert next(coming) == 6
    with pytest.raises(ClusterError, match="the cluster was closed: start the cluster again"):
        next(coming)
