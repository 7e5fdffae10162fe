"""Gauge configurations on disk: read and written in eight formats, and believed only after a check.

Formats are known by their first bytes. Every checksum, plaquette and link trace that a file states is
recomputed from its links, time slice by time slice, so that a file may be larger than memory.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import note_path, replacing
from physics_twins.lattice.formats import configuration as conf
from physics_twins.lattice.formats import lime, milc, nersc, openqcd, qcdml
from physics_twins.lattice.formats.configuration import Check, ConfigurationError, Recomputed, Stored
from physics_twins.lattice.formats.qcdml import Origin as Origin
from physics_twins.lattice.geometry import refuse_part
from physics_twins.lattice.simulate import DIRECTIONS

Format = Literal["milc", "milc_v1", "milc_text", "nersc", "ildg", "scidac", "openqcd"]
FORMATS: tuple[Format, ...] = ("milc", "milc_v1", "milc_text", "nersc", "ildg", "scidac", "openqcd")
# Called after each time slice with how many are done, and of how many.
Progress = Callable[[int, int], None]
_HEAD_BYTES = 1 << 16  # the longest header is in words
_MOST_FACT = 1000  # characters of a fact that are kept
_ANGLES, _MATRICES = ("direction",), ("direction", "row", "column", "part")


def read(
    path: str | Path,
    *,
    forced: bool = False,
    times: range | None = None,
    checked: bool = True,
    document: str | Path = "",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Return a gauge configuration and what was recomputed of it.

    Args:
        path: A file of MILC v5, v1 or text, NERSC, ILDG, SciDAC, openQCD or openQ*D, in either byte
            order and precision.
        forced: Whether to read what is invalid; the attributes `forced` and `wrong` then say so.
        times: The time slices that are kept; all where it is left out. The whole file is checked.
        checked: False reads the asked slices and nothing else; only that links are unitary is checked.
        document: QCDml's document of this configuration, which is held against the file.
        progress: Told how many time slices are done.

    Returns:
        `field`, (t, x, y, z, direction, row, column, part), the links as `simulate` has them; of
        openQ*D's photons `photons`, (t, x, y, z, direction), the angles of the compact links; both with
        `t` where slices were asked for. `plaquette`, `plaquette_space`, `plaquette_time`, `link_trace`,
        each over N; `unitarity`, how far links are from being unitary; `stated`, `found` and `passed`
        for every `check`. What the file says besides is in attributes that begin with `header_`, the
        document in those with `qcdml_`.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is of another format, or invalid, or a check fails and it is not forced.
    """
    path = Path(path)
    try:
        stored = _stored(path, forced=forced)
        keep = range(stored[0].shape[0]) if times is None else times
        if any(not 0 <= t < stored[0].shape[0] for t in (*keep[:1], *keep[-1:])):
            raise ConfigurationError(f"times {keep} must be within {stored[0].shape[0]} slices")
        facts = qcdml.read(document) if document else {}
        seen = [_Seen(each, keep, facts, progress, checked=checked) for each in stored]
    except ConfigurationError as error:
        named = str(path) in str(error)
        raise ConfigurationError(str(error) if named else f"{path}: {error}") from None
    wrong = [each for one in seen for each in one.wrong]
    form = " and ".join(each.form for each in stored)
    if wrong and not forced:
        raise ConfigurationError(f"{path} ({form}): {'; '.join(wrong)}")
    return _dataset(seen, form, wrong, facts, times)


def check(
    path: str | Path,
    *,
    forced: bool = False,
    document: str | Path = "",
    progress: Progress | None = None,
) -> xr.Dataset:
    """Return what was recomputed of a configuration, as `read` does, without the links.

    No more than a few time slices are held, however large the file is.
    """
    found = read(path, forced=forced, times=range(0), document=document, progress=progress)
    return found.drop_vars(["field", "photons", "t"], errors="ignore")


class _Seen:
    """A field in a file that was gone through once."""

    def __init__(
        self,
        stored: Stored,
        keep: range,
        facts: dict[str, str],
        progress: Progress | None,
        *,
        checked: bool,
    ) -> None:
        n_times = stored.shape[0]
        self.stored, self.checks, self.numbers = stored, list[Check](), dict[str, float]()
        recomputed, n_bytes, register = Recomputed(stored.shape), 0, 0xFFFFFFFF
        sums = (0,) * len(stored.sums.names) if stored.sums else ()
        kept: NDArray[Any] | None = None
        times = range(n_times) if checked else keep
        slices = zip(times, stored.slices(times), strict=True)
        for done, (t, (raw, links)) in enumerate(slices, start=1):
            recomputed.add(links)
            if stored.sums and checked:
                sums = stored.sums.update(sums, raw, n_bytes)
            if stored.form == "ILDG":
                register = qcdml.summed(register, raw)
            n_bytes += len(raw)
            if t in keep:
                kept = np.empty((len(keep), *links.shape), links.dtype) if kept is None else kept
                kept[keep.index(t)] = links
            if progress:
                progress(done, len(times))
        self.links, self.unitarity = kept, recomputed.unitarity
        self.crc = qcdml.checksum(register, n_bytes) if stored.form == "ILDG" else None
        if checked:
            self.numbers = recomputed.numbers()
            self.checks = (stored.sums.checks(sums) if stored.sums else []) + stored.compared(
                self.numbers
            )
            if facts:
                self.checks += qcdml.checks(facts, stored, self.numbers, self.crc)

    @property
    def wrong(self) -> list[str]:
        """What is wrong, in words."""
        failed = [f"{c.name} is {c.found}, stated is {c.stated}" for c in self.checks if not c.passed]
        if not self.unitarity < conf.UNITARY[self.stored.number.itemsize]:
            failed.append(f"links are {self.unitarity:.1e} from being unitary")
        return [*self.stored.wrong, *failed]


def _dataset(
    seen: list[_Seen], form: str, wrong: list[str], facts: dict[str, str], times: range | None
) -> xr.Dataset:
    first, shape = seen[0].stored, seen[0].stored.shape
    checks = [each for one in seen for each in one.checks]
    numbers = seen[0].numbers | {"unitarity": seen[0].unitarity}
    columns: dict[str, Any] = {name: ((), value, {"units": "1"}) for name, value in numbers.items()}
    for one in seen:
        if one.links is not None:
            n, about = one.stored.n, {"n_time": shape[0]}
            name, unit, dims = ("photons", "rad", _ANGLES) if n == 1 else ("field", "1", _MATRICES)
            sizes = (4,) if n == 1 else (4, n, n, 2)
            values = one.links.view(np.float64).reshape(-1, *shape[1:], *sizes)
            columns[name] = ((*DIRECTIONS, *dims), values, {"units": unit, **about})
    columns |= {
        name: ("check", [getattr(each, name) for each in checks])
        for name in ("stated", "found", "passed")
    }
    coordinates: dict[str, Any] = {"check": ("check", [each.name for each in checks])}
    if times is not None:
        coordinates["t"] = ("t", list(times), {"units": "1"})
    group = " x ".join("U(1)" if one.stored.n == 1 else f"SU({one.stored.n})" for one in seen)
    known = {"title": f"Gauge configuration {first.path.name}", "format": form, "group": group}
    known |= {"sites": " x ".join(map(str, shape)), "number": first.number.str}
    known |= {"verified": int(bool(seen[0].numbers)), "forced": int(bool(wrong))}
    known |= {"wrong": "; ".join(wrong)}
    known |= {"cksum": str(seen[0].crc)} if seen[0].crc and known["verified"] else {}
    said = {f"header_{re.sub(r'[^0-9A-Za-z]', '_', n)}": t for n, t in first.facts.items()}
    said |= {f"qcdml_{name}": text for name, text in facts.items()}
    return xr.Dataset(columns, coordinates, known | {n: t[:_MOST_FACT] for n, t in said.items()})


def _stored(path: Path, *, forced: bool = False) -> list[Stored]:
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder, no gauge configuration")
    if not path.is_file():
        raise FileNotFoundError(f"there is no gauge configuration {path}")
    note_path(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if order := milc.order_of(head):
        return [milc.stored(path, head, order)]
    if order := milc.order_of(head, milc.MAGIC_V1):
        return [milc.stored_v1(path, head, order)]
    if milc.is_text(head):
        return [milc.stored_text(path, head)]
    if head.startswith(nersc.START):
        return [nersc.stored(path, head)]
    if head.startswith(lime.START):
        return [lime.stored(path, forced=forced)]
    if shape := openqcd.shape_of(head, path.stat().st_size):
        return openqcd.stored(path, shape)
    raise ConfigurationError(
        f"{path} is empty"
        if not head
        else f"{path} is of no format known here: MILC v5, v1 and text, NERSC, ILDG, SciDAC, openQCD"
    )


def write(
    configuration: xr.DataArray,
    path: str | Path,
    form: Format,
    *,
    number: str = "",
    photons: xr.DataArray | None = None,
) -> Path:
    """Write links as a file in one step, time slice by time slice; return its path.

    Args:
        configuration: `field` of `simulate` in four dimensions, one of them kept, or of `read`; or
            `photons` of `read` alone. What xarray has not yet loaded is loaded slice by slice.
        path: The file; what was there before is replaced.
        form: Its format.
        number: Type of a real number, such as `>f4`; by default single for MILC, else double, and
            the order that is usual. ILDG and SciDAC are big-endian, openQCD is `<f8`.
        photons: What openQ*D has beside SU(3).

    Raises:
        ConfigurationError: The field is none of SU(N) in four dimensions, or does not fit the format.
    """
    fields = [_plain(each) for each in (configuration, photons) if each is not None]
    shape = tuple(fields[0].sizes[name] for name in DIRECTIONS)
    return _write(Path(path), form, number, shape, [_slices_of(each) for each in fields])


def convert(path: str | Path, target: str | Path, form: Format, *, number: str = "") -> Path:
    """Check a configuration and write it in another format; return the new file's path.

    Args:
        path: A file as `read` takes.
        target: The file that is written; what was there before is replaced.
        form: Its format.
        number: As `write` takes it; by default the precision is kept where the format has both.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is invalid, or does not fit the format. Nothing is written then.
    """
    check(path)
    stored = _stored(Path(path))
    if not number and form in ("milc_text", "nersc", "ildg", "scidac"):
        number = f">f{stored[0].number.itemsize}"

    def links(each: Stored) -> conf.Slices:
        return lambda times: (one for _, one in each.slices(times))

    return _write(Path(target), form, number, stored[0].shape, [links(each) for each in stored])


def document(path: str | Path, target: str | Path, origin: Origin) -> Path:
    """Write QCDml's document of an ILDG file, which is checked first; return the document's path.

    Args:
        path: The ILDG file.
        target: The document; what was there before is replaced.
        origin: Where the configuration comes from.

    Raises:
        ConfigurationError: The file is invalid, or of another format.
    """
    checked = check(path)
    if "cksum" not in checked.attrs:
        raise ConfigurationError(f"{path} must be an ILDG file, found {checked.attrs['format']}")
    found = float(checked["plaquette"]), checked.attrs["cksum"]
    return qcdml.write(target, origin, _stored(Path(path))[0], *found)


def _plain(field: xr.DataArray) -> xr.DataArray:
    """Return links, without the dimensions of chains and kept fields."""
    inner = _MATRICES if "row" in field.dims else _ANGLES
    wanted = (*DIRECTIONS, *inner)
    beside = [name for name in field.dims if name not in wanted and field.sizes[name] == 1]
    field = field.squeeze(beside)
    if field.dims != wanted:
        raise ConfigurationError(f"links of SU(N) in four dimensions are needed, found {field.dims}")
    refuse_part(field)
    return field


def _slices_of(field: xr.DataArray) -> conf.Slices:
    def slices(times: range) -> Iterator[NDArray[Any]]:
        for t in times:
            values = field.isel(t=t).values
            links = values[..., 0] + 1j * values[..., 1] if "part" in field.dims else values
            yield links.reshape(-1, *links.shape[3:])

    return slices


def _write(
    path: Path, form: Format, number: str, shape: tuple[int, ...], fields: list[conf.Slices]
) -> Path:
    if form not in FORMATS:
        raise ConfigurationError(f"the format must be one of {', '.join(FORMATS)}, found {form}")
    usual = {"milc": "<f4", "milc_v1": "<f4", "openqcd": "<f8"}.get(form, ">f8")
    kind: Any = np.dtype(number or usual)
    if kind.str not in ("<f4", ">f4", "<f8", ">f8"):
        raise ConfigurationError(f"number = {number} must be <f4, >f4, <f8 or >f8")
    first = next(fields[0](range(1)))
    if form != "openqcd" and (len(fields) > 1 or first.ndim == 2):
        raise ConfigurationError(f"photons have a place in openqcd's files alone, not in {form}'s")
    if form.startswith("milc") and first.shape[-1] != 3:
        raise ConfigurationError(f"MILC's files hold SU(3), not SU({first.shape[-1]})")
    with replacing(path) as temporary, temporary.open("w+b") as file:
        if form in ("ildg", "scidac"):
            name = f"lfn://physics-twins/{path.name}"
            lime.write(file, fields[0], shape, kind, ildg=form == "ildg", lfn=name)
        elif form == "openqcd":
            openqcd.write(file, fields[0], shape, kind, *fields[1:])
        else:
            _WRITERS[form](file, fields[0], shape, kind)
    return path


_WRITERS = {
    "milc": milc.write,
    "milc_v1": milc.write_v1,
    "milc_text": milc.write_text,
    "nersc": nersc.write,
}


def told(configuration: xr.Dataset) -> str:
    """Return in words what a file is, whether it is whole, and every number recomputed."""
    facts = configuration.attrs
    state = f"invalid, forced: {facts['wrong']}" if facts["forced"] else "whole"
    if not facts["verified"]:
        state = "not checked but for the slices that were read"
    elif not configuration.sizes["check"]:
        state += " as far as can be told: the file states no number to check"
    lines = [
        f"{facts['format']}, {facts['group']}, {facts['sites']} sites (t, x, y, z), numbers"
        f" {facts['number']}: {state}"
    ]
    for each in range(configuration.sizes["check"]):
        one = configuration.isel(check=each)
        verdict = "as stated" if bool(one["passed"]) else f"but {one['stated'].item()} is stated"
        lines.append(f"  {one['check'].item()} {one['found'].item()}, {verdict}")
    numbers = ("plaquette", "plaquette_space", "plaquette_time", "link_trace", "unitarity")
    lines += [f"  {n} {float(configuration[n]):.10g}" for n in numbers if n in configuration]
    lines += [f"  {n.removeprefix('qcdml_')} {t}" for n, t in facts.items() if n.startswith("qcdml_")]
    return "\n".join(lines)
