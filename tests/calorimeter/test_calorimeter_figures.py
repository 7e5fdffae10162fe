"""Figures of an evaluation and an audit: what they draw is what was measured."""

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from physics_twins.calorimeter.audit import Audit
from physics_twins.calorimeter.evaluate import evaluate
from physics_twins.calorimeter.figures import evaluation_plots
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.simulate import simulate


@pytest.fixture(scope="module")
def metrics() -> xr.Dataset:
    parameters = CalorimeterParameters(
        energy_gev=0.1, energy_max_gev=0.3, layout="cylindrical", n_showers=180
    )
    showers = simulate(parameters, seed=3)
    made, real = (showers.isel(shower=slice(n, n + 90)) for n in (0, 90))
    made = made.assign(showers=1.1 * made["showers"])
    return evaluate(made, real)


def drawn(figure: hv.Layout | hv.Overlay) -> None:
    hv.renderer("bokeh").get_plot(figure)


@pytest.mark.parametrize("name", [n for n in evaluation_plots.TITLES if n.endswith("ev")])
def test_profiles_draw_band_all_sets_and_ratio(metrics, name):
    figure = evaluation_plots.profile(metrics, name)
    drawn(figure)
    labels = {each.label for each in figure.Overlay.I}
    assert {"68 % of Geant4's showers", "Geant4", "Geant4 again", "model"} <= labels


def test_ratio_panel_shows_by_how_much_the_model_is_too_bright(metrics):
    figure = evaluation_plots.profile(metrics, "response")
    drawn(figure)
    *_, model = [each for each in figure.Overlay.II if isinstance(each, hv.Scatter)]  # of one energy
    expected = metrics["response"].sel(source="model") / metrics["response"].sel(source="reference")
    np.testing.assert_allclose(model.dimension_values(1), expected)


def test_resolution_can_be_drawn(metrics):
    drawn(evaluation_plots.profile(metrics, "core_resolution"))


def test_course_of_an_audit_shows_the_line_of_rejection():
    test = Audit({"response": np.arange(100.0)}, seed=0)
    test.add({"response": np.full(30, 99.5)})
    result = xr.Dataset(
        {"evidence": ("n", test.course)},
        {"n": np.arange(1, 31)},
        {"verdict": test.verdict, "alpha": test.alpha},
    )
    figure = evaluation_plots.audit_course(result)
    drawn(figure)
    assert "rejected from 20 on" in [each.label for each in figure]
