"""QCDml, ILDG's XML on ensembles and on configurations: read, held against a file, and written.

Versions 1.3 and 2.0 of the schema of configurations, 1.4 and 2.0 of that of ensembles.
"""

import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from physics_twins.data import note_path, replacing
from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.formats import xml

CRC = "crcCheckSum"
_NAMESPACE = "http://www.lqcd.org/ildg/QCDml/config2.0"
_NEEDED = {
    "gaugeConfiguration": (
        *("dataLFN", "markovChainURI", "series", "update", "precision", CRC, "avePlaquette"),
    ),
    "markovChain": ("markovChainURI", "collaboration", "projectName"),
}
_BESIDE = ("field", "beta", "gaugeGroup", "representation", "numberOfFlavours", "licenseURI")
_NUMBER = re.compile(r"[-+]?\d{1,3}(?:\.\d{0,20})?(?:[eE][-+]?\d{1,3})?")


def read(path: str | Path) -> dict[str, str]:
    """Return what a document says: of a configuration or of an ensemble.

    Args:
        path: The document.

    Returns:
        `document` (gaugeConfiguration or markovChain), the elements by their names in the schema, and
        `gluonAction`, `quarkActions`, `size` (x, y, z, t), `code`, where they are there.

    Raises:
        ConfigurationError: It is no QCDml, lacks what the schema asks for, or is of several fields.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no QCDml document {path}")
    note_path(path)
    with path.open("rb") as file:
        root = xml.parsed(file.read(xml.MOST_BYTES + 1), str(path))
    kind = root.tag.rpartition("}")[2]
    if kind not in _NEEDED:
        raise conf.ConfigurationError(f"{path}: root must be {' or '.join(_NEEDED)}, found {kind}")
    steps = len(root.findall(".//{*}markovStep"))
    if steps > 1:
        raise conf.ConfigurationError(f"{path} describes {steps} configurations, one can be read")
    words = xml.words(root)
    for name in _NEEDED[kind]:
        if not words.get(name):
            raise conf.ConfigurationError(f"{path}: {kind} has no {name}")
    found = {"document": kind} | {n: words[n] for n in (*_NEEDED[kind], *_BESIDE) if words.get(n)}
    for name, place in (("gluonAction", "gluon"), ("quarkActions", "quark")):
        actions = [each.tag.rpartition("}")[2] for each in root.findall(f".//{{*}}{place}/*")]
        found |= {name: ", ".join(actions)} if actions else {}
    sides = [_side(each) for each in root.findall(".//{*}physics/{*}size/*")]
    code = [root.findtext(f"{{*}}implementation/{{*}}code/{{*}}{n}", "") for n in ("name", "version")]
    more = {"size": " ".join(filter(None, sides)), "code": " ".join(filter(None, code))}
    return found | {name: text for name, text in more.items() if text}


def _side(element: ET.Element) -> str:
    """Return the length of a side: the text of 2.0, the element `length` of 1.4."""
    return (element.findtext("{*}length") or element.text or "").strip()


def checks(
    facts: Mapping[str, str], stored: conf.Stored, numbers: Mapping[str, float], crc: int | None
) -> list[conf.Check]:
    """Return what a document states of a file beside what the file has.

    Args:
        facts: What `read` returns of a configuration.
        stored: The file.
        numbers: Of its links.
        crc: `checksum` of its links' bytes; None where the file is no ILDG file, of whose bytes it is.

    Raises:
        ConfigurationError: The document is one of an ensemble, or has no number where one must be.
    """
    if facts["document"] != "gaugeConfiguration":
        raise conf.ConfigurationError("the QCDml document is one of an ensemble, of no configuration")
    if not _NUMBER.fullmatch(plaquette := facts["avePlaquette"]):
        raise conf.ConfigurationError(f"QCDml's avePlaquette = {plaquette[:40]} is no number")
    precision = {4: "single", 8: "double"}[stored.number.itemsize]
    pairs = [("precision", precision), ("field", f"su{stored.n}gauge")]
    if "ildg-data-lfn" in stored.facts:
        pairs.append(("dataLFN", stored.facts["ildg-data-lfn"].strip()))
    found = [
        conf.Check(name, facts[name], has, facts[name] in (has, "mixed"))
        for name, has in pairs
        if name in facts
    ]
    found.append(
        conf.compare("avePlaquette", plaquette, numbers["plaquette"], max(stored.tolerance, 1e-6))
    )
    if crc is not None:  # in print of cksum, decimal, or hexadecimal: both are found
        allowed = (str(crc), f"{crc:x}", f"{crc:08x}", f"0x{crc:08x}")
        found.append(conf.Check(CRC, facts[CRC], str(crc), facts[CRC].lower() in allowed))
    return found


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def summed(register: int, raw: bytes | memoryview) -> int:
    """Return the register of POSIX's cksum after further bytes; it begins with 0xffffffff.

    The bits of zlib's CRC-32 are in the other order, and it begins otherwise.
    """
    return zlib.crc32(bytes(raw).translate(_REVERSED), register)


def checksum(register: int, n_bytes: int) -> int:
    """Return POSIX's cksum of so many bytes from the register that they have left.

    >>> checksum(summed(0xFFFFFFFF, b"123456789"), 9)
    930766865
    """
    length = n_bytes.to_bytes((n_bytes.bit_length() + 7) // 8, "little")
    return int(f"{summed(register, length):032b}"[::-1], 2)


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from, as QCDml wants to know.

    Attributes:
        lfn: Logical name of the file, `dataLFN`.
        chain: Name of the ensemble, `markovChainURI`.
        update: How many updates the chain had made.
        participant, institution: Who made it.
        machine, machine_type: Where.
        code, code_version, code_date: With what; the date as in 2026-01-31T12:00:00+00:00.
        series: Of several chains of an ensemble.
        parameters: Of the algorithm, by name.
    """

    lfn: str
    chain: str
    update: int
    participant: str
    institution: str
    machine: str
    machine_type: str
    code: str
    code_version: str
    code_date: str
    series: str = "0"
    parameters: Mapping[str, Any] = field(default_factory=dict)


def write(path: str | Path, origin: Origin, stored: conf.Stored, plaquette: float, crc: str) -> Path:
    """Write the document of a configuration, version 2.0; return its path.

    Args:
        path: The document.
        origin: Where the configuration comes from.
        stored: The ILDG file that it describes.
        plaquette: Its mean plaquette.
        crc: `checksum` of its links' bytes.
    """
    who = {"name": origin.participant, "institution": origin.institution}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    event = {"revision": 0, "revisionAction": "generate", "participant": who, "date": date}
    machine = {"name": origin.machine, "institution": origin.institution}
    machine |= {"machineType": origin.machine_type}
    code = {"name": origin.code, "version": origin.code_version, "date": origin.code_date}
    listed = [("parameter", {"name": n, "value": v}) for n, v in origin.parameters.items()]
    record = {"field": f"su{stored.n}gauge", CRC: crc, "avePlaquette": f"{plaquette:.10f}"}
    step = {"update": origin.update, "record": record}
    root = ET.Element("gaugeConfiguration", xmlns=_NAMESPACE)
    whole = {
        "dataLFN": origin.lfn,
        "management": {"revisions": 1, "archiveHistory": {"archiveEvent": event}},
        "implementation": {"machine": machine, "code": code},
        "algorithm": {"parameters": listed},
        "precision": {4: "single", 8: "double"}[stored.number.itemsize],
        "markovSequence": {
            "markovChainURI": origin.chain,
            "series": origin.series,
            "markovStep": step,
        },
    }
    _grow(root, whole)
    ET.indent(root)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(ET.tostring(root, "UTF-8", xml_declaration=True))
    return Path(path)


def _grow(parent: ET.Element, content: Any) -> None:
    for name, value in content.items() if isinstance(content, Mapping) else content:
        child = ET.SubElement(parent, name)
        if isinstance(value, Mapping | list):
            _grow(child, value)
        else:
            child.text = str(value)
