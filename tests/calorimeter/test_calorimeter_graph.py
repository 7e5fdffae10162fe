"""The flow as a graph of tensors and as an ONNX file: the same showers' distribution and energies."""

import numpy as np
import pytest
import torch
from small_flows import untrained

from physics_twins.calorimeter import draw_onnx
from physics_twins.calorimeter.flow import onnx_file, splits
from physics_twins.calorimeter.flow.graph import N_UNIFORMS, ShowerGraph
from physics_twins.calorimeter.flow.network import conditions
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import flow_of
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.models import ModelError, onnx
from physics_twins.models.folder import onnx_session

# Of torch's own exporter, where another thread changes the filters that it sets meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

N = 120
ASKED = CalorimeterParameters(**CALO_CHALLENGE_2, energy_gev=5.0, n_showers=N)


@pytest.fixture(scope="module")
def network():
    return untrained()


@pytest.fixture(scope="module")
def cells(network):
    """Showers of the graph, all of 5 GeV."""
    uniforms = torch.from_numpy(draw_onnx.uniforms(N, N_UNIFORMS, seed=1))
    known = (torch.full((N,), value) for value in (5.0, 0.0, CALO_CHALLENGE_2["absorber_mm"]))
    with torch.no_grad():
        return ShowerGraph(network).eval()(*known, uniforms)


@pytest.fixture(scope="module")
def drawn(network):
    """As many of the compiled code."""
    flow = flow_of([network], ASKED, absorber_mm=(1.2, 1.6))
    return generate(flow, ASKED, seed=2, with_density=True)


def differ(first, second):
    """By how many standard errors two means differ."""
    error = np.hypot(first.std() / len(first) ** 0.5, second.std() / len(second) ** 0.5)
    return abs(first.mean() - second.mean()) / error


def test_no_cell_of_the_graph_is_below_threshold(cells):
    filled = cells[cells > 0]
    assert len(filled) > 1000
    assert float(filled.min()) >= splits.THRESHOLD_MEV * (1 - 1e-6)
    assert float(cells.min()) == 0


def test_the_graph_draws_showers_that_are_as_likely_as_those_of_compiled_code(network, cells, drawn):
    values = (torch.full((N,), v) for v in (5.0, 0.0, CALO_CHALLENGE_2["absorber_mm"]))
    with torch.no_grad():
        parts = network(cells, conditions(*values).float())
    likely = torch.stack(list(parts.values())).double().sum(dim=0).numpy()
    assert differ(likely, drawn["log_density"].values) < 4


@pytest.mark.parametrize(
    "measure",
    [
        lambda c: c.sum(axis=(1, 2, 3)),
        lambda c: (c > 0).sum(axis=(1, 2, 3)).astype(float),
        lambda c: (c.sum(axis=(2, 3)) * np.arange(45)).sum(axis=1) / c.sum(axis=(1, 2, 3)),
        lambda c: (c.sum(axis=(1, 2)) * np.arange(9)).sum(axis=1) / c.sum(axis=(1, 2, 3)),
        lambda c: c[:, :, :8].sum(axis=(1, 2, 3)) / c.sum(axis=(1, 2, 3)),
    ],
    ids=["energy", "cells", "depth", "radius", "side"],
)
def test_the_graph_draws_showers_like_those_of_compiled_code(cells, drawn, measure):
    assert differ(measure(cells.double().numpy()), measure(drawn["showers"].values.astype(float))) < 4


def test_random_numbers_lie_between_0_and_1():
    numbers = draw_onnx.uniforms(100, 1000, seed=3)
    assert 0 < numbers.min() < numbers.max() < 1


def test_an_onnx_file_that_deviates_is_refused(network, monkeypatch):
    monkeypatch.setattr(onnx, "onnx_file", lambda module, inputs: b"")
    monkeypatch.setattr(onnx, "onnx_session", lambda data: None)
    monkeypatch.setattr(onnx_file, "energy_sum_deviation", lambda network, session: 2e-6)
    with pytest.raises(ModelError, match=r"deviates from torch by 2\.0e-06 of the energy of a shower"):
        onnx_file.export(network)


@pytest.fixture(scope="module")
def session(network):
    data, found = onnx_file.export(network)
    assert 0 < found["largest_deviation"] <= 1e-6
    return onnx_session(data)


@pytest.mark.slow
def test_onnx_gives_the_energies_of_torch_for_other_showers(network, session):
    for n in (1, 5):
        assert onnx_file.energy_sum_deviation(network, session, n=n, seed=7) <= 1e-6


@pytest.mark.slow
def test_showers_are_drawn_without_torch(session, drawn):
    options = {"theta_deg": 0.0, "absorber_mm": 1.4}
    cells = draw_onnx.draw(session, np.full(30, 5.0), seed=4, **options)
    assert cells.shape == (30, 45, 16, 9)
    energies = cells.sum(axis=(1, 2, 3), dtype=float)
    assert differ(energies, drawn["showers"].values.sum(axis=(1, 2, 3), dtype=float)) < 4
    assert not np.array_equal(cells, draw_onnx.draw(session, np.full(30, 5.0), seed=5, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("energy", "words"),
    [([1.0, -2.0], "energy_gev = -2 GeV"), ([1.0, np.nan], "energy_gev must hold one finite number")],
)
def test_energies_that_are_none_are_refused(session, energy, words):
    with pytest.raises(ValueError, match=words):
        draw_onnx.draw(session, energy, theta_deg=0.0, absorber_mm=1.4, seed=1)
