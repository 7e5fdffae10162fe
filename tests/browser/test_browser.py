"""The panels in a real JupyterLab, in a real browser: they draw, and they follow the hand."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_browser import KERNEL_IS_IDLE, PIXELS, Lab, misfits, run_all_cells, serious_findings

from physics_twins import calorimeter

pytestmark = [
    pytest.mark.slow,
    # Playwright's event loop outlives it by a moment.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

NOTEBOOKS = {
    "pulsar": "from twin_panels.pulsar import PulsarPanel\npanel = PulsarPanel()",
    # A kernel of its own, which has this one panel to give back to a page that is loaded again.
    "reloaded": "from twin_panels.pulsar import PulsarPanel\npanel = PulsarPanel()",
    "calorimeter": "from twin_panels.calorimeter import CalorimeterPanel\npanel = CalorimeterPanel()",
    "lattice": "from twin_panels.lattice import LatticePanel\npanel = LatticePanel()",
    "virgo": "from twin_panels.virgo import VirgoPanel\npanel = VirgoPanel()",
}
WIDTHS = (700, 900, 1100, 1440, 1920)
FIND_IMAGE = """() => {
  const models = window.Bokeh ? window.Bokeh.documents.flatMap((d) => [...d._all_models.values()]) : [];
  window.image = models.findLast((m) => m.type == "ColumnDataSource" && "image" in m.data);
  window.waterfall = models.findLast((m) => m.title?.text?.startsWith("Pulse between"));
  return window.image !== undefined;
}"""
TITLES = """() => window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .filter((m) => m.type == "Title").map((m) => m.text).join("; ")"""
ENTERED = "() => Number(document.querySelector('.widget-text input[type=number]').value)"
# Of measured showers: chi squared per point along the path, as the note tells it.
ALONG = (
    """() => Number(document.body.innerText.match(/χ² per point is (\\S+) along/)?.[1] ?? Infinity)"""
)
FIRST_ENTRY = f"(text) => ({ENTERED})() == Number(text)"

# The brightness of the corners of figures, where nothing but their ground is.
CORNER = """() => {
  let brightest = 0;
  const look = (root) => {
    root.querySelectorAll("canvas").forEach((c) => {
      if (c.width < 300 || !c.getContext("2d")) return;
      const [r, g, b, a] = c.getContext("2d").getImageData(2, 2, 1, 1).data;
      if (a) brightest = Math.max(brightest, (r + g + b) / 3);
    });
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(document);
  return brightest;
}"""


# The part of each figure that is as good as white; the picture that a panel has left is hidden.
WHITE = """() => {
  const parts = [];
  const look = (root) => {
    root.querySelectorAll("canvas").forEach((c) => {
      if (c.width < 250 || !c.getClientRects().length || !c.getContext("2d")) return;
      const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) {
        n += data[i + 3] > 0 && data[i] > 240 && data[i + 1] > 240 && data[i + 2] > 240;
      }
      parts.push((4 * n) / data.length);
    });
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(document);
  return parts;
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab that holds the notebooks."""
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        for name, made in NOTEBOOKS.items():
            running.add(name, made, "panel")
        yield running


@pytest.fixture
def page(browser: Any, lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab with a panel; in the end it is left as a picture, and must fit narrower windows."""
    tab = lab.open(browser, f"{request.param}.ipynb")
    run_all_cells(tab)
    tab.wait_for_function(FIND_IMAGE, timeout=240_000)  # in a new clone the flow is compiled first
    yield tab
    tab.screenshot(path=tmp_path / "panel.png")
    tab.evaluate("() => { window.jupyterapp.shell.collapseLeft(); }")
    found = serious_findings(tab, within=".jp-Notebook .jp-OutputArea-output")
    wrong = {width: misfits(tab, width) for width in WIDTHS}
    set_theme(tab, "JupyterLab Dark")
    wrong |= {f"{width}, dark": misfits(tab, width) for width in WIDTHS[1::2]}
    light = [part for part in tab.evaluate(WHITE) if part > 0.1]
    tab.screenshot(path=tmp_path / "panel_dark.png")
    set_theme(tab, "JupyterLab Light")
    tab.close()
    assert not any(wrong.values()), wrong
    assert not light
    assert found == []


def set_theme(page: Any, name: str) -> None:
    code = "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    page.evaluate(code, name)
    page.wait_for_timeout(1500)  # figures are painted anew


def load(page: Any, path: Path) -> None:
    entry = page.locator(".widget-text input[type=text][placeholder^='parameters/']").last
    entry.fill(str(path))
    entry.press("Tab")
    button(page, "Load").click()


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
    page.wait_for_function(FIRST_ENTRY, arg="108", timeout=20_000)  # it comes after the frame

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


@pytest.mark.parametrize("page", ["virgo"], indirect=True)
def test_virgos_panel_draws_follows_and_cleans_beside(page):
    page.wait_for_function(f"() => ({PIXELS})().filter((colours) => colours > 60).length >= 2")
    page.wait_for_selector("text=least removed of what is possible", timeout=180_000)
    page.evaluate("() => { window.before = window.image.data.image; }")
    page.evaluate("() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set(0.9)")
    page.wait_for_selector("text=The subtraction is being fitted.", timeout=20_000)
    page.wait_for_function("() => window.image.data.image !== window.before")
    page.wait_for_selector("text=least removed of what is possible", timeout=180_000)
    assert page.errors == []


@pytest.mark.parametrize("page", ["lattice"], indirect=True)
def test_the_lattices_panel_runs_a_chain_and_flags_what_is_frozen(page):
    page.wait_for_function(f"() => ({PIXELS})().filter((colours) => colours > 60).length >= 1")
    page.evaluate("() => { window.before = window.image.data.image; }")
    page.wait_for_selector("text=exact 0.925532", timeout=90_000)
    page.wait_for_function("() => window.image.data.image !== window.before")  # the chain goes on
    page.locator("select:has(option:text-is('hmc'))").first.select_option("hmc")
    page.wait_for_selector("text=charge squared not quoted: topology is frozen", timeout=60_000)
    title_says(page, "Mean square of the charge: not quoted: topology is frozen")

    entry = page.locator(".widget-text input[type=number]").first
    entry.fill("5000")
    entry.press("Enter")
    page.wait_for_selector("text=side = 5000 is outside its range", timeout=20_000)
    title_says(page, "u1 on 16 x 16 by hmc")
    assert page.errors == []


@pytest.mark.parametrize("page", ["calorimeter"], indirect=True)
def test_the_calorimeters_panel_draws_follows_and_says_what_it_does_not_know(page):
    page.wait_for_function(f"() => ({PIXELS})().filter((colours) => colours > 100).length >= 3")
    title_says(page, "of 10 GeV seen")
    # The band comes by itself, from the thread that draws it.
    page.wait_for_selector("text=300 showers of the flow at 10 GeV, 15°, 1.4 mm", timeout=60_000)

    page.evaluate("() => { window.before = window.image.data.image; }")
    page.evaluate("() => document.querySelectorAll('.noUi-target')[1].noUiSlider.set(1.0)")
    title_says(page, "From the side, at 30°")
    page.wait_for_function("() => window.image.data.image !== window.before")
    page.wait_for_selector("text=300 showers of the flow at 10 GeV, 30°, 1.4 mm", timeout=60_000)

    button(page, "Geant4 here").click()
    page.wait_for_selector("text=of 40 showers of Geant4", timeout=90_000)
    button(page, "Stop Geant4").click()
    button(page, "Geant4 here").wait_for(timeout=20_000)

    entry = page.locator(".widget-text input[type=number]").first
    entry.fill("500")
    entry.press("Enter")
    page.wait_for_selector("text=energy_gev = 500 GeV is outside 1 to 100 GeV", timeout=20_000)
    title_says(page, "of 10 GeV seen")
    assert page.errors == []


@pytest.mark.parametrize("page", ["calorimeter"], indirect=True)
def test_measured_showers_lie_behind_the_calorimeters_sliders_and_are_handed_on(page, tmp_path):
    flow = calorimeter.load_flow()
    asked = {"energy_gev": 18.0, "energy_max_gev": 22.0, "theta_max_deg": 0.0, "n_showers": 300}
    made = calorimeter.generate(flow, flow.parameters.replace(absorber_mm=1.5, **asked), seed=4)
    calorimeter.files.write(made, tmp_path / "beam.hdf5")
    load(page, tmp_path / "beam.hdf5")
    page.wait_for_selector("text=300 showers of 18 to 22 GeV: move the sliders", timeout=60_000)
    page.wait_for_selector("text=χ² per point is", timeout=60_000)
    away = page.evaluate(ALONG)
    page.locator(".widget-text input[type=number]").nth(2).fill("1.5")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=°, 1.5 mm", timeout=60_000)
    page.wait_for_function(f"(away) => ({ALONG})() < away / 5", arg=away, timeout=60_000)
    page.screenshot(path=tmp_path / "measured.png")
    button(page, "Calibrate from here").click()
    page.wait_for_selector("text=run calorimeter/5_twin -p observed_path=", timeout=20_000)
    load(page, tmp_path / "none.hdf5")
    page.wait_for_selector("text=Not loaded: there is no file", timeout=20_000)
    page.wait_for_selector("text=Points: ", timeout=20_000)
    assert page.errors == []


@pytest.mark.parametrize("page", ["pulsar"], indirect=True)
def test_undo_files_and_keys_do_what_a_hand_does(page, tmp_path):
    title_says(page, "Dedispersed at 56.77 pc cm⁻³")
    # A drag of many steps is undone as one, by button and by keys.
    for position in (0.2, 0.25, 0.3):
        page.evaluate(f"() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set({position})")
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    button(page, "Undo").click()
    title_says(page, "Dedispersed at 56.77 pc cm⁻³")
    page.locator(".twin-panel .noUi-handle").first.focus()
    page.keyboard.press("Control+y")
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    page.keyboard.press("Control+z")
    title_says(page, "Dedispersed at 56.77 pc cm⁻³")

    # Arrow keys move the slider that has the focus.
    entry = page.locator(".widget-text input[type=number]").first
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => !({TITLES})().includes('Dedispersed at 56.77 ')", timeout=20_000)
    page.wait_for_function(f"() => ({ENTERED})() > 56.77", timeout=20_000)
    # With Shift it moves by the value's fourth digit, and PageDown by ten of them.
    page.wait_for_timeout(500)
    before = page.evaluate(ENTERED)
    digit = 10 ** (math.floor(math.log10(before)) - 3)
    for key, steps in (("Shift+ArrowRight", 1), ("Shift+PageDown", -9)):
        page.keyboard.press(key)
        wanted = f"(value) => Math.abs(({ENTERED})() - value) < {digit / 10}"
        page.wait_for_function(wanted, arg=before + steps * digit, timeout=20_000)
    # Tab goes from a slider to its own entry.
    page.keyboard.press("Tab")
    assert entry.evaluate("(input) => input == document.activeElement")

    wanted = tmp_path / "mine.json"
    wanted.write_text('{"dm_pc_cm3": 60.5}')
    load(page, wanted)
    title_says(page, "Dedispersed at 60.5 pc cm⁻³")
    wanted.write_text('{"dm_pc_cm": 60.5}')
    with page.expect_file_chooser() as chooser:
        page.locator(".twin-panel button", has_text="Upload").click()
    chooser.value.set_files(wanted)
    page.wait_for_selector("text=mine.json: unknown parameter 'dm_pc_cm'", timeout=20_000)
    button(page, "Sweep this").click()
    page.wait_for_selector("text=--grid dm_pc_cm3=", timeout=20_000)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button(page, "Copy").click()
    button(page, "Copied").wait_for(timeout=20_000)
    assert "--grid dm_pc_cm3=" in page.evaluate("() => navigator.clipboard.readText()")
    button(page, "Run now").click()
    button(page, "Cancel").click()
    page.wait_for_selector("text=Ended with status", timeout=60_000)

    # The line of the state restores it.
    state = page.get_by_label("State")
    assert state.input_value() == "dm_pc_cm3=60.5"
    for line, told in (("dm_pc_cm3=475.5", 475.5), ("defaults", 56.77)):
        state.fill(line)
        state.press("Enter")
        title_says(page, f"Dedispersed at {told} pc cm⁻³")
    state.fill("dm_pc_cm=3")
    state.press("Enter")
    page.wait_for_selector("text=Not taken over: unknown parameter 'dm_pc_cm'", timeout=20_000)
    assert page.errors == []


@pytest.mark.parametrize("page", ["pulsar"], indirect=True)
def test_a_screen_reader_finds_every_open_control_by_name(page):
    page.wait_for_selector(".twin-panel .noUi-handle[aria-label]", timeout=20_000)
    for name in ("Dispersion measure", "Median fluence of a pulse"):
        assert page.get_by_role("slider", name=name, exact=True).count() == 1
        assert page.get_by_role("spinbutton", name=name).count() == 1
    handle = page.get_by_role("slider", name="Dispersion measure", exact=True)
    assert handle.get_attribute("aria-valuetext") == "56.77 pc cm⁻³"
    assert page.locator(".twin-panel input:visible:not([aria-label]):not([type=file])").count() == 0
    for name in ("Undo", "Load", "Sweep this", "As code"):
        assert button(page, name).count() == 1


@pytest.mark.parametrize("page", ["reloaded"], indirect=True)
def test_figures_follow_the_labs_theme_and_a_reloaded_page_shows_the_frame_of_now(page, tmp_path):
    page.wait_for_function(f"() => ({PIXELS})().some((colours) => colours > 100)", timeout=30_000)
    assert brightness(page) > 200
    assert max(page.evaluate(WHITE)) > 0.5
    set_theme(page, "JupyterLab Dark")
    page.wait_for_function(f"() => ({CORNER})() < 60", timeout=20_000)
    page.screenshot(path=tmp_path / "dark.png")
    page.evaluate("() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set(0.3)")
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    assert brightness(page) < 60

    page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:save'); }")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    page.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)
    page.wait_for_function(FIND_IMAGE, timeout=60_000)
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    # It is dark from the beginning now.
    page.wait_for_function(f"() => Math.max(...({WHITE})()) < 0.1", timeout=20_000)


# What is written into Bokeh's style sheets and legends, and all that Bokeh was asked to leave out.
WATCH = """() => {
  window.written = [];
  const look = (root) => {
    new MutationObserver((found) => found.forEach(({ target }) => {
      const host = target.getRootNode().host?.className ?? "";
      if (/bk-(Glyph|Legend)/.test(host) && target.tagName != "CANVAS") window.written.push(host);
    })).observe(root, { subtree: true, childList: true, characterData: true });
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(document);
  const { GlyphRendererView } = Bokeh.require("models/renderers/glyph_renderer");
  const { VisualProperties } = Bokeh.require("core/visuals/visual");
  return [window.Bokeh.twin_panels_spares, GlyphRendererView.prototype.update_position.length,
          VisualProperties.prototype._get_css_value.toString().includes("known")];
}"""


@pytest.mark.parametrize("page", ["pulsar"], indirect=True)
def test_a_move_draws_no_more_than_it_must_and_another_view_shows_the_frame_of_now(page):
    """A panel is slow by work in the page that nobody sees; `benchmarks/panels.py` has the times."""
    title_says(page, "Dedispersed at 56.77 pc cm⁻³")
    assert page.evaluate(WATCH) == [True, 0, True]
    page.evaluate("() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set(0.3)")
    title_says(page, "Dedispersed at 108 pc cm⁻³")
    page.wait_for_timeout(500)
    assert page.evaluate("() => window.written") == []

    # One legend entry hides one curve, though it has no data of its own.
    page.locator(".bk-Legend").get_by_text("true pulse").click()
    hidden = "() => window.Bokeh.documents.at(-1)._all_models.values().toArray()"
    hidden += (
        ".some((m) => m.type == 'GlyphRenderer' && !m.visible && m.data_source.data.truth?.length)"
    )
    page.wait_for_function(hidden, timeout=20_000)

    page.evaluate("() => window.jupyterapp.commands.execute('notebook:create-output-view')")
    page.wait_for_function(
        f"() => ({TITLES})().split('Dedispersed at 108 pc cm').length == 3", timeout=30_000
    )
    assert page.errors == []


def button(page: Any, name: str) -> Any:
    """A button by all of its text; an icon is part of its name, and "Upload" holds "Load"."""
    return page.locator(".twin-panel button").filter(has_text=re.compile(rf"^\s*{name}\s*$"))


def brightness(page: Any) -> float:
    return page.evaluate(CORNER)
