"""The panels in a real JupyterLab, in a real browser: they draw, and they follow the hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_browser import PIXELS, Lab, run_all_cells

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

NOTEBOOKS = {
    "pulsar": "from twin_panels.pulsar import PulsarPanel\npanel = PulsarPanel()",
    "calorimeter": "from twin_panels.calorimeter import CalorimeterPanel\npanel = CalorimeterPanel()",
}
FIND_IMAGE = """() => {
  const models = window.Bokeh ? window.Bokeh.documents.flatMap((d) => [...d._all_models.values()]) : [];
  window.image = models.findLast((m) => m.type == "ColumnDataSource" && "image" in m.data);
  window.waterfall = models.findLast((m) => m.title?.text?.startsWith("Pulse between"));
  return window.image !== undefined;
}"""
TITLES = """() => window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .filter((m) => m.type == "Title").map((m) => m.text).join("; ")"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab that holds the notebooks."""
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        for name, made in NOTEBOOKS.items():
            running.add(name, made, "panel")
        yield running


@pytest.fixture
def page(browser: Any, lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab with a panel; what it shows in the end is left beside the test's files."""
    tab = lab.open(browser, f"{request.param}.ipynb")
    run_all_cells(tab)
    tab.wait_for_function(FIND_IMAGE, timeout=90_000)
    yield tab
    tab.screenshot(path=tmp_path / "panel.png")
    tab.close()


def title_says(page: Any, text: str) -> None:
    page.wait_for_function(f"(text) => ({TITLES})().includes(text)", arg=text, timeout=20_000)


@pytest.mark.parametrize("page", ["pulsar"], indirect=True)
def test_the_panel_draws_and_follows_slider_and_typed_value(page):
    page.wait_for_function(f"() => ({PIXELS})().some((colours) => colours > 100)", timeout=30_000)
    title_says(page, "Dedispersed at 56.77 pc cm⁻³")

    page.evaluate("() => { window.before = window.image.data.image; }")
    page.evaluate("() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set(0.3)")
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    assert page.evaluate("() => window.image.data.image !== window.before")
    entry = page.locator(".widget-text input[type=number]").first
    assert entry.input_value() == "108"

    # A reader zooms; the kernel must hear of it, or its next frame would undo it.
    page.evaluate("() => { window.waterfall.x_range.setv({ start: 10, end: 20 }); }")
    entry.fill("475.5")
    entry.press("Enter")
    title_says(page, "Dedispersed at 475.5 pc cm⁻³")
    assert page.evaluate("() => [window.waterfall.x_range.start, window.waterfall.x_range.end]") == [
        10,
        20,
    ]

    entry.fill("-3")
    entry.press("Enter")
    page.wait_for_selector("text=dm_pc_cm3 = -3.0 pc cm-3 is outside its range", timeout=20_000)
    title_says(page, "Dedispersed at 475.5 pc cm⁻³")

    page.locator("button", has_text="As code").click()
    page.wait_for_selector("text=dm_pc_cm3=475.5", timeout=20_000)
    assert page.errors == []


@pytest.mark.parametrize("page", ["calorimeter"], indirect=True)
def test_the_calorimeters_panel_draws_follows_and_says_what_it_does_not_know(page):
    page.wait_for_function(f"() => ({PIXELS})().filter((colours) => colours > 100).length >= 3")
    title_says(page, "of 10 GeV are seen")
    # The band comes by itself, from the thread that draws it.
    page.wait_for_selector("text=300 showers of the flow at 10 GeV, 15°, 1.4 mm", timeout=60_000)

    page.evaluate("() => { window.before = window.image.data.image; }")
    page.evaluate("() => document.querySelectorAll('.noUi-target')[1].noUiSlider.set(1.0)")
    title_says(page, "From the side, at 30°")
    page.wait_for_function("() => window.image.data.image !== window.before")
    page.wait_for_selector("text=300 showers of the flow at 10 GeV, 30°, 1.4 mm", timeout=60_000)

    entry = page.locator(".widget-text input[type=number]").first
    entry.fill("500")
    entry.press("Enter")
    page.wait_for_selector("text=energy_gev = 500 GeV is outside 1 to 100 GeV", timeout=20_000)
    title_says(page, "of 10 GeV are seen")
    assert page.errors == []
