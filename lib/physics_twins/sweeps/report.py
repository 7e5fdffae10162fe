"""Figures and tables of sweeps and studies: what came out, what failed, who computed it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr
from pandas.io.formats.style import Styler

from physics_twins.data import in_print
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    axis,
    legend,
    styled,
    value_axis,
)

if TYPE_CHECKING:
    from physics_twins.sweeps.study import Study
    from physics_twins.sweeps.sweep import Sweep

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, "#56B4E9", "black")  # more are not told apart
MOST_METRICS = 6
MOST_ERRORS = 20
SEED, ERROR = "seed", "_error"
# Positive values that reach over more than this may be drawn in factors.
_FACTOR = 8.0


def plot(dataset: xr.Dataset, *names: str) -> hv.Layout | hv.Div:
    """Return metrics against the parameters that were varied: means over the seeds, standard errors.

    That error comes from the scatter of the seeds or, where it is larger, from the cells' own errors: a
    few seeds that agree by chance do not make a mean exact. A grid with few combinations besides its
    longest axis is drawn as curves, everything else as one figure for each parameter.

    Args:
        dataset: From `Sweep.dataset`.
        names: Metrics to draw; by default those with one number for each cell that differ, first those
            with errors, and no more than `MOST_METRICS`.
    """
    cells = dataset["complete"].dims
    numbers = [
        str(n) for n, v in dataset.data_vars.items() if v.dims == cells and v.dtype.kind in "iuf"
    ]
    across = [str(n) for n, c in dataset.coords.items() if c.dims and set(c.dims) <= set(cells)]
    rows: Any = dataset[[*numbers, "complete"]].to_dataframe().reset_index()
    rows = rows[rows["complete"]]
    own = [n for n in numbers if not (n.endswith(ERROR) and n.removesuffix(ERROR) in numbers)]
    own = [name for name in own if rows[name].nunique(dropna=False) > 1]
    chosen = names or sorted(own, key=lambda name: name + ERROR not in numbers)[:MOST_METRICS]
    if rows.empty or not chosen:
        told = "No cell has a result." if rows.empty else "Every metric is the same everywhere."
        return hv.Div(f"<p>{told}</p>")
    varied = [name for name in across if rows[name].nunique() > 1] or across
    for name in varied:
        if rows[name].dtype.kind not in "iuf":
            rows[name] = rows[name].astype(str)  # truth values, too, have places on an axis of words
    figures = [each for name in chosen for each in _figures(dataset, rows, varied, name)]
    return styled(hv.Layout(figures), shared_axes=False).cols(1 if len(figures) == len(chosen) else 2)


def _figures(dataset: xr.Dataset, rows: Any, varied: Sequence[str], name: str) -> list[hv.Overlay]:
    others = [other for other in varied if other != SEED]
    mean = _averaged(rows, others, name) if others else _averaged(rows, varied, name)
    others = others or list(varied)
    first = max(others, key=lambda n: (mean[n].dtype.kind in "iuf", mean[n].nunique()))
    rest = [other for other in others if other != first]
    groups = dict(list(mean.groupby(rest))) if rest else {(): mean}
    is_grid = len(dataset["complete"].dims) == len(dataset["complete"].indexes)
    seeds = f"; mean of {rows[SEED].nunique()} seeds" if SEED in varied and SEED not in others else ""
    if is_grid and len(groups) <= len(COLOURS):
        title = f"{name} against {first}" + (f"; colours: {', '.join(rest)}" if rest else "") + seeds
        labelled = {", ".join(map(_told, rest, values)): group for values, group in groups.items()}
        return [_figure(dataset, labelled, first, name, title, joined=True, width=WIDTH)]
    return [
        _figure(dataset, {"": mean}, other, name, f"{name} against {other}", width=WIDTH // 2)
        for other in others
    ]


def _averaged(rows: Any, others: Sequence[str], name: str) -> Any:
    """Return the mean over what is not among `others`, with its standard error."""
    groups = rows.groupby(list(others), sort=False)
    error = groups[name].sem()
    if name + ERROR in rows:
        own = groups[name + ERROR].agg(lambda e: np.sqrt((e**2).sum())) / groups[name].count()
        error = error.combine(own, np.fmax)
    return pd.DataFrame({name: groups[name].mean(), "error": error}).reset_index()


def _figure(
    dataset: xr.Dataset,
    groups: Mapping[str, Any],
    across: str,
    name: str,
    title: str,
    *,
    width: int,
    joined: bool = False,
) -> hv.Overlay:
    axes = axis(dataset[across]), value_axis(dataset[name])
    parts: list[Any] = []
    is_number = dataset[across].dtype.kind in "iuf"
    for colour, (label, rows) in zip(COLOURS, groups.items(), strict=False):
        rows = rows.sort_values(across) if is_number else rows
        columns = rows[across].to_numpy(), rows[name].to_numpy()
        errors = rows["error"].to_numpy()
        if joined and is_number:
            parts.append(styled(hv.Curve(columns, *axes, label=label), color=colour, line_width=1.5))
        points = hv.Scatter(columns, *axes, label=label)
        parts.append(styled(points, color=colour, size=7, tools=["hover"]))
        known = errors > 0
        above = columns[0][known], columns[1][known], errors[known]
        bars = hv.ErrorBars(above, axes[0], [axes[1], "error"])
        parts.append(styled(bars, line_color=colour, line_width=1.5, lower_head=None, upper_head=None))
    return styled(
        hv.Overlay(parts),
        title=title,
        logx=is_number and _in_factors(dataset[across].values),
        width=width,
        height=300,
        padding=0.08,
        **legend(4),
        **FRAME,
    )


def _in_factors(values: np.ndarray) -> bool:
    """Return whether values are spread evenly in factors rather than in steps."""
    low, high, middle = values.min(), values.max(), np.median(values)
    if len(values) < 3 or low <= 0 or high / low <= _FACTOR:
        return False
    # Half of the values lie below the middle of the axis on which they are spread evenly.
    return bool(middle < np.sqrt(np.sqrt(low * high) * (low + high) / 2))


def _told(name: str, value: Any) -> str:
    return f"{name} {_short(value)}"


def history(study: "Study") -> hv.Overlay | hv.Div:
    """Return the value of each trial of a study, the best so far, the defaults, and fresh seeds."""
    plan, verdict = study.plan, study.verdict
    done = [trial for trial in study.trials if trial.value is not None]
    if not done:
        return hv.Div("<p>No trial is complete.</p>")
    unit = in_print(next(iter(verdict.metrics.values())).unit)
    axes = hv.Dimension("trial"), hv.Dimension("value", label=plan["metric"], unit=unit or None)
    place, value = np.array([(trial.number, trial.value) for trial in done]).T
    points = hv.Scatter((place, value), *axes, label="trial")
    better = np.maximum if plan["maximise"] else np.minimum
    best = hv.Curve((place, better.accumulate(value)), *axes, label="best so far")
    parts: list[Any] = [
        styled(points, color=BLUE, size=6, tools=["hover"]),
        styled(best, color=BLUE, line_width=2, interpolation="steps-post"),
    ]
    levels = {
        "baseline": ("defaults", GREY),
        "best_confirmed": ("best, fresh seeds", GREEN),
        "baseline_confirmed": ("defaults, fresh seeds", ORANGE),
    }
    for name, (label, colour) in levels.items():
        if estimate := verdict.metrics.get(name):
            ends = [(place[0], estimate.value), (place[-1], estimate.value)]
            line = hv.Curve(ends, *axes, label=f"{label}: {estimate.text}")
            parts.append(styled(line, color=colour, line_dash="dashed", line_width=2))
    which = "higher" if plan["maximise"] else "lower"
    title = f"{plan['metric']} of {len(done)} trials, {which} is better"
    options = {"width": WIDTH, "height": 360, "padding": (0.02, 0.08)}
    return styled(hv.Overlay(parts), title=title, **options, **legend(3), **FRAME)


def facts(found: Any) -> Styler:
    """Return what a `Sweep` or `Study` is, with which code, how far it is, and how to go on."""
    plan, counts = found.plan, found.counts
    if "metric" in plan:
        which = "high" if plan["maximise"] else "low"
        about = {"metric": f"{plan['metric']}, as {which} as possible"}
        about["search"] = f"{plan['sampler']}, seed {plan['seed']}"
        varied = {name: f"{low:g} to {high:g}" for name, (low, high) in plan["ranges"].items()}
        varied |= {name: f"one of {_listed(values)}" for name, values in plan["choices"].items()}
        again = f"twins tune {found.folder} --trials {2 * plan['trials']}"
    else:
        about = {"content": f"{(found.sha256 or 'not combined yet')[:16]} (SHA-256 of the data)"}
        names = dict.fromkeys(name for point in plan["points"] for name in point)
        varied = {name: _listed([point[name] for point in plan["points"]]) for name in names}
        again = f"twins sweep {found.folder}" + (" --retry-failed" if counts["failed"] else "")
    told = {
        "what": f"{plan['task']}: {plan['title']}",
        **{f"varied: {n}": f"{t} {in_print(plan['units'][n])}" for n, t in varied.items()},
        "fixed": _point(plan["fixed"]) or "nothing; other parameters have their defaults",
        "cells": ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        **about,
        "code": f"{plan['source_sha256'][:12]} (SHA-256 of the library)",
        "begun": plan["started"][:19].replace("T", " "),
        "go on": again,
    }
    return _shown(pd.DataFrame({"": told.values()}, index=list(told)))


def failures(found: "Sweep | Study") -> Styler:
    """Return each error with how often it came, where in the code, and the first point that had it."""
    failed = found.failures
    if not failed:
        return _shown(pd.DataFrame({"": [""]}, index=["nothing failed"]))
    first = {each["error"]: each for each in reversed(failed)}
    counts = Counter(each["error"] for each in failed)
    rows = [
        (error, n, _point(first[error]["point"]), _place(first[error]["trace"]), first[error]["host"])
        for error, n in counts.most_common(MOST_ERRORS)
    ]
    if len(counts) > MOST_ERRORS:
        n_others = len(failed) - sum(row[1] for row in rows)
        rows.append((f"and {len(counts) - MOST_ERRORS} other errors", n_others, "", "", ""))
    columns = ["error", "how often", "first at", "where in the code", "host"]
    return _shown(pd.DataFrame(rows, columns=columns).set_index("error"))


def hosts(found: "Sweep | Study") -> Styler:
    """Return for each host how many cells it computed and how long they took."""
    rows: Any = pd.DataFrame(found.by_key.values(), columns=["host", "seconds", "status"])
    groups = rows.groupby("host")["seconds"]
    columns = {
        "cells": groups.size(),
        "failed": rows["status"].eq("failed").groupby(rows["host"]).sum(),
        "median of a cell (s)": groups.median(),
        "longest cell (s)": groups.max(),
        "in all (s)": groups.sum(),
    }
    return _shown(pd.DataFrame(columns).round(3))


def _shown(table: pd.DataFrame) -> Styler:
    """Return a table as a report shows it: text on the left, nothing cut off."""
    left: Any = {"selector": "th, td", "props": [("text-align", "left"), ("vertical-align", "top")]}
    wrapped: Any = {"selector": "td", "props": [("overflow-wrap", "anywhere")]}
    return table.style.set_table_styles([left, wrapped])


def _place(trace: str) -> str:
    """Return file and line of the last entry of a traceback."""
    entries = re.findall(r'File "([^"]*)", line (\d+)', trace)
    return "{}:{}".format(entries[-1][0].rpartition("/")[2], entries[-1][1]) if entries else ""


def _listed(values: Sequence[Any]) -> str:
    shown = [_short(value) for value in dict.fromkeys(values)]
    if len(shown) <= 10:
        return ", ".join(shown)
    return f"{', '.join(shown[:4])}, ..., {', '.join(shown[-2:])} ({len(shown)} values)"


def _point(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
