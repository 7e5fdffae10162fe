"""Still pictures of Bokeh's figures, from what stands in a page, for readers whose scripts do not run.

Matplotlib draws what Bokeh would: curves, areas, points with their errors, bars, images, levels and
bands, with axes, legend and title.
"""

import io
import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

_DOCUMENT = re.compile(r'docs_json = |"doc": ')
_WIDTH, _HEIGHT, _DPI = 600, 280, 100  # screen pixels of a figure that says none
_ENTRY = 1.7  # inches of a legend's entry
_LOOK: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stills",
    "font.family": "sans-serif",
    "font.size": 8,
}
_UNSAID: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def stills(html: str) -> list[str]:
    """Return an SVG of each of Bokeh's figures in an output's HTML, in their order."""
    drawn: list[str] = []
    for found in _DOCUMENT.finditer(html):
        text = html[found.end() :].replace(r"<\/", "</")
        try:
            whole, _ = json.JSONDecoder().raw_decode(text)
        except ValueError:
            continue
        documents = [whole] if "roots" in whole else whole.values()
        drawn += [svg for document in documents for svg in _of_document(document)]
    return drawn


def _of_document(document: Any) -> Iterator[str]:
    from bokeh.document import Document

    # HoloViews puts models of Panel beside its figures, which tell of the page and draw nothing.
    known = [root for root in document["roots"] if not root["name"].startswith("panel.")]
    for root in Document.from_json(document | {"roots": known}).roots:
        for figure in _figures(root):
            yield _svg(figure)


def _figures(model: Any) -> Iterator[Any]:
    """Yield the figures of a layout, as they stand."""
    if hasattr(model, "renderers"):
        yield model
    for child in getattr(model, "children", ()):
        yield from _figures(child[0] if isinstance(child, tuple) else child)


def _svg(figure: Any) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    title = str(figure.title.text or "")
    size = ((figure.width or _WIDTH) / _DPI, (figure.height or _HEIGHT) / _DPI)
    with mpl.rc_context(_LOOK), io.StringIO() as written:
        page = Figure(size, dpi=_DPI, layout="constrained")
        axes = page.add_subplot()
        axes.set_title(title, loc="left", fontweight="bold")
        drawn = {r.id: _draw(axes, figure, r) for r in figure.renderers if _is_seen(r)}
        for name in "xy":
            _set_axis(axes, figure, name)
        for note in (*figure.renderers, *figure.center):
            _note(axes, note)
        items = [item for legend in figure.legend for item in legend.items]
        shown = {_words(item): drawn[r.id] for item in items for r in item.renderers if drawn.get(r.id)}
        if shown:
            n = max(1, int(page.get_figwidth() / _ENTRY))
            page.legend([*shown.values()], [*shown], loc="outside upper center", ncols=n, frameon=False)
        page.savefig(written, format="svg", metadata=_UNSAID)
        text = written.getvalue()
    return text[text.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{escape(title)}"', 1
    )


def _is_seen(renderer: Any) -> bool:
    return renderer.visible and hasattr(renderer, "glyph")


def _set_axis(axes: Any, figure: Any, name: str) -> None:
    """Give an axis its scale, ends and words."""
    held = getattr(figure, f"{name}_range")
    if type(getattr(figure, f"{name}_scale")).__name__ == "LogScale":
        axes.set(**{f"{name}scale": "log"})
    factors = getattr(held, "factors", None)
    ends = (0, len(factors)) if factors else (held.start, held.end)
    if all(isinstance(end, float | int) and np.isfinite(end) for end in ends):
        axes.set(**{f"{name}lim": ends})
    if factors:
        axes.set(**{f"{name}ticks": np.arange(len(factors)) + 0.5, f"{name}ticklabels": factors})
    for axis in getattr(figure, f"{name}axis")[:1]:
        axes.set(**{f"{name}label": axis.axis_label or ""})


def _draw(axes: Any, figure: Any, renderer: Any) -> Any:
    """Draw a glyph with its data; return what stands for it in a legend, None for none."""
    from matplotlib.collections import LineCollection

    glyph, kind = renderer.glyph, type(renderer.glyph).__name__

    def of(*names: str) -> list[Any]:
        return [_placed(figure, n[0], _column(renderer.data_source, getattr(glyph, n))) for n in names]

    line, fill = _look(glyph, "line"), _look(glyph, "fill")
    if kind in ("Line", "Step"):
        return axes.plot(*of("x", "y"), drawstyle="steps-mid" if kind == "Step" else None, **line)[0]
    if kind == "Scatter":
        return axes.scatter(*of("x", "y"), s=16, **fill)
    if kind == "Segment":
        x0, y0, x1, y1 = of("x0", "y0", "x1", "y1")
        ends = np.moveaxis(np.array([[x0, y0], [x1, y1]], dtype=float), 2, 0)
        return axes.add_collection(LineCollection(list(ends), **line))
    if kind == "VArea":
        return axes.fill_between(*of("x", "y1", "y2"), **fill)
    if kind == "Patch":
        return axes.fill(*of("x", "y"), **fill)[0]
    if kind == "Quad":
        return _quads(axes, renderer, fill)
    if kind == "Image":
        _image(axes, figure, renderer)
    return None


def _quads(axes: Any, renderer: Any, fill: dict[str, Any]) -> Any:
    """Draw bars, or a mesh whose colours tell values."""
    from matplotlib.collections import PolyCollection

    source, glyph = renderer.data_source, renderer.glyph
    left, right, bottom, top = (
        _column(source, getattr(glyph, name)) for name in ("left", "right", "bottom", "top")
    )
    sides = np.broadcast_arrays(left, bottom, left, top, right, top, right, bottom)
    corners = np.stack(sides, axis=-1)
    mapper = getattr(glyph.fill_color, "transform", None)
    if hasattr(mapper, "palette"):
        values = _column(source, glyph.fill_color)
        fill = {"array": values, "rasterized": True, **_colours(mapper)}
    return axes.add_collection(PolyCollection(list(corners.reshape(-1, 4, 2)), **fill))


def _image(axes: Any, figure: Any, renderer: Any) -> None:
    glyph, mapper = renderer.glyph, renderer.glyph.color_mapper
    names = ("image", "x", "y", "dw", "dh")
    image, x, y, dw, dh = (_column(renderer.data_source, getattr(glyph, n))[0] for n in names)
    drawn = axes.imshow(
        image,
        **_colours(mapper),
        extent=(x, x + dw, y, y + dh),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    for bar in figure.right:
        if getattr(bar, "color_mapper", None) is mapper:
            axes.figure.colorbar(drawn, label=bar.title or "")


def _colours(mapper: Any) -> dict[str, Any]:
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    norm = LogNorm if type(mapper).__name__.startswith("Log") else Normalize
    return {"cmap": ListedColormap(mapper.palette), "norm": norm(mapper.low, mapper.high)}


def _note(axes: Any, note: Any) -> None:
    """Draw errors of points, a level, or a band between two."""
    kind = type(note).__name__
    if kind == "Whisker":
        x, low, high = (_column(note.source, getattr(note, n)) for n in ("base", "lower", "upper"))
        axes.vlines(x, low, high, **(_look(note, "line") | {"color": "#333333"}))
    elif kind == "Span" and note.location is not None:
        draw = axes.axhline if note.dimension == "width" else axes.axvline
        draw(note.location, **_look(note, "line"))
    elif kind == "BoxAnnotation" and note.visible:
        is_across = isinstance(note.top, float | int) or isinstance(note.bottom, float | int)
        low, high = (note.bottom, note.top) if is_across else (note.left, note.right)
        ends = axes.get_ylim() if is_across else axes.get_xlim()
        at = [
            told if isinstance(told, float | int) else end
            for told, end in zip((low, high), ends, strict=True)
        ]
        (axes.axhspan if is_across else axes.axvspan)(*at, **_look(note, "fill"))


def _column(source: Any, told: Any) -> Any:
    """Return what a glyph takes from its data, or the one value that it has."""
    name = getattr(told, "field", told)
    values = source.data[name] if isinstance(name, str) else [getattr(told, "value", told)]
    return values if len(values) and np.ndim(values[0]) else np.asarray(values)


def _placed(figure: Any, name: str, values: Any) -> Any:
    """Return where values lie on an axis whose places may be names."""
    factors = getattr(getattr(figure, f"{name}_range"), "factors", None)
    if not factors:
        return values
    places = {factor: n + 0.5 for n, factor in enumerate(factors)}
    return [places.get(v, np.nan) if isinstance(v, str) else v for v in values]


def _look(glyph: Any, part: str) -> dict[str, Any]:
    """Return colour and width as Matplotlib takes them; one colour for what has many."""
    colour, alpha = (getattr(glyph, f"{part}_{n}", None) for n in ("color", "alpha"))
    look = {
        "color": colour if isinstance(colour, str) and colour.startswith("#") else "#0072B2",
        "alpha": alpha if isinstance(alpha, float | int) else 1,
    }
    if part == "fill":
        look["linewidth"] = 0
    else:
        width, dash = (getattr(glyph, f"line_{n}", None) for n in ("width", "dash"))
        look["linewidth"] = width if isinstance(width, float | int) else 1
        look["linestyle"] = "dashed" if dash else "solid"
    return look


def _words(item: Any) -> str:
    return str(getattr(item.label, "value", item.label))
