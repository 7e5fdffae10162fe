"""Figures and tables of sweeps and studies: what was asked, what came out, what failed."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr
from pandas.io.formats.style import Styler

from physics_twins import figures
from physics_twins.data import in_print
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    axis,
    legend,
    styled,
)

if TYPE_CHECKING:
    from physics_twins.sweeps.study import Study
    from physics_twins.sweeps.sweep import Computation

COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, "#56B4E9", "black"]  # more are not told apart
MOST_METRICS, MOST_ERRORS = 6, 20
SEED, ERROR = "seed", "_error"
LEVELS = {
    "baseline": "defaults",
    "best_confirmed": "best, fresh seeds",
    "baseline_confirmed": "defaults, fresh seeds",
}


def plot(dataset: xr.Dataset, names: Sequence[str]) -> hv.Layout | hv.Div:
    """Return the figures of `Sweep.plot`."""
    cells = dataset["complete"].dims
    inside = dataset.data_vars.items()
    numbers = [str(n) for n, v in inside if v.dims == cells and v.dtype.kind in "iuf"]
    rows: Any = dataset[[*numbers, "complete"]].to_dataframe().reset_index()
    rows = rows[rows["complete"]]
    own = [n for n in numbers if not (n.endswith(ERROR) and n.removesuffix(ERROR) in numbers)]
    own = [name for name in own if rows[name].nunique(dropna=False) > 1]
    chosen = names or sorted(own, key=lambda name: name + ERROR not in numbers)[:MOST_METRICS]
    if rows.empty or not chosen:
        told = "No cell has a result." if rows.empty else "Every metric is the same everywhere."
        return hv.Div(f"<p>{told}</p>")
    across = [str(n) for n, c in dataset.coords.items() if c.dims and set(c.dims) <= set(cells)]
    varied = [name for name in across if rows[name].nunique() > 1] or across
    varied = [name for name in varied if name != SEED] or varied
    is_number = {name: rows[name].dtype.kind in "iuf" for name in varied}
    for name in varied:
        if not is_number[name]:
            rows[name] = rows[name].astype(str)  # truth values, too, have places on an axis of words
    first = max(varied, key=lambda name: (is_number[name], rows[name].nunique()))
    rest = [name for name in varied if name != first]
    n_curves = len(rows[rest].drop_duplicates()) if rest else 1
    if len(cells) == len(across) and n_curves <= len(COLOURS):
        figures = [_figure(dataset, rows, first, rest, name) for name in chosen]
        return styled(hv.Layout(figures), shared_axes=False).cols(1)
    figures = [_figure(dataset, rows, one, [], name, varied) for name in chosen for one in varied]
    return styled(hv.Layout(figures), shared_axes=False).cols(2)


def _figure(
    dataset: xr.Dataset,
    rows: Any,
    first: str,
    rest: Sequence[str],
    name: str,
    together: Sequence[str] = (),
) -> hv.Overlay:
    """Return a metric against a parameter, one curve for each combination of the `rest`.

    Where parameters are varied `together`, no curve joins the points.
    """
    groups = rows.groupby([*(together or (first, *rest))], sort=False)
    error = groups[name].sem()
    if name + ERROR in rows:
        own = groups[name + ERROR].agg(lambda e: np.sqrt((e**2).sum())) / groups[name].count()
        error = error.combine(own, np.fmax)
    mean = pd.DataFrame({"value": groups[name].mean(), "error": error}).reset_index()
    is_number = mean[first].dtype.kind in "iuf"
    axes = axis(dataset[first]), axis(dataset[name])
    if is_number:
        mean = mean.sort_values(first)
    words = [
        ", ".join(f"{n} {_short(v)}" for n, v in zip(rest, row, strict=True))
        for row in mean[[*rest]].to_numpy()
    ]
    curves = mean.groupby(pd.Series(words, index=mean.index), sort=False)
    parts: list[Any] = []
    for colour, (label, one) in zip(COLOURS, curves, strict=False):
        if is_number and not together:
            line = hv.Curve(one, *axes, label=label)
            parts.append(styled(line, color=colour, line_width=1.5))
        points = hv.Scatter(one, *axes, label=label)
        bars = hv.ErrorBars(one[one["error"] > 0], axes[0], [axes[1], "error"])
        parts.append(styled(points, color=colour, size=7, tools=["hover"]))
        parts.append(styled(bars, line_color=colour, line_width=1.5, lower_head=None, upper_head=None))
    n_seeds = rows[SEED].nunique() if SEED in rows and first != SEED else 1
    title = f"{name} against {first}" + (f"; mean of {n_seeds} seeds" if n_seeds > 1 else "")
    return styled(
        hv.Overlay(parts),
        title=title,
        logx=is_number and _in_factors(mean[first].to_numpy()),
        width=WIDTH // 2 if together else WIDTH,
        height=300,
        padding=0.08,
        **legend(4),
        **FRAME,
    )


def _in_factors(values: np.ndarray) -> bool:
    """Return whether values are spread evenly in factors rather than in steps."""
    low, high, middle = values.min(), values.max(), np.median(values)
    if len(values) < 3 or low <= 0 or high <= 8 * low:
        return False
    # Half of the values lie below the middle of the axis on which they are spread evenly.
    return bool(middle < np.sqrt(np.sqrt(low * high) * (low + high) / 2))


def history(study: "Study") -> hv.Overlay | hv.Div:
    """Return the figure of `Study.history`."""
    metric, maximise = study.plan["metric"], study.plan["maximise"]
    done = {trial.number: trial.value for trial in study.trials if trial.value is not None}
    if not done:
        return hv.Div("<p>No trial is complete.</p>")
    about = {"long_name": metric, "units": study.metrics["best"].unit}
    values = xr.DataArray([*done.values()], {"trial": [*done]}, "trial", attrs=about)
    best = (np.maximum if maximise else np.minimum).accumulate(values.values)
    references: dict[str, Any] = {"best so far": values.copy(data=best)}
    for name, each in study.metrics.items():
        if name in LEVELS:
            references[f"{LEVELS[name]}: {each.text}"] = each.value
    title = f"{metric} of {len(done)} trials, {'higher' if maximise else 'lower'} is better"
    return figures.series(values, title=title, references=references)


def facts(found: "Computation") -> Styler:
    """Return the table of `Computation.facts`."""
    plan = found.plan
    kinds = ("title", "task", "metric", "maximise", "sampler", "seed", "source_sha256", "started")
    told = {name: str(plan[name]) for name in kinds if name in plan}
    points = plan.get("points", [])
    varied = {name: [point[name] for point in points] for name in (points or [{}])[0]}
    varied |= plan.get("ranges", {}) | plan.get("choices", {})
    told |= {f"varied: {n}": f"{_listed(v)} {in_print(plan['units'][n])}" for n, v in varied.items()}
    told["fixed"] = _point(plan["fixed"]) or "nothing; other parameters have their defaults"
    told["so far"] = ", ".join(f"{n} {state}" for state, n in found.counts.items() if n)
    told["go on"] = found.go_on
    return _shown(pd.DataFrame({"": told.values()}, index=list(told)))


def errors(found: "Computation") -> Styler:
    """Return the table of `Computation.errors`."""
    columns = ["error", "point", "trace", "host"]
    failed = pd.DataFrame(found.failures, columns=columns)
    groups = failed.groupby("error", sort=False)
    table: Any = groups.first()
    table["point"] = table["point"].map(_point)
    table["trace"] = table["trace"].map(_place)
    table.insert(0, "how often", groups.size())
    table = table.sort_values("how often", ascending=False, kind="stable")
    table = table.rename(columns={"point": "first at", "trace": "where in the code"})
    words = f"{len(failed)} failures, {len(table)} errors" if len(failed) else "nothing failed"
    return _shown(table.head(MOST_ERRORS)).set_caption(words)


def _shown(table: pd.DataFrame) -> Styler:
    """Return a table as a report shows it: text on the left, nothing cut off."""
    left: Any = {"selector": "th, td", "props": "text-align: left; vertical-align: top"}
    wrapped: Any = {"selector": "td", "props": "overflow-wrap: anywhere"}
    return table.style.set_table_styles([left, wrapped])


def _place(trace: str) -> str:
    """Return file and line of the last entry of a traceback."""
    entries = re.findall(r'([^"/]*)", line (\d+)', trace)
    return ":".join(entries[-1]) if entries else ""


def _listed(values: Sequence[Any]) -> str:
    shown = [_short(value) for value in dict.fromkeys(values)]
    if len(shown) <= 10:
        return ", ".join(shown)
    return f"{', '.join(shown[:4])}, ..., {', '.join(shown[-2:])} ({len(shown)} values)"


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
