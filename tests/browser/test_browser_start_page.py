"""The start page in a real JupyterLab: filled, asking no other host, and readable without sight."""

import first_minutes
import pytest
from lab_browser import Lab, requests_elsewhere, run_all_cells, serious_findings

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

NAMED = """() => document.querySelector(".twin-control .noUi-handle")
  && !document.querySelector(".twin-control .noUi-handle:not([aria-label])")"""


def test_the_start_page_fills_asks_nobody_and_has_nothing_serious(browser, tmp_path, monkeypatch):
    monkeypatch.delenv("PHYSICS_TWINS_RUNS", raising=False)
    with Lab(first_minutes.project(tmp_path / "project")) as lab:
        tab = lab.visit(browser, "/lab/workspaces/start", height=3600)
        elsewhere = requests_elsewhere(tab)
        try:
            run_all_cells(tab)
            tab.wait_for_selector("button:has-text('Cancel')", timeout=120_000)
            tab.wait_for_selector("text=Everything works.", timeout=120_000)
            tab.wait_for_function(NAMED, timeout=60_000)
            assert serious_findings(tab, within=".jp-Notebook .jp-OutputArea-output") == []
            assert serious_findings(tab, within=".jp-Notebook .jp-RenderedMarkdown") == []
            assert (elsewhere, tab.errors) == ([], [])
        finally:
            tab.screenshot(path=tmp_path / "start.png")
            tab.close()
