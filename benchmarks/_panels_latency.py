"""How long a panel takes, in a real JupyterLab in headless Chromium; part of `panels.py`.

What the kernel computes meanwhile is measured without a browser: the rest is the way there and back,
and the painting.
"""

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # a JupyterLab in a browser

from lab_browser import PIXELS, Lab, run_all_cells, running_browser, why_no_browser

from _table import Figure, Skipped, median_and_spread, this_machine_and_load

N_MOVES, N_READY = 40, 3
# Between moves: as a hand that goes on, and as one that looks, while work beside begins after 0.4 s.
PAUSES_MS = (250, 1000)
# By module: the panel, and which slider goes to and fro between which positions.
PANELS = {
    "pulsar": ("PulsarPanel", 0, (0.15, 0.35)),
    "calorimeter": ("CalorimeterPanel", 1, (0.2, 0.8)),
    "virgo": ("VirgoPanel", 0, (0.3, 0.6)),
}
LATENCY_LIMIT, READY_LIMIT_S = "80, 150", 6.0
# The newest panel's first image.
IMAGE = """() => {
  const models = window.Bokeh ? window.Bokeh.documents.flatMap((d) => [...d._all_models.values()]) : [];
  return models.findLast((m) => m.type == "ColumnDataSource" && "image" in m.data);
}"""
# Bokeh paints in the animation frame after a change; a message sent in it comes after the painting.
MOVE = """async ([slider, positions, pause_ms]) => {
  const source = (IMAGE)();
  const handle = document.querySelectorAll(".noUi-target")[slider].noUiSlider;
  const waits = [];
  for (const position of positions) {
    waits.push(await new Promise((done, failed) => {
      const late = setTimeout(() => failed(new Error("no new frame within 10 s")), 10000);
      const changed = () => {
        source.properties.data.change.disconnect(changed);
        clearTimeout(late);
        const painted = new MessageChannel();
        painted.port1.onmessage = () => done(performance.now() - begun);
        requestAnimationFrame(() => painted.port2.postMessage(""));
      };
      source.properties.data.change.connect(changed);
      const begun = performance.now();
      handle.set(position);
    }));
    await new Promise((done) => setTimeout(done, pause_ms));
  }
  return waits;
}""".replace("IMAGE", IMAGE)
PAINTED = f"""(old) => {{
  const image = ({IMAGE})();
  return image && image.id != old && ({PIXELS})().some((colours) => colours > 100);
}}"""


def panel_latency_ms() -> Figure:
    """Time from a slider's event to the painted canvas: median and 95th percentile for each panel.

    The pulsar's first; 40 moves each, 250 ms apart.
    """
    return _latency(PAUSES_MS[0])


def panel_latency_beside_ms() -> Figure:
    """The same with moves 1 s apart, so that each meets the work that the last one has begun beside."""
    return _latency(PAUSES_MS[1])


def panel_kernel_ms() -> Figure:
    """What of it the kernel computes: median for each panel, the pulsar's first."""
    values, errors = [], []
    for name, (made, slider, ends) in PANELS.items():
        panel = getattr(importlib.import_module(f"twin_panels.{name}"), made)()
        control = panel.controls[list(panel.controls.about)[slider]]
        spent_ms = []
        for position in _positions(ends):
            begun = time.perf_counter()
            control.slider.value = position
            spent_ms.append(1e3 * (time.perf_counter() - begun))
            time.sleep(0.25)
        median, spread = median_and_spread(spent_ms[1:])
        values.append(median)
        errors.append(spread)
    return Figure(values, errors, "ms", None, this_machine_and_load())


def panel_ready_s() -> Figure:
    """Time from "run all cells" to the painted panel, in a kernel that has run them before.

    The median of three, for each panel, the pulsar's first.
    """
    values, errors = [], []
    for ready_s, _ in _measured().values():
        median, spread = median_and_spread(ready_s)
        values.append(median)
        errors.append(spread)
    return Figure(values, errors, "s", READY_LIMIT_S, this_machine_and_load())


def _latency(pause_ms: int) -> Figure:
    values, errors = [], []
    for _, waits in _measured().values():
        for quantile in (0.5, 0.95):
            values.append(float(np.quantile(waits[pause_ms], quantile)))
            errors.append(_scatter(waits[pause_ms], quantile))
    return Figure(values, errors, "ms", LATENCY_LIMIT, this_machine_and_load())


@cache
def _measured() -> dict[str, tuple[list[float], dict[int, list[float]]]]:
    """Return times to ready in s of each panel, and latencies in ms by the pause between moves."""
    if reason := why_no_browser():
        raise Skipped(reason)
    measured = {}
    with _lab() as (lab, browser):
        for name, (_, slider, ends) in PANELS.items():
            tab = lab.open(browser, f"{name}.ipynb")
            _run(tab)
            ready_s = [_run(tab) for _ in range(N_READY)]
            time.sleep(10)  # what is drawn in the background is done
            waits = {ms: tab.evaluate(MOVE, [slider, _positions(ends), ms])[1:] for ms in PAUSES_MS}
            measured[name] = (ready_s, waits)
            tab.close()
    return measured


@contextmanager
def _lab() -> Iterator[tuple[Lab, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Lab(Path(folder)) as lab,
        running_browser() as browser,
    ):
        for name, (made, _, _) in PANELS.items():
            lab.add(name, f"from twin_panels.{name} import {made}", f"{made}()")
        yield lab, browser


def _run(tab: Any) -> float:
    """Run all cells and return how long the panel took to be painted, in s."""
    image = tab.evaluate(f"() => ({IMAGE})()?.id ?? ''")
    begun = time.perf_counter()
    run_all_cells(tab)
    tab.wait_for_function(PAINTED, arg=image, polling=50, timeout=120_000)
    spent_s = time.perf_counter() - begun
    time.sleep(3)
    return spent_s


def _positions(ends: tuple[float, float]) -> list[float]:
    """Return positions of a slider that goes to and fro; one more than moves, the first a warm-up."""
    steps = np.abs((np.arange(N_MOVES + 1) * 0.07 + 0.03) % 2 - 1)
    return [round(float(ends[0] + step * (ends[1] - ends[0])), 3) for step in steps]


def _scatter(values: list[float], quantile: float) -> float:
    """Return the standard error of a quantile, by drawing the values again."""
    rows = np.random.default_rng(0).integers(0, len(values), (200, len(values)))
    return float(np.quantile(np.array(values)[rows], quantile, axis=1).std())


BENCHMARKS: dict[str, Callable[[], Figure]] = {
    "panel_latency_ms": panel_latency_ms,
    "panel_latency_beside_ms": panel_latency_beside_ms,
    "panel_kernel_ms": panel_kernel_ms,
    "panel_ready_s": panel_ready_s,
}
