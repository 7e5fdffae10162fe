"""An audit of the flow fires the same showers on any workers, and leaves nothing behind."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import xarray as xr

from physics_twins import clusters
from physics_twins.calorimeter.audit_twin import audit_twin
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import pieces

# The module, whose name a function of the package has.
simulations = sys.modules[pieces.__module__]


class Future:
    """Work that is done when it is asked for."""

    def __init__(self, work: Callable[[], xr.Dataset]) -> None:
        self.result, self.released = work, False

    def release(self) -> None:
        self.released = True


class Client:
    """A client of three workers that keeps account of what it was given."""

    def __init__(self) -> None:
        self.given: list[Future] = []
        self.cancelled: list[Future] = []

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys("abc", 1)

    def submit(self, function: Callable[..., xr.Dataset], *told: Any, pure: bool, key: str) -> Future:
        assert not pure
        assert key
        self.given.append(Future(lambda: function(*told)))
        return self.given[-1]

    def cancel(self, futures: list[Future]) -> None:
        self.cancelled += futures


@pytest.fixture(scope="module")
def flow() -> ShowerFlow:
    return load_flow()


@pytest.fixture
def point(flow) -> CalorimeterParameters:
    return flow.parameters.replace(energy_gev=1.0, energy_max_gev=0.0, theta_max_deg=0.0)


@pytest.fixture
def fired(flow, monkeypatch) -> list[int]:
    """Pieces that were fired, by their first shower; the flow stands in for Geant4, 20 % too bright."""
    first_ones: list[int] = []

    def chunk(parameters, seed, first, count):
        first_ones.append(first)
        drawn = generate(flow, parameters.replace(n_showers=first + count), seed=seed)
        return drawn.isel(shower=slice(first, None)).assign(showers=1.2 * drawn["showers"][first:])

    monkeypatch.setattr(simulations, "chunk", chunk)
    return first_ones


PARTS = [(0, 10), (10, 10), (20, 5)]
OPTIONS: dict[str, Any] = {"seed": 5, "n_showers": 70, "n_twin": 200, "progress": False}


def test_workers_change_nothing_and_pieces_are_requested_ahead(flow, point, fired):
    alone = audit_twin(flow, point, **OPTIONS)
    n_alone = len(fired)
    client = Client()
    xr.testing.assert_identical(alone, audit_twin(flow, point, client=client, **OPTIONS))
    # All seven pieces, before the first is compared.
    assert len(client.given) == 7 > n_alone
    assert all(future.released for future in client.given[:n_alone])


def test_a_rejection_stops_it_and_cancels_what_is_left(flow, point, fired):
    client = Client()
    audit = audit_twin(flow, point, client=client, **OPTIONS | {"n_showers": 500})
    assert audit.attrs["verdict"].startswith("rejected here")
    assert audit.attrs["model"] == flow.address
    taken = audit.sizes["n"] // 10
    assert len(client.cancelled) == len(client.given) - taken > 0


def test_a_flow_is_not_rejected_against_its_own_showers(flow, point, monkeypatch):
    def chunk(parameters, seed, first, count):
        drawn = generate(flow, parameters.replace(n_showers=first + count), seed=seed)
        return drawn.isel(shower=slice(first, None))

    monkeypatch.setattr(simulations, "chunk", chunk)
    audit = audit_twin(flow, point, **OPTIONS)
    assert audit.attrs["verdict"] == "not rejected after 70 showers"


@pytest.mark.slow
def test_geant4_on_workers_fires_the_same_showers(point):
    with clusters.connect("local", jobs=2) as client:
        far = list(pieces(point, PARTS, seed=7, client=client))
    near = list(pieces(point, PARTS, seed=7))
    assert [each.sizes["shower"] for each in near] == [10, 10, 5]
    for one, other in zip(far, near, strict=True):
        xr.testing.assert_equal(one["showers"], other["showers"])
