"""Still pictures of Bokeh's figures, from what stands in a page, for readers whose scripts do not run.

Matplotlib draws what Bokeh would: curves, areas, points with their errors, boxes, images, words, levels
and bands, with axes, legend, colour bars and title.
"""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
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
_MARKERS = {"square": "s", "triangle": "^", "inverted_triangle": "v", "diamond": "D", "x": "x"}
_MARKERS |= {"cross": "+", "star": "*", "dash": "_"}
_USUAL = "#0072B2"
_MOST_WORDS = 200


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
            with suppress(Exception):  # what cannot be drawn so does not take the others along
                yield _svg(figure)


def _figures(model: Any) -> Iterator[Any]:
    """Yield the figures of a layout, as they stand."""
    if hasattr(model, "renderers"):
        yield model
    for child in getattr(model, "children", ()):  # a grid's stand beside their places
        yield from _figures(child[0] if isinstance(child, tuple | list) else child)


def _svg(figure: Any) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of its fonts nobody needs to hear
    title = str(figure.title.text or "")
    size = ((figure.width or _WIDTH) / _DPI, (figure.height or _HEIGHT) / _DPI)
    with mpl.rc_context(_LOOK), io.StringIO() as written:
        page = Figure(size, dpi=_DPI, layout="constrained")
        still = _Still(figure, page.add_subplot())
        still.draw()
        still.axes.set_title(title.replace("$", r"\$"), loc="left", fontweight="bold")
        if shown := still.legend():
            n = max(1, int(page.get_figwidth() / _ENTRY))
            page.legend([*shown.values()], [*shown], loc="outside upper center", ncols=n, frameon=False)
        page.savefig(written, format="svg", metadata=_UNSAID)
        text = written.getvalue()
    named = f'<svg role="img" aria-label="{escape(title)}"'
    return text[text.index("<svg") :].replace("<svg", named, 1)


class _Still:
    """One figure, and the axes that it is drawn on."""

    def __init__(self, figure: Any, axes: Any) -> None:
        self.axes, self._figure = axes, figure
        self._drawn: dict[str, Any] = {}  # what stands for a renderer, or for a mapper of colours

    def draw(self) -> None:
        for each in self._figure.renderers:
            if each.visible and hasattr(each, "glyph"):
                self._drawn[each.id] = self._glyph(each)
        for name in "xy":
            self._set_axis(name)
        for note in (*self._figure.renderers, *self._figure.center):
            self._note(note)
        for bar in self._figure.right:
            drawn = self._drawn.get(getattr(getattr(bar, "color_mapper", None), "id", ""))
            if drawn is not None:
                self.axes.figure.colorbar(drawn, label=bar.title or "")

    def legend(self) -> dict[str, Any]:
        """Return what stands for each entry of the legend that is drawn."""
        items = [item for legend in self._figure.legend for item in legend.items]
        pairs = [(_value(item.label), self._drawn.get(r.id)) for item in items for r in item.renderers]
        return {str(words): drawn for words, drawn in pairs if drawn}

    def _set_axis(self, name: str) -> None:
        """Give an axis its scale, ends and words."""
        held = getattr(self._figure, f"{name}_range")
        if type(getattr(self._figure, f"{name}_scale")).__name__ == "LogScale":
            self.axes.set(**{f"{name}scale": "log"})
        factors = getattr(held, "factors", None)
        ends = (0, len(factors)) if factors else (held.start, held.end)
        if all(isinstance(end, float | int) and np.isfinite(end) for end in ends):
            self.axes.set(**{f"{name}lim": ends})
        if factors:
            places = np.arange(len(factors)) + 0.5
            self.axes.set(**{f"{name}ticks": places, f"{name}ticklabels": [str(f) for f in factors]})
        for axis in getattr(self._figure, f"{name}axis")[:1]:
            self.axes.set(**{f"{name}label": axis.axis_label or ""})
            if isinstance(axis.major_label_orientation, float | int):
                angle = np.degrees(axis.major_label_orientation)
                self.axes.tick_params(axis=name, labelrotation=angle)

    def _of(self, model: Any, source: Any, *names: str, on: str = "") -> list[Any]:
        """Return what a glyph or note takes from its data, where it lies on its axes."""
        columns = (_column(source, getattr(model, name)) for name in names)
        return [self._placed(on or n[0], column) for n, column in zip(names, columns, strict=True)]

    def _placed(self, name: str, values: Any) -> Any:
        """Return where values lie on an axis whose places may be names, with or without an offset."""
        factors = getattr(getattr(self._figure, f"{name}_range", None), "factors", None)
        if not factors:
            return values
        places = {factor: n + 0.5 for n, factor in enumerate(factors)}

        def place(value: Any) -> float:
            name, away = value if isinstance(value, tuple | list) else (value, 0.0)
            return places.get(name, np.nan) + away if isinstance(name, str) else name

        return np.array([place(value) for value in values], dtype=float)

    def _glyph(self, renderer: Any) -> Any:
        """Draw a glyph with its data; return what stands for it in a legend, None for none."""
        from matplotlib.collections import LineCollection

        glyph, source = renderer.glyph, renderer.data_source
        kind = type(glyph).__name__
        if kind in ("Line", "Step"):
            steps = "steps-mid" if kind == "Step" else None
            (line,) = self.axes.plot(
                *self._of(glyph, source, "x", "y"), drawstyle=steps, **_line(glyph)
            )
            return line
        if kind == "Scatter":
            marker = _MARKERS.get(_value(glyph.marker), "o")
            size = (0.72 * float(_value(glyph.size) or 4)) ** 2
            look = self._fill(glyph, source) | {"marker": marker, "s": size}
            if "array" in look:  # values that colours tell
                look["c"] = look.pop("array")
            return self._known(glyph, self.axes.scatter(*self._of(glyph, source, "x", "y"), **look))
        if kind in ("Segment", "MultiLine"):
            if kind == "Segment":
                x0, y0, x1, y1 = self._of(glyph, source, "x0", "y0", "x1", "y1")
                pieces = np.stack([np.stack([x0, y0], -1), np.stack([x1, y1], -1)], axis=1)
            else:
                xs, ys = (_column(source, getattr(glyph, name)) for name in ("xs", "ys"))
                pieces = [np.column_stack(pair) for pair in zip(xs, ys, strict=True)]
            return self.axes.add_collection(LineCollection(list(pieces), **_line(glyph)))
        if kind == "VArea":
            look = self._fill(glyph, source)
            return self.axes.fill_between(*self._of(glyph, source, "x", "y1", "y2"), **look)
        if kind == "Patch":
            return self.axes.fill(*self._of(glyph, source, "x", "y"), **self._fill(glyph, source))[0]
        if kind in ("Quad", "Rect", "VBar", "HBar"):
            return self._boxes(glyph, source)
        if kind == "Image":
            self._image(glyph, source)
        if kind == "Text":
            told = zip(*self._of(glyph, source, "x", "y"), _column(source, glyph.text), strict=True)
            for x, y, words in [*told][:_MOST_WORDS]:
                self.axes.text(x, y, str(words), ha="center", va="center", clip_on=True)
        return None

    def _boxes(self, glyph: Any, source: Any) -> Any:
        """Draw bars, boxes, or a mesh whose colours tell values."""
        from matplotlib.collections import PolyCollection

        kind = type(glyph).__name__
        if kind == "Quad":
            left, right = self._of(glyph, source, "left", "right", on="x")
            bottom, top = self._of(glyph, source, "bottom", "top", on="y")
        else:
            ends = []
            for name, size, low, high in (
                ("x", "width", "left", "right"),
                ("y", "height", "bottom", "top"),
            ):
                if hasattr(glyph, size):
                    (middle,) = self._of(glyph, source, name)
                    half = np.asarray(_column(source, getattr(glyph, size)), dtype=float) / 2
                    ends += [middle - half, middle + half]
                else:
                    ends += self._of(glyph, source, low, high, on=name)
            left, right, bottom, top = ends
        sides = np.broadcast_arrays(left, bottom, left, top, right, top, right, bottom)
        corners = np.stack(sides, axis=-1).reshape(-1, 4, 2)
        look = self._fill(glyph, source)
        drawn = PolyCollection(list(corners), rasterized="array" in look, **look)
        self.axes.add_collection(drawn)
        return self._known(glyph, drawn)

    def _image(self, glyph: Any, source: Any) -> None:
        names = ("image", "x", "y", "dw", "dh")
        image, x, y, dw, dh = (_column(source, getattr(glyph, name))[0] for name in names)
        if np.size(image):
            extent = (x, x + dw, y, y + dh)
            look: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
            look |= _colours(glyph.color_mapper, image)
            drawn = self.axes.imshow(image, extent=extent, **look)
            self._drawn[glyph.color_mapper.id] = drawn

    def _fill(self, glyph: Any, source: Any) -> dict[str, Any]:
        """Return colours of faces and edges as Matplotlib's collections take them."""
        edge = _rgba(glyph, "line", source) if hasattr(glyph, "line_color") else "none"
        mapper: Any = getattr(glyph.fill_color, "transform", None)
        if hasattr(mapper, "palette"):
            values = _column(source, glyph.fill_color)
            return {"array": values, **_colours(mapper, values)}
        width = getattr(glyph, "line_width", 0)
        return {
            "facecolor": _rgba(glyph, "fill", source),
            "edgecolor": edge,
            "linewidth": width if isinstance(width, float | int) else 1,
        }

    def _known(self, glyph: Any, drawn: Any) -> Any:
        """Remember what is drawn by values, for their colour bar; return it."""
        mapper: Any = getattr(glyph.fill_color, "transform", None)
        if hasattr(mapper, "palette"):
            self._drawn[mapper.id] = drawn
        return drawn

    def _note(self, note: Any) -> None:
        """Draw errors of points, a level, or a band between two."""
        kind = type(note).__name__
        if kind == "Whisker":
            is_up = note.dimension == "height"
            (base,) = self._of(note, note.source, "base", on="x" if is_up else "y")
            low, high = self._of(note, note.source, "lower", "upper", on="y" if is_up else "x")
            (self.axes.vlines if is_up else self.axes.hlines)(base, low, high, **_line(note))
        elif kind == "Span" and note.location is not None:
            draw = self.axes.axhline if note.dimension == "width" else self.axes.axvline
            draw(note.location, **_line(note))
        elif kind == "BoxAnnotation" and note.visible:
            is_across = isinstance(note.top, float | int) or isinstance(note.bottom, float | int)
            told = (note.bottom, note.top) if is_across else (note.left, note.right)
            ends = self.axes.get_ylim() if is_across else self.axes.get_xlim()
            at = [t if isinstance(t, float | int) else e for t, e in zip(told, ends, strict=True)]
            draw = self.axes.axhspan if is_across else self.axes.axvspan
            draw(*at, color=_rgba(note, "fill", None), linewidth=0)


def _value(told: Any) -> Any:
    """Return the one value that a property has, None where it comes from the data."""
    return None if hasattr(told, "field") else getattr(told, "value", told)


def _column(source: Any, told: Any) -> Any:
    """Return what a glyph takes from its data, or the one value that it has."""
    name = getattr(told, "field", told)
    values = source.data[name] if isinstance(name, str) else [_value(told)]
    is_plain = not len(values) or not np.ndim(values[0]) or isinstance(values, np.ndarray)
    return np.asarray(values) if is_plain else values


def _colours(mapper: Any, values: Any) -> dict[str, Any]:
    """Return the colours of values, and which value has which."""
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    low, high = mapper.low, mapper.high
    is_log = type(mapper).__name__.startswith("Log")
    if is_log and not (low or 0) > 0:
        above = values[np.asarray(values) > 0]
        low, is_log = (above.min(), True) if above.size else (low, False)
    norm = (LogNorm if is_log else Normalize)(low, high)
    return {"cmap": ListedColormap(mapper.palette), "norm": norm}


def _rgba(model: Any, part: str, source: Any) -> Any:
    """Return a colour with its opacity, or those of each point; one colour for what tells none."""
    from matplotlib.colors import is_color_like, to_rgba

    told, alpha = getattr(model, f"{part}_color"), _value(getattr(model, f"{part}_alpha", 1.0))
    alpha = alpha if isinstance(alpha, float | int) else 1.0
    colour = _value(told)
    if colour is None and hasattr(told, "field"):
        colour = list(_column(source, told))
    elif colour is None:
        return "none"
    many = colour if isinstance(colour, list) else [colour]
    found = [to_rgba(each if is_color_like(each) else _USUAL, alpha) for each in many]
    return found if isinstance(colour, list) else found[0]


def _line(model: Any) -> dict[str, Any]:
    """Return colour, width and dashes of a line."""
    width, dash = (_value(getattr(model, f"line_{name}", None)) for name in ("width", "dash"))
    colour = _rgba(model, "line", getattr(model, "source", None)) if model.line_color else "none"
    return {
        "color": colour if isinstance(colour, tuple) else _USUAL,
        "linewidth": width if isinstance(width, float | int) else 1,
        "linestyle": "dashed" if dash else "solid",
    }
