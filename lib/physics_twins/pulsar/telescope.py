"""Match my telescope: a recording's own samples, without its pulses, to be put together anew.

Level and width of each channel's noise are told as if there were no interference, and a portrait lays a
recording beside its look-alike.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri
from tqdm import tqdm

from physics_twins import __version__
from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.observation_file import FilterbankHeader, as_dataset
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.physics.receiver import highest_count
from physics_twins.pulsar.searching.cells import CELL, MIN_CELLS, measure_cells
from physics_twins.pulsar.searching.cleaning import finite

# Of a long recording evenly spaced segments are kept, together of so many samples.
SEGMENT_SPECTRA, MAX_SAMPLES = 8192, 1 << 25
MIN_SPECTRA = 256
# Of so many blocks a segment is a chain: shorter ones keep less of slow changes, longer ones repeat.
N_BLOCKS = 8
# A pulse is taken out from so many of its widths before its middle to so many after it.
BEFORE_FWHM, AFTER_FWHM = 1.5, 4.0
N_SEARCHES = 2  # a bright pulse hides a faint one beside it


@dataclass(frozen=True)
class Telescope:
    """Samples of a telescope without pulses.

    Attributes:
        header: Channels, the highest first, sampling time and bits of the recording.
        counts: Segments of the recording, shape (segment, time, channel).
        level: The quiet noise's level in halves of blocks, shape (segment, half, channel), in counts.
        source: Name of the recording.
        block_spectra: Length of a block; slower changes than this are the level's.
        n_pulses: How many pulses were found and taken out.
    """

    header: FilterbankHeader
    counts: NDArray[Any]
    level: NDArray[np.float32]
    source: str
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


def match_telescope(data: Observation, *, search: SearchParameters | None = None) -> Telescope:
    """Return a telescope's own noise and interference: a recording without its pulses.

    Pulses that the search finds are replaced, each along its own track, by what the same channels have
    a little later; those that it does not find stay. `lookalike` makes observations of the rest
    (the circular block bootstrap of Politis & Romano 1992).

    Args:
        data: A dataset with `data` (time, frequency), or a file. Of a long one, evenly spaced segments
            of up to 8192 spectra are kept, 2^25 samples in all.
        search: Range of dispersion and threshold of the pulses that are taken out.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged or of no known format.
        ValueError: There are fewer than 256 spectra or 2 channels, or nothing that varies.
    """
    search = search or SearchParameters()
    with open_spectra(data) as spectra:
        header, name = replace(spectra.header, others=(), start_mjd=0.0), spectra.name
        n_bits = spectra.n_bits
        segments = [spectra.part(start, length) for start, length in _segments(spectra)]
    length = segments[0].sizes["time"]
    block = length // N_BLOCKS // 2 * 2
    length -= length % block
    found = [_without_pulses(segment, search) for segment in segments]
    counts = np.stack([values[:length] for values, _ in found])
    parts = counts.reshape(len(counts), -1, block // 2, counts.shape[2])
    level = np.stack([[quiet_noise(part, n_bits)[1] for part in each] for each in parts])
    if not np.ptp(counts, axis=(0, 1)).any():
        raise ValueError(f"{name}: data: no channel varies")
    n_pulses = sum(n for _, n in found)
    return Telescope(header, counts, level.astype(np.float32), name, block, n_pulses)


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


BLOCK_SAMPLES = 1 << 21


class LookalikeStream:
    """A telescope that records for ever; memory does not grow.

    Blocks of the recording follow each other in random order: each round takes every sample once, cut
    at other places. Each channel's level goes on where it was, for it follows the recording's
    own level, forward and back, from a random place on. Levels change by whole counts, so that samples
    keep their distribution. What comes depends on telescope and seed, and not on how it is read.
    """

    def __init__(self, telescope: Telescope, *, seed: int) -> None:
        """Begin a stream."""
        self._telescope = telescope
        self._counts = telescope.counts.reshape(-1, telescope.counts.shape[-1])
        rng = np.random.default_rng(seed)
        self._place = int(rng.integers(len(self._counts)))  # on the level's way
        self._blocks = self._order(rng)
        self._drawn = np.zeros(0, dtype=np.int64)

    def read(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the next spectra in counts, (time, channel), and which of the telescope's they are."""
        missing = -(-(count - len(self._drawn)) // self._telescope.block_spectra)
        ready = np.concatenate([self._drawn, *itertools.islice(self._blocks, max(0, missing))])
        drawn, self._drawn = ready[:count], ready[count:]
        return self._levelled(drawn), drawn

    def _order(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Yield blocks' spectra for ever; a block that meets its segment's end goes on at the start."""
        telescope = self._telescope
        n_segments, length = telescope.counts.shape[:2]
        n = np.arange(telescope.block_spectra)
        while True:
            offset = rng.integers(telescope.block_spectra)
            for block in rng.permutation(n_segments * length // len(n)):
                segment, first = divmod(int(block) * len(n), length)
                yield segment * length + (first + offset + n) % length

    def _levelled(self, drawn: NDArray[np.int64]) -> NDArray[Any]:
        """Return those spectra, their level moved to where it has come to."""
        telescope, n_all = self._telescope, len(self._counts)
        way = (self._place + np.arange(len(drawn))) % (2 * n_all)
        self._place += len(drawn)
        way = np.minimum(way, 2 * n_all - 1 - way)  # back where it ended
        change = telescope.level_at(way) - telescope.level_at(drawn)
        counts = self._counts[drawn]
        if counts.dtype.kind == "f":
            return (counts + change).astype(counts.dtype)
        whole = counts + np.rint(change).astype(np.int64)
        # A sample at an end was cut off there, or is a lost one: it stays.
        highest = highest_count(telescope.header.n_bits)
        moved = np.where((counts == 0) | (counts == highest), counts, whole.clip(0, highest))
        return moved.astype(counts.dtype)


def lookalike(telescope: Telescope, n_spectra: int, *, seed: int) -> xr.Dataset:
    """Return an observation that looks like a recording, without its pulses.

    Args:
        telescope: From `telescope.match_telescope`.
        n_spectra: Its length. Longer ones than the telescope's samples use them again.
        seed: Two calls with one seed give the same observation, and a longer one begins like it.

    Returns:
        `data` (time, frequency) in counts, the highest frequency first, and which spectrum of the
        telescope's each one is, `drawn` (time): what is learnt from some must be tested on others.

    Raises:
        ValueError: `n_spectra` is not positive.
    """
    _check_length(n_spectra)
    header = telescope.header
    values, drawn = LookalikeStream(telescope, seed=seed).read(n_spectra)
    made = as_dataset(replace(header, source_name="look-alike"), values)
    told = {"looks_like": telescope.source, "seed": seed, "physics_twins_version": __version__}
    return made.assign(drawn=("time", drawn, {"units": "1"})).assign_attrs(told)


def write_lookalike(
    telescope: Telescope, path: str | os.PathLike[str], n_spectra: int, *, seed: int
) -> Path:
    """Write such an observation as a telescope file of any length, block by block; return its path.

    The name says the format, as in `files.write_dataset`.

    Raises:
        ValueError: `n_spectra` is not positive.
        ObservationFileError: The format cannot hold it.
    """
    _check_length(n_spectra)
    stream = LookalikeStream(telescope, seed=seed)
    header = replace(telescope.header, source_name="look-alike", others=())
    options: dict[str, Any] = {"desc": "look-alike", "unit": "block", "leave": False}
    length = max(1, BLOCK_SAMPLES // header.n_channels)
    starts = range(0, n_spectra, length)
    with open_writer(path, header) as file:
        for start in tqdm(starts, disable=len(starts) < 2, **options):
            file.write(stream.read(min(length, n_spectra - start))[0])
    return Path(path)


def _check_length(n_spectra: int) -> None:
    if n_spectra < 1:
        raise ValueError(f"n_spectra = {n_spectra}: must be 1 or more")


# With fewer bits the steps are so coarse that the noise between them has to be inferred.
FINE_BITS = 8


def quiet_noise(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return (counts - level) / sigma, level and sigma of the noise before it was digitised.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.

    Returns:
        Normalised samples, shape (time, channel); level and sigma in counts, shape (channel,). Of a
        channel that is constant sigma is 0.
    """
    if n_bits < FINE_BITS:
        level, sigma = levels_of_coarse_counts(counts, n_bits)
        sigma = np.where(np.ptp(counts, axis=0) > 0, sigma, 0)
        return ((counts - level) / np.where(sigma > 0, sigma, 1)).astype(np.float32), level, sigma
    if len(counts) < MIN_CELLS * CELL:
        level, sigma = counts.mean(axis=0, dtype=float), counts.std(axis=0, dtype=float)
    else:
        cells = measure_cells(counts, drift=0.0)
        level, sigma = cells.level.astype(float), cells.sigma.astype(float)
    z = (counts - level) * np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1), 0)
    return z.astype(np.float32), level, sigma


def levels_of_coarse_counts(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return level and sigma of Gaussian noise that was rounded to few bits, each of shape (channel,).

    How many values lie below each step, seen as a normal quantile, is a straight line. Of 1 bit, which
    has one step, sigma is taken as 1/2.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.
    """
    steps = np.arange(2**n_bits - 1) + 0.5
    below = np.stack([(counts < step).mean(axis=0) for step in steps])
    quantile = ndtri(below.clip(0.5 / len(counts), 1 - 0.5 / len(counts)))  # (step, channel)
    # Steps in the middle are counted best: the error of a quantile grows as 1 / density.
    weight = np.exp(-(quantile**2)) * (np.abs(quantile) < 3)
    weight += 1e-12
    if n_bits == 1:
        return 0.5 - 0.5 * quantile[0], np.full(counts.shape[1], 0.5)
    total = weight.sum(axis=0)
    x = (weight * quantile).sum(axis=0) / total
    y = (weight * steps[:, None]).sum(axis=0) / total
    slope = (weight * (quantile - x) * (steps[:, None] - y)).sum(axis=0)
    sigma = slope / np.maximum((weight * (quantile - x) ** 2).sum(axis=0), 1e-12)
    sigma = np.where(sigma > 1e-3, sigma, 0.5)
    return y - sigma * x, sigma


MAX_PORTRAIT_SAMPLES = 1 << 24
BINS = np.arange(-8.0, 24.25, 0.5)
BANDS_PER_OCTAVE = 3
DISTURBED_SIGMA = 5.5  # no noise makes a sample so high


def portrait(data: Observation, *, segment_spectra: int) -> xr.Dataset:
    """Return an observation's bandpass, interference, distribution and common power.

    Args:
        data: A dataset with `data` (time, frequency), or a file, of which at most the first 2^24
            samples are read.
        segment_spectra: Length of the segments in which it is normalised: only equal ones compare.

    Returns:
        `level` and `sigma` of the quiet noise (frequency), in counts; `occupancy`, the share of the
        time for which each channel is disturbed (frequency); `density` of the samples in standard
        deviations of the quiet noise (deviation), and `gaussian`, what white noise would have;
        `zero_dm_power` of the sum over all channels, over that of white noise (rate).

    Raises:
        ValueError: It is shorter than one segment.
    """
    with open_spectra(data) as spectra:
        header, n_spectra = spectra.header, spectra.n_spectra
        if n_spectra < segment_spectra:
            raise ValueError(f"{spectra.name}: {n_spectra} spectra, expected {segment_spectra} or more")
        affordable = max(1, MAX_PORTRAIT_SAMPLES // (segment_spectra * header.n_channels))
        n_segments = min(affordable, n_spectra // segment_spectra)
        level, sigma, occupancy = np.zeros((3, header.n_channels))
        density, power = np.zeros(len(BINS) - 1), np.zeros((segment_spectra - 1) // 2)
        for n in range(n_segments):
            counts = finite(spectra.read(n * segment_spectra, segment_spectra))
            z, own_level, own_sigma = quiet_noise(counts, header.n_bits)
            level += own_level / n_segments
            sigma += own_sigma / n_segments
            occupancy += (z > DISTURBED_SIGMA).mean(axis=0) / n_segments
            alive = z[:, own_sigma > 0].clip(BINS[0], BINS[-1] - 1e-3)
            density += np.histogram(alive, BINS, density=True)[0] / n_segments
            power += _zero_dm_power(counts) / n_segments
    middle = (BINS[:-1] + BINS[1:]) / 2
    gaussian = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    rate_hz = np.arange(1, len(power) + 1) / segment_spectra / header.sampling_time_s
    # Power and frequency are means over thirds of an octave.
    band = np.floor(np.log2(rate_hz / rate_hz[0]) * BANDS_PER_OCTAVE).astype(int)
    n_in_band = np.bincount(band)
    rate_hz, power = (
        np.bincount(band, each)[n_in_band > 0] / n_in_band[n_in_band > 0] for each in (rate_hz, power)
    )
    return xr.Dataset(
        {
            "level": ("frequency", level, _told("counts", "Level of the noise")),
            "sigma": ("frequency", sigma, _told("counts", "Width of the noise")),
            "occupancy": ("frequency", occupancy, _told("1", "Part of the time disturbed")),
            "density": ("deviation", density, _told("1", "Density")),
            "gaussian": ("deviation", gaussian, {"units": "1"}),
            "zero_dm_power": ("rate", power, _told("1", "Power over white noise")),
        },
        coords={
            "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
            "deviation": ("deviation", middle, _told("1", "Sample over sigma of the quiet noise")),
            "rate": ("rate", rate_hz, {"units": "Hz"}),
        },
        attrs={"n_segments": n_segments, "segment_spectra": segment_spectra},
    )


def _told(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _zero_dm_power(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the power of the sum over all channels, 1 where all are white noise, (frequency,)."""
    std = counts.std(axis=0, dtype=float)
    z = (counts - counts.mean(axis=0, dtype=float))[:, std > 0] / std[std > 0]
    total = z.sum(axis=1) / np.sqrt(max(1, z.shape[1]))
    return np.abs(np.fft.rfft(total)[1 : (len(total) + 1) // 2]) ** 2 / len(total)
