"""A calibration finds what it was not told, follows a gain exactly, and says how sure it is."""

import math
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from small_flows import layer_log_prob

from physics_twins.calorimeter.calibrate import (
    Calibration,
    calibrate,
    identity,
    ratio_of_means,
)
from physics_twins.calorimeter.fitting.maximum import points
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.fitting.shower_likelihood import (
    LEAST_VARIANCE,
    ShowerLikelihood,
)
from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, flow_of, load_flow
from physics_twins.calorimeter.observe import gains, observe, with_gain
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate
from physics_twins.calorimeter.twin_parameters import CalibrationParameters
from physics_twins.data import Estimate

SMALL = Sizes(hidden=16, context=16, memory=16, layers=16)
ASKED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0, n_showers=120
)
HIDDEN_MM = 1.47


def member(seed: int = 1) -> ShowerNetwork:
    """An untrained network whose showers depend on the thickness, in many filled layers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ShowerNetwork(SMALL)
        with torch.no_grad():
            for head in (network.layer_head, network.ring_head, *network.angle_heads):
                head.out.bias[splits.BOTH] = 2.0
            # Columns of the thickness, which first weights leave as weak as all others.
            network.layer_memory.weight_ih_l0[:, 5] *= 8
            # A visible energy that scatters little and stays below the incident one.
            network.total[-1].bias[16:] -= 1.5
    return network.eval()


@cache
def flow(n_members: int = 1) -> ShowerFlow:
    return flow_of([member()] * n_members, ASKED, absorber_mm=(1.2, 1.6))


@cache
def drawn() -> xr.Dataset:
    return generate(flow(), ASKED.replace(absorber_mm=HIDDEN_MM), seed=3).drop_attrs(deep=False)


@cache
def measured() -> xr.Dataset:
    return with_gain(drawn(), 0.95 * gains(ASKED.n_showers, 0.02, seed=4))


@cache
def calibrated() -> Calibration:
    return calibrate(flow(), measured(), seed=1)


def at(showers: MeasuredShowers, **values: float) -> dict[str, torch.Tensor]:
    start = {"log_scale": 0.0, "variance": LEAST_VARIANCE, "theta_deg": 0.0, "absorber_mm": 1.4}
    return points(start | values, showers, [])


def test_layers_are_those_before_a_gain():
    before, after = MeasuredShowers.of(drawn()), MeasuredShowers.of(with_gain(drawn(), 0.9))
    gain = torch.full((len(after),), math.log(0.9), dtype=torch.float64)
    # A threshold's rounding; cells are in single precision.
    assert torch.allclose(after.layers_without(gain), before.layers_mev, rtol=1e-5, atol=1e-4)
    told = after.visible_without(gain[:, None])[:, 0]
    assert torch.allclose(told, before.layers_mev.sum(dim=1), rtol=1e-5)


def test_without_scatter_the_likelihood_is_that_of_the_flow():
    showers = MeasuredShowers.of(drawn())
    point = at(showers, absorber_mm=HIDDEN_MM)
    likelihood = ShowerLikelihood(flow().members[0], showers)
    found = likelihood.at(likelihood.expand(point, ["log_scale", "absorber_mm"]), point)
    told = (showers.energy_gev, showers.theta_deg, point["absorber_mm"])
    layers = showers.layers_without(point["log_scale"])
    expected = layer_log_prob(flow().members[0], layers, *told)
    # Single precision, in 45 divisions; a visible energy at the incident one's edge feels any scatter.
    assert float((found - expected).abs().median()) < 2e-3


def test_all_probability_of_a_visible_energy_adds_up_to_one_behind_a_gain_too():
    whole = MeasuredShowers.of(drawn())[:1]
    gain = torch.full((1, 1), math.log(0.9), dtype=torch.float64)
    # The visible energy alone, of a single layer: what is below a cell's threshold has no part in it.
    values = torch.linspace(2.0, 0.91e3 * float(whole.energy_gev[0]), 20_000, dtype=torch.float64)
    energies = whole.energy_gev.expand(len(values))
    layers = torch.zeros(len(values), 45, dtype=torch.float64)
    layers[:, 0] = values
    alone = MeasuredShowers(layers, energies, whole.theta_deg.expand(len(values)), 0.01)
    likelihood = ShowerLikelihood(flow().members[0], alone)
    density = likelihood.visible_at(gain.expand(len(values), 1), at(alone)).exp()[:, 0]
    assert float(torch.trapezoid(density, values)) == pytest.approx(1, abs=0.01)


def test_an_expansion_follows_the_likelihood_nearby():
    shipped = load_flow()
    asked = shipped.parameters.replace(energy_max_gev=5.0, n_showers=60)
    showers = MeasuredShowers.of(generate(shipped, asked, seed=6))
    likelihood = ShowerLikelihood(shipped.members[0], showers)
    centre, near = at(showers), at(showers, log_scale=0.02, absorber_mm=1.43)
    expansion = likelihood.expand(centre, ["log_scale", "absorber_mm"])
    told = {name: values[:, None] for name, values in near.items()}
    with torch.no_grad():
        begun, moved = (likelihood.division_at(point) for point in (centre, near))
    away = expansion.at(told)[:, 0] - moved
    # Networks have kinks, so the second order is not quite what it would be.
    assert float(away.std()) < 0.2 * float((moved - begun).std())


def test_scale_resolution_and_thickness_are_found_within_their_errors():
    truth = {"energy_scale": 0.95, "resolution": 0.02, "absorber_mm": HIDDEN_MM}
    for name, value in truth.items():
        found = calibrated().parameters[name]
        assert found.error > 0
        assert abs(found.value - value) < 5 * found.error, name
    assert calibrated().parameters["absorber_mm"].error < 0.1


def test_a_gain_on_all_energies_moves_the_scale_by_it_and_nothing_else():
    louder = calibrate(flow(), with_gain(measured(), 1.1), seed=1).parameters
    known = calibrated().parameters
    assert louder["energy_scale"].value == pytest.approx(1.1 * known["energy_scale"].value, rel=1e-3)
    for name in ("absorber_mm", "resolution"):
        assert abs(louder[name].value - known[name].value) < 0.1 * known[name].error


def test_members_that_agree_add_no_error():
    assert calibrate(flow(2), measured(), seed=1).parts["ensemble"].values == pytest.approx(0, abs=1e-4)


def test_members_that_disagree_add_theirs():
    both = flow_of([member(1), member(2)], ASKED, absorber_mm=(1.2, 1.6))
    found = calibrate(both, measured(), seed=1)
    # Of two values, the standard deviation.
    logs = [each.values["log_scale"] for each in found.members]
    told = float(found.parts["ensemble"].sel(parameter="energy_scale"))
    assert told == pytest.approx(
        abs(logs[0] - logs[1]) / math.sqrt(2) * found.parameters["energy_scale"].value, rel=0.05
    )


def test_what_is_held_keeps_its_value_and_has_no_error():
    settings = CalibrationParameters(
        fit_absorber=False,
        expected_absorber_mm=HIDDEN_MM,
        fit_resolution=False,
        expected_resolution=0.02,
    )
    found = calibrate(flow(), measured(), seed=1, settings=settings).parameters
    assert (found["absorber_mm"].value, found["absorber_mm"].error) == (HIDDEN_MM, 0.0)
    assert found["resolution"].error == 0
    assert abs(found["energy_scale"].value - 0.95) < 5 * found["energy_scale"].error


def test_an_angle_is_fitted_where_it_is_asked_for():
    fixed = measured().assign(theta_deg=("shower", np.full(ASKED.n_showers, 12.0)))
    settings = CalibrationParameters(fit_angle=True, fit_absorber=False)
    found = calibrate(flow(), fixed, seed=1, settings=settings).parameters
    assert 0 <= found["theta_deg"].value <= 33
    assert found["theta_deg"].unit == "deg"


def test_a_twin_explains_its_own_showers():
    score = calibrated().score
    assert score["p_value"] > 1e-3
    assert np.abs(calibrated().residual["difference"].values).max() < 5


def test_a_twin_does_not_explain_showers_of_another_kind():
    turned = measured().assign(showers=measured()["showers"][:, ::-1].variable)
    assert calibrate(flow(), turned, seed=1).score["p_value"] < 1e-6


def test_the_state_holds_what_was_found_and_where_it_is_valid():
    state = calibrated().state(identity(measured()))
    assert state.twin == "calorimeter"
    assert state.parameters == calibrated().parameters
    assert state.valid_range["absorber_mm"] == (1.2, 1.6)
    assert identity(measured()) != identity(drawn())


def test_the_ratio_of_means_finds_the_scale_where_absorbers_are_what_is_believed():
    scale = ratio_of_means(flow(), measured(), HIDDEN_MM)["energy_scale"]
    assert abs(scale.value - 0.95) < 5 * scale.error


def test_observed_showers_have_the_state_they_were_given():
    state = {"energy_scale": Estimate.of(0.9, 0.01), "absorber_mm": Estimate.of(1.3, 0.01, "mm")}
    alone = generate(flow(), ASKED.replace(absorber_mm=1.3), seed=5)
    seen = observe(flow(), state, ASKED, seed=5)
    np.testing.assert_allclose(seen["showers"], 0.9 * alone["showers"], rtol=1e-6)


def test_gains_have_mean_one_and_the_scatter_asked_for():
    found = gains(20_000, 0.05, seed=1)
    assert abs(found.mean() - 1) < 5 * 0.05 / np.sqrt(20_000)
    assert found.std() == pytest.approx(0.05, rel=5 / np.sqrt(40_000))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.isel(shower=slice(0, 10)), "10 showers are too few: 20"),
        (lambda d: d.assign(energy_gev=d["energy_gev"] + 30), "energy_gev = .* GeV is outside 1 to 20"),
        (lambda d: d.assign(theta_deg=d["theta_deg"] + 31), "theta_deg = .* deg is outside 0 to 30"),
        (lambda d: d.assign(showers=d["showers"].where(d["shower"] != 7, 0.0)), "shower 7 holds no"),
        (lambda d: d.assign(showers=d["showers"].where(d["shower"] != 7, np.nan)), "not a number"),
        (lambda d: d.assign(showers=-d["showers"]), "negative"),
        (lambda d: d.isel(depth=slice(0, 44)), "'depth': 44"),
    ],
)
def test_showers_that_cannot_be_fitted_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        calibrate(flow(), change(measured()), seed=1)


def test_a_fit_of_nothing_is_refused():
    nothing = {f"fit_{name}": False for name in ("scale", "resolution", "absorber", "angle")}
    with pytest.raises(ValueError, match="nothing is to be fitted"):
        calibrate(flow(), measured(), seed=1, settings=CalibrationParameters(**nothing))


@pytest.mark.slow
def test_the_shipped_flow_finds_a_thickness_that_it_has_not_seen_in_geant4():
    model = load_flow()
    asked = {"energy_gev": 1.0, "energy_max_gev": 10.0, "absorber_mm": HIDDEN_MM, "n_showers": 200}
    fired = simulate(model.parameters.replace(**asked), seed=71_001).drop_attrs(deep=False)
    found = calibrate(model, with_gain(fired, 1.05 * gains(200, 0.01, seed=2)), seed=1).parameters
    assert abs(found["absorber_mm"].value / HIDDEN_MM - 1) < 0.03
    assert abs(found["energy_scale"].value / 1.05 - 1) < 0.01
