import importlib

import numpy as np
import pytest
import torch
import xarray as xr
from small_flows import layer_log_prob, untrained
from torch.nn import functional

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes, conditions
from physics_twins.calorimeter.flow.shower_tensors import ShowerTensors
from physics_twins.calorimeter.flow.weights import pack
from physics_twins.calorimeter.flow_parameters import FlowParameters
from physics_twins.calorimeter.infer import generate, infer
from physics_twins.calorimeter.model import ShowerFlow, flow_of, load_flow, save_flow
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate
from physics_twins.calorimeter.train import learnt_from, mirrored, train
from physics_twins.models import Card, ModelError

# The module, whose name a function of the package has.
training_of_flows = importlib.import_module("physics_twins.calorimeter.train")
ASKED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0, n_showers=12
)


# Processors without AVX-512 sum a product of matrices in an order that depends on the number of rows:
# 1e-6 of an energy in MeV, where another shower differs by all of it.
ROUNDING = {"rtol": 1e-4, "atol": 1e-3}


@pytest.fixture(scope="module")
def flow() -> ShowerFlow:
    return flow_of([untrained(1), untrained(2)], ASKED, absorber_mm=(1.2, 1.6))


def known(showers: xr.Dataset) -> torch.Tensor:
    energy, theta = (torch.from_numpy(showers[n].values) for n in ("energy_gev", "theta_deg"))
    return conditions(energy, theta, torch.full_like(energy, showers.attrs["absorber_mm"])).float()


def test_all_probability_of_a_division_adds_up_to_one():
    outputs = torch.randn(splits.N_OUTPUTS, generator=torch.Generator().manual_seed(2)).double()
    whole = 3.0
    outputs[3 + 2 * splits.N_COMPONENTS :] = 0.0
    # In steps of the logit, in which the density is smooth.
    z = torch.linspace(-17.9, 17.9, 20_001, dtype=torch.float64)
    left = splits.THRESHOLD_MEV + (whole - 2 * splits.THRESHOLD_MEV) * z.sigmoid()
    density = splits.log_probability(outputs.expand(len(z), -1), left, whole - left).exp()
    divided = torch.trapezoid(density, z)
    ends = torch.tensor([whole, 0.0], dtype=torch.float64)
    alone = splits.log_probability(outputs.expand(2, -1), ends, whole - ends).exp().sum()
    assert float(divided + alone) == pytest.approx(1, abs=1e-5)


def test_all_probability_of_a_division_with_steps_adds_up_to_one():
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(splits.N_STEPPED_OUTPUTS, generator=generator).double()
    outputs[3 + 2 * splits.N_COMPONENTS : splits.N_OUTPUTS] = 0.0
    steps = torch.randn(2 * splits.N_STEPS, generator=generator).double()
    whole = 3.0
    edges = torch.from_numpy(splits.STEP_EDGES_MEV[1:-3])
    cuts = splits.share_logit(torch.cat([edges, whole - edges]), torch.cat([whole - edges, edges]))
    cuts = torch.cat([cuts, torch.tensor([-17.9, 17.9])]).sort().values
    # Between steps the density is smooth: middles of 200 pieces of each.
    pieces = (torch.arange(200) + 0.5) / 200
    width = cuts.diff()[:, None]
    z = cuts[:-1, None] + width * pieces
    left = splits.THRESHOLD_MEV + (whole - 2 * splits.THRESHOLD_MEV) * z.flatten().sigmoid()
    told = (outputs.expand(len(left), -1), steps.expand(len(left), -1), left, whole - left)
    density = splits.stepped_log_probability(*told).exp().unflatten(0, z.shape)
    divided = (density.mean(dim=1, keepdim=True) * width).sum()
    ends = torch.tensor([whole, 0.0], dtype=torch.float64)
    told = (outputs.expand(2, -1), steps[None, :].expand(0, -1), ends, whole - ends)
    alone = splits.stepped_log_probability(*told).exp().sum()
    assert float(divided + alone) == pytest.approx(1, abs=1e-4)


def test_the_density_per_mev_of_a_division_adds_up_to_one_too():
    outputs = torch.zeros(splits.N_OUTPUTS, dtype=torch.float64)
    left = torch.linspace(0.02, 2.98, 200_001, dtype=torch.float64)
    right = 3.0 - left
    found = splits.log_probability(outputs.expand(len(left), -1), left, right)
    per_mev = (found + splits.log_jacobian(left, right)).exp()
    # A third is divided; logistic tails lie beyond 0.02 MeV.
    assert float(torch.trapezoid(per_mev, left)) == pytest.approx(1 / 3, abs=2e-3)


def test_too_little_energy_for_two_cells_is_not_divided():
    outputs = torch.zeros(splits.N_OUTPUTS)
    assert float(splits.outcome_logits(outputs, torch.tensor(0.03)).softmax(-1)[splits.BOTH]) < 1e-9


def on_the_line(showers: xr.Dataset) -> float:
    """Part of the cells with energy that hold an annihilation photon's."""
    cells = showers["showers"].values
    return float((abs(cells - splits.ELECTRON_MEV) < 4e-5).sum() / (cells > 0).sum())


def test_a_cell_can_hold_the_energy_of_an_annihilation_photon():
    network = untrained(3)
    line = int(splits.step_number(torch.tensor(splits.ELECTRON_MEV)))
    before = on_the_line(generate(flow_of([network], ASKED, absorber_mm=(1.2, 1.6)), ASKED, seed=1))
    with torch.no_grad():
        for head in (network.ring_head, *network.angle_heads):
            head.steps.bias[[line, splits.N_STEPS + line]] += 8
            head.gates.bias[:] = 4
    after = on_the_line(generate(flow_of([network], ASKED, absorber_mm=(1.2, 1.6)), ASKED, seed=1))
    assert before < 0.005
    assert after > 0.02


def test_the_shipped_flow_has_as_many_annihilation_photons_as_geant4():
    asked = CalorimeterParameters(**CALO_CHALLENGE_2, energy_gev=2.0, n_showers=100)
    real = simulate(asked, seed=21, progress=False)
    expected = on_the_line(real)
    # Some 1,300 cells of each; five standard errors.
    assert on_the_line(infer(load_flow(), real, seed=22)) == pytest.approx(expected, rel=0.2)
    # Weights of the right form that are wrong are noticed: those that never choose a step.
    wrong = load_flow()
    with torch.no_grad():
        for member in wrong.members:
            for head in (member.ring_head, *member.angle_heads):
                head.gates.bias.fill_(-1e4)
    assert on_the_line(infer(wrong, real, seed=22)) < 0.2 * expected


def test_a_layer_is_not_seen_before_it_is_drawn(flow):
    cells = ShowerTensors.of(generate(flow, ASKED, seed=4)).cells_mev
    network, told = flow.members[0], torch.zeros(len(cells), 3)
    layers = cells.sum(dim=(2, 3))
    changed = cells.clone()
    changed[:, 2] = changed[:, 2].flip(1)
    before, after = (network.context(c, layers, told) for c in (cells, changed))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_a_half_is_not_seen_before_it_is_drawn():
    cells = torch.rand(1, 45, 16, 9) + 0.1
    moved = cells.clone()
    # Energy that moves between two cells of a pair is not seen by halvings before that of the pair.
    moved[0, 5, 6, 4] += 0.05
    moved[0, 5, 7, 4] -= 0.05
    rows = [neighbours.rows(neighbours.energies(c)) for c in (cells, moved)]
    own = (neighbours.N_ROWS - 1) * neighbours.N_PLACES  # where the layer's own row begins
    seen = [row[0, 5, own + neighbours.DIVISIONS.of(4).seen] for row in rows]
    of_ring = 4 * 8
    assert torch.allclose(seen[0][of_ring : of_ring + 4], seen[1][of_ring : of_ring + 4], atol=1e-6)
    assert not torch.allclose(seen[0][of_ring + 4], seen[1][of_ring + 4], atol=1e-6)


def test_what_is_seen_of_all_layers_before_is_how_they_lean_and_nothing_of_the_layer_itself():
    cells = torch.zeros(1, 45, 16, 9)
    # 3 MeV in the first half of the second ring of layer 7, and 1 MeV in its other half in layer 9.
    cells[0, 7, 2, 1], cells[0, 9, 12, 1] = 3.0, 1.0
    rows = neighbours.rows(neighbours.energies(cells))[0].unflatten(1, (neighbours.N_ROWS, -1))
    half, ring = neighbours.OF_RING + 1, neighbours.OF_RING + neighbours.WHOLE
    long, short, two_before, before, own = rows[..., half].unbind(1)
    for lean, keeps in ((short, neighbours.KEEPS[0]), (long, neighbours.KEEPS[1])):
        expected = torch.zeros(45)
        expected[8:10], expected[10:] = 1.0, (3 * keeps**2 - 1) / (3 * keeps**2 + 1)
        assert torch.allclose(lean, expected, atol=1e-5)
    assert [each.argmax().item() for each in (two_before, before, own)] == [9, 8, 7]
    # All is in the second ring: it has more than those outside it, and the first has less.
    assert rows[44, :2, ring].tolist() == [1.0, 1.0]
    assert rows[44, :2, neighbours.WHOLE].tolist() == [-1.0, -1.0]


def test_only_what_is_known_is_divided_and_seen():
    known = {neighbours.N_PLACES - 1, neighbours.BEYOND}  # nothing, and the whole layer
    for whole, left, right, seen in zip(*neighbours.DIVISIONS[2:], strict=True):
        assert {whole, *seen[seen >= 0]} <= known
        assert not {left, right} & known
        known |= {left, right}
    # The last ring is all that is further out than the one before it.
    assert set(range(neighbours.N_PLACES)) - known == {(neighbours.N_RINGS - 1) * neighbours.OF_RING}


def test_layers_add_up_to_cells_and_no_cell_is_below_threshold(flow):
    showers = generate(flow, ASKED, seed=5)["showers"].values
    assert showers[showers > 0].min() >= splits.THRESHOLD_MEV * (1 - 1e-6)
    assert np.isfinite(showers).all()


def test_showers_are_the_same_whatever_their_number(flow):
    # More than are drawn in one block.
    many = generate(flow, ASKED.replace(n_showers=150), seed=6)
    few = generate(flow, ASKED.replace(n_showers=5), seed=6)
    xr.testing.assert_allclose(few, many.isel(shower=slice(0, 5)), **ROUNDING)


def test_members_draw_in_turn(flow):
    both = generate(flow, ASKED, seed=6)["showers"].values
    first, second = (generate(flow, ASKED, seed=6, member=m)["showers"].values for m in (0, 1))
    np.testing.assert_allclose(both[0::2], first[0::2], **ROUNDING)
    np.testing.assert_allclose(both[1::2], second[1::2], **ROUNDING)


def test_showers_can_be_drawn_for_the_particles_of_others(flow):
    others = generate(flow, ASKED, seed=7)
    again = infer(flow, others, seed=8)
    assert np.array_equal(again["energy_gev"], others["energy_gev"])
    assert not np.array_equal(again["showers"], others["showers"])


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("energy_max_gev", 30.0, "energy_gev = 30 GeV is outside 1 to 20 GeV"),
        ("theta_max_deg", 40.0, "theta_deg = 40 deg is outside 0 to 30 deg"),
        ("absorber_mm", 1.7, "absorber_mm = 1.7 mm is outside 1.2 to 1.6 mm"),
        ("particle", "photon", "particle = 'photon'"),
        ("threshold_kev", 10.0, "threshold_kev = 10.0"),
    ],
)
def test_what_was_not_learnt_is_refused(flow, name, value, told):
    with pytest.raises(ValueError, match=told):
        generate(flow, ASKED.replace(**{name: value}), seed=1)


def test_what_was_not_learnt_can_be_asked_for(flow):
    wider = ASKED.replace(energy_max_gev=30.0, n_showers=3)
    assert generate(flow, wider, seed=1, extrapolate=True).sizes["shower"] == 3


def test_a_member_that_is_not_there_is_refused(flow):
    with pytest.raises(ValueError, match="member = 2 must be from 0 to 1"):
        generate(flow, ASKED, seed=1, member=2)


def test_a_flow_is_saved_and_loaded_unchanged(flow, tmp_path):
    card = Card("for a test", "none", "all")
    facts = {"card": card, "metrics": {}, "parameters": {}, "seed": 1, "root": tmp_path}
    save_flow(flow, **facts)
    again = load_flow(root=tmp_path)
    assert again.ranges == flow.ranges
    first, second = (generate(each, ASKED, seed=9)["showers"] for each in (flow, again))
    xr.testing.assert_equal(first, second)


def test_another_model_is_no_flow(tmp_path):
    from physics_twins import models

    card = Card("for a test", "none", "all")
    weights = {"a": torch.zeros(2)}
    facts = {"card": card, "metrics": {}, "parameters": {}, "seed": 1, "root": tmp_path}
    models.save(weights, "calorimeter-flow", config={"sizes": {}}, **facts)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_flow(root=tmp_path)


def test_the_density_of_layers_follows_a_change_of_the_energy_scale(flow):
    layers = torch.from_numpy(generate(flow, ASKED, seed=10, member=0)["showers"].values)
    layers = layers.sum(dim=(2, 3), dtype=torch.float64)
    energy = 2 * layers.sum(dim=1) / 1e3
    told = (energy, torch.zeros(12), torch.full((12,), 1.4))
    scale = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)

    def log_prob(s: torch.Tensor) -> torch.Tensor:
        return layer_log_prob(flow.members[0], layers * s, *told).sum()

    slope = torch.autograd.grad(log_prob(scale), scale)[0]
    step = 1e-4
    with torch.no_grad():
        secant = (log_prob(scale + step) - log_prob(scale - step)) / (2 * step)
    # What the network sees is in single precision.
    assert float(slope) == pytest.approx(float(secant), rel=0.02)


def test_about_half_of_the_showers_are_mirrored():
    cells = torch.rand(20, 45, 16, 9, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        images = mirrored(cells)
    same = (images == cells).all(dim=(1, 2, 3))
    assert 2 < int(same.sum()) < 18
    assert torch.equal(images[~same], cells[~same].flip(2))


def test_each_member_leaves_out_another_part():
    settings = FlowParameters(n_members=5)
    parts = [set(learnt_from(23, settings, m).tolist()) for m in range(5)]
    missing = [set(range(23)) - part for part in parts]
    assert set.union(*missing) == set(range(23))
    assert sum(map(len, missing)) == 23


def test_training_makes_showers_more_likely(flow, tmp_path):
    showers = generate(flow, ASKED.replace(n_showers=40), seed=11, member=0)
    small = {"hidden": 16, "context": 16, "memory": 16, "layers": 16}
    settings = FlowParameters(n_steps=12, batch_size=8, n_members=1, validate_every=6, **small)
    options = {"validation": showers, "seed": 1, "folder": tmp_path, "progress": False}
    trained = train(showers, settings, **options)
    loss = trained.history["network_loss"].values
    assert loss[-3:].mean() < 0.9 * loss[:3].mean()


@pytest.fixture(scope="module")
def start(flow, tmp_path_factory):
    """Settings that start from a saved flow, and its showers."""
    root = tmp_path_factory.mktemp("models")
    facts = {"card": Card("for a test", "none", "all"), "metrics": {}, "parameters": {}, "seed": 1}
    save_flow(flow, root=root, **facts)
    small = {"hidden": 16, "context": 16, "memory": 16, "layers": 16}
    settings = FlowParameters(
        n_steps=4, batch_size=8, n_members=2, validate_every=4, start="calorimeter-flow/1", **small
    )
    return root, settings, generate(flow, ASKED.replace(n_showers=20), seed=11, member=0)


def test_a_training_that_starts_from_a_flow_leaves_its_layers_as_they_are(flow, start, monkeypatch):
    root, settings, showers = start
    monkeypatch.setattr(
        training_of_flows, "load_flow", lambda address, **told: load_flow(address, root=root, **told)
    )
    trained = train(showers, settings, validation=showers, seed=1, member=1, progress=False)
    before, after = flow.members[1].state_dict(), trained.modules["network"].state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if not name.startswith(("ring_head.", "angle_heads."))}


def test_older_weights_are_trained_on_but_not_drawn_from(start, tmp_path, monkeypatch):
    _, settings, showers = start
    with torch.random.fork_rng():
        torch.manual_seed(4)
        old = [ShowerNetwork(Sizes(hidden=16, context=16, memory=16, layers=16, leans=0))] * 2
    facts = {"card": Card("for a test", "none", "all"), "metrics": {}, "parameters": {}, "seed": 1}
    save_flow(flow_of(old, ASKED, absorber_mm=(1.2, 1.6)), root=tmp_path, **facts)
    with pytest.raises(ModelError, match="saw less of the layers before"):
        load_flow(root=tmp_path)
    monkeypatch.setattr(
        training_of_flows, "load_flow", lambda address, **told: load_flow(root=tmp_path, **told)
    )
    trained = train(showers, settings, validation=showers, seed=1, progress=False)
    near = [net.ring_head.near.weight for net in (old[0], trained.modules["network"])]
    assert [each.shape[1] for each in near] == [12, 15]
    # Four steps change little.
    assert torch.allclose(near[1], functional.pad(near[0][:, :11], (0, 4)), atol=0.1)


def test_a_flow_of_other_widths_is_no_start(start, monkeypatch):
    root, settings, showers = start
    monkeypatch.setattr(
        training_of_flows, "load_flow", lambda address, **told: load_flow(address, root=root, **told)
    )
    with pytest.raises(ValueError, match=r"start = 'calorimeter-flow/1' has Sizes\(hidden=16"):
        train(showers, settings.replace(hidden=24), validation=showers, seed=1, progress=False)


def test_showers_of_other_cells_are_refused():
    showers = generate(flow_of([untrained()], ASKED, absorber_mm=(1.2, 1.6)), ASKED, seed=1)
    with pytest.raises(ValueError, match=r"'depth': 44"):
        ShowerTensors.of(showers.isel(depth=slice(0, 44)))
    with pytest.raises(ValueError, match=r"sensor_mm = 0\.5"):
        ShowerTensors.of(showers.assign_attrs(sensor_mm=0.5))


def test_a_cell_that_is_no_number_is_named(flow):
    showers = generate(flow, ASKED, seed=1)
    showers["showers"][4, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="shower 4"):
        ShowerTensors.of(showers)


def test_compiled_code_sees_all_weights(flow):
    packed = pack(flow.members[0])
    flat = [a for part in packed[:-2] for a in _arrays(part)]
    # Of what a ring does not see, the compiled code has weights of 0.
    more = (neighbours.N_ANGLE_INPUTS - neighbours.N_RING_INPUTS) * flow.members[0].sizes.hidden
    assert sum(a.size for a in flat) == more + sum(p.numel() for p in flow.members[0].parameters())


def _arrays(part: object) -> list[np.ndarray]:
    if isinstance(part, np.ndarray):
        return [part]
    return [a for each in part for a in _arrays(each)]  # type: ignore[attr-defined]
