"""Put simulated pulses of known fluence into a recording, and say what an ideal search would find.

A pulse is put in at its fluence, not at a signal-to-noise ratio: the latter depends on the noise and
the interference where it lands, and would hide what these do to a search. A signal much weaker than a
step between two counts must not be lost, nor rounded up: what the digitiser had before it is drawn from
all it can have been, given the count, and is digitised again.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from tqdm import tqdm

from physics_twins.pulsar.files import open_writer
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.physics.pulse_shapes import Track, pulse_track
from physics_twins.pulsar.physics.receiver import highest_count, noise_sigma_jy, sample_type
from physics_twins.pulsar.searching.cleaning import finite
from physics_twins.pulsar.telescope import quiet_noise


@dataclass(frozen=True)
class Pulse:
    """A pulse to put in.

    Attributes:
        time_s: Arrival of its Gaussian at the centre of the highest channel, from the first spectrum.
        dm_pc_cm3: Dispersion measure.
        fluence_jy_ms: Flux density integrated over time, the same in all channels.
        width_ms: Intrinsic full width at half maximum.
        scattering_ms: Scattering time at 1 GHz; falls as frequency^-4.
    """

    time_s: float
    dm_pc_cm3: float
    fluence_jy_ms: float
    width_ms: float
    scattering_ms: float = 0.0

    def check(self, n: int) -> None:
        """Raise ValueError where pulse number `n` is impossible."""
        for name, value in asdict(self).items():
            positive = name in ("fluence_jy_ms", "width_ms")
            if not np.isfinite(value) or value < 0 or (positive and value == 0):
                unit = {"time_s": "s", "dm_pc_cm3": "pc cm-3", "fluence_jy_ms": "Jy ms"}.get(name, "ms")
                least = "more than 0" if positive else "0 or more"
                raise ValueError(f"pulse {n}: {name} = {value:g} {unit}: must be {least}")


def track(pulse: Pulse, header: FilterbankHeader, counts_per_jy: NDArray[np.float64]) -> Track:
    """Return what a pulse adds to a recording, in counts.

    Args:
        pulse: The pulse.
        header: Of the recording, the highest frequency first.
        counts_per_jy: Shape (channel,).
    """
    known = asdict(pulse)
    fluence_jy_s = 1e-3 * known.pop("fluence_jy_ms")
    sampling_s, width_mhz = header.sampling_time_s, header.channel_width_mhz
    part = pulse_track(header.frequency_mhz, sampling_s, channel_width_mhz=width_mhz, **known)
    return replace(part, values=fluence_jy_s / sampling_s * part.values * counts_per_jy)


# The noise is measured in so many parts, evenly spaced, of at most so many spectra.
N_PARTS = 8
PART_SPECTRA = 2048


@dataclass(frozen=True)
class Calibration:
    """The noise of a recording, in counts and in Jy, without interference.

    Attributes:
        level: Mean, in counts, shape (channel,).
        sigma: Standard deviation, in counts, shape (channel,); 0 where a channel is constant.
        sigma_jy: Standard deviation, in Jy.
    """

    level: NDArray[np.float64]
    sigma: NDArray[np.float64]
    sigma_jy: float

    @property
    def counts_per_jy(self) -> NDArray[np.float64]:
        """Counts that a flux density of 1 Jy adds, shape (channel,)."""
        return self.sigma / self.sigma_jy

    def snr_ideal(self, counts: NDArray[np.float64]) -> float:
        """Return the S/N of the filter matched to what is added, shape (time, channel)."""
        alive = self.sigma > 0
        return float(np.sqrt(np.square(counts[:, alive] / self.sigma[alive]).sum()))


def calibrate_spectra(spectra: Spectra, *, sefd_jy: float) -> Calibration:
    """Return what a recording's counts mean, by the radiometer equation.

    The noise of one sample is the system equivalent flux density over sqrt(n_pol * bandwidth * time)
    (Lorimer & Kramer, equation A1.21). In counts it is measured, as median over parts of the recording.

    Args:
        spectra: The open recording.
        sefd_jy: System equivalent flux density, system temperature over gain.

    Raises:
        ValueError: `sefd_jy` is not positive, or no channel varies.
    """
    if not 0 < sefd_jy < np.inf:
        raise ValueError(
            f"sefd_jy = {sefd_jy:g} Jy: must be positive; it is system temperature over gain, which no"
            " file states"
        )
    length = min(PART_SPECTRA, spectra.n_spectra)
    starts = np.unique(np.linspace(0, spectra.n_spectra - length, N_PARTS).astype(int))
    parts = [quiet_noise(finite(spectra.read(start, length)), spectra.n_bits)[1:] for start in starts]
    level, sigma = (np.median(column, axis=0) for column in zip(*parts, strict=True))
    if not (sigma > 0).any():
        raise ValueError(f"{spectra.name}: data: no channel varies")
    header = spectra.header
    sigma_jy = noise_sigma_jy(
        sefd_jy, channel_width_mhz=header.channel_width_mhz, sampling_s=header.sampling_time_s
    )
    return Calibration(level, sigma, sigma_jy)


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


# Noise that is wider than this, in counts, is even across one of them to 1 %.
EVEN_SIGMA = 4.0


def redigitise(
    counts: NDArray[Any],
    signal: NDArray[np.float32],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    n_bits: int,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return counts with a signal added; where it is 0 they stay what they are.

    Args:
        counts: Shape (time, channel).
        signal: In counts, before the digitiser, of the same shape.
        level: Mean of the noise in counts, shape (channel,).
        sigma: Its standard deviation, shape (channel,).
        n_bits: Bits in a sample; 32 means floating-point numbers, which are not rounded.
        rng: Draws what was before the digitiser.
    """
    if n_bits == 32:
        return (counts + signal).astype(np.float32)
    time, channel = np.nonzero(signal)
    old, highest = counts[time, channel].astype(float), highest_count(n_bits)
    place = rng.random(len(old))
    before = old - 0.5 + place
    coarse = np.flatnonzero(sigma[channel] < EVEN_SIGMA)
    if len(coarse):
        of = channel[coarse]
        before[coarse] = _drawn(old[coarse], place[coarse], level[of], sigma[of], highest)
    # Above the highest count nothing is known but that it was above.
    saturated = (old == highest) & (sigma[channel] >= EVEN_SIGMA)
    new = np.where(saturated, highest, np.rint(before + signal[time, channel]))
    out = counts.copy()
    out[time, channel] = np.clip(new, 0, highest).astype(sample_type(n_bits))
    return out


def _drawn(
    count: NDArray[np.float64],
    place: NDArray[np.float64],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    highest: float,
) -> NDArray[np.float64]:
    """Return Gaussian values that are rounded to a count; at both ends, all that lies beyond is it."""
    width = np.maximum(sigma, 1e-6)
    low = np.where(count == 0, -np.inf, count - 0.5)
    high = np.where(count == highest, np.inf, count + 0.5)
    below, above = ndtr((low - level) / width), ndtr((high - level) / width)
    drawn = level + width * ndtri(below + place * (above - below))
    # So far out no noise comes: it is interference, of which nothing is known.
    unlikely = (above - below < 1e-9) | ~np.isfinite(drawn)
    return np.where(unlikely, count - 0.5 + place, drawn)
