"""How fast the run panel refuses a bad value, in a real JupyterLab in a real browser."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # a JupyterLab to be driven

from lab_browser import Lab, run_all_cells, running_browser, why_no_browser

from _table import Figure, Skipped, median_and_spread, this_machine

N_TYPED = 60
NOTEBOOK = "pulsar/1_simulate"
CELLS = f'from twin_panels.run_panel import RunPanel\npanel = RunPanel("{NOTEBOOK}")', "panel"
ENTRY = "Dispersion measure pc cm-3"
# As typing does; the time ends with the frame after the one that shows the answer: it is painted.
TYPE = """([label, text, refused]) => new Promise((answer) => {
  const labels = [...document.querySelectorAll("label")];
  const entry = document.getElementById(labels.find((l) => l.innerText === label).htmlFor);
  const begun = performance.now();
  entry.value = text;
  entry.dispatchEvent(new Event("input", { bubbles: true }));
  const look = () => {
    if ((document.querySelector("[role=alert]") !== null) === refused) {
      requestAnimationFrame(() => answer(performance.now() - begun));
    } else {
      requestAnimationFrame(look);
    }
  };
  look();
})"""


def refused_ms() -> Figure:
    """From a bad value typed into the run panel of a notebook to the refusal that is painted."""
    if reason := why_no_browser():
        raise Skipped(reason)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running_browser() as browser,
        Lab(Path(folder)) as lab,
    ):
        lab.add("panel", *CELLS)
        tab = lab.open(browser, "panel.ipynb", height=1000)
        run_all_cells(tab)
        tab.get_by_label(ENTRY).wait_for(timeout=90_000)
        time.sleep(2)  # what is looked up at first
        spent_ms = [_refused(tab, -1 - number) for number in range(N_TYPED)]
    value, spread = median_and_spread(spent_ms)
    return Figure(value, spread, "ms", reference=150.0, device=f"Chromium, {this_machine()}")


def _refused(tab: Any, bad: float) -> float:
    """Return how long a bad value took to be refused, in ms; then a good one is typed."""
    spent_ms = float(tab.evaluate(TYPE, [ENTRY, str(bad), True]))
    tab.evaluate(TYPE, [ENTRY, "56.77", False])
    time.sleep(0.3)  # as a hand rests
    return spent_ms


BENCHMARKS = {"refused_ms": refused_ms}
