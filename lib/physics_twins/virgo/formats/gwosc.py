"""Strain in HDF5 as the Gravitational Wave Open Science Center lays it out, channels beside it.

`strain/Strain` is the strain, `quality/simple/DQmask` a word of bits for each second, `meta` what it
is. Channels lie in `channels`, a data set each, with the attributes of the strain's. A range is read
without the rest of the file.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import replacing
from physics_twins.virgo.formats.strain_file import Header, StrainFileError

if TYPE_CHECKING:
    import h5py

START = b"\x89HDF\r\n\x1a\n"
STRAIN = "strain"
_GROUP = "channels"
_MAX_CHUNK_BYTES = 256 << 20
_MAX_CHANNELS = 1 << 16


def headers(path: Path) -> list[Header]:
    """Return what a file says about its channels, the strain first.

    Raises:
        StrainFileError: It is damaged, or is no such file.
    """
    import h5py

    with _reading(path) as file:
        group = file.get(_GROUP)
        names = list(group)[:_MAX_CHANNELS] if isinstance(group, h5py.Group) else []
        keys = ["strain/Strain"] * ("strain/Strain" in file) + [f"{_GROUP}/{name}" for name in names]
        if not keys:
            raise StrainFileError(f"there is no strain/Strain, found {', '.join(list(file)[:20])}")
        return [_header(file, key) for key in keys]


def read(path: Path, header: Header, first: int, stop: int) -> NDArray[Any]:
    """Return samples `first` to `stop` of a channel that is in the file."""
    with _reading(path) as file:
        return _array(file, _key(header.name))[first:stop]


def flags(path: Path) -> tuple[str, dict[str, NDArray[np.floating]], NDArray[np.floating]]:
    """Return detector, segments of every flag of the data's quality, and the time that has flags.

    Segments are of shape (segment, 2): starts and stops in GPS s.

    Raises:
        StrainFileError: It is damaged, or has no `quality/simple/DQmask`.
    """
    with _reading(path) as file:
        mask = _array(file, "quality/simple/DQmask")
        start_s, step_s = (_attribute(mask, name) for name in ("Xstart", "Xspacing"))
        words = mask[:].astype(np.uint64)
        names = _array(file, "quality/simple/DQShortnames", kinds="S")[:64]
        found = {}
        for bit, name in enumerate(names):
            on = np.concatenate([[0], (words >> np.uint64(bit)) & np.uint64(1), [0]]).astype(int)
            edges = np.flatnonzero(np.diff(on)).reshape(-1, 2)
            found[_text(name)] = start_s + edges * step_s
        named = re.match(r"[A-Z]-([A-Z]\d)_", path.name)  # as GWOSC names its files
        known = start_s + np.array([[0, len(words) * step_s]])
        return named[1] if named else "", found, known


def write(path: Path, channels: list[tuple[Header, NDArray[Any]]], *, detector: str) -> None:
    """Write channels, the one named `strain` in its own place, in one step.

    Args:
        path: The file.
        channels: Headers and their samples; whole numbers and reals of four and eight bytes are kept.
        detector: Two characters, such as V1.
    """
    import h5py

    start_s = min(header.start_s for header, _ in channels)
    stop_s = max(header.stop_s for header, _ in channels)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        meta = {
            "Description": "Strain data time series", "DescriptionURL": "", "Detector": detector,
            "Observatory": detector[:1], "Type": "StrainTimeSeries",
            "GPSstart": int(start_s), "Duration": int(np.ceil(stop_s) - int(start_s)),
        }  # fmt: skip
        for name, value in meta.items():
            file[f"meta/{name}"] = value
        for header, values in channels:
            packed = {"chunks": True, "compression": "gzip", "shuffle": True}
            data = file.create_dataset(_key(header.name), data=values, **packed)
            start = header.start_s
            data.attrs.update(
                Npoints=len(values), Xlabel="GPS time", Xunits="second",
                Xstart=int(start) if start == int(start) else start,
                Xspacing=1 / header.sample_rate_hz, Ylabel=header.name,
                Yunits=np.bytes_(header.unit.encode()),
            )  # fmt: skip
            if header.name == STRAIN:
                _write_quality(file, header, values)


def _write_quality(file: "h5py.File", header: Header, values: NDArray[Any]) -> None:
    """Write the mask with its one bit: whether a second's data are all present."""
    per_s = round(header.sample_rate_hz)
    whole = values[: len(values) // per_s * per_s].reshape(-1, per_s)
    words = np.asarray(np.isfinite(whole).all(axis=1), dtype=np.uint32)
    mask = file.create_dataset("quality/simple/DQmask", data=words)
    mask.attrs.update(
        Npoints=len(words), Xlabel="GPS time", Xunits="second", Xspacing=1.0, Xstart=header.start_s,
        Ylabel="DQmask", Bits=1,
    )  # fmt: skip
    file["quality/simple/DQShortnames"] = np.array([b"DATA"])
    file["quality/simple/DQDescriptions"] = np.array([b"data present"])


def _key(name: str) -> str:
    return "strain/Strain" if name == STRAIN else f"{_GROUP}/{name}"


def _header(file: "h5py.File", key: str) -> Header:
    data = _array(file, key)
    start_s, spacing_s = _attribute(data, "Xstart"), _attribute(data, "Xspacing")
    stated: Any = data.attrs.get("Npoints", len(data))
    if np.size(stated) != 1 or int(np.ravel(stated)[0]) != len(data):
        raise StrainFileError(f"{key}: Npoints = {stated}, found {len(data)} samples")
    if not 0 < spacing_s < np.inf:
        raise StrainFileError(f"{key}: Xspacing = {spacing_s} s must be positive")
    rate_hz = 1 / spacing_s
    if abs(rate_hz - round(rate_hz)) < 1e-9 * rate_hz:
        rate_hz = float(round(rate_hz))
    if key == _key(STRAIN) and "meta/GPSstart" in file:
        begins_s = float(_array(file, "meta/GPSstart", dimensions=0)[()])
        if abs(start_s - begins_s) >= 1:
            raise StrainFileError(f"{key}: Xstart = {start_s}, but meta/GPSstart = {begins_s}")
    name = STRAIN if key == _key(STRAIN) else key.removeprefix(f"{_GROUP}/")
    return Header(name, _unit(data), rate_hz, start_s, len(data))


def _attribute(data: "h5py.Dataset", name: str) -> float:
    value: Any = data.attrs.get(name)
    if np.size(value) != 1 or np.asarray(value).dtype.kind not in "iuf":
        raise StrainFileError(f"{data.name}: {name} must be a number, found {value!r}")
    return float(np.ravel(value)[0])


def _unit(data: "h5py.Dataset") -> str:
    """Return the unit where it is text of a fixed length: damaged other text crashes HDF5."""
    if "Yunits" not in data.attrs or data.attrs.get_id("Yunits").dtype.kind != "S":
        return ""
    return _text(data.attrs["Yunits"])


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _array(file: "h5py.File", key: str, *, dimensions: int = 1, kinds: str = "iuf") -> "h5py.Dataset":
    """Return a data set of such kinds that lies in this file, or refuse it by name."""
    import h5py

    place: Any = file
    for part in key.split("/"):
        link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise StrainFileError(f"{key}: missing, or a link to another place")
        place = place[part]
    if not isinstance(place, h5py.Dataset) or place.external or place.is_virtual:
        raise StrainFileError(f"{key}: expected an array in this file")
    fits = place.dtype.kind in kinds and (kinds != "iuf" or place.dtype.itemsize <= 8)
    if place.ndim != dimensions or not fits:
        wanted = "numbers" if kinds == "iuf" else "text"
        raise StrainFileError(
            f"{key}: expected {wanted} in {dimensions} dimensions, found {place.dtype} in {place.ndim}"
        )
    if np.prod(place.chunks or (1,), dtype=float) * place.dtype.itemsize > _MAX_CHUNK_BYTES:
        raise StrainFileError(f"{key}: pieces of more than {_MAX_CHUNK_BYTES >> 20} MiB")
    return place


@contextmanager
def _reading(path: Path) -> Iterator["h5py.File"]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except StrainFileError as error:
        raise StrainFileError(f"{path}: {error}") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StrainFileError(f"{path}: damaged, cut or no HDF5 file: {reason}") from None
