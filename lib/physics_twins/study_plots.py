"""Figures of a study: how the search went, which parameters matter, and all trials side by side."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr
from bokeh.palettes import Viridis256

from physics_twins import plots
from physics_twins.confirming import Estimate, Verdict
from physics_twins.ledger import COMPLETE, FAILED
from physics_twins.plots import (
    BAR,
    BLUE,
    FRAME,
    GREEN,
    ORANGE,
    VERMILLION,
    legend,
    styled,
)
from physics_twins.sweep_plots import dimension, level, whiskers
from physics_twins.trials import FEWEST, best_fraction
from physics_twins.units import in_print

_COLOURS = Viridis256[:216]  # the rest is too light for a line


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
        width=plots.WIDTH,
        height=360,
        padding=(0.02, 0.08),
        **legend(4),
        **FRAME,
    )


def parallel_coordinates(trials: xr.Dataset, verdict: Verdict) -> hv.Overlay | hv.Div:
    """Return every complete trial as a line across one axis for each parameter and one for the metric.

    Args:
        trials: From `Study.dataset`; the parameters' attributes say how their axes go.
        verdict: From `Study.verdict`; the best trial is drawn thick, the defaults dashed.
    """
    done = trials.isel(trial=trials["status"].values == COMPLETE)
    if not done.sizes["trial"]:
        return hv.Div("<p>No trial is complete.</p>")
    names = [str(name) for name in done.coords if name != "trial"]
    axes = [_Axis.of(done[name]) for name in names]
    axes.append(_Axis.of_metric(done["value"], trials.attrs["metric"]))
    heights = np.array([axis.heights(axis.values) for axis in axes])
    order = np.argsort(done["value"].values)  # the best are drawn last, on top
    order = order if verdict.maximise else order[::-1]
    lines = [_line(done.isel(trial=n), names, heights[:, n]) for n in order]
    across = [hv.Dimension("x"), hv.Dimension("y")]
    value = dimension(trials.attrs["metric"], verdict.unit, key="value")
    shown = [dimension(n, str(done[n].attrs.get("units", "")).replace("1", "", 1)) for n in names]
    paths = hv.Contours(lines, across, [value, hv.Dimension("trial"), *shown])
    limits = _good_limits(done["value"].values, maximise=verdict.maximise)
    styled(
        paths,
        color="value",
        cmap=_COLOURS if verdict.maximise else _COLOURS[::-1],
        clim=limits,
        line_width=1.5,
        alpha=0.75,
        colorbar=True,
        colorbar_opts={"title": value.pprint_label, **BAR},
        tools=["hover"],
    )
    parts: list[Any] = [_verticals(len(axes), across), paths]
    parts += _highlights(axes, verdict, across)
    parts += _tick_labels(axes, across)
    return styled(
        hv.Overlay(parts),
        title=f"{done.sizes['trial']} trials; {_direction(verdict)} {trials.attrs['metric']} is better",
        xticks=[(n, axis.label) for n, axis in enumerate(axes)],
        xlabel="",
        yaxis=None,
        xlim=(-0.15, len(axes) - 0.45),
        ylim=(-0.06, 1.06),
        width=plots.WIDTH,
        height=400,
        **(legend(3) | {"show_grid": False}),
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
        width=plots.WIDTH,
        height=120 + 32 * len(ordered),
        ylim=(0, 1),
        xlabel="",
        show_legend=False,
        **FRAME,
    )


class _Axis:
    """One vertical axis of parallel coordinates: where values lie between 0 and 1, and its ticks."""

    def __init__(self, label: str, values: np.ndarray, ticks: Sequence[tuple[float, str]]) -> None:
        self.label, self.values, self.ticks = label, values, ticks
        self._places: dict[str, float] = {}
        self._low, self._high, self._factors = 0.0, 1.0, False

    @classmethod
    def of(cls, column: xr.DataArray) -> "_Axis":
        """Return the axis of a parameter, over all of what was searched."""
        unit = in_print(str(column.attrs.get("units", "")))
        label = f"{column.name} ({unit})" if unit else str(column.name)
        if "choices" in column.attrs:
            return cls._of_choices(label, column)
        low, high = float(column.attrs["low"]), float(column.attrs["high"])
        return cls._of_range(label, column.values, low, high, bool(column.attrs["logarithmic"]))

    @classmethod
    def of_metric(cls, column: xr.DataArray, name: str) -> "_Axis":
        """Return the axis of the metric, over the values that came."""
        unit = in_print(str(column.attrs.get("units", "")))
        low, high = float(column.min()), float(column.max())
        high = high if high > low else low + 1.0
        return cls._of_range(f"{name} ({unit})" if unit else name, column.values, low, high, False)

    @classmethod
    def _of_choices(cls, label: str, column: xr.DataArray) -> "_Axis":
        names = json.loads(column.attrs["choices"])
        places = {name: n / (len(names) - 1) for n, name in enumerate(names)}
        axis = cls(label, column.values, [(place, name) for name, place in places.items()])
        axis._places = places
        return axis

    @classmethod
    def _of_range(
        cls, label: str, values: np.ndarray, low: float, high: float, factors: bool
    ) -> "_Axis":
        steps = np.linspace(0, 1, 5)
        shown = low ** (1 - steps) * high**steps if factors else low + (high - low) * steps
        shown = np.unique(np.round(shown)) if values.dtype.kind == "i" else shown
        axis = cls(label, values, [])
        axis._low, axis._high, axis._factors = low, high, factors
        heights = axis.heights(shown)
        axis.ticks = [(s, f"{v:.3g}") for s, v in zip(heights, shown, strict=True)]
        return axis

    def heights(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Return where values lie, 0 at the bottom and 1 at the top."""
        if self._places:
            return np.array([self._places.get(_as_choice(value), np.nan) for value in values])
        numbers = np.asarray(values, dtype=float)
        if self._factors:
            return np.log(numbers / self._low) / np.log(self._high / self._low)
        return (numbers - self._low) / (self._high - self._low)


def _as_choice(value: Any) -> str:
    """Return a choice as text, whether it comes from an array or from a plan."""
    return str(value.item() if isinstance(value, np.generic) else value)


def _line(trial: xr.Dataset, names: Sequence[str], heights: np.ndarray) -> dict[str, Any]:
    line: dict[str, Any] = {"x": np.arange(len(heights), dtype=float), "y": heights}
    line |= {"value": float(trial["value"]), "trial": int(trial["trial"])}
    return line | {name: trial[name].item() for name in names}


def _verticals(n: int, across: list[hv.Dimension]) -> hv.Path:
    lines = [[(x, 0.0), (x, 1.0)] for x in range(n)]
    return styled(hv.Path(lines, across), color="black", line_width=1)


def _highlights(axes: list[_Axis], verdict: Verdict, across: list[hv.Dimension]) -> list[Any]:
    """Return the lines of the best trial and of the defaults, as far as these lie inside."""
    found = []
    wanted: list[tuple[str, Any, Any, dict[str, Any]]] = []
    if verdict.best is not None:
        style = {"color": VERMILLION, "line_width": 3}
        wanted.append(("best trial", verdict.best.point, verdict.best.value, style))
    if verdict.baseline_point is not None and verdict.baseline is not None:
        style = {"color": "black", "line_width": 2, "line_dash": "dashed"}
        wanted.append(("defaults", verdict.baseline_point, verdict.baseline.value, style))
    for label, point, value, style in wanted:
        row = [*point.values(), value]
        y = np.array([axis.heights([v])[0] for axis, v in zip(axes, row, strict=True)])
        y[(y < -0.001) | (y > 1.001)] = np.nan
        found.append(styled(hv.Curve((np.arange(len(y)), y), *across, label=label), **style))
    return found


def _tick_labels(axes: list[_Axis], across: list[hv.Dimension]) -> list[Any]:
    rows = [(n + 0.02, y, text) for n, axis in enumerate(axes) for y, text in axis.ticks]
    style = {"text_align": "left", "text_baseline": "middle", "text_font_size": "8pt"}
    return [styled(hv.Labels(rows, across, "tick"), text_color="black", **style)]


def _band(
    estimate: Estimate | None, span: tuple[float, float], axes: tuple, label: str, colour: str
) -> list[Any]:
    if estimate is None:
        return []
    return level(estimate.value, estimate.error or 0.0, span, axes, label, colour)


def _good_limits(values: np.ndarray, *, maximise: bool) -> tuple[float, float]:
    """Return limits of colour that tell the better half apart; the worst share one colour."""
    worst = float(np.quantile(values, 0.1 if maximise else 0.9))
    best = float(values.max() if maximise else values.min())
    low, high = sorted((worst, best))
    return low, high if high > low else low + 1.0


def _direction(verdict: Verdict) -> str:
    return "higher" if verdict.maximise else "lower"
