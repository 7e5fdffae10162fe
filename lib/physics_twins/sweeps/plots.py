"""Figures of any sweep: each metric against its parameters with error bars, and how long cells took."""

from collections.abc import Sequence
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.palettes import Viridis256

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
    legend,
    styled,
)
from physics_twins.sweeps.records import FAILED, Record
from physics_twins.sweeps.table import ERROR, SEED, SweepTable

# Okabe & Ito 2008; more than these are not told apart.
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, "#56B4E9", "black")
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star", "hex")
MOST_CURVES = 7
MOST_METRICS = 6
# Positive values that reach over more than this may be drawn in factors.
_FACTOR = 8.0
# How far apart points of different colours stand at one word, in words.
_STEP = 0.08


def metrics(table: SweepTable) -> hv.Layout:
    """Return one figure for each metric that is not the same everywhere, under each other.

    Args:
        table: From `table.of`. Seeds are averaged; bars are standard errors of that mean.
            Metrics with errors of their own come first, and no more than `MOST_METRICS`.
    """
    names = [name for name in table.metrics if name not in table.constant]
    names = sorted(names, key=lambda name: name + ERROR not in table.rows)[:MOST_METRICS]
    if not names:
        told = "No cell has a result." if table.rows.empty else "Every metric is the same everywhere."
        return hv.Layout([hv.Div(f"<p>{told}</p>")])
    figures = [figure for name in names for figure in metric(table, name)]
    return styled(hv.Layout(figures), shared_axes=False).cols(1 if _is_wide(table) else 2)


def metric(table: SweepTable, name: str) -> list[hv.Overlay]:
    """Return a metric's figures: curves of a grid, else one small figure for each parameter."""
    mean = table.averaged()
    if not table.varying:
        return [_seeds(table, name)]
    if _is_wide(table):
        across = _across(mean, table.varying)
        rest = tuple(other for other in table.varying if other != across)
        return [_curves(table, mean, name, across, rest)]
    return [_small(mean, name, parameter) for parameter in table.varying]


def durations(records: Sequence[Record | None]) -> hv.Overlay | hv.Div:
    """Return how long each cell took, in the order in which they began, by host.

    Args:
        records: Of each cell the record that counts, None where it waits.
    """
    began = sorted((r for r in records if r), key=lambda record: record["started"])
    if not began:
        return hv.Div("<p>No cell has been computed.</p>")
    seconds = np.array([max(record["seconds"], 1e-6) for record in began])
    hosts = np.array([record["host"] for record in began])
    failed = np.array([record["status"] == FAILED for record in began])
    place = np.arange(len(began))
    axes = hv.Dimension("order", label="cell, in order of start"), _seconds()
    middle = float(np.median(seconds))
    ends = [(0, middle), (max(1, len(began) - 1), middle)]
    line = hv.Curve(ends, *axes, label=f"median {middle:.2g} s")
    parts: list[Any] = [styled(line, color="black", line_dash="dashed", line_width=1)]
    names = sorted(set(hosts))
    shown = names if len(names) <= MOST_CURVES else [f"{len(names)} hosts"]
    for n, host in enumerate(shown):
        chosen = (hosts == host) | (len(shown) < len(names))
        points = hv.Scatter((place[chosen], seconds[chosen]), *axes, label=str(host))
        parts.append(styled(points, color=COLOURS[n], marker=MARKERS[n], size=6, tools=["hover"]))
    if failed.any():
        crosses = hv.Scatter((place[failed], seconds[failed]), *axes, label="failed")
        parts.append(styled(crosses, color=VERMILLION, marker="x", size=11, line_width=2))
    title = f"{len(began)} cells took {seconds.sum():.3g} s of computing on {_n(names, 'host')}"
    return styled(
        hv.Overlay(parts),
        title=title,
        logy=bool(seconds.max() / seconds.min() > 5 * _FACTOR),
        padding=(0.02, 0.1),
        width=WIDTH,
        height=280,
        **legend(5),
        **FRAME,
    )


def dimension(name: str, unit: str, *, key: str = "") -> hv.Dimension:
    """Return the axis of a parameter or metric, its name in words and its unit as printed."""
    suffix = "_" + unit.lower().replace(" ", "_").replace("-", "")
    words = name.removesuffix(suffix).replace("_", " ") if unit else name.replace("_", " ")
    return hv.Dimension(key or name, label=words, unit=in_print(unit) or None)


def in_factors(values: Any) -> bool:
    """Return whether these values are spread evenly in factors rather than in steps.

    >>> in_factors([0.1, 1.0, 10.0, 100.0]), in_factors([1.0, 34.0, 67.0, 100.0])
    (True, False)
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "iuf" or len(numbers) < 3:
        return False
    low, high, middle = np.nanmin(numbers), np.nanmax(numbers), np.nanmedian(numbers)
    if low <= 0 or high / low <= _FACTOR:
        return False
    # Half of the values lie below the middle of the axis on which they are spread evenly.
    return bool(middle < np.sqrt(np.sqrt(low * high) * (low + high) / 2))


def _is_wide(table: SweepTable) -> bool:
    """Return whether curves show a metric: a grid with few combinations besides one axis."""
    if not table.varying:
        return True
    rest = [name for name in table.varying if name != _across(table, table.varying)]
    n = len(table.rows[rest].drop_duplicates()) if rest else 1
    return table.is_grid and n <= MOST_CURVES


def _across(table: SweepTable, names: Sequence[str]) -> str:
    """Return the parameter that the horizontal axis shows: a number with the most values."""
    return max(names, key=lambda name: (_is_number(table.rows[name]), table.rows[name].nunique()))


def _is_number(column: Any) -> bool:
    return column.dtype.kind in "iuf"


def _curves(
    table: SweepTable, mean: SweepTable, name: str, across: str, rest: tuple[str, ...]
) -> hv.Overlay:
    axes = dimension(across, table.units[across]), dimension(name, table.units[name], key="metric")
    parts: list[Any] = []
    words = _words(mean.rows[across])
    if table.n_seeds > 1:
        raw = hv.Scatter(_columns(table.rows, across, name, words), *axes, label="single seeds")
        parts.append(styled(raw, color=GREY, alpha=0.5, size=4))
    groups = [((), mean.rows)] if not rest else sorted(mean.rows.groupby(list(rest)), key=_first)
    numbers = len(rest) == 1 and _is_number(mean.rows[rest[0]])
    for n, (values, rows) in enumerate(groups):
        colour = _ordered(n, len(groups)) if numbers and len(groups) > 2 else COLOURS[n]
        label = ", ".join(map(_told, rest, values)) or "mean"
        aside = _STEP * (n - (len(groups) - 1) / 2)
        columns = _columns(rows, across, name, words, aside)
        parts += _curve(columns, axes, label=label, colour=colour, marker=MARKERS[n], joined=not words)
        parts += _bars(rows, columns, name, axes, colour)
    beside = f"; colours: {', '.join(rest)}" if rest else ""
    return styled(
        hv.Overlay(parts),
        title=f"{name} against {across}{beside}{_averaging(table)}",
        logx=in_factors(mean.rows[across]),
        **_ticks(words),
        width=WIDTH,
        height=320,
        padding=0.08,
        **legend(4),
        **FRAME,
    )


def _curve(
    columns: tuple, axes: tuple, *, label: str, colour: str, marker: str, joined: bool
) -> list[Any]:
    order = np.argsort(columns[0])
    columns = tuple(column[order] for column in columns)
    line = hv.Curve(columns, *axes, label=label)
    points = hv.Scatter(columns, *axes, label=label)
    styled(points, color=colour, marker=marker, size=8, tools=["hover"])
    return [styled(line, color=colour, line_width=1.5), points] if joined else [points]


def _small(mean: SweepTable, name: str, across: str) -> hv.Overlay:
    """Return a metric against one of many parameters, all cells together."""
    axes = dimension(across, mean.units[across]), dimension(name, mean.units[name], key="metric")
    words = _words(mean.rows[across])
    columns = _columns(mean.rows, across, name, words)
    points = hv.Scatter(columns, *axes)
    styled(points, color=BLUE, size=6, tools=["hover"])
    return styled(
        hv.Overlay([points, *_bars(mean.rows, columns, name, axes, BLUE)]),
        title=f"{name} against {across}",
        logx=in_factors(mean.rows[across]),
        **_ticks(words),
        width=WIDTH // 2,
        height=270,
        padding=0.08,
        show_grid=True,
        fontsize={"title": 9},
        **FRAME,
    )


def _seeds(table: SweepTable, name: str) -> hv.Overlay:
    """Return a metric where nothing but the seed was varied, with its mean."""
    across = SEED if SEED in table.parameters else table.parameters[0]
    axes = dimension(across, table.units[across]), dimension(name, table.units[name], key="metric")
    columns = _columns(table.rows, across, name, _words(table.rows[across]))
    mean, n = float(np.nanmean(columns[1])), int(np.isfinite(columns[1]).sum())
    error = float(np.nanstd(columns[1], ddof=1)) / n**0.5 if n > 1 else 0.0
    span = (float(columns[0].min()) - 0.5, float(columns[0].max()) + 0.5)
    points = hv.Scatter(columns, *axes, label="cell")
    styled(points, color=BLUE, size=8, tools=["hover"])
    parts = level(mean, error, span, axes, f"mean: {mean:.4g} +- {error:.2g}", GREEN)
    return styled(
        hv.Overlay([*parts, points, *_bars(table.rows, columns, name, axes, BLUE)]),
        title=f"{name} of {n} cells that differ in {across} only",
        width=WIDTH,
        height=300,
        padding=0.08,
        **legend(2),
        **FRAME,
    )


def level(
    value: float, error: float, span: tuple[float, float], axes: tuple, label: str, colour: str
) -> list[Any]:
    """Return a horizontal line with the band of its standard error."""
    x, ones = np.array(span), np.ones(2)
    area = hv.Area((x, ones * (value - error), ones * (value + error)), axes[0], [axes[1], "top"])
    line = hv.Curve((x, ones * value), *axes, label=label)
    return [styled(area, color=colour, alpha=0.25, line_alpha=0), styled(line, color=colour)]


def whiskers(columns: tuple, axes: tuple, colour: str) -> hv.ErrorBars:
    """Return bars of place, value and error without heads, which would hide small ones."""
    bars = hv.ErrorBars(columns, axes[0], [axes[1], "error"])
    return styled(bars, line_color=colour, line_width=1.5, lower_head=None, upper_head=None)


def _bars(rows: Any, columns: tuple, name: str, axes: tuple, colour: str) -> list[Any]:
    if name + ERROR not in rows:
        return []
    error = rows[name + ERROR].to_numpy(dtype=float)
    known = np.isfinite(error)
    return [whiskers((columns[0][known], columns[1][known], error[known]), axes, colour)]


def _columns(
    rows: Any, across: str, name: str, words: Sequence[str], aside: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return places and values; text and truth values have the place of their word."""
    values = rows[name].to_numpy(dtype=float)
    if not words:
        return rows[across].to_numpy(dtype=float), values
    return np.array([words.index(str(value)) + aside for value in rows[across]], dtype=float), values


def _words(column: Any) -> list[str]:
    """Return the different words of a column that holds no numbers, else nothing."""
    return [] if _is_number(column) else list(dict.fromkeys(map(str, column)))


def _ticks(words: Sequence[str]) -> dict[str, Any]:
    if not words:
        return {}
    return {"xticks": list(enumerate(words)), "xlim": (-0.5, len(words) - 0.5)}


def _first(group: tuple[Any, Any]) -> tuple:
    return tuple((isinstance(value, str), value) for value in group[0])


def _told(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def _averaging(table: SweepTable) -> str:
    return f"; mean of {table.n_seeds} seeds" if table.n_seeds > 1 else ""


def _ordered(n: int, n_all: int) -> str:
    """Return a colour for one of some ordered values, dark to light but never too light to see."""
    return Viridis256[round(n * 215 / max(1, n_all - 1))]


def _seconds() -> hv.Dimension:
    return hv.Dimension("seconds", label="time of one cell", unit="s")


def _n(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}" + ("s" if len(names) != 1 else "")
