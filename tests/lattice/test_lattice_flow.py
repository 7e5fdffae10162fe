"""The flow of phi^4 is invertible, has the lattice's symmetries and the right density, and learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from physics_twins import models
from physics_twins.lattice import exact, scalar
from physics_twins.lattice.errors import measured
from physics_twins.lattice.evaluate import (
    acceptance,
    break_even,
    effective_sample_size,
    forward_sample_size,
)
from physics_twins.lattice.flow.checkerboard import Layers, LayerSizes
from physics_twins.lattice.flow.couplings import _length, path_to
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.refine import natural_step
from physics_twins.lattice.flow.regression import draw, slice_at
from physics_twins.lattice.flow.velocity import Sizes, Velocity
from physics_twins.lattice.flow_parameters import FlowParameters
from physics_twins.lattice.geometry import longest_waves, neighbours
from physics_twins.lattice.infer import accept, infer
from physics_twins.lattice.model import CARD, Flow, flow_of, load_flow, save_flow
from physics_twins.lattice.train import train, untrained

SETTINGS = FlowParameters(
    side=4, quartic=6.975, n_path=2000, n_fields=1000, n_slices=6, n_refinements=1, n_refining=2000
)


@pytest.fixture(scope="module")
def trained():
    return train(None, SETTINGS, seed=1, progress=False)


@pytest.fixture(scope="module")
def flow(trained):
    return flow_of(trained.modules["velocity"], n_steps=12)


def any_velocity(shape=(4, 4), seed=1) -> Velocity:
    """A velocity with weights by chance, which is no good flow and strong enough to see an error."""
    velocity = Velocity(Path(shape, 6.0, (1.0, -7.0, 2.0)), Sizes(n_times=3))
    generator = torch.Generator().manual_seed(seed)
    velocity.weights.data = 0.03 * torch.randn(velocity.weights.shape, generator=generator).double()
    return velocity.requires_grad_(False)


def some_fields(velocity, n=3):
    return velocity.path.draw_prior(n, torch.Generator().manual_seed(2))


# The density is the right one


@pytest.mark.parametrize("shape", [(4, 4), (8,), (4, 4, 4)])
def test_the_divergence_is_the_trace_of_the_jacobian(shape):
    velocity = any_velocity(shape)
    phi = some_fields(velocity, 1)
    whole = torch.autograd.functional.jacobian(lambda x: velocity(x, 0.3)[0], phi)
    n = math.prod(shape)
    assert float(velocity(phi, 0.3)[1]) == pytest.approx(
        float(whole.reshape(n, n).trace()), rel=1e-9, abs=1e-9
    )


def test_the_logarithm_of_the_jacobian_is_that_of_the_whole_matrix():
    velocity = any_velocity()
    phi = some_fields(velocity, 1)
    told = transport(velocity, phi, n_steps=32)[1]
    whole = torch.autograd.functional.jacobian(lambda x: transport(velocity, x, n_steps=32)[0], phi)
    exact_one = torch.linalg.slogdet(whole.reshape(16, 16))[1]
    assert abs(float(exact_one)) > 0.1
    assert float(told) == pytest.approx(float(exact_one), abs=1e-5)


def test_half_the_step_leaves_a_sixteenth_of_the_error():
    velocity = any_velocity()
    phi = some_fields(velocity)
    truth, coarse, fine = (transport(velocity, phi, n_steps=n) for n in (128, 8, 16))
    for end, better, best in zip(coarse, fine, truth, strict=True):
        assert 10 < float((end - best).norm() / (better - best).norm()) < 24


def test_the_flow_leads_back_to_where_it_began():
    velocity = any_velocity()
    phi = some_fields(velocity)
    end, forth = transport(velocity, phi, n_steps=32)
    again, back = transport(velocity, end, n_steps=32, begin=1.0, end=0.0)
    assert float((end - phi).abs().max()) > 0.1
    torch.testing.assert_close(again, phi, atol=1e-5, rtol=0)
    torch.testing.assert_close(back, -forth, atol=1e-5, rtol=0)


def test_free_fields_have_their_exact_density_and_spread():
    path = Path((4, 4), 6.0, (1.0, -7.0, 2.0))
    phi = path.draw_prior(20_000, torch.Generator().manual_seed(1))
    spread = phi.square().mean((1, 2))
    error = float(spread.std()) / math.sqrt(len(phi))
    assert abs(float(spread.mean()) - exact.free_phi2(1.0, (4, 4))) < 5 * error
    # Of a normal distribution, minus the logarithm of the density is on average its entropy.
    waves = 2 * torch.pi * torch.arange(4) / 4
    laplace = (4 * torch.sin(waves / 2) ** 2)[:, None] + 4 * torch.sin(waves / 2) ** 2
    entropy = 0.5 * torch.log(2 * math.pi * math.e / (2 * (laplace + 1.0))).sum()
    told = -path.prior_log_density(phi)
    assert abs(float(told.mean() - entropy)) < 5 * float(told.std()) / math.sqrt(len(phi))


def test_a_path_through_the_broken_phase_is_refused():
    """Chains of so few measurements do not find the masses on the path."""
    with pytest.raises(ValueError, match="leads through a correlation length of"):
        path_to((32, 32), -4.0, 4.572, free_length=4.5, n=100, seed=3)


@pytest.mark.parametrize("search", ["line", "tadpole"])
def test_the_correlation_length_grows_evenly_on_the_path(search):
    path = path_to((4, 4), -4.0, 6.975, free_length=0.64, n=2000, seed=1, search=search)
    lengths = [math.log(_length(path.shape, *path.couplings(t), 4000, 9)[0]) for t in (0, 0.5, 1)]
    assert lengths[1] == pytest.approx((lengths[0] + lengths[2]) / 2, abs=0.1)
    assert path.couplings(1.0) == pytest.approx((-4.0, 6.975))


@pytest.mark.parametrize("power", [1, 3])
def test_the_gradient_and_the_rate_of_the_action_are_its_derivatives(power):
    path = Path((4, 6), 6.0, (1.0, -7.0, 2.0), power)
    phi = path.draw_prior(2, torch.Generator().manual_seed(1)).requires_grad_()
    told = torch.autograd.grad(path.action(phi, 0.4).sum(), phi)[0]
    torch.testing.assert_close(path.gradient(phi, 0.4), told)
    change = (path.action(phi, 0.4001) - path.action(phi, 0.3999)) / 0.0002
    torch.testing.assert_close(path.rate(phi, 0.4), change, rtol=1e-6, atol=1e-6)
    assert path.couplings(1.0) == pytest.approx((-4.0, 6.0))


# Symmetries


@pytest.mark.parametrize(
    "turned",
    [
        lambda x: -x,
        lambda x: x.roll((1, 3), (1, 2)),
        lambda x: x.transpose(1, 2),
        lambda x: x.flip(1),
        lambda x: x.rot90(1, (1, 2)),
    ],
    ids=["sign", "translation", "diagonal", "mirror", "rotation"],
)
def test_the_flow_knows_no_direction_place_or_sign(turned):
    velocity = any_velocity()
    phi = some_fields(velocity)
    end, log_jacobian = transport(velocity, phi, n_steps=4)
    of_turned, same = transport(velocity, turned(phi), n_steps=4)
    torch.testing.assert_close(of_turned, turned(end))
    torch.testing.assert_close(same, log_jacobian)


def test_a_scale_would_be_seen_by_the_test_of_symmetry():
    velocity = any_velocity()
    phi = some_fields(velocity)
    assert not torch.allclose(
        transport(velocity, 2 * phi, n_steps=4)[0], 2 * transport(velocity, phi, n_steps=4)[0]
    )


# It learns


def test_the_equation_of_the_path_holds_on_average_for_any_velocity():
    velocity = any_velocity((4, 4))
    fields = draw(velocity.path, 0.7, 4000, seed=3)
    design = slice_at(velocity, fields, 0.7, 1.0).design
    error = design.std(0) / math.sqrt(len(design) / 4)  # fields follow one another in a chain
    assert float((design.mean(0) / error).abs().max()) < 5
    wrong = slice_at(velocity, 1.1 * fields, 0.7, 1.0).design
    assert float((wrong.mean(0) / error).abs().max()) > 10


def test_a_natural_step_foretells_what_becomes_of_weights(flow):
    velocity = any_velocity()
    before = flow_of(velocity, n_steps=16)
    phi, densities = before.draw(2000, seed=5)
    start = float(before.log_weights(phi, densities).var())
    change, logs = natural_step(velocity, 4000, torch.Generator().manual_seed(6), n_nodes=6, ridge=0.1)
    assert float(logs.var()) == pytest.approx(start, rel=0.3)
    velocity.weights += 0.2 * change
    phi, densities = before.draw(2000, seed=5)
    # In first order a step of a fifth leaves four fifths of the deviation.
    assert float(before.log_weights(phi, densities).var()) < 0.85 * start


def test_training_makes_a_flow_far_better_than_the_free_field_and_its_path(trained, flow):
    free = untrained(SETTINGS, seed=1)
    found = []
    for each in (free, flow):
        phi, densities = each.draw(2000, seed=9)
        found.append(effective_sample_size(each.log_weights(phi, densities).numpy()))
    assert found[0] < 0.8 < 0.995 < found[1]
    path, refined = trained.history["validation_variance"].values
    assert refined < path / 2


def test_the_density_of_a_field_is_the_same_from_both_sides(flow):
    phi, densities = flow.draw(50, seed=3)
    torch.testing.assert_close(flow.log_density(phi), densities, atol=1e-3, rtol=0)


def test_a_chain_of_the_flow_measures_what_the_cluster_measures(flow):
    told = measured(infer(flow, 4000, seed=4))["susceptibility"]
    fields = draw(flow.path, 1.0, 20_000, seed=5)
    truth = 16 * fields.mean((1, 2)).square()
    error = math.hypot(told.estimate.error, float(truth.std()) / math.sqrt(len(truth) / 3))
    assert told.reason == ""
    assert abs(told.estimate.value - float(truth.mean())) < 5 * error


def test_the_chain_of_a_flow_has_the_form_of_a_simulation(flow):
    chain = infer(flow, 50, seed=4, n_kept=3)
    assert chain["field"].dims == ("chain", "kept", "t", "x")
    last = chain["field"][0, -1].values
    assert float(chain["magnetisation"][0, -1]) == pytest.approx(last.mean())
    assert infer(flow, 50, seed=4, n_kept=3).identical(chain)
    assert all(variable.attrs["units"] for variable in chain.variables.values())


def test_training_goes_on_from_a_flow(flow):
    more = train(flow, SETTINGS.replace(n_refining=1500), seed=2, progress=False)
    assert more.n_steps == 1
    assert more.best_figures["variance"] < 0.01  # of the free field it is 0.3 and more
    assert not torch.equal(more.modules["velocity"].weights, flow.velocity.weights)


def test_updates_on_the_way_help_a_flow_that_does_nothing_and_leave_its_mean_right():
    still = untrained(SETTINGS, seed=1)
    phi, densities = still.draw(4000, seed=1)
    plain = still.log_weights(phi, densities).numpy()
    helped = replace(still, n_stages=8).propose(4000, seed=2)[1].numpy()
    assert effective_sample_size(helped) > effective_sample_size(plain) + 0.05
    for power in (plain, helped):
        assert np.isfinite(power).all()
    weights = [np.exp(each - plain.max()) for each in (plain, helped)]
    error = math.hypot(*(w.std() / math.sqrt(len(w)) for w in weights))
    assert abs(weights[0].mean() - weights[1].mean()) < 5 * error


@pytest.mark.parametrize(("side", "n"), [(8, 200), (16, 100), (32, 24), (64, 2)])
def test_twice_the_steps_leave_the_weights_of_a_flow_that_ships(side, n):
    """8 steps, which are enough for the smaller two, are not for the heaviest fields of 32 x 32."""
    flow = load_flow(f"phi4-flow-{side}")
    logs = {k: told(flow, k * flow.n_steps, n) for k in (1, 2)}
    assert float((logs[1] - logs[2]).abs().max()) < 0.05
    if side == 32:
        assert float((told(flow, 8, n) - logs[2]).abs().max()) > 0.3


def told(flow, n_steps, n):
    """Logarithms of weights; of seeds from 1 to 41, this one has the heaviest field of 32 x 32."""
    flow = replace(flow, n_steps=n_steps)
    return flow.log_weights(*flow.draw(n, seed=25))


@pytest.mark.parametrize("back", [False, True])
def test_updates_on_the_way_leave_the_mean_weight_from_both_sides(back):
    """Over fields of the flow it is a ratio of integrals, over those of the theory its inverse."""
    velocity = Velocity(Path((4, 4), 2.0, (1.0, -1.5)), Sizes(n_times=3)).requires_grad_(False)
    velocity.weights += 0.3 * any_velocity().weights
    fields = draw(velocity.path, 1.0, 4000, seed=5)
    logs = []
    for n_stages in (1, 4):
        flow = flow_of(velocity, n_steps=8, n_stages=n_stages)
        logs.append(-flow.weigh(fields, seed=6) if back else flow.propose(4000, seed=6)[1])
    assert float((logs[1] - logs[0]).abs().mean()) > 0.1  # the updates do something
    plain, staged = (torch.exp(each - logs[0].mean()) for each in logs)
    error = math.hypot(*(float(w.std()) / math.sqrt(len(w) / 3) for w in (plain, staged)))
    assert abs(float(plain.mean() - staged.mean())) < 5 * error < float(plain.mean()) / 4


def test_the_update_backwards_is_the_update_seen_backwards():
    """In equilibrium, pairs of a site before and its next one after are those of the other, turned."""
    path, pairs = Path((8,), 1.0, (1.0, -2.0)), {}
    tables = neighbours(path.shape), longest_waves(path.shape)
    before = draw(path, 1.0, 20_000, seed=3)
    for sampler in ("cluster", "backward cluster"):
        after, rng = before.clone(), np.random.default_rng(4)
        series = np.empty((1, len(scalar.OBSERVABLES)))
        for field in after.numpy():
            theory = (field, *tables, *path.couplings(1.0))
            scalar.run(*theory, scalar.SAMPLERS[sampler], 2.0, 1.0, 1, rng, series)
        pairs[sampler] = before.abs(), after.abs()  # clusters turn signs either way

    def sigma(first, second):
        of_both = [((u - u.mean())[:, 1:-1] * (v - v.mean())[:, 2:]).sum(1) for u, v in (first, second)]
        difference = of_both[0] - of_both[1]
        return abs(float(difference.mean() / difference.std())) * math.sqrt(len(difference))

    assert sigma(pairs["cluster"], pairs["backward cluster"][::-1]) < 5
    assert sigma(pairs["cluster"], pairs["cluster"][::-1]) > 5  # the update is not its own reverse


# Coupling layers


def any_layers(shape=(4, 4), n_bins=4) -> Layers:
    torch.manual_seed(1)
    layers = Layers(Path(shape, 6.0, (1.0, -7.0)), LayerSizes(4, 5, n_bins))
    for weight in layers.parameters():
        weight.data = 0.2 * torch.randn_like(weight)
    return layers.requires_grad_(False)


@pytest.mark.parametrize("n_bins", [0, 4])
@pytest.mark.parametrize("shape", [(4, 4), (8,), (2, 4, 4)])
def test_layers_have_the_jacobian_of_the_whole_matrix_and_an_inverse(shape, n_bins):
    layers = any_layers(shape, n_bins)
    phi = 2 * some_fields(layers, 2)
    end, told = layers(phi)
    whole = torch.autograd.functional.jacobian(lambda x: layers(x)[0], phi[:1])
    n = math.prod(shape)
    assert abs(float(told[0])) > 0.1
    assert float(told[0]) == pytest.approx(
        float(torch.linalg.slogdet(whole.reshape(n, n))[1]), abs=1e-9
    )
    again, back = layers(end, back=True)
    torch.testing.assert_close(again, phi)
    torch.testing.assert_close(back, -told)


@pytest.mark.parametrize("n_bins", [0, 4])
def test_layers_know_no_sign_mirror_or_step_of_two_sites(n_bins):
    layers = any_layers(n_bins=n_bins)
    phi = some_fields(layers)
    for turned in (
        lambda x: -x,
        lambda x: x.roll((1, 1), (1, 2)),
        lambda x: x.roll(2, 1),
        lambda x: x.transpose(1, 2),
    ):
        torch.testing.assert_close(layers(turned(phi))[0], turned(layers(phi)[0]))
    assert not torch.allclose(layers(phi.roll(1, 1))[0], layers(phi)[0].roll(1, 1))


@pytest.mark.parametrize(("kind", "least"), [("affine", 0.2), ("spline", 0.5)])
def test_layers_learn_and_are_saved(kind, least, tmp_path):
    """Affine layers cannot bend a Gaussian's tail into a quartic one; splines can."""
    settings = SETTINGS.replace(kind=kind, n_layers=6, n_channels=6, n_batch=64, n_gradient=100)
    learnt = train(None, settings, seed=1, progress=False)
    flows = untrained(settings, seed=1), flow_of(learnt.modules["velocity"], n_steps=1)
    before, after = (acceptance(each.propose(1000, seed=9)[1].numpy()) for each in flows)
    assert before < 0.15 < least < after
    fields = draw(flows[0].path, 1.0, 1000, seed=3)
    before, after = (float(each.weigh(fields, seed=1).var()) for each in flows)
    assert after < before / 2  # seen from fields of the theory, too
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    assert str(save_flow(flows[1], **facts)) == f"phi4-{kind}-4/1"
    loaded = load_flow(f"phi4-{kind}-4", root=tmp_path)
    torch.testing.assert_close(loaded.propose(3, seed=1)[0], flows[1].propose(3, seed=1)[0])
    with pytest.raises(TypeError, match="the flow to go on with has coupling layers"):
        train(loaded, SETTINGS, seed=1, progress=False)


# Three dimensions


def test_a_flow_in_three_dimensions_learns():
    """Its path, its fields and its weights know no number of dimensions."""
    settings = FlowParameters(
        side=4, n_dimensions=3, quartic=6.0, mass2=-4.0, n_path=1000, n_fields=800, apart=1, n_slices=5
    )
    free = untrained(settings, seed=1)
    flow = flow_of(train(None, settings, seed=1, progress=False).modules["velocity"], n_steps=6)
    found = [effective_sample_size(f.propose(500, seed=9)[1].numpy()) for f in (free, flow)]
    assert found[0] < 0.2 < 0.5 < found[1]


# Models on disk


def test_a_flow_is_saved_and_loaded_and_draws_the_same(flow, tmp_path):
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    model = save_flow(flow, **facts)
    assert str(model) == "phi4-flow-4/1"
    loaded = load_flow("phi4-flow-4", root=tmp_path)
    assert isinstance(loaded, Flow)
    torch.testing.assert_close(loaded.draw(3, seed=1)[0], flow.draw(3, seed=1)[0])


def test_a_model_of_another_kind_is_refused(tmp_path):
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    other = {"weights": torch.zeros(2)}
    config = {"shape": [4, 4], "quartic": 6.0, "masses": [1.0, -5.0], "bends": [0.3], "apart": 10}
    models.save(other, "other", config=config | {"n_times": 5, "n_steps": 0}, **facts)
    models.save(other, "short", config=config, **facts)
    for name in ("other", "short"):
        with pytest.raises(models.ModelError, match=r"config\.json is not that of a flow"):
            load_flow(name, root=tmp_path)


# The judges


def test_fields_of_the_theory_see_what_the_flow_never_draws():
    rng = np.random.default_rng(1)
    one, both = 4 + rng.normal(size=4000), rng.normal(size=4000)
    both += rng.choice([-4, 4], size=4000)

    def log_weights(x):  # of two humps, for a flow that knows one
        return np.logaddexp(-0.5 * (x - 4) ** 2, -0.5 * (x + 4) ** 2) + 0.5 * (x - 4) ** 2

    assert effective_sample_size(log_weights(one)) > 0.95
    assert forward_sample_size(log_weights(both)) < 0.01


def test_acceptance_is_that_of_a_chain():
    logs = np.random.default_rng(1).normal(size=20_000)
    _, share = accept(logs, np.random.default_rng(2))
    # Of normal logarithms it is erfc(sigma / 2).
    assert acceptance(logs) == pytest.approx(math.erfc(0.5), abs=0.02)
    assert share == pytest.approx(acceptance(logs), abs=0.02)


def test_a_flow_that_is_slower_never_breaks_even():
    assert break_even(10.0, 1.0, 2.0) == math.inf
    n = break_even(10.0, 2.0, 1.0)
    assert 10.0 + n / 2.0 == pytest.approx(n / 1.0)
