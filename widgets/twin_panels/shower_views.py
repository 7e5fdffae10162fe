"""Live figures of one shower: three views in one scale of colour, and two profiles with bands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, GlyphRenderer, HoverTool
from bokeh.plotting import figure

from physics_twins.data import round_up
from physics_twins.figures.style import BLUE, GREEN, VERMILLION
from twin_panels.figures import (
    FollowingRange,
    LiveImage,
    add_to_legend,
    fill,
    frame,
    place_legend,
    retitle,
)
from twin_panels.theme import NEUTRAL

DENSITY = "MeV mm⁻²"
# From a few cells at threshold in the outermost ring to the core at 100 GeV.
DARKEST, BRIGHTEST = 1e-3, 2e3
DEPTH, RADIUS = "Depth along the path (mm)", "Distance from the path (mm)"
# Screen pixels: the front view is square, and the right column as high as the left.
TOP_HEIGHT, SIDE_HEIGHT, LONGITUDINAL_HEIGHT, FRONT_HEIGHT = 180, 220, 240, 326
LATERAL_HEIGHT = TOP_HEIGHT + SIDE_HEIGHT + LONGITUDINAL_HEIGHT - FRONT_HEIGHT
FAINTEST = 3e-2  # percent: where the lateral profile's axis ends
_LEFT: Mapping[str, Any] = {"min_width": 300, "max_width": 800}
_RIGHT: Mapping[str, Any] = {"sizing_mode": "fixed", "width": 400, "min_width": 400, "max_width": 400}


class Views:
    """A shower from above, from the side and along its path; views that share an axis share its zoom.

    Attributes:
        top: Above the plane in which the particle is inclined.
        side: In that plane, with the calorimeter's face dashed.
        front: Along the path.
        images: The images by name.
        face: The line of the calorimeter's face.
    """

    def __init__(self) -> None:
        self.depth, self._x, self._y = FollowingRange(), FollowingRange(), FollowingRange()
        self._build_top()
        self._build_side()
        self.front = frame(
            x="y, aside (mm)",
            y="x (mm)",
            height=FRONT_HEIGHT,
            x_range=self._y.model,
            y_range=self._x.model,
            **_RIGHT,
        )
        scale: dict[str, Any] = {
            "low": DARKEST,
            "high": BRIGHTEST,
            "unit": DENSITY,
            "logarithmic": True,
        }
        self.images = {
            name: LiveImage(where, with_bar=where is self.front, **scale)
            for name, where in (("top", self.top), ("side", self.side), ("front", self.front))
        }
        retitle(self.top, "From above")
        retitle(self.front, "Along the path")

    def show(self, images: xr.Dataset, theta_deg: float) -> None:
        """Bring the views to another shower.

        Args:
            images: From `projections.densities`.
            theta_deg: Its inclination.
        """
        edges = {name: _ends(images[name].values) for name in ("x", "y", "depth")}
        for name, live in self.images.items():
            rows, columns = map(str, images[name].dims)
            live.show(images[name].values, x=edges[columns], y=edges[rows])
        self._x.follow(*edges["x"])
        self._y.follow(*edges["y"])
        ends = np.array(edges["x"])
        fill(self.face, {"depth": ends * np.tan(np.deg2rad(theta_deg)), "x": ends})
        retitle(self.side, f"From the side, at {theta_deg:.3g}°; dashed: the face")

    def _build_top(self) -> None:
        ranges: dict[str, Any] = {"x_range": self.depth.model, "y_range": self._y.model}
        self.top = frame(x="", y="y, aside (mm)", height=TOP_HEIGHT, **ranges, **_LEFT)
        self.top.xaxis.major_label_text_font_size = "0px"

    def _build_side(self) -> None:
        ranges: dict[str, Any] = {"x_range": self.depth.model, "y_range": self._x.model}
        self.side = frame(x="", y="x (mm)", height=SIDE_HEIGHT, **ranges, **_LEFT)
        self.side.xaxis.major_label_text_font_size = "0px"
        self.face = ColumnDataSource({"depth": [], "x": []})
        line: dict[str, Any] = {"color": "white", "alpha": 0.8, "line_dash": "dashed"}
        self.side.line("depth", "x", source=self.face, **line)


class Profiles:
    """The energy along the path and away from it: one shower, and bands of many.

    Attributes:
        longitudinal: Figure along the path.
        lateral: Figure away from it.
        curves: The shower by profile.
        bands: Bands by profile and by whose they are, `flow` or `reference`.
        measured: Measured means with their errors by profile.
    """

    def __init__(self, depth: FollowingRange, reference: str) -> None:
        """Build the figures, still empty.

        Args:
            depth: Range of the depth, shared with the views.
            reference: What the reference is called; "" for none.
        """
        self._radius, self._part, self._share = FollowingRange(), FollowingRange(), FollowingRange()
        self.longitudinal = frame(
            x=DEPTH,
            y="Energy in a slice (%)",
            height=LONGITUDINAL_HEIGHT,
            x_range=depth.model,
            y_range=self._part.model,
            **_LEFT,
        )
        self.lateral = frame(
            x=RADIUS,
            y="Energy in a ring (%)",
            height=LATERAL_HEIGHT,
            x_range=self._radius.model,
            y_range=self._share.model,
            y_axis_type="log",
            **_RIGHT,
        )
        self.curves, self.bands, self.measured = {}, {}, {}
        self._heights: dict[str, float] = {}
        for name, where in (("longitudinal", self.longitudinal), ("lateral", self.lateral)):
            self._fill_figure(name, where, reference)
        retitle(self.lateral, "Away from the path")
        self._share.follow(FAINTEST, 100.0)

    def show(self, known: xr.Dataset, *, hold: bool = False) -> None:
        """Bring the curves to another shower: one of `projections.profiles`.

        With `hold` axes may only grow.
        """
        for name, source in self.curves.items():
            percent = 100 * known[name].values
            fill(source, {"place": _places(known[name]), "percent": _in_range(name, percent)})
        self._radius.follow(0.0, _ends(known["radius"].values)[1])
        self._make_room("shower", known["longitudinal"].values, hold=hold)

    def show_band(self, whose: str, band: xr.Dataset | None) -> None:
        """Bring a band to another population, from `projections.bands`; None empties it."""
        for name in self.curves:
            columns: dict[str, Any] = dict.fromkeys(("place", "mean", "low", "high"), np.zeros(0))
            if band is not None:
                columns = {"place": _places(band[name])}
                for column, suffix in (("mean", ""), ("low", "_low"), ("high", "_high")):
                    columns[column] = _in_range(name, 100 * band[name + suffix].values)
            fill(self.bands[name, whose], columns)
        self._make_room(whose, np.zeros(0) if band is None else band["longitudinal_high"].values)

    def show_measured(self, means: xr.Dataset | None, cells: xr.Dataset | None = None) -> None:
        """Bring the points to measured means, from `measured_showers.means`; None empties them.

        Args:
            means: They lie cell by cell where those of `cells` do, whose thickness places them.
            cells: What is shown: one of `projections.profiles`.
        """
        for name, source in self.measured.items():
            columns: dict[str, Any] = dict.fromkeys(("place", "mean", "low", "high"), np.zeros(0))
            if means is not None and cells is not None:
                mean, error = (100 * means[name + part].values for part in ("", "_error"))
                ends = (("mean", mean), ("low", mean - error), ("high", mean + error))
                columns = {"place": _places(cells[name])}
                columns |= {column: _in_range(name, values) for column, values in ends}
            fill(source, columns)
        highest = np.zeros(0)
        if means is not None:
            highest = (means["longitudinal"] + means["longitudinal_error"]).values
        self._measured_item.visible = means is not None
        self._make_room("measured", highest)

    def _make_room(self, whose: str, longitudinal: np.ndarray, *, hold: bool = False) -> None:
        """Let the longitudinal axis hold the highest of all that is drawn."""
        self._heights[whose] = 100 * float(longitudinal.max(initial=0.0))
        self._part.follow(0.0, round_up(max(1.0, *self._heights.values())), hold=hold)

    def _fill_figure(self, name: str, where: figure, reference: str) -> None:
        for whose, colour, told in (("flow", BLUE, "flow"), ("reference", GREEN, reference)):
            source = ColumnDataSource({"place": [], "mean": [], "low": [], "high": []})
            self.bands[name, whose] = source
            label = _labelled(name, f"{told}: mean and 68 %" if told else "")
            where.varea("place", "low", "high", source=source, color=colour, alpha=0.25, **label)
            dash = "dashed" if whose == "reference" else "solid"
            where.line("place", "mean", source=source, color=colour, line_dash=dash, **label)
        source = self.curves[name] = ColumnDataSource({"place": [], "percent": []})
        style: dict[str, Any] = {"color": VERMILLION, "line_width": 1.5}
        style |= _labelled(name, "this shower")
        curve = where.step("place", "percent", source=source, mode="center", **style)
        tips = [("(mm)", "@place{0.0}"), ("this shower (%)", "@percent{0.00}")]
        where.add_tools(HoverTool(renderers=[curve], tooltips=tips, mode="vline"))
        points = self._fill_points(name, where)
        if where.legend:
            place_legend(where)
            add_to_legend(where, points, "measured: mean and its error")
            self._measured_item: Any = where.legend[0].items[-1]
            self._measured_item.visible = False

    def _fill_points(self, name: str, where: figure) -> GlyphRenderer:
        source = ColumnDataSource({"place": [], "mean": [], "low": [], "high": []})
        self.measured[name] = source
        where.segment("place", "low", "place", "high", source=source, color=NEUTRAL, line_width=2)
        return where.scatter("place", "mean", source=source, color=NEUTRAL, size=5)


def _labelled(name: str, label: str) -> dict[str, Any]:
    """Return what gives a curve a label; only one of the figures has room for a legend."""
    return {"legend_label": label} if label and name == "longitudinal" else {}


def _ends(middles_mm: np.ndarray) -> tuple[float, float]:
    half = float(middles_mm[1] - middles_mm[0]) / 2
    return float(middles_mm[0]) - half, float(middles_mm[-1]) + half


def _places(profile: xr.DataArray) -> np.ndarray:
    return profile[str(profile.dims[-1])].values


def _in_range(name: str, percent: np.ndarray) -> np.ndarray:
    """Return percents that a logarithmic axis can show."""
    return np.maximum(percent, FAINTEST / 10) if name == "lateral" else percent
