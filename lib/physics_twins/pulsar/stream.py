"""Simulate an observation of any length: counts block by block, the truth as rows, memory constant."""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics import truth
from physics_twins.pulsar.physics.digitiser import sample_type
from physics_twins.pulsar.physics.recorder import Recorder
from physics_twins.pulsar.physics.sky import Sky


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of an observation.

    Attributes:
        first: Number of its first spectrum.
        counts: As the recorder stores them, shape (time, channel), the highest frequency first; they
            are only good until the next block is asked for.
        gain: Relative gain of the receiver, shape (time,).
        baseline_jy: Its baseline, shape (time,).
        truth: Pulses that end in this block, and interference and gaps that begin in it.
    """

    first: int
    counts: NDArray[Any]
    gain: NDArray[np.float32]
    baseline_jy: NDArray[np.float32]
    truth: list[truth.Truth]


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
        rows = truth.of_pulses(segment.ended(), sky, before_s=n_spectra * sky.sampling_s)
        rows += [truth.of_event(event, sky) for event in segment.begun]
        baseline_jy = recorded.baseline * np.float32(parameters.baseline_jy)
        yield Block(segment.first, recorded.counts, recorded.gain, baseline_jy, rows)


def write_stream(
    parameters: ObservationParameters,
    path: str | os.PathLike[str],
    *,
    seed: int,
    duration_s: float | None = None,
    progress: Callable[[float], object] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Write an observation as a telescope file, and its truth as a table beside it.

    Args:
        parameters: The pulsar, the medium, the telescope and the interference.
        path: The file; PSRFITS where its name ends in `.sf`, `.fits` or `.psrfits`, else SIGPROC.
        seed: Of all random numbers.
        duration_s: Length; `parameters.duration_s` by default.
        progress: Is told, after each block, the seconds written so far.
        cancelled: Is asked before each block whether to stop; what has been written by then becomes
            a shorter file with its truth. After an error or an interruption no file stays.

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
    parts = [one.with_name(one.name + ".part") for one in (path, table)]
    try:
        with (
            parts[1].open("w", newline="") as rows,
            open_writer(path, _header(parameters)) as file,
        ):
            lines = csv.writer(rows)
            lines.writerow(truth.Truth._fields)
            for block in stream(parameters, seed=seed, duration_s=duration_s):
                if cancelled is not None and cancelled():
                    break
                file.write(block.counts)
                lines.writerows(block.truth)
                if progress is not None:
                    n_written = block.first + len(block.counts)
                    progress(n_written * parameters.sampling_time_us * 1e-6)
        parts[1].replace(table)
    except BaseException:
        for part in parts:
            part.unlink(missing_ok=True)
        raise
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
        first_frequency_mhz=parameters.centre_frequency_mhz
        + (parameters.bandwidth_mhz - width_mhz) / 2,
        channel_width_mhz=-width_mhz,
        sampling_time_s=parameters.sampling_time_us * 1e-6,
        source_name="simulated",
    )
