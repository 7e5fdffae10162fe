"""Observations without end from a telescope's own samples, in another order."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from physics_twins import __version__
from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.observation_file import as_dataset
from physics_twins.pulsar.physics.digitiser import highest_count
from physics_twins.pulsar.telescope import Telescope

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
    with open_writer(path, header) as file:
        lengths = list(_lengths(n_spectra, header.n_channels))
        for count in tqdm(lengths, disable=len(lengths) < 2, **options):
            file.write(stream.read(count)[0])
    return Path(path)


def _lengths(n_spectra: int, n_channels: int) -> Iterator[int]:
    length = max(1, BLOCK_SAMPLES // n_channels)
    for start in range(0, n_spectra, length):
        yield min(length, n_spectra - start)


def _check_length(n_spectra: int) -> None:
    if n_spectra < 1:
        raise ValueError(f"n_spectra = {n_spectra}: must be 1 or more")
