"""The figures of the book, as it has been built; part of `panels.py`."""

import sys
from pathlib import Path

from _table import Figure, Skipped, this_machine

_ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(_ROOT / "book"), str(_ROOT / "tests")]  # what reads the book, and a browser

import browsing
import reading
from lab_browser import running_browser, why_no_browser

from physics_twins import runs
from physics_twins.parameters import Execution
from physics_twins.runs import Notebook

HTML = _ROOT / "book" / "_build" / "html"


def book_offline() -> Figure:
    """What is missing when all pages are opened without network, and the largest page in MB.

    Every page is opened from disk in Chromium. Counted are requests that fail, complaints of scripts,
    and figures that are not drawn.
    """
    pages = _pages()
    if why := why_no_browser():
        raise Skipped(why)
    with running_browser() as browser:
        visits = browsing.visit(browser, pages)
    missing = sum(len(each.failed) + len(each.errors) + each.n_blank for each in visits)
    largest_mb = max(page.stat().st_size for page in pages) / 1e6
    return Figure([missing, largest_mb], None, "1, MB", "0, 4", this_machine())


def book_links_alt() -> Figure:
    """Links and anchors within the book that lead nowhere, and figures without words."""
    _pages()
    counts = [len(found(HTML)) for found in (reading.broken_links, reading.figures_without_words)]
    return Figure([float(n) for n in counts], None, "1", "0, 0", this_machine())


def notebooks_executed() -> Figure:
    """Notebooks with a finished run of the present code and their own parameters, and minutes for all.

    These are the runs that the book is made of; tests execute each notebook with no larger parameters.
    """
    found = [p for p in sorted((_ROOT / "notebooks").rglob("*.ipynb")) if p.parent.name[0] != "."]
    spent_s = [_duration_s(runs.notebook(path)) for path in found]
    done_s = [each for each in spent_s if each is not None]
    if not done_s:
        raise Skipped("no notebook has been run with this code: make book")
    values = [len(done_s) / len(found), sum(done_s) / 60]
    return Figure(values, None, "1, min", "1, 10", this_machine())


def _pages() -> list[Path]:
    pages = reading.pages_of(HTML)
    if not pages:
        raise Skipped("there is no book yet: make book")
    return pages


def _duration_s(notebook: Notebook) -> float | None:
    """Return how long the newest finished run of a notebook took; None where there is none."""
    values = {name: value for name, value in notebook.check({}).items() if name not in Execution.HOW}
    source = runs.source_sha256(notebook.twins)
    for run in reversed(runs.find(notebook=notebook.name, status="complete")):
        code = run.provenance["code"]
        same = (code.get("notebook_sha256"), code["source_sha256"]) == (notebook.sha256, source)
        if same and run.parameters == values:
            return float(run.provenance["duration_s"])
    return None


BENCHMARKS = {
    "book_offline": book_offline,
    "book_links_alt": book_links_alt,
    "notebooks_executed": notebooks_executed,
}
