"""Run every notebook, then build the book from the executed ones: `python book/build.py`.

A notebook that has run before with the same code and parameters is found and not run again. Nothing is
fetched from the network, neither now nor when the book is read.
"""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import offline
import pages
import reading
import reference
import yaml

from physics_twins import runs
from physics_twins.runs import Run

BOOK = Path(__file__).resolve().parent
SOURCES = BOOK.parent / "notebooks"
PAGES = BOOK / "_build" / "html"
LARGEST_PAGE_BYTES = 4_000_000
BINDER = "https://mybinder.org"


def main() -> int:
    """Build the book; return 0 when it is complete and nothing keeps anybody from reading it."""
    os.chdir(BOOK.parent)
    found = [p for p in sorted(SOURCES.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    try:
        for number, path in enumerate(found, start=1):
            name = path.relative_to(SOURCES)
            print(f"book: {number} of {len(found)}, {name} ...", flush=True)
            pages.write(BOOK / "notebooks" / name, execute(path), depth=len(name.parts))
    except ValueError as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
    shutil.copytree(SOURCES / "pictures", BOOK / "notebooks" / "pictures", dirs_exist_ok=True)
    reference.write(BOOK / "reference")
    status = build(BOOK)
    pages.offer_sources(SOURCES, PAGES)
    reference.link_names(PAGES)
    offline.let_search_quote(PAGES)
    problems = problems_of(PAGES)
    print("\n".join(problems) or f"The book is complete: {PAGES / 'index.html'}")
    return status or int(bool(problems))


def execute(path: Path) -> Run:
    """Return a finished run of the notebook at `path`, made now where there is none.

    Raises:
        ValueError: It failed; what it had done is in its run's folder.
    """
    started = time.monotonic()
    run = runs.run(path)
    if run.status != "complete":
        raise ValueError(f"{path.name} ended as {run.status}, see {run}")
    how = "found" if run.reused else f"took {time.monotonic() - started:.0f} s"
    print(f"book:   {how}, run {run.folder.name}", flush=True)
    return run


def build(book: Path, *, repository: str | None = None) -> int:
    """Build the pages of the folder `book` with Jupyter Book, warnings as errors; return its status.

    Args:
        book: With `_config.yml` and `_toc.yml`.
        repository: Address that Binder can take the notebooks from; by default the project's own, ""
            for none: then there is no button.
    """
    offline.copy_scripts(book / "_shared" / "figures")
    config = yaml.safe_load((book / "_config.yml").read_text(encoding="utf-8"))
    if address := repository_address() if repository is None else repository:
        # Jupyter Book's own keys for these would be replaced by the theme's options.
        config["sphinx"]["config"]["html_theme_options"] |= {
            "repository_url": address,
            "repository_branch": "main",
            "launch_buttons": {"binderhub_url": BINDER, "notebook_interface": "jupyterlab"},
        }
    used = book / "_build" / "config.yml"
    used.parent.mkdir(exist_ok=True)
    used.write_text(yaml.safe_dump(config), encoding="utf-8")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["-W", "--keep-going", "-q", "--config", str(used)]
    return subprocess.call([*jupyter_book, "build", *options, str(book)])


def repository_address(project: Path = BOOK.parent) -> str:
    """Return the address of the project's repository, as its own files name it; "" where none does."""
    urls = tomllib.loads((project / "pyproject.toml").read_text())["project"].get("urls", {})
    named = {name.lower(): address for name, address in urls.items()}
    citation = project / "CITATION.cff"
    cited = yaml.safe_load(citation.read_text()) if citation.is_file() else {}
    address = named.get("repository") or named.get("source") or cited.get("repository-code", "")
    return address.removesuffix("/")


def problems_of(folder: Path) -> list[str]:
    """Return what would keep somebody from reading the pages, without network or without sight."""
    found = [] if (folder / "index.html").is_file() else [f"{folder / 'index.html'} was not built"]
    for page in reading.pages_of(folder):
        found += [f"{page} loads from elsewhere: {what}" for what in offline.remote_loads(page)]
        if page.stat().st_size > LARGEST_PAGE_BYTES:
            found.append(f"{page} has {page.stat().st_size / 1e6:.1f} MB, more than 4")
    found += reading.broken_links(folder)
    return found + reading.figures_without_words(folder) + reading.hard_to_follow(folder)


if __name__ == "__main__":
    raise SystemExit(main())
