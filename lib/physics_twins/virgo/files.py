"""Strain and channels on disk: ranges of channels from one file or many, written in one step.

Files are known by their first bytes: HDF5 in GWOSC's layout, or frames (`.gwf`). They may come in any
order. A gap between them is refused, or filled with what is not a number; files that overlap, begin
between two samples, or have another rate are refused by name.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import xarray as xr
from scipy import signal

from physics_twins.data import note_path
from physics_twins.virgo.formats import frames, gwosc
from physics_twins.virgo.formats.strain_file import LONGEST_SAMPLES, Header, StrainFileError
from physics_twins.virgo.parameters import SourceParameters

Paths = str | Path | Sequence[str | Path]

_NAME = re.compile(r"[A-Za-z0-9_.:+-]{1,128}")
_SHORTEST_S = 16.0  # of a stretch that is cleaned
_LONGEST_RATIO = 1 << 12  # numerator and denominator of two rates


def channels(path: str | Path) -> list[Header]:
    """Return what a file says about its channels: names, units, rates and times.

    Raises:
        FileNotFoundError: There is no such file.
        StrainFileError: It is damaged, or of no known format.
    """
    path = Path(path)
    return _format(path).headers(path)


def _format(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of strain {path}")
    note_path(path)
    with path.open("rb") as file:
        start = file.read(8)
    for known in (gwosc, frames):
        if start.startswith(known.START):
            return known
    raise StrainFileError(f"{path}: the first bytes {start!r} are neither HDF5's nor a frame file's")


def read(
    paths: Paths,
    channel: str,
    *,
    start_s: float | None = None,
    stop_s: float | None = None,
    gaps: Literal["refuse", "nan"] = "refuse",
) -> xr.DataArray:
    """Return a range of a channel; of each file only that range is read.

    Args:
        paths: A file, or several in any order.
        channel: Its name; `strain` in a file of GWOSC's layout.
        start_s: GPS time of the first sample; by default where the first file begins.
        stop_s: GPS time of the end; by default where the last file ends.
        gaps: Whether a range that files do not cover is refused or filled with what is not a number.

    Returns:
        Shape (time,), named after the channel, with `time` in s since the first sample; attributes
        `units`, `sample_rate_hz`, `gps_start_s`, and `missing`, how many samples are no numbers.

    Raises:
        FileNotFoundError: A file is missing.
        StrainFileError: A file is damaged or lacks the channel, or files do not fit together.
        ValueError: The range is empty.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    found = _in_order([(Path(path), _header(Path(path), channel)) for path in listed])
    first, last = found[0][1], found[-1][1]
    rate_hz = first.sample_rate_hz
    begin = 0 if start_s is None else first.index(start_s)
    end = first.index(last.stop_s if stop_s is None else stop_s)
    if not 0 < end - begin <= LONGEST_SAMPLES:
        raise ValueError(f"start_s = {start_s} s to stop_s = {stop_s} s is empty or endless")
    pieces = []
    for path, header in found:
        offset = first.index(header.start_s) - begin  # of the file's first sample in what is returned
        low, high = max(0, -offset), min(header.n_samples, end - begin - offset)
        if low < high:
            pieces.append((offset + low, _format(path).read(path, header, low, high)))
    covered = sum(len(values) for _, values in pieces)
    if covered < end - begin and gaps == "refuse":
        raise StrainFileError(
            f"{', '.join(str(path) for path, _ in found)}: {channel}:"
            f" {(end - begin - covered) / rate_hz:g} s after GPS"
            f" {first.start_s + begin / rate_hz:.12g} s are in no file;"
            " gaps='nan' fills them with what is not a number"
        )
    values = _assembled(pieces, end - begin)
    return _series(channel, values, first.unit, rate_hz, first.start_s + begin / rate_hz)


def _header(path: Path, channel: str) -> Header:
    held = {header.name: header for header in channels(path)}
    if channel not in held:
        some = ", ".join(list(held)[:20])
        raise StrainFileError(f"{path}: there is no channel {channel}, but {some}")
    return held[channel]


def _in_order(found: list[tuple[Path, Header]]) -> list[tuple[Path, Header]]:
    """Return files in the order of time; refuse those that do not fit together."""
    if not found:
        raise ValueError("paths: no file is given")
    found = sorted(found, key=lambda each: each[1].start_s)
    for (path, header), (next_path, after) in pairwise(found):
        for name, value, next_value in (
            ("sample rate in Hz", header.sample_rate_hz, after.sample_rate_hz),
            ("unit", header.unit, after.unit),
        ):
            if value != next_value:
                raise StrainFileError(
                    f"{next_path}: {after.name}: {name} {next_value}, but {value} in {path}"
                )
        ahead = (after.start_s - header.start_s) * header.sample_rate_hz
        if abs(ahead - round(ahead)) > 0.05:  # GPS times in double precision are good to 4e-3 at 16 kHz
            raise StrainFileError(f"{next_path}: {after.name}: begins between two samples of {path}")
        if round(ahead) < header.n_samples:
            raise StrainFileError(
                f"{next_path}: {after.name}: overlaps {path} by"
                f" {(header.n_samples - round(ahead)) / header.sample_rate_hz:g} s"
            )
    return found


def _assembled(pieces: list[tuple[int, np.ndarray]], n_samples: int) -> np.ndarray:
    if len(pieces) == 1 and len(pieces[0][1]) == n_samples:
        return pieces[0][1]
    kinds = [values.dtype for _, values in pieces]
    whole = sum(len(values) for _, values in pieces) == n_samples
    kind = np.result_type(*kinds, *([] if whole else [np.float32])) if kinds else np.dtype(float)
    joined = np.full(n_samples, 0 if whole else np.nan, dtype=kind)
    for offset, values in pieces:
        joined[offset : offset + len(values)] = values
    return joined


def _series(
    name: str, values: np.ndarray, unit: str, sample_rate_hz: float, gps_start_s: float
) -> xr.DataArray:
    missing = int(np.sum(~np.isfinite(values))) if values.dtype.kind == "f" else 0
    time_s = ("time", np.arange(len(values)) / sample_rate_hz, {"units": "s"})
    facts = {"sample_rate_hz": sample_rate_hz, "gps_start_s": gps_start_s, "missing": missing}
    facts = {"units": unit or "1", **facts}
    return xr.DataArray(values, dims="time", coords={"time": time_s}, name=name, attrs=facts)


def write(series: Iterable[xr.DataArray], path: str | Path, *, detector: str = "V1") -> Path:
    """Write channels as a file in one step; return its path.

    Args:
        series: Of the form of `read`; the one named `strain` has its own place in HDF5.
        path: The file; frames where it ends in `.gwf`, else HDF5 in GWOSC's layout.
        detector: Two characters, such as V1.

    Raises:
        StrainFileError: A name does not fit, is there twice, or a channel is no series of numbers.
    """
    path, listed = Path(path), []
    for each in series:
        name, values = str(each.name), each.values
        if not _NAME.fullmatch(name) or name in {header.name for header, _ in listed}:
            raise StrainFileError(f"{path}: {name!r} is no name of a channel, or is there twice")
        if values.ndim != 1 or values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
            raise StrainFileError(
                f"{path}: {name}: {values.dtype} of shape {values.shape}, expected a series"
            )
        rate_hz, start_s = (float(each.attrs[n]) for n in ("sample_rate_hz", "gps_start_s"))
        listed.append((Header(name, str(each.attrs["units"]), rate_hz, start_s, len(values)), values))
    if not listed:
        raise StrainFileError(f"{path}: there is no channel to write")
    (frames if path.suffix == ".gwf" else gwosc).write(path, listed, detector=detector)
    return path


def channels_of(stretch: xr.Dataset) -> list[xr.DataArray]:
    """Return strain and witnesses of a stretch as channels that `write` takes."""
    rate_hz, start_s = (float(stretch.attrs[n]) for n in ("sample_rate_hz", "gps_start_s"))
    found = [_series("strain", stretch["strain"].values, "1", rate_hz, start_s)]
    for name in stretch["channel"].values:
        witness = stretch["witness"].sel(channel=name)
        found.append(_series(str(name), witness.values, str(witness["unit"].item()), rate_hz, start_s))
    return found


def stretch_of(strain: xr.DataArray, witnesses: Sequence[xr.DataArray], *, detector: str) -> xr.Dataset:
    """Return strain and witnesses as a stretch that can be cleaned, all at the strain's rate.

    Args:
        strain: From `read`.
        witnesses: From `read`, over the same time; those of another rate are resampled.
        detector: Whose sensitivity the noise has: a key of `sensitivity.SOURCES`.

    Raises:
        StrainFileError: A witness begins or ends at another time, or its rate has no simple ratio.
    """
    rows = [_resampled(each, strain) for each in witnesses]
    records = np.array(rows, dtype=np.float32).reshape(len(rows), strain.sizes["time"])
    names = [str(each.name) for each in witnesses]
    rate_hz = float(strain.attrs["sample_rate_hz"])
    return xr.Dataset(
        {
            "strain": ("time", strain.values.astype(float), {"units": "1"}),
            "witness": (("channel", "time"), records, {"units": "unit"}),
        },
        coords={
            "time": ("time", strain["time"].values, {"units": "s"}),
            "channel": ("channel", np.array(names, dtype=str)),
            "unit": ("channel", np.array([each.attrs["units"] for each in witnesses], dtype=str)),
        },
        attrs={
            "title": "Strain and witnesses as recorded",
            "detector": detector,
            "sample_rate_hz": rate_hz,
            "duration_s": strain.sizes["time"] / rate_hz,
            "gps_start_s": float(strain.attrs["gps_start_s"]),
        },
    )


def recorded(source: SourceParameters, *, detector: str) -> xr.Dataset:
    """Return the stretch that files hold: the strain, and every other channel as a witness.

    Args:
        source: Files, the strain's name, channels that carry strain (they must be there).
        detector: Whose sensitivity the noise has.

    Raises:
        FileNotFoundError: A file is missing.
        StrainFileError: A file is damaged, too short, or lacks the strain, a channel that is named as
            unsafe, or any witness; or the strain has samples that are no numbers.
    """
    strain = read(source.strain_file, source.strain_channel)
    duration_s, where = (
        strain.sizes["time"] / float(strain.attrs["sample_rate_hz"]),
        f"{source.strain_file}: {source.strain_channel}:",
    )
    if strain.attrs["missing"]:
        raise StrainFileError(
            f"{where} {strain.attrs['missing']} samples are not numbers, expected none; cut the range"
            " that is whole into a file of its own"
        )
    if duration_s < _SHORTEST_S:
        raise StrainFileError(
            f"{where} lasts {duration_s:g} s, expected at least {_SHORTEST_S:g} s to learn filters from"
        )
    path = source.witness_file or source.strain_file
    names = [header.name for header in channels(path) if header.name != source.strain_channel]
    if not names:
        raise StrainFileError(
            f"{path}: expected channels besides {source.strain_channel} as witnesses, found none"
        )
    if absent := [name for name in source.unsafe if name not in names]:
        raise StrainFileError(f"{path}: unsafe_channels: there is no channel {absent[0]}")
    start_s = float(strain.attrs["gps_start_s"])
    witnesses = [read(path, n, start_s=start_s, stop_s=start_s + duration_s) for n in names]
    return stretch_of(strain, witnesses, detector=detector)


def _resampled(witness: xr.DataArray, strain: xr.DataArray) -> np.ndarray:
    rate_hz, wanted_hz = (float(each.attrs["sample_rate_hz"]) for each in (witness, strain))
    ratio = Fraction(wanted_hz / rate_hz).limit_denominator(_LONGEST_RATIO)
    apart = abs(float(ratio) * rate_hz / wanted_hz - 1)
    if ratio <= 0 or ratio.numerator > _LONGEST_RATIO or apart > 1e-12:
        raise StrainFileError(
            f"{witness.name}: {rate_hz:g} Hz has no simple ratio to the strain's {wanted_hz:g} Hz"
        )
    apart = abs(float(witness.attrs["gps_start_s"]) - float(strain.attrs["gps_start_s"]))
    n_samples = round(witness.sizes["time"] * ratio)
    if apart * wanted_hz > 0.05 or n_samples != strain.sizes["time"]:
        raise StrainFileError(f"{witness.name}: begins or ends at another time than {strain.name}")
    values = witness.values.astype(float)
    return values if ratio == 1 else signal.resample_poly(values, ratio.numerator, ratio.denominator)
