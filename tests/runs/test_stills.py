"""Still pictures of figures: what Bokeh would draw stands in them, where it would stand."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.models import BoxAnnotation, ColumnDataSource, LogColorMapper, Span, Whisker
from bokeh.plotting import figure
from PIL import Image

from physics_twins.runs.stills import stills

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}
LEFT, RIGHT, TOP, BOTTOM = 62, 600 - 14, 26, 300 - 42


def still(shown):
    """The one picture of a figure, as XML."""
    shown.update(width=600, height=300)
    document = Document()
    document.add_root(shown)
    html = "const docs_json = " + serialize_json({"one": document.to_json(deferred=False)}) + ";"
    (svg,) = stills(html)
    return ElementTree.fromstring(svg)  # noqa: S314


def points(path):
    return np.array(
        [[float(n) for n in pair.split(",")] for pair in re.findall(r"[\d.-]+,[\d.-]+", path)]
    )


def test_a_curve_lies_between_its_axes_and_has_gaps_where_there_is_no_number():
    shown = figure(x_range=(0, 10), y_range=(-1, 1), title="A & B", x_axis_label="t (s)")
    shown.line([0, 5, 10, np.nan, 0], [-1, 0, 1, 0, 0], color="#D55E00")
    svg = still(shown)
    (path,) = svg.iterfind(".//svg:g/svg:path", NAMESPACE)
    middle = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    expected = [(LEFT, BOTTOM), middle, (RIGHT, TOP), (LEFT, middle[1])]
    np.testing.assert_allclose(points(path.get("d")), expected, atol=0.06)
    assert path.get("d").count("M") == 2
    assert path.get("stroke") == "#D55E00"
    assert svg.get("aria-label") == "A & B"
    words = [text.text for text in svg.iterfind(".//svg:text", NAMESPACE)]
    assert {"A & B", "t (s)", "0", "10", "-1", "1"} <= {*words}


def test_a_logarithmic_axis_places_powers_evenly():
    shown = figure(x_range=(0, 1), y_range=(0.01, 100), y_axis_type="log")
    shown.scatter([0.5, 0.5, 0.5], [0.01, 1, 100])
    heights = [float(c.get("cy")) for c in still(shown).iterfind(".//svg:circle", NAMESPACE)]
    assert heights == pytest.approx([BOTTOM, (TOP + BOTTOM) / 2, TOP], abs=0.06)


@pytest.mark.parametrize("is_log", [False, True])
def test_an_image_has_its_colours_with_the_lowest_row_beneath(is_log):
    values = np.array([[1.0, 10.0], [100.0, np.nan]])
    mapper = {"color_mapper": LogColorMapper(["#000000", "#777777", "#FFFFFF"], low=1, high=100)}
    look = mapper if is_log else {"palette": ["#000000", "#777777", "#FFFFFF"]}
    shown = figure(x_range=(0, 2)) if is_log else figure(x_range=(0, 2), y_range=(0, 2))
    shown.image([values], x=0, y=0, dw=2, dh=2, **look)
    (image,) = still(shown).iterfind(".//svg:image", NAMESPACE)
    raw = base64.b64decode(image.get("href").partition(",")[2])
    colours = np.asarray(Image.open(io.BytesIO(raw)).convert("L"))
    middle = 0x77 if is_log else 0x00  # 10 of 1 to 100
    np.testing.assert_array_equal(colours, [[0xFF, 0x00], [0x00, middle]])
    assert [float(image.get(n)) for n in ("x", "y")] == [LEFT, TOP]


def test_bands_bars_and_names_are_drawn():
    shown = figure(x_range=["fit", "truth"], y_range=(0, 4))
    source = ColumnDataSource({"who": ["fit", "truth"], "value": [1.0, 2.0]})
    shown.scatter("who", "value", source=source)
    shown.varea([0, 1], [0, 0], [1, 1])
    shown.quad(left=[0], right=[1], bottom=[0], top=[2])
    svg = still(shown)
    places = [float(c.get("cx")) for c in svg.iterfind(".//svg:circle", NAMESPACE)]
    quarter = (RIGHT - LEFT) / 4
    assert places == pytest.approx([LEFT + quarter, LEFT + 3 * quarter])
    assert {"fit", "truth"} <= {text.text for text in svg.iterfind(".//svg:text", NAMESPACE)}
    assert svg.find(".//svg:g/svg:rect", NAMESPACE) is not None


def test_errors_levels_and_bands_lie_where_they_are_told():
    shown = figure(x_range=(0, 2), y_range=(0, 4))
    source = ColumnDataSource({"x": [1.0], "low": [1.0], "high": [3.0]})
    shown.add_layout(Whisker(source=source, base="x", lower="low", upper="high"))
    shown.add_layout(Span(location=2.0, line_color="#009E73"))
    shown.add_layout(BoxAnnotation(bottom=1.0, top=2.0, fill_color="#009E73"))
    svg = still(shown)
    band, level, errors = (
        svg.find(".//svg:g", NAMESPACE)[1],
        *svg.iterfind(".//svg:g/svg:path", NAMESPACE),
    )
    quarter = (BOTTOM - TOP) / 4
    assert errors.get("d") == f"M{(LEFT + RIGHT) / 2:.1f},{TOP + 3 * quarter:.1f}V{TOP + quarter:.1f}"
    assert level.get("d").startswith(f"M0,{TOP + 2 * quarter:.1f}H")
    assert float(band.get("y")) == pytest.approx(TOP + 2 * quarter)
    assert float(band.get("height")) == pytest.approx(quarter)
    assert band.get("fill") == level.get("stroke") == "#009E73"


def test_what_holds_no_figure_has_no_picture():
    assert stills("<p>docs_json is a word</p>") == []
