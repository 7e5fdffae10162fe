"""Figures of flows: how a training went, and what an independent field costs."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)

GOOD_VARIANCE = 0.032  # nine of ten fields are accepted
_COLOURS = {"flow": BLUE, "cluster": VERMILLION, "hmc": GREEN, "metropolis": PURPLE}


def training_course(history: xr.Dataset) -> hv.Overlay:
    """Return the variance of the logarithms of weights in each validation of a training."""
    step, variance = history["validation"].values, history["validation_variance"].values
    axes = hv.Dimension("step", label="Step"), hv.Dimension("variance", label="Variance of ln w")
    line = hv.Curve((step, variance), *axes, label="validation")
    points = hv.Scatter((step, variance), *axes)
    ends = [(step[0] - 0.5, GOOD_VARIANCE), (step[-1] + 0.5, GOOD_VARIANCE)]
    level = hv.Curve(ends, *axes, label="acceptance 0.9")
    parts: list[Any] = [
        styled(line, color=BLUE),
        styled(points, color=BLUE, size=8, tools=["hover"]),
        styled(level, color="black", line_dash="dashed"),
    ]
    return styled(
        hv.Overlay(parts),
        title="Scatter of the weights: 1 learns the path, the others refine",
        logy=True,
        xticks=[int(each) for each in step],
        width=WIDTH,
        height=300,
        **legend(2),
        **FRAME,
    )


def cost_curve(costs: xr.Dataset, *, n_shared: int = 100_000) -> hv.Overlay:
    """Return the CPU seconds of an independent field against the side, each sampler a line.

    Args:
        costs: From `costs`.
        n_shared: Fields that share the training in a further line of the flow.
    """
    axes = (
        hv.Dimension("side", label="Side of the lattice", unit="sites"),
        hv.Dimension("seconds", label="CPU time of an independent field", unit="s"),
    )
    parts: list[Any] = []
    for who in map(str, costs["who"].values):
        one = costs.sel(who=who).dropna("side", subset=["seconds"])
        if not one.sizes["side"]:
            continue
        side, value, error = (one[name].values for name in ("side", "seconds", "error"))
        low, high = np.minimum(error, 0.9 * value), error
        colour = _COLOURS.get(who, ORANGE)
        bars = hv.ErrorBars((side, value, low, high), axes[0], [axes[1], "down", "up"])
        parts.append(styled(hv.Curve((side, value), *axes, label=who), color=colour, line_width=1.5))
        parts.append(styled(hv.Scatter((side, value), *axes), color=colour, size=7, tools=["hover"]))
        parts.append(styled(bars, color=colour))
    flow = costs["seconds"].sel(who="flow")
    shared = (costs["side"].values, (flow + costs["train_s"] / n_shared).values)
    about = f"flow, training shared by {n_shared:,} fields"
    parts.append(styled(hv.Curve(shared, *axes, label=about), color=BLUE, line_dash="dashed"))
    return styled(
        hv.Overlay(parts),
        title="What an independent field costs",
        logx=True,
        logy=True,
        xticks=[(int(each), str(each)) for each in costs["side"].values],
        padding=0.1,
        width=WIDTH,
        height=380,
        **legend(4),
        **FRAME,
    )
