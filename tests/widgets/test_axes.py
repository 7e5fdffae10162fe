"""Axes of panels: what a control can reach lies inside, and they hold while a hand drags."""

from typing import Any

import numpy as np
import pytest
from bokeh.models import GlyphRenderer, Line, Plot, Step

from physics_twins.figures.style import PURPLE, SKY
from twin_panels.calorimeter import CalorimeterPanel
from twin_panels.controls import SHOWN
from twin_panels.figures import FollowingRange
from twin_panels.panel import Panel
from twin_panels.pulsar import PulsarPanel
from twin_panels.shower_views import FAINTEST
from twin_panels.virgo import VirgoPanel

PANELS = {"pulsar": PulsarPanel, "calorimeter": CalorimeterPanel, "virgo": VirgoPanel}


@pytest.fixture(scope="module")
def panels() -> dict[str, Panel[Any]]:
    """One of each, in which nothing is computed beside."""
    made = {name: panel() for name, panel in PANELS.items()}
    for each in made.values():
        each._background.ask = lambda *_, **__: None
    return made


def sliders(panel: Panel[Any]) -> list[str]:
    """Names of the open controls that have a slider."""
    names = [name for name, info in panel.controls.about.items() if not info.folded][:SHOWN]
    return [name for name in names if panel.controls[name].slider is not None]


def beyond(panel: Panel[Any]) -> list[str]:
    """What of the curves of now lies beyond its axes; of a zoomed profile what is within its x."""
    found: list[str] = []
    where: Any
    drawn: Any
    for where in panel.figure.select({"type": Plot}):
        (left, right), (low, high) = ((r.start, r.end) for r in (where.x_range, where.y_range))
        for drawn in where.select({"type": GlyphRenderer}):
            glyph = drawn.glyph
            if not isinstance(glyph, Line | Step) or glyph.line_color in (SKY, PURPLE):
                continue
            names = [getattr(name, "field", name) for name in (glyph.x, glyph.y)]
            x, y = (np.asarray(drawn.data_source.data[name], float) for name in names)
            if names[1] == "frequency" and ((x < left) | (x > right)).any():
                found.append(f"{where.title.text}: {x.min():g} to {x.max():g} along x")
            y = y[(x >= left) & (x <= right) & np.isfinite(y)]
            y = y[y >= FAINTEST] if low == FAINTEST else y  # zero has no place on a logarithmic axis
            if ((y < low) | (y > high)).any():
                found.append(
                    f"{where.title.text}: {y.min():g} to {y.max():g}, axis {low:g} to {high:g}"
                )
    return found


@pytest.mark.parametrize("name", PANELS)
def test_at_both_ends_of_each_open_slider_all_curves_lie_inside_their_axes(panels, name):
    panel = panels[name]
    wrong = {}
    for control in sliders(panel):
        for position in (0.0, 1.0):
            panel.controls[control].slider.value = position
            assert panel.error == "", (control, position)
            wrong[control, position] = beyond(panel)
        panel.controls.reset()
    assert not any(wrong.values()), {each: told for each, told in wrong.items() if told}


def test_a_curve_beyond_its_axis_is_seen(panels):
    panel = panels["pulsar"]
    panel.residual.y_range.update(start=-1.0, end=1.0)
    assert beyond(panel)
    panel.residual.y_range.update(start=-5.0, end=5.0)


def test_while_a_hand_drags_axes_only_grow_and_a_new_move_fits_them(panels):
    panel = panels["pulsar"]
    slider = panel.controls["dm_pc_cm3"].slider
    assert panel.controls["dm_pc_cm3"].value == 56.77
    slider.value = 0.5
    far = panel.waterfall.x_range.end
    slider.value = 0.2
    assert panel.drags
    assert panel.waterfall.x_range.end == far
    panel.controls["width_ms"].value *= 1.1
    assert not panel.drags
    assert panel.waterfall.x_range.end < far
    panel.controls.reset()


def test_a_range_that_holds_leaves_nothing_out():
    shown = FollowingRange()
    shown.follow(-1.0, 5.0)
    shown.follow(-2.0, 3.0, hold=True)
    assert (shown.model.start, shown.model.end) == (-2.0, 5.0)
    shown.follow(-2.0, 3.0)
    assert (shown.model.start, shown.model.end) == (-2.0, 3.0)
