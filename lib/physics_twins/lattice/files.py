"""Gauge configurations on disk: read and written in seven formats, and believed only after a check.

Formats are known by their first bytes. Every checksum, plaquette and link trace that a file states is
recomputed from its links.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from physics_twins.data import note_path, replacing
from physics_twins.lattice.formats import lime, milc, nersc, openqcd
from physics_twins.lattice.formats.configuration import Configuration, ConfigurationError, unitarity
from physics_twins.lattice.simulate import DIRECTIONS

Format = Literal["milc", "milc_v1", "milc_text", "nersc", "ildg", "scidac", "openqcd"]


def read(path: str | Path, *, forced: bool = False) -> xr.Dataset:
    """Return a gauge configuration and what was recomputed of it.

    Args:
        path: A file of MILC v5, v1 or text, NERSC, ILDG, SciDAC or openQCD, in either byte order and
            precision.
        forced: Whether to read what is invalid; the attributes `forced` and `wrong` then say so.

    Returns:
        `field`, (t, x, y, z, direction, row, column, part), the links as `simulate` has them;
        `plaquette`, `plaquette_space`, `plaquette_time`, `link_trace`, each over N; `unitarity`, how
        far links are from being unitary; `stated`, `found` and `passed` for every `check`.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is of another format, or invalid, or a check fails and it is not forced.
    """
    path = Path(path)
    found = _opened(path, forced=forced)
    failed = [f"{c.name} is {c.found}, stated is {c.stated}" for c in found.checks if not c.passed]
    far = unitarity(found.links)
    if not far < 100 * found.tolerance:
        failed.append(f"links are {far:.1e} from being unitary")
    wrong = [*found.wrong, *failed]
    if wrong and not forced:
        raise ConfigurationError(f"{path} ({found.form}): {'; '.join(wrong)}")
    parts = found.links.view(np.float64).reshape(*found.shape, *found.links.shape[1:], 2)
    pure = {"units": "1"}
    numbers = found.numbers | {"unitarity": far}
    of_checks = {
        name: ("check", [getattr(check, name) for check in found.checks])
        for name in ("stated", "found", "passed")
    }
    chosen = {"format": found.form, "number": found.number.str, "forced": int(bool(wrong))}
    return xr.Dataset(
        {name: ((), value, pure) for name, value in numbers.items()}
        | {"field": ((*DIRECTIONS, "direction", "row", "column", "part"), parts, pure)}
        | of_checks,
        coords={"check": ("check", [check.name for check in found.checks])},
        attrs={"title": f"Gauge configuration {path.name}", **chosen, "wrong": "; ".join(wrong)},
    )


def _opened(path: Path, *, forced: bool) -> Configuration:
    if not path.is_file():
        raise FileNotFoundError(f"there is no gauge configuration {path}")
    note_path(path)
    raw = path.read_bytes()
    try:
        if order := milc.order_of(raw):
            return milc.read(raw, order)
        if order := milc.order_of(raw, milc.MAGIC_V1):
            return milc.read_v1(raw, order)
        if milc.is_text(raw[:300]):
            return milc.read_text(raw)
        if raw.startswith(nersc.START):
            return nersc.read(raw)
        if raw.startswith(lime.START):
            return lime.read(raw, forced=forced)
        if shape := openqcd.shape_of(raw):
            return openqcd.read(raw, shape)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    raise ConfigurationError(
        f"{path} is of no format known here: MILC v5, v1 and text, NERSC, ILDG, SciDAC, openQCD"
    )


def write(configuration: xr.DataArray, path: str | Path, form: Format, *, number: str = "") -> Path:
    """Write links as a file in one step; return its path.

    Args:
        configuration: `field` of `simulate` in four dimensions, one of them kept, or of `read`.
        path: The file; what was there before is replaced.
        form: Its format.
        number: Type of a real number, such as `>f4`; by default single for MILC, else double, and
            the order that is usual. ILDG and SciDAC are big-endian, openQCD is `<f8`.

    Raises:
        ConfigurationError: The field is none of SU(N) in four dimensions, or does not fit the format.
    """
    field = configuration.squeeze()
    if field.dims[:4] != DIRECTIONS or field.sizes.get("part") != 2:
        raise ConfigurationError(f"links of SU(N) in four dimensions are needed, found {field.dims}")
    values = field.values[..., 0] + 1j * field.values[..., 1]
    shape = values.shape[:4]
    links = values.reshape(-1, *values.shape[4:])
    usual = {"milc": "<f4", "milc_v1": "<f4", "openqcd": "<f8"}.get(form, ">f8")
    kind: Any = np.dtype(number or usual)
    if form in ("ildg", "scidac"):
        name = f"lfn://physics-twins/{Path(path).name}"
        raw = lime.write(links, shape, kind, ildg=form == "ildg", lfn=name)
    else:
        if form.startswith("milc") and links.shape[-1] != 3:
            raise ConfigurationError(f"MILC's files hold SU(3), not SU({links.shape[-1]})")
        raw = _WRITERS[form](links, shape, kind)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(raw)
    return Path(path)


_WRITERS = {
    "milc": milc.write,
    "milc_v1": milc.write_v1,
    "milc_text": milc.write_text,
    "nersc": nersc.write,
    "openqcd": openqcd.write,
}


def told(configuration: xr.Dataset) -> str:
    """Return in words what a file is, whether it is whole, and every number recomputed."""
    facts, sizes = configuration.attrs, [configuration.sizes[d] for d in DIRECTIONS]
    state = f"invalid, forced: {facts['wrong']}" if facts["forced"] else "whole"
    if not configuration.sizes["check"]:
        state += " as far as can be told: the file states no number to check"
    lines = [
        f"{facts['format']}, SU({configuration.sizes['row']}), {' x '.join(map(str, sizes))} sites"
        f" (t, x, y, z), numbers {facts['number']}: {state}"
    ]
    for each in configuration["check"].values:
        check = configuration.sel(check=each)
        verdict = "as stated" if bool(check["passed"]) else f"but {check['stated'].item()} is stated"
        lines.append(f"  {each} {check['found'].item()}, {verdict}")
    numbers = ("plaquette", "plaquette_space", "plaquette_time", "link_trace", "unitarity")
    return "\n".join([*lines, *(f"  {name} {float(configuration[name]):.10g}" for name in numbers)])
