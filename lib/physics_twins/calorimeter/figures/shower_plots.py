"""Figures of showers: one from three sides, profiles with the band of many, speed against Geant4."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins import figures
from physics_twins.calorimeter.projections import BAND, densities, projections
from physics_twins.figures.style import BLUE, FRAME, VERMILLION, colour_bar, legend, styled

_TITLES = {"side": "From the side", "top": "From above", "front": "Along the beam"}
_DENSITY = "MeV mm⁻²"
# Less than this part of the brightest pixel is as dark as nothing.
_DARKEST = 1e-5
_WIDTH, _HEIGHT, _BAR_WIDTH = 262, 250, 80


def three_views(showers: xr.Dataset, one: int = 0, *, title: str = "") -> hv.Layout:
    """Return one shower from the side, from above and along the beam, in one logarithmic scale.

    Args:
        showers: In the form of `simulate`, in either layout of cells.
        one: Which of them is drawn.
        title: Put before the name of each view.
    """
    images = densities(projections(showers.isel(shower=one)))
    brightest = max(1e-3, *(float(images[name].max()) for name in _TITLES))
    return hv.Layout([_view(images[name], title, brightest) for name in _TITLES]).cols(3)


def _view(image: xr.DataArray, title: str, brightest: float) -> hv.Image:
    name = str(image.name)
    up, across = map(str, image.dims)
    axes = [
        hv.Dimension(dim, label=dim.capitalize() if dim == "depth" else dim, unit="mm")
        for dim in (across, up)
    ]
    energy = hv.Dimension("energy", label="Energy", unit=_DENSITY)
    picture = hv.Image((image[across].values, image[up].values, image.values), axes, energy)
    has_bar = name == "front"
    return styled(
        picture,
        title=f"{title}: {_TITLES[name].lower()}" if title else _TITLES[name],
        logz=True,
        clim=(brightest * _DARKEST, brightest),
        width=_WIDTH + _BAR_WIDTH * has_bar,
        height=_HEIGHT,
        clipping_colors={"min": "black"},
        tools=["hover"],
        **colour_bar(f"Energy ({_DENSITY})") | {"colorbar": has_bar},
        **FRAME,
    )


def profiles(numbers: xr.Dataset, one: int = 0, *, reference: xr.Dataset | None = None) -> hv.Layout:
    """Return the longitudinal and lateral profile of one shower, with mean and 68 % band of all.

    Args:
        numbers: From `features`, of showers of one energy and angle.
        one: Which shower is drawn as points.
        reference: Geant4's numbers at the same energy and angle, drawn dashed.
    """
    panels = []
    for name, place, title in (
        ("layer_mev", "layer", "Longitudinal profile"),
        ("ring_mev", "ring", "Lateral profile"),
    ):
        where = numbers[place].values
        axis = hv.Dimension(place, label=str(numbers[place].attrs["long_name"]), unit="mm")
        # Names of their own: axes of one name would be shared.
        energy = hv.Dimension(name, label=str(numbers[name].attrs["long_name"]), unit="MeV")
        values = numbers[name].values
        mean_mev = values.mean(axis=0)
        low, high = np.quantile(values, BAND, axis=0)
        options: dict[str, Any] = {"width": 430, "height": 290, **legend(2), **FRAME}
        if place == "ring":
            # From the core to the edge it falls by a hundred and more; what is less is at the foot.
            foot = max(mean_mev.min(), 1e-5 * mean_mev.max()) / 3
            mean_mev, low, high = (np.maximum(each, foot) for each in (mean_mev, low, high))
            options |= {"logy": True, "ylim": (foot, 2 * mean_mev.max())}
        band = hv.Area((where, low, high), axis, [energy, f"{name}_high"], label="68 % of showers")
        mean = hv.Curve((where, mean_mev), axis, energy, label="mean")
        points = hv.Scatter((where, numbers[name].values[one]), axis, energy, label="this shower")
        parts: list[Any] = [
            styled(band, color=BLUE, fill_alpha=0.25, line_alpha=0),
            styled(mean, color=BLUE),
        ]
        if reference is not None:
            theirs = reference[name].values.mean(axis=0)
            line = hv.Curve((where, theirs), axis, energy, label="Geant4, mean")
            parts.append(styled(line, color="black", line_dash="dashed"))
        parts.append(styled(points, color=VERMILLION, size=5, tools=["hover"]))
        panels.append(styled(hv.Overlay(parts), title=title, **options))
    return hv.Layout(panels).cols(2)


def speed_up(table: xr.Dataset) -> hv.Overlay:
    """Return how many times faster than Geant4 showers are drawn, against energy, with break-even.

    Args:
        table: From `evaluating.timing.speed_up`.
    """
    means, errors = (table[[n]].to_dataarray("flow") for n in ("ratio", "spread"))
    means = means.assign_coords(flow=["Geant4 / flow"]).assign_attrs(
        units="1", long_name="Time of Geant4 / time of the flow"
    )
    title = "How much faster than Geant4, on one core"
    drawn = figures.curves(means, errors, title=title, limits={"break-even": 1.0})
    return styled(drawn, logx=True, logy=True, ylim=(0.5, 2 * float(means.max())))
