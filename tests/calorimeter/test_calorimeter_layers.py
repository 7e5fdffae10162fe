"""A calorimeter that reads layers of silicon alone: what Geant4 gives it, and its flow."""

from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from judges import judge
from scipy.stats import kstest
from small_flows import untrained

from physics_twins.calorimeter import form, training_showers
from physics_twins.calorimeter.calibrate import calibrate
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.fitting.measured import MeasuredShowers
from physics_twins.calorimeter.flow.likelihood import visible_log_prob
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes, conditions
from physics_twins.calorimeter.flow_parameters import FlowParameters
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, flow_of, load_flow, save_flow
from physics_twins.calorimeter.simulate import simulate
from physics_twins.calorimeter.train import train

rivals = judge("_calorimeter_rivals")
ASKED = training_showers.read_out("layers").replace(energy_max_gev=5.0, n_showers=40)


@cache
def flow() -> ShowerFlow:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        member = ShowerNetwork(Sizes(1, 1, 1, 16, sampled=1))
    return flow_of([member], ASKED, absorber_mm=(1.2, 1.6))


def drawn() -> xr.Dataset:
    return generate(flow(), ASKED, seed=5)


def test_layers_are_those_that_geant4_gives_whatever_the_cells():
    asked = ASKED.replace(energy_gev=1.0, energy_max_gev=0.0, n_showers=3)
    rings = asked.replace(layout="cylindrical", scored="everything")
    told = form.layers_alone(simulate(rings, seed=8))
    fired = simulate(asked, seed=8)
    xr.testing.assert_equal(told, fired)
    # Silicon sees a thirtieth, in 45 pairs of 90 layers.
    assert fired["showers"].shape == (3, 45, 1, 1)
    share = fired["showers"].sum(("depth", "angle", "radius")) / 1e3
    assert np.all((share > 0.02) & (share < 0.05))


def test_layers_without_what_sensors_saw_are_refused():
    with pytest.raises(ValueError, match="layer_energy_mev is missing"):
        form.layers_alone(drawn())


def test_drawn_layers_hold_together_what_the_network_says():
    """By the chance of less than what was drawn, which is as likely to be anywhere from 0 to 1."""
    asked = ASKED.replace(energy_gev=3.0, energy_max_gev=0.0, n_showers=4000)
    visible = generate(flow(), asked, seed=5)["showers"].sum(("depth", "angle", "radius"), dtype=float)
    values = torch.linspace(1.0, 2900.0, 30_000, dtype=torch.float64)
    told = (torch.full_like(values, each) for each in (3.0, 0.0, 1.4))
    density = visible_log_prob(flow().members[0], values, conditions(*told)).exp()
    below = torch.cumulative_trapezoid(density, values).numpy()
    chance = np.interp(visible, values[1:], below)
    assert kstest(chance, "uniform").pvalue > 1e-3
    assert kstest(np.interp(1.05 * visible, values[1:], below), "uniform").pvalue < 1e-3


def test_all_probability_of_what_silicon_sees_adds_up_to_one():
    energy = torch.full((20_000,), 3.0, dtype=torch.float64)
    values = torch.linspace(1.0, 900.0, len(energy), dtype=torch.float64)
    told = (energy, torch.zeros_like(energy), torch.full_like(energy, 1.4))
    density = visible_log_prob(flow().members[0], values, conditions(*told)).exp()
    assert float(torch.trapezoid(density, values)) == pytest.approx(1, abs=0.01)


def test_a_flow_of_layers_learns_from_them_and_divides_no_cells():
    settings = FlowParameters(
        readout="layers", n_steps=40, n_members=1, batch_size=16, validate_every=5
    )
    data = form.layers_alone(simulate(ASKED, seed=9))
    trained = train(data, settings, validation=data, seed=1, progress=False)
    loss = trained.history["validation_loss"].values
    # A nat in each of some fifteen layers that hold energy is more than chance gives.
    assert loss[-1] < loss[0] - 15
    assert trained.modules["network"].sizes == Sizes(1, 1, 1, 128, sampled=1)


def test_a_flow_refuses_showers_that_are_read_out_otherwise():
    cells = flow_of(
        [untrained()], training_showers.read_out().replace(energy_max_gev=5.0), absorber_mm=(1.2, 1.6)
    )
    with pytest.raises(ValueError, match="'angle': 1"):
        calibrate(cells, drawn().drop_attrs(deep=False), seed=1)
    with pytest.raises(ValueError, match="layout = 'cylindrical': this flow was trained for 'layers'"):
        generate(flow(), ASKED.replace(layout="cylindrical"), seed=1)


def test_of_whole_layers_nothing_is_known_across_the_beam():
    numbers = features(drawn())
    assert float(numbers["radius_mm"].max()) == 0
    assert int(numbers["pair_count"].max()) == 0
    assert np.isfinite(numbers["depth_mm"]).all()


def test_a_flow_of_layers_is_saved_and_loaded_under_its_own_name(tmp_path):
    model = save_flow(flow(), root=tmp_path, metrics={}, parameters=FlowParameters(), seed=1)
    assert str(model) == "calorimeter-layers/1"
    again = load_flow("calorimeter-layers", root=tmp_path)
    xr.testing.assert_equal(
        generate(again, ASKED, seed=5)["showers"], generate(flow(), ASKED, seed=5)["showers"]
    )
    assert again.parameters.layout == "layers"
    with pytest.raises(ValueError, match="there is no ONNX file of a flow of layers"):
        save_flow(flow(), root=tmp_path, with_onnx=True)


def seen(seed: int, *, scale: float = 1.0, thickness_mm: float = 1.4) -> MeasuredShowers:
    """Showers of 1 to 20 GeV whose response and depth scatter by a tenth and follow the thickness."""
    rng = np.random.default_rng(seed)
    n, ratio = 2000, thickness_mm / 1.4
    energy = np.exp(rng.uniform(0.0, np.log(20.0), n))
    width = 3.0 * np.exp(0.1 * rng.standard_normal(n))
    depth = 8 / ratio + rng.standard_normal(n)
    profile = np.exp(-(((np.arange(45) - depth[:, None]) / width[:, None]) ** 2) / 2)
    visible = 32.4 * energy / ratio * scale * np.exp(0.1 * rng.standard_normal(n))
    layers = visible[:, None] * profile / profile.sum(axis=1, keepdims=True)
    angles = torch.from_numpy(rng.uniform(0.0, 30.0, n))
    return MeasuredShowers(torch.from_numpy(layers), torch.from_numpy(energy), angles, 0.0)


def test_moments_tell_scale_and_thickness_apart_where_a_ratio_of_means_cannot():
    known = (1.3, 1.35, 1.45, 1.5)
    moments = rivals.Moments([seen(n, thickness_mm=t) for n, t in enumerate(known)], known)
    showers = seen(9, scale=0.95, thickness_mm=1.42)
    scale, thickness_mm = moments.fit(showers)
    # A depth of 8 that scatters by one: 0.3 % from 2,000 showers, and as much from those to learn from.
    assert scale == pytest.approx(0.95, rel=0.02)
    assert thickness_mm == pytest.approx(1.42, rel=0.02)
    # Five standard errors of a tenth from 2,000.
    assert moments.scale(showers, 1.42) == pytest.approx(0.95, rel=0.012)
    assert moments.scale(showers, 1.4) == pytest.approx(0.95 * 1.4 / 1.42, rel=0.012)


def test_the_test_of_the_response_finds_a_fall_when_theory_says_and_not_before():
    page = rivals.RatioPage(seen(1), 0.05)
    assert page.called_at(seen(2)[:500]) is None
    # A shift of half a standard deviation adds an eighth a shower: 11 after some 88.
    assert 40 < page.called_at(seen(3, scale=0.95)) < 200
