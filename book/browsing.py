"""A built book in a real browser without network: what is not loaded, and what is not drawn."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOAD_S, DRAW_S = 90.0, 30.0
# Bokeh draws into shadow roots. Of each figure: the most colours that one of its canvases shows.
COLOURS = """() => [...document.querySelectorAll("[data-root-id]")].map((place) => {
  const canvases = [];
  const look = (root) => {
    root.querySelectorAll("canvas").forEach((c) => canvases.push(c));
    root.querySelectorAll("*").forEach((e) => e.shadowRoot && look(e.shadowRoot));
  };
  look(place);
  return Math.max(0, ...canvases.map((c) => {
    const context = c.getContext("2d");
    if (!context || !c.width || !c.height) return 0;
    return new Set(new Uint32Array(context.getImageData(0, 0, c.width, c.height).data.buffer)).size;
  }));
})"""
# By how many pixels a page can be scrolled sideways.
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# The right edges of figures; of each formula on lines of its own, the width that it needs and has.
WIDTHS = """() => {
  const figures = [];
  const look = (root) => root.querySelectorAll("*").forEach((e) => {
    if (e.classList.contains("bk-Figure")) figures.push(e.getBoundingClientRect().right);
    if (e.shadowRoot) look(e.shadowRoot);
  });
  look(document);
  const places = [...document.querySelectorAll("mjx-container[display=true]")];
  return { figures, formulas: places.map((e) => [e.scrollWidth, e.clientWidth]) };
}"""


@dataclass
class Visit:
    """What happened when a page was opened.

    Attributes:
        page: The file.
        failed: Addresses that did not load.
        errors: What scripts of the page complained of.
        n_figures: Figures that the page has.
        n_blank: Of these, the ones that were not drawn.
    """

    page: Path
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    n_figures: int = 0
    n_blank: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether a reader sees all of the page."""
        return not (self.failed or self.errors or self.n_blank)


def visit(browser: Any, pages: Iterable[Path]) -> list[Visit]:
    """Open pages from disk, one after the other, in a browser of playwright's that has no network."""
    visits = []
    context = browser.new_context(offline=True)
    for page in pages:
        tab = context.new_page()
        visits.append(_visit(tab, page))
        tab.close()
    context.close()
    return visits


def _visit(tab: Any, page: Path) -> Visit:
    seen = Visit(page)
    tab.on("requestfailed", lambda request: seen.failed.append(request.url))
    tab.on("pageerror", lambda error: seen.errors.append(str(error)))
    tab.goto(page.resolve().as_uri(), timeout=1000 * LOAD_S)
    seen.n_figures = tab.locator("[data-root-id]").count()
    end = time.monotonic() + DRAW_S
    while True:  # figures come one after the other, their paint a moment later
        seen.n_blank = sum(n < 2 for n in tab.evaluate(COLOURS))
        if seen.n_blank == 0 or time.monotonic() > end:
            break
        tab.wait_for_timeout(100)
    tab.wait_for_load_state("load")
    return seen
