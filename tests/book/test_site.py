"""The site of the tour and of the panels' pictures."""

import os

import make_site
import pytest
import reading
from small_notebooks import OPEN, PERIOD, SAVE, write_notebook
from sources import TESTS

from physics_twins import runs

REPORT = """<div class="twin-run">Run <code>r</code> <a href="a.csv">a.csv</a></div>
<a href="../pulsar/1_simulate.ipynb">one</a> <a href="2_more.ipynb" target="x">two</a>
<a href="https://a.example/b.ipynb">far</a> <a href="#b">here</a>"""


def test_links_lead_to_pages_of_the_site_or_are_words():
    names = ["tour/first", "pulsar/1_simulate"]
    assert make_site.linked(REPORT, "tour/first", names).split("\n") == [
        '<div class="twin-run">Run <code>r</code> a.csv</div>',
        '<a href="../pulsar/1_simulate.html">one</a> two',
        '<a href="https://a.example/b.ipynb">far</a> <a href="#b">here</a>',
    ]


def test_every_notebook_with_a_panel_and_the_tour_are_pages():
    with_panel = {name for name in runs.available() if "Panel(" in runs.notebook(name).path.read_text()}
    assert with_panel == set(make_site.PAGES)


@pytest.mark.slow
def test_a_site_is_whole_and_says_when_a_notebook_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHYSICS_TWINS_RUNS", str(tmp_path / "runs"))
    path = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    folder = tmp_path / "notebooks" / "pendulum"
    write_notebook(folder / "1_look.ipynb", OPEN, PERIOD, SAVE, "run")
    write_notebook(folder / "2_break.ipynb", "1 / 0")
    make_site.write(tmp_path / "site", ["pendulum/1_look"])
    assert reading.broken_links(tmp_path / "site") == []
    assert 'href="pendulum/1_look.html"' in (tmp_path / "site" / "index.html").read_text()
    page = (tmp_path / "site" / "pendulum" / "1_look.html").read_text()
    assert "swings.csv" in page
    assert "<code>runs/pendulum/1_look/" in page
    assert str(tmp_path) not in page
    with pytest.raises(ValueError, match="2_break ended as failed"):
        make_site.write(tmp_path / "site", ["pendulum/2_break"])
