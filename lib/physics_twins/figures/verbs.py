"""Figures that the verbs of every twin share: calibrated by several methods, and drifted."""

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from physics_twins.data import Estimate, in_print, in_words
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)


def estimates(
    rows: Mapping[str, Mapping[str, Estimate]],
    names: Sequence[str],
    *,
    titles: Mapping[str, str],
    truth: Mapping[str, float] | None = None,
    limit: Mapping[str, float] | None = None,
) -> hv.Layout:
    """Return estimates of several methods side by side, one panel for each parameter.

    Args:
        rows: Estimates by the method's name; one that a method does not know is left out.
        names: Parameters to show.
        titles: What the parameters are called.
        truth: Drawn as a line where it is known.
        limit: Smallest possible standard error, drawn as a band around the truth.
    """
    panels = []
    for name in names:
        known = {method: each[name] for method, each in rows.items() if name in each}
        unit = in_print(next((each.unit for each in known.values()), ""))
        value = hv.Dimension(name, label=titles.get(name, name), unit=unit or None)
        panels.append(_panel(known, value, (truth or {}).get(name), (limit or {}).get(name)))
    return hv.Layout(panels).cols(3)


def _panel(
    known: Mapping[str, Estimate], value: hv.Dimension, truth: float | None, limit: float | None
) -> hv.Overlay:
    axes = hv.Dimension("method", label="Method"), value
    ends = [end for each in known.values() for end in (each.low, each.high)]
    parts: list[Any] = []
    if truth is not None:
        band = truth - (limit or 0.0), truth + (limit or 0.0)
        ends += band
        parts.append(styled(hv.HSpan(*band), color=GREEN, alpha=0.25))
        parts.append(styled(hv.HLine(truth), color="black", line_width=1))
    points = [(method, e.value) for method, e in known.items()]
    bars = [(method, e.value, e.value - e.low, e.high - e.value) for method, e in known.items()]
    parts.append(styled(hv.Scatter(points, *axes), color=BLUE, size=9, tools=["hover"]))
    parts.append(styled(hv.ErrorBars(bars, axes[0], [axes[1], "down", "up"]), color=BLUE))
    seen = [word for word, given in (("truth", truth), ("limit", limit)) if given is not None]
    margin = 0.15 * (max(ends) - min(ends)) or 1.0
    return styled(
        hv.Overlay(parts),
        title=f"{value.label}: {', '.join(seen)}" if seen else value.label,
        xlabel="",  # a band has axes of its own, which would name those of the figure
        ylabel=value.pprint_label,
        ylim=(min(ends) - margin, max(ends) + margin),
        width=240,
        height=280,
        fontsize={"title": 8},
        show_legend=False,
        **FRAME,
    )


def table(metrics: xr.Dataset) -> pd.DataFrame:
    """Return what an `evaluate` found side by side to be read, a row each, with errors to two digits.

    Args:
        metrics: `value` and `error` (who, metric): ours, and as far as there are any the limit's, the
            baseline's and the peer's; with the coordinates `title` and `unit` of each metric.
    """
    columns = {}
    for who in metrics["who"].values:
        one = metrics.sel(who=who)
        numbers = zip(one["value"].values, one["error"].values, one["unit"].values, strict=True)
        columns[str(who)] = [_cell(*each) for each in numbers]
    return pd.DataFrame(columns, index=list(metrics["title"].values))


def _cell(value: float, error: float, unit: str) -> str:
    if not np.isfinite(value):
        return ""
    words = in_words({"value": value, "error": error, "unit": in_print(str(unit))})
    return words.replace(" +- ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def drift(
    seen: xr.Dataset, *, number: str, titles: Mapping[str, str], changed_at: float | None = None
) -> hv.Layout:
    """Return the drift score of a stream, and below it what single frames say.

    Args:
        seen: From `twin.Watch.watch`; the name of a frame is that of its coordinate.
        number: Whose deviations in single frames are shown.
        titles: What the numbers are called.
        changed_at: Frame from which the source was another.
    """
    word = str(seen["frame"].attrs.get("long_name", "Frame"))
    many = word.lower() + ("es" if word.endswith("ch") else "s")
    n, ends = seen["frame"].values, seen["frame"].values[[0, -1]]
    frame, score = hv.Dimension("frame", label=word), hv.Dimension("score", label="Drift score")
    sigma = hv.Dimension("sigma", label="Deviation from normal", unit=in_print("sigma"))
    curve = hv.Curve((n, seen["drift_score"].values), frame, score, label=f"sum over {many}")
    level = hv.Curve((ends, [1.0, 1.0]), frame, score, label="alarm")
    upper = [styled(curve, color=BLUE), styled(level, color=VERMILLION, line_dash="dashed")]
    deviation = hv.Scatter((n, seen["deviation"].sel(number=number).values), frame, sigma)
    lower: list[Any] = [styled(deviation, color=ORANGE, size=5, tools=["hover"])]
    for limit in (-5.0, 5.0):
        line = hv.Curve((ends, [limit, limit]), frame, sigma)
        lower.append(styled(line, color=GREY, line_dash="dashed"))
    if changed_at is not None:
        change = styled(hv.VLine(changed_at), color="black", line_width=1)
        upper, lower = [*upper, change], [*lower, change]
    options = {"width": WIDTH, "height": 290, "padding": (0, 0.1), "xlabel": word, **FRAME}
    above, below = hv.Overlay(upper), hv.Overlay(lower)
    styled(above, title="The strongest sign of a change", ylabel=score.label, **options, **legend(2))
    title = f"{titles.get(number, number.replace('_', ' '))} in single {many}, with 5 sigma dashed"
    styled(below, title=title, ylabel=sigma.pprint_label, show_legend=False, show_grid=True, **options)
    return hv.Layout([above, below]).cols(1)
