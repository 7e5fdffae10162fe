"""Simulate an observation of any length: counts block by block, the truth as rows, memory constant."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import replacing
from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.receiver import sample_type
from physics_twins.pulsar.physics.recorder import Recorder
from physics_twins.pulsar.physics.sky import (
    Sky,
    Truth,
    channel_frequencies,
    truth_of_event,
    truth_of_pulses,
)


class Block(NamedTuple):
    """A piece of an observation.

    Attributes:
        counts: What is stored, shape (time, channel); the next block overwrites it.
        truth: The pulses that end in it, and the events that begin in it.
    """

    counts: NDArray[Any]
    truth: list[Truth]


def stream(
    parameters: ObservationParameters, *, seed: int, duration_s: float | None = None
) -> Iterator[Block]:
    """Yield an observation block by block: the counts that `simulate` gives for the same seed.

    A longer observation begins like a shorter one. Blocks are of one length, but for the last.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        seed: Of all random numbers.
        duration_s: Length, without limit where infinite; `parameters.duration_s` by default.
    """
    sky = Sky(parameters, seed)
    n_spectra = count_spectra(sky, duration_s)
    recorder = Recorder(sky.receiver, seed)
    shape = (int(min(sky.segment_spectra, n_spectra)), parameters.n_channels)
    signal_jy = np.empty(shape, np.float32)
    counts = np.empty(shape, sample_type(parameters.n_bits))
    for segment in sky.segments(n_spectra):
        here = slice(0, segment.stop - segment.first)
        signal_jy[here] = 0
        segment.add_pulses(signal_jy[here], sky.shapes)
        segment.add_interference(signal_jy[here])
        recorded = recorder.record(signal_jy[here], counts[here])
        segment.lose_dropped(recorded.counts)
        rows = truth_of_pulses(segment.ended(), sky, before_s=n_spectra * sky.sampling_s)
        rows += [truth_of_event(event, sky) for event in segment.begun]
        yield Block(recorded.counts, rows)


def write_stream(
    parameters: ObservationParameters,
    path: str | os.PathLike[str],
    *,
    seed: int,
    duration_s: float | None = None,
) -> Path:
    """Write an observation as a telescope file, and its truth as a table beside it.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        path: The file; PSRFITS where its name ends in `.sf`, `.fits` or `.psrfits`, else SIGPROC.
        seed: Of all random numbers.
        duration_s: Length; `parameters.duration_s` by default. After an error or an interruption no
            file stays.

    Returns:
        The table's path, that of the file with `.truth.csv` behind it: a row for each `Truth`.

    Raises:
        ValueError: The length is not finite.
        ObservationFileError: The format cannot hold the observation.
    """
    path = Path(path)
    if duration_s is not None and not np.isfinite(duration_s):
        raise ValueError(f"{path}: duration_s = {duration_s} s: a file has a finite length")
    table = path.with_name(path.name + ".truth.csv")
    with (
        replacing(table) as part,
        part.open("w", newline="") as rows,
        open_writer(path, _header(parameters)) as file,
    ):
        lines = csv.writer(rows)
        lines.writerow(Truth._fields)
        for block in stream(parameters, seed=seed, duration_s=duration_s):
            file.write(block.counts)
            lines.writerows(block.truth)
    return table


def count_spectra(sky: Sky, duration_s: float | None) -> float:
    """Return how many spectra an observation has, infinity where it has no end.

    Raises:
        ValueError: The duration is not positive.
    """
    duration_s = sky.parameters.duration_s if duration_s is None else duration_s
    if not duration_s > 0:
        raise ValueError(f"duration_s = {duration_s} s must be positive")
    return max(1, round(duration_s / sky.sampling_s)) if np.isfinite(duration_s) else np.inf


def _header(parameters: ObservationParameters) -> FilterbankHeader:
    width_mhz = parameters.bandwidth_mhz / parameters.n_channels
    return FilterbankHeader(
        n_channels=parameters.n_channels,
        n_bits=parameters.n_bits,
        first_frequency_mhz=float(channel_frequencies(parameters)[0]),
        channel_width_mhz=-width_mhz,
        sampling_time_s=parameters.sampling_time_us * 1e-6,
        source_name="simulated",
    )
