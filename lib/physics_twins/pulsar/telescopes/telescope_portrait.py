"""What a recording looks like, channel by channel and altogether, to lay beside its look-alike's."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise

MAX_PORTRAIT_SAMPLES = 1 << 24
BINS = np.arange(-8.0, 24.25, 0.5)
BANDS_PER_OCTAVE = 3
# A transmitter stands so far out of the noise in the mean over one of these numbers of spectra.
DETECTION_SIGMA = 5.5
DETECTION_SPECTRA = (2, 4, 8, 16, 32, 64)


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
        edge = _bands(segment_spectra // 2 * 2, BANDS_PER_OCTAVE)
        level, sigma, occupancy = np.zeros((3, header.n_channels))
        density, power = np.zeros(len(BINS) - 1), np.zeros(len(edge))
        for n in range(n_segments):
            counts = finite(spectra.read(n * segment_spectra, segment_spectra))
            z, own_level, own_sigma = quiet_noise(counts, header.n_bits)
            level += own_level / n_segments
            sigma += own_sigma / n_segments
            occupancy += _transmitters(z).mean(axis=0) / n_segments
            alive = z[:, own_sigma > 0].clip(BINS[0], BINS[-1] - 1e-3)
            density += np.histogram(alive, BINS, density=True)[0] / n_segments
            power += _band_means(_zero_dm_power(counts[: segment_spectra // 2 * 2]), edge) / n_segments
    middle = (BINS[:-1] + BINS[1:]) / 2
    gaussian = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    low = np.concatenate([[0.5 / (segment_spectra // 2 * 2)], edge[:-1]])
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
            "rate": ("rate", np.sqrt(low * edge) / header.sampling_time_s, {"units": "Hz"}),
        },
        attrs={"n_segments": n_segments, "segment_spectra": segment_spectra},
    )


def _told(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _zero_dm_power(counts: np.ndarray) -> np.ndarray:
    """Return the power of the sum over all channels, 1 where all are white noise, (frequency,)."""
    std = counts.std(axis=0, dtype=float)
    z = (counts - counts.mean(axis=0, dtype=float))[:, std > 0] / std[std > 0]
    total = z.sum(axis=1) / np.sqrt(max(1, z.shape[1]))
    return np.abs(np.fft.rfft(total - total.mean())) ** 2 / len(total)


def _transmitters(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where normalised spectra (time, channel) stand out from noise and from other channels.

    Found is what lies above 5.5 standard deviations in means over 1 to 64 spectra, after the median
    over all channels is taken away.
    """
    z = z - np.median(z, axis=1, keepdims=True)
    found = z > DETECTION_SIGMA
    sums = np.concatenate([np.zeros((1, z.shape[1])), z.cumsum(axis=0, dtype=float)])
    for n in DETECTION_SPECTRA:
        if len(z) <= n:
            break
        windows = sums[n:] - sums[:-n]
        # Transmitters only add power: below the median a channel shows the noise's own memory.
        low, middle = np.percentile(windows[::n], [16, 50], axis=0)
        high = windows > DETECTION_SIGMA * np.maximum(middle - low, np.sqrt(n))
        steps = np.zeros((len(z) + 1, z.shape[1]), dtype=np.int32)
        steps[: len(high)] += high
        steps[n : n + len(high)] -= high
        covering = steps.cumsum(axis=0)[:-1]  # how many windows of this length reach a sample
        found |= ((covering > 0) & (z > 1)) | (covering > 0.8 * n)
    return np.asarray(binary_closing(found, np.ones((3, 1))), dtype=bool)


def _bands(n_time: int, per_octave: int) -> NDArray[np.float64]:
    """Return upper ends of bands from one cycle in `n_time` spectra up to 1/2, in cycles per spectrum.

    >>> _bands(64, 1) * 64
    array([ 1.5,  2.5,  4.5,  8.5, 16.5, 32.5])
    """
    n = int(np.ceil(np.log2(n_time / 2) * per_octave))
    bins = np.unique(np.rint(2 ** (np.arange(n + 1) / per_octave)).clip(max=n_time // 2))
    return (bins + 0.5) / n_time


def _band_means(power: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of a power spectrum over each band, without frequency 0, shape (band, ...)."""
    n_time = 2 * (len(power) - 1)
    stops = np.rint(edge * n_time + 0.5).astype(int)
    starts = np.concatenate([[1], stops[:-1]])
    sums = np.add.reduceat(power[: stops[-1]], starts, axis=0)
    return sums / (stops - starts).reshape(-1, *[1] * (power.ndim - 1))
