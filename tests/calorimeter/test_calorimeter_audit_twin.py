"""An audit of the flow fires the same showers on any workers, goes on, and leaves nothing behind."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import xarray as xr

from physics_twins import clusters
from physics_twins.calorimeter.audit import last_audit
from physics_twins.calorimeter.audit_twin import Showers, audit_twin
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters


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

    monkeypatch.setattr(sys.modules[audit_twin.__module__], "chunk", chunk)
    return first_ones


OPTIONS: dict[str, Any] = {"seed": 5, "n_showers": 70, "n_twin": 200, "progress": False}


def test_workers_change_nothing_and_batches_are_requested_ahead(flow, point, fired):
    alone = audit_twin(flow, point, batch=25, go_on=True, **OPTIONS)
    client = Client()
    seen = []
    options = OPTIONS | {"client": client, "on_batch": lambda test: seen.append(len(client.given))}
    together = audit_twin(flow, point, batch=25, go_on=True, **options)
    xr.testing.assert_identical(alone, together)
    assert seen[0] == 7  # all seven pieces, before the first batch of three is compared
    assert all(future.released for future in client.given)


def test_a_rejection_stops_it_and_cancels_what_is_left(flow, point, fired):
    client = Client()
    audit = audit_twin(flow, point, batch=10, client=client, **OPTIONS | {"n_showers": 500})
    assert audit.attrs["verdict"].startswith("rejected here")
    assert audit.attrs["model"] == flow.address
    taken = audit.sizes["n"] // 10
    assert len(client.cancelled) == len(client.given) - taken > 0


def test_an_interrupted_audit_goes_on_with_what_it_has(flow, point, fired, tmp_path):
    def stop(test):
        raise KeyboardInterrupt

    options = OPTIONS | {"batch": 20, "folder": tmp_path / "audit", "go_on": True}
    with pytest.raises(KeyboardInterrupt):
        audit_twin(flow, point, on_batch=stop, **options)
    assert fired == [0, 10]
    again = audit_twin(flow, point, **options)
    assert fired == [0, 10, 20, 30, 40, 50, 60]
    without = {name: value for name, value in options.items() if name != "folder"}
    xr.testing.assert_allclose(again, audit_twin(flow, point, **without))


def test_a_folder_of_another_audit_is_refused(point, tmp_path):
    Showers(point, 5, 10, folder=tmp_path)
    with pytest.raises(ValueError, match="holds another sample"):
        Showers(point.replace(energy_gev=2.0), 5, 10, folder=tmp_path)


def test_a_flow_is_not_rejected_against_its_own_showers(flow, point, monkeypatch):
    def chunk(parameters, seed, first, count):
        drawn = generate(flow, parameters.replace(n_showers=first + count), seed=seed)
        return drawn.isel(shower=slice(first, None))

    monkeypatch.setattr(sys.modules[audit_twin.__module__], "chunk", chunk)
    audit = audit_twin(flow, point, **OPTIONS)
    assert audit.attrs["verdict"] == "not rejected after 70 showers"


def test_an_audit_is_found_again_where_it_was_made_and_nowhere_else(flow, point, fired):
    audit = audit_twin(flow, point, **OPTIONS)
    where = {"energy_gev": 1.05, "theta_deg": 0.0, "absorber_mm": 1.4}
    assert last_audit([audit], **where) is audit
    for elsewhere in ({"energy_gev": 2.0}, {"theta_deg": 20.0}, {"absorber_mm": 1.5}):
        assert last_audit([audit], **(where | elsewhere)) is None


@pytest.mark.slow
def test_geant4_on_workers_fires_the_same_showers(point):
    with (
        clusters.connect("local", jobs=2) as client,
        Showers(point, 7, 25, client=client) as showers,
    ):
        far = xr.concat([showers(0, 15), showers(15, 10)], "shower", join="exact")
    with Showers(point, 7, 25) as showers:
        near = showers(0, 25)
    xr.testing.assert_equal(far["showers"], near["showers"])
