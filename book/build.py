"""Run every notebook, then build the book from the executed ones: `python book/build.py`.

A notebook that has run before with the same code and parameters is found and not run again. Nothing is
fetched from the network, neither now nor when the book is read.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import offline
import reference

from physics_twins import notebooks

BOOK = Path(__file__).resolve().parent
SOURCES = BOOK.parent / "notebooks"
PAGES = BOOK / "_build" / "html"
LARGEST_PAGE_BYTES = 4_000_000


def main() -> int:
    """Build the book; return 0 when it is complete, every page small and free of remote scripts."""
    os.chdir(BOOK.parent)
    try:
        for path in sorted(SOURCES.rglob("*.ipynb")):
            if ".ipynb_checkpoints" not in path.parts:
                add_page(execute(path), path.relative_to(SOURCES))
    except notebooks.NotebookError as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
    shutil.copytree(SOURCES / "pictures", BOOK / "notebooks" / "pictures", dirs_exist_ok=True)
    reference.write(BOOK / "reference")
    status = build(BOOK)
    problems = problems_of(PAGES)
    print("\n".join(problems) or f"The book is complete: {PAGES / 'index.html'}")
    return status or int(bool(problems))


def execute(path: Path) -> Path:
    """Return the executed notebook of a finished run of the one at `path`.

    Raises:
        NotebookError: It failed; what it had done is in its run's folder.
    """
    print(f"book: running {path.relative_to(SOURCES)}", flush=True)
    run = notebooks.run(path)
    if run.status != "complete":
        raise notebooks.NotebookError(f"{path.name} ended as {run.status}, see {run}")
    return run.folder / path.name


def add_page(executed: Path, page: Path) -> None:
    """Copy an executed notebook into the book, in the form that a page needs."""
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    offline.lighten(notebook, to_figures="../" * len(page.parts) + "_static/figures/")
    target = BOOK / "notebooks" / page
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook), encoding="utf-8")


def build(book: Path) -> int:
    """Build the pages of the folder `book` with Jupyter Book, warnings as errors; return its status."""
    offline.copy_scripts(book / "_shared" / "figures")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    return subprocess.call([*jupyter_book, "build", "-W", "--keep-going", "-q", str(book)])


def problems_of(pages: Path) -> list[str]:
    """Return what would keep a reader without network, or with a slow one, from reading the pages."""
    found = [] if (pages / "index.html").is_file() else [f"{pages / 'index.html'} was not built"]
    for page in sorted(pages.rglob("*.html")):
        found += [f"{page} loads from elsewhere: {what}" for what in offline.remote_loads(page)]
        if page.stat().st_size > LARGEST_PAGE_BYTES:
            found.append(f"{page} has {page.stat().st_size / 1e6:.1f} MB, more than 4")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
