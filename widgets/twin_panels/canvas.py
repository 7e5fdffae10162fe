"""A Bokeh figure in a notebook whose changes travel together, so that it follows a hand."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.document.events import DocumentPatchedEvent
from bokeh.models import LayoutDOM
from traitlets import Unicode

_STILL = Path(__file__).with_name("still.js").read_text()


class Canvas(AnyWidget):
    """A live figure; within `one_patch`, all its changes are sent, and painted, at once.

    Arrays travel as bytes, and what a reader changes in the page, such as a zoom, comes back. The side
    of the page is `canvas.js`. (`jupyter_bokeh` sends thirty messages for a panel's frame, and its page
    packs the whole frame again to send it back.)
    """

    _esm = "\n".join(
        Path(__file__).with_name(f"{name}.js").read_text()
        for name in ("names", "page", "painting", "canvas")
    )
    _whole = Unicode().tag(sync=True)  # the document, for a page that has nothing yet

    def __init__(self, figure: LayoutDOM, **options: Any) -> None:
        self._held: list[DocumentPatchedEvent] | None = None
        self._document = figure.document or Document()
        if figure.document is None:
            self._document.add_root(figure)
        super().__init__(**options)
        self.refresh()
        self._document.on_change_dispatch_to(self)
        self.on_msg(self._told)

    def refresh(self) -> None:
        """Let pages that draw the figure from now on begin with the frame of now."""
        self._whole = self._now()

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what is synchronised; all of it is asked for by a page that was loaded anew.

        That page must see the figure of now, not that of the beginning.
        """
        state = super().get_state(key, drop_defaults)
        return state | {"_whole": self._now()} if key is None else state

    @contextmanager
    def one_patch(self) -> Iterator[None]:
        """Collect the figure's changes, and send them at the end; of the outermost where they nest."""
        if self._held is not None:
            yield
            return
        self._held = []
        try:
            yield
        finally:
            events, self._held = self._held, None
            if events:
                self._send_patch(events)

    def still(self) -> str:
        """Return the frame of the last `refresh` as HTML, for a page with Bokeh and no kernel."""
        name = f"still-{secrets.token_hex(8)}"
        root = self._document.roots[0]
        item = f'{{"target_id": "{name}", "root_id": "{root.id}", "doc": {self._whole}}}'
        item = item.replace("</", r"<\/")  # a script ends at the first </script>
        return f'<div id="{name}"></div><script>{_STILL}("{name}", () => ({item}))</script>'

    def _now(self) -> str:
        self._document.models.flush_synced()
        return serialize_json(self._document.to_json(deferred=False))

    def _document_patched(self, event: DocumentPatchedEvent) -> None:
        if event.setter is self:
            return
        if self._held is None:
            self._send_patch([event])
        else:
            self._held.append(event)

    def _send_patch(self, events: list[DocumentPatchedEvent]) -> None:
        models = self._document.models
        serializer = Serializer(references=models.synced_references)
        encoded = serializer.encode(events)
        models.flush_synced(lambda model: not serializer.has_ref(model))
        buffers = serializer.buffers
        patch = serialize_json({"events": encoded, "ids": [each.id for each in buffers]})
        self.send({"patch": patch}, [each.to_bytes() for each in buffers])

    def _told(self, _: Any, content: Any, __: Any) -> None:
        """Take over what a reader changed, or send the whole to a page that missed some of it."""
        if not isinstance(content, dict):
            return
        if content.get("whole"):
            self.refresh()
        if events := content.get("events"):
            setter: Any = self
            self._document.apply_json_patch({"events": events}, setter=setter)
