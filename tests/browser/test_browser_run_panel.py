"""The run panel in a real JupyterLab: a bad value, a run to its end, one cancelled, one found again."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_browser import Lab, run_all_cells
from small_notebooks import OPEN, write_notebook, write_project
from sources import TESTS

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

WORK = """import time

for _ in range(3):
    time.sleep(0.5)"""
FARM = """from physics_twins import clusters

with clusters.connect(on, jobs=1) as client:
    client.submit(time.sleep, 120, pure=False).result()"""
MAKE = 'from twin_panels.run_panel import RunPanel\npanel = RunPanel("pendulum/{}")'


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab on a project with a notebook that ends soon and one that does not."""
    folder = write_project(tmp_path_factory.mktemp("lab"))
    notebooks = folder / "notebooks" / "pendulum"
    write_notebook(notebooks / "3_work.ipynb", OPEN, WORK, "run.record({'n_swings': n_swings})")
    write_notebook(notebooks / "4_farm.ipynb", OPEN, "import time", FARM)
    with pytest.MonkeyPatch.context() as patch:
        path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(TESTS), *path])))
        patch.delenv("PHYSICS_TWINS_RUNS", raising=False)
        with Lab(folder) as running:
            for name in ("3_work", "4_farm"):
                running.add(name, MAKE.format(name), "panel")
            yield running


@pytest.fixture
def page(browser: Any, lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab with a panel; what it shows in the end is left beside the test's files."""
    tab = lab.open(browser, f"{request.param}.ipynb", height=1000)
    run_all_cells(tab)
    tab.wait_for_selector("button:has-text('Cancel')", timeout=60_000)
    yield tab
    tab.screenshot(path=tmp_path / "run_panel.png")
    tab.close()


def button(page: Any, text: str) -> Any:
    return page.locator("button.widget-button", has_text=text).first


@pytest.mark.parametrize("page", ["3_work"], indirect=True)
def test_a_bad_value_is_refused_a_run_goes_to_its_end_and_is_found_after_a_reload(page):
    entry = page.get_by_label("Length of the string m")
    entry.fill("-3")  # without Enter
    page.wait_for_selector("[role=alert] >> text=length_m = -3.0 m is outside its range: allowed is")
    page.wait_for_function("() => document.querySelector('.widget-button.mod-primary').disabled")
    entry.fill("2.5")
    page.wait_for_selector("[role=alert]", state="detached")

    button(page, "Run").click()
    page.wait_for_selector("text=2 of 4 cells done · now: Swing", timeout=60_000)
    page.wait_for_selector("text=Complete in", timeout=60_000)
    assert page.locator("td", has_text="n_swings").count() == 1
    report = page.locator("a", has_text="Report with figures")
    assert "runs/pendulum/3_work/" in report.get_attribute("href")
    with page.expect_popup() as opened:  # within the lab its scripts would not run
        report.click()
    opened.value.wait_for_selector("h2:has-text('Swing') math, h2:has-text('Swing') ~ p math")
    assert opened.value.url.startswith(page.url.split("/lab")[0] + "/files/runs/pendulum/3_work/")
    opened.value.close()
    page.locator("a code", has_text=re.compile(r"^[0-9a-f]{12}-1$")).click()
    page.wait_for_selector(".jp-DirListing-item >> text=provenance.json", timeout=20_000)

    page.reload()
    run_all_cells(page)
    page.get_by_label("Length of the string m").fill("2.5")
    page.wait_for_selector("text=Complete in", timeout=60_000)
    page.wait_for_selector("text=computed already with these values")
    assert page.errors == []


@pytest.mark.parametrize("page", ["4_farm"], indirect=True)
def test_workers_and_progress_are_shown_and_cancel_works_though_the_kernel_is_busy(page):
    button(page, "Run").click()
    page.wait_for_selector("th >> text=last seen", timeout=90_000)
    # Another cell keeps the kernel busy; the panel goes on.
    page.evaluate(
        """() => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          kernel.requestExecute({ code: "import time; time.sleep(4)" });
        }"""
    )
    seconds = page.locator("[role=timer]")
    first, begun = seconds.inner_text(), time.monotonic()
    page.wait_for_function(
        "(first) => document.querySelector('[role=timer]').innerText !== first", arg=first, timeout=2000
    )
    assert time.monotonic() - begun < 2
    button(page, "Cancel").click()
    page.wait_for_selector("text=Cancelled in cell 4 of 4", timeout=60_000)
    page.wait_for_selector("button:has-text('Resume'):not([disabled])")
    assert page.errors == []
