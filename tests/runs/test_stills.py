"""Still pictures of figures: what Bokeh would draw stands in them, where it would stand."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.layouts import gridplot, row
from bokeh.models import BoxAnnotation, ColorBar, ColumnDataSource, LogColorMapper, Span, Whisker
from bokeh.plotting import figure
from bokeh.transform import linear_cmap
from PIL import Image

from physics_twins.runs.stills import stills

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def html_of(shown):
    document = Document()
    document.add_root(shown)
    return "const docs_json = " + serialize_json({"one": document.to_json(deferred=False)}) + ";"


def still(shown):
    """The one picture of a figure, as XML."""
    shown.update(width=600, height=300)
    (svg,) = stills(html_of(shown))
    return ElementTree.fromstring(svg)  # noqa: S314


def points(path):
    return np.array([[float(n) for n in pair] for pair in re.findall(r"([\d.-]+) ([\d.-]+)", path)])


def in_frame(svg, places):
    """Return places as parts of the frame, from its lower left to its upper right corner."""
    frame = points(svg.find(f".//{SVG}g[@id='patch_2']/{SVG}path").get("d"))
    (left, top), (right, bottom) = frame.min(axis=0), frame.max(axis=0)
    return (np.asarray(places) - [left, bottom]) / [right - left, top - bottom]


def drawn(svg):
    """Return what is drawn within the frame, ticks and edges left out."""
    return [each for each in svg.iter(f"{SVG}path") if each.get("clip-path")]


def parts(svg, kind):
    """Return the paths of one kind of drawing."""
    (group,) = (each for each in svg.iter(f"{SVG}g") if each.get("id") == kind)
    return group.findall(f".//{SVG}path")


def look(path):
    return dict(part.split(": ") for part in path.get("style").split("; "))


def marks(svg):
    """Return where points lie in the frame."""
    used = svg.findall(f".//{SVG}g[@id='PathCollection_1']//{SVG}use")
    return in_frame(svg, [[float(each.get("x")), float(each.get("y"))] for each in used])


def words(svg):
    return {each.text for each in svg.iter(f"{SVG}text")}


def test_a_curve_lies_between_its_axes_and_has_gaps_where_there_is_no_number():
    shown = figure(x_range=(0, 10), y_range=(-1, 1), title="A & B", x_axis_label="t (s)")
    shown.line([0, 5, 10, np.nan, 0, 5], [-1, 0, 1, 0, 0, 1], color="#D55E00", legend_label="here")
    svg = still(shown)
    (path,) = drawn(svg)
    expected = [(0, 0), (0.5, 0.5), (1, 1), (0, 0.5), (0.5, 1)]
    np.testing.assert_allclose(in_frame(svg, points(path.get("d"))), expected, atol=1e-3)
    assert path.get("d").count("M") == 2
    assert look(path)["stroke"] == "#d55e00"
    assert svg.get("aria-label") == "A & B"
    assert {"A & B", "t (s)", "0", "10", "here"} <= words(svg)


def test_a_logarithmic_axis_places_powers_evenly():
    shown = figure(x_range=(0, 1), y_range=(0.01, 100), y_axis_type="log")
    shown.scatter([0.5, 0.5, 0.5], [0.01, 1, 100])
    np.testing.assert_allclose(marks(still(shown))[:, 1], [0, 0.5, 1], atol=1e-3)


@pytest.mark.parametrize("is_log", [False, True])
def test_an_image_has_its_colours_with_the_lowest_row_beneath(is_log):
    values = np.array([[1.0, 10.0], [100.0, 1.0]])
    mapper = {"color_mapper": LogColorMapper(["#000000", "#777777", "#FFFFFF"], low=1, high=100)}
    look = mapper if is_log else {"palette": ["#000000", "#777777", "#FFFFFF"]}
    shown = figure(x_range=(0, 2)) if is_log else figure(x_range=(0, 2), y_range=(0, 2))
    shown.image([values], x=0, y=0, dw=2, dh=2, **look)
    image = still(shown).find(f".//{SVG}image")
    raw = base64.b64decode(image.get(HREF).partition(",")[2])
    colours = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    quarter = [size // 4 for size in colours.shape]
    corners = colours[quarter[0] :: 2 * quarter[0], quarter[1] :: 2 * quarter[1]][:2, :2]
    middle = 0x77 if is_log else 0x00  # 10 of 1 to 100
    upper_first = corners if "scale(1 -1)" not in image.get("transform", "") else corners[::-1]
    np.testing.assert_array_equal(upper_first, [[0xFF, 0x00], [0x00, middle]])


def test_a_mesh_has_the_colours_of_its_values():
    shown = figure(x_range=(0, 2), y_range=(0, 1))
    source = ColumnDataSource({"left": [0.0, 1.0], "right": [1.0, 2.0], "z": [0.0, 1.0]})
    shown.quad(
        left="left",
        right="right",
        bottom=0,
        top=1,
        source=source,
        fill_color=linear_cmap("z", ["#000000", "#FFFFFF"], 0, 1),
    )
    raw = base64.b64decode(still(shown).find(f".//{SVG}image").get(HREF).partition(",")[2])
    colours = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    height, width = colours.shape
    assert colours[height // 2, width // 4] == 0
    assert colours[height // 2, 3 * width // 4] == 255


def test_bands_bars_and_names_are_drawn():
    shown = figure(x_range=["fit", "truth"], y_range=(0, 4))
    source = ColumnDataSource({"who": ["fit", "truth"], "value": [1.0, 2.0]})
    shown.scatter("who", "value", source=source)
    shown.varea([0, 1], [0, 0], [1, 1])
    shown.quad(left=[0], right=[1], bottom=[0], top=[2])
    shown.segment([0], [0], [2], [4])
    svg = still(shown)
    np.testing.assert_allclose(marks(svg), [(0.25, 0.25), (0.75, 0.5)], atol=1e-3)
    assert {"fit", "truth"} <= words(svg)
    (segment,) = parts(svg, "LineCollection_1")
    np.testing.assert_allclose(in_frame(svg, points(segment.get("d"))), [(0, 0), (1, 1)], atol=1e-3)
    for kind, height in (("PolyCollection_1", 0.5), ("FillBetweenPolyCollection_1", 0.25)):
        corners = points(parts(svg, kind)[0].get("d"))
        used = svg.find(f".//{SVG}g[@id='{kind}']//{SVG}use")
        corners[:, 1] += 0 if used is None else float(used.get("y"))
        np.testing.assert_allclose(in_frame(svg, corners).max(axis=0), (0.5, height), atol=1e-3)


def test_points_keep_their_colours_marks_and_hollow_faces():
    shown = figure(x_range=(0, 2), y_range=(0, 2))
    shown.scatter([1], [1], marker="inverted_triangle", fill_color="#D55E00", line_color="black")
    shown.scatter([1], [1], fill_alpha=0, line_color="green")
    told = ColumnDataSource({"x": [0.5, 1.5], "y": [1, 1], "c": ["red", "#0072B2"]})
    shown.scatter("x", "y", fill_color="c", line_color="c", source=told)
    svg = still(shown)
    styles = [
        look(svg.findall(f".//{SVG}g[@id='PathCollection_{n}']//{SVG}use")[k])
        for n, k in ((1, 0), (2, 0), (3, 0), (3, 1))
    ]
    assert styles[0]["fill"] == "#d55e00"
    assert styles[0]["stroke"] == "#000000"
    assert styles[1].get("fill-opacity", "1") == "0" or styles[1]["fill"] == "none"
    assert styles[1]["stroke"] == "#008000"
    assert [each["fill"] for each in styles[2:]] == ["#ff0000", "#0072b2"]


def test_errors_of_what_has_a_name_stand_at_its_point():
    shown = figure(x_range=["fit", "truth"], y_range=(0, 4))
    source = ColumnDataSource({"x": ["truth"], "low": [1.0], "high": [3.0]})
    shown.add_layout(Whisker(source=source, base="x", lower="low", upper="high"))
    svg = still(shown)
    (path,) = drawn(svg)
    np.testing.assert_allclose(in_frame(svg, points(path.get("d")))[:, 0], 0.75, atol=1e-3)


def test_boxes_hold_their_words_and_a_colour_bar_tells_values():
    shown = figure(x_range=["a", "b"], y_range=["c", "d"])
    source = ColumnDataSource({"x": ["a", "b"], "y": ["c", "d"], "z": [0.0, 1.0], "t": ["12", "34"]})
    filled = linear_cmap("z", ["#000000", "#FFFFFF"], 0, 1)
    shown.rect("x", "y", width=1, height=1, fill_color=filled, source=source)
    shown.text("x", "y", text="t", source=source)
    shown.vbar(x=["a"], top=[1], width=0.5)
    shown.add_layout(ColorBar(color_mapper=filled.transform, title="part"), "right")
    assert {"12", "34", "part"} <= words(still(shown))


def test_points_whose_colours_tell_values_have_their_bar():
    shown = figure(x_range=(0, 2), y_range=(0, 2))
    source = ColumnDataSource({"x": [0.5, 1.5], "y": [1.0, 1.0], "z": [0.0, 1.0]})
    filled = linear_cmap("z", ["#000000", "#FFFFFF"], 0, 1)
    shown.scatter("x", "y", fill_color=filled, source=source)
    shown.add_layout(ColorBar(color_mapper=filled.transform, title="part"), "right")
    svg = still(shown)
    used = svg.findall(f".//{SVG}g[@id='PathCollection_1']//{SVG}use")
    assert [look(each).get("fill", "#000000") for each in used] == ["#000000", "#ffffff"]
    assert "part" in words(svg)


def test_what_cannot_be_drawn_takes_nothing_else_along():
    broken, sound = figure(title="broken"), figure(title="sound", x_range=(0, 1), y_range=(0, 1))
    broken.multi_line([[0, 1, 2]], [[0, 1]])
    sound.line([0, 1], [0, 1])
    (svg,) = stills(html_of(row(broken, sound)))
    assert 'aria-label="sound"' in svg


@pytest.mark.parametrize("values", [np.zeros((0, 0)), np.full((2, 2), np.nan), np.zeros((2, 2))])
def test_an_image_of_nothing_is_a_frame(values):
    shown = figure(x_range=(0, 2), y_range=(0, 2), title="nothing")
    mapper = LogColorMapper(["#000000", "#FFFFFF"], low=0, high=1)
    shown.image([values], x=0, y=0, dw=2, dh=2, color_mapper=mapper)
    assert still(shown).get("aria-label") == "nothing"


def test_errors_levels_and_bands_lie_where_they_are_told():
    shown = figure(x_range=(0, 2), y_range=(0, 4))
    source = ColumnDataSource({"x": [1.0], "low": [1.0], "high": [3.0]})
    shown.add_layout(Whisker(source=source, base="x", lower="low", upper="high"))
    shown.add_layout(Span(location=2.0, line_color="#009E73"))
    shown.add_layout(BoxAnnotation(bottom=1.0, top=2.0, fill_color="#009E73"))
    svg = still(shown)
    by_colour = {}
    for path in drawn(svg):
        style = look(path)
        kind = "stroke" if style.get("fill", "none") == "none" else "fill"
        by_colour[kind, style[kind]] = in_frame(svg, points(path.get("d")))
    np.testing.assert_allclose(by_colour["stroke", "#000000"], [(0.5, 0.25), (0.5, 0.75)], atol=1e-3)
    np.testing.assert_allclose(by_colour["stroke", "#009e73"], [(0, 0.5), (1, 0.5)], atol=1e-3)
    band = by_colour["fill", "#009e73"]
    assert (band.min(axis=0), band.max(axis=0)) == (
        pytest.approx((0, 0.25), abs=1e-3),
        pytest.approx((1, 0.5), abs=1e-3),
    )


@pytest.mark.parametrize("laid", [lambda all_: row(*all_), lambda all_: gridplot([all_])])
def test_figures_of_a_layout_are_drawn_in_their_order(laid):
    titled = [figure(title=name, width=200, height=200) for name in ("one", "two", "three")]
    found = stills(html_of(laid(titled)))
    assert [re.search('aria-label="(.*?)"', svg)[1] for svg in found] == ["one", "two", "three"]


def test_what_holds_no_figure_has_no_picture():
    assert stills("<p>docs_json is a word</p>") == []
    assert stills("docs_json = {damaged") == []
