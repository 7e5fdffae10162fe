"""Figures of the calorimeter's twin show what they were given, with units, beside truth and limits."""

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.calorimeter.figures import twin_plots
from physics_twins.data import Estimate
from physics_twins.twin.drift import Evidence, table_of


def test_every_method_is_drawn_where_it_knows_the_parameter():
    rows = {
        "naive": {"energy_scale": Estimate.of(0.95, 0.01)},
        "fit": {
            "energy_scale": Estimate.of(0.97, 0.001),
            "absorber_mm": Estimate.of(1.4, 0.01, "mm"),
        },
    }
    layout = twin_plots.estimates(rows, ["energy_scale", "absorber_mm"], truth={"absorber_mm": 1.41})
    points = [panel.traverse(lambda part: part, [hv.Scatter])[0] for panel in layout]
    assert [list(each.dimension_values("method")) for each in points] == [["naive", "fit"], ["fit"]]
    assert points[1].vdims[0].unit == "mm"
    hv.render(layout, backend="bokeh")


def test_the_residual_is_drawn_below_the_profile_with_its_limits():
    profile = xr.Dataset(
        {
            "measured": ("layer", [0.2, 0.5, 0.3]),
            "twin": ("layer", [0.21, 0.49, 0.3]),
            "difference": ("layer", [-1.0, 1.0, 0.0]),
        },
        {"layer": [0, 1, 2]},
    )
    layout = twin_plots.residual(profile)
    away, *levels = layout[1].traverse(lambda part: part, [hv.Curve])
    assert list(away.dimension_values(1)) == [-1.0, 1.0, 0.0]
    assert {float(each.dimension_values(1)[0]) for each in levels} == {-2.0, 0.0, 2.0}
    hv.render(layout, backend="bokeh")


def test_scenarios_are_drawn_as_differences_without_the_calibrated_one():
    table = xr.Dataset(
        {
            name: (("scenario", "number"), np.array([[1.0, 40.0], [0.1, 2.0], [0.0, -1.0]]))
            for name in ("value", "difference", "difference_error")
        },
        {
            "scenario": ["as calibrated", "more", "less"],
            "number": ["response", "depth_mm"],
            "unit": ("number", ["1", "mm"]),
        },
    )
    table["difference_error"] = np.abs(table["difference_error"])
    layout = twin_plots.scenarios(table, ["response", "depth_mm"])
    points = layout.traverse(lambda part: part, [hv.Scatter])
    assert list(points[1].dimension_values(0)) == ["more", "less"]
    assert list(points[1].dimension_values(1)) == [2.0, -1.0]
    hv.render(layout, backend="bokeh")


def test_drift_speaks_of_batches():
    deviations = [{"energy_scale": z} for z in (0.0, 1.0, 4.0)]
    scores, said = [0.1, 0.2, 1.1], [Evidence(each, None) for each in deviations]
    seen = table_of(scores, said, ["energy_scale"], "Batch")
    layout = twin_plots.drift(seen, changed_at=1.0)
    points = layout.traverse(lambda part: part, [hv.Scatter])[0]
    assert list(points.dimension_values(1)) == [0.0, 1.0, 4.0]
    assert points.kdims[0].label == "Batch"
    hv.render(layout, backend="bokeh")
