"""Measured showers behind the calorimeter's sliders: fitted by hand, handed on to the calibration."""

import re
from html import unescape

import numpy as np
import pytest
from small_flows import untrained

from physics_twins import calorimeter
from physics_twins.calorimeter.formats.layouts import THREE_D_GAN, writing
from physics_twins.calorimeter.model import ShowerFlow, flow_of
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.projections import profiles
from physics_twins.data import save
from twin_panels.calorimeter import CalorimeterPanel
from twin_panels.measured_showers import distances, means
from twin_panels.measuring import CALIBRATE

TRAINED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0
)


@pytest.fixture(scope="module")
def flow() -> ShowerFlow:
    return flow_of([untrained(1), untrained(2)], TRAINED, absorber_mm=(1.2, 1.6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, flow: ShowerFlow):
    """Showers of 8 to 12.5 GeV at 10 to 20 degrees, in files that tell angles and that do not."""
    asked = TRAINED.replace(energy_gev=8.0, energy_max_gev=12.5, theta_deg=10.0, theta_max_deg=20.0)
    made = calorimeter.generate(flow, asked.replace(n_showers=300), seed=9)
    where = tmp_path_factory.mktemp("measured")
    save(made, where / "beam.nc")
    calorimeter.files.write(made, where / "beam.hdf5")
    flat = CalorimeterParameters(n_showers=2)
    cells = np.ones((2, 51, 51, 25), np.float32)
    with writing(where / "flat.h5", THREE_D_GAN, cells.shape[1:]) as add:
        add(cells, {"energy": np.full(2, flat.energy_gev), "theta": np.full(2, 1.5)})
    return where


@pytest.fixture
def panel(flow: ShowerFlow):
    panel = CalorimeterPanel(flow=flow)
    yield panel
    panel.wait()


def load(panel: CalorimeterPanel, path) -> None:
    panel.handover.path.value = str(path)
    panel.handover.buttons["Load"].click()


@pytest.mark.parametrize(("name", "angle"), [("beam.nc", " and 5°"), ("beam.hdf5", "")])
def test_means_lie_over_the_flows_and_the_distance_is_told(panel, folder, name, angle):
    panel.controls["energy_gev"].value = 3.0
    load(panel, folder / name)
    assert panel.error == ""
    assert "300 showers of 8" in panel.handover.shown.value
    assert panel.parameters.energy_gev == pytest.approx(10.0, rel=0.05)
    points = panel.profiles.measured["longitudinal"].data
    known = calorimeter.files.open_showers(folder / "beam.nc", TRAINED)
    along = profiles(next(known))
    near = np.abs(np.log(along["energy_gev"] / panel.parameters.energy_gev)) <= np.log(1.2)
    if angle:
        near &= np.abs(along["theta_deg"] - panel.parameters.theta_deg) <= 5
    expected = 100 * along["longitudinal"][near.values]
    assert points["mean"] == pytest.approx(expected.mean("shower").values, rel=1e-3)
    error = expected.std("shower", ddof=1) / np.sqrt(int(near.sum()))
    assert (points["high"] - points["low"]) / 2 == pytest.approx(error.values, rel=1e-2, abs=1e-4)
    assert panel.profiles.longitudinal.y_range.end >= points["high"].max()
    assert panel.note.startswith(f"Points: {int(near.sum())} showers of {name} within 20 %{angle}")
    panel.wait()
    seen = re.search(
        r"They see (\S+) .* of what the flow's do; .* χ² per point is \S+ along", panel.note
    )
    assert seen
    assert float(seen[1]) == pytest.approx(1, abs=0.05)


def test_chi_squared_is_about_one_of_the_same_showers_and_grows_with_the_absorbers():
    flow = calorimeter.load_flow()  # an untrained one hardly knows of its absorbers
    one = {"energy_gev": 10.0, "energy_max_gev": 0.0, "theta_deg": 15.0, "theta_max_deg": 0.0}
    told = {}
    for absorber_mm, seed in ((1.4, 1), (1.4, 2), (1.45, 3)):
        asked = flow.parameters.replace(absorber_mm=absorber_mm, n_showers=300, **one)
        told[seed] = means(profiles(calorimeter.generate(flow, asked, seed=seed)))
    same, other = distances(told[1], told[2]), distances(told[1], told[3])
    # Slices rise and fall together: of 28 pairs of one flow nine in ten lay between 0.3 and 1.5.
    assert all(0.1 < value < 3 for value in same.values())
    assert other["longitudinal"] > 5
    # A gain is told apart, and changes nothing of the shape.
    assert distances(1.1 * told[1], told[2]) == pytest.approx(same)


def test_where_few_showers_are_near_there_are_no_points_and_a_sentence(panel, folder):
    load(panel, folder / "beam.nc")
    panel.controls["energy_gev"].value = 3.0
    panel.wait()
    assert len(panel.profiles.measured["lateral"].data["mean"]) == 0
    assert "Points: 0 showers of beam.nc within 20 % and 5°, too few for a mean (20)." in panel.note


def test_it_is_handed_on_and_let_go(panel, folder):
    assert panel.buttons[CALIBRATE].layout.display == "none"
    load(panel, folder / "beam.hdf5")
    panel.controls["theta_deg"].value = 12.0
    panel.buttons[CALIBRATE].click()
    line = panel.handover.here.line.split("run ", 1)[1]
    assert line.startswith(f"calorimeter/5_twin -p observed_path={folder / 'beam.hdf5'}")
    assert f"-p audited_gev={panel.parameters.energy_gev}" in line
    assert "-p observed_theta_deg=12.0 -p n_measured=150 -p n_watched=75" in line
    load(panel, folder / "beam.nc")
    panel.buttons[CALIBRATE].click()
    assert "observed_theta_deg" not in panel.handover.here.line
    panel.buttons[panel.without].click()
    assert panel.measured is None
    assert "Points" not in panel.note
    assert len(panel.profiles.measured["lateral"].data["mean"]) == 0
    assert panel.buttons[CALIBRATE].disabled


def test_too_few_showers_to_calibrate_on_are_told(panel, folder, flow, tmp_path):
    few = calorimeter.generate(flow, TRAINED.replace(n_showers=30), seed=4)
    save(few, tmp_path / "few.nc")
    load(panel, tmp_path / "few.nc")
    panel.buttons[CALIBRATE].click()
    assert "n_measured = 15 is outside its range" in panel.handover.shown.value
    assert panel.handover.here.line == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wrong.h5", "damaged, cut or no HDF5 file"),
        ("empty.nc", "damaged, cut or no HDF5 file"),
        ("none.hdf5", "there is no file"),
        ("flat.h5", "layout = 'cylindrical': this format is cartesian"),
        ("high.nc", "none of 5 showers is of 1 to 20 GeV and up to 30 deg"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence_and_what_stood_there_stays(panel, folder, name, told):
    (folder / "wrong.h5").write_bytes(b"no showers")
    (folder / "empty.nc").write_bytes(b"")
    with_high = next(calorimeter.files.open_showers(folder / "beam.nc", TRAINED)).isel(shower=slice(5))
    save(with_high.assign(energy_gev=with_high["energy_gev"] * 100), folder / "high.nc")
    load(panel, folder / "beam.nc")
    panel.wait()
    before, note = panel.measured, panel.note
    load(panel, folder / name)
    assert "Not loaded: " in panel.handover.shown.value
    assert told in unescape(panel.handover.shown.value)
    assert (panel.measured, panel.note) == (before, note)
    assert len(panel.profiles.measured["lateral"].data["mean"]) == 9
