"""Observations without end that look like a telescope's recording, without a sample of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from physics_twins import __version__
from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.physics.digitiser import highest_count, sample_type
from physics_twins.pulsar.telescopes.levelling import LevellingStream
from physics_twins.pulsar.telescopes.noise_stream import NoiseStream
from physics_twins.pulsar.telescopes.telescope_impulses import WideEventStream
from physics_twins.pulsar.telescopes.telescope_model import TelescopeModel
from physics_twins.pulsar.telescopes.telescope_transmitters import TransmitterStream

BLOCK_SAMPLES = 1 << 21


@dataclass(frozen=True)
class Block:
    """Spectra of a look-alike, and what is interference in them.

    Attributes:
        data: Counts, shape (time, channel).
        narrowband: Where a transmitter is on, shape (time, channel).
        broadband: Where there is an impulse, shape (time,).
        lost: What was not recorded, shape (time,).
    """

    data: NDArray[Any]
    narrowband: NDArray[np.bool_]
    broadband: NDArray[np.bool_]
    lost: NDArray[np.bool_]


class LookalikeStream:
    """A telescope that records for ever; memory does not grow.

    What comes depends on model and seed, and not on how it is cut into blocks.
    """

    def __init__(self, model: TelescopeModel, *, seed: int) -> None:
        """Begin a stream."""
        noise, transmitters, impulses, losses, levels = np.random.default_rng(seed).spawn(5)
        self.model = model
        self._noise = NoiseStream(model.noise, noise)
        self._transmitters = TransmitterStream(model.transmitters, transmitters)
        self._impulses = WideEventStream(model.impulses, impulses)
        self._losses = WideEventStream(model.losses, losses)
        self._levels = LevellingStream(model.levelling, levels)
        self._ready: list[Block] = []

    def read(self, count: int) -> Block:
        """Return the next spectra."""
        levelled = self.model.levelling.n_spectra
        n_ready = sum(len(block.data) for block in self._ready)
        while n_ready < count:
            self._ready.append(self._made(levelled or count - n_ready))
            n_ready += len(self._ready[-1].data)
        joined = Block(*map(np.concatenate, zip(*(vars(b).values() for b in self._ready), strict=True)))
        self._ready = [Block(*(column[count:].copy() for column in vars(joined).values()))]
        return Block(*(column[:count] for column in vars(joined).values()))

    def _made(self, count: int) -> Block:
        model = self.model
        level = model.noise.level.astype(np.float32)
        z = self._noise.read(count)
        narrowband = self._transmitters.put_into(z)
        source, target = model.spill.T
        np.add.at(z.T, target, (z[:, source] * model.spill_share.astype(np.float32)).T)
        broadband, lost = np.zeros((2, count), dtype=bool)
        for rows, strength in self._impulses.within(count):
            z[rows] += np.float32(strength) * model.impulses.share.astype(np.float32)
            broadband[rows] = True
        z *= model.noise.sigma.astype(np.float32)
        z += level
        z = self._levels.level(z, level)
        for rows, filler in self._losses.within(count):
            z[rows] = filler
            lost[rows] = True
        return Block(_digitised(z, model.header.n_bits), narrowband, broadband, lost)


def lookalike(model: TelescopeModel, n_spectra: int, *, seed: int) -> xr.Dataset:
    """Return an observation that looks like the recording that a model was fitted to.

    Args:
        model: From `telescope.fit_telescope`.
        n_spectra: Its length.
        seed: Two calls with one seed give the same observation, and a longer one begins like it.

    Returns:
        `data` (time, frequency) in counts; where there is interference, `narrowband`
        (time, frequency) and `broadband` (time); what was `lost` (time). The highest frequency first.

    Raises:
        ValueError: `n_spectra` is not positive.
    """
    _check_length(n_spectra)
    block = LookalikeStream(model, seed=seed).read(n_spectra)
    header, plane = model.header, ("time", "frequency")
    time_s = np.arange(n_spectra) * header.sampling_time_s
    return xr.Dataset(
        {
            "data": (plane, block.data, {"units": "counts"}),
            "narrowband": (plane, block.narrowband),
            "broadband": ("time", block.broadband),
            "lost": ("time", block.lost),
        },
        coords={
            "time": ("time", time_s, {"units": "s"}),
            "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
        },
        attrs={
            "n_bits": header.n_bits,
            "sampling_time_s": header.sampling_time_s,
            "source_name": "look-alike",
            "looks_like": model.source,
            "seed": seed,
            "physics_twins_version": __version__,
        },
    )


def write_lookalike(
    model: TelescopeModel, path: str | os.PathLike[str], n_spectra: int, *, seed: int
) -> Path:
    """Write such an observation as a telescope file of any length, block by block; return its path.

    The name says the format, as in `files.write_dataset`.

    Raises:
        ValueError: `n_spectra` is not positive.
        ObservationFileError: The format cannot hold it.
    """
    _check_length(n_spectra)
    stream = LookalikeStream(model, seed=seed)
    header = replace(model.header, source_name="look-alike", others=())
    options: dict[str, Any] = {"desc": "look-alike", "unit": "block", "leave": False}
    with open_writer(path, header) as file:
        lengths = list(_lengths(n_spectra, header.n_channels))
        for count in tqdm(lengths, disable=len(lengths) < 2, **options):
            file.write(stream.read(count).data)
    return Path(path)


def _lengths(n_spectra: int, n_channels: int) -> Iterator[int]:
    length = max(1, BLOCK_SAMPLES // n_channels)
    for start in range(0, n_spectra, length):
        yield min(length, n_spectra - start)


def _check_length(n_spectra: int) -> None:
    if n_spectra < 1:
        raise ValueError(f"n_spectra = {n_spectra}: must be 1 or more")


def _digitised(values: NDArray[np.float32], n_bits: int) -> NDArray[Any]:
    """Round to whole counts within the range of the bits; 32 bits hold floating-point numbers."""
    if n_bits == 32:
        return values
    np.rint(values, out=values)
    np.clip(values, 0, highest_count(n_bits), out=values)
    return values.astype(sample_type(n_bits))
