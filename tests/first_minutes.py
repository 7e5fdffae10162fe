"""The first ten minutes of a reader, driven: from the start page to the rerun without a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab_browser import KERNEL_IS_IDLE, Lab

from twin_panels import copies

ROOT = Path(__file__).resolve().parents[1]
WORKSPACE = ROOT / "binder" / "start.jupyterlab-workspace"
TOUR = "tour/first_ten_minutes"
PATIENCE_MS = 240_000

IN_FRONT = "(path) => window.jupyterapp?.shell.currentWidget?.context?.path == path"
CARDS_DRAWN = """() => {
  const pictures = [...document.querySelectorAll(".jp-RenderedMarkdown table img")];
  return pictures.length == 6 && pictures.every((p) => p.complete && p.naturalWidth > 100);
}"""
RUN_CELL = """(n) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = n;
  notebook.widgets[n].model.executionCount = null;
  window.jupyterapp.commands.execute("notebook:run-cell");
}"""
CELL_IS_DONE = """(n) => {
  const panel = window.jupyterapp.shell.currentWidget;
  const idle = panel.sessionContext.session.kernel.status == "idle";
  return idle && panel.content.widgets[n].model.executionCount !== null;
}"""
OUTPUTS = "(n) => window.jupyterapp.shell.currentWidget.content.widgets[n].model.outputs.toJSON()"
TITLES = """(text) => window.Bokeh && window.Bokeh.documents.flatMap((d) => [...d._all_models.values()])
  .some((m) => m.type == "Title" && m.text.includes(text))"""
SLIDE = "() => document.querySelectorAll('.noUi-target')[0].noUiSlider.set(0.3)"


class Reader:
    """Someone who opens the start page, and does what the first ten minutes say.

    Attributes:
        tab: The browser's tab.
        seconds: How long each step took, by name.
    """

    def __init__(self, lab: Lab, browser: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()
        self._folder = lab.folder
        self.tab = lab.visit(browser, "/lab/workspaces/start", height=1800)

    def start_page(self) -> None:
        """See the cards of the start page, which the workspace opens, and follow the first."""
        self.tab.wait_for_function(IN_FRONT, arg="my/notebooks/start.ipynb", timeout=PATIENCE_MS)
        self.tab.wait_for_function(CARDS_DRAWN, timeout=PATIENCE_MS)
        self._step("start page")
        self.tab.locator("a", has_text="Open: begin here").click()
        self.tab.wait_for_function(IN_FRONT, arg=f"my/notebooks/{TOUR}.ipynb", timeout=PATIENCE_MS)
        self.tab.wait_for_function(KERNEL_IS_IDLE, timeout=PATIENCE_MS)
        self._step("notebook open")

    def panel(self) -> None:
        """Run the cells up to the panel, and move its first slider."""
        for cell in self._code_cells()[:3]:
            self._run(cell)
        self._drawn("Dedispersed at 56.77")
        self._step("panel drawn")
        self.tab.wait_for_function("() => document.querySelector('.noUi-target')?.noUiSlider")
        self.tab.evaluate(SLIDE)
        self._drawn("Dedispersed at 108")
        self._step("slider moved")

    def verb(self, name: str, number: int, title: str = "") -> str:
        """Run one code cell, wait for its figure, and return what it printed."""
        cell = self._code_cells()[number]
        self._run(cell)
        if title:
            self._drawn(title)
        self._step(name)
        outputs = self.tab.evaluate(OUTPUTS, cell)
        errors = [output["evalue"] for output in outputs if output["output_type"] == "error"]
        assert errors == []
        return "".join("".join(output.get("text", "")) for output in outputs)

    def rerun(self, printed: str) -> subprocess.CompletedProcess[str]:
        """Do in a terminal what the notebook's last line says."""
        address = re.search(r"twins rerun (\S+)", printed)
        assert address, printed
        command = [sys.executable, "-m", "physics_twins.cli", "rerun", address[1], "--quiet"]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        self._step("rerun")
        return done

    def save(self) -> None:
        """Save the notebook in front, as the lab does by itself now and then."""
        self.tab.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def _code_cells(self) -> list[int]:
        cells = json.loads((ROOT / "notebooks" / f"{TOUR}.ipynb").read_text())["cells"]
        return [number for number, cell in enumerate(cells) if cell["cell_type"] == "code"]

    def _run(self, cell: int) -> None:
        self.tab.evaluate(RUN_CELL, cell)
        self.tab.wait_for_function(CELL_IS_DONE, arg=cell, timeout=PATIENCE_MS)

    def _drawn(self, title: str) -> None:
        self.tab.wait_for_function(TITLES, arg=title, timeout=PATIENCE_MS)

    def _step(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self._last = now - self._last, now


def project(folder: Path) -> Path:
    """Make a folder with the start page, the tour, and the workspace that opens it; return it."""
    for name in ("start.ipynb", "pictures", "tour"):
        source, target = ROOT / "notebooks" / name, folder / "notebooks" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    copies.lay_out(folder)
    imports = [sys.executable, "-m", "jupyterlab.labapp", "workspaces", "import", str(WORKSPACE)]
    workspaces = {"JUPYTERLAB_WORKSPACES_DIR": str(folder / ".lab" / "workspaces")}
    subprocess.run(imports, env=os.environ | workspaces, check=True, capture_output=True)
    return folder


def drive(folder: Path, browser: Any, picture: Path | None = None) -> dict[str, float]:
    """Go through the first ten minutes, each step held against what it must show.

    Args:
        folder: An empty one.
        browser: From `lab_browser.running_browser`.
        picture: Where a picture of the last thing seen is left.

    Returns:
        How long each step took, in s.
    """
    with Lab(project(folder)) as lab:
        reader = Reader(lab, browser)
        try:
            reader.start_page()
            reader.panel()
            reader.verb("calibrate", 3, "All pulses, stacked")
            reader.verb("truth", 4, "DM: truth, limit")
            reader.verb("what if", 5, "What the classifier finds")
            reader.verb("sweep of 200", 6, "recall against fluence")
            judged = reader.verb("evaluate", 7)
            assert (judged.count("✔"), judged.count("✘")) == (2, 1), judged
            reader.verb("monitor", 8, "The strongest sign of a change")
            updated = reader.verb("update", 9)
            assert "scattering_ms: drifted -> ok" in updated
            again = reader.rerun(reader.verb("conclusion", 10))
            assert again.returncode == 0, again.stderr[-500:] + again.stdout[-2000:]
            assert "the same numbers as" in again.stdout
            assert reader.tab.errors == []
            reader.save()
        finally:
            if picture:
                reader.tab.screenshot(path=picture)
            reader.tab.close()
    return reader.seconds
