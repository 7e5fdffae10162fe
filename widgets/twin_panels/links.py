"""Links to files that the lab resolves."""

from pathlib import Path

import ipywidgets as ipw
from anywidget import AnyWidget


class _Attendant(AnyWidget):
    _esm = "\n".join(Path(__file__).with_name(name).read_text() for name in ("names.js", "links.js"))


class Links(ipw.VBox):
    """Links in HTML, relative to the notebook's folder; `show` changes them."""

    def __init__(self) -> None:
        self._output = ipw.Output()  # its links alone are resolved by the lab
        super().__init__([self._output, _Attendant()])
        self.add_class("twin-links")

    def show(self, html: str, text: str) -> None:
        """Show links, or nothing for ""; `text` stands for them where there is no HTML."""
        data = {"text/html": html, "text/plain": text}
        shown = {"output_type": "display_data", "data": data, "metadata": {}}
        self._output.outputs = (shown,) if html else ()
