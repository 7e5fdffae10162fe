"""Put simulated pulses of known fluence into a recording, and say what an ideal search would find.

A pulse is put in at its fluence, not at a signal-to-noise ratio: the latter depends on the noise and
the interference where it lands, and would hide what these do to a search.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.physics.tracks import Track
from physics_twins.pulsar.telescopes.quiet_noise import Calibration, calibrate_spectra
from physics_twins.pulsar.telescopes.recorded_pulse import Pulse, track
from physics_twins.pulsar.telescopes.redigitise import redigitise

BLOCK_SAMPLES = 1 << 21


def inject_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    pulses: Sequence[Pulse],
    *,
    sefd_jy: float,
    seed: int,
) -> pd.DataFrame:
    """Write a copy of a telescope file with pulses put in, block by block; return the truth.

    Samples that no pulse reaches keep their value. Where one does, what the digitiser had before it is
    drawn from all it can have been, and is digitised again with the pulse added. The truth is written
    beside the copy too, as CSV: its name with `.pulses.csv` for its ending.

    Args:
        source: A file that `files.open_observation` knows, of any length.
        target: The copy; its name says the format, as in `files.open_writer`. Where the source's format
            has scales that make its samples floating-point numbers, the copy has 32 bits.
        pulses: What is put in; their whole tracks lie inside the recording.
        sefd_jy: System equivalent flux density of the telescope, system temperature over gain. No file
            states it.
        seed: Of the digitiser's random numbers.

    Returns:
        A row for each pulse: its parameters, and `snr_ideal`, which a filter matched to it in time and
        frequency finds on average in the channels' own noise, without interference and saturation.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged, of no known format, or cannot be written as wanted.
        ValueError: A pulse does not fit into the recording or is impossible, `sefd_jy` is not positive,
            or source and target are one file.
    """
    target = Path(target)
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the file to be read; choose another name for the copy")
    with open_spectra(source) as spectra:
        known = calibrate_spectra(spectra, sefd_jy=sefd_jy)
        reached, snr_ideal = [], []
        for number, pulse in enumerate(pulses):
            pulse.check(number)
            own = track(pulse, spectra.header, known.counts_per_jy)
            _check_fits(number, own, spectra)
            reached.append((pulse, range(own.start, own.stop)))
            snr_ideal.append(known.snr_ideal(own.values))
        with open_writer(target, replace(spectra.source_header, n_bits=spectra.n_bits)) as file:
            for block in _blocks(spectra, reached, known, np.random.default_rng(seed)):
                file.write(block)
    truth = pd.DataFrame([asdict(pulse) for pulse in pulses]).assign(snr_ideal=snr_ideal)
    truth.to_csv(target.with_suffix(".pulses.csv"), index=False)
    return truth


def spread(pulse: Pulse, n_pulses: int, observation: Observation) -> list[Pulse]:
    """Return such pulses, evenly spread over a recording so that the whole track of each fits.

    Args:
        pulse: What each of them is; its time is ignored.
        n_pulses: How many.
        observation: The recording, a dataset or a file.

    Raises:
        ValueError: The pulse is impossible, or its track is longer than the recording.
    """
    pulse = replace(pulse, time_s=0.0)
    pulse.check(0)
    with open_spectra(observation) as spectra:
        header, n_spectra, name = spectra.header, spectra.n_spectra, spectra.name
    own = track(pulse, header, np.ones(header.n_channels))
    room = n_spectra - (own.stop - own.start)
    sampling_s = header.sampling_time_s
    if room < 0:
        raise ValueError(
            f"a pulse of dm_pc_cm3 = {pulse.dm_pc_cm3:g} pc cm-3 takes"
            f" {(own.stop - own.start) * sampling_s:.4g} s to cross the band, but {name} lasts"
            f" {n_spectra * sampling_s:.4g} s"
        )
    first = np.rint((np.arange(n_pulses) + 0.5) * room / max(1, n_pulses)) - own.start
    return [replace(pulse, time_s=float(n * sampling_s)) for n in first]


def _blocks(
    spectra: Spectra,
    reached: Sequence[tuple[Pulse, range]],
    known: Calibration,
    rng: np.random.Generator,
) -> Iterator[NDArray[Any]]:
    """Yield a recording with pulses, in the order of its channels, block by block."""
    length = max(1, BLOCK_SAMPLES // spectra.header.n_channels)
    starts = range(0, spectra.n_spectra, length)
    options: dict[str, Any] = {"desc": "inject", "unit": "block", "leave": False}
    for start in tqdm(starts, disable=len(starts) < 2, **options):
        block = spectra.read(start, min(length, spectra.n_spectra - start))
        signal = np.zeros(block.shape, dtype=np.float32)
        for pulse, reach in reached:
            if reach.start < start + len(block) and reach.stop > start:
                part = track(pulse, spectra.header, known.counts_per_jy)
                row, channel, counts = part.within(start, len(block))
                signal[row, channel] += counts.astype(np.float32)
        new = redigitise(block, signal, known.level, known.sigma, spectra.n_bits, rng)
        yield spectra.in_its_order(new)


def _check_fits(number: int, own: Track, spectra: Spectra) -> None:
    if own.start < 0 or own.stop > spectra.n_spectra:
        sampling_s = spectra.header.sampling_time_s
        raise ValueError(
            f"pulse {number}: its track from {own.start * sampling_s:.4g} to"
            f" {own.stop * sampling_s:.4g} s does not fit into {spectra.name}, which lasts"
            f" {spectra.n_spectra * sampling_s:.4g} s"
        )
