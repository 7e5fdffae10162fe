"""The flow as a graph of tensors and as an ONNX file: the same showers as compiled code draws."""

import numpy as np
import pytest
import torch
from small_flows import untrained

from physics_twins.calorimeter import draw_onnx
from physics_twins.calorimeter.flow import onnx_file, splits
from physics_twins.calorimeter.flow.graph import N_UNIFORMS, ShowerGraph
from physics_twins.calorimeter.geant4 import beam as beams
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import flow_of
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.models import ModelError, onnx
from physics_twins.models.folder import onnx_session

# Of torch's own exporter, where another thread changes the filters that it sets meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

N = 60
ASKED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0, n_showers=N
)


@pytest.fixture(scope="module")
def network():
    return untrained()


def uniforms_of(seeds):
    """Return the random numbers that compiled code takes, of each seed, by splitmix64."""
    x = seeds[:, None] + np.arange(1, N_UNIFORMS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return torch.from_numpy(((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(float) + 0.5) / 2**53


@pytest.fixture(scope="module")
def drawn(network):
    """Showers of the compiled code."""
    return generate(flow_of([network], ASKED, absorber_mm=(1.2, 1.6)), ASKED, seed=2)


@pytest.fixture(scope="module")
def given(drawn):
    """What the graph has to be given for the same showers."""
    seeds = beams.draw(ASKED, seed=2, first=0, count=N).stream[:, 0]
    known = [torch.from_numpy(drawn[name].values).float() for name in ("energy_gev", "theta_deg")]
    return *known, torch.full((N,), ASKED.absorber_mm), uniforms_of(seeds)


@pytest.fixture(scope="module")
def cells(network, given):
    """The same showers of the graph."""
    with torch.no_grad():
        return ShowerGraph(network).eval()(*given)


def part_alike(cells, drawn):
    """Return which part of showers has the same energy in every cell, but for rounding."""
    away = abs(cells.numpy() - drawn["showers"].values)
    return float((away.max(axis=(1, 2, 3)) < 1e-3).mean())


def differ(first, second):
    """By how many standard errors two means differ."""
    error = np.hypot(first.std() / len(first) ** 0.5, second.std() / len(second) ** 0.5)
    return abs(first.mean() - second.mean()) / error


def test_no_cell_of_the_graph_is_below_threshold(cells):
    filled = cells[cells > 0]
    assert len(filled) > 1000
    assert float(filled.min()) >= splits.THRESHOLD_MEV * (1 - 1e-6)
    assert float(cells.min()) == 0


def test_compiled_code_draws_the_showers_of_the_graph_cell_by_cell(cells, drawn):
    layers = drawn["showers"].sum(("angle", "radius"), dtype=float).values
    np.testing.assert_allclose(cells.double().sum(dim=(2, 3)), layers, rtol=1e-4, atol=1e-3)
    # Where a random number lies within rounding of a decision, all that follows is another shower.
    assert part_alike(cells, drawn) > 0.8


def test_a_graph_that_sees_one_number_wrong_draws_other_showers(network, given, drawn):
    graph = ShowerGraph(network).eval()
    graph.seen[:, 12] = graph.seen[:, 11]
    with torch.no_grad():
        assert part_alike(graph(*given), drawn) < 0.2


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
    energy, told = drawn["energy_gev"].values, {"theta_deg": drawn["theta_deg"], "absorber_mm": 1.4}
    cells = draw_onnx.draw(session, energy, seed=4, **told)
    assert cells.shape == (N, 45, 16, 9)
    shares = [
        each.sum(axis=(1, 2, 3), dtype=float) / energy for each in (cells, drawn["showers"].values)
    ]
    assert differ(*shares) < 4
    assert not np.array_equal(cells, draw_onnx.draw(session, energy, seed=5, **told))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("energy", "words"),
    [([1.0, -2.0], "energy_gev = -2 GeV"), ([1.0, np.nan], "energy_gev must hold one finite number")],
)
def test_energies_that_are_none_are_refused(session, energy, words):
    with pytest.raises(ValueError, match=words):
        draw_onnx.draw(session, energy, theta_deg=0.0, absorber_mm=1.4, seed=1)
