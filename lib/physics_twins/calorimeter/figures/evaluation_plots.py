"""Figures of an evaluation: a model beside Geant4, the error of each, and their ratio below.

All are made from what `evaluate` returns. Geant4's other sample, the floor, is drawn wherever the model
is: what it does not reach either is no fault of the model.
"""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import figures
from physics_twins.data import in_print
from physics_twins.figures.style import BLUE, FRAME, GREY, ORANGE, legend, styled

# Name and colour of each set of showers, in the order in which they are drawn.
SOURCES = {
    "reference": ("Geant4", "black"),
    "floor": ("Geant4 again", GREY),
    "copy": ("copied training set", ORANGE),
    "model": ("model", BLUE),
}
TITLES = {
    "layer_mev": "Longitudinal profile",
    "ring_mev": "Lateral profile",
    "cells_per_root_gev": "Spectrum of cells",
    "hits_per_root_gev": "Cells with energy",
    "pairs_per_root_gev": "Neighbours that both have energy",
    "response": "Response",
    "core_resolution": "Resolution, half the central 68 % over the mean",
}
_LOGARITHMIC = ("cell_energy", "energy")
_WIDTH, _HEIGHT, _RATIO_HEIGHT = 520, 300, 170
# Half the range of a ratio at least and at most; what is known worse than this is not shown.
_RATIO_REACH, _WORST_ERROR = (0.02, 0.5), 0.3
_BARS: dict[str, Any] = {"lower_head": None, "upper_head": None}


def profile(metrics: xr.Dataset, name: str = "layer_mev") -> hv.Layout:
    """Return a mean of all sets against its place, and below it the ratios to Geant4.

    Profiles and counts have a band that holds the central 68 % of Geant4's showers; bars are errors of
    means. Response and resolution are drawn against the particle's energy.

    Args:
        metrics: From `evaluate`.
        name: One of `TITLES`.
    """
    array = metrics[name]
    place = array.dims[-1]
    axis, logx = _axis(metrics[place]), place in _LOGARITHMIC
    label = str(array.attrs.get("long_name", TITLES[name].partition(",")[0]))
    value = hv.Dimension(name, label=label, unit=_unit(array))
    has_band = f"{name}_low" in metrics
    parts: list[Any] = []
    if has_band:
        known = metrics.sel(source="reference")
        # Places that hardly any energy reaches have neither a logarithm nor a ratio worth drawing.
        seen = known[name].values > 1e-4 * known[name].values.max()
        metrics, known = metrics.isel({place: seen}), known.isel({place: seen})
        low = np.maximum(known[f"{name}_low"].values, 1e-5 * known[name].values.max())
        edges = (metrics[place].values, low, np.maximum(known[f"{name}_high"].values, low))
        band = hv.Area(edges, axis, [value, "top"], label="68 % of Geant4's showers")
        parts.append(styled(band, color=GREY, alpha=0.25, line_width=0))
    top = styled(
        hv.Overlay([*parts, *_lines(metrics, name, axis, value)]),
        title=TITLES[name],
        logy=has_band,
        logx=logx,
        width=_WIDTH,
        height=_HEIGHT,
        **_named(axis, value),
        **legend(3),
        **FRAME,
    )
    return _with_ratio(top, metrics, name, axis, logx=logx)


def audit_course(result: xr.Dataset) -> hv.Overlay:
    """Return the evidence of an audit against the number of showers, with the line of rejection.

    Args:
        result: From `audit.audit`.
    """
    level = 1 / float(result.attrs["alpha"])
    levels = {f"rejected from {level:g} on": level, "no evidence": 1.0}
    title = f"Audit: {result.attrs['verdict']}"
    return styled(figures.series(result["evidence"], references=levels, title=title), logy=True)


def _present(metrics: xr.Dataset) -> list[tuple[str, tuple[str, str]]]:
    return [(name, look) for name, look in SOURCES.items() if name in metrics["source"].values]


def _lines(metrics: xr.Dataset, name: str, axis: hv.Dimension, value: hv.Dimension) -> list[Any]:
    """Return a curve with bars for each set."""
    parts: list[Any] = []
    place = metrics[name].dims[-1]
    for source, (label, colour) in _present(metrics):
        heights = metrics[name].sel(source=source).values
        known = heights > 0
        x, y = metrics[place].values[known], heights[known]
        bars = metrics[f"{name}_error"].sel(source=source).values[known]
        # A bar that reaches zero has no place on a logarithmic axis.
        down = np.minimum(bars, 0.9 * y)
        curve = hv.Curve((x, y), axis, value, label=label)
        parts.append(styled(curve, color=colour, line_width=1.5, tools=["hover"]))
        limits = hv.ErrorBars((x, y, down, bars), axis, [value, "down", "up"])
        parts.append(styled(limits, color=colour, **_BARS))
    return parts


def _with_ratio(
    top: hv.Overlay,
    table: xr.Dataset,
    name: str,
    axis: hv.Dimension,
    *,
    logx: bool,
) -> hv.Layout:
    """Return a figure with the ratios to Geant4 below it, and Geant4's own error as a band."""
    value = hv.Dimension("ratio", label="Ratio to Geant4")
    place = table[name].dims[-1]
    x = table[place].values
    xlim = _limits(x, logarithmic=logx)
    mean, own = _mean_and_error(table, name, "reference")
    known = np.isfinite(mean) & (mean > 0) & (own < _WORST_ERROR * mean)
    share = own[known] / mean[known]
    band = hv.Area((x[known], 1 - share, 1 + share), axis, [value, "top"])
    parts: list[Any] = [styled(band, color=GREY, alpha=0.3, line_width=0)]
    ends = [(end, 1.0) for end in xlim]
    reach = _RATIO_REACH[0]
    parts.append(styled(hv.Curve(ends, axis, value), color="black", line_width=1))
    for source, (_, colour) in _present(table)[1:]:
        other, error = _mean_and_error(table, name, source)
        shown = known & np.isfinite(other)
        ratio, bars = other[shown] / mean[shown], error[shown] / mean[shown]
        parts.append(styled(hv.Curve((x[shown], ratio), axis, value), color=colour))
        limits = hv.ErrorBars((x[shown], ratio, bars), axis, [value, "error"])
        parts.append(styled(limits, color=colour, **_BARS))
        reach = max([reach, *(1.2 * np.abs(ratio - 1))])
    reach = min(reach, _RATIO_REACH[1])
    bottom = styled(
        hv.Overlay(parts),
        title="",
        logx=logx,
        ylim=(1 - reach, 1 + reach),
        xlim=xlim,
        width=_WIDTH,
        height=_RATIO_HEIGHT,
        show_legend=False,
        show_grid=True,
        **_named(axis, value),
        **FRAME,
    )
    styled(top, xlim=xlim)
    return styled(hv.Layout([top, bottom]).cols(1), shared_axes=False)


def _limits(x: NDArray[np.float64], *, logarithmic: bool) -> tuple[float, float]:
    """Return the ends of an axis, a little beyond all places; around a single one, a fifth."""
    low, high = float(x.min()), float(x.max())
    if logarithmic:
        margin = (high / low) ** 0.06 if high > low else 1.2
        return low / margin, high * margin
    margin = 0.02 * (high - low) or 0.2
    return low - margin, high + margin


def _mean_and_error(
    table: xr.Dataset, name: str, source: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chosen = table.sel(source=source)
    return chosen[name].values, chosen[f"{name}_error"].values


def _named(axis: hv.Dimension, value: hv.Dimension) -> dict[str, str]:
    """Return the axes' names: a band has axes of its own, which would name those of the figure."""
    return {"xlabel": axis.pprint_label, "ylabel": value.pprint_label}


def _axis(coordinate: xr.DataArray) -> hv.Dimension:
    label = str(coordinate.attrs.get("long_name", coordinate.name))
    return hv.Dimension(str(coordinate.name), label=label, unit=_unit(coordinate))


def _unit(array: xr.DataArray) -> str | None:
    unit = str(array.attrs.get("units", ""))
    return in_print(unit) if unit not in ("", "1") else None
