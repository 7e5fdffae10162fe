"""Put simulated pulses of known fluence into a recording, and say what an ideal search would find.

A pulse is put in at its fluence, not at a signal-to-noise ratio: the latter depends on the noise and
the interference where it lands, and would hide what these do to a search.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.physics.tracks import Track
from physics_twins.pulsar.telescopes.quiet_noise import Calibration, calibrate_spectra
from physics_twins.pulsar.telescopes.recorded_pulse import Pulse, track
from physics_twins.pulsar.telescopes.redigitise import redigitise

BLOCK_SAMPLES = 1 << 21


def inject(
    observation: xr.Dataset,
    pulses: Sequence[Pulse],
    *,
    sefd_jy: float | NDArray[np.float64],
    masked: NDArray[np.bool_] | None = None,
    seed: int,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Return a recording with pulses put in, digitised as it is, and the truth about them.

    Samples that no pulse reaches keep their value. Where one does, what the digitiser had before it is
    drawn from all it can have been, and is digitised again with the pulse added.

    Args:
        observation: With `data` (time, frequency) in counts.
        pulses: What is put in; their whole tracks lie inside the recording.
        sefd_jy: System equivalent flux density, system temperature over gain, of the telescope or of
            each channel, the highest frequency first. No file states it.
        masked: Channels that a search leaves out, shape (frequency,), the highest first: what they
            hold of a pulse counts as lost.
        seed: Of the digitiser's random numbers.

    Returns:
        The recording, and a row for each pulse: its parameters; `snr_ideal`, which a filter matched to
        it in time and frequency finds on average in the channels' own noise, without interference;
        `snr_kept`, the same filter's after saturation and without masked channels; `fluence_kept`, the
        part of the counts that were to be added which saturation has left.

    Raises:
        ValueError: A pulse does not fit into the recording or is impossible, or `sefd_jy` or `masked`
            is wrong.
    """
    with open_spectra(observation) as spectra:
        work = _Injection(spectra, pulses, sefd_jy, masked, seed)
        data = np.concatenate(list(work.blocks()))
    values = observation["data"]
    return observation.assign(data=(values.dims, data, values.attrs)), work.truth()


def inject_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    pulses: Sequence[Pulse],
    *,
    sefd_jy: float | NDArray[np.float64],
    masked: NDArray[np.bool_] | None = None,
    seed: int,
) -> pd.DataFrame:
    """Write a copy of a telescope file with pulses put in, block by block; return the truth.

    The truth is written beside the copy too, as CSV: its name with `.pulses.csv` for its ending.

    Args:
        source: A file that `files.open_observation` knows, of any length.
        target: The copy; its name says the format, as in `files.open_writer`. Where the source's format
            has scales that make its samples floating-point numbers, the copy has 32 bits.
        pulses: As in `inject`, and so are the others.
        sefd_jy: See `inject`.
        masked: See `inject`.
        seed: See `inject`.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged, of no known format, or cannot be written as wanted.
        ValueError: As in `inject`, or source and target are one file.
    """
    target = Path(target)
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the file to be read; choose another name for the copy")
    with open_spectra(source) as spectra:
        work = _Injection(spectra, pulses, sefd_jy, masked, seed)
        with open_writer(target, replace(spectra.source_header, n_bits=spectra.n_bits)) as file:
            for block in work.blocks():
                file.write(block)
    truth = work.truth()
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


@dataclass(frozen=True)
class _Part:
    """What one pulse adds to one block: row, channel and counts of its samples."""

    pulse: int
    row: NDArray[np.int64]
    channel: NDArray[np.int64]
    counts: NDArray[np.float64]


class _Injection:
    """Pulses on their way into one recording, and what has become of them so far."""

    def __init__(
        self,
        spectra: Spectra,
        pulses: Sequence[Pulse],
        sefd_jy: float | NDArray[np.float64],
        masked: NDArray[np.bool_] | None,
        seed: int,
    ) -> None:
        self._spectra, self._pulses = spectra, tuple(pulses)
        self._calibration = calibrate_spectra(spectra, sefd_jy=sefd_jy)
        self._weight = _weights(self._calibration)
        self._used = _used(masked, len(self._weight))
        self._rng = np.random.default_rng(seed)
        n = len(self._pulses)
        self._start, self._stop = np.zeros((2, n), dtype=np.int64)
        self._snr_ideal, self._given, self._kept, self._matched = np.zeros((4, n))
        for number, pulse in enumerate(self._pulses):
            pulse.check(number)
            own = self._track(number)
            _check_fits(number, own, spectra)
            self._start[number], self._stop[number] = own.start, own.stop
            self._snr_ideal[number] = np.sqrt(np.sum(own.values**2 * self._weight))
            self._given[number] = own.values.sum()

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield the recording with the pulses, in the order of its channels, block by block."""
        length = max(1, BLOCK_SAMPLES // self._spectra.header.n_channels)
        n_blocks = -(-self._spectra.n_spectra // length)
        options: dict[str, Any] = {"desc": "inject", "unit": "block", "leave": False}
        blocks = self._spectra.blocks(length)
        for start, block in tqdm(blocks, total=n_blocks, disable=n_blocks < 2, **options):
            yield self._spectra.in_its_order(self._injected(start, block))

    def truth(self) -> pd.DataFrame:
        """Return a row for each pulse."""
        table = pd.DataFrame([asdict(pulse) for pulse in self._pulses])
        reference = np.maximum(self._snr_ideal, 1e-30)
        table["snr_ideal"] = self._snr_ideal
        table["snr_kept"] = self._matched / reference
        table["fluence_kept"] = self._kept / np.maximum(self._given, 1e-30)
        return table

    def _track(self, number: int) -> Track:
        counts_per_jy = self._calibration.counts_per_jy
        return track(self._pulses[number], self._spectra.header, counts_per_jy)

    def _injected(self, start: int, block: NDArray[Any]) -> NDArray[Any]:
        near = np.flatnonzero((self._start < start + len(block)) & (self._stop > start))
        if not len(near):
            return block
        parts = [_Part(n, *self._track(n).within(start, len(block))) for n in near.tolist()]
        signal = np.zeros(block.shape, dtype=np.float32)
        for part in parts:
            signal[part.row, part.channel] += part.counts.astype(np.float32)
        known = self._calibration
        new = redigitise(block, signal, known.level, known.sigma, self._spectra.n_bits, self._rng)
        change = new.astype(np.float64) - block
        for part in parts:
            self._account(part, signal, change)
        return new

    def _account(self, part: _Part, signal: NDArray[np.float32], change: NDArray[np.float64]) -> None:
        """Note how much of a pulse has arrived in the counts."""
        at = part.row, part.channel
        share = part.counts / np.maximum(signal[at], 1e-30)  # where several pulses meet
        arrived = change[at] * share
        self._kept[part.pulse] += arrived.sum()
        weight = self._weight[part.channel] * self._used[part.channel]
        self._matched[part.pulse] += np.sum(weight * part.counts * arrived)


def _weights(calibration: Calibration) -> NDArray[np.float64]:
    """Return 1 / variance of each channel's noise, 0 where it has none, shape (channel,)."""
    alive = calibration.sigma > 0
    return np.where(alive, 1 / np.where(alive, calibration.sigma, 1) ** 2, 0)


def _used(masked: NDArray[np.bool_] | None, n_channels: int) -> NDArray[np.bool_]:
    if masked is None:
        return np.ones(n_channels, dtype=bool)
    if masked.shape != (n_channels,):
        raise ValueError(f"masked: shape {masked.shape}, expected ({n_channels},), one per channel")
    return ~masked.astype(bool)


def _check_fits(number: int, own: Track, spectra: Spectra) -> None:
    if own.start < 0 or own.stop > spectra.n_spectra:
        sampling_s = spectra.header.sampling_time_s
        raise ValueError(
            f"pulse {number}: its track from {own.start * sampling_s:.4g} to"
            f" {own.stop * sampling_s:.4g} s does not fit into {spectra.name}, which lasts"
            f" {spectra.n_spectra * sampling_s:.4g} s"
        )
