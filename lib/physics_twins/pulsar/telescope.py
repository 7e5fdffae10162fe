"""Match my telescope: a recording's own samples, without its pulses, to be put together anew."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import __version__
from physics_twins.data import save
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise

# Of a long recording evenly spaced segments are kept, together of so many samples.
SEGMENT_SPECTRA, MAX_SAMPLES = 8192, 1 << 25
MIN_SPECTRA = 256
# Of so many blocks a segment is a chain: shorter ones keep less of slow changes, longer ones repeat.
N_BLOCKS = 8
# A pulse is taken out from so many of its widths before its middle to so many after it.
BEFORE_FWHM, AFTER_FWHM = 1.5, 4.0
N_SEARCHES = 2  # a bright pulse hides a faint one beside it
_ATTRIBUTES = ("n_bits", "channel_width_mhz", "sampling_time_s", "source_name")
_COUNTS = ("n_spectra", "block_spectra", "n_pulses")


@dataclass(frozen=True)
class Telescope:
    """Samples of a telescope without pulses.

    Attributes:
        header: Channels, the highest first, sampling time and bits of the recording.
        counts: Segments of the recording, shape (segment, time, channel).
        level: The quiet noise's level in halves of blocks, shape (segment, half, channel), in counts.
        source: Name of the recording.
        n_spectra: How many spectra the recording has.
        block_spectra: Length of a block; slower changes than this are the level's.
        n_pulses: How many pulses were found and taken out.
    """

    header: FilterbankHeader
    counts: NDArray[Any]
    level: NDArray[np.float32]
    source: str
    n_spectra: int
    block_spectra: int
    n_pulses: int

    def level_at(self, n: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the level at spectra counted through all segments, shape (spectrum, channel)."""
        level = self.level.reshape(-1, self.level.shape[-1])
        place = ((n + 0.5) / (self.block_spectra // 2) - 0.5).clip(0, len(level) - 1)
        low = np.minimum(place.astype(int), max(0, len(level) - 2))
        share = (place - low)[:, None]
        upper = level[np.minimum(low + 1, len(level) - 1)]
        return np.asarray(level[low] + share * (upper - level[low]), dtype=np.float32)


def match_telescope(
    data: Observation, *, search: SearchParameters | None = None, block_spectra: int | None = None
) -> Telescope:
    """Return a telescope's own noise and interference: a recording without its pulses.

    Pulses that the search finds are replaced, each along its own track, by what the same channels have
    a little later; those that it does not find stay. `lookalike` makes observations of the rest
    (the circular block bootstrap of Politis & Romano 1992).

    Args:
        data: A dataset with `data` (time, frequency), or a file. Of a long one, evenly spaced segments
            of up to 8192 spectra are kept, 2^25 samples in all.
        search: Range of dispersion and threshold of the pulses that are taken out.
        block_spectra: How long the blocks are, an even number; an eighth of a segment by default.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged or of no known format.
        ValueError: There are fewer than 256 spectra or 2 channels, nothing that varies, or the blocks
            do not fit.
    """
    search = search or SearchParameters()
    with open_spectra(data) as spectra:
        header, name = replace(spectra.header, others=(), start_mjd=0.0), spectra.name
        n_spectra, n_bits = spectra.n_spectra, spectra.n_bits
        segments = [spectra.part(start, length) for start, length in _segments(spectra)]
    length = segments[0].sizes["time"]
    block = block_spectra or length // N_BLOCKS // 2 * 2
    if not 32 <= block <= length or block % 2:
        raise ValueError(
            f"block_spectra = {block}: must be even, and 32 to {length}, a segment's spectra"
        )
    length -= length % block
    found = [_without_pulses(segment, search) for segment in segments]
    counts = np.stack([values[:length] for values, _ in found])
    parts = counts.reshape(len(counts), -1, block // 2, counts.shape[2])
    level = np.stack([[quiet_noise(part, n_bits)[1] for part in each] for each in parts])
    if not np.ptp(counts, axis=(0, 1)).any():
        raise ValueError(f"{name}: data: no channel varies")
    n_pulses = sum(n for _, n in found)
    return Telescope(header, counts, level.astype(np.float32), name, n_spectra, block, n_pulses)


def _segments(spectra: Spectra) -> list[tuple[int, int]]:
    """Return start and length of evenly spaced segments of equal length."""
    if spectra.n_spectra < MIN_SPECTRA:
        raise ValueError(
            f"{spectra.name}: data: {spectra.n_spectra} spectra are too few to match a telescope by:"
            f" {MIN_SPECTRA} or more are needed"
        )
    affordable = max(MIN_SPECTRA, MAX_SAMPLES // spectra.header.n_channels)
    length = min(spectra.n_spectra, SEGMENT_SPECTRA, affordable)
    n = max(1, min(affordable, spectra.n_spectra) // length)
    starts = np.linspace(0, spectra.n_spectra - length, n).astype(int)
    return [(int(start), length) for start in starts]


def _without_pulses(segment: xr.Dataset, search: SearchParameters) -> tuple[NDArray[Any], int]:
    """Return a segment's samples without the pulses in it, and how many these were."""
    sampling_s = segment.attrs["sampling_time_s"]
    frequency_mhz = segment["frequency"].values
    values = finite(segment["data"].values).copy()
    n_time, n_found = len(values), 0
    for _ in range(N_SEARCHES):
        found = infer(search, segment.assign(data=(segment["data"].dims, values)))
        found = found.isel(candidate=found["label"].values == "pulse")
        for dm, time_s, width_s in zip(
            *(found[name].values for name in ("dm_pc_cm3", "time_s", "width_s")), strict=True
        ):
            time_s = time_s - float(segment["time"][0])
            arrival_s = time_s + dispersion_delay(frequency_mhz, dm, reference_mhz=frequency_mhz[0])
            first = np.rint((arrival_s - BEFORE_FWHM * width_s) / sampling_s).astype(int)
            reach = min(
                int(np.ceil((BEFORE_FWHM + AFTER_FWHM) * width_s / sampling_s)) + 1, n_time // 3
            )
            row = first + np.arange(reach)[:, None]  # (sample, channel)
            beside = np.where(first + 2 * reach < n_time, row + reach, row - reach)
            inside = (row >= 0) & (row < n_time)
            channel = np.broadcast_to(np.arange(len(frequency_mhz)), row.shape)
            values[row[inside], channel[inside]] = values[beside[inside] % n_time, channel[inside]]
        n_found += found.sizes["candidate"]
        if not found.sizes["candidate"]:
            break
    return values, n_found


def save_telescope(telescope: Telescope, path: str | os.PathLike[str]) -> Path:
    """Write a telescope as netCDF-4 in one step; return its path."""
    header = telescope.header
    about = {name: getattr(header, name) for name in _ATTRIBUTES}
    counts = {name: getattr(telescope, name) for name in _COUNTS}
    units = {"units": "counts"}
    dataset = xr.Dataset(
        {
            "counts": (("segment", "time", "frequency"), telescope.counts, units),
            "level": (("segment", "half", "frequency"), telescope.level, units),
        },
        coords={"frequency": ("frequency", header.frequency_mhz, {"units": "MHz"})},
        attrs={
            "title": "A telescope's own samples, without pulses",
            "source": telescope.source,
            "physics_twins_version": __version__,
        }
        | about
        | counts,
    )
    return save(dataset, Path(path))
