"""Still pictures of Bokeh's figures, from what stands in a page, for readers whose scripts do not run.

Curves, areas, points with their errors, bars, images, levels and bands are drawn with axes and titles;
legends and what else there is are left to the figure itself.
"""

import base64
import gzip
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DOCUMENT = re.compile(r'docs_json = |"doc": ')
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 26, 42  # screen pixels around a frame
_WIDTH, _HEIGHT = 600, 280  # of a figure that says none
_MOST_POINTS = 3000  # of a curve
_NOTES = ("Whisker", "Span", "BoxAnnotation")
_INK = 'font-family="sans-serif" font-size="11" fill="#333333"'


def stills(html: str) -> list[str]:
    """Return an SVG of each of Bokeh's figures in an output's HTML, in their order."""
    drawn: list[str] = []
    for found in _DOCUMENT.finditer(html):
        text = html[found.end() :].replace(r"<\/", "</")
        whole, _ = json.JSONDecoder().raw_decode(text)
        documents = [whole] if "roots" in whole else whole.values()
        drawn += [svg for document in documents for svg in _of_document(document)]
    return drawn


def _of_document(document: Mapping[str, Any]) -> Iterator[str]:
    models: dict[str, Any] = {}
    _collect(document, models)
    for model in models.values():
        if model["name"] == "Figure":
            yield _Still(models, model["attributes"]).svg()


def _collect(part: Any, models: dict[str, Any]) -> None:
    """Gather all models by their id."""
    if isinstance(part, dict):
        if "id" in part and "name" in part and part.get("type") == "object":
            part.setdefault("attributes", {})
            models[part["id"]] = part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            _collect(each, models)


class _Still:
    """One figure: its models, the places of its axes, and what has been drawn."""

    def __init__(self, models: Mapping[str, Any], figure: Mapping[str, Any]) -> None:
        self._models, self._figure = models, figure
        self._width = int(self._value(figure.get("width")) or _WIDTH)
        self._height = int(self._value(figure.get("height")) or _HEIGHT)
        both = (*figure.get("renderers", []), *figure.get("center", []))
        drawn = [self._at(each) for each in both]
        self._notes = [each for each in drawn if each["name"] in _NOTES]
        self._renderers = [each for each in drawn if each.get("visible", True) and "glyph" in each]
        self._x = self._axis("x", _LEFT, self._width - _RIGHT)
        self._y = self._axis("y", self._height - _BOTTOM, _TOP)

    def svg(self) -> str:
        title = str(self._at(self._figure.get("title")).get("text", ""))
        box = f'x="{_LEFT}" y="{_TOP}" width="{self._width - _LEFT - _RIGHT}"'
        box += f' height="{self._height - _TOP - _BOTTOM}"'
        behind, before = [], []
        for each in self._notes:
            (before if each["name"] == "Whisker" else behind).extend(self._noted(each))
        glyphs = [part for each in self._renderers for part in self._drawn(each)]
        drawn = "".join((*behind, *glyphs, *before))
        clip = f"clip-{zlib.crc32(drawn.encode())}"  # of a name that no other part of the page has
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width}" height="{self._height}"'
            f' viewBox="0 0 {self._width} {self._height}" role="img" aria-label="{escape(title)}">'
            f'<clipPath id="{clip}"><rect {box}/></clipPath><g clip-path="url(#{clip})">'
            f"{drawn}</g>{''.join(self._frame())}"
            f'<rect {box} fill="none" stroke="#888888"/>'
            f'<text x="{_LEFT}" y="16" {_INK} font-weight="bold">{escape(title)}</text></svg>'
        )

    def _at(self, reference: Any) -> Mapping[str, Any]:
        """Return the attributes of a model, {} for none."""
        known = self._models.get(str(reference.get("id")), {}) if isinstance(reference, dict) else {}
        return {"name": known.get("name", ""), **known.get("attributes", {})}

    def _value(self, told: Any) -> Any:
        """Return a plain value of one that is encoded; None for what is none."""
        if isinstance(told, list):
            return [self._value(each) for each in told]
        if not isinstance(told, dict):
            return told
        if told.get("type") == "ndarray":
            packed = told["array"]["data"] if isinstance(told["array"], dict) else None
            if packed is None:  # of text
                return self._value(told["array"])
            values = np.frombuffer(gzip.decompress(base64.b64decode(packed)), told["dtype"])
            return values.reshape(told["shape"])
        return float(told["value"]) if told.get("type") == "number" else told.get("value")

    def _columns(self, renderer: Mapping[str, Any]) -> dict[str, Any]:
        data = self._at(renderer.get("data_source") or renderer.get("source")).get("data", {})
        pairs = data.get("entries", []) if data.get("type") == "map" else data.items()
        return {name: self._value(column) for name, column in pairs}

    def _column(self, renderer: Mapping[str, Any], name: str) -> Any:
        """Return what a glyph takes from its data, or the one value that it has."""
        told = (self._at(renderer["glyph"]) if "glyph" in renderer else renderer).get(name)
        if isinstance(told, dict) and "field" in told:
            return self._columns(renderer).get(told["field"])
        return self._value(told)

    def _axis(self, name: str, start: int, end: int) -> Callable[[Any], NDArray[np.float64]]:
        """Return what places values of one axis on the screen."""
        held = self._at(self._figure.get(f"{name}_range"))
        self._factors = getattr(self, "_factors", {}) | {name: held.get("factors")}
        usual = (0, 1) if held["name"] == "Range1d" else (None, None)  # Bokeh leaves out its defaults
        low, high = (self._value(held.get(*each)) for each in zip(("start", "end"), usual, strict=True))
        if factors := held.get("factors"):
            low, high = 0.0, float(len(factors))
        elif not isinstance(low, float | int) or not isinstance(high, float | int):
            low, high = self._reach(name)
        is_log = "Log" in self._at(self._figure.get(f"{name}_scale"))["name"]
        scale = np.log10 if is_log else np.asarray
        ends = [float(scale(max(edge, 1e-300) if is_log else edge)) for edge in (low, high)]
        span = ends[1] - ends[0] or 1.0
        self._ticks = getattr(self, "_ticks", {}) | {name: _ticks(*ends, is_log=is_log)}

        def place(values: Any) -> NDArray[np.float64]:
            if factors:
                listed = [values] if isinstance(values, str) else values
                values = [factors.index(v) + 0.5 if v in factors else np.nan for v in listed]
            with np.errstate(divide="ignore", invalid="ignore"):
                known = scale(np.asarray(values, dtype=float))
            return np.atleast_1d(start + (known - ends[0]) / span * (end - start))

        return place

    def _reach(self, name: str) -> tuple[float, float]:
        """Return the ends of all that is drawn along an axis."""
        found: list[float] = []
        for each in self._renderers:
            for column in (name, f"{name}0", f"{name}1", f"{name}2"):
                values = np.ravel(self._column(each, column))
                found += [float(v) for v in values if isinstance(v, float | int | np.number)]
            if (size := self._column(each, f"d{'wh'[name == 'y']}")) is not None:
                found += [found[-1] + float(np.ravel(size)[0])]
        for each in self._notes if name == "y" else ():
            ends = (self._column(each, end) for end in ("lower", "upper") if "source" in each)
            found += [float(v) for end in ends for v in np.ravel(end)]
        found = [value for value in found if math.isfinite(value)]
        has_room = (
            found and name == "y" and not any("dh" in self._at(r["glyph"]) for r in self._renderers)
        )
        room = 0.05 * (max(found) - min(found)) if has_room else 0.0
        return (min(found) - room, max(found) + room) if found else (0.0, 1.0)

    def _drawn(self, renderer: Mapping[str, Any]) -> Iterator[str]:
        glyph = self._at(renderer["glyph"])

        def of(*names: str) -> list[Any]:
            return [(self._x if n[0] in "xlr" else self._y)(self._column(renderer, n)) for n in names]

        line, fill = self._look(glyph, "line"), self._look(glyph, "fill")
        kind = glyph["name"]
        if kind in ("Line", "Step"):
            yield f'<path d="{_path(*of("x", "y"))}" fill="none" {line}/>'
        elif kind == "Scatter":
            for x, y in zip(*of("x", "y"), strict=True):
                if math.isfinite(x + y):
                    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" {fill}/>'
        elif kind == "Segment":
            for x0, y0, x1, y1 in zip(*of("x0", "y0", "x1", "y1"), strict=True):
                yield f'<path d="M{x0:.1f},{y0:.1f}L{x1:.1f},{y1:.1f}" {line}/>'
        elif kind == "VArea":
            x, low, high = of("x", "y1", "y2")
            yield f'<path d="{_path(np.r_[x, x[::-1]], np.r_[low, high[::-1]])}Z" {fill}/>'
        elif kind == "Patch":
            yield f'<path d="{_path(*of("x", "y"))}Z" {fill}/>'
        elif kind == "Quad":
            for x, r, y, b in zip(*of("left", "right", "top", "bottom"), strict=True):
                size = f'width="{abs(r - x):.1f}" height="{abs(b - y):.1f}"'
                yield f'<rect x="{min(x, r):.1f}" y="{min(y, b):.1f}" {size} {fill}/>'
        elif kind == "Image":
            yield from self._image(renderer, glyph)

    def _noted(self, note: Mapping[str, Any]) -> Iterator[str]:
        """Draw errors of points, a level, or a band between two."""
        if note["name"] == "Whisker":
            line = self._look({"line_color": "#333333", **note}, "line")
            base = self._x(self._column(note, "base"))
            ends = (self._y(self._column(note, end)) for end in ("lower", "upper"))
            for x, low, high in zip(base, *ends, strict=True):
                yield f'<path d="M{x:.1f},{low:.1f}V{high:.1f}" {line}/>'
        elif note["name"] == "Span":
            is_across = note.get("dimension", "width") == "width"
            at = float((self._y if is_across else self._x)(self._value(note.get("location")))[0])
            ends = f"M0,{at:.1f}H{self._width}" if is_across else f"M{at:.1f},0V{self._height}"
            yield f'<path d="{ends}" {self._look({"line_color": "black", **note}, "line")}/>'
        elif note.get("visible", True):
            sides = {}
            edges = {"left": 0, "right": self._width, "top": 0, "bottom": self._height}
            for side, edge in edges.items():
                told = self._value(note.get(side))
                place = self._x if side in ("left", "right") else self._y
                sides[side] = float(place(told)[0]) if isinstance(told, float | int) else float(edge)
            size = f'width="{sides["right"] - sides["left"]:.1f}"'
            size += f' height="{sides["bottom"] - sides["top"]:.1f}"'
            place = f'x="{sides["left"]:.1f}" y="{sides["top"]:.1f}"'
            yield f"<rect {place} {size} {self._look(note, 'fill')}/>"

    def _image(self, renderer: Mapping[str, Any], glyph: Mapping[str, Any]) -> Iterator[str]:
        mapper = self._at(glyph.get("color_mapper"))
        palette, low, high = (self._value(mapper.get(n)) for n in ("palette", "low", "high"))
        images, *places = (self._column(renderer, n) for n in ("image", "x", "y", "dw", "dh"))
        values = np.asarray(self._value(images[0]), dtype=float)
        scale = np.log10 if "Log" in mapper["name"] else np.asarray
        low = np.nanmin(values) if low is None else low
        high = np.nanmax(values) if high is None else high
        x, y, width, height = (float(np.ravel(each)[0]) for each in places)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (scale(values) - scale(low)) / (scale(high) - scale(low))
        level = np.clip(np.nan_to_num(part) * len(palette), 0, len(palette) - 1).astype(np.uint8)
        (left, right), (bottom, top) = self._x([x, x + width]), self._y([y, y + height])
        data = base64.b64encode(_png(level[::-1], palette)).decode()
        yield (
            f'<image x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}"'
            f' height="{bottom - top:.1f}" preserveAspectRatio="none" style="image-rendering:'
            f' pixelated" href="data:image/png;base64,{data}"/>'
        )

    def _look(self, glyph: Mapping[str, Any], part: str) -> str:
        colour, alpha = (self._value(glyph.get(f"{part}_{name}")) for name in ("color", "alpha"))
        if not isinstance(colour, str):
            colour = "none" if colour is None and f"{part}_color" in glyph else "#0072B2"
        alpha = alpha if isinstance(alpha, float | int) else 1
        if part == "fill":
            return f'fill="{escape(colour)}" fill-opacity="{alpha:g}"'
        width = self._value(glyph.get("line_width"))
        return (
            f'stroke="{escape(colour)}" stroke-opacity="{alpha:g}"'
            f' stroke-width="{width if isinstance(width, float | int) else 1:g}"'
            + (' stroke-dasharray="6"' if glyph.get("line_dash") not in (None, "solid", []) else "")
        )

    def _frame(self) -> Iterator[str]:
        for name, side in (("x", "below"), ("y", "left")):
            axis = self._at((self._figure.get(side) or [None])[0])
            label = escape(str(axis.get("axis_label") or ""))
            factors = self._factors[name]
            ticks = [(each, str(each)) for each in factors] if factors else self._ticks[name]
            for value, text in ticks:
                at = float((self._x if name == "x" else self._y)(value)[0])
                if name == "x":
                    yield f'<text x="{at:.1f}" y="{self._height - 27}" {_INK} text-anchor="middle">'
                else:
                    yield f'<text x="{_LEFT - 4}" y="{at + 4:.1f}" {_INK} text-anchor="end">'
                yield f"{escape(text)}</text>"
            if name == "x":
                middle = (_LEFT + self._width - _RIGHT) / 2
                place = f'x="{middle}" y="{self._height - 8}" text-anchor="middle"'
                yield f"<text {place} {_INK}>{label}</text>"
            else:
                middle = (_TOP + self._height - _BOTTOM) / 2
                turned = f'transform="rotate(-90 12 {middle})" text-anchor="middle"'
                yield f'<text x="12" y="{middle}" {_INK} {turned}>{label}</text>'


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return a path through points; a gap where one is no number, and not more than a screen shows."""
    step = max(1, -(-len(x) // _MOST_POINTS))
    pieces, begun = [], False
    for a, b in zip(x[::step], y[::step], strict=True):
        is_there = math.isfinite(a + b)
        if is_there:
            pieces.append(f"{'L' if begun else 'M'}{a:.1f},{b:.1f}")
        begun = is_there
    return "".join(pieces)


def _ticks(low: float, high: float, *, is_log: bool) -> list[tuple[float, str]]:
    """Return round values between the ends of an axis; ends of a logarithmic one are logarithms."""
    low, high = min(low, high), max(low, high)
    if is_log:
        step = max(1, round((high - low) / 5))
        powers = range(math.ceil(low), math.floor(high) + 1, step)
        return [(10.0**n, f"{10.0**n:g}") for n in powers]
    rough = (high - low) / 5 or 1.0
    decade = 10.0 ** math.floor(math.log10(rough))
    step = decade * next(n for n in (1, 2, 5, 10) if rough <= n * decade * (1 + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(n * step, f"{n * step:.6g}") for n in numbers]


def _png(level: NDArray[np.uint8], palette: list[str]) -> bytes:
    """Return a PNG of numbers of a palette's colours, the highest row first."""
    colours = b"".join(bytes.fromhex(colour[1:7]) for colour in palette[:256])
    rows = b"".join(b"\0" + row.tobytes() for row in level)
    height, width = level.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checked

    parts = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)
