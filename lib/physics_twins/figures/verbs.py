"""Figures that the verbs of every twin share: calibrated by several methods, and drifted."""

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import xarray as xr

from physics_twins.data import Estimate, in_print
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
    truth: Mapping[str, float] | None = None,
    limit: Mapping[str, float] | None = None,
    titles: Mapping[str, str] | None = None,
) -> hv.Layout:
    """Return estimates of several methods side by side, one panel for each parameter.

    Args:
        rows: Estimates by the method's name; one that a method does not know is left out.
        names: Parameters to show.
        truth: Drawn as a line where it is known.
        limit: Smallest possible standard error, drawn as a band around the truth.
        titles: What the parameters are called.
    """
    called = dict(titles or {})
    panels = [_panel(rows, name, truth or {}, limit or {}, called.get(name, name)) for name in names]
    return hv.Layout(panels).cols(3)


def _panel(
    rows: Mapping[str, Mapping[str, Estimate]],
    name: str,
    truth: Mapping[str, float],
    limit: Mapping[str, float],
    called: str,
) -> hv.Overlay:
    known = {method: each[name] for method, each in rows.items() if name in each}
    unit = next((each.unit for each in known.values()), "")
    value = hv.Dimension(name, label=called, unit=in_print(unit) or None)
    axes = hv.Dimension("method", label="Method"), value
    parts: list[Any] = []
    if name in truth:
        error = limit.get(name, 0.0)
        band = hv.HSpan(truth[name] - error, truth[name] + error)
        parts.append(styled(band, color=GREEN, alpha=0.25))
        parts.append(styled(hv.HLine(truth[name]), color="black", line_width=1))
    points = [(method, e.value) for method, e in known.items()]
    bars = [(method, e.value, e.value - e.low, e.high - e.value) for method, e in known.items()]
    parts.append(styled(hv.Scatter(points, *axes), color=BLUE, size=9, tools=["hover"]))
    parts.append(styled(hv.ErrorBars(bars, axes[0], [axes[1], "down", "up"]), color=BLUE))
    seen = [word for word, given in (("truth", truth), ("limit", limit)) if name in given]
    title = f"{value.label}: {', '.join(seen)}" if seen else value.label
    # A band has axes of its own, which would name those of the figure.
    words = f"{value.label} ({value.unit})" if value.unit else value.label
    options = {"width": 240, "height": 280, "fontsize": {"title": 8}, "padding": 0.25}
    options |= {"xlabel": "", "ylabel": words, "ylim": _range(known, name, truth, limit)}
    return styled(hv.Overlay(parts), title=title, show_legend=False, **options, **FRAME)


def _range(
    known: Mapping[str, Estimate],
    name: str,
    truth: Mapping[str, float],
    limit: Mapping[str, float],
) -> tuple[float, float]:
    """Return a range that holds all intervals, the truth and the limit."""
    ends = [end for each in known.values() for end in (each.low, each.high)]
    if name in truth:
        ends += [truth[name] - limit.get(name, 0.0), truth[name] + limit.get(name, 0.0)]
    margin = 0.15 * (max(ends) - min(ends)) or 1.0
    return min(ends) - margin, max(ends) + margin


def drift(
    seen: xr.Dataset,
    *,
    number: str,
    changed_at: float | None = None,
    titles: Mapping[str, str] | None = None,
) -> hv.Layout:
    """Return the drift score of a stream, and below it what single frames say.

    Args:
        seen: From `twin.Watch.watch`; the name of a frame is that of its coordinate.
        number: Whose deviations in single frames are shown.
        changed_at: Frame from which the source was another.
        titles: What the numbers are called.
    """
    word = str(seen["frame"].attrs.get("long_name", "Frame"))
    frame = hv.Dimension("frame", label=word)
    score = hv.Dimension("score", label="Drift score")
    sigma = hv.Dimension("sigma", label="Deviation from normal", unit=in_print("sigma") or None)
    n = seen["frame"].values
    curve = hv.Curve((n, seen["drift_score"].values), frame, score, label=f"sum over {_many(word)}")
    level = hv.Curve([(n[0], 1.0), (n[-1], 1.0)], frame, score, label="alarm")
    upper = [styled(curve, color=BLUE), styled(level, color=VERMILLION, line_dash="dashed")]
    deviation = seen["deviation"].sel(number=number).values
    points = hv.Scatter((n, deviation), frame, sigma, label=f"one {word.lower()} alone")
    limits = [
        styled(hv.Curve([(n[0], s), (n[-1], s)], frame, sigma), color=GREY, line_dash="dashed")
        for s in (-5.0, 5.0)
    ]
    lower = [styled(points, color=ORANGE, size=5, tools=["hover"]), *limits]
    if changed_at is not None:
        upper.append(styled(hv.VLine(changed_at), color="black", line_width=1))
        lower.append(styled(hv.VLine(changed_at), color="black", line_width=1))
    words = dict(titles or {}).get(number, number.replace("_", " "))
    options = {"width": WIDTH, "height": 290, "padding": (0, 0.1), **FRAME}
    options |= {"xlabel": word}
    return hv.Layout(
        [
            styled(
                hv.Overlay(upper),
                title="The strongest sign of a change",
                ylabel="Drift score",
                **options,
                **legend(2),
            ),
            styled(
                hv.Overlay(lower),
                title=f"{words} in single {_many(word)}, with 5 sigma dashed",
                ylabel=f"Deviation from normal ({in_print('sigma')})",
                show_legend=False,
                show_grid=True,
                **options,
            ),
        ]
    ).cols(1)


def _many(word: str) -> str:
    return word.lower() + ("es" if word.endswith("ch") else "s")
