"""The words that stand for a figure to those who do not see it, made from its titles and axes."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

# What HoloViews writes: a place, and in a script the document that Bokeh draws there.
_PLACE = re.compile(r"<div id='([^']+)'>")
_DOCUMENT = re.compile(r"var docs_json = (\{.*?\});\s*var render_items", re.DOTALL)
_MOST_LAYERS = 6


def in_words(output: str) -> str:
    """Return the HTML of a figure with words for it; other HTML as it is.

    >>> in_words("<p>a table</p>")
    '<p>a table</p>'
    """
    found = _DOCUMENT.search(output)
    if found is None:
        return output
    words = "; ".join(map(words_of, json.loads(found[1]).values()))
    label = html.escape(re.sub(r"\s+", " ", words), quote=True)
    return _PLACE.sub(
        lambda place: f"""<div id='{place[1]}' role="figure" aria-label="{label}">""", output, count=1
    )


def words_of(document: dict[str, Any]) -> str:
    """Return what is seen in a Bokeh document: titles, axes, colours and what is drawn, in one line."""
    models = {each["id"]: each for each in _objects(document, "object")}
    plots = [each for each in models.values() if each["name"] == "Figure"]
    return "; ".join(_words_of_plot(plot, models) for plot in plots) or "A figure without axes"


def _words_of_plot(plot: dict[str, Any], models: dict[str, Any]) -> str:
    def at(side: str, what: str) -> str:
        """Return the first text of this kind on a side of the plot."""
        places = plot["attributes"].get(side, [])
        texts = (_attribute(place, what, models) for place in places if isinstance(place, dict))
        return next((text for text in texts if isinstance(text, str) and text), "")

    title = _attribute(plot["attributes"].get("title", {}), "text", models) or "Figure"
    axes = " against ".join(filter(None, (at("left", "axis_label"), at("below", "axis_label"))))
    colours = at("right", "title")
    legends = [_resolved(each, models) for each in _within(plot, "LegendItem")]
    labels = [_attribute(each, "label", models) for each in legends]
    layers = [each["value"] for each in labels if isinstance(each, dict) and "value" in each]
    more = [f"in colour {colours}"] if colours else []
    more += [f"with {', '.join(layers[:_MOST_LAYERS])}"] if layers else []
    return ", ".join([f"{title}: {axes}" if axes else title, *more])


def _objects(node: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield everything of this `type` inside a document, in order."""
    if isinstance(node, dict):
        if node.get("type") == kind:
            yield node
        for value in node.values():
            yield from _objects(value, kind)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value, kind)


def _within(node: Any, name: str) -> list[dict[str, Any]]:
    return [each for each in _objects(node, "object") if each["name"] == name]


def _resolved(node: Any, models: dict[str, Any]) -> dict[str, Any]:
    """Return a model that is written out here or only named by its id."""
    if not isinstance(node, dict):
        return {}
    return models.get(node.get("id", ""), node)


def _attribute(node: Any, name: str, models: dict[str, Any]) -> Any:
    return _resolved(node, models).get("attributes", {}).get(name, "")
