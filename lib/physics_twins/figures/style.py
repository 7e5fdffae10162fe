"""What all figures have in common: colours, frame and axes."""

from typing import Any, TypeVar

import holoviews as hv
import holoviews.plotting.bokeh  # the options below need the backend
import xarray as xr

from physics_twins.data import in_print

WIDTH, HEIGHT = 690, 350  # screen pixels of a figure that fills a column of the book
# Okabe & Ito 2008, Color Universal Design.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILLION, SKY, GREY = "#D55E00", "#56B4E9", "#8C8C8C"
# The wheel scrolls the page; a drag zooms.
FRAME = {"active_tools": ["box_zoom"], "toolbar": "above"}

_Figure = TypeVar("_Figure")


def styled(figure: _Figure, **options: Any) -> _Figure:
    """Return a figure with Bokeh's options set; a title is taken literally."""
    if "title" in options:  # HoloViews would fill in what stands in braces
        options["title"] = options["title"].replace("{", "{{").replace("}", "}}")
    figure.opts(**options, backend="bokeh")  # pyright: ignore[reportAttributeAccessIssue]
    return figure


def legend(n_columns: int) -> dict[str, Any]:
    """Return options that put the legend above the frame, where it covers nothing."""
    flat = {"location": "top_left", "border_line_alpha": 0, "padding": 2, "margin": 0, "spacing": 16}
    return {
        "legend_position": "top",
        "legend_cols": n_columns,
        "legend_opts": flat,
        "show_grid": True,
    }


def colour_bar(title: str) -> dict[str, Any]:
    """Return options that show values as colours, even in brightness, with a bar beside the frame."""
    bar = {"title": title, "width": 12, "padding": 14, "title_standoff": 6}
    return {"cmap": "viridis", "colorbar": True, "colorbar_opts": bar}


def axis(array: xr.DataArray) -> hv.Dimension:
    """Return the axis of a coordinate or of an array's values, with its name in words and its unit."""
    units = in_print(array.attrs.get("units", ""))
    name = str(array.name) if array.name in array.coords else "value"
    return hv.Dimension(name, label=_name_of(array), unit=units or None)


def _name_of(array: xr.DataArray) -> str:
    """Return an array's name in words, without the unit that it may end in."""
    unit_suffix = "_" + str(array.attrs.get("units", "")).lower().replace(" ", "_").replace("-", "")
    words = str(array.attrs.get("long_name", str(array.name).removesuffix(unit_suffix)))
    return words[:1].upper() + words[1:].replace("_", " ")
