"""Figures of the flow's training: how likely showers become, member by member."""

from collections.abc import Sequence

import holoviews as hv
import xarray as xr

from physics_twins import figures
from physics_twins.figures.style import styled


def histories(members: Sequence[xr.Dataset], *, title: str = "") -> hv.Overlay:
    """Return the loss of each member on the validation against the steps.

    Args:
        members: The histories of their trainings, validated at the same steps.
        title: What is seen.
    """
    names = [f"member {number}" for number in range(len(members))]
    losses = xr.concat([history["validation_loss"] for history in members], "member", join="exact")
    losses = losses.assign_coords(member=names)
    losses.attrs |= {"units": "1", "long_name": "Loss, minus log density of a shower"}
    losses["validation"].attrs |= {"units": "1", "long_name": "Step"}
    low, high = float(losses.min()), float(losses.max())
    room = max(0.1 * (high - low), 1.0)
    drawn = figures.curves(losses, title=title or "Loss on showers that nobody learnt from")
    return styled(drawn, ylim=(low - room, high + room))
