"""An observation in pieces that fit into memory: a dataset, a set of frames, or a streamed file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import content_sha256, file_sha256
from physics_twins.pulsar.files import open_observation
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
        ValueError: There are fewer than two channels, or the sampling time is not known.
        ObservationFileError: The file is damaged or of no known format.
    """
    if isinstance(data, xr.Dataset):
        if "sampling_time_s" not in data.attrs:
            raise ValueError("the observation has no attribute sampling_time_s")
        frequency_mhz = data["frequency"].values.astype(float)
        sampling_s = float(data.attrs["sampling_time_s"])
    else:
        with open_observation(data) as file:
            frequency_mhz, sampling_s = file.header.frequency_mhz, file.header.sampling_time_s
    if len(frequency_mhz) < 2:
        raise ValueError("the observation has 1 channel: 2 or more are needed to see dispersion")
    return Band(np.sort(frequency_mhz)[::-1], sampling_s)


def pieces(data: Observation, band: Band, search: SearchParameters) -> Iterator[Piece]:
    """Yield an observation piece by piece.

    Args:
        data: With `data` (time, frequency) or (frame, time, frequency), or the path of a file.
        band: From `receiver`.
        search: The highest DM and the longest pulse say how far pieces overlap.
    """
    if isinstance(data, xr.Dataset) and "frame" in data["data"].dims:
        yield from _frames(data["data"].sortby("frequency", ascending=False), band)
        return
    first_s = float(data["time"].values[0]) if isinstance(data, xr.Dataset) else 0.0
    with open_spectra(data) as spectra:
        for block in split_blocks(spectra.n_spectra, band, search):
            part = spectra.read(block.start, block.n_read)
            yield Piece(part, first_s + block.start * band.sampling_s, block.n_core)


def identity(data: Observation) -> str:
    """Return what tells data from others: a name, and the SHA-256 of the content."""
    if isinstance(data, xr.Dataset):
        digest = content_sha256(data[["data"]])
        return f"{data.attrs.get('source_name', 'dataset')} sha256:{digest}"
    path = Path(data)
    return f"{path.name} sha256:{file_sha256(path)}"


def _frames(frames: xr.DataArray, band: Band) -> Iterator[Piece]:
    """Yield frames as pieces; without `frame_start_s` they are taken to follow each other."""
    frames = frames.transpose("frame", "time", "frequency")
    n_time = frames.sizes["time"]
    start_s = np.arange(frames.sizes["frame"]) * n_time * band.sampling_s
    if "frame_start_s" in frames.coords:
        start_s = frames["frame_start_s"].values
    for first_s, frame in zip(start_s, frames.values, strict=True):
        yield Piece(frame, float(first_s), n_time)
