"""What keeps somebody from reading a built book: dead links, figures without words, lost headings."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ADDRESSES = {
    "a": "href",
    "link": "href",
    "img": "src",
    "script": "src",
    "source": "src",
    "iframe": "src",
}
# A relation that tells a machine where more is; nothing is opened there.
_NO_LINKS = {"canonical", "alternate"}
_FIGURE = "data-root-id"  # where Bokeh will draw
_SAYS_NOTHING = re.compile(
    r"|image|figure|picture|plot|_images/.*|.*\.(png|jpe?g|svg|gif)", re.IGNORECASE
)


@dataclass
class Page:
    """What a page of HTML holds, as far as a reader needs it to be right.

    Attributes:
        anchors: Every `id` and `name` that a link can lead to.
        links: Addresses that stand in the page, as they are written.
        without_words: Images and figures that say nothing to those who do not see them.
        headings: Levels of the headings, in order.
        language: Of the page, "" where it does not say.
        skips: Whether its first link leads past the navigation.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    without_words: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    language: str = ""
    skips: bool = False


def pages_of(folder: Path) -> list[Path]:
    """Return the pages of a built book; what the theme keeps beside its scripts is none."""
    found = sorted(folder.rglob("*.html"))
    return [path for path in found if "_static" not in path.relative_to(folder).parts]


def read(path: Path) -> Page:
    """Return what a page holds."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def broken_links(folder: Path) -> list[str]:
    """Return every link within the book below `folder` whose file or anchor is not there."""
    pages = {path.resolve(): read(path) for path in pages_of(folder)}
    found = []
    for path, page in pages.items():
        wrong = {link for link in page.links if not _leads_somewhere(link, path, folder, pages)}
        found += [f"{path.relative_to(folder.resolve())} links to {link}" for link in sorted(wrong)]
    return found


def figures_without_words(folder: Path) -> list[str]:
    """Return every image and figure below `folder` that has no text instead."""
    return [
        f"{path.relative_to(folder)} has no words for {what}"
        for path in pages_of(folder)
        for what in read(path).without_words
    ]


def hard_to_follow(folder: Path) -> list[str]:
    """Return pages whose headings skip a level, or without a language or a way past the navigation."""
    found = []
    for path in pages_of(folder):
        page, name = read(path), path.relative_to(folder)
        if not page.headings:  # a page that only sends on to another
            continue
        steps = zip(page.headings, page.headings[1:], strict=False)
        if page.headings[0] != 1 or any(after > before + 1 for before, after in steps):
            found.append(f"{name} has headings of levels {page.headings}")
        if not page.language:
            found.append(f"{name} does not say its language")
        if not page.skips:
            found.append(f"{name} has no link past its navigation")
    return found


def _leads_somewhere(link: str, path: Path, folder: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # elsewhere, or a script or mail address
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.is_relative_to(folder.resolve()):
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._around: list[bool] = []  # of each open <div>: whether it speaks for what is inside
        self._has_links = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.anchors |= {values[name] for name in ("id", "name") if name in values}
        self._take_link(tag, values)
        if tag == "html":
            self.page.language = values.get("lang", "")
        elif re.fullmatch("h[1-6]", tag):
            self.page.headings.append(int(tag[1]))
        elif tag == "img" and _SAYS_NOTHING.fullmatch(values.get("alt", "").strip()):
            decorates = values.get("aria-hidden") == "true" or "logo" in values.get("class", "")
            self.page.without_words += [] if decorates else [values.get("src", "an image")[:80]]
        elif tag == "div":
            if _FIGURE in values and not any(self._around) and not _speaks(values):
                self.page.without_words.append(f"the figure {values[_FIGURE]}")
            self._around.append(_speaks(values))

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._around:
            self._around.pop()

    def _take_link(self, tag: str, values: dict[str, str]) -> None:
        address = values.get(_ADDRESSES.get(tag, ""), "")
        if not address or set(values.get("rel", "").split()) & _NO_LINKS:
            return
        self.page.links.append(address)
        if tag == "a" and not self._has_links:
            self._has_links = True
            self.page.skips = address.startswith("#") and len(address) > 1


def _speaks(values: dict[str, str]) -> bool:
    return values.get("role") in ("figure", "img") and bool(values.get("aria-label", "").strip())
