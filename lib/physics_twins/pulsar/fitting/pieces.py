"""An observation in pieces that fit into memory: a dataset or a streamed file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import content_sha256, file_sha256
from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.infer import split_blocks
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import Band


@dataclass(frozen=True)
class Piece:
    """Spectra that lie one after the other.

    Attributes:
        spectra: Counts, the highest frequency first, shape (time, channel).
        start_s: Time of the first spectrum.
        n_core: Pulses that arrive in so many spectra belong to this piece; what follows they need to
            cross the band, and is read again with the next piece.
    """

    spectra: NDArray[Any]
    start_s: float
    n_core: int


def receiver(data: Observation) -> Band:
    """Return channels and sampling time.

    Raises:
        ValueError: There are fewer than two channels.
        ObservationFileError: The file is damaged or of no known format.
    """
    with open_spectra(data) as spectra:
        return spectra.band


def pieces(data: Observation, band: Band, search: SearchParameters) -> Iterator[Piece]:
    """Yield an observation piece by piece.

    Args:
        data: With `data` (time, frequency), or the path of a file.
        band: From `receiver`.
        search: The highest DM and the longest pulse say how far pieces overlap.
    """
    with open_spectra(data) as spectra:
        for block in split_blocks(spectra.n_spectra, band, search):
            part = spectra.read(block.start, block.n_read)
            yield Piece(part, spectra.first_s + block.start * band.sampling_s, block.n_core)


def identity(data: Observation) -> str:
    """Return what tells data from others: a name, and the SHA-256 of the content."""
    if isinstance(data, xr.Dataset):
        digest = content_sha256(data[["data"]])
        return f"{data.attrs.get('source_name', 'dataset')} sha256:{digest}"
    path = Path(data)
    return f"{path.name} sha256:{file_sha256(path)}"
