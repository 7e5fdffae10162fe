"""Pieces of live Bokeh figures: what they need to follow a hand, and to keep a reader's zoom."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJSHover,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    LegendItem,
    LinearColorMapper,
    LogColorMapper,
    LogTicker,
    Range1d,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from physics_twins.data import round_up
from twin_panels.theme import NEUTRAL

PALETTE = "Viridis256"
MIN_WIDTH, MAX_WIDTH = 280, 1000  # screen pixels
# Of curves: without a GPU, a browser strokes a noisy one thirty times as fast as one of 1.5 pixels.
LINE_WIDTH = 1
TOOLS = "pan,box_zoom,wheel_zoom,save,reset"


def frame(*, x: str, y: str, height: int, **options: Any) -> figure:
    """Return an empty figure with axes `x` and `y`, as wide as there is room.

    A drag zooms, the wheel scrolls the page. Options are those of Bokeh's `figure`.
    """
    usual: dict[str, Any] = {
        "sizing_mode": "stretch_width",
        "min_width": MIN_WIDTH,
        "max_width": MAX_WIDTH,
        "min_border_left": 64,
        "toolbar_location": "above",
    }
    made = figure(
        title=" ",
        x_axis_label=x,
        y_axis_label=y,
        height=height,
        tools=TOOLS,
        active_drag="box_zoom",
        active_scroll=None,
        **(usual | options),
    )
    made.toolbar.logo = None
    made.title.text_font_size = "12px"  # pyright: ignore
    return made


def retitle(where: figure, text: str) -> None:
    """Change a figure's title."""
    where.title.text = text  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


def place_legend(where: figure, *, above: bool = False) -> None:
    """Put a figure's legend where it hides nothing and can be read in every theme.

    Its entries stand for what is drawn with no data of their own: Bokeh builds a legend anew whenever
    data change that it can reach.

    Args:
        where: The figure.
        above: Whether the legend stands above the frame, since curves reach its upper right corner.
    """
    for item in where.legend.items:
        item.renderers = [_stand_in(where, each) for each in item.renderers]  # pyright: ignore
    where.legend.update(location="top_right", click_policy="hide", background_fill_alpha=0.0)
    where.legend.update(padding=4, spacing=0, label_text_font_size="11px")
    where.legend.update(label_text_color=NEUTRAL, border_line_alpha=0.0)
    for legend in list(where.legend) if above else ():
        where.center.remove(legend)
        where.add_layout(legend, "above")
        legend.update(location="top_left", orientation="horizontal", spacing=16)


def add_to_legend(where: figure, drawn: GlyphRenderer, words: str) -> None:
    """Tell of something more in a legend that is placed; things of the same words have one entry."""
    legend: Any
    for legend in where.legend:
        made = _stand_in(where, drawn)
        same = next((item for item in legend.items if item.label["value"] == words), None)
        if same:
            same.renderers = [*same.renderers, made]
        else:
            legend.items = [*legend.items, LegendItem(label=words, renderers=[made])]


def _stand_in(where: figure, drawn: GlyphRenderer) -> GlyphRenderer:
    """Return what looks the same and draws nothing; hiding it hides what is drawn."""
    names = drawn.data_source.data  # pyright: ignore[reportAttributeAccessIssue]
    nothing = ColumnDataSource(
        {name: [np.nan] for name in names}
    )  # a legend needs one point to stand for
    made = where.add_glyph(nothing, drawn.glyph.clone())
    made.on_change("visible", lambda _, __, visible: drawn.update(visible=visible))
    return made


def fill(source: ColumnDataSource, columns: Mapping[str, NDArray[Any]]) -> None:
    """Replace a source's columns; numbers travel with the precision of a screen."""
    source.data = {name: np.asarray(column, np.float32) for name, column in columns.items()}  # pyright: ignore


def ends_around(*values: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """Return where an axis ends that holds some values with room, and seldom changes.

    >>> ends_around([0.52, 0.58, float("nan")])
    (0.5, 0.6)
    """
    all_of = np.concatenate([np.asarray(each, float) for each in values])
    all_of = all_of[np.isfinite(all_of)]
    low, high = (float(all_of.min()), float(all_of.max())) if len(all_of) else (0.0, 1.0)
    step = round_up((high - low) / 4 or abs(high) / 4 or 1.0)
    return (
        float(step * np.floor(low / step - 0.05)),
        float(step * np.ceil(high / step + 0.05)),
    )


class FollowingRange:
    """A range that follows the data until a reader zooms, and again after the reader's reset.

    Attributes:
        model: The Bokeh range.
    """

    def __init__(self) -> None:
        self.model = Range1d(start=0.0, end=1.0)
        self._set = (0.0, 1.0)

    def follow(self, start: float, end: float, *, hold: bool = False) -> None:
        """Show from `start` to `end`, unless the reader looks at something else.

        With `hold` nothing that was shown is left out: while a hand drags, an axis may only grow.
        """
        if hold:
            start, end = min(start, self._set[0]), max(end, self._set[1])
        model = self.model
        if (start, end) == self._set:
            return
        if (model.start, model.end) == self._set:
            model.update(start=start, end=end)
        model.update(reset_start=start, reset_end=end)
        self._set = (start, end)


class LiveImage:
    """An image whose values travel as one byte each; colour bar and hover show them in their unit.

    Attributes:
        source: The image and where it lies.
    """

    def __init__(
        self,
        where: figure,
        *,
        low: float,
        high: float,
        unit: str,
        logarithmic: bool = False,
        with_bar: bool = True,
    ) -> None:
        """Add an empty image to a figure.

        Args:
            where: The figure.
            low: Value of the darkest colour, and of all values below.
            high: Value of the brightest.
            unit: Of the values.
            logarithmic: Whether equal factors are equal steps of colour; `low` is positive then.
            with_bar: Whether a bar beside the figure explains the colours.
        """
        self._transform = np.log10 if logarithmic else np.asarray
        self._low, self._high = (float(self._transform(end)) for end in (low, high))
        self._smallest = low if logarithmic else -np.inf
        where.grid.visible = False
        empty = np.zeros((1, 1), np.uint8)
        self.source = ColumnDataSource(
            {"image": [empty], "x": [0.0], "y": [0.0], "dw": [1.0], "dh": [1.0]}
        )
        image = where.image(
            image="image",
            x="x",
            y="y",
            dw="dw",
            dh="dh",
            source=self.source,
            color_mapper=LinearColorMapper(palette=PALETTE, low=0, high=255),  # pyright: ignore
            level="image",
        )
        if with_bar:
            where.add_layout(_bar(low, high, unit, logarithmic), "right")
        code = f"{self._low} + value * {(self._high - self._low) / 255}"
        if logarithmic:
            code = f"return value ? Number((10 ** ({code})).toPrecision(2)).toString() : '< {low:g}'"
        else:
            code = f"return ({code}).toFixed(1)"
        in_unit = CustomJSHover(code=code)
        where.add_tools(
            HoverTool(
                renderers=[image],
                tooltips=[
                    (str(where.xaxis.axis_label), "$x{0.00}"),
                    (str(where.yaxis.axis_label), "$y{0.0}"),
                    (unit, "@image{custom}"),
                ],
                formatters={"@image": in_unit},
            )
        )

    def show(self, values: NDArray[Any], *, x: tuple[float, float], y: tuple[float, float]) -> None:
        """Show values (row, column), the lowest row first, between the given edges."""
        values = self._transform(np.maximum(values, self._smallest))
        level = (values - self._low) * (255 / (self._high - self._low))
        data = {
            "image": [np.clip(np.rint(level), 0, 255).astype(np.uint8)],
            "x": [x[0]],
            "y": [y[0]],
            "dw": [x[1] - x[0]],
            "dh": [y[1] - y[0]],
        }
        self.source.data = data  # pyright: ignore[reportAttributeAccessIssue]


def _bar(low: float, high: float, unit: str, logarithmic: bool) -> ColorBar:
    if logarithmic:
        mapper, ticker = LogColorMapper, LogTicker(num_minor_ticks=0)
    else:
        mapper = LinearColorMapper
        ticker = FixedTicker(ticks=list(np.arange(np.ceil(low), np.floor(high) + 1)))
    colours = mapper(palette=PALETTE, low=low, high=high)
    text: dict[str, Any] = {"title_text_color": NEUTRAL, "major_label_text_color": NEUTRAL}
    size: dict[str, Any] = {"width": 12, "padding": 10, "background_fill_alpha": 0.0}
    return ColorBar(color_mapper=colours, ticker=ticker, title=unit, **size, **text)
