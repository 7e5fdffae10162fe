"""Take the pictures of the README and of the start page from real runs: `make pictures`.

The panels are driven in a JupyterLab of their own, the other figures come from the reports of runs of
the first ten minutes and of the lattice, which are found where they are finished. Needs Chromium and
what tests need.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageOps

from physics_twins import runs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from lab_browser import Lab, run_all_cells, running_browser, why_no_browser  # noqa: E402

PICTURES = ROOT / "book" / "pictures"
CARDS = ROOT / "notebooks" / "pictures"
TOUR, LATTICE = "tour/first_ten_minutes", "lattice/1_simulate"
SCALE = 2  # pixels of a picture for one of the page: sharp on any screen
QUALITY = 82
MARGIN = 12
MAX_WIDTH = 1640
PATIENCE_MS = 300_000
CARD_WIDTH, CARD_RATIO = 480, 2.35

# What a panel is, what its figures say once they show it, and what is told when all of it is there.
PANELS: dict[str, tuple[str, str, str]] = {
    "pulsar": (
        "from physics_twins.pulsar.parameters import ObservationParameters\n"
        "from twin_panels.pulsar import PulsarPanel\n"
        "panel = PulsarPanel(ObservationParameters(scattering_ms=1.0, fluence_jy_ms=0.9))",
        "Dedispersed at 56.77 pc cm⁻³",
        "Label of the pulse",
    ),
    "calorimeter": (
        "from twin_panels.calorimeter import CalorimeterPanel\n"
        "panel = CalorimeterPanel(); panel.controls['energy_gev'].value = 60.0\n"
        "panel.wait(); panel.geant4.fire()",
        "of 60 GeV seen",
        "40 of 40 showers of Geant4",
    ),
    "run_panel": (
        # A run outside the lab's folder has no links where a lab is known to be around.
        "import os\nfrom twin_panels.run_panel import FrontDoor\n"
        "os.environ.pop('JPY_PARENT_PID'); panel = FrontDoor('lattice/1_simulate')",
        "",
        "Complete in",
    ),
}
# Figures of the report, in its order.
FIGURES = ("calibrated", "truth", "what_if", "sweep", "monitor")
# Cards: of which picture, and which part of it: left and top, width, as parts of the picture's width.
CARD_PARTS = {
    "ten_minutes": ("monitor", (0.0, 0.0, 1.0)),
    "pulsar": ("pulsar", (0.353, 0.046, 0.588)),
    "calorimeter": ("calorimeter", (0.355, 0.225, 0.242)),
    "farms": ("sweep", (0.0, 0.0, 1.0)),
    "lattice": ("history", (0.0, 0.0, 1.0)),
}

TITLES = """(text) => window.Bokeh && window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .some((m) => m.type == "Title" && m.text.includes(text))"""
NO_TOOLBARS = """() => window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .forEach((m) => { if (m.type == "Toolbar") m.autohide = true; })"""
NO_SIDEBAR = "() => window.jupyterapp.commands.execute('application:toggle-left-area')"


def main() -> int:
    """Write all pictures; return 0 when every one is there."""
    if reason := why_no_browser():
        print(f"pictures: {reason}", file=sys.stderr)
        return 1
    run, lattice = runs.run(TOUR), runs.run(LATTICE)
    os.environ["PHYSICS_TWINS_RUNS"] = str(runs.default_root())  # the run panel shows a run of these
    with running_browser() as browser:
        taken = dict(_of_report(browser, run.report)) | dict(_of_panels(browser))
        taken["history"] = _of_lattice(browser, lattice.report)
    for name in ("pulsar", "calorimeter", "run_panel", "sweep", "monitor"):
        _save(taken[name], PICTURES / f"{name}.webp")
    for name, (picture, part) in CARD_PARTS.items():
        _save(_card(taken[picture], *part), CARDS / f"{name}.webp")
    return 0


def _of_report(browser: Any, report: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the figures of a run's report by name."""
    page = browser.new_page(viewport={"width": 860, "height": 1200}, device_scale_factor=SCALE)
    page.goto(report.as_uri())
    page.wait_for_function(TITLES, arg="The strongest sign", timeout=PATIENCE_MS)
    figures = page.locator(".bk-Row")
    if figures.count() != len(FIGURES):
        raise RuntimeError(f"{report} has {figures.count()} figures, not {', '.join(FIGURES)}")
    page.evaluate(NO_TOOLBARS)
    for number, name in enumerate(FIGURES):
        yield name, _taken(page, figures.nth(number))
    page.close()


def _of_lattice(browser: Any, report: Path) -> Image.Image:
    """Return the figure of a charge that jumps and one that is frozen."""
    page = browser.new_page(viewport={"width": 860, "height": 1200}, device_scale_factor=SCALE)
    page.goto(report.as_uri())
    page.wait_for_function(TITLES, arg="HMC stays", timeout=PATIENCE_MS)
    page.evaluate(NO_TOOLBARS)
    picture = _taken(page, page.locator(".bk-Figure").nth(1))
    page.close()
    return picture


def _of_panels(browser: Any) -> Iterator[tuple[str, Image.Image]]:
    """Yield the panels by name, as they stand in JupyterLab."""
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab:
        for name, (made, title, told) in PANELS.items():
            lab.add(name, made, "panel")
            tab = lab.open(browser, f"{name}.ipynb", width=1250, height=1600, scale=SCALE)
            run_all_cells(tab)
            if title:
                tab.wait_for_function(TITLES, arg=title, timeout=PATIENCE_MS)
            if told:
                tab.wait_for_selector(f"text={told}", timeout=PATIENCE_MS)
            tab.evaluate(NO_SIDEBAR)
            if title:
                tab.evaluate(NO_TOOLBARS)
            yield name, _taken(tab, tab.locator(".jp-OutputArea-output:has(.widget-hbox)").first)
            tab.close()


def _taken(page: Any, part: Any) -> Image.Image:
    """Return a part of a page as a picture without its empty margins."""
    page.wait_for_timeout(3000)  # canvases are painted after their models have changed
    picture = Image.open(io.BytesIO(part.screenshot())).convert("RGB")
    box = ImageChops.invert(picture.convert("L")).point([0] * 6 + [255] * 250).getbbox()
    return ImageOps.expand(picture.crop(box), MARGIN, "white")


def _card(picture: Image.Image, left: float, top: float, width: float) -> Image.Image:
    size = width * picture.width
    height, left_over = size / CARD_RATIO, picture.height - top * picture.width
    height = left_over if left_over < 1.05 * height else height  # no line of text is cut through
    x, y = round(left * picture.width), round(top * picture.width)
    part = picture.crop((x, y, x + round(size), y + round(height)))
    return part.resize((CARD_WIDTH, round(CARD_WIDTH * height / size)), Image.Resampling.LANCZOS)


def _save(picture: Image.Image, path: Path) -> None:
    """Write a picture, no wider than `MAX_WIDTH`."""
    if picture.width > MAX_WIDTH:
        size = MAX_WIDTH, round(picture.height * MAX_WIDTH / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=QUALITY, method=6)
    kilobytes = path.stat().st_size // 1000
    print(f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {kilobytes} kB")


if __name__ == "__main__":
    raise SystemExit(main())
