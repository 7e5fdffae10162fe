"""ILDG and SciDAC: records in a LIME container, big-endian, with a checksum of every site's bytes.

What a valid file must hold is refused by name where it is missing. A forced reading guesses: the sizes
from what is legible in the XML, or a hypercube of SU(2) or SU(3) that has just as many bytes. What
other records state of the field, USQCD's `usqcdInfo` and tmLQCD's `xlf-info`, is held against it, too.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.formats import xml

MAGIC = 0x456789AB
START = struct.pack(">I", MAGIC)
_HEADER_BYTES = 144
_FIELD_RECORDS = ("ildg-binary-data", "scidac-binary-data")
_MOST_RECORDS = 1000
# Where a field's numbers are stated besides: record, as what, and which number it is.
_STATED = (
    ("scidac-record-xml", rb"<plaq>\s*%s\s*</plaq>", "plaquette"),
    ("scidac-record-xml", rb"<linktr>\s*%s\s*</linktr>", "link_trace"),
    ("xlf-info", rb"plaquette\s*=\s*%s", "plaquette"),
)
_NUMBER = rb"([-+]?\d{1,3}\.\d{1,20}(?:[eE][-+]?\d{1,3})?)"


def stored(path: Path, *, forced: bool = False) -> conf.Stored:
    """Return what a file holds.

    Args:
        path: The file.
        forced: Whether to guess what an invalid file does not say; `wrong` then tells what that is.

    Raises:
        ConfigurationError: The file is invalid and not forced, or holds no field.
    """
    wrong: list[str] = []
    records: dict[str, bytes] = {}
    places: dict[str, tuple[int, int]] = {}
    for name, start, length, content in _records(path, wrong):
        if name in (*_FIELD_RECORDS, "ildg-format", "scidac-checksum") and name in places:
            wrong.append(f"there is more than one record {name}")
        places.setdefault(name, (start, length))
        records.setdefault(name, content)
    name = next((each for each in _FIELD_RECORDS if each in records), None)
    if name is None:
        raise conf.ConfigurationError(f"there is no record {' or '.join(_FIELD_RECORDS)}")
    is_ildg, (start, length) = name.startswith("ildg"), places[name]
    described = "ildg-format" if is_ildg else "scidac-private-record-xml"
    try:
        shape, n, size = (_ildg_layout if is_ildg else _scidac_layout)(records)
    except conf.ConfigurationError as error:
        wrong.append(str(error))
        shape, n, size = _guessed(records.get(described, b""), length) if forced else ((), 0, 4)
    if "scidac-checksum" not in records and is_ildg and "ildg-data-lfn" not in records:
        wrong.append("there is no record ildg-data-lfn")
    if wrong and not forced:
        raise conf.ConfigurationError("; ".join(wrong))
    expected = math.prod(shape) * 8 * n * n * size
    if length != expected or not expected:
        raise conf.ConfigurationError(f"{name} must have {expected} bytes, found {length}")
    facts = {
        each: text.decode("utf-8", "replace").strip("\0")
        for each, text in records.items()
        if each != name
    }
    form, number = "ILDG" if is_ildg else "SciDAC", np.dtype(f">f{size}")
    found = conf.ByTime(path, form, shape, n, number, start, facts=facts, wrong=wrong, rows=n)
    if "scidac-checksum" in records:
        found.sums = _stated_sums(records, 8 * n * n * size)
    for record, pattern, key in _STATED:
        if match := re.search(pattern % _NUMBER, records.get(record, b"")):
            found.stated.append((f"{key} of {record}", match[1].decode(), key, 1.0))
    return found


def _records(path: Path, wrong: list[str]) -> Iterator[tuple[str, int, int, bytes]]:
    """Yield type, place, length and content of every record, no content where it is the links.

    What is wrong with the container is noted in `wrong`.
    """
    place, is_open, n_bytes, n_records = 0, False, path.stat().st_size, 0
    with path.open("rb") as file:
        while place < n_bytes:
            if n_bytes - place < _HEADER_BYTES:
                raise conf.ConfigurationError(f"byte {place}: a record's header is cut off")
            head = conf.exactly(file, place, _HEADER_BYTES)
            magic, version, flags, length = struct.unpack_from(">IHHQ", head)
            if magic != MAGIC:
                raise conf.ConfigurationError(
                    f"byte {place}: no record begins here, found {magic:#010x}"
                )
            begins, ends = bool(flags & 0x8000), bool(flags & 0x4000)
            kind = bytes(head[16:]).split(b"\0")[0].decode("latin-1")
            if version != 1 or flags & 0x3FFF:
                wrong.append(f"record {kind}: version {version}, flags {flags:#06x} are none of LIME's")
            if begins == is_open:
                told = "begins inside another" if begins else "has no begin"
                wrong.append(f"record {kind}: a message {told}")
            is_open = not ends
            start = place + _HEADER_BYTES
            place, n_records = start + (length + 7) // 8 * 8, n_records + 1
            if place > n_bytes or n_records > _MOST_RECORDS:
                raise conf.ConfigurationError(
                    f"record {kind} needs {place - start} bytes, found {n_bytes - start}"
                    if place > n_bytes
                    else f"there are more than {_MOST_RECORDS} records"
                )
            # One byte too many is enough for text that is too long to be refused by name.
            n_read = 0 if kind in _FIELD_RECORDS else min(length, xml.MOST_BYTES + 1)
            yield kind, start, length, bytes(conf.exactly(file, start, n_read))
    if is_open:
        wrong.append("the last message has no end")


def _words(records: Mapping[str, bytes], record: str, *names: str) -> list[str]:
    if record not in records:
        raise conf.ConfigurationError(f"there is no record {record}")
    found = xml.words(xml.parsed(records[record], f"record {record}"))
    for name in names:
        if name not in found:
            raise conf.ConfigurationError(f"record {record} has no {name}")
    return [found[name] for name in names]


def _ildg_layout(records: Mapping[str, bytes]) -> tuple[tuple[int, ...], int, int]:
    kind, *numbers = _words(records, "ildg-format", "field", "precision", "lt", "lx", "ly", "lz")
    colours = re.fullmatch(r"su(\d)gauge", kind)
    if not colours or not all(map(str.isdecimal, numbers)) or numbers[0] not in ("32", "64"):
        raise conf.ConfigurationError(
            f"record ildg-format: field {kind}, precision and sizes {', '.join(numbers)} are no"
            " gauge field's"
        )
    bits, *shape = map(int, numbers)
    return tuple(shape), int(colours[1]), bits // 8


def _scidac_layout(records: Mapping[str, bytes]) -> tuple[tuple[int, ...], int, int]:
    (sizes,) = _words(records, "scidac-private-file-xml", "dims")
    wanted = ("precision", "colors", "datacount")
    precision, colours, count = _words(records, "scidac-private-record-xml", *wanted)
    numbers = [*sizes.split(), colours]
    if (
        precision not in ("F", "D")
        or count != "4"
        or not all(map(str.isdecimal, numbers))
        or len(numbers) != 5
    ):
        raise conf.ConfigurationError(
            f"record scidac-private-record-xml: precision {precision}, {count} matrices, sizes"
            f" {sizes} are"
            " no gauge field's"
        )
    x, y, z, t, n = map(int, numbers)
    return (t, x, y, z), n, 4 if precision == "F" else 8


def _guessed(text: bytes, n_bytes: int) -> tuple[tuple[int, ...], int, int]:
    """Return what a file is likely to hold: legible sizes, else the only hypercube that fits."""
    legible = {
        name: re.search(rb"<%s>\s*(\d{1,9})\s*<" % name.encode(), text)
        for name in ("lt", "lx", "ly", "lz")
    }
    shape = tuple(int(each[1]) for each in legible.values() if each)
    for n in (3, 2):
        for size in (8, 4):
            n_sites = n_bytes / (8 * n * n * size)
            side = round(n_sites**0.25)
            if len(shape) == 4 and math.prod(shape) == n_sites:
                return shape, n, size
            if len(shape) != 4 and side**4 == n_sites:
                return (side,) * 4, n, size
    raise conf.ConfigurationError(f"{n_bytes} bytes are no gauge field whose sizes can be guessed")


def _stated_sums(records: Mapping[str, bytes], site_bytes: int) -> conf.Sums:
    names = ("suma", "sumb")
    stated = _words(records, "scidac-checksum", *names)
    for name, word in zip(names, stated, strict=True):
        if not re.fullmatch(r"[0-9a-fA-F]{1,8}", word):
            raise conf.ConfigurationError(f"record scidac-checksum: {name} = {word} is no checksum")
    return conf.Sums(names, tuple(int(word, 16) for word in stated), conf.of_sites(site_bytes))


_XML = '<?xml version="1.0" encoding="UTF-8"?>'


def write(
    file: BinaryIO,
    slices: conf.Slices,
    shape: tuple[int, ...],
    number: np.dtype[Any],
    *,
    ildg: bool,
    lfn: str,
) -> None:
    """Write a file with the records of SciDAC and, where asked, of ILDG.

    Args:
        file: Where to.
        slices: Links.
        shape: Sites in t, x, y, z.
        number: Its precision is the file's, whose order is always big-endian.
        ildg: Whether an ILDG file is written.
        lfn: ILDG's logical name of the file.
    """
    n, (t, x, y, z), size = next(slices(range(1))).shape[-1], shape, number.itemsize
    letter = "F" if size == 4 else "D"
    layout = f"<field>su{n}gauge</field><precision>{8 * size}</precision>"
    sides = "".join(
        f"<l{name}>{value}</l{name}>" for name, value in zip("xyzt", (x, y, z, t), strict=True)
    )
    private = (
        f"{_XML}<scidacRecord><version>1.0</version><datatype>QDP_{letter}{n}_ColorMatrix</datatype>"
        f"<precision>{letter}</precision><colors>{n}</colors><typesize>{2 * n * n * size}</typesize>"
        "<datacount>4</datacount></scidacRecord>"
    )
    scidac_file = (
        f"<version>1.1</version><spacetime>4</spacetime><dims>{x} {y} {z} {t} </dims><volfmt>0</volfmt>"
    )
    ildg_format = (
        f'{_XML}<ildgFormat xmlns="http://www.lqcd.org/ildg"><version>1.0</version>{layout}{sides}'
    )
    _write_record(
        file, "scidac-private-file-xml", f"{_XML}<scidacFile>{scidac_file}</scidacFile>", 0x8000
    )
    _write_record(file, "scidac-file-xml", f"{_XML}<title>gauge configuration</title>", 0x4000)
    _write_record(file, "scidac-private-record-xml", private, 0x8000)
    _write_record(file, "scidac-record-xml", f"{_XML}<title>gauge configuration</title>")
    if ildg:
        _write_record(file, "ildg-format", f"{ildg_format}</ildgFormat>")
        _write_record(file, "ildg-data-lfn", lfn)
    n_bytes = math.prod(shape) * 8 * n * n * size  # a multiple of 8
    name = "ildg-binary-data" if ildg else "scidac-binary-data"
    file.write(struct.pack(">IHHQ128s", MAGIC, 1, 0, n_bytes, name.encode()))
    update = conf.of_sites(8 * n * n * size)
    (suma, sumb), _ = conf.written(file, slices, shape, np.dtype(f">f{size}"), update)
    sums = f"<version>1.0</version><suma>{suma:x}</suma><sumb>{sumb:x}</sumb>"
    _write_record(file, "scidac-checksum", f"{_XML}<scidacChecksum>{sums}</scidacChecksum>", 0x4000)


def _write_record(file: BinaryIO, kind: str, text: str, flags: int = 0) -> None:
    body = text.encode()
    head = struct.pack(">IHHQ128s", MAGIC, 1, flags, len(body), kind.encode())
    file.write(head + body + bytes(-len(body) % 8))
