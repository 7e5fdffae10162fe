"""Labelled arrays on disk, and what traces them to their parameters, seed and code."""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins import __version__
from physics_twins.data import atomic

if TYPE_CHECKING:
    import xarray as xr

    from physics_twins.parameters import Parameters

_MADE_IN_MEMORY_BYTES = 1 << 28
_ENGINE = "h5netcdf"
_ONE_AT_A_TIME = threading.Lock()


def save(dataset: "xr.Dataset", path: str | Path) -> Path:
    """Write a dataset as netCDF-4 in one step; return its path.

    A name that netCDF does not take is written as `plain_name` has it, the old one as `long_name`.

    Raises:
        OSError: It cannot be written; what was there before stays.
    """
    path, dataset = Path(path), _with_plain_names(dataset)
    with atomic.replacing(path) as temporary:
        if dataset.nbytes > _MADE_IN_MEMORY_BYTES:
            dataset.to_netcdf(temporary, engine=_ENGINE)
        else:  # HDF5 ends the process when the disk fills up while several threads write
            import dask.config

            computed = dataset.compute()
            # A Dask client would be asked for a lock by the file's name, and it has none in memory. The
            # setting is the process's: of two threads at once, the second would leave it behind.
            with _ONE_AT_A_TIME, dask.config.set(scheduler="threads"):
                content = computed.to_netcdf(engine=_ENGINE)
            temporary.write_bytes(content)
    return path


def plain_name(name: str) -> str:
    """Return a name that netCDF takes for a variable, the same where it takes it already.

    >>> plain_name("val/loss"), plain_name("loss")
    ('val_loss', 'loss')
    """
    kept = "".join("_" if c == "/" or not c.isprintable() else c for c in name).strip()
    return kept if kept and (kept[0].isalpha() or kept[0] == "_") else f"_{kept}"


def _with_plain_names(dataset: "xr.Dataset") -> "xr.Dataset":
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


def attributes(parameters: "Parameters", *, seed: int, **others: Any) -> dict[str, Any]:
    """Return the attributes that trace a dataset to its parameters, seed and code.

    Args:
        parameters: What was simulated.
        seed: Seed of its random numbers.
        others: Further attributes, such as `title`.
    """
    return others | parameters.to_attributes() | {"seed": seed, "physics_twins_version": __version__}


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): v.tolist() if hasattr(v, "tolist") else v for k, v in attributes.items()}
