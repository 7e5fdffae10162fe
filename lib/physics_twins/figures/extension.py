"""The scripts that draw figures and panels in a notebook."""

import holoviews as hv
import holoviews.plotting.bokeh
from bokeh.model import Model
from bokeh.models import ImportedStyleSheet, UIElement
from IPython import get_ipython
from IPython.display import publish_display_data
from IPython.utils.capture import capture_output
from panel.viewable import Viewable

_LOADED: set[str] = set()
_WAITS, _AT_ONCE = "setTimeout(load_or_wait, 100)\n}(window));", "load_or_wait()\n}(window));"


def load_extension(*, again: bool = True) -> None:
    """Let figures and panels draw in this notebook, without network, by putting their scripts into it.

    Args:
        again: Whether to do so although this kernel has done it for this page before.
    """
    page = _page()
    if not again and page in _LOADED:
        return
    _LOADED.add(page)
    with capture_output(stdout=False, stderr=False) as captured:
        hv.extension("bokeh", inline=True, logo=False)  # pyright: ignore[reportCallIssue]
    for output in captured.outputs:
        # The scripts wait 100 ms for older ones; a live panel needs Bokeh as soon as it is shown.
        data = {kind: text.replace(_WAITS, _AT_ONCE) for kind, text in output.data.items()}
        publish_display_data(data, output.metadata)


def _ask_nobody_for_styles(_: Viewable, root: Model) -> None:
    """Take the styles away that Panel would load from another host; figures do not need them."""
    for model in root.select({"type": UIElement}):
        known = getattr(model, "stylesheets", [])
        model.update(stylesheets=[s for s in known if not isinstance(s, ImportedStyleSheet)])


Viewable._preprocessing_hooks.append(_ask_nobody_for_styles)


def _page() -> str:
    """Return which page runs this cell: a browser that loads it again has nothing of before."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel.get_parent().get("header", {}).get("session", "") if kernel else ""
