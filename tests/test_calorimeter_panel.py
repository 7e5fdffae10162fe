"""The calorimeter's panel without a browser: figures follow, what is wrong is told in a sentence."""

import numpy as np
import pytest
import xarray as xr
from small_flows import untrained

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import flow_of
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.use_parameters import ShowerViewParameters
from twin_panels.calorimeter import CalorimeterPanel

BEAM = CalorimeterParameters(**samples.TRAINING)


@pytest.fixture(scope="module")
def flow():
    return flow_of([untrained()], BEAM, absorber_mm=(1.2, 1.6))


@pytest.fixture
def panel(flow):
    return CalorimeterPanel(model=flow)


def drawn(panel):
    pictures = [panel.images[name].source.data["image"][0] for name in ("side", "top", "front")]
    return [*pictures, panel.sources["layer_mev"].data["one"], panel.sources["ring_mev"].data["mean"]]


def test_the_first_frame_is_there_at_once(panel):
    assert panel.error == ""
    shapes = [picture.shape for picture in drawn(panel)]
    assert shapes == [(40, 45), (40, 45), (40, 40), (45,), (9,)]


@pytest.mark.parametrize(
    ("name", "value"), [("energy_gev", 40.0), ("theta_deg", 25.0), ("absorber_mm", 1.55)]
)
def test_moving_a_control_changes_all_figures(panel, name, value):
    before = drawn(panel)
    panel.controls[name].value = value
    assert not any(np.array_equal(*pair) for pair in zip(before, drawn(panel), strict=True))


def test_the_same_parameters_show_the_same_shower(panel, flow):
    before = drawn(panel)
    panel.controls["energy_gev"].value = 40.0
    panel.controls.reset()
    for again in (drawn(panel), drawn(CalorimeterPanel(model=flow))):
        for pair in zip(before, again, strict=True):
            np.testing.assert_array_equal(*pair)


def test_the_profile_is_that_of_the_shower_in_the_views(panel):
    asked = BEAM.replace(energy_gev=10.0, energy_max_gev=0.0, theta_max_deg=0.0, n_showers=1)
    shower = generate(panel._model, asked, seed=1)["showers"].isel(shower=0)
    layers = shower.sum(("angle", "radius")).values
    np.testing.assert_allclose(panel.sources["layer_mev"].data["one"], layers, rtol=1e-5)


def test_a_value_outside_the_trained_range_is_refused(panel):
    before = drawn(panel)
    panel.controls["energy_gev"].value = 500.0
    assert "energy_gev = 500.0 GeV is outside its range" in panel.controls.refusal
    np.testing.assert_array_equal(drawn(panel)[0], before[0])


def test_what_this_flow_was_not_trained_for_is_told_in_a_sentence():
    narrow = BEAM.replace(energy_gev=5.0, energy_max_gev=20.0)
    panel = CalorimeterPanel(model=flow_of([untrained()], narrow, absorber_mm=(1.4, 1.4)))
    panel.controls["energy_gev"].value = 50.0
    assert "energy_gev = 50 GeV is outside 5 to 20 GeV" in panel.error
    panel.controls["energy_gev"].value = 15.0
    assert panel.error == ""


def test_a_missing_flow_is_told_with_what_to_do_next():
    panel = CalorimeterPanel(model="no-such-flow")
    assert "there is no flow to draw with" in panel.error
    assert "calorimeter/2_train" in panel.error


def test_geant4_is_drawn_where_there_are_showers_near(flow):
    near = BEAM.replace(energy_gev=9.5, energy_max_gev=10.5, theta_max_deg=2.0, n_showers=20)
    panel = CalorimeterPanel(model=flow, reference=generate(flow, near, seed=2))
    assert np.isfinite(panel.sources["layer_mev"].data["geant4"]).all()
    panel.controls["energy_gev"].value = 40.0
    assert not np.isfinite(panel.sources["layer_mev"].data["geant4"]).any()


def test_the_audit_that_was_made_here_is_told(flow):
    facts = {"energy_gev": 10.0, "theta_deg": 0.0, "absorber_mm": 1.4}
    audit = xr.Dataset(attrs=facts | {"verdict": "not rejected after 100 showers"})
    panel = CalorimeterPanel(model=flow, audits=[audit])
    assert panel.profiles["layer_mev"].title.text == "Audit here: not rejected after 100 showers"
    panel.controls["theta_deg"].value = 20.0
    assert panel.profiles["layer_mev"].title.text == "Audit: none at this energy and angle"


def test_parameters_are_handed_over_as_code_that_draws_the_same(panel):
    panel.controls["energy_gev"].value = 20.0
    code = panel.as_code()
    assert "ShowerViewParameters" in code
    assert "energy_gev=20.0" in code
    compile(code, "panel", "exec")


def test_axes_carry_units(panel):
    figures = [*panel.views.values(), *panel.profiles.values()]
    labels = [axis.axis_label for figure in figures for axis in (figure.xaxis, figure.yaxis)]
    assert all(label.endswith(("(mm)", "(MeV)")) for label in labels)


def test_ranges_of_the_controls_are_those_of_the_training():
    known = ShowerViewParameters.describe()
    low, high = known["energy_gev"].minimum, known["energy_gev"].maximum
    assert (low, high) == (BEAM.energy_gev, BEAM.energy_max_gev)
    assert (known["theta_deg"].minimum, known["theta_deg"].maximum) == (0, BEAM.theta_max_deg)
