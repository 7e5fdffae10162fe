"""XML from elsewhere: small and shallow, without a document type, so that no entity stands for more."""

import xml.etree.ElementTree as ET
from typing import Any

from physics_twins.lattice.formats.configuration import ConfigurationError

MOST_BYTES = 1 << 20
_MOST_DEPTH = 32


def parsed(text: bytes, what: str) -> ET.Element:
    """Return the root of a document.

    Args:
        text: The document, in any encoding that XML knows.
        what: What it is, in a sentence.

    Raises:
        ConfigurationError: It is no XML, too large, too deep, or declares a document type.
    """
    try:
        if len(text) > MOST_BYTES:
            raise ET.ParseError(f"it has {len(text)} bytes, {MOST_BYTES} are the most")
        parser = ET.XMLParser(target=_Careful())  # noqa: S314
        parser.feed(text.rstrip(b"\0"))
        return parser.close()
    except (ET.ParseError, LookupError, ValueError) as error:  # an unknown encoding is the second
        raise ConfigurationError(f"{what} is no valid XML: {error}") from None


def words(root: ET.Element) -> dict[str, str]:
    """Return the text of each element by its name without namespace, of the first one of a name."""
    found: dict[str, str] = {}
    for each in root.iter():
        found.setdefault(each.tag.rpartition("}")[2], (each.text or "").strip())
    return found


class _Careful(ET.TreeBuilder):
    """Builds a tree, and refuses what could grow."""

    _depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Any:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise ET.ParseError(f"it is more than {_MOST_DEPTH} elements deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Any:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *names: Any) -> None:
        """Refuse a document type, in which entities are declared."""
        raise ET.ParseError(f"it declares a document type {names[0]}")
