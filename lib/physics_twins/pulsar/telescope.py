"""Match my telescope: its receiver, noise and interference as numbers fitted to a recording.

The numbers are few enough to keep and to read, and hold no recorded sample. `lookalike` makes
observations without end from them that have the recording's statistics.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Observation, Spectra, open_spectra
from physics_twins.pulsar.realism import normalised
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.levelling import find_levelling, fit_levelling, unlevelled
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise
from physics_twins.pulsar.telescopes.telescope_impulses import (
    fit_impulses,
    fit_losses,
    impulses_in,
    lost_spectra,
)
from physics_twins.pulsar.telescopes.telescope_model import TelescopeModel
from physics_twins.pulsar.telescopes.telescope_noise import (
    Noise,
    band_means,
    bands,
    fit_noise,
)
from physics_twins.pulsar.telescopes.telescope_transmitters import (
    TransmitterStream,
    find_transmitters,
    fit_spill,
    fit_transmitters,
)

# A recording is fitted in segments, taken evenly from its length where it is longer than all.
SEGMENT_SPECTRA = 8192
MAX_FIT_SAMPLES = 1 << 24
MIN_SPECTRA = 256
# The lowest values of a channel, and how far they move, in its noise, where a recorder moves them.
FLOOR_PERCENTILE, FLOOR_MOVES = 5, 0.3
# Over so many segments the transmitters are simulated alone.
N_TRIAL_SEGMENTS = 16


def fit_telescope(data: Observation, *, seed: int) -> TelescopeModel:
    """Return a telescope's receiver, noise and interference, fitted to a recording.

    What single channels do is taken from the recording directly. To what all of them have in common
    transmitters add too: how much is learnt by simulating them, and only the rest is the receiver's.
    Dispersed pulses are not fitted: they are what is looked for.

    Args:
        data: A dataset with `data` (time, frequency), or a file. Of a long one, evenly spaced segments
            of up to 8192 spectra are used; slower changes than a segment are not seen.
        seed: Of that simulation.

    Raises:
        FileNotFoundError: There is no such file.
        ObservationFileError: The file is damaged or of no known format.
        ValueError: There are fewer than 256 spectra or 2 channels, or nothing that varies.
    """
    with open_spectra(data) as spectra:
        counts = _segments(spectra)
        header, name = replace(spectra.header, others=(), start_mjd=0.0), spectra.name
    lost = np.stack([lost_spectra(segment) for segment in counts])
    n_levelled = find_levelling(counts[0])
    z, level, sigma = _normalised(counts, lost, header.n_bits, n_levelled)
    levelling = fit_levelling(n_levelled, counts.mean(axis=(0, 1), dtype=float), sigma)
    level, sigma = np.median(level, axis=0), np.exp(np.mean(np.log(np.maximum(sigma, 1e-9)), axis=0))
    sigma[sigma < 1e-6] = 0
    if not (sigma > 0).any():
        raise ValueError(f"{name}: data: no channel varies")
    z[lost] = 0
    impulse = np.stack([impulses_in(s, gap) for s, gap in zip(z, lost, strict=True)])
    known = ~(lost | impulse)
    wide = ~known[:, :, None]
    found = np.stack([find_transmitters(segment) for segment in z]) & ~wide
    narrow = np.where(wide, np.float32(0), z)
    transmitters, theirs = fit_transmitters(narrow, found, known, seed=seed)
    spill, spill_share = fit_spill(narrow, transmitters)
    unheard = z.copy()
    unheard[:, :, spill[:, 1]] -= z[:, :, spill[:, 0]] * spill_share.astype(np.float32)
    clean_samples = ~found & ~wide & (sigma > 0) & ~theirs
    model = TelescopeModel(
        header=header,
        noise=fit_noise(
            unheard, clean_samples, level, sigma, n_bits=header.n_bits, n_levelled=n_levelled
        ),
        transmitters=transmitters,
        spill=spill,
        spill_share=spill_share,
        impulses=fit_impulses(np.where(found, np.float32(0), z), impulse),
        losses=fit_losses(counts, lost),
        levelling=levelling,
        source=name,
        n_spectra=counts.shape[0] * counts.shape[1],
        seed=seed,
    )
    return replace(model, noise=_corrected(model, narrow, counts, known))


def _segments(spectra: Spectra) -> NDArray[Any]:
    """Return evenly spaced segments of equal length, shape (segment, time, channel)."""
    if spectra.n_spectra < MIN_SPECTRA:
        raise ValueError(
            f"{spectra.name}: data: {spectra.n_spectra} spectra are too few to fit a telescope to:"
            f" {MIN_SPECTRA} or more are needed"
        )
    affordable = max(MIN_SPECTRA, MAX_FIT_SAMPLES // spectra.header.n_channels)
    length = min(spectra.n_spectra, SEGMENT_SPECTRA, affordable) // 2 * 2
    n = max(1, min(affordable // length, spectra.n_spectra // length))
    starts = np.linspace(0, spectra.n_spectra - length, n).astype(int)
    return np.stack([finite(spectra.read(start, length)) for start in starts])


def _normalised(
    counts: NDArray[Any], lost: NDArray[np.bool_], n_bits: int, n_levelled: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return (counts - level) / sigma of the noise, and level and sigma (stretch, channel).

    Each stretch that was levelled by itself has its own; sigma is 0 where nothing varies.
    """
    z = np.zeros(counts.shape, dtype=np.float32)
    parts = [(n, part) for n in range(len(counts)) for part in _stretches(counts.shape[1], n_levelled)]
    kept = [counts[n, part][~lost[n, part]] for n, part in parts]
    level, sigma = (np.array(c) for c in zip(*(quiet_noise(k, n_bits)[1:] for k in kept), strict=True))
    _steady(
        level,
        sigma,
        np.array([stretch.std(axis=0, dtype=float) for stretch in kept]),
        np.array([np.percentile(stretch, FLOOR_PERCENTILE, axis=0) for stretch in kept]),
    )
    for (n, part), stretch, middle, width in zip(parts, kept, level, sigma, strict=True):
        z[n, part][~lost[n, part]] = (stretch - middle) / np.where(width > 0, width, 1)
    return z, level, sigma


def _steady(
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    whole: NDArray[np.float64],
    floor: NDArray[np.float64],
) -> None:
    """Give channels one level and width throughout, in place, unless their own make them steadier.

    Where a transmitter is on for most of the time, there is too little noise to measure; its steps
    would be taken for the recorder's. But a recorder that holds the mean lowers what is below a
    transmitter by as much as that is on: there the level follows the lowest values. All arrays have
    the shape (stretch, channel).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        common = np.log(whole).std(axis=0)
        own = np.log(whole / sigma).std(axis=0)
    steady = ~(own < common)
    sigma[:, steady] = np.median(sigma[:, steady], axis=0)
    level[:, steady] = np.median(level[:, steady], axis=0)
    moves = floor - np.median(floor, axis=0)
    moving = steady & (moves.std(axis=0) > FLOOR_MOVES * np.median(sigma, axis=0))
    level[:, moving] += moves[:, moving]


def _stretches(n_time: int, n_levelled: int) -> list[slice]:
    """Return the parts of a segment that were levelled; a rest belongs to the last."""
    if not n_levelled:
        return [slice(0, n_time)]
    starts = np.arange(0, max(1, n_time - n_levelled + 1), n_levelled)
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], n_time], strict=True)]


def _corrected(
    model: TelescopeModel, z: NDArray[np.float32], counts: NDArray[Any], known: NDArray[np.bool_]
) -> Noise:
    """Return noise whose common baseline and transmitters together have the recording's power.

    The sum over channels is measured in the recording, between impulses; what transmitters give to it
    is measured in a simulation of them alone, for as long as to be known well, and the rest is the
    baseline.
    """
    noise, (n_time, n_channels) = model.noise, counts.shape[1:]
    # In what is measured each channel is divided by its whole standard deviation.
    weight = 1 / np.maximum(z[known].std(axis=0, dtype=float), 1e-9)
    weight[noise.sigma == 0] = 0
    stream = TransmitterStream(model.transmitters, np.random.default_rng(model.seed))
    given = np.zeros(len(bands(n_time, 1)))
    for _ in range(N_TRIAL_SEGMENTS):
        alone = np.zeros((n_time, n_channels), dtype=np.float32)
        stream.put_into(alone)
        given += band_means(_power(alone @ weight) / n_channels, bands(n_time, 1)) / N_TRIAL_SEGMENTS
    weight[noise.mode[:, 0] == 0] = 0  # transmitters' channels, and what has no noise of its own
    present = weight[noise.link] > 0
    white = ((weight > 0).sum() + 2 * noise.correlation @ present.all(axis=1)) / n_channels
    power = np.mean([_power(_zero_dm(*pair)) for pair in zip(counts, known, strict=True)], axis=0)
    power /= known.mean()
    wanted = band_means(unlevelled(power, model.levelling.n_spectra), noise.mode_edge)
    octave = np.searchsorted(bands(n_time, 1), noise.mode_edge - 1e-9)
    modes = noise.mode_spectrum.copy()
    modes[0] = np.maximum(wanted - white - given[octave], 0) / max(
        float(weight @ noise.mode[:, 0]) ** 2 / n_channels, 0.01
    )
    return replace(noise, mode_spectrum=modes)


def _zero_dm(counts: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the sum over channels of a segment, 1 where all are white, 0 where it is not known."""
    z = normalised(counts[known])
    series = np.zeros(len(counts))
    series[known] = z.sum(axis=1, dtype=float) / np.sqrt(max(1, z.shape[1]))
    return series


def _power(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a series' power over that of white noise of variance 1, shape (frequency,)."""
    return np.abs(np.fft.rfft(series - series.mean())) ** 2 / len(series)
