"""ILDG and SciDAC: records in a LIME container, big-endian, with a checksum of every site's bytes.

What a valid file must hold is refused by name where it is missing. A forced reading guesses: the sizes
from what is legible in the XML, or a hypercube of SU(2) or SU(3) that has just as many bytes.
"""

import re
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from physics_twins.lattice.formats import configuration as conf

MAGIC = 0x456789AB
START = struct.pack(">I", MAGIC)
_HEADER_BYTES = 144
_FIELD_RECORDS = ("ildg-binary-data", "scidac-binary-data")


def read(raw: bytes, *, forced: bool = False) -> conf.Configuration:
    """Return the configuration in a file's bytes.

    Args:
        raw: The whole file.
        forced: Whether to guess what an invalid file does not say; `wrong` then tells what that is.

    Raises:
        ConfigurationError: The file is invalid and not forced, or holds no field.
    """
    wrong: list[str] = []
    records = dict(_records(raw, wrong))
    name = next((each for each in _FIELD_RECORDS if each in records), None)
    if name is None:
        raise conf.ConfigurationError(f"there is no record {' or '.join(_FIELD_RECORDS)}")
    is_ildg = name.startswith("ildg")
    described = "ildg-format" if is_ildg else "scidac-private-record-xml"
    try:
        shape, n, size = (_ildg_layout if is_ildg else _scidac_layout)(records)
    except conf.ConfigurationError as error:
        wrong.append(str(error))
        shape, n, size = (
            _guessed(records.get(described, b""), len(records[name])) if forced else ((), 0, 4)
        )
    if "scidac-checksum" not in records and is_ildg and "ildg-data-lfn" not in records:
        wrong.append("there is no record ildg-data-lfn")
    if wrong and not forced:
        raise conf.ConfigurationError("; ".join(wrong))
    expected = int(np.prod(shape)) * 8 * n * n * size
    data = records[name]
    if len(data) != expected:
        raise conf.ConfigurationError(f"{name} must have {expected} bytes, found {len(data)}")
    number: np.dtype[Any] = np.dtype(f">f{size}")
    links = conf.from_xyzt(conf.as_complex(data, number), shape)
    facts = {
        each: text.decode("utf-8", "replace").strip("\0")
        for each, text in records.items()
        if each != name
    }
    found = conf.Configuration(links, shape, "ILDG" if is_ildg else "SciDAC", number, [], facts, wrong)
    if "scidac-checksum" in records:
        _check_sums(found, records, data)
    return found


def _records(raw: bytes, wrong: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield type and content of every record; what is wrong with the container is noted in `wrong`."""
    place, is_open = 0, False
    while place < len(raw):
        if len(raw) - place < _HEADER_BYTES:
            raise conf.ConfigurationError(f"byte {place}: a record's header is cut off")
        magic, version, flags, length = struct.unpack_from(">IHHQ", raw, place)
        if magic != MAGIC:
            raise conf.ConfigurationError(f"byte {place}: no record begins here, found {magic:#010x}")
        begins, ends = bool(flags & 0x8000), bool(flags & 0x4000)
        kind = raw[place + 16 : place + _HEADER_BYTES].split(b"\0")[0].decode("latin-1")
        if version != 1 or flags & 0x3FFF:
            wrong.append(f"record {kind}: version {version}, flags {flags:#06x} are none of LIME's")
        if begins == is_open:
            wrong.append(
                f"record {kind}: a message {'begins inside another' if begins else 'has no begin'}"
            )
        is_open = not ends
        start = place + _HEADER_BYTES
        place = start + (length + 7) // 8 * 8
        if place > len(raw):
            raise conf.ConfigurationError(
                f"record {kind} needs {place - start} bytes, found {len(raw) - start}"
            )
        yield kind, raw[start : start + length]
    if is_open:
        wrong.append("the last message has no end")


def _xml(records: Mapping[str, bytes], record: str) -> ET.Element:
    if record not in records:
        raise conf.ConfigurationError(f"there is no record {record}")
    text = records[record].rstrip(b"\0")
    try:
        if b"<!" in text:  # an entity may stand for endless text
            raise ET.ParseError("it declares entities")
        return ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, LookupError, ValueError) as error:  # an unknown encoding is the second
        raise conf.ConfigurationError(f"record {record} is no valid XML: {error}") from None


def _words(records: Mapping[str, bytes], record: str, *names: str) -> list[str]:
    found = {each.tag.rpartition("}")[2]: each.text or "" for each in _xml(records, record).iter()}
    for name in names:
        if name not in found:
            raise conf.ConfigurationError(f"record {record} has no {name}")
    return [found[name].strip() for name in names]


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
        name: re.search(rb"<%s>\s*(\d+)\s*<" % name.encode(), text) for name in ("lt", "lx", "ly", "lz")
    }
    shape = tuple(int(each[1]) for each in legible.values() if each)
    for n in (3, 2):
        for size in (8, 4):
            n_sites = n_bytes / (8 * n * n * size)
            side = round(n_sites**0.25)
            if len(shape) == 4 and int(np.prod(shape)) == n_sites:
                return shape, n, size
            if len(shape) != 4 and side**4 == n_sites:
                return (side,) * 4, n, size
    raise conf.ConfigurationError(f"{n_bytes} bytes are no gauge field whose sizes can be guessed")


def _sums(data: bytes, n_sites: int) -> tuple[int, int]:
    """Return SciDAC's two checksums: CRC-32 of every site, rotated by its number modulo 29 and 31."""
    size = len(data) // n_sites
    view = memoryview(data)
    crc = np.array([zlib.crc32(view[i : i + size]) for i in range(0, len(data), size)], dtype=np.uint32)
    return conf.rotated_xor(crc, 29), conf.rotated_xor(crc, 31)


def _check_sums(found: conf.Configuration, records: Mapping[str, bytes], data: bytes) -> None:
    stated = _words(records, "scidac-checksum", "suma", "sumb")
    sums = _sums(data, len(found.links))
    for name, word, value in zip(("suma", "sumb"), stated, sums, strict=True):
        if not re.fullmatch(r"[0-9a-fA-F]{1,8}", word):
            raise conf.ConfigurationError(f"record scidac-checksum: {name} = {word} is no checksum")
        found.compare_words(name, int(word, 16), value)


_XML = '<?xml version="1.0" encoding="UTF-8"?>'


def write(links: Any, shape: tuple[int, ...], number: np.dtype[Any], *, ildg: bool, lfn: str) -> bytes:
    """Return a file's bytes, with the records of SciDAC and, where asked, of ILDG.

    Args:
        links: Links, (site, direction, N, N).
        shape: Sites in t, x, y, z.
        number: Its precision is the file's, whose order is always big-endian.
        ildg: Whether an ILDG file is written.
        lfn: ILDG's logical name of the file.
    """
    n, (t, x, y, z), size = links.shape[-1], shape, number.itemsize
    data = conf.as_bytes(conf.to_xyzt(links, shape), np.dtype(f">f{size}"))
    suma, sumb = _sums(data, len(links))
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
    file = (
        f"<version>1.1</version><spacetime>4</spacetime><dims>{x} {y} {z} {t} </dims><volfmt>0</volfmt>"
    )
    name = "ildg-binary-data" if ildg else "scidac-binary-data"
    ildg_format = (
        f'{_XML}<ildgFormat xmlns="http://www.lqcd.org/ildg"><version>1.0</version>{layout}{sides}'
    )
    extra = [("ildg-format", f"{ildg_format}</ildgFormat>"), ("ildg-data-lfn", lfn)] if ildg else []
    sums = f"<version>1.0</version><suma>{suma:x}</suma><sumb>{sumb:x}</sumb>"
    second = [
        ("scidac-private-record-xml", private),
        ("scidac-record-xml", f"{_XML}<title>gauge configuration</title>"),
        *extra,
        (name, data),
        ("scidac-checksum", f"{_XML}<scidacChecksum>{sums}</scidacChecksum>"),
    ]
    first = [
        ("scidac-private-file-xml", f"{_XML}<scidacFile>{file}</scidacFile>"),
        ("scidac-file-xml", f"{_XML}<title>gauge configuration</title>"),
    ]
    return b"".join(_message(records) for records in (first, second))


def _message(records: list[tuple[str, Any]]) -> bytes:
    parts = []
    for place, (kind, content) in enumerate(records):
        flags = 0x8000 * (place == 0) | 0x4000 * (place == len(records) - 1)
        body = content if isinstance(content, bytes) else content.encode()
        head = struct.pack(">IHHQ128s", MAGIC, 1, flags, len(body), kind.encode())
        parts += [head, body, bytes(-len(body) % 8)]
    return b"".join(parts)
