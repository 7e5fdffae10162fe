"""Figures of the twin show what they were given, beside the limit and the truth."""

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.data import Estimate
from physics_twins.pulsar.figures import twin_plots


def test_every_method_is_drawn_where_it_knows_the_parameter():
    rows = {
        "search": {"dm_pc_cm3": Estimate.of(57.0, 0.2, "pc cm-3")},
        "fit": {
            "dm_pc_cm3": Estimate.of(56.8, 0.1, "pc cm-3"),
            "width_ms": Estimate.of(0.8, 0.1, "ms"),
        },
    }
    layout = twin_plots.estimates(rows, ["dm_pc_cm3", "width_ms"], truth={"dm_pc_cm3": 56.77})
    points = [panel.traverse(lambda part: part, [hv.Scatter])[0] for panel in layout]
    assert [list(each.dimension_values("method")) for each in points] == [["search", "fit"], ["fit"]]
    hv.render(layout, backend="bokeh")


def test_scenarios_are_drawn_even_where_nothing_was_found():
    told = ("scenario", "number"), np.array([[10.0] * 3, [np.nan] * 3])
    table = xr.Dataset(
        {"value": told, "error": told},
        coords={"scenario": ["as calibrated", "far"], "number": ["snr_ideal", "snr_found", "recall"]},
    )
    layout = twin_plots.scenarios(table)
    hv.render(layout, backend="bokeh")
    assert list(layout.traverse(lambda part: part, [hv.Scatter])[0].dimension_values(0)) == [
        "as calibrated",
        "far",
    ]


def test_drift_shows_the_alarm_level_and_the_named_number():
    seen = xr.Dataset(
        {
            "drift_score": ("frame", np.array([0.1, 0.2, 1.1])),
            "deviation": (("frame", "number"), np.array([[0.0, 9.0], [1.0, 9.0], [2.0, 9.0]])),
        },
        coords={"frame": [0, 1, 2], "number": ["scattering_ms", "noise"]},
    )
    layout = twin_plots.drift(seen, changed_at=1.0)
    curves = layout.traverse(lambda part: part, [hv.Curve])
    assert any((curve.dimension_values(1) == 1.0).all() for curve in curves)
    points = layout.traverse(lambda part: part, [hv.Scatter])[0]
    assert list(points.dimension_values(1)) == [0.0, 1.0, 2.0]
    hv.render(layout, backend="bokeh")
