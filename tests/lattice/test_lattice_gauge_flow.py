"""Flows of gauge fields are invertible, equivariant, have the right density, and learn."""

import math

import numpy as np
import pytest
import torch

from physics_twins import models
from physics_twins.lattice import exact
from physics_twins.lattice.errors import measured
from physics_twins.lattice.evaluate import (
    effective_sample_size,
    evaluate,
    forward_sample_size,
)
from physics_twins.lattice.flow.abelian_velocity import AbelianSizes
from physics_twins.lattice.flow.checkerboard import LayerSizes
from physics_twins.lattice.flow.gauge_layers import GaugeLayers
from physics_twins.lattice.flow.gauge_path import GaugePath, matrices, plaquette_angles, plaquettes
from physics_twins.lattice.flow.gauge_velocity import GaugeSizes
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.kinds import velocity_of
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.flow.velocity import Sizes
from physics_twins.lattice.flow_parameters import FlowParameters
from physics_twins.lattice.infer import infer
from physics_twins.lattice.loops import wilson_loops
from physics_twins.lattice.model import CARD, flow_of, load_flow, save_flow
from physics_twins.lattice.parameters import SAMPLERS
from physics_twins.lattice.simulate import simulate
from physics_twins.lattice.train import train, untrained

THEORIES = ("u1", "su2", "su3")
SETTINGS = FlowParameters(
    theory="u1", side=6, beta=7.0, prior_beta=6.46, n_times=4, n_refinements=2, n_refining=600
).replace(n_validation=500, refining_ridge=1e-3)


def any_velocity(theory, shape=(4, 4), prior_beta=0.0):
    """A velocity with weights by chance, which is no good flow and strong enough to see an error."""
    path = GaugePath(theory, shape, 4.0, prior_beta)
    sizes = AbelianSizes() if theory == "u1" else GaugeSizes(reach=min(shape) - 1)
    velocity = velocity_of(path, sizes)
    strength = {"u1": 0.05, "su2": 0.1, "su3": 0.02}[theory]
    generator = torch.Generator().manual_seed(1)
    velocity.weights.data = strength * torch.randn(velocity.weights.shape, generator=generator).double()
    return velocity.requires_grad_(False)


def some_links(velocity, n=2):
    return velocity.path.draw_prior(n, torch.Generator().manual_seed(2))


def generators(n):
    """Antihermitian ones, tr(T_a T_b) = -1/2, from those of Gell-Mann in any number of colours."""
    found = []
    for i in range(n):
        for j in range(i):
            for value, other in ((0.5j, 0.5j), (0.5, -0.5)):
                one = torch.zeros(n, n, dtype=torch.complex128)
                one[i, j], one[j, i] = value, other
                found.append(one)
        if i:
            one = torch.diag(torch.tensor([1j] * i + [-1j * i] + [0] * (n - i - 1))).to(
                torch.complex128
            )
            found.append(one / math.sqrt(2 * i * (i + 1)))
    return torch.stack(found)


def turned(links, angles):
    """Links of SU(N) multiplied by exponentials of generators, (..., generator), from the left."""
    algebra = torch.einsum("...a,aij->...ij", angles.to(torch.complex128), generators(links.shape[-2]))
    return torch.view_as_real(torch.matrix_exp(algebra) @ matrices(links))


def transformed(theory, links, seed=3):
    """Links after a gauge transformation by chance."""
    turn = GaugePath(theory, links.shape[2:4], 1.0).draw_prior(1, torch.Generator().manual_seed(seed))
    if theory == "u1":
        a = turn[:, 0]
        return links + torch.stack([a - a.roll(-1, 1), a - a.roll(-1, 2)], 1)
    g = matrices(turn)[:, 0]
    near = torch.stack([g.roll(-1, 1), g.roll(-1, 2)], 1)
    return torch.view_as_real(g[:, None] @ matrices(links) @ near.mH)


# The density is the right one


@pytest.mark.parametrize("theory", THEORIES)
def test_the_logarithm_of_the_jacobian_is_that_of_the_whole_matrix(theory):
    velocity = any_velocity(
        theory, (3, 3) if theory == "su2" else (2, 2) if theory == "su3" else (4, 4)
    )
    links = some_links(velocity, 1)
    end, told = transport(velocity, links, n_steps=12)

    def moved(angles):
        if theory == "u1":
            return transport(velocity, links + angles, n_steps=12)[0]
        after = matrices(transport(velocity, turned(links, angles), n_steps=12)[0]) @ matrices(end).mH
        return -2 * torch.einsum("aij,...ji->...a", generators(links.shape[-2]), after).real

    size = links.shape if theory == "u1" else (*links.shape[:4], links.shape[-2] ** 2 - 1)
    whole = torch.autograd.functional.jacobian(moved, torch.zeros(size, dtype=torch.float64))
    n = math.prod(size)
    true = float(torch.linalg.slogdet(whole.reshape(n, n))[1])
    assert abs(true) > 0.1
    assert float(told) == pytest.approx(true, abs=2e-3)


@pytest.mark.parametrize("theory", THEORIES)
def test_weights_take_part_in_the_equation_of_the_path_as_the_velocity_does(theory):
    velocity = any_velocity(theory)
    links = some_links(velocity)
    gradient = torch.randn(links.shape, generator=torch.Generator().manual_seed(5)).double()
    change, divergence = velocity(links, 0.3)
    parts = velocity.design(links, gradient) @ velocity.at(0.3).flatten()
    pull = (change * gradient).flatten(1).sum(1)
    torch.testing.assert_close(parts, divergence - pull)
    weights = velocity.at(0.3).flatten()
    # Of matrices, the sum of squares of entries is half of that by generators.
    square = change.square().sum() / len(links) * (1 if theory == "u1" else 2)
    torch.testing.assert_close(weights @ velocity.energy(links) @ weights, square)


@pytest.mark.parametrize("theory", THEORIES)
def test_half_the_step_leaves_a_sixteenth_of_the_error(theory):
    velocity = any_velocity(theory)
    links = some_links(velocity)
    truth, coarse, fine = (transport(velocity, links, n_steps=n)[1] for n in (96, 6, 12))
    assert 8 < float((coarse - truth).norm() / (fine - truth).norm()) < 40


@pytest.mark.parametrize("theory", THEORIES)
def test_the_flow_leads_back_to_where_it_began(theory):
    velocity = any_velocity(theory)
    links = some_links(velocity)
    end, forth = transport(velocity, links, n_steps=32)
    again, back = transport(velocity, end, n_steps=32, begin=1.0, end=0.0)
    assert float((end - links).abs().max()) > 0.05
    torch.testing.assert_close(again, links, atol=1e-4, rtol=0)
    torch.testing.assert_close(back, -forth, atol=1e-3, rtol=0)


# Symmetries


@pytest.mark.parametrize("theory", THEORIES)
def test_the_flow_is_gauge_equivariant_and_knows_no_place(theory):
    velocity = any_velocity(theory)
    links = some_links(velocity)
    end, log_jacobian = transport(velocity, links, n_steps=4)
    of_gauge, same = transport(velocity, transformed(theory, links), n_steps=4)
    torch.testing.assert_close(of_gauge, transformed(theory, end))
    torch.testing.assert_close(same, log_jacobian)
    torch.testing.assert_close(transport(velocity, links.roll(1, 2), n_steps=4)[0], end.roll(1, 2))
    conjugate = -links if theory == "u1" else links * torch.tensor([1.0, -1.0])
    reflected = transport(velocity, conjugate, n_steps=4)[0]
    torch.testing.assert_close(reflected, -end if theory == "u1" else end * torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("theory", THEORIES)
def test_links_that_are_no_gauge_transformation_apart_are_told_apart(theory):
    velocity = any_velocity(theory)
    links = some_links(velocity)
    before = transport(velocity, links, n_steps=4)[1]
    if theory == "u1":
        links[:, 0, 0, 0] += 0.3
    else:
        links[:, 0, 0, 0] = links[:, 0, 1, 1]
    assert not torch.allclose(transport(velocity, links, n_steps=4)[1], before)


def test_the_action_is_the_same_in_every_gauge_and_that_of_the_sampler():
    for theory in THEORIES:
        path = GaugePath(theory, (4, 4), 4.0)
        chain = simulate(path.parameters(1.0, n_measurements=10, n_kept=1), seed=1)
        links = path.from_space(chain["field"].values[0])
        told = path.observed(links)
        for name, values in told.items():
            assert values[0] == pytest.approx(float(chain[name][0, -1]), abs=1e-9)
        assert float(path.action(links)) == pytest.approx(4.0 * 16 * (1 - told["plaquette"][0]))
        other = transformed(theory, links)
        torch.testing.assert_close(path.action(other), path.action(links))
        back = path.from_space(chain["field"].values[0, :1])
        parts = path.in_space(back)
        if theory != "u1":
            parts = np.stack([parts.real, parts.imag], -1)
        np.testing.assert_allclose(parts, chain["field"].values[0, :1], atol=1e-12)


# Coupling layers


def any_layers(theory, n_layers=4) -> GaugeLayers:
    torch.manual_seed(1)
    layers = GaugeLayers(GaugePath(theory, (4, 4), 4.0), LayerSizes(n_layers, 4, 3))
    for weight in layers.parameters():
        weight.data = 0.3 * torch.randn_like(weight)
    return layers.requires_grad_(False)


def as_phases(links):
    """Links of U(1) as numbers that know no turns."""
    return torch.view_as_real(torch.polar(torch.ones_like(links), links))


@pytest.mark.parametrize("theory", THEORIES)
def test_layers_have_the_jacobian_of_the_whole_matrix(theory):
    """From small changes of all links, forth and back, in one batch: of SU(3) in 256 directions."""
    layers = any_layers(theory, 2)
    links, step = some_links(layers, 1), 1e-5
    end, told = layers(links)

    def moved(angles):
        if theory == "u1":
            return torch.remainder(layers(links + angles)[0] - end + math.pi, 2 * math.pi) - math.pi
        after = matrices(layers(turned(links, angles))[0]) @ matrices(end).mH
        return -2 * torch.einsum("aij,...ji->...a", generators(links.shape[-2]), after).real

    size = links.shape[1:] if theory == "u1" else (*links.shape[1:4], links.shape[-2] ** 2 - 1)
    n = math.prod(size)
    small = step * torch.eye(n, dtype=torch.float64).reshape(n, *size)
    whole = (moved(small) - moved(-small)).reshape(n, n) / (2 * step)
    true = float(torch.linalg.slogdet(whole)[1])
    assert abs(true) > 0.1
    assert float(told[0]) == pytest.approx(true, abs=1e-3)  # eigenvalues of SU(3) may lie close


@pytest.mark.parametrize("theory", THEORIES)
def test_layers_lead_back_and_are_gauge_equivariant(theory):
    layers = any_layers(theory)
    links = some_links(layers)
    alike = as_phases if theory == "u1" else (lambda x: x)
    end, told = layers(links)
    again, back = layers(end, back=True)
    assert float((alike(end) - alike(links)).abs().max()) > 0.05
    torch.testing.assert_close(alike(again), alike(links), atol=1e-3, rtol=0)
    torch.testing.assert_close(back, -told, atol=1e-3, rtol=0)
    of_gauge, same = layers(transformed(theory, links))
    torch.testing.assert_close(alike(of_gauge), alike(transformed(theory, end)), atol=1e-7, rtol=0)
    torch.testing.assert_close(same, told, atol=1e-6, rtol=0)
    conjugate = -links if theory == "u1" else links * torch.tensor([1.0, -1.0])
    of_conjugate = -end if theory == "u1" else end * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(alike(layers(conjugate)[0]), alike(of_conjugate), atol=1e-6, rtol=0)


@pytest.mark.parametrize("theory", ["u1", "su2"])
def test_layers_of_gauge_fields_learn_and_are_saved(theory, tmp_path):
    settings = FlowParameters(
        theory=theory, side=4, beta=2.0, kind="spline", n_layers=2, n_channels=4, n_bins=4, n_batch=32
    ).replace(n_gradient=30, learning_rate=5e-3, n_validation=100)
    learnt = train(None, settings, seed=1, progress=False).modules["velocity"]
    flows = untrained(settings, seed=1), flow_of(learnt, n_steps=1)
    logs = [(each.propose(1000, seed=9)[1] - each.path.log_z).numpy() for each in flows]
    begun, after = map(effective_sample_size, logs)
    # As it begins the last plaquette of U(1) is any one: I_0(2)^2 / I_0(4) = 0.46 would be left.
    assert 0.3 < begun < after
    assert logs[1].var() < 0.9 * logs[0].var()
    for each in logs:
        error = np.exp(each).std() / math.sqrt(len(each))
        assert abs(np.exp(each).mean() - 1) < 5 * error < 0.5
    truth = draw(flows[0].path, 1.0, 500, seed=3)
    assert forward_sample_size(flows[1].weigh(truth, seed=1).numpy()) > 0.3
    facts = {"metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    assert str(save_flow(flows[1], **facts)) == f"{theory}-spline-4/1"
    loaded = load_flow(f"{theory}-spline-4", root=tmp_path)
    torch.testing.assert_close(loaded.propose(3, seed=1)[0], flows[1].propose(3, seed=1)[0])


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shape = \(6, 6\): sides must be multiples of 4"):
        GaugeLayers(GaugePath("u1", (6, 6), 2.0), LayerSizes())
    with pytest.raises(ValueError, match="side = 6 must be a multiple of 4: u1, kind = 'spline'"):
        FlowParameters(theory="u1", side=6, kind="spline")
    with pytest.raises(ValueError, match="kind = 'affine' and n_stages = 1: theory = 'su2' has"):
        FlowParameters(theory="su2", kind="affine")


# What it begins at


@pytest.mark.parametrize(
    ("theory", "prior_beta"), [("u1", 0.0), ("u1", 3.0), ("su2", 0.0), ("su3", 0.0)]
)
def test_weights_of_the_first_fields_are_one_on_average(theory, prior_beta):
    """The integrals of both densities are known exactly in two dimensions."""
    path = GaugePath(theory, (3, 3), 0.5 if prior_beta == 0 else 3.5, prior_beta)
    links = path.draw_prior(20_000, torch.Generator().manual_seed(4))
    weights = torch.exp(-path.action(links) - path.prior_log_density(links) - path.log_z)
    error = float(weights.std()) / math.sqrt(len(links))
    assert error < 0.02
    assert abs(float(weights.mean()) - 1) < 5 * error


def test_fields_of_the_heat_kernel_have_its_charges():
    path = GaugePath("u1", (6, 6), 4.0, 2.0)
    charges = path.observed(path.draw_prior(20_000, torch.Generator().manual_seed(4)))["charge"]
    q = np.arange(-20, 21)
    weights = np.exp(-0.5 * 2.0 * (2 * np.pi * q) ** 2 / 36)
    truth = (weights * q**2).sum() / weights.sum()
    # Plaquettes beyond half a turn are counted with one turn less: rare at this coupling.
    assert (charges**2).mean() == pytest.approx(truth, rel=0.05)


# It learns


def test_u1_is_trained_and_its_weights_are_right_from_both_sides(tmp_path):
    trained = train(None, SETTINGS, seed=1, progress=False)
    flow = flow_of(trained.modules["velocity"], n_steps=8)
    links, densities = flow.draw(1000, seed=9)
    logs = (flow.log_weights(links, densities) - flow.path.log_z).numpy()
    free = untrained(SETTINGS, seed=1)
    before = free.log_weights(*free.draw(1000, seed=9)).numpy()
    assert effective_sample_size(before) < 0.97 < 0.995 < effective_sample_size(logs)
    assert np.exp(logs).mean() == pytest.approx(1, abs=0.01)
    truth = draw(flow.path, 1.0, 1000, seed=10)
    assert forward_sample_size(flow.log_weights(truth, flow.log_density(truth)).numpy()) > 0.98
    torch.testing.assert_close(flow.log_density(links[:50]), densities[:50], atol=1e-3, rtol=0)
    facts = {"metrics": {"ess": 0.9}, "parameters": {}, "seed": 1}
    assert str(save_flow(flow, root=tmp_path, **facts)) == "u1-flow-6/1"
    loaded = load_flow("u1-flow-6", root=tmp_path)
    torch.testing.assert_close(loaded.draw(3, seed=1)[0], flow.draw(3, seed=1)[0])


def test_su2_is_learnt_from_independent_links():
    settings = FlowParameters(theory="su2", side=4, beta=2.2, reach=3, n_fields=300, n_slices=6)
    trained = train(None, settings.replace(n_validation=100), seed=1, progress=False)
    flow = flow_of(trained.modules["velocity"], n_steps=12)
    links, densities = flow.draw(400, seed=9)
    logs = (flow.log_weights(links, densities) - flow.path.log_z).numpy()
    assert effective_sample_size(logs) > 0.5
    error = np.exp(logs).std() / math.sqrt(len(logs))
    assert abs(np.exp(logs).mean() - 1) < 5 * error < 0.5
    u = matrices(links)
    torch.testing.assert_close(u @ u.mH, torch.eye(2).expand_as(u).to(u.dtype), atol=1e-12, rtol=0)
    free = untrained(settings, seed=1)
    assert effective_sample_size(free.log_weights(*free.draw(400, seed=9)).numpy()) < 0.1


# Those that ship


@pytest.mark.parametrize(("name", "n"), [("u1-flow-16", 60), ("su2-flow-8", 12), ("su3-flow-8", 6)])
def test_twice_the_steps_leave_the_weights_of_a_flow_that_ships(name, n):
    flow = load_flow(name)
    logs = []
    for k in (1, 2):
        twice = flow_of(flow.velocity, n_steps=k * flow.n_steps)
        logs.append(twice.log_weights(*twice.draw(n, seed=25)))
    assert float((logs[0] - logs[1]).abs().max()) < 0.05


def test_the_chain_of_a_shipped_flow_has_the_exact_plaquette_and_charge():
    chain = infer(load_flow("u1-flow-16"), 1500, seed=4)
    told = measured(chain)
    for name, truth in exact.known(flow_parameters()).items():
        each = told[name]
        assert each.reason == ""
        assert abs(each.estimate.value - truth) < 5 * each.estimate.error
    loop = wilson_loops(chain["field"], 1)
    assert loop.item() == pytest.approx(float(chain["plaquette"][0, -1]), abs=1e-9)


def flow_parameters():
    return load_flow("u1-flow-16").path.parameters(1.0)


def test_a_flow_is_evaluated_beside_its_own_samplers_and_exact_values():
    found = evaluate(flow_of(any_velocity("u1"), n_steps=2), n=60, seed=3)
    assert list(found["who"].values) == ["flow", "limit", *SAMPLERS["u1"]]
    truth = float(found["value"].sel(who="limit", metric="plaquette"))
    assert truth == pytest.approx(exact.plaquette("u1", 4.0, 16))


def test_sizes_of_another_theory_are_refused():
    with pytest.raises(TypeError, match="Sizes are no sizes of a velocity of su2"):
        velocity_of(GaugePath("su2", (4, 4), 2.0), Sizes())
    with pytest.raises(TypeError, match="GaugeSizes are no sizes of a velocity of phi4"):
        velocity_of(Path((4, 4), 6.0, (1.0, -5.0)), GaugeSizes())
    with pytest.raises(ValueError, match="reach = 7 must be less than side = 4"):
        FlowParameters(theory="su3", side=4)


def test_plaquettes_are_those_of_the_loops_around_them():
    links = some_links(any_velocity("u1"), 1)
    as_matrices = torch.polar(torch.ones_like(links), links)[..., None, None]
    torch.testing.assert_close(
        torch.polar(torch.ones(1, 4, 4).double(), plaquette_angles(links)),
        plaquettes(as_matrices)[..., 0, 0],
    )


@pytest.mark.parametrize(
    "wrong", [{"theory": "su9"}, {"reach": 4}, {"prior_beta": 2.0}, {"n_powers": 10**6}, {"beta": -1.0}]
)
def test_a_configuration_out_of_range_is_refused(tmp_path, wrong):
    config = {"theory": "su2", "shape": [4, 4], "beta": 2.0, "prior_beta": 0.0, "n_times": 2}
    config |= {"n_powers": 2, "reach": 3, "n_steps": 4}
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    models.save({"weights": torch.zeros(2, 2, 3).double()}, "right", config=config, **facts)
    assert load_flow("right", root=tmp_path).path.theory == "su2"
    models.save({"weights": torch.zeros(2, 2, 3).double()}, "wrong", config=config | wrong, **facts)
    with pytest.raises(models.ModelError, match=r"config\.json is not that of a flow"):
        load_flow("wrong", root=tmp_path)


def test_there_are_no_non_equilibrium_steps_of_gauge_fields():
    with pytest.raises(TypeError, match="n_stages = 2 must be 1: continuous flows of phi4 alone"):
        flow_of(any_velocity("u1"), n_steps=2, n_stages=2).propose(4, seed=1)
