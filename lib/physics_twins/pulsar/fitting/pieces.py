"""What tells one observation from others."""

from pathlib import Path

import xarray as xr

from physics_twins.data import content_sha256, file_sha256
from physics_twins.pulsar.formats.spectra import Observation


def identity(data: Observation) -> str:
    """Return what tells data from others: a name, and the SHA-256 of the content."""
    if isinstance(data, xr.Dataset):
        digest = content_sha256(data[["data"]])
        return f"{data.attrs.get('source_name', 'dataset')} sha256:{digest}"
    path = Path(data)
    return f"{path.name} sha256:{file_sha256(path)}"
