"""Figures of datasets, for notebooks and the book: HoloViews elements that Bokeh draws.

Every axis carries its unit, every figure the truth or the limit beside the result, and colours tell
things apart for colour-blind readers too. Large data are averaged before they are drawn, so that a page
stays small; the title gives the size of a pixel.
"""

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.data import in_print
from physics_twins.figures.downsample import SIGMA_PER_MAD, block_mean, block_sizes, extremes, level
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    HEIGHT,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    axis,
    colour_bar,
    legend,
    styled,
)

MAX_PIXELS = (600, 256)  # no more than the screen shows: Bokeh would skip pixels, not average them
MAX_POINTS = 4000
PIXELS_PER_LETTER = 10.5  # of a title, the toolbar beside it counted
REFERENCE_COLOURS = (VERMILLION, GREEN, PURPLE, ORANGE)


def image(
    dataset: xr.Dataset,
    variable: str = "data",
    *,
    title: str = "",
    levelled: bool = False,
    max_pixels: tuple[int, int] = MAX_PIXELS,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> hv.Image:
    """Return a variable as an image, for instance against time and frequency.

    Args:
        dataset: With `variable` of two dimensions, the horizontal one first.
        variable: What to draw.
        title: What is seen; the size of a pixel is added to it, on a line of its own where the figure
            is narrow.
        levelled: Whether each row is brought to median 0 and its own noise to 1, so that a bandpass
            does not hide what is weak.
        max_pixels: The image is averaged over blocks until it has no more pixels than this.
        width: Of the figure, in screen pixels.
        height: Of the figure, in screen pixels.
    """
    array = dataset[variable]
    horizontal, vertical = array.dims
    shown = block_mean(array, max_pixels)
    if levelled:
        shown = level(shown, str(horizontal))
    axes, values = [axis(shown[horizontal]), axis(shown[vertical])], axis(shown)
    told = title or str(values.label), f"pixels of {_pixel(array, max_pixels)}"
    # A line that is longer than the figure is wide would be cut off.
    separator = "; " if len("; ".join(told)) < width / PIXELS_PER_LETTER else "\n"
    pixels = shown.transpose(vertical, horizontal).sortby([vertical, horizontal]).astype(np.float32)
    return styled(
        hv.Image(pixels.rename("value"), kdims=axes, vdims=[values]),
        clim=_colour_limits(pixels.values),
        tools=["hover"],
        title=separator.join(told),
        width=width,
        height=height,
        **colour_bar(values.pprint_label),
        **FRAME,
    )


def series(
    array: xr.DataArray,
    *,
    title: str = "",
    references: Mapping[str, xr.DataArray | float] | None = None,
    marks: xr.DataArray | None = None,
    width: int = WIDTH,
    height: int = 300,
) -> hv.Overlay:
    """Return a series against its coordinate, with reference curves and levels.

    Args:
        array: Of one dimension; of more than `MAX_POINTS` values, the lowest and highest of each
            block are drawn, so that no peak is lost.
        title: What is seen.
        references: Curves (solid) or levels (dashed), by their name in the legend.
        marks: Places on the horizontal axis to mark above the curve, for instance true arrivals.
        width: Of the figure, in screen pixels.
        height: Of the figure, in screen pixels.
    """
    place = array[array.dims[0]]
    axes = axis(place), axis(array)
    line = hv.Curve(extremes(array, MAX_POINTS), *axes, label=axes[1].label)
    parts: list[Any] = [styled(line, color=BLUE, line_width=1, tools=["hover"])]
    for n, (name, what) in enumerate((references or {}).items()):
        colour = REFERENCE_COLOURS[n % len(REFERENCE_COLOURS)]
        parts.append(_reference(what, place, axes, label=name, colour=colour))
    if marks is not None:
        above = np.full(marks.size, 1.08 * float(array.max()))
        triangles = hv.Scatter((marks.values, above), *axes, label=axis(marks).label)
        parts.append(styled(triangles, marker="inverted_triangle", size=9, color=VERMILLION))
    return styled(
        hv.Overlay(parts),
        title=title or axes[1].label,
        width=width,
        height=height,
        **legend(len(parts)),
        **FRAME,
    )


def curves(
    means: xr.DataArray,
    errors: xr.DataArray | None = None,
    *,
    title: str = "",
    limits: Mapping[str, float] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> hv.Overlay:
    """Return curves with their one-sigma bands, one for each row.

    Args:
        means: Shape (row, place); the names of the rows go into the legend.
        errors: Standard errors of the same shape.
        title: What is seen.
        limits: Dashed levels, by their name in the legend.
        width: Of the figure, in screen pixels.
        height: Of the figure, in screen pixels.
    """
    row, along = map(str, means.dims)
    place = means[along]
    axes = axis(place), axis(means)
    parts: list[Any] = []
    for n, name in enumerate(means[row].values):
        colour = (BLUE, *REFERENCE_COLOURS)[n % (1 + len(REFERENCE_COLOURS))]
        values = means.isel({row: n}).values
        if errors is not None:
            ends = (place.values, values, errors.isel({row: n}).values), axes[0], [axes[1], "error"]
            band = {"fill_alpha": 0.2, "line_alpha": 0}
            error = styled(hv.Spread(*ends), **band) if place.size > 1 else hv.ErrorBars(*ends)
            parts.append(styled(error, color=colour))
        drawn = hv.Curve if place.size > 1 else hv.Scatter  # a single place has no curve
        line = drawn((place.values, values), *axes, label=str(name))
        parts.append(styled(line, color=colour, line_width=1.5, tools=["hover"]))
    for name, value in (limits or {}).items():
        parts.append(_reference(value, place, axes, label=name, colour="black"))
    options = {"title": title or axes[1].label, "width": width, "height": height}
    return styled(hv.Overlay(parts), **options, **legend(4), **FRAME)


def _reference(
    what: xr.DataArray | float, place: xr.DataArray, axes: tuple, *, label: str, colour: str
) -> hv.Curve:
    if isinstance(what, xr.DataArray):
        curve = hv.Curve(extremes(what, MAX_POINTS), *axes, label=label)
        return styled(curve, color=colour, line_width=1.5)
    ends = [(float(place[0]), float(what)), (float(place[-1]), float(what))]
    return styled(hv.Curve(ends, *axes, label=label), color=colour, line_dash="dashed")


def _colour_limits(values: np.ndarray) -> tuple[float, float]:
    """Return limits in which noise stays dark and faint signals show; all values without noise."""
    middle = float(np.nanmedian(values))
    noise = SIGMA_PER_MAD * float(np.nanmedian(np.abs(values - middle)))
    if noise > 0:
        return middle - 1.5 * noise, middle + 5 * noise
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low, high if high > low else low + 1


def _pixel(array: xr.DataArray, max_pixels: tuple[int, ...]) -> str:
    """Return the size of a pixel in words, such as `5.02 ms x 1.25 MHz`."""
    words = []
    for dimension, n in block_sizes(array, max_pixels).items():
        coordinate = array[dimension]
        step = n * abs(float(coordinate[-1] - coordinate[0])) / max(1, coordinate.size - 1)
        units = in_print(coordinate.attrs.get("units", ""))
        milli = units == "s" and step < 0.1
        words.append(f"{step * 1000:.3g} ms" if milli else f"{step:.3g} {units}".strip())
    return " x ".join(words)
