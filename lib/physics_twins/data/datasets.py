"""Labelled arrays on disk, and the small real files that the twins are tested on."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import __version__
from physics_twins.data import atomic
from physics_twins.data.places import cache

if TYPE_CHECKING:
    import xarray as xr

    from physics_twins.parameters import Parameters

_MADE_IN_MEMORY_BYTES = 1 << 28
_ENGINE = "h5netcdf"


@dataclass(frozen=True)
class PublicFile:
    """A real file that anyone can download.

    Attributes:
        address: Where it is, at one fixed commit.
        sha256: Hash of its content.
        about: What it holds, and its licence.
    """

    address: str
    sha256: str
    about: str


_YOUR = (
    "https://raw.githubusercontent.com/thepetabyteproject/your/2d202eed13434cce4015ceb1cc796981bdb30d25"
)
_SIGPYPROC = (
    "https://raw.githubusercontent.com/FRBs/sigpyproc3/b31ef20fa13bb97e2caa244f65a4dfa377d6945a"
)
PUBLIC_FILES: Mapping[str, PublicFile] = {
    "pulsar/askap_frb_28.fil": PublicFile(
        f"{_YOUR}/tests/data/28.fil",
        "9bd705b79b37bb90f470ad97497779b82b049b44ea859844b37b9a77260a6201",
        "ASKAP filterbank with a fast radio burst, from the tests of your (GPL-3)",
    ),
    "pulsar/askap_frb_28.fits": PublicFile(
        f"{_YOUR}/tests/data/28.fits",
        "fb5d24bacddb00356c3238ff64af35724fc2104af05dd98addc9a02d791a094a",
        "The same spectra as a PSRFITS search-mode file, from the same tests",
    ),
    "pulsar/parkes_8bit_1.fil": PublicFile(
        f"{_SIGPYPROC}/tests/data/parkes_8bit_1.fil",
        "3b7ac44e3a48374757a1c5980854fb20c8cf74e59d94cca71a6ecae21ddc0850",
        "Parkes filterbank with interference, from the tests of sigpyproc3 (MIT)",
    ),
    "pulsar/GBT_J1807-0847.dat": PublicFile(
        f"{_SIGPYPROC}/tests/data/GBT_J1807-0847.dat",
        "9a3c4b569327a01f42941c192e21927a866f51331b337a412eb653a9aef293da",
        "Dedispersed time series of a pulsar, from the tests of sigpyproc3 (MIT)",
    ),
    "pulsar/GBT_J1807-0847.inf": PublicFile(
        f"{_SIGPYPROC}/tests/data/GBT_J1807-0847.inf",
        "b070b0cb196add17bba6a4e7546e81b74b36516b36d05d0494b7540c5ddc3e19",
        "Header of that time series",
    ),
}


def save(dataset: "xr.Dataset", path: str | Path) -> Path:
    """Write a dataset as netCDF-4 in one step; return its path.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    path = Path(path)
    with atomic.replacing(path) as temporary:
        if dataset.nbytes > _MADE_IN_MEMORY_BYTES:
            dataset.to_netcdf(temporary, engine=_ENGINE)
        else:  # HDF5 ends the process when the disk fills up while several threads write
            temporary.write_bytes(dataset.to_netcdf(engine=_ENGINE))
    return path


def plain_name(name: str) -> str:
    """Return a name that netCDF takes for a variable, the same where it takes it already.

    >>> plain_name("val/loss"), plain_name("loss")
    ('val_loss', 'loss')
    """
    kept = "".join("_" if c == "/" or not c.isprintable() else c for c in name).strip()
    return kept if kept and (kept[0].isalpha() or kept[0] == "_") else f"_{kept}"


def with_plain_names(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a dataset whose variables and dimensions netCDF can hold; `long_name` has the old."""
    names = {str(n): plain_name(str(n)) for n in (*dataset.variables, *dataset.dims)}
    odd = {old: new for old, new in names.items() if old != new}
    renamed = dataset.rename(odd) if odd else dataset
    for old, new in odd.items():
        if new in renamed.variables:
            renamed[new].attrs.setdefault("long_name", old)
    return renamed


def open_dataset(path: str | Path, *, chunks: Mapping[str, int] | None = None) -> "xr.Dataset":
    """Return a dataset that `save` wrote.

    Args:
        path: The netCDF file.
        chunks: Lengths along dimensions to read lazily through Dask; by default everything is read
            into memory and the file is closed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged or no netCDF-4; the message names it.
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no dataset {path}")
    read = xr.load_dataset if chunks is None else xr.open_dataset
    try:
        return read(path, engine=_ENGINE, chunks=chunks, decode_timedelta=False)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged or no netCDF-4 file: {error}") from None


def content_sha256(dataset: "xr.Dataset") -> str:
    """Return the SHA-256 of names, dimensions, values and attributes, however they are stored."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values = np.ascontiguousarray(variable.values)
        if values.dtype.kind not in "biufc":
            values = values.astype(object).astype(str)  # as wide as the longest, and no wider
        facts = [name, list(variable.dims), values.shape, values.dtype.str, _plain(variable.attrs)]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        digest.update(values.tobytes())
    digest.update(json.dumps(_plain(dataset.attrs), sort_keys=True).encode())
    return digest.hexdigest()


def check_units(dataset: "xr.Dataset") -> None:
    """Check that every number in a dataset has a unit; "1" is that of a pure number.

    Text, times and truth values need none.

    Raises:
        ValueError: Variables or coordinates lack the attribute `units`; the message names them.
    """
    numbers = [name for name, array in dataset.variables.items() if array.dtype.kind in "iufc"]
    missing = [str(name) for name in numbers if not dataset[name].attrs.get("units")]
    if missing:
        raise ValueError(f"without the attribute units: {', '.join(missing)}")


def attributes(parameters: "Parameters", *, seed: int, **others: Any) -> dict[str, Any]:
    """Return the attributes that trace a dataset to its parameters, seed and code.

    Args:
        parameters: What was simulated.
        seed: Seed of its random numbers.
        others: Further attributes, such as `title`.
    """
    return others | parameters.to_attributes() | {"seed": seed, "physics_twins_version": __version__}


def places() -> list[Path]:
    """Return the folders where real files are looked for, first to last.

    They are the one that `PHYSICS_TWINS_DATA` names, and the download cache.
    """
    named = os.environ.get("PHYSICS_TWINS_DATA")
    first = [Path(named).expanduser()] if named else []
    return [*first, cache()]


def find_data_file(name: str) -> Path | None:
    """Return where a real file such as `pulsar/askap_frb_28.fil` lies, None where it is not."""
    found = (folder / name for folder in places())
    return next((path.resolve() for path in found if path.is_file()), None)


def data_file(name: str) -> Path:
    """Return where a real file lies.

    Raises:
        FileNotFoundError: It is in none of `places`; the message lists them.
    """
    if path := find_data_file(name):
        return path
    looked = ", ".join(str(folder) for folder in places())
    hint = f"; `twins data fetch {name}` downloads it" if name in PUBLIC_FILES else ""
    raise FileNotFoundError(f"no file {name} in {looked}{hint}")


def fetch(name: str, *, timeout_s: float = 30.0) -> Path:
    """Return the cached copy of a public file, downloaded when missing and checked by its SHA-256.

    Args:
        name: As in `pulsar/askap_frb_28.fil`.
        timeout_s: How long the server may say nothing.

    Raises:
        ValueError: The file is not a public one, or what came has another hash.
        OSError: The download failed.
    """
    import pooch

    if name not in PUBLIC_FILES:
        raise ValueError(f"no public file {name!r}; known are {', '.join(PUBLIC_FILES)}")
    public = PUBLIC_FILES[name]
    store = pooch.create(
        path=cache(),
        base_url="",
        registry={name: f"sha256:{public.sha256}"},
        urls={name: public.address},
    )
    # What pooch says of its own type is that of a function.
    downloader: Any = pooch.HTTPDownloader(timeout=timeout_s)
    return Path(store.fetch(name, downloader=downloader))


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): v.tolist() if hasattr(v, "tolist") else v for k, v in attributes.items()}
