"""Flows that begin at coarse fields: sites between have the right density, and the rest is learnt."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from physics_twins import models
from physics_twins.lattice.errors import effective_sample_size
from physics_twins.lattice.evaluate import evaluate
from physics_twins.lattice.flow.coarse_path import (
    CoarsePath,
    coarse_fields,
    coarse_path_to,
    drawn,
    energy,
    fitted,
    log_density,
)
from physics_twins.lattice.flow.integrate import transport
from physics_twins.lattice.flow.path import Path
from physics_twins.lattice.flow.regression import draw
from physics_twins.lattice.flow_parameters import FlowParameters
from physics_twins.lattice.model import CARD, flow_of, load_flow, save_flow
from physics_twins.lattice.train import train, untrained
from physics_twins.parameters import ParameterError

SETTINGS = FlowParameters(
    side=4,
    quartic=6.975,
    prior="coarse",
    n_fields=1000,
    n_times=3,
    n_slices=4,
    n_refinements=2,
    n_refining=1500,
    n_validation=500,
)
PATH = CoarsePath((4, 4), 6.0, (1.0, -5.0), coarse=(-1.2, 5.0, 1.1), middle=(-0.8, 4.6, 1.2))


@pytest.fixture(scope="module")
def trained():
    return train(None, SETTINGS, seed=1, progress=False)


@pytest.fixture(scope="module")
def flow(trained):
    return flow_of(trained.modules["velocity"], n_steps=8)


def weight(x, n, couplings):
    a, b, c = couplings
    return math.exp(-a * x**2 - b * x**4 + c * n * x)


def mean(n, couplings, power):
    whole, part = (
        quad(lambda x, k=k: x**k * weight(x, n, couplings), -6, 6, epsabs=1e-13)[0] for k in (0, power)
    )
    return part / whole


# One site


@pytest.mark.parametrize("couplings", [(0.0, 5.0, 2.0), (-3.1, 5.0, 1.1), (3.0, 1e-3, 2.0)])
def test_the_density_of_a_site_has_the_integral_one(couplings):
    for n in (0.0, 0.7, -3.0):
        norm = quad(lambda x, n=n: weight(x, n, couplings), -30, 30, points=[0, n], limit=200)[0]
        told = log_density(torch.tensor([0.3]).double(), torch.tensor([n]).double(), couplings)
        assert float(told) == pytest.approx(math.log(weight(0.3, n, couplings) / norm), abs=3e-7)


@pytest.mark.parametrize("n", [0.0, 0.8, -2.5])
def test_drawn_sites_have_the_moments_of_their_density(n):
    couplings, wrong = (-1.2, 5.0, 1.1), (-1.2, 5.5, 1.1)
    x = drawn(torch.full((200, 200), n).double(), couplings, torch.Generator().manual_seed(1))
    for power in (1, 2, 4):
        error = float((x**power).std()) / 200
        assert abs(float((x**power).mean()) - mean(n, couplings, power)) < 5 * error
    assert abs(float((x**4).mean()) - mean(n, wrong, 4)) > 5 * error  # a tenth of b would be seen


def test_couplings_are_found_again_from_sites():
    truth, generator = (-1.0, 5.0, 1.2), torch.Generator().manual_seed(1)
    near = torch.randn(20_000, generator=generator).double()
    found = fitted(drawn(near, truth, generator), near, (0.0, 3.0, 1.0))
    # Errors of so many sites, by other seeds: 0.08, 0.14, 0.02.
    np.testing.assert_allclose(found, truth, atol=0.5)
    assert found[2] == pytest.approx(truth[2], abs=0.1)


def test_coarse_fields_are_those_of_their_couplings():
    """By parts: the mean of a field times the slope of the action is one at each site."""
    couplings, means = (-1.2, 5.0, 1.1), []
    fields = coarse_fields(couplings, 4, 4000, seed=1)
    for each in (couplings, (-1.2, 5.0, 1.4)):
        phi = fields.clone().requires_grad_()
        slope = torch.autograd.grad(energy(phi, each).sum(), phi)[0]
        means.append((fields * slope).mean((1, 2)))
    error = float(means[0].std()) / math.sqrt(len(fields))
    assert abs(float(means[0].mean()) - 1) < 5 * error < abs(float(means[1].mean()) - 1)


# Whole fields


def test_the_density_of_a_field_is_that_of_a_direct_calculation():
    """One field in two calculations: differences of logarithms, as nobody knows the constant."""
    phi = PATH.draw_prior(3, torch.Generator().manual_seed(2))

    def by_hand(field):
        def at(x, y):
            return field[x % 4, y % 4]

        def site(x, y, couplings, steps):
            n = sum(at(x + i, y + j) for i, j in steps)
            norm = quad(lambda z: weight(z, n, couplings), -6, 6, epsabs=1e-13)[0]
            return math.log(weight(at(x, y), n, couplings) / norm)

        crosses, sides = [(1, 1), (1, -1), (-1, 1), (-1, -1)], [(1, 0), (-1, 0), (0, 1), (0, -1)]
        logs = []
        for p, q in ((0, 0), (0, 1), (1, 0), (1, 1)):
            total, (a, b, c) = 0.0, PATH.coarse
            for x in (p, p + 2):
                for y in (q, q + 2):
                    bonds = at(x, y) * (at(x + 2, y) + at(x, y + 2))
                    total += c * bonds - a * at(x, y) ** 2 - b * at(x, y) ** 4
                    total += site(x + 1, y + 1, PATH.middle, crosses)
                    total += site(x + 1, y, (0.0, 6.0, 2.0), sides)
                    total += site(x, y + 1, (0.0, 6.0, 2.0), sides)
            logs.append(total)
        return np.logaddexp.reduce(logs)

    told, direct = PATH.prior_log_density(phi).numpy(), [by_hand(field) for field in phi.numpy()]
    np.testing.assert_allclose(np.diff(told), np.diff(direct), atol=1e-8)


@pytest.mark.parametrize(
    "turned",
    [lambda x: -x, lambda x: x.roll(1, 1), lambda x: x.transpose(1, 2), lambda x: x.flip(2)],
    ids=["sign", "translation", "diagonal", "mirror"],
)
def test_fields_that_are_begun_at_know_no_direction_place_or_sign(turned):
    phi = PATH.draw_prior(5, torch.Generator().manual_seed(2))
    told = PATH.prior_log_density(phi)
    torch.testing.assert_close(PATH.prior_log_density(turned(phi)), told)
    assert not torch.allclose(PATH.prior_log_density(1.1 * phi), told)


def test_fields_are_drawn_from_the_density_that_is_told():
    """Means of weights from both sides are ratios of integrals, one the inverse of the other."""
    phi, truth = PATH.draw_prior(4000, torch.Generator().manual_seed(3)), draw(PATH, 1.0, 4000, seed=4)
    logs, back = (-PATH.action(x) - PATH.prior_log_density(x) for x in (phi, truth))
    w, v = torch.exp(logs - logs.mean()), torch.exp(logs.mean() - back)
    error = math.hypot(float(w.std() / w.mean()), 1.5 * float(v.std() / v.mean())) / math.sqrt(4000)
    assert abs(math.log(float(w.mean() * v.mean()))) < 5 * error
    w *= torch.exp(0.5 * phi.square().sum((1, 2)))  # of a density that is a little off
    assert abs(math.log(float(w.mean() * v.mean()))) > 5 * error


# The flow


def test_coarse_fields_are_near_and_the_flow_learns_the_rest(trained, flow):
    plain = untrained(SETTINGS.replace(prior="free", n_path=1000), seed=1)
    found = [effective_sample_size(each.propose(1000, seed=9)[1].numpy()) for each in (plain, flow)]
    begun = untrained(SETTINGS, seed=1).propose(1000, seed=9)[1].numpy()
    assert found[0] + 0.1 < effective_sample_size(begun) < 0.98 < found[1]
    assert trained.n_steps == 2


def test_such_a_flow_has_its_exact_jacobian_and_an_inverse(flow):
    phi = flow.path.draw_prior(1, torch.Generator().manual_seed(1))
    end, told = transport(flow.velocity, phi, n_steps=32)
    whole = torch.autograd.functional.jacobian(
        lambda x: transport(flow.velocity, x, n_steps=32)[0], phi
    ).reshape(16, 16)
    assert float(told) == pytest.approx(float(torch.linalg.slogdet(whole)[1]), abs=1e-5)
    again, _ = transport(flow.velocity, end, n_steps=32, begin=1.0, end=0.0)
    torch.testing.assert_close(again, phi, atol=1e-5, rtol=0)
    moved, densities = flow.draw(20, seed=3)
    torch.testing.assert_close(flow.log_density(moved), densities, atol=1e-3, rtol=0)


def test_such_a_flow_is_evaluated_saved_and_loaded_and_draws_the_same(flow, tmp_path):
    told = evaluate(flow, n=300, seed=1)
    assert "ess_annealed" not in told["metric"]  # there are no theories on the way
    assert float(told["value"].sel(who="flow", metric="ess_forward")) > 0.9
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    model = save_flow(flow, **facts)
    assert str(model) == "phi4-coarse-4/1"
    loaded = load_flow("phi4-coarse-4", root=tmp_path)
    torch.testing.assert_close(loaded.draw(3, seed=1)[0], flow.draw(3, seed=1)[0])
    assert loaded.path == flow.path


@pytest.mark.parametrize(
    "change", [{"coarse": [0.0, -1.0, 2.0]}, {"middle": [-9.0, 5.0, 1.0]}, {"n_stages": 2}]
)
def test_numbers_that_are_none_of_a_coarse_beginning_are_refused(flow, tmp_path, change):
    facts = {"card": CARD, "metrics": {"ess": 0.9}, "parameters": {}, "seed": 1, "root": tmp_path}
    config = json.loads((save_flow(flow, **facts).folder / "config.json").read_text())
    models.save(flow.velocity, "other", config=config | change, **facts)
    with pytest.raises(models.ModelError, match=r"config\.json is not that of a flow"):
        load_flow("other", root=tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"side": 5}, "needs theory = 'phi4', .* and side = 5"),
        ({"theory": "u1"}, "found theory = 'u1'"),
        ({"kind": "affine"}, "found theory = 'phi4', kind = 'affine'"),
        ({"n_dimensions": 3}, "n_dimensions = 3"),
        ({"n_stages": 2}, "n_stages = 2"),
        ({"n_refinements": 0}, "n_refinements = 0 must be at least 1"),
        ({"mass2": -9.5}, "mass2 = -9.5 must be at least -7.466"),
    ],
)
def test_settings_that_coarse_fields_do_not_have_are_refused(change, said):
    with pytest.raises(ParameterError, match=said):
        FlowParameters(**{"prior": "coarse", "n_refinements": 1} | change)


def test_a_path_to_the_theory_is_the_same_for_the_same_seed():
    line = Path((4, 4), 6.975, (1.0, -5.0))
    assert coarse_path_to(line, n=200, seed=1) == coarse_path_to(line, n=200, seed=1)
    assert coarse_path_to(line, n=200, seed=1) != coarse_path_to(line, n=200, seed=2)
