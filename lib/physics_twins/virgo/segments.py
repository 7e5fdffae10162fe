"""Segments of time and triggers on disk, in the community's formats.

A flag says when something held and when that was known. Flags are read and written as LIGO_LW XML and
as the JSON of the segment database (DQSEGDB), and read from the data quality in GWOSC's HDF5.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from physics_twins.data import note_path, write_json
from physics_twins.virgo.formats import gwosc, ligolw
from physics_twins.virgo.formats.strain_file import StrainFileError

Segments = NDArray[np.floating]

_MAX_JSON_BYTES = 64 << 20
_LATEST_S = 1e10  # GPS time of the year 2297


@dataclass(frozen=True)
class Flag:
    """When something held, and when that was known.

    Attributes:
        ifo: Of which interferometer, two characters.
        name: Of the flag.
        version: Of the flag.
        active: Starts and stops of the segments in which it held, GPS s, shape (segment, 2).
        known: Those in which that was known.
        comment: What it stands for.
    """

    ifo: str
    name: str
    version: int
    active: Segments
    known: Segments = field(default_factory=lambda: np.zeros((0, 2)))
    comment: str = ""

    def __post_init__(self) -> None:
        for name in ("active", "known"):
            object.__setattr__(self, name, _checked(getattr(self, name), f"{self.full_name}: {name}"))

    @property
    def full_name(self) -> str:
        """Interferometer, name and version, as `V1:NAME:1`."""
        return f"{self.ifo}:{self.name}:{self.version}"


def _checked(values: ArrayLike, what: str) -> Segments:
    """Return segments in the order of time, those that overlap or touch joined."""
    segments = np.asarray(values, dtype=float).reshape(-1, 2)
    sound = np.isfinite(segments).all() and (segments[:, 0] <= segments[:, 1]).all()
    if not sound or (np.abs(segments) > _LATEST_S).any():
        raise StrainFileError(f"{what}: every segment must be a start and a later stop, in GPS s")
    joined: list[list[float]] = []
    for start_s, stop_s in segments[np.argsort(segments[:, 0], kind="stable")].tolist():
        if joined and start_s <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], stop_s)
        else:
            joined.append([start_s, stop_s])
    return np.array(joined, dtype=float).reshape(-1, 2)


def read_flags(path: str | Path) -> list[Flag]:
    """Return the flags in a file of LIGO_LW XML, of DQSEGDB's JSON, or of GWOSC's HDF5.

    Raises:
        FileNotFoundError: There is no such file.
        StrainFileError: It is damaged, or holds no segments.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of segments {path}")
    note_path(path)
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    try:
        if start.startswith(gwosc.START):
            ifo, active, known = gwosc.flags(path)
            return [Flag(ifo, name, 1, each, known) for name, each in active.items()]
        if start.startswith(b"{"):
            return [_from_json(path)]
        return _from_tables(ligolw.read(path))
    except StrainFileError as error:
        prefix = "" if str(error).startswith(str(path)) else f"{path}: "
        raise StrainFileError(f"{prefix}{error}") from None


def _from_json(path: Path) -> Flag:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise StrainFileError(f"more than {_MAX_JSON_BYTES >> 20} MiB of JSON")
    try:
        held = json.loads(path.read_bytes())
        parts = [held[name] for name in ("ifo", "name", "version", "active", "known")]
        ifo, name, version = str(parts[0]), str(parts[1]), int(parts[2])
        active, known = (np.asarray(each, dtype=float) for each in parts[3:])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise StrainFileError(f"no JSON of ifo, name, version, active and known: {error!r}") from None
    if active.size % 2 or known.size % 2:
        raise StrainFileError("active and known must be lists of starts and stops")
    facts = held.get("metadata")
    comment = str(facts.get("flag_description", "")) if isinstance(facts, dict) else ""
    return Flag(ifo, name, version, active, known, comment)


def _from_tables(tables: dict[str, ligolw.Table]) -> list[Flag]:
    definers = _rows(tables, "segment_definer", ("segment_def_id", "ifos", "name", "version"))
    comments = tables["segment_definer"].get("comment", [None] * len(definers))
    found = []
    for (number, ifos, name, version), comment in zip(definers, comments, strict=True):
        active, known = (
            [row[1:] for row in _spans(tables, table) if row[0] == number]
            for table in ("segment", "segment_summary")
        )
        words = str(ifos or ""), str(name), int(version or 0)
        found.append(Flag(*words, np.array(active), np.array(known), str(comment or "")))
    return found


def _spans(tables: dict[str, ligolw.Table], table: str) -> list[tuple[int, float, float]]:
    if table not in tables:
        return []
    names = ("segment_def_id", "start_time", "start_time_ns", "end_time", "end_time_ns")
    return [
        (row[0], row[1] + 1e-9 * (row[2] or 0), row[3] + 1e-9 * (row[4] or 0))
        for row in _rows(tables, table, names)
    ]


def _rows(tables: dict[str, ligolw.Table], table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    if table not in tables:
        raise StrainFileError(f"there is no table {table}, but {', '.join(tables) or 'none'}")
    if missing := [name for name in columns if name not in tables[table]]:
        raise StrainFileError(f"{table}: there is no column {', '.join(missing)}")
    needed = [name for name in columns if name.endswith(("_id", "_time", "name"))]
    if any(None in tables[table][name] for name in needed):
        raise StrainFileError(f"{table}: an entry of {', '.join(columns)} is empty")
    return list(zip(*(tables[table][name] for name in columns), strict=True))


def write_flags(flags: Sequence[Flag], path: str | Path) -> Path:
    """Write flags in one step, as LIGO_LW XML or, of one flag, as DQSEGDB's JSON; return the path.

    Args:
        flags: At least one.
        path: Its suffix says the format: `.json`, `.xml` or `.xml.gz`.

    Raises:
        StrainFileError: The suffix is another, or JSON is asked for of several flags.
    """
    path = Path(path)
    if path.suffix == ".json" and len(flags) == 1:
        flag = flags[0]
        held = {"ifo": flag.ifo, "name": flag.name, "version": flag.version}
        spans = {name: getattr(flag, name).tolist() for name in ("known", "active")}
        write_json(path, held | spans | {"metadata": {"flag_description": flag.comment}})
        return path
    if path.name.endswith((".xml", ".xml.gz")) and flags:
        ligolw.write(path, _tables(flags))
        return path
    raise StrainFileError(
        f"{path}: {len(flags)} flags: expected one for .json, some for .xml or .xml.gz"
    )


def _tables(flags: Sequence[Flag]) -> dict[str, dict[str, tuple[str, list[Any]]]]:
    numbers = list(range(len(flags)))
    process = _process(flags[0].ifo)
    definer = {
        "process_id": ("int_8s", [0 for _ in numbers]),
        "segment_def_id": ("int_8s", numbers),
        "ifos": ("lstring", [flag.ifo for flag in flags]),
        "name": ("lstring", [flag.name for flag in flags]),
        "version": ("int_4s", [flag.version for flag in flags]),
        "comment": ("lstring", [flag.comment for flag in flags]),
        "insertion_time": ("int_4s", [0 for _ in numbers]),
    }
    tables = {"process": process, "segment_definer": definer}
    for table, name, number in (
        ("segment_summary", "known", "segment_sum_id"),
        ("segment", "active", "segment_id"),
    ):
        rows = [(n, *span) for n, flag in enumerate(flags) for span in getattr(flag, name).tolist()]
        starts, stops = ([_gps(row[i]) for row in rows] for i in (1, 2))
        tables[table] = {
            "process_id": ("int_8s", [0 for _ in rows]),
            number: ("int_8s", list(range(len(rows)))),
            "segment_def_id": ("int_8s", [row[0] for row in rows]),
            "start_time": ("int_4s", [each[0] for each in starts]),
            "start_time_ns": ("int_4s", [each[1] for each in starts]),
            "end_time": ("int_4s", [each[0] for each in stops]),
            "end_time_ns": ("int_4s", [each[1] for each in stops]),
        }
    return tables


def _process(ifo: str) -> dict[str, tuple[str, list[Any]]]:
    program = ("lstring", ["physics-twins"])
    return {"process_id": ("int_8s", [0]), "program": program, "ifos": ("lstring", [ifo])}


def _gps(time_s: float) -> tuple[int, int]:
    """Return whole seconds and nanoseconds of a GPS time."""
    whole = int(np.floor(time_s))
    return divmod(whole * 10**9 + round((time_s - whole) * 1e9), 10**9)


# Columns of `sngl_burst` by our names: type, unit.
_TRIGGER_COLUMNS = {
    "frequency": ("central_freq", "real_4", "Hz"),
    "snr": ("snr", "real_4", "1"),
    "duration": ("duration", "real_4", "s"),
    "bandwidth": ("bandwidth", "real_4", "Hz"),
}


def write_triggers(triggers: xr.Dataset, path: str | Path) -> Path:
    """Write triggers in one step as a table `sngl_burst` of LIGO_LW XML; return the path.

    Args:
        triggers: `time`, GPS s, and any of `frequency` in Hz, `snr`, `duration` in s and `bandwidth` in
            Hz, each (trigger); the attributes `ifo` and `channel`.
        path: Ends in `.xml` or `.xml.gz`.
    """
    path = Path(path)
    times = [_gps(float(each)) for each in triggers["time"].values]
    ifo, channel = (str(triggers.attrs.get(name, "")) for name in ("ifo", "channel"))
    columns: dict[str, tuple[str, list[Any]]] = {
        "process_id": ("int_8s", [0 for _ in times]),
        "event_id": ("int_8s", list(range(len(times)))),
        "ifo": ("lstring", [ifo for _ in times]),
        "channel": ("lstring", [channel for _ in times]),
        "peak_time": ("int_4s", [each[0] for each in times]),
        "peak_time_ns": ("int_4s", [each[1] for each in times]),
    }
    for ours, (theirs, kind, _) in _TRIGGER_COLUMNS.items():
        if ours in triggers:
            columns[theirs] = (kind, triggers[ours].values.astype(float).tolist())
    ligolw.write(path, {"process": _process(ifo), "sngl_burst": columns})
    return path


def read_triggers(path: str | Path) -> xr.Dataset:
    """Return the triggers in a table `sngl_burst` of LIGO_LW XML, of the form of `write_triggers`.

    Raises:
        FileNotFoundError: There is no such file.
        StrainFileError: It is damaged, or holds no such table.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of triggers {path}")
    note_path(path)
    tables = ligolw.read(path)
    try:
        rows = _rows(tables, "sngl_burst", ("peak_time", "peak_time_ns"))
    except StrainFileError as error:
        raise StrainFileError(f"{path}: {error}") from None
    times = np.array([whole + 1e-9 * (part or 0) for whole, part in rows], dtype=float)
    found = xr.Dataset({"time": ("trigger", times, {"units": "s"})})
    table = tables["sngl_burst"]
    for ours, (theirs, _, unit) in _TRIGGER_COLUMNS.items():
        if theirs in table:
            values = [np.nan if each is None else each for each in table[theirs]]
            found[ours] = ("trigger", np.array(values, dtype=float), {"units": unit})
    for name in ("ifo", "channel"):
        held = {each for each in table.get(name, []) if each}
        found.attrs[name] = held.pop() if len(held) == 1 else ""
    return found
