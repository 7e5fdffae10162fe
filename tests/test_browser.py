"""The panels in a real JupyterLab, in a real browser: they draw, and they follow the hand."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

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
TOKEN = secrets.token_hex()
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}

KERNEL_IS_IDLE = """() => {
  const notebook = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  const status = notebook?.sessionContext?.session?.kernel?.status;
  return status == "idle" && notebook.content?.widgets.length > 1;
}"""
FIND_IMAGE = """() => {
  const models = window.Bokeh ? window.Bokeh.documents.flatMap((d) => [...d._all_models.values()]) : [];
  window.image = models.findLast((m) => m.type == "ColumnDataSource" && "image" in m.data);
  window.waterfall = models.findLast((m) => m.title?.text?.startsWith("Pulse between"));
  return window.image !== undefined;
}"""
TITLES = """() => window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .filter((m) => m.type == "Title").map((m) => m.text).join("; ")"""
PIXELS = """() => {
  const canvases = [];
  const look = (root) => {
    root.querySelectorAll("canvas").forEach((c) => canvases.push(c));
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(document);
  return canvases.map((c) => {
    const context = c.getContext("2d");
    if (!context || !c.width || !c.height) return 0;
    return new Set(new Uint32Array(context.getImageData(0, 0, c.width, c.height).data.buffer)).size;
  });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.skip("no browser here: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        pytest.skip("playwright is missing: pip install 'physics-twins[dev]'")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab that holds the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for name, made in NOTEBOOKS.items():
        cells = [nbformat.v4.new_code_cell(source) for source in (made, "panel")]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--expose-app-in-browser",
                "--allow-root",
            ),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
        ],
        env=os.environ | _own_folders(folder),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: _answers(f"{address}/api"), "JupyterLab to start", 90)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _own_folders(folder: Path) -> dict[str, str]:
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return {name: str(folder / place) for name, place in names.items()}


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):  # noqa: S310
            return True
    except OSError:
        return False


def _wait(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.fixture
def page(browser: Any, lab: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab with the notebook of a test; what it shows in the end is left beside the test's files."""
    tab = browser.new_page(viewport={"width": 1440, "height": 1200})
    tab.errors = []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    # In a workspace of its own: another test's notebook would be opened again, and be in front.
    tab.goto(f"{lab}/lab/workspaces/{request.param}/tree/{request.param}.ipynb?token={TOKEN}")
    yield tab
    tab.screenshot(path=tmp_path / "panel.png")
    tab.close()


def run_all_cells(page: Any) -> None:
    # A dialog would swallow the command.
    page.add_locator_handler(
        page.locator(".jp-Dialog"), lambda dialog: dialog.locator(".jp-mod-accept").click()
    )
    page.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)
    # Not awaited: the command's promise ends only when all cells have.
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(FIND_IMAGE, timeout=90_000)


def title_says(page: Any, text: str) -> None:
    page.wait_for_function(f"(text) => ({TITLES})().includes(text)", arg=text, timeout=20_000)


@pytest.mark.parametrize("page", ["pulsar"], indirect=True)
def test_the_panel_draws_and_follows_slider_and_typed_value(page):
    run_all_cells(page)
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
    run_all_cells(page)
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
