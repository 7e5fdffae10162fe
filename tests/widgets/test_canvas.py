"""A live figure and its page: what goes there, what comes back."""

import json
import re

import numpy as np
import pytest
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from twin_panels import theme
from twin_panels.canvas import Canvas
from twin_panels.figures import fill, place_legend


@pytest.fixture
def made():
    """A figure with one labelled line, its canvas, and what is sent to the page."""
    where = figure(title="before")
    source = ColumnDataSource({"x": [], "y": []})
    line = where.line("x", "y", source=source, legend_label="line")
    place_legend(where)
    canvas = Canvas(where)
    sent = []
    canvas.send = lambda content, buffers=None: sent.append((content, buffers))
    return where, source, line, canvas, sent


def test_changes_travel_together_and_arrays_as_bytes(made):
    where, source, _, canvas, sent = made
    x = np.arange(3.0, dtype=np.float32)
    with canvas.one_patch():
        fill(source, {"x": x, "y": 2 * x})
        where.title.text = "after"
    ((content, buffers),) = sent
    patch = json.loads(content["patch"])
    assert [event["kind"] for event in patch["events"]] == ["ColumnDataChanged", "ModelChanged"]
    assert len(patch["ids"]) == len(buffers) == 2
    assert [np.frombuffer(each, np.float32).tolist() for each in buffers] == [[0, 1, 2], [0, 2, 4]]


def test_a_change_outside_a_patch_travels_alone_and_no_change_does_not(made):
    where, _, _, canvas, sent = made
    with canvas.one_patch():
        pass
    assert sent == []
    where.title.text = "after"
    assert len(sent) == 1


def test_a_patch_within_a_patch_travels_with_it(made):
    where, source, _, canvas, sent = made
    with canvas.one_patch():
        where.title.text = "first"
        with canvas.one_patch():
            fill(source, {"x": np.zeros(1), "y": np.zeros(1)})
        where.title.text = "last"
    ((content, _),) = sent
    events = json.loads(content["patch"])["events"]
    assert [event.get("new") for event in events] == ["first", None, "last"]


def test_what_a_reader_changes_comes_to_the_figure_and_is_not_sent_back(made):
    where, _, _, canvas, sent = made
    where.x_range.update(start=0.0, end=1.0)
    sent.clear()
    event = {"kind": "ModelChanged", "model": {"id": where.x_range.id}, "attr": "end", "new": 7.5}
    canvas._handle_custom_msg({"events": [event]}, [])
    assert where.x_range.end == 7.5
    assert sent == []


@pytest.mark.parametrize("content", ["text", {}, {"events": []}, None])
def test_what_a_page_says_otherwise_changes_nothing(made, content):
    *_, canvas, sent = made
    before = canvas._now()
    canvas._handle_custom_msg(content, [])
    assert (canvas._now(), sent) == (before, [])


def test_a_page_that_missed_something_is_given_the_whole_of_now(made):
    where, _, _, canvas, _ = made
    where.title.text = "after"
    assert "after" not in canvas._whole
    canvas._handle_custom_msg({"whole": True}, [])
    assert "after" in canvas._whole


def test_what_the_legend_hides_is_hidden_although_its_entries_have_no_data(made):
    where, source, line, _, _ = made
    (entry,) = where.legend.items
    (stand_in,) = entry.renderers
    assert source not in where.legend.references()
    assert [len(column) for column in stand_in.data_source.data.values()] == [1, 1]
    stand_in.visible = False
    assert not line.visible


def test_the_page_looks_for_panels_by_their_class():
    assert f'".{theme.CLASS}"' in Canvas._esm


def test_a_still_is_the_frame_of_the_last_refresh_and_no_text_ends_its_script(made):
    where, _, _, canvas, _ = made
    where.title.text = "after </script>"
    canvas.refresh()
    page = canvas.still()
    assert page.count("</script>") == 1
    item = json.loads(re.search(r", \(\) => \((.*)\)\)</script>", page)[1])
    (root,) = item["doc"]["roots"]
    assert (root["id"], root["attributes"]["title"]["attributes"]["text"]) == (
        item["root_id"],
        "after </script>",
    )
    assert f'<div id="{item["target_id"]}">' in page
