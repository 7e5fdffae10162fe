"""A Bokeh figure in a notebook whose changes travel together, so that it follows a hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Serializer
from bokeh.document.events import DocumentPatchedEvent
from bokeh.models import LayoutDOM
from jupyter_bokeh import BokehModel

# The three texts of a patch in Bokeh's protocol are header, metadata and content.
_HEADER, _METADATA = '{"msgid": "0", "msgtype": "PATCH-DOC"}', "{}"


class Canvas(BokehModel):
    """A live figure; within `one_patch`, all its changes are sent, and painted, at once.

    `BokehModel` sends three messages for every changed property and two more for every array in it:
    thirty for one frame of a panel, where this sends three.
    """

    def __init__(self, figure: LayoutDOM, **options: Any) -> None:
        self._held: list[DocumentPatchedEvent] | None = None
        super().__init__(figure, **options)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what is synchronised; all of it is asked for by a page that was loaded anew.

        That page must see the figure of now, not that of the beginning.
        """
        state = super().get_state(key, drop_defaults)
        if key is None and "render_bundle" in state:
            state["render_bundle"] = serialize_json(self._model_to_traits(self._model))
        return state

    @contextmanager
    def one_patch(self) -> Iterator[None]:
        """Collect the figure's changes, and send them at the end."""
        self._held = []
        try:
            yield
        finally:
            events, self._held = self._held, None
            if events:
                self._send_patch(events)

    def _document_patched(self, event: DocumentPatchedEvent) -> None:
        if self._held is None or event.setter is self:
            super()._document_patched(event)
        else:
            self._held.append(event)

    def _send_patch(self, events: list[DocumentPatchedEvent]) -> None:
        known = events[0].document.models.synced_references
        content = {"events": Serializer(references=known, deferred=False).encode(events)}
        for part in (_HEADER, _METADATA, serialize_json(content)):
            self.send({"msg": "patch", "payload": part})
