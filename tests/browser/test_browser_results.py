"""The results of a run are seen: its report and its executed notebook open with their figures."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_browser import (
    COLOURS_OF_FIGURES,
    KERNEL_IS_IDLE,
    Lab,
    requests_elsewhere,
    serious_findings,
)
from small_notebooks import OPEN, PERIOD, SAVE, write_notebook
from sources import TESTS

from physics_twins import runs
from physics_twins.runs import Run

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

FIGURE = """from physics_twins import figures

figures.load_extension()
figures.series(times["time_s"], title="Passages")"""
PANEL = "from twin_panels.lattice import LatticePanel\n\nLatticePanel(n_pieces=1)"
N_FIGURES = 1 + 3  # of the series, and of the panel
DRAWN = f"(n) => ({COLOURS_OF_FIGURES})().filter((colours) => colours > 2).length >= n"

TO_ITS_END = """() => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = notebook.widgets.length - 1;
  notebook.scrollToCell(notebook.activeCell);
}"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with a figure and a panel."""
    folder = tmp_path_factory.mktemp("lab")
    path = folder / "notebooks" / "pendulum" / "1_look.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(TESTS), *inherited])))
        patch.delenv("PHYSICS_TWINS_RUNS", raising=False)
        patch.chdir(folder)
        run = runs.run(write_notebook(path, OPEN, PERIOD, SAVE, FIGURE, PANEL))
    assert run.status == "complete", run.provenance
    return run


@pytest.fixture(scope="module")
def lab(done: Run) -> Iterator[Lab]:
    """A JupyterLab on the project of the run."""
    with Lab(done.folder.parents[3]) as running:
        yield running


def in_lab(lab: Lab, path: Path) -> str:
    return path.resolve().relative_to(lab.folder.resolve()).as_posix()


def test_a_report_opens_from_disk_with_its_figures_and_asks_nobody(browser, done):
    context = browser.new_context(offline=True)
    tab = context.new_page()
    elsewhere, errors = requests_elsewhere(tab), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(done.report.resolve().as_uri())
    tab.wait_for_function(DRAWN, arg=N_FIGURES, timeout=60_000)
    assert len(tab.evaluate(COLOURS_OF_FIGURES)) == N_FIGURES
    assert (elsewhere, errors) == ([], [])
    context.close()


def test_axe_finds_nothing_serious_on_a_report(browser, done):
    tab = browser.new_page()
    tab.goto(done.report.resolve().as_uri())
    tab.wait_for_function(DRAWN, arg=N_FIGURES, timeout=60_000)
    tab.evaluate("() => document.querySelectorAll('details').forEach((each) => (each.open = true))")
    found = serious_findings(tab)
    # It is seen where something is wrong.
    tab.evaluate("() => document.querySelector('h1').setAttribute('style', 'color: #bbb')")
    wrong = serious_findings(tab)
    tab.close()
    assert found == []
    assert wrong == ["color-contrast (serious): 1"]


def test_an_executed_notebook_opens_with_its_figures_and_asks_nobody(browser, done, lab, tmp_path):
    tab = lab.open(browser, in_lab(lab, done.folder / "1_look.ipynb"), height=2000)
    elsewhere = requests_elsewhere(tab)
    try:
        tab.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)
        tab.evaluate(TO_ITS_END)  # the lab draws what is on screen
        tab.wait_for_function(DRAWN, arg=N_FIGURES, timeout=90_000)
        assert not tab.evaluate("() => document.body.innerText.includes('model not found')")
        assert elsewhere == []
    finally:
        tab.screenshot(path=tmp_path / "notebook.png", full_page=True)
        tab.close()


def test_a_report_whose_scripts_do_not_run_shows_still_pictures_and_how_figures_are_zoomed(
    browser, done, tmp_path
):
    """As in the lab, until it is trusted there."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    tab = context.new_page()
    tab.goto(done.report.resolve().as_uri())
    told = tab.locator("noscript b")
    assert (told.inner_text(), told.is_visible()) == ("Trust HTML", True)
    pictures = tab.get_by_role("img")
    titles = [pictures.nth(number).get_attribute("aria-label") for number in range(N_FIGURES)]
    assert titles[0] == "Passages"
    assert titles[1].startswith("u1 on 16 x 16 by")
    assert all(pictures.nth(number).bounding_box()["height"] > 150 for number in range(N_FIGURES))
    tab.screenshot(path=tmp_path / "untrusted.png", full_page=True)
    context.close()


# In the lab's own view of a page.
FRAME = ".jp-HTMLViewer iframe"
OPEN_FILE = "(path) => { window.jupyterapp.commands.execute('docmanager:open', { path }); }"


def test_the_lab_shows_still_pictures_of_a_report_that_it_does_not_trust(browser, done, lab, tmp_path):
    tab = lab.visit(browser, "/lab/workspaces/report")
    try:
        tab.wait_for_function("() => window.jupyterapp?.commands.hasCommand('docmanager:open')")
        tab.evaluate(OPEN_FILE, in_lab(lab, done.report))
        frame = tab.frame_locator(FRAME)
        frame.get_by_role("img", name="Passages").wait_for(timeout=90_000)
        assert "allow-scripts" not in (tab.locator(FRAME).get_attribute("sandbox") or "")
        assert frame.get_by_role("img").count() == N_FIGURES
    finally:
        tab.screenshot(path=tmp_path / "lab.png")
        tab.close()
