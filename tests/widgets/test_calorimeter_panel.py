"""The calorimeter's panel without a browser: figures follow, what is outside is told in sentences."""

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_flows import untrained

from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, flow_of
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.projections import bands, profiles
from physics_twins.data import Estimate
from physics_twins.twin import TwinState
from twin_panels.calorimeter import N_BAND, CalorimeterPanel
from twin_panels.figures import FollowingRange
from twin_panels.shower_views import BRIGHTEST, DARKEST, Profiles

TRAINED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0
)


@pytest.fixture(scope="module")
def flow() -> ShowerFlow:
    return flow_of([untrained(1), untrained(2)], TRAINED, absorber_mm=(1.2, 1.6))


@pytest.fixture
def panel(flow: ShowerFlow):
    panel = CalorimeterPanel(flow=flow)
    yield panel
    panel.wait()


def image(panel: CalorimeterPanel, view: str) -> np.ndarray:
    return panel.views.images[view].source.data["image"][0]


def drawn(panel: CalorimeterPanel) -> list[np.ndarray]:
    curves = [panel.profiles.curves[name].data["percent"] for name in ("longitudinal", "lateral")]
    return [image(panel, view).copy() for view in ("top", "side", "front")] + curves


def same(one: list[np.ndarray], other: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(*pair) for pair in zip(one, other, strict=True)]


def test_the_first_frame_is_there_at_once(panel):
    assert panel.error == ""
    assert [image(panel, view).shape for view in ("top", "side", "front")] == [
        (72, 45),
        (72, 45),
        (72, 72),
    ]
    assert all(image(panel, view).max() > 100 for view in ("top", "side", "front"))


@pytest.mark.parametrize(("name", "value"), [("energy_gev", 3.0), ("absorber_mm", 1.25)])
def test_a_moved_control_changes_all_figures(panel, name, value):
    before = drawn(panel)
    panel.controls[name].value = value
    assert not any(same(before, drawn(panel)))


def test_a_moved_angle_changes_shower_and_face(panel):
    before, face = drawn(panel), panel.views.face.data["depth"]
    panel.controls["theta_deg"].value = 25.0
    # What has learnt nothing depends on the angle but little: not in every view.
    assert not all(same(before, drawn(panel)))
    assert not np.array_equal(panel.views.face.data["depth"], face)


def test_the_same_seed_is_the_same_picture_and_another_is_another(flow):
    first, again, other = (CalorimeterPanel(flow=flow, seed=n) for n in (7, 7, 8))
    assert all(same(drawn(first), drawn(again)))
    assert not any(same(drawn(first), drawn(other)))


def test_there_and_back_again_is_the_same_picture(panel):
    before = drawn(panel)
    panel.controls["energy_gev"].value = 3.0
    panel.controls["energy_gev"].value = 10.0
    assert all(same(before, drawn(panel)))


def test_reset_brings_the_first_frame_back(panel):
    before = drawn(panel)
    panel.controls["energy_gev"].value = 3.0
    panel.controls["theta_deg"].value = 2.0
    panel.buttons["Reset"].click()
    assert all(same(before, drawn(panel)))


def test_a_small_step_moves_the_shower_and_does_not_throw_the_dice_again(panel, flow):
    before, other = drawn(panel)[3], drawn(CalorimeterPanel(flow=flow, seed=99))[3]
    panel.controls["energy_gev"].value = 10.01
    moved = np.abs(drawn(panel)[3] - before).sum()
    assert moved < 0.1 * np.abs(other - before).sum()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("energy_gev", 30.0, "energy_gev = 30 GeV is outside 1 to 20 GeV, which this flow"),
        ("theta_deg", 31.0, "theta_deg = 31 deg is outside 0 to 30 deg"),
        ("absorber_mm", 1.1, "absorber_mm = 1.1 mm is outside 1.2 to 1.6 mm"),
    ],
)
def test_what_the_flow_was_not_trained_for_leaves_the_frame_and_is_told(panel, name, value, told):
    before, usual = drawn(panel), panel.controls[name].value
    panel.controls[name].value = value
    assert told in panel.error
    assert all(same(before, drawn(panel)))
    panel.controls[name].value = usual
    assert panel.error == ""


def test_sliders_end_where_the_trained_range_does(panel):
    for name, (low, high) in {"energy_gev": (1, 20), "theta_deg": (0, 30)}.items():
        for position, value in ((0.0, low), (1.0, high)):
            panel.controls[name].slider.value = position
            assert panel.controls[name].value == value
    assert panel.error == ""


def test_another_calorimeter_is_told_in_a_sentence(flow):
    panel = CalorimeterPanel(CalorimeterParameters(), flow=flow)
    assert "sensor_mm = 0.5: this flow was trained for 0.3" in panel.error


def test_without_a_model_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "none"))
    monkeypatch.setattr("physics_twins.data.homes", list)
    panel = CalorimeterPanel()
    assert "no model 'calorimeter-flow'" in panel.error
    assert "calorimeter/2_train" in panel.error
    assert "twins models import" in panel.error
    panel.controls["energy_gev"].value = 3.0
    assert "no model" in panel.error


def test_the_side_shows_the_face_at_the_particles_angle(panel):
    panel.controls["theta_deg"].value = 30.0
    depth, x = (panel.views.face.data[name] for name in ("depth", "x"))
    assert np.rad2deg(np.arctan(depth / x)) == pytest.approx(30.0)
    assert "at 30°" in panel.views.side.title.text


def test_the_image_holds_the_energy_of_the_shower(panel, flow):
    asked = panel.parameters.replace(n_showers=1)
    cells = generate(flow, asked, seed=3, member=0)["showers"]
    level = image(panel, "front").astype(float)
    density = np.where(level > 0, DARKEST * (BRIGHTEST / DARKEST) ** (level / 255), 0.0)
    # A step of colour is 5.9 %, and densities below the darkest are lost.
    area_mm2 = (2 * 9 * 4.65 / 72) ** 2
    assert density.sum() * area_mm2 == pytest.approx(float(cells.sum()), rel=0.03)


def test_the_flows_band_follows_in_the_background(panel):
    panel.wait()
    band = panel.profiles.bands["longitudinal", "flow"].data
    assert (band["low"] <= band["high"]).all()
    assert f"{N_BAND} showers of the flow at 10 GeV, 15°, 1.4 mm" in panel.note
    panel.controls["energy_gev"].value = 2.0
    panel.wait()
    moved = panel.profiles.bands["longitudinal", "flow"].data
    assert not np.array_equal(band["mean"], moved["mean"])
    assert "showers of the flow at 2 GeV" in panel.note


def test_a_reference_has_a_band_of_its_showers_nearby(flow):
    known = generate(flow, TRAINED.replace(n_showers=400), seed=5)
    known.attrs["made_by"] = "Geant4 11.4.0, electromagnetic physics"
    panel = CalorimeterPanel(flow=flow, reference=known)
    band = panel.profiles.bands["lateral", "reference"].data
    near = np.abs(np.log(known["energy_gev"] / 10.0)) <= np.log(1.2)
    near &= np.abs(known["theta_deg"] - 15.0) <= 5.0
    assert f"{int(near.sum())} showers of Geant4 11.4.0 within 20 %" in panel.note
    percent = 100 * known["showers"].sum(("depth", "angle")) / (1e3 * known["energy_gev"])
    assert band["mean"] == pytest.approx(percent[near.values].mean("shower").values, rel=1e-3)
    panel.controls["absorber_mm"].value = 1.5
    assert "0 showers of Geant4 11.4.0" in panel.note
    assert len(panel.profiles.bands["lateral", "reference"].data["mean"]) == 0
    panel.wait()


def test_the_health_of_the_twin_is_told(flow):
    state = TwinState(
        twin="calorimeter",
        data_id="test beam",
        parameters={"scale": Estimate.of(1.0, 0.01)},
        last_sync=datetime(2020, 1, 2, tzinfo=UTC),
    )
    panel = CalorimeterPanel(flow=flow, state=state)
    assert "Twin: stale, last synchronised 2020-01-02." in panel.note
    panel.wait()


@pytest.mark.parametrize(("shower", "band", "end"), [(0.03, 0.04, 5.0), (0.12, 0.04, 20.0)])
def test_the_longitudinal_axis_holds_all_that_is_drawn(flow, shower, band, end):
    one = profiles(generate(flow, TRAINED.replace(n_showers=1), seed=1)).isel(shower=0)
    figures = Profiles(FollowingRange(), "")
    figures.show(one.assign(longitudinal=xr.full_like(one["longitudinal"], shower)))
    many = one.assign(longitudinal=xr.full_like(one["longitudinal"], band)).expand_dims("shower")
    figures.show_band("flow", bands(many))
    assert figures.longitudinal.y_range.end == end
    figures.show_band("flow", None)
    assert figures.longitudinal.y_range.end >= 100 * shower


def test_a_readers_zoom_is_kept_and_is_that_of_all_views(panel):
    depth = panel.views.side.x_range
    assert depth is panel.views.top.x_range is panel.profiles.longitudinal.x_range
    depth.update(start=20.0, end=60.0)  # what a drag in the browser sends
    panel.controls["absorber_mm"].value = 1.5
    assert (depth.start, depth.end) == (20.0, 60.0)


def test_axes_carry_units(panel):
    views, curves = panel.views, panel.profiles
    labels = [f.yaxis.axis_label for f in (views.top, views.side, curves.longitudinal, curves.lateral)]
    labels += [f.xaxis.axis_label for f in (views.front, curves.longitudinal, curves.lateral)]
    units = ("(mm)", "(mm)", "(%)", "(%)", "(mm)", "(mm)", "(mm)")
    assert [label.endswith(unit) for label, unit in zip(labels, units, strict=True)] == [True] * 7


def test_one_frame_is_sent_as_one_patch(panel):
    panel.wait()
    sent = []
    panel._canvas.send = lambda content, buffers=None: sent.append(content)
    panel.controls["energy_gev"].value = 3.0
    assert len(sent) == 1
    panel.wait()


def test_a_batch_run_gets_the_same_parameters(panel, tmp_path):
    panel.controls["energy_gev"].value = 3.0
    command = shlex.split(panel.run_as_batch(tmp_path / "mine.json"))
    assert command[1:4] == ["run", "calorimeter/4_infer", "--parameters"]
    assert CalorimeterParameters(**json.loads(Path(command[4]).read_text())) == panel.parameters


def test_the_code_shown_makes_the_same_parameters(panel):
    panel.controls["energy_gev"].value = 3.0
    names: dict = {}
    made = panel.as_code().split("shower = ")[0]
    exec(made, names)
    assert names["parameters"] == panel.parameters
