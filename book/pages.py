"""From the run of a notebook to its page in the book."""

import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import offline

from physics_twins.runs import Run

# Whose versions a page names: what draws random numbers, what trains, what runs the notebook.
_NAMED = ("numpy", "torch", "papermill")


def write(page: Path, run: Run, *, depth: int) -> None:
    """Write the executed notebook of a run as a page that needs neither a kernel nor a network.

    Args:
        page: The notebook to write.
        run: With an executed notebook of the same name.
        depth: How many folders the page's HTML lies below the book's first one.
    """
    notebook = json.loads((run.folder / page.name).read_text(encoding="utf-8"))
    offline.lighten(notebook, to_figures="../" * depth + "_static/figures/")
    notebook["cells"].insert(1, line_cell(run.provenance))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps(notebook), encoding="utf-8")


def line_cell(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cell that says when, how long and with what a run was executed."""
    started = datetime.fromisoformat(record["started"])
    interpreter = record["interpreter"]
    what = [f"physics-twins {record['code']['version']}", f"Python {interpreter['python']}"]
    what += [f"{name} {interpreter['packages'][name]}" for name in _NAMED]
    text = (
        f"*Executed on {started.day} {started:%B %Y} in {in_words(record['duration_s'])} with"
        f" {', '.join(what)}; run* `{record['identity'][:12]}`."
    )
    return {"cell_type": "markdown", "metadata": {}, "id": "run-line", "source": text}


def in_words(duration_s: float) -> str:
    """Return a duration for a reader.

    >>> in_words(33.2), in_words(125.0)
    ('33 s', '2 min 5 s')
    """
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def offer_sources(sources: Path, html: Path) -> None:
    """Let the download button of each page give the notebook as it is written, ready to be run."""
    for page in (html / "_sources" / "notebooks").rglob("*.ipynb"):
        shutil.copyfile(sources / page.relative_to(html / "_sources" / "notebooks"), page)
