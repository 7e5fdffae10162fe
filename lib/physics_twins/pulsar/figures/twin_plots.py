"""Figures of the twin's verbs: what was calibrated, what would be if, and when the twin drifted."""

from collections.abc import Mapping, Sequence

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins import figures
from physics_twins.data import Estimate
from physics_twins.figures.style import BLUE, FRAME, GREEN, legend, styled

TITLES = {
    "dm_pc_cm3": "DM",
    "width_ms": "Width",
    "scattering_ms": "Scattering",
    "period_s": "Period",
    "fluence_jy_ms": "Fluence",
}


def estimates(
    rows: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    *,
    truth: Mapping[str, float] | None = None,
    limit: Mapping[str, float] | None = None,
) -> hv.Layout:
    """Return estimates of several methods side by side; see `figures.estimates`."""
    return figures.estimates(rows, names, truth=truth, limit=limit, titles=TITLES)


def drift(
    seen: xr.Dataset, *, changed_at: float | None = None, number: str = "scattering_ms"
) -> hv.Layout:
    """Return the drift score of a stream and what single frames say; see `figures.drift`."""
    return figures.drift(seen, number=number, changed_at=changed_at, titles=TITLES)


def scenarios(table: xr.Dataset) -> hv.Layout:
    """Return S/N and recall of scenarios side by side.

    Args:
        table: From `whatif.what_if`.
    """
    names = [str(name) for name in table["scenario"].values]
    axis = hv.Dimension("scenario", label="Scenario")
    snr = hv.Dimension("snr", label="S/N of a pulse")
    recall = hv.Dimension("recall", label="Part of the pulses found", range=(0, 1.05))
    told = {
        str(name): [names, *np.nan_to_num(table[["value", "error"]].sel(number=name).to_array().values)]
        for name in table["number"].values
    }
    ideal, seen, shares = (told[name] for name in ("snr_ideal", "snr_found", "recall"))
    limit = hv.Scatter(tuple(ideal[:2]), axis, snr, label="limit: matched filter")
    found = hv.Scatter(tuple(seen[:2]), axis, snr, label="median found")
    left = [
        styled(limit, color=GREEN, size=10),
        styled(hv.ErrorBars(tuple(ideal), axis, [snr, "error"]), color=GREEN),
        styled(found, color=BLUE, size=8),
        styled(hv.ErrorBars(tuple(seen), axis, [snr, "error"]), color=BLUE),
    ]
    right = [
        styled(hv.Scatter(tuple(shares[:2]), axis, recall), color=BLUE, size=8, tools=["hover"]),
        styled(hv.ErrorBars(tuple(shares), axis, [recall, "error"]), color=BLUE),
    ]
    options = {"height": 380, "width": 345, "xrotation": 35, **FRAME}
    return hv.Layout(
        [
            styled(hv.Overlay(left), title="What reaches us", ylim=(0, None), **options, **legend(2)),
            styled(hv.Overlay(right), title="What the classifier finds", show_grid=True, **options),
        ]
    ).cols(2)
