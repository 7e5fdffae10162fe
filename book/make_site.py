"""Write a site of the first ten minutes and of every panel's picture: `make site`.

It is for those who will not install. Its pages are reports of runs, which are found where they are
finished: code is folded, figures can be zoomed, and nothing is loaded from elsewhere. Any web server
shows it, and so does a browser from disk.
"""

import os
import posixpath
import re
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path

import reading

from physics_twins import runs

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "book" / "_build" / "site"
# The first ten minutes, and what has a panel; each with its picture of the start page.
PAGES = {
    "tour/first_ten_minutes": "ten_minutes",
    "pulsar/1_simulate": "pulsar",
    "calorimeter/4_infer": "calorimeter",
    "virgo/1_simulate": "virgo",
    "lattice/1_simulate": "lattice",
}
_OF_A_RUN = re.compile(r'<div class="twin-run">.*?</div>', re.DOTALL)
_LINK = re.compile(r"</?a\b[^>]*>")
_TO_A_NOTEBOOK = re.compile(r'<a href="([^":]+)\.ipynb"[^>]*>(.*?)</a>', re.DOTALL)
_FIRST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>physics-twins</title><style>
body {{ font-family: sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; line-height: 1.5; }}
li {{ list-style: none; margin: 2em 0; }} ul {{ padding: 0; }} img {{ max-width: 100%; }}
</style></head><body><main><h1>physics-twins</h1>
<p>Digital twins of physics instruments, in JupyterLab. These pages were computed, with all their
figures; to move a slider or change a parameter, install it.</p><ul>
{items}
</ul></main></body></html>
"""


def main() -> int:
    """Write the site; return 0 when it is complete and nothing in it leads nowhere."""
    shutil.rmtree(SITE, ignore_errors=True)
    write(SITE, list(PAGES))
    found = reading.broken_links(SITE)
    print("\n".join(found) or f"The site is complete: {SITE / 'index.html'}")
    return int(bool(found))


def write(site: Path, names: Sequence[str], pictures: Path = ROOT / "notebooks" / "pictures") -> None:
    """Run notebooks, and write their pages and a first page that leads to them.

    Raises:
        ValueError: One of them failed.
    """
    items = []
    here = f"{runs.default_root().resolve().parent}{os.sep}"  # where it was made is nobody's business
    for name in names:
        run = runs.run(name)
        if run.status != "complete":
            raise ValueError(f"{name} ended as {run.status}, see {run}")
        page = site / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        report = run.report.read_text(encoding="utf-8").replace(here, "")
        page.write_text(linked(report, name, names), encoding="utf-8")
        title, picture = escape(runs.notebook(name).title), pictures / f"{PAGES.get(name, '')}.webp"
        shown = ""
        if picture.is_file():
            shutil.copyfile(picture, site / picture.name)
            shown = f'<br><img src="{picture.name}" alt="A figure of this page">'
        items.append(f'<li><a href="{name}.html">{title}{shown}</a></li>')
    (site / "index.html").write_text(_FIRST.format(items="\n".join(items)), encoding="utf-8")


def linked(report: str, name: str, names: Sequence[str]) -> str:
    """Return a report whose links to notebooks lead to pages of the site; other notebooks are named."""

    def to_page(found: re.Match[str]) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
        return f'<a href="{found[1]}.html">{found[2]}</a>' if other in names else found[2]

    unlinked = _OF_A_RUN.sub(lambda found: _LINK.sub("", found[0]), report)
    return _TO_A_NOTEBOOK.sub(to_page, unlinked)


if __name__ == "__main__":
    raise SystemExit(main())
