"""Figures of the twin's verbs: what was calibrated, what would be if, and when the twin drifted."""

from collections.abc import Mapping, Sequence

import holoviews as hv
import xarray as xr

from physics_twins import figures
from physics_twins.data import Estimate, in_print
from physics_twins.figures.style import styled

TITLES = {
    "energy_scale": "Energy scale",
    "resolution": "Extra resolution",
    "absorber_mm": "Absorber",
    "theta_deg": "Angle",
}
# What is told of a scenario, in words that fit above a small figure.
_NUMBERS = {
    "response": "Response",
    "resolution": "Resolution",
    "depth_mm": "Depth",
    "length_mm": "Length",
    "radius_mm": "Radius",
}


def estimates(
    rows: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    *,
    truth: Mapping[str, float] | None = None,
    limit: Mapping[str, float] | None = None,
) -> hv.Layout:
    """Return estimates of several methods side by side; see `figures.estimates`.

    Args:
        rows: Estimates by the method's name.
        names: Parameters to show.
        truth: Drawn as a line where it is known.
        limit: Smallest possible standard error, drawn as a band around the truth.
    """
    return figures.estimates(rows, names, truth=truth, limit=limit, titles=TITLES)


def drift(
    seen: xr.Dataset, *, changed_at: float | None = None, number: str = "energy_scale"
) -> hv.Layout:
    """Return the drift score of a stream and what single batches say; see `figures.drift`.

    Args:
        seen: From `Monitor.watch`.
        changed_at: Batch from which the calorimeter was another.
        number: Whose deviations in single batches are shown.
    """
    return figures.drift(seen, number=number, changed_at=changed_at, titles=TITLES)


def residual(profile: xr.Dataset) -> hv.Layout:
    """Return the measured longitudinal profile with the twin's, and their difference below.

    Args:
        profile: From `Calibration.residual`.
    """
    above, below = "Where the showers' energy lies", "What the twin leaves, with 2 sigma dashed"
    twin = {"calibrated twin": profile["twin"]}
    levels = {f"{level:g} sigma": level for level in (-2.0, 0.0, 2.0)}
    upper = figures.series(profile["measured"], references=twin, title=above, height=290)
    lower = figures.series(profile["difference"], references=levels, title=below, height=190)
    parts = [styled(upper, ylabel="Part of the energy"), styled(lower, show_legend=False)]
    return styled(hv.Layout(parts).cols(1), shared_axes=False)


def scenarios(table: xr.Dataset, numbers: Sequence[str] = tuple(_NUMBERS)) -> hv.Layout:
    """Return by how much scenarios differ from the calibrated twin, one panel for each number.

    Args:
        table: From `what_if`.
        numbers: Those that are shown.
    """
    at_once = table.sel(number=list(numbers))
    units = [in_print(str(unit)) for unit in at_once["unit"].values]
    away, error, now = (at_once[n].values for n in ("difference", "difference_error", "value"))
    rows = {
        str(name): {
            n: Estimate.of(float(away[k, i]), float(error[k, i]), units[i])
            for i, n in enumerate(numbers)
        }
        for k, name in enumerate(table["scenario"].values)
        if k > 0
    }
    titles = {n: f"{_NUMBERS[n]}, difference" for n in numbers}
    drawn = figures.estimates(rows, numbers, titles=titles, truth=dict.fromkeys(numbers, 0.0))
    for panel, name, value, unit in zip(drawn, numbers, now[0], units, strict=True):
        title = f"{_NUMBERS[name]}: now {value:.3g} {unit}".rstrip()
        styled(panel, title=title, width=260, height=320, xrotation=35, show_grid=True)
    return drawn
