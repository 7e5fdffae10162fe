"""Find one binary table in a FITS file and where its columns lie, without trusting or reading it whole.

astropy parses the header cards. The walk from one header to the next and the offsets of the columns are
done here, because astropy maps or reads whole tables, reads headers without bound, and refuses the
dimensions that packed PSRFITS samples have. Source: FITS standard 4.0 (2018), sections 3, 4.4 and 7.3.
"""

import re
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

from astropy.io.fits import Header, VerifyError

from physics_twins.pulsar.formats.observation_file import Keywords

BLOCK_BYTES = 2880
MAX_HEADER_BYTES = 1 << 20
MAX_TABLES = 1000
_END = b"END".ljust(80)
_ITEM_BITS = {"L": 8, "X": 1, "B": 8, "I": 16, "J": 32, "K": 64, "A": 8, "E": 32, "D": 64}
_ITEM_BITS |= {"C": 64, "M": 128, "P": 64, "Q": 128}


class FitsError(ValueError):
    """A damaged FITS file; the message names the header and the field, not the file."""


@dataclass(frozen=True)
class Column:
    """One column: `count` items of the FITS type `letter`, `n_bytes` from byte `offset` of each row."""

    letter: str
    count: int
    offset: int
    n_bytes: int


class Cards(Keywords):
    """The cards of one header: None in the file, `*` or no card at all are the default."""

    def value(self, keyword: str, default: Any = None) -> Any:
        """Return a card's value.

        Raises:
            FitsError: The card is damaged, or missing where there is no default.
        """
        try:
            with warnings.catch_warnings(action="ignore"):
                value = self.values.get(keyword)
        except (VerifyError, ValueError, TypeError, IndexError) as error:
            raise FitsError(f"{self.where}: {keyword}: damaged: {error}") from None
        if isinstance(value, bool | int | float | str) and value != "*":
            return value
        return Keywords(self.where, {}, FitsError).value(keyword, default)


@dataclass(frozen=True)
class Table:
    """A binary table in a file.

    Attributes:
        cards: Its header.
        start: First byte of its rows.
        row_bytes: Bytes of a row.
        n_rows: Rows that the header states; the file may hold fewer.
        columns: Its columns by their names.
    """

    cards: Cards
    start: int
    row_bytes: int
    n_rows: int
    columns: dict[str, Column]


def find_table(file: BinaryIO, name: str) -> tuple[Cards, Table]:
    """Return the primary header and the binary table of this name.

    At most a header is in memory at a time, of no more than `MAX_HEADER_BYTES`.

    Raises:
        FitsError: A header is damaged, or there is no such table.
    """
    primary = cards = _read_cards(file, "primary header")
    for number in range(1, MAX_TABLES + 1):
        end = file.tell() + _data_bytes(cards)
        file.seek(end)
        if not file.read(1):
            break
        file.seek(end)
        cards = _read_cards(file, f"header {number}")
        if cards.text("EXTNAME", "").upper() == name:
            return primary, _table(Cards(name, cards.values, FitsError), file.tell())
    raise FitsError(f"{name}: the file has no such table")


def _read_cards(file: BinaryIO, name: str) -> Cards:
    start, raw, block = file.tell(), bytearray(), b""
    while not any(block[n : n + 80] == _END for n in range(0, BLOCK_BYTES, 80)):
        block = file.read(BLOCK_BYTES)
        raw += block
        if len(block) < BLOCK_BYTES:
            raise FitsError(f"{name} at byte {start}: the file ends inside it")
        if len(raw) > MAX_HEADER_BYTES:
            raise FitsError(f"{name} at byte {start}: no END in its first {MAX_HEADER_BYTES} bytes")
    try:
        with warnings.catch_warnings(action="ignore"):
            header: Any = Header.fromstring(raw.decode("ascii"))
            return Cards(name, header, FitsError)
    except (VerifyError, ValueError, IndexError) as error:
        raise FitsError(f"{name} at byte {start}: damaged: {error}") from None


def _data_bytes(cards: Cards) -> int:
    """Return the length of the data behind a header, filled up to whole blocks."""
    most = 1 << 62
    n_axes = cards.integer("NAXIS", low=0, high=999)
    size = 1 if n_axes else 0
    for axis in range(1, n_axes + 1):
        size *= cards.integer(f"NAXIS{axis}", low=0, high=most)
    size += cards.integer("PCOUNT", 0, low=0, high=most)
    size *= cards.integer("GCOUNT", 1, low=0, high=most)
    n_bytes = size * abs(cards.integer("BITPIX", low=-64, high=64)) // 8
    if n_bytes > most:
        raise FitsError(f"{cards.where}: NAXIS: {n_bytes} bytes of data cannot be")
    return -(-n_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _table(cards: Cards, start: int) -> Table:
    if cards.text("XTENSION") != "BINTABLE":
        raise FitsError(f"{cards.where}: XTENSION = {cards.text('XTENSION')!r}: expected 'BINTABLE'")
    row_bytes = cards.integer("NAXIS1", low=1, high=1 << 48)
    offset, columns = 0, {}
    for number in range(1, cards.integer("TFIELDS", low=1, high=999) + 1):
        column = _column(cards, f"TFORM{number}", offset)
        columns[cards.text(f"TTYPE{number}", f"column {number}").upper()] = column
        offset += column.n_bytes
    if offset != row_bytes:
        raise FitsError(f"{cards.where}: NAXIS1 = {row_bytes}: the columns have {offset} bytes")
    return Table(cards, start, row_bytes, cards.integer("NAXIS2", low=0, high=1 << 48), columns)


def _column(cards: Cards, keyword: str, offset: int) -> Column:
    form = cards.text(keyword)
    match = re.fullmatch(r"(\d{0,15})([A-Z])(?:\(.*\))?", form)
    if not match or match[2] not in _ITEM_BITS:
        raise FitsError(f"{cards.where}: {keyword} = {form!r}: no format of a column")
    count = int(match[1] or 1)
    return Column(match[2], count, offset, -(-count * _ITEM_BITS[match[2]] // 8))
