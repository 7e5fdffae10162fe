"""Figures of a study: how the search went, and which parameters matter."""

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.data import Estimate
from physics_twins.figures.style import BLUE, FRAME, GREEN, ORANGE, VERMILLION, WIDTH, legend, styled
from physics_twins.sweeps.plots import dimension, level, whiskers
from physics_twins.sweeps.records import COMPLETE, FAILED
from physics_twins.sweeps.trials import FEWEST, best_fraction
from physics_twins.sweeps.verdict import Verdict


def history(trials: xr.Dataset, verdict: Verdict) -> hv.Overlay | hv.Div:
    """Return the value of each trial, the best so far, the defaults, and the best with fresh seeds.

    Args:
        trials: From `Study.dataset`.
        verdict: From `Study.verdict`.
    """
    done = trials.isel(trial=trials["status"].values == COMPLETE)
    if not done.sizes["trial"]:
        return hv.Div("<p>No trial is complete.</p>")
    metric, unit = trials.attrs["metric"], verdict.unit
    axes = hv.Dimension("trial", label="trial"), dimension(metric, unit, key="metric")
    place, value = done["trial"].values, done["value"].values
    better = np.maximum if verdict.maximise else np.minimum
    span = (-0.5, float(trials["trial"].values[-1]) + 0.5)
    parts: list[Any] = _band(verdict.confirmed, span, axes, "best, fresh seeds", GREEN)
    parts += _band(verdict.baseline_confirmed, span, axes, "defaults, fresh seeds", ORANGE)
    if verdict.baseline is not None:
        ends = [(x, verdict.baseline.value) for x in span]
        line = hv.Curve(ends, *axes, label="defaults")
        parts.append(styled(line, color="black", line_dash="dashed", line_width=1.5))
    points = hv.Scatter((place, value), *axes, label="trial")
    parts.append(styled(points, color=BLUE, size=6, tools=["hover"]))
    known = np.isfinite(done["error"].values)
    bars = (place[known], value[known], done["error"].values[known])
    parts.append(whiskers(bars, axes, BLUE))
    best = hv.Curve((place, better.accumulate(value)), *axes, label="best so far")
    parts.append(styled(best, color=BLUE, line_width=2, interpolation="steps-post"))
    failed = trials["trial"].values[trials["status"].values == FAILED]
    if failed.size:
        bottom = float(value.min() - 0.06 * max(np.ptp(value), abs(value.min()) * 1e-3))
        crosses = hv.Scatter((failed, np.full(failed.size, bottom)), *axes, label="failed")
        parts.append(styled(crosses, color=VERMILLION, marker="x", size=9, line_width=2))
    return styled(
        hv.Overlay(parts),
        title=f"{metric} of {trials.sizes['trial']} trials, {_direction(verdict)} is better",
        width=WIDTH,
        height=360,
        padding=(0.02, 0.08),
        **legend(4),
        **FRAME,
    )


def importances(shares: Mapping[str, float], n_complete: int) -> hv.Overlay | hv.Div:
    """Return how much each parameter matters for coming among the best trials.

    Args:
        shares: From `Study.importances`; empty where they cannot be told.
        n_complete: How many trials are complete.
    """
    if not shares:
        told = f"Importances need {FEWEST} complete trials that differ; {n_complete} are complete."
        return hv.Div(f"<p>{told}</p>")
    ordered = sorted(shares.items(), key=lambda item: item[1])
    axes = hv.Dimension("parameter"), hv.Dimension("share", label="share of the importance")
    bars = styled(hv.Bars(ordered, *axes), invert_axes=True, color=BLUE, tools=["hover"])
    equal = styled(hv.HLine(1 / len(ordered)), color="black", line_dash="dashed", line_width=1.5)
    percent = 100 * best_fraction(n_complete)
    few = f"; {n_complete} trials: rough" if n_complete < 50 else ""
    return styled(
        hv.Overlay([bars, equal]),
        title=f"Importance for the best {percent:.0f} % (dashed: all equal){few}",
        width=WIDTH,
        height=120 + 32 * len(ordered),
        ylim=(0, 1),
        xlabel="",
        show_legend=False,
        **FRAME,
    )


def _band(
    estimate: Estimate | None, span: tuple[float, float], axes: tuple, label: str, colour: str
) -> list[Any]:
    if estimate is None:
        return []
    return level(estimate.value, estimate.error, span, axes, label, colour)


def _direction(verdict: Verdict) -> str:
    return "higher" if verdict.maximise else "lower"
