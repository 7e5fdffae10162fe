"""Curves as they were: before the last move, and as they were pinned, beneath those of now."""

from html import escape
from typing import Any, Generic

import ipywidgets as ipw
import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from numpy.typing import NDArray

from physics_twins.data import in_print
from physics_twins.figures.style import PURPLE, SKY
from twin_panels.controls import Model
from twin_panels.figures import LINE_WIDTH, add_to_legend, fill

# Solid: a browser without a GPU takes long over the dots of a noisy curve. Half through: whatever the
# theme, it is nearer to the ground than the curve of now.
BEFORE = {"color": SKY, "alpha": 0.5}
BEFORE_WORDS = "before the last move"
PINNED = {"color": PURPLE, "line_dash": "dotdash"}


class _Kept:
    """A curve as it was when it was kept, and by how much that of now differs, where that is drawn."""

    def __init__(
        self, where: figure, now: ColumnDataSource, x: str, y: str, change: figure | None, **look: Any
    ) -> None:
        self._now, self._names = now, (x, y)
        self._kept = ColumnDataSource({"x": [], "y": []})
        self._change = ColumnDataSource({"x": [], "y": []})
        self.drawn = where.line(
            "x", "y", source=self._kept, level="underlay", line_width=LINE_WIDTH, **look
        )
        self._is_ratio = False
        if change is not None:
            change.line("x", "y", source=self._change, line_width=LINE_WIDTH, **look)
            self._is_ratio = "Log" in type(change.y_scale).__name__
        self._has_change = change is not None

    @property
    def columns(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """The curve that is kept; empty for none."""
        return tuple(np.asarray(self._kept.data[name]) for name in "xy")  # pyright: ignore

    def keep(self) -> None:
        """Keep the curve of now."""
        x, y = (np.asarray(self._now.data[name]) for name in self._names)
        fill(self._kept, {"x": x, "y": y})

    def forget(self) -> None:
        """Keep nothing."""
        for source in (self._kept, self._change):
            source.data = {"x": [], "y": []}

    def follow(self) -> None:
        """Draw the curve of now less the one that is kept; divided by it on a logarithmic axis."""
        x, y = self.columns
        if not self._has_change or not len(x):
            return
        now_x, now_y = (np.asarray(self._now.data[name], float) for name in self._names)
        then = np.interp(now_x, x, y, left=np.nan, right=np.nan)
        fill(self._change, {"x": now_x, "y": now_y / then if self._is_ratio else now_y - then})


class Comparison(Generic[Model]):
    """What a panel shows now beside what it showed before the last move, and beside a pinned state.

    Attributes:
        pinned: The parameters that were pinned; None for none.
        told: In words how the parameters of now differ from them, as HTML.
    """

    def __init__(self) -> None:
        self.pinned: Model | None = None
        self.told = ipw.HTML()
        self._before: list[_Kept] = []
        self._pinned: list[_Kept] = []

    def watch(
        self, where: figure, now: ColumnDataSource, x: str, y: str, change: figure | None = None
    ) -> None:
        """Keep a curve of a figure.

        Args:
            where: The figure; its legend, if any, is placed.
            now: Where the curve of now is.
            x: Its column along the horizontal axis.
            y: Its other column.
            change: The figure that shows by how much it differs from the pinned one: their ratio where
                its axis is logarithmic.
        """
        self._before.append(_Kept(where, now, x, y, None, **BEFORE))
        add_to_legend(where, self._before[-1].drawn, BEFORE_WORDS)
        self._pinned.append(_Kept(where, now, x, y, change, **PINNED))

    def moved(self) -> None:
        """A hand begins to move something: keep what is shown."""
        for each in self._before:
            each.keep()

    def pin(self, parameters: Model) -> None:
        """Pin what is shown."""
        self.pinned = parameters
        for each in self._pinned:
            each.keep()
        self.follow(parameters)

    def unpin(self) -> None:
        """Pin nothing."""
        self.pinned, self.told.value = None, ""
        for each in self._pinned:
            each.forget()

    def follow(self, parameters: Model) -> None:
        """Bring the differences to what is shown now."""
        if self.pinned is None:
            return
        for each in self._pinned:
            each.follow()
        now, then = parameters.to_papermill(), self.pinned.to_papermill()
        about = parameters.describe()
        changes = [
            f"{about[name].help}: {then[name]} → {now[name]} {in_print(about[name].unit)}".strip()
            for name in about
            if now[name] != then[name]
        ]
        words = "; ".join(changes) or "the same as now"
        self.told.value = (
            f'<div style="line-height: 1.3"><span style="color: {PURPLE}">▬</span> Pinned, and its'
            f" difference from now. {escape(words)}</div>"
        )
