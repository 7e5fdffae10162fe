"""Figures of datasets, for notebooks and the book: HoloViews elements that Bokeh draws.

Every axis carries its unit, every figure the truth or the limit beside the result, and colours tell
things apart for colour-blind readers too. Large data are averaged before they are drawn, so that a page
stays small; the title gives the size of a pixel.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import holoviews as hv
import holoviews.plotting.bokeh  # the options below need the backend
import numpy as np
import xarray as xr
from IPython import get_ipython
from IPython.display import publish_display_data
from IPython.utils.capture import capture_output

from physics_twins.data.quantities import in_print
from physics_twins.figures.downsample import SIGMA_PER_MAD, block_mean, block_sizes, extremes, level

WIDTH, HEIGHT = 690, 350  # screen pixels of a figure that fills a column of the book
MAX_PIXELS = (600, 256)  # no more than the screen shows: Bokeh would skip pixels, not average them
MAX_POINTS = 4000
# What the best boxcar recovers of a Gaussian pulse's ideal S/N (Morello et al. 2020, MNRAS 497, 4654).
BOXCAR_LIMIT = 0.943

COLOUR_MAP = "viridis"  # even in brightness, and to colour-blind readers
# Okabe & Ito 2008, Color Universal Design.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILLION, GREY = "#D55E00", "#8C8C8C"
REFERENCE_COLOURS = (VERMILLION, GREEN, PURPLE, ORANGE)
LABELS = {  # what a search calls a candidate: name, colour, marker
    "pulse": ("pulse", BLUE, "circle"),
    "nbrfi": ("narrow-band interference", ORANGE, "square"),
    "bbrfi": ("broad-band interference", PURPLE, "triangle"),
    "none": ("noise", GREY, "diamond"),
}
COMPONENTS = {
    "pulses": "Pulses",
    "narrowband": "Narrow-band interference",
    "broadband": "Broad-band interference",
    "noise": "Receiver noise",
}
BAR = {"width": 12, "padding": 14, "title_standoff": 6}
# The wheel scrolls the page; a drag zooms.
FRAME = {"active_tools": ["box_zoom"], "toolbar": "above"}


def load_extension(*, again: bool = True) -> None:
    """Let figures and panels draw in this notebook, without network, by putting their scripts into it.

    Args:
        again: Whether to do so although this kernel has done it for this page before.
    """
    page = _page()
    if not again and page in _LOADED:
        return
    _LOADED.add(page)
    with capture_output(stdout=False, stderr=False) as captured:
        hv.extension("bokeh", inline=True, logo=False)  # pyright: ignore[reportCallIssue]
    for output in captured.outputs:
        # The scripts wait 100 ms for older ones; a live panel needs Bokeh as soon as it is shown.
        data = {kind: text.replace(_WAITS, _AT_ONCE) for kind, text in output.data.items()}
        publish_display_data(data, output.metadata)


def _page() -> str:
    """Return which page runs this cell: a browser that loads it again has nothing of before."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel.get_parent().get("header", {}).get("session", "") if kernel else ""


_LOADED: set[str] = set()
_WAITS, _AT_ONCE = "setTimeout(load_or_wait, 100)\n}(window));", "load_or_wait()\n}(window));"


def waterfall(
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
        title: What is seen; the size of a pixel is added to it.
        levelled: Whether each row is brought to median 0 and its own noise to 1, so that a bandpass
            does not hide what is weak.
        max_pixels: The image is averaged over blocks until it has no more pixels than this.
        width: Of the figure, in screen pixels.
        height: Of the figure, in screen pixels.
    """
    array = dataset[variable]
    horizontal, vertical = array.dims
    image = block_mean(array, max_pixels)
    if levelled:
        image = level(image, str(horizontal))
    axes = [_axis(image[horizontal]), _axis(image[vertical])]
    pixels = image.transpose(vertical, horizontal).sortby([vertical, horizontal]).astype(np.float32)
    return styled(
        hv.Image(pixels.rename("value"), kdims=axes, vdims=[_value(image)]),
        cmap=COLOUR_MAP,
        clim=_colour_limits(pixels.values),
        colorbar=True,
        colorbar_opts={"title": _value(image).pprint_label, **BAR},
        tools=["hover"],
        title=f"{title or _label(array)}; pixels of {_pixel(array, max_pixels)}",
        width=width,
        height=height,
        **FRAME,
    )


def components(dataset: xr.Dataset, titles: Mapping[str, str] | None = None) -> hv.Layout:
    """Return what a simulation put into its data, each component as a small image.

    Args:
        dataset: With the components as variables.
        titles: Title of each variable to show; `COMPONENTS` by default.
    """
    most = (200, 128)
    images = [
        styled(
            waterfall(dataset, name, max_pixels=most, width=345, height=250),
            title=f"{title}\npixels of {_pixel(dataset[name], most)}",  # one line would be cut off
            fontsize={"title": 9},
        )
        for name, title in (titles or COMPONENTS).items()
    ]
    return hv.Layout(images).cols(2)


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
    axes = _axis(place), _value(array)
    line = hv.Curve(extremes(array, MAX_POINTS), *axes, label=_label(array))
    parts: list[Any] = [styled(line, color=BLUE, line_width=1, tools=["hover"])]
    for n, (name, what) in enumerate((references or {}).items()):
        colour = REFERENCE_COLOURS[n % len(REFERENCE_COLOURS)]
        parts.append(_reference(what, place, axes, label=name, colour=colour))
    if marks is not None:
        above = np.full(marks.size, 1.08 * float(array.max()))
        triangles = hv.Scatter((marks.values, above), *axes, label=_label(marks))
        parts.append(styled(triangles, marker="inverted_triangle", size=9, color=VERMILLION))
    return styled(
        hv.Overlay(parts),
        title=title or _label(array),
        width=width,
        height=height,
        **legend(len(parts)),
        **FRAME,
    )


def candidates(result: xr.Dataset, truth: xr.Dataset | None = None, *, title: str = "") -> hv.Layout:
    """Return the candidates of a search: DM against time, and beside it DM against S/N.

    Args:
        result: With `time_s`, `dm_pc_cm3`, `snr` and `label` (candidate). Where the attributes
            `dm_min_pc_cm3` and `dm_max_pc_cm3` say what was searched, all of it is shown.
        truth: With `pulse_time_s` and `pulse_snr_ideal` (pulse) and the attribute `dm_pc_cm3`; drawn
            as open circles.
        title: What is seen; how many candidates have which label by default.
    """
    labels = result["label"].values.astype(str)
    present = [name for name in [*LABELS, *np.setdiff1d(labels, [*LABELS])] if name in labels]
    counts = [f"{(labels == name).sum()} {_shown(name)[0]}" for name in present]
    time = hv.Dimension("time_s", label="Time", unit="s")
    searched = tuple(result.attrs.get(f"dm_{end}_pc_cm3") for end in ("min", "max"))
    dm = hv.Dimension("dm_pc_cm3", label="DM", unit=in_print("pc cm-3"), range=searched)
    snr = hv.Dimension("snr", label="S/N")
    planes = []
    for across, other, width in ((time, snr, 430), (snr, time, 255)):
        axes = (across, dm, other)
        parts = [_true_points(truth, axes)] if truth is not None else []
        parts += [_points(result.isel(candidate=labels == name), name, axes) for name in present]
        plane = hv.Overlay(parts or [hv.Points(([], [], []), [across, dm], [other])])
        planes.append(styled(plane, width=width, height=400, padding=0.08, **FRAME))
    styled(planes[0], title=title or "Candidates: " + (", ".join(counts) or "none"), **legend(5))
    styled(planes[1], title="The same by S/N", show_legend=False, show_grid=True)
    return hv.Layout(planes).cols(2)


def recovered_against_ideal(evaluation: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the S/N a search found against the ideal S/N, with the limit of any boxcar search.

    Args:
        evaluation: With `pulse_snr_ideal`, `snr` (not a number where missed) and `complete` (pulse).
        title: What is seen; how many pulses were found by default.
    """
    ideal, snr = evaluation["pulse_snr_ideal"].values, evaluation["snr"].values
    found, complete = np.isfinite(snr), evaluation["complete"].values.astype(bool)
    axes = hv.Dimension("ideal", label="Ideal S/N"), hv.Dimension("snr", label="S/N found")
    end = 1.08 * float(np.nanmax([*ideal, *snr[found], 1.0]))
    parts: list[Any] = [
        _line(end, axes, 1.0, label="ideal: matched filter", color="black"),
        _line(end, axes, BOXCAR_LIMIT, label="best boxcar", color=GREEN, line_dash="dashed"),
    ]
    bars = (ideal[found], snr[found], np.ones(found.sum()))
    parts.append(styled(hv.ErrorBars(bars, axes[0], [axes[1], "error"]), color=GREY))
    for chosen, label, colour, marker in (
        (found & complete, "found", BLUE, "circle"),
        (found & ~complete, "found, although cut by the end", ORANGE, "diamond"),
        (~found & complete, "missed", VERMILLION, "x"),
    ):
        if chosen.any():
            points = hv.Scatter((ideal[chosen], np.nan_to_num(snr[chosen])), *axes, label=label)
            parts.append(styled(points, color=colour, marker=marker, size=10, tools=["hover"]))
    counts = f"{(found & complete).sum()} of {complete.sum()} pulses found"
    overlay = hv.Overlay(parts)
    return styled(overlay, title=title or counts, width=520, height=500, **legend(3), **FRAME)


_Figure = TypeVar("_Figure")


def styled(figure: _Figure, **options: Any) -> _Figure:
    """Return a figure with Bokeh's options set; a title is taken literally."""
    if "title" in options:  # HoloViews would fill in what stands in braces
        options["title"] = options["title"].replace("{", "{{").replace("}", "}}")
    figure.opts(**options, backend="bokeh")  # pyright: ignore[reportAttributeAccessIssue]
    return figure


def _line(end: float, axes: tuple, slope: float, *, label: str, **style: Any) -> hv.Curve:
    """Return a line from the origin."""
    return styled(hv.Curve([(0, 0), (end, slope * end)], *axes, label=label), **style)


def _reference(
    what: xr.DataArray | float, place: xr.DataArray, axes: tuple, *, label: str, colour: str
) -> hv.Curve:
    if isinstance(what, xr.DataArray):
        curve = hv.Curve(extremes(what, MAX_POINTS), *axes, label=label)
        return styled(curve, color=colour, line_width=1.5)
    ends = [(float(place[0]), float(what)), (float(place[-1]), float(what))]
    return styled(hv.Curve(ends, *axes, label=label), color=colour, line_dash="dashed")


def _points(chosen: xr.Dataset, name: str, axes: tuple) -> hv.Points:
    label, colour, marker = _shown(name)
    columns = tuple(chosen[axis.name].values for axis in axes)
    points = hv.Points(columns, list(axes[:2]), [axes[2]], label=label)
    return styled(points, color=colour, marker=marker, size=9, tools=["hover"])


def _true_points(truth: xr.Dataset, axes: tuple) -> hv.Points:
    columns = {
        "time_s": truth["pulse_time_s"].values,
        "snr": truth["pulse_snr_ideal"].values,
        "dm_pc_cm3": np.full(truth.sizes["pulse"], float(truth.attrs["dm_pc_cm3"])),
    }
    points = hv.Points(
        tuple(columns[axis.name] for axis in axes), list(axes[:2]), [axes[2]], label="true pulse"
    )
    return styled(points, fill_alpha=0, line_color="black", size=15, tools=["hover"])


def _shown(name: str) -> tuple[str, str, str]:
    """Return name, colour and marker of a label."""
    return LABELS.get(name, (name, GREEN, "star"))


def legend(n_columns: int) -> dict[str, Any]:
    """Return options that put the legend above the frame, where it covers nothing."""
    flat = {"location": "top_left", "border_line_alpha": 0, "padding": 2, "margin": 0, "spacing": 16}
    return {
        "legend_position": "top",
        "legend_cols": n_columns,
        "legend_opts": flat,
        "show_grid": True,
    }


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


def _axis(coordinate: xr.DataArray) -> hv.Dimension:
    units = in_print(coordinate.attrs.get("units", ""))
    return hv.Dimension(str(coordinate.name), label=_label(coordinate), unit=units or None)


def _value(array: xr.DataArray) -> hv.Dimension:
    units = in_print(array.attrs.get("units", ""))
    return hv.Dimension("value", label=_label(array), unit=units or None)


def _label(array: xr.DataArray) -> str:
    """Return an array's name in words, without the unit that it may end in."""
    unit_suffix = "_" + str(array.attrs.get("units", "")).lower().replace(" ", "_").replace("-", "")
    words = str(array.attrs.get("long_name", str(array.name).removesuffix(unit_suffix)))
    return words[:1].upper() + words[1:].replace("_", " ")
