"""Figures of the twin's verbs: what a calibration leaves, what-if differences, and a drift."""

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.plots import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    legend,
    styled,
)

_WIDTH, _HEIGHT = 620, 280
_TITLES = {
    "response": "Response",
    "resolution": "Resolution",
    "depth_mm": "Depth",
    "depth_layers": "Depth",
    "length_mm": "Length",
    "radius_mm": "Radius",
    "scatter": "Resolution",
}


def residual(found: xr.Dataset, *, title: str = "") -> hv.Layout:
    """Return the mean energy of each layer, measured and of the calibrated twin, and what differs.

    Args:
        found: `residual` of a calibration.
        title: What is seen.
    """
    layer = hv.Dimension("layer", label="Layer")
    energy = hv.Dimension("energy", label="Mean energy", unit="MeV")
    pull = hv.Dimension("pull", label="Difference, standard errors")
    n = found["layer"].values
    upper = [
        styled(hv.Curve((n, found["twin"].values), layer, energy, label="calibrated twin"), color=BLUE),
        styled(
            hv.Scatter((n, found["measured"].values), layer, energy, label="measured"),
            color="black",
            size=5,
            tools=["hover"],
        ),
    ]
    ends = [
        styled(hv.Curve([(n[0], s), (n[-1], s)], layer, pull), color=GREY, line_dash="dashed")
        for s in (-2.0, 2.0)
    ]
    points = hv.Scatter((n, found["pull"].values), layer, pull)
    lower = [*ends, styled(points, color=VERMILLION, size=6, tools=["hover"])]
    options = {"width": _WIDTH, "height": _HEIGHT, "padding": (0.02, 0.1), **FRAME}
    return hv.Layout(
        [
            styled(
                hv.Overlay(upper),
                title=title or "Energy of the layers",
                **options,
                **legend(2),
            ),
            styled(
                hv.Overlay(lower),
                title="What the twin leaves, with 2 standard errors dashed",
                show_grid=True,
                show_legend=False,
                **options,
            ),
        ]
    ).cols(1)


def differences(table: xr.Dataset) -> hv.Layout:
    """Return what each scenario changes, with the errors of all kinds, a panel for each number.

    Args:
        table: From `what_if`.
    """
    panels = []
    scenarios = [str(s) for s in table["scenario"].values[1:]]
    for number in table["number"].values:
        unit = str(table["unit"].sel(number=number).values)
        place = hv.Dimension("scenario", label="Scenario")
        # Part of a response is told in per cent.
        factor, unit = (100.0, "%") if unit == "1" else (1.0, unit)
        change = hv.Dimension(str(number), label=f"Change of {_TITLES[str(number)].lower()}", unit=unit)
        one = table.sel(number=number).isel(scenario=slice(1, None))
        values, errors = factor * one["difference"].values, factor * one["error"].values
        bars = hv.ErrorBars((scenarios, values, errors), place, [change, "error"])
        points = hv.Scatter((scenarios, values), place, change)
        reach = 1.15 * max(float((np.abs(values) + errors).max()), 1e-12)
        panels.append(
            styled(
                hv.Overlay(
                    [
                        styled(hv.HLine(0.0), color=GREY, line_dash="dashed", line_width=1),
                        styled(bars, color=BLUE),
                        styled(points, color=BLUE, size=8, tools=["hover"]),
                    ]
                ),
                title=_TITLES[str(number)],
                width=310,
                height=_HEIGHT,
                ylim=(-reach, reach),
                xrotation=25,
                show_grid=True,
                **FRAME,
            )
        )
    return hv.Layout(panels).cols(2)


def drift(seen: xr.Dataset, *, changed_at: int | None = None) -> hv.Layout:
    """Return the drift score of batches of showers, and below it what single batches say.

    Args:
        seen: From `Monitor.watch`.
        changed_at: Batch from which the calorimeter was another.
    """
    batch = hv.Dimension("batch", label="Batch")
    score = hv.Dimension("score", label="Drift score")
    sigma = hv.Dimension("sigma", label="Deviation from the twin, standard errors")
    n = seen["batch"].values
    upper = [
        styled(
            hv.Curve((n, seen["drift_score"].values), batch, score, label="sum over batches"),
            color=BLUE,
        ),
        styled(
            hv.Curve([(n[0], 1.0), (n[-1], 1.0)], batch, score, label="alarm"),
            color=VERMILLION,
            line_dash="dashed",
        ),
    ]
    lower = []
    for name, colour in zip(seen["number"].values, (ORANGE, GREEN, GREY), strict=False):
        values = seen["deviation"].sel(number=name).values
        points = hv.Scatter((n, values), batch, sigma, label=_TITLES[str(name)].lower())
        lower.append(styled(points, color=colour, size=6, tools=["hover"]))
    if changed_at is not None:
        line = {"color": "black", "line_width": 1}
        upper.append(styled(hv.VLine(changed_at - 0.5), **line))
        lower.append(styled(hv.VLine(changed_at - 0.5), **line))
    options = {"width": _WIDTH, "height": _HEIGHT, "padding": (0.02, 0.1), **FRAME}
    return hv.Layout(
        [
            styled(hv.Overlay(upper), title="The strongest sign of a change", **options, **legend(2)),
            styled(hv.Overlay(lower), title="Single batches", **options, **legend(3)),
        ]
    ).cols(1)
