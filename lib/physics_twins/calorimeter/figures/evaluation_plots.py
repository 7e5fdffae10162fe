"""Figures of an evaluation: a model beside Geant4, the error of each, and their ratio below.

All are made from what `evaluate` returns. Geant4's other sample, the floor, is drawn wherever the model
is: what it does not reach either is no fault of the model.
"""

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins import figures
from physics_twins.figures.style import FRAME, GREY, axis, legend, styled

# What each set of showers is called, in the order in which they are drawn.
SOURCES = {
    "reference": "Geant4",
    "floor": "Geant4 again",
    "copy": "copied training set",
    "model": "model",
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
_WIDTH, _HEIGHT, _RATIO_HEIGHT = 520, 300, 210
# Half the range of a ratio at least and at most; what is known worse than this is not shown.
_RATIO_REACH, _WORST_ERROR = (0.02, 0.5), 0.3


def profile(metrics: xr.Dataset, name: str = "layer_mev") -> hv.Layout:
    """Return a mean of all sets against its place, and below it the ratios to Geant4.

    Profiles and counts have a band that holds the central 68 % of Geant4's showers; bands around curves
    are errors of means. Response and resolution are drawn against the particle's energy.

    Args:
        metrics: From `evaluate`.
        name: One of `TITLES`.
    """
    has_band = f"{name}_low" in metrics
    place = str(metrics[name].dims[-1])
    if has_band:
        mean = metrics[name].sel(source="reference").values
        # Places that hardly any energy reaches have neither a logarithm nor a ratio worth drawing.
        metrics = metrics.isel({place: mean > 1e-4 * mean.max()})
    sets = [source for source in SOURCES if source in metrics["source"].values]
    told = metrics.sel(source=sets).assign_coords(source=[SOURCES[each] for each in sets])
    means = told[name].where(told[name] > 0)
    # A band that reaches zero has no place on a logarithmic axis.
    errors = told[f"{name}_error"].clip(max=0.9 * means)
    upper = figures.curves(means, errors)
    if has_band:
        low, high = (told[f"{name}_{end}"][0].values for end in ("low", "high"))
        low = np.maximum(low, 1e-5 * float(means[0].max()))
        edges = (told[place].values, low, np.maximum(high, low))
        axes = axis(told[place]), [axis(means), "top"]
        band = hv.Area(edges, *axes, label="68 % of Geant4's showers")
        upper = styled(band, color=GREY, alpha=0.25, line_width=0) * upper
    lower = _ratios(means, errors)
    shared = {"logx": place in _LOGARITHMIC, "xlabel": axis(told[place]).pprint_label}
    shared |= {"width": _WIDTH, **FRAME, **legend(3)}
    named = {"title": TITLES[name], "ylabel": axis(means).pprint_label, "height": _HEIGHT}
    styled(upper, logy=has_band, **named, **shared)
    styled(lower, title="", height=_RATIO_HEIGHT, show_legend=False, **shared)
    return styled(hv.Layout([upper, lower]).cols(1), shared_axes=False)


def audit_course(result: xr.Dataset) -> hv.Overlay:
    """Return the evidence of an audit against the number of showers, with the line of rejection.

    Args:
        result: From `audit.audit`.
    """
    level = 1 / float(result.attrs["alpha"])
    levels = {f"rejected from {level:g} on": level, "no evidence": 1.0}
    title = f"Audit: {result.attrs['verdict']}"
    return styled(figures.series(result["evidence"], references=levels, title=title), logy=True)


def _ratios(means: xr.DataArray, errors: xr.DataArray) -> hv.Overlay:
    """Return the ratios of all sets to the first one, whose own error is a band around 1."""
    is_known = errors[0] < _WORST_ERROR * means[0]
    ratio, error = ((each / means[0]).where(is_known) for each in (means, errors))
    reach = np.clip(1.2 * float(np.abs(ratio - 1).max()), *_RATIO_REACH)
    ratio = ratio.assign_attrs(units="1", long_name="Ratio to Geant4")
    return styled(figures.curves(ratio, error), ylim=(1 - reach, 1 + reach))
