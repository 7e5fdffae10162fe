"""The start page leads to every notebook and says whether the installation works."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient
from sources import ROOT

from physics_twins import runs
from twin_panels import run_views

NOTEBOOKS = ROOT / "notebooks"
LARGEST_PICTURE_BYTES = 60_000


def prose() -> str:
    start = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4)
    return "\n".join(cell.source for cell in start.cells if cell.cell_type == "markdown")


def linked() -> set[str]:
    return set(re.findall(r"\]\(([^)#]+\.ipynb)\)", prose()))


def test_every_notebook_of_a_twin_is_linked_and_no_link_leads_nowhere():
    assert linked() == {p.relative_to(NOTEBOOKS).as_posix() for p in NOTEBOOKS.glob("[!.]*/*.ipynb")}


def test_every_twin_has_a_card_with_a_picture_a_time_and_a_way_in():
    (cards,) = re.findall(r"(?:^\|.*\|$\n)+", prose().partition("<details>")[0], re.MULTILINE)
    pictures, _, names, sentences, times, ways = (
        line[2:-2].split(" | ") for line in cards.splitlines()
    )
    assert all(
        re.fullmatch(r"\[!\[[^]]{20,}\]\(pictures/\w+\.webp\)\]\(.+\.ipynb\)", p) for p in pictures
    )
    assert all(sentence.endswith(".") for sentence in sentences)
    assert all(re.fullmatch(r"\d+ (s|min)", time) for time in times)
    assert all(way.startswith("[Open") for way in ways)
    folders = {way.partition("(")[2].partition("/")[0] for way in ways}
    assert folders == {p.parent.name for p in NOTEBOOKS.glob("[!.]*/*.ipynb")}
    assert len(names) == len(pictures) == len(ways) == len(times) == len(sentences)


def test_times_are_those_that_the_notebooks_say_of_themselves():
    cards = re.findall(r"^\| .*[0-9] (?:s|min) \|$", prose().partition("<details>")[0], re.MULTILINE)
    ways = re.findall(r"\[Open[^]]*\]\(([^)]+)\.ipynb\)", prose())
    told = list(zip(ways, cards[-1].strip("| ").split(" | "), strict=True))
    told += re.findall(r"^\|.*\]\(([^)]+)\.ipynb\) \|.*\| (\d+ \w+) \|$", prose(), re.MULTILINE)
    assert len(told) == len(ways) + len(linked())
    for name, time in told:
        said = run_views.said(runs.notebook(NOTEBOOKS / f"{name}.ipynb"))
        number, unit = time.split()
        assert (name, float(number) * {"s": 1, "min": 60}[unit]) == (name, said.time_s)


def test_pictures_of_the_cards_are_there_and_small():
    named = set(re.findall(r"\(pictures/([^)]+)\)", prose()))
    there = {p.name: p.stat().st_size for p in (NOTEBOOKS / "pictures").iterdir()}
    assert set(there) == named
    assert max(there.values()) < LARGEST_PICTURE_BYTES


def test_the_run_panel_comes_first_after_the_twins():
    headings = re.findall(r"^## (.*)", prose(), re.MULTILINE)
    assert headings[:2] == ["The twins", "Run any notebook"]


def test_the_workspace_opens_the_start_page():
    text = (ROOT / "binder" / "start.jupyterlab-workspace").read_text()
    workspace = json.loads(text)
    shown = workspace["data"]["layout-restorer:data"]["main"]["current"]
    path = workspace["data"][shown]["data"]["path"]
    assert (workspace["metadata"]["id"], shown, path) == (
        "start",
        "notebook:my/notebooks/start.ipynb",
        "my/notebooks/start.ipynb",
    )


@pytest.mark.slow
def test_its_check_finds_that_this_installation_works():
    start = nbformat.read(NOTEBOOKS / "start.ipynb", as_version=4)
    NotebookClient(start, timeout=120, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    code = [cell for cell in start.cells if cell.cell_type == "code"]
    assert "compiles" in code[-4].outputs[0]["data"]["text/html"]
    assert "processes of" in code[-3].outputs[0]["data"]["text/html"]
    for shown in (code[-5], code[-2]):  # the run panel, and the copies
        assert "application/vnd.jupyter.widget-view+json" in shown.outputs[0]["data"]
    assert code[-1].outputs[0]["text"] == "Everything works.\n"
