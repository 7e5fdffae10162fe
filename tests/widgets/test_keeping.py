"""Curves that are kept: before the last move, and pinned."""

import numpy as np
import pytest
from bokeh.models import ColumnDataSource

from physics_twins.figures.style import BLUE
from physics_twins.pulsar.parameters import ObservationParameters
from twin_panels.figures import fill, frame, place_legend
from twin_panels.keeping import BEFORE, Comparison
from twin_panels.pulsar import PulsarPanel


def shown(where, colour):
    """The curve of a colour that a figure shows."""
    of_colour = [each for each in where.renderers if each.glyph.line_color == colour]
    data = of_colour[0].data_source.data  # after it comes what stands in the legend
    return np.asarray(data["x"]), np.asarray(data["y"])


@pytest.fixture
def made():
    where, change = frame(x="", y="", height=200), frame(x="", y="", height=100)
    now = ColumnDataSource({"t": [0.0, 1.0, 2.0], "s": [1.0, 2.0, 4.0]})
    comparison = Comparison()
    comparison.watch(where, now, "t", "s", change)
    return where, change, now, comparison


def test_a_legend_says_what_the_curve_before_a_move_is_and_one_entry_hides_all_of_them():
    where = frame(x="", y="", height=200)
    now = ColumnDataSource({"t": [0.0, 1.0], "s": [1.0, 2.0], "u": [0.0, 0.0]})
    where.line("t", "s", source=now, color="red", legend_label="now")
    place_legend(where)
    comparison = Comparison()
    for name in ("s", "u"):
        comparison.watch(where, now, "t", name)
    entries = {item.label["value"]: item.renderers for item in where.legend.items}
    assert list(entries) == ["now", "before the last move"]
    for each in entries["before the last move"]:
        each.visible = False
    kept = [each for each in where.renderers if each.glyph.line_color == "#56B4E9"]
    assert len(kept) == 4  # two curves, and what stands for them
    assert not any(each.visible for each in kept)


def test_the_curve_before_a_move_stays(made):
    where, _, now, comparison = made
    comparison.moved()
    fill(now, {"t": np.arange(3.0), "s": np.zeros(3)})
    assert shown(where, "#56B4E9")[1].tolist() == [1, 2, 4]


def test_what_differs_from_a_pinned_curve_is_drawn_at_the_places_of_now(made):
    where, change, now, comparison = made
    pinned = ObservationParameters()
    comparison.pin(pinned)
    fill(now, {"t": np.array([0.5, 1.5, 3.0]), "s": np.array([5.0, 5.0, 5.0])})
    comparison.follow(pinned.replace(dm_pc_cm3=100.0))
    assert shown(where, "#CC79A7")[1].tolist() == [1, 2, 4]
    x, y = shown(change, "#CC79A7")
    assert x.tolist() == [0.5, 1.5, 3.0]
    assert y[:2].tolist() == [3.5, 2.0]
    assert np.isnan(y[2])  # the pinned one does not go so far
    assert "Dispersion measure: 56.77 → 100.0 pc cm⁻³" in comparison.told.value
    comparison.unpin()
    assert not len(shown(where, "#CC79A7")[0])
    assert comparison.told.value == ""


def test_on_a_logarithmic_axis_their_ratio_is_drawn():
    where = frame(x="", y="", height=200)
    change = frame(x="", y="", height=100, y_axis_type="log")
    now = ColumnDataSource({"t": [0.0, 1.0], "s": [1.0, 2.0]})
    comparison = Comparison()
    comparison.watch(where, now, "t", "s", change)
    comparison.pin(ObservationParameters())
    fill(now, {"t": np.arange(2.0), "s": np.array([3.0, 3.0])})
    comparison.follow(ObservationParameters())
    assert shown(change, "#CC79A7")[1].tolist() == [3.0, 1.5]


def test_a_drag_leaves_one_curve_and_a_pin_stays_until_it_is_let_go():
    panel = PulsarPanel()
    first = np.asarray(panel.curves.data["signal"])
    for dm_pc_cm3 in (60.0, 61.0, 62.0):  # one drag
        panel.controls["dm_pc_cm3"].value = dm_pc_cm3
    assert shown(panel.profile, "#56B4E9")[1] == pytest.approx(first)
    panel.buttons["Pin"].click()
    pinned = np.asarray(panel.curves.data["signal"])
    panel.controls["dm_pc_cm3"].value = 56.77
    assert shown(panel.profile, "#CC79A7")[1] == pytest.approx(pinned)
    assert len(shown(panel.residual, "#CC79A7")[0]) == len(pinned)
    assert "Dispersion measure: 62.0 → 56.77" in panel.comparison.told.value
    panel.controls["dm_pc_cm3"].value = 62.0
    panel.buttons["Pin"].click()
    assert panel.comparison.told.value == ""


def contrast(colour, alpha, ground):
    """By WCAG 2.1: of a colour that is so much through, against a ground."""

    def luminance(channels):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    one, other = ([int(c[n : n + 2], 16) / 255 for n in (1, 3, 5)] for c in (colour, ground))
    mixed = [alpha * a + (1 - alpha) * b for a, b in zip(one, other, strict=True)]
    dark, light = sorted((luminance(mixed), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["#FFFFFF", "#111111"])  # of the lab, light and dark
def test_the_curve_before_a_move_stands_back_behind_that_of_now_in_both_themes(ground):
    now = contrast(BLUE, 1, ground)
    assert 1.3 < contrast(BEFORE["color"], BEFORE["alpha"], ground) < now
    dark = "#111111"
    assert contrast(BEFORE["color"], 1, dark) > contrast(BLUE, 1, dark)  # as it was
