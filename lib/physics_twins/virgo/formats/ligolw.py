"""Tables in LIGO's light-weight XML (LIGO-T990023), read with care and written.

The document comes from elsewhere: a document type may be named, as all such files do, but nothing may
be declared in it, so that no entity can stand for endless text.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from physics_twins.data import replacing
from physics_twins.virgo.formats.strain_file import StrainFileError

Table = dict[str, list[Any]]

_MAX_BYTES = 64 << 20
_MAX_DEPTH = 32
# Possessive: no text, however odd, is gone through twice.
_TOKEN = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"\s*+|([^,"]*+))(,|$)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DOCTYPE = (
    '<!DOCTYPE LIGO_LW SYSTEM "http://ldas-sw.ligo.caltech.edu/doc/ligolwAPI/html/ligolw_dtd.txt">'
)


def _row_id(text: str) -> int:
    """Return the number of a row, of the old form "table:column:number" too."""
    return int(text.rpartition(":")[2])


_TYPES: dict[str, Callable[[str], Any]] = {
    **{f"int_{size}{sign}": int for size in (2, 4, 8) for sign in "su"},
    **{f"real_{size}": float for size in (4, 8)},
    **dict.fromkeys(("ilwd:char", "ilwd:char_u"), _row_id),
    **dict.fromkeys(("lstring", "char_s", "char_v", "string"), str),
}


def read(path: Path) -> dict[str, Table]:
    """Return the tables of a file by their names, each with its columns; an empty entry is None.

    Args:
        path: XML, or XML in gzip.

    Raises:
        StrainFileError: It is damaged, declares entities, or is larger than 64 MiB.
    """
    reader = _Reader()
    try:
        raw = _unpacked(path.read_bytes())
        reader.parser.Parse(raw, True)
    except (expat.ExpatError, LookupError, EOFError, OSError, zlib.error) as error:
        raise StrainFileError(f"{path}: no well-formed LIGO_LW XML: {error}") from None
    except StrainFileError as error:
        raise StrainFileError(f"{path}: {error}") from None
    return reader.tables


def _unpacked(raw: bytes) -> bytes:
    if raw.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        raw = unpacker.decompress(raw, _MAX_BYTES + 1)
        if len(raw) <= _MAX_BYTES and not unpacker.eof:
            raise EOFError("the compressed file is cut")
    if len(raw) > _MAX_BYTES:
        raise StrainFileError(f"more than {_MAX_BYTES >> 20} MiB of XML")
    return raw


class _Reader:
    """Builds tables from what expat finds."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._open: list[str] = []
        self._table, self._delimiter = "", ","
        self._columns: dict[str, str] = {}
        self._stream: list[str] | None = None

    def _doctype(self, _name: str, _system: object, _public: object, declares: int) -> None:
        if declares:
            raise StrainFileError("DOCTYPE: the document declares entities or elements")

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._open.append(element)
        if len(self._open) > _MAX_DEPTH:
            raise StrainFileError(f"{element}: more than {_MAX_DEPTH} elements in each other")
        if self._open[0] != "LIGO_LW":
            raise StrainFileError(f"{self._open[0]}: the document must begin with LIGO_LW")
        name = attributes.get("Name", "")
        if element == "Table":
            self._table, self._columns = _table_name(name), {}
            if not self._table or self._table in self.tables:
                raise StrainFileError(f"Table {name!r}: it has no name, or another has the same")
        elif element == "Column" and "Table" in self._open:
            column, kind = name.rpartition(":")[2], attributes.get("Type", "")
            if not column or column in self._columns or kind not in _TYPES:
                raise StrainFileError(f"{self._table}: column {name!r} of type {kind!r} is not known")
            self._columns[column] = kind
        elif element == "Stream" and "Table" in self._open:
            if attributes.get("Type", "Local") != "Local" or attributes.get("Delimiter", ",") != ",":
                raise StrainFileError(f"{self._table}: a stream elsewhere, or not delimited by commas")
            self._stream = []

    def _text(self, text: str) -> None:
        if self._stream is not None and self._open[-1] == "Stream":
            self._stream.append(text)

    def _end(self, element: str) -> None:
        self._open.pop()
        if element == "Stream" and self._stream is not None:
            self._fill("".join(self._stream))
            self._stream = None
        elif element == "Table":
            self.tables.setdefault(self._table, {name: [] for name in self._columns})

    def _fill(self, text: str) -> None:
        columns = list(self._columns)
        if self._table in self.tables or not columns:
            raise StrainFileError(f"{self._table}: a stream without columns, or a second one")
        entries, place, text = [], 0, text.strip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if not found:
                here = text[place : place + 20]
                raise StrainFileError(f"{self._table}: entry {len(entries)} is no value: {here!r}")
            entries.append(found[1] if found[1] is not None else found[2].strip() or None)
            place = found.end()
        if text.endswith(",") and (len(entries) + 1) % len(columns) == 0:
            entries.append(None)  # the last value is empty, and no delimiter follows it
        if len(entries) % len(columns):
            raise StrainFileError(
                f"{self._table}: {len(entries)} entries are no rows of {len(columns)} columns"
            )
        table: Table = {}
        for number, name in enumerate(columns):
            table[name] = [self._value(name, each) for each in entries[number :: len(columns)]]
        self.tables[self._table] = table

    def _value(self, column: str, entry: str | None) -> Any:
        if entry is None:
            return None
        kind = self._columns[column]
        text = _ESCAPED.sub(r"\1", entry)
        try:
            return _TYPES[kind](text)
        except ValueError:
            raise StrainFileError(
                f"{self._table}: {column} must be of type {kind}, found {entry[:40]!r}"
            ) from None


def _table_name(name: str) -> str:
    """Return a table's name without what old files put around it: "segmentgroup:segment:table"."""
    return name.removesuffix(":table").rpartition(":")[2]


def write(path: Path, tables: Mapping[str, Mapping[str, tuple[str, Sequence[Any]]]]) -> None:
    """Write tables in one step, packed where the name ends in `.gz`.

    Args:
        path: The file.
        tables: For each its columns, each with its type, such as `int_4s`, and its entries.
    """
    lines = ["<?xml version='1.0' encoding='utf-8'?>", _DOCTYPE, "<LIGO_LW>"]
    for name, columns in tables.items():
        lines.append(f"\t<Table Name={quoteattr(f'{name}:table')}>")
        for column, (kind, _) in columns.items():
            lines.append(f"\t\t<Column Name={quoteattr(f'{name}:{column}')} Type={quoteattr(kind)}/>")
        lines.append(f'\t\t<Stream Name={quoteattr(f"{name}:table")} Delimiter="," Type="Local">')
        rows = zip(*(entries for _, entries in columns.values()), strict=True)
        lines.append(",\n".join("\t\t\t" + ",".join(map(_entry, row)) for row in rows))
        lines += ["\t\t</Stream>", "\t</Table>"]
    raw = "\n".join([*lines, "</LIGO_LW>", ""]).encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)


def _entry(value: Any) -> str:
    if isinstance(value, str):
        if not value.isprintable():
            raise StrainFileError(f"{value!r} holds what XML does not")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return escape(f'"{quoted}"')
    return "" if value is None else repr(value)
