"""Make a book's figures and formulas draw without network, from scripts of the installed packages."""

import importlib.metadata
import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import figures

# HoloViews writes all of Bokeh and Panel into every notebook; the book has one copy for all pages.
_LOADS = re.compile(r"application/vnd\.(holoviews|bokehjs)_load\.v0\+json")
_EXECUTES = re.compile(r"application/vnd\.(holoviews|bokehjs)_exec\.v0\+json")
_WITHOUT_KERNEL = ("panel.models.browser.BrowserInfo", 'class="logo-block"', '"esms-options"')
_WIDGET = "application/vnd.jupyter.widget-view+json"
_LIVE = "<p><em>A live panel stands here: open this notebook in JupyterLab to use it.</em></p>"
_OF_A_RUN, _LINK = 'class="twin-run"', re.compile(r"</?a\b[^>]*>")
_PANEL_ADDRESS = re.compile(r"https://cdn\.holoviz\.org/panel/[^/\"']+/dist/")

_BOOK = Path(__file__).resolve().parent
_OWN = ("style.css", "narrow.js")
_SEARCH = "searching.js"
_BOKEH_SCRIPTS = ("bokeh", "bokeh-gl", "bokeh-widgets", "bokeh-tables")
_PANEL_FILES = ("panel.min.js", "css", "bundled/theme")
_MATHJAX_FILES = ("tex-chtml-full.js", "output/chtml/fonts")

_REMOTE = re.compile(r"\s*(https?:)?//")
_REMOTE_IN_SCRIPT = re.compile(r"https?://[^\s\"'`\\<>]+\.(?:m?js|css)\b")
_LOADING = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "embed": "src",
}
_LINKS_THAT_ONLY_NAME = {
    "canonical",
    "author",
    "license",
    "next",
    "prev",
    "search",
    "index",
    "alternate",
}


def copy_scripts(folder: Path) -> None:
    """Copy the scripts, styles and fonts that pages use from the installed packages into `folder`.

    Beside it come the book's own style and script.
    """
    for name in _OWN:
        _copy(_BOOK / name, folder.parent / name)
    bokeh = _package_folder("bokeh") / "server" / "static" / "js"
    for name in _BOKEH_SCRIPTS:
        _copy(bokeh / f"{name}.min.js", folder / f"{name}.min.js")
    panel = _package_folder("panel") / "dist"
    for name in _PANEL_FILES:
        _copy(panel / name, folder / "panel" / name)
    mathjax = importlib.metadata.distribution("sphinx-mathjax-offline")
    for name in _MATHJAX_FILES:
        source = Path(str(mathjax.locate_file(f"sphinx-mathjax-offline/static/mathjax/{name}")))
        _copy(source, folder / "mathjax" / name)


def lighten(notebook: dict[str, Any], *, to_figures: str) -> None:
    """Remove from an executed notebook what only a kernel needs, and let its figures use local styles.

    Args:
        notebook: The notebook as JSON, changed in place.
        to_figures: The way from its page to the folder of `copy_scripts`, ending in a slash.
    """
    notebook["metadata"].pop("widgets", None)
    notebook["cells"] = [cell for cell in notebook["cells"] if not _is_injected(cell)]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [kept for o in cell["outputs"] if (kept := _lighter(o, to_figures))]


def let_search_quote(folder: Path) -> None:
    """Give the search of a built book the words of all its pages: from disk it could not read them."""
    texts = {}
    for page in folder.rglob("*.html"):
        reader = _Words()
        reader.feed(page.read_text(encoding="utf-8"))
        if reader.words:
            texts[page.relative_to(folder).as_posix()] = " ".join("".join(reader.words).split())
    script = f"window.texts = {json.dumps(texts)};\n{(_BOOK / _SEARCH).read_text()}"
    (folder / "_static" / _SEARCH).write_text(script, encoding="utf-8")
    search = folder / "search.html"
    loads = f'<script src="_static/{_SEARCH}"></script></head>'
    search.write_text(search.read_text(encoding="utf-8").replace("</head>", loads), encoding="utf-8")


def remote_loads(page: Path) -> list[str]:
    """Return what a page would load from elsewhere when a reader opens it."""
    collector = _Loads()
    collector.feed(page.read_text(encoding="utf-8"))
    return collector.found


def _is_injected(cell: dict[str, Any]) -> bool:
    """Return whether a cell repeats the defaults, with the folder of this machine's run."""
    return "injected-parameters" in cell["metadata"].get("tags", [])


def _lighter(output: dict[str, Any], to_figures: str) -> dict[str, Any] | None:
    data = output.get("data")
    if data is None:
        return output
    text = "".join(data.get("text/html", ""))
    if not data or any(map(_LOADS.match, data)) or any(mark in text for mark in _WITHOUT_KERNEL):
        return None
    if _WIDGET in data:
        return output | {"data": {"text/html": _LIVE + text}}
    kept = {kind: value for kind, value in data.items() if not _EXECUTES.match(kind)}
    if _OF_A_RUN in text:  # the files of its folder are not in the book
        text = _LINK.sub("", text)
    if text:
        kept["text/html"] = figures.in_words(_PANEL_ADDRESS.sub(f"{to_figures}panel/", text))
    return output | {"data": kept}


class _Words(HTMLParser):
    """Collects the words of a page's article, without those of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._is_inside = self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_inside |= tag == "article"
        self._is_script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._is_inside &= tag != "article"
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if self._is_inside and not self._is_script:
            self.words.append(data)


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = {name: value or "" for name, value in attrs}
        if tag == "link" and set(values.get("rel", "").split()) & _LINKS_THAT_ONLY_NAME:
            return
        address = values.get(_LOADING.get(tag, ""), "")
        if _REMOTE.match(address):
            self.found.append(f"<{tag}> {address}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.found += [f"in a {self._inside}: {m[0]}" for m in _REMOTE_IN_SCRIPT.finditer(data)]


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the book needs the package {name}: install physics-twins[book]")
    return Path(spec.origin).parent


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
