"""Figures of the flow's training: how likely showers become, member by member."""

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import xarray as xr

from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    HEIGHT,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE)


def histories(members: Sequence[xr.Dataset], *, title: str = "") -> hv.Overlay:
    """Return the loss of each member on the validation against the steps, the training's behind it.

    Args:
        members: The histories of their trainings.
        title: What is seen.
    """
    loss = hv.Dimension("loss", label="Loss, minus log density of a shower")
    axes = hv.Dimension("step", label="Step"), loss
    parts: list[Any] = []
    for history in members:
        each = hv.Curve((history["step"].values, history["network_loss"].values), *axes)
        parts.append(styled(each, color=GREY, line_width=0.5, line_alpha=0.5))
    for number, history in enumerate(members):
        columns = history["validation"].values, history["validation_loss"].values
        colour = _COLOURS[number % len(_COLOURS)]
        line = hv.Curve(columns, *axes, label=f"member {number}")
        parts += [
            styled(line, color=colour, tools=["hover"]),
            styled(hv.Scatter(columns, *axes), color=colour, size=6),
        ]
    low = min(float(history["validation_loss"].min()) for history in members)
    high = max(float(history["validation_loss"].max()) for history in members)
    room = max(0.1 * (high - low), 1.0)
    return styled(
        hv.Overlay(parts),
        title=title or "Loss on showers that nobody learnt from",
        width=WIDTH,
        height=HEIGHT,
        ylim=(low - room, high + room),
        **legend(5),
        **FRAME,
    )
