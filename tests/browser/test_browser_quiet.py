"""Twins' first notebooks, run live: nothing opens in front of them, and nothing is pink."""

import shutil

import pytest
from lab_browser import KERNEL_IS_IDLE, Lab, run_all_cells
from sources import ROOT

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

TWINS = ("pulsar", "calorimeter")
ALL_DONE = f"""() => ({KERNEL_IS_IDLE})() && window.jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type == "code")
  .every((cell) => cell.model.executionCount !== null && cell.prompt != "*")"""
# What stands on the pink of stderr, by its text; of an empty bar it is "".
PINK = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type == "code")
  .flatMap((cell) => cell.model.outputs.toJSON())
  .filter((output) => output.output_type == "error" || output.name == "stderr")
  .map((output) => [output.text ?? output.evalue].flat().join(""))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab with two twins' first notebooks, and one that writes what none should.

    Virgo's and the lattice's take minutes here; what all notebooks print is held by their own tests.
    """
    folder = tmp_path_factory.mktemp("lab")
    for twin in TWINS:
        shutil.copyfile(ROOT / "notebooks" / twin / "1_simulate.ipynb", folder / f"{twin}.ipynb")
    with Lab(folder) as running:
        running.add("loud", 'import sys\nsys.stderr.write("\\n")', "1")
        yield running


def ran(browser, lab, name, picture):
    """Run a notebook in the lab; return what stood on pink, and what windows said."""
    tab = lab.open(browser, f"{name}.ipynb")
    try:
        run_all_cells(tab)
        tab.wait_for_timeout(2000)
        tab.wait_for_function(ALL_DONE, timeout=540_000)
        tab.wait_for_timeout(2000)  # what comes after the last cell
        assert tab.locator(".jp-Dialog").count() == 0
        return tab.evaluate(PINK), tab.dialogs
    finally:
        tab.screenshot(path=picture)
        tab.close()


@pytest.mark.parametrize("twin", TWINS)
def test_no_window_opens_and_nothing_is_pink_in_a_twins_first_notebook(browser, lab, tmp_path, twin):
    assert ran(browser, lab, twin, tmp_path / "ran.png") == ([], [])


def test_an_empty_pink_bar_is_seen(browser, lab, tmp_path):
    assert ran(browser, lab, "loud", tmp_path / "loud.png") == (["\n"], [])
