"""Panels in JupyterLab's colours, light and dark.

Bokeh takes colours from custom properties of CSS each time that it paints. They are bound to those of
JupyterLab here, so that nothing need know which theme is on.
"""

from collections.abc import Mapping

import ipywidgets as ipw

CLASS, STILL = "twin-panel", "twin-still"
# Legends and colour bars do not ask CSS: what can be read on white and on black alike.
NEUTRAL = "#777777"
# By Bokeh's name of what is coloured, JupyterLab's name of the colour.
COLOURS: Mapping[str, str] = {
    "border-fill": "layout-color0",
    "background-fill": "layout-color0",
    "outline-line": "border-color2",
    "grid-line": "border-color2",
    "axis-line": "ui-font-color2",
    "major-tick-line": "ui-font-color2",
    "minor-tick-line": "ui-font-color2",
    "axis-label-text": "ui-font-color1",
    "major-label-text": "ui-font-color1",
    "title-text": "ui-font-color1",
    "label-text": "ui-font-color1",
    "text": "ui-font-color1",
}


def style() -> ipw.HTML:
    """Return what gives all panels of a page these colours; it takes no room."""
    rules = " ".join(f"--bk-{where}-color: var(--jp-{name});" for where, name in COLOURS.items())
    still = f".jp-OutputArea:has(.{CLASS}) .{STILL} {{ display: none }}"  # the panel itself is there
    return ipw.HTML(f"<style>.{CLASS} {{ {rules} }} {still}</style>", layout={"display": "none"})
