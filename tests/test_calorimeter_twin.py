"""The calorimeter's verbs: what is hidden is found with its error, and what has aged is called."""

import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.audit_twin import audit_twin
from physics_twins.calorimeter.calibrate import calibrate, measured
from physics_twins.calorimeter.figures import twin_plots
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import load_flow
from physics_twins.calorimeter.monitor import Monitor
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.twin_parameters import CalibrationParameters, MonitorParameters
from physics_twins.calorimeter.whatif import calibrated, what_if
from physics_twins.twin import Estimate, TwinState

BEAM = CalorimeterParameters(**samples.TRAINING).replace(energy_max_gev=20.0, n_showers=200)
THICKNESS_MM, SCALE = 1.31, 1.02


@pytest.fixture(scope="module")
def flow():
    return load_flow()


@pytest.fixture(scope="module")
def showers(flow):
    """The flow's own showers, measured: the truth is known and the model right."""
    return measured(generate(flow, BEAM.replace(absorber_mm=THICKNESS_MM), seed=31), SCALE)


@pytest.fixture(scope="module")
def calibration(flow, showers):
    return calibrate(flow, showers, seed=32)


@pytest.fixture(scope="module")
def state(flow, calibration):
    return calibration.state(flow, "the flow's own showers")


def known(**values):
    """A state with these parameters, known without error."""
    from datetime import UTC, datetime

    parameters = {name: Estimate.of(value, 1e-9) for name, value in values.items()}
    return TwinState(
        twin="calorimeter", data_id="given", parameters=parameters, last_sync=datetime.now(UTC)
    )


@pytest.mark.slow
def test_scale_and_thickness_are_found_within_their_errors(calibration):
    for name, truth in (("energy_scale", SCALE), ("absorber_mm", THICKNESS_MM)):
        found = calibration.parameters[name]
        assert abs(found.value - truth) < 4 * found.error
    assert calibration.parameters["energy_scale"].error < 0.01
    assert calibration.parameters["absorber_mm"].error < 0.03 * THICKNESS_MM


@pytest.mark.slow
def test_the_calibrated_twin_explains_its_own_showers(calibration):
    assert calibration.score["converged"] == 1
    assert calibration.score["p_value"] > 1e-3
    assert float(np.abs(calibration.residual["pull"]).max()) < 5


@pytest.mark.slow
def test_what_is_no_shower_of_the_twin_has_a_small_p_value(flow, showers):
    # Two layers exchanged: as much energy, at another depth.
    few = showers.isel(shower=slice(60))
    cells = few["showers"].values.copy()
    cells[:, [8, 20]] = cells[:, [20, 8]]
    wrong = few.assign(showers=(showers["showers"].dims, cells))
    assert calibrate(flow, wrong, seed=33).score["p_value"] < 1e-3


@pytest.mark.slow
def test_a_scatter_of_the_detector_is_found(flow, showers):
    factor = 1 + 0.03 * np.random.default_rng(3).standard_normal(showers.sizes["shower"])
    scattered = showers.assign(showers=showers["showers"] * xr.DataArray(factor, dims="shower"))
    settings = CalibrationParameters(fit_resolution=True, fit_absorber=False)
    found = calibrate(flow, scattered, seed=34, settings=settings, absorber_mm=THICKNESS_MM)
    resolution = found.parameters["resolution"]
    assert abs(resolution.value - 0.03) < 4 * resolution.error
    assert resolution.error < 0.01


@pytest.mark.slow
def test_an_unknown_angle_is_found(flow):
    inclined = BEAM.replace(theta_deg=22.0, theta_max_deg=0.0)
    showers = generate(flow, inclined, seed=35)
    settings = CalibrationParameters(fit_angle=True, fit_absorber=False, fit_energy_scale=False)
    unknown = showers.assign(theta_deg=showers["theta_deg"] * 0 + 15.0)
    found = calibrate(flow, unknown, seed=36, settings=settings, absorber_mm=1.4)
    angle = found.parameters["theta_deg"]
    assert abs(angle.value - 22.0) < 4 * angle.error
    assert angle.error < 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.isel(shower=slice(20)), "20 showers are too few to calibrate with"),
        (lambda s: s.assign(energy_gev=s["energy_gev"] * 50), "is not within 1 to 100 GeV"),
        (lambda s: s.assign(showers=s["showers"] * np.nan), "shower 0 has no energy"),
    ],
)
def test_showers_that_cannot_be_calibrated_with_are_told(flow, showers, change, words):
    with pytest.raises(ValueError, match=words):
        calibrate(flow, change(showers), seed=1)


def test_a_calibration_of_nothing_is_refused(flow, showers):
    settings = CalibrationParameters(fit_energy_scale=False, fit_absorber=False)
    with pytest.raises(ValueError, match="nothing is to be fitted"):
        calibrate(flow, showers, seed=1, settings=settings)


@pytest.mark.slow
def test_a_state_knows_where_it_is_valid(state):
    assert state.health == "ok"
    assert state.valid_range["absorber_mm"].low == 1.2
    assert calibrated(BEAM, state).absorber_mm == state.parameters["absorber_mm"].value


def test_no_change_makes_no_difference(flow):
    table = what_if(
        flow, known(absorber_mm=1.4), {"the same": {}}, parameters=BEAM.replace(n_showers=20), seed=1
    )
    assert float(np.abs(table["difference"]).max()) == 0


def test_a_thicker_absorber_or_less_energy_brings_showers_nearer(flow):
    asked = BEAM.replace(n_showers=100)
    scenarios = {"thicker": {"absorber_mm": 1.59}, "slower": {"energy_max_gev": 2.0}}
    table = what_if(flow, known(absorber_mm=1.21), scenarios, parameters=asked, seed=2)
    depth = table.sel(number="depth_mm")
    for name, sigma in (("thicker", 2), ("slower", 5)):
        one = depth.sel(scenario=name)
        assert float(one["difference"]) < -sigma * float(one["error"])


def test_a_scenario_outside_the_range_is_refused(flow):
    with pytest.raises(ValueError, match=r"absorber_mm = 2 mm is outside 1\.2 to 1\.6 mm"):
        what_if(flow, known(), {"lead": {"absorber_mm": 2.0}}, parameters=BEAM, seed=1)


def test_an_aged_calorimeter_is_called_and_dated(flow):
    stream = generate(flow, BEAM.replace(n_showers=400), seed=41)
    monitor = Monitor(flow, known(energy_scale=1.0, absorber_mm=1.4), seed=42)
    before = monitor.watch(stream.isel(shower=slice(200)))
    assert not monitor.alarms
    assert float(before["drift_score"].max()) < 1
    monitor.watch(measured(stream.isel(shower=slice(200, None)), 0.97), stop_at_alarm=True)
    (alarm,) = monitor.alarms
    assert alarm.parameter == "energy_scale"
    assert -0.04 < alarm.change.value < -0.01
    assert alarm.batch <= 5
    assert monitor.state.health == "drifted"


def test_a_change_of_depth_is_told_from_one_of_scale(flow):
    stream = generate(flow, BEAM.replace(absorber_mm=1.5, n_showers=300), seed=43)
    monitor = Monitor(flow, known(energy_scale=1.0, absorber_mm=1.4), seed=44)
    monitor.watch(stream, stop_at_alarm=True)
    assert monitor.alarms[0].parameter == "absorber_mm"


def test_a_batch_that_is_too_small_is_refused(flow):
    batch = generate(flow, BEAM.replace(n_showers=5), seed=1)
    with pytest.raises(ValueError, match="5 showers are too few for a batch"):
        Monitor(flow, known(), seed=1, settings=MonitorParameters()).look(batch)


@pytest.mark.slow
def test_geant4_is_fired_at_the_flow_the_same_whatever_the_workers(flow):
    from physics_twins import clusters

    point = BEAM.replace(energy_gev=2.0, energy_max_gev=0.0, theta_max_deg=0.0)
    alone = audit_twin(flow, point, seed=7, n_showers=20, batch=10)
    with clusters.connect("threads") as client:
        farmed = audit_twin(flow, point, seed=7, n_showers=20, batch=10, client=client)
    xr.testing.assert_identical(alone, farmed)
    assert "after 20 showers" in alone.attrs["verdict"]


@pytest.mark.slow
def test_a_flow_of_other_absorbers_is_rejected(flow, monkeypatch):
    from physics_twins.calorimeter import audit_twin as module

    thicker = generate(flow, BEAM.replace(absorber_mm=1.6, n_showers=2000, energy_max_gev=3.0), seed=8)
    monkeypatch.setattr(module, "generate", lambda *arguments, **options: thicker)
    found = audit_twin(flow, BEAM.replace(absorber_mm=1.2, energy_max_gev=3.0), seed=9, n_showers=200)
    assert 0 < found.attrs["rejected_at"] <= 200


def test_figures_of_the_verbs_are_drawn(flow):
    import holoviews as hv

    hv.extension("bokeh", logo=False)
    asked = BEAM.replace(n_showers=60)
    state = known(energy_scale=1.0, absorber_mm=1.4)
    table = what_if(flow, state, {"inclined": {"theta_max_deg": 5.0}}, parameters=asked, seed=3)
    seen = Monitor(flow, state, seed=1).watch(generate(flow, asked.replace(n_showers=100), seed=4))
    layers = xr.Dataset(
        {name: ("layer", np.ones(45)) for name in ("measured", "twin", "pull")},
        {"layer": np.arange(45)},
    )
    for figure in (
        twin_plots.differences(table),
        twin_plots.drift(seen, changed_at=1),
        twin_plots.residual(layers),
    ):
        assert hv.render(figure, backend="bokeh") is not None
