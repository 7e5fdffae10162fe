"""What a recording looks like, channel by channel and altogether, to lay beside its look-alike's."""

import numpy as np
import xarray as xr

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.realism import normalised
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise
from physics_twins.pulsar.telescopes.telescope_noise import band_means, bands
from physics_twins.pulsar.telescopes.telescope_transmitters import find_transmitters

MAX_PORTRAIT_SAMPLES = 1 << 24
BINS = np.arange(-8.0, 24.25, 0.5)
BANDS_PER_OCTAVE = 3


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
        edge = bands(segment_spectra // 2 * 2, BANDS_PER_OCTAVE)
        level, sigma, occupancy = np.zeros((3, header.n_channels))
        density, power = np.zeros(len(BINS) - 1), np.zeros(len(edge))
        for n in range(n_segments):
            counts = finite(spectra.read(n * segment_spectra, segment_spectra))
            z, own_level, own_sigma = quiet_noise(counts, header.n_bits)
            level += own_level / n_segments
            sigma += own_sigma / n_segments
            occupancy += find_transmitters(z).mean(axis=0) / n_segments
            alive = z[:, own_sigma > 0].clip(BINS[0], BINS[-1] - 1e-3)
            density += np.histogram(alive, BINS, density=True)[0] / n_segments
            power += band_means(_zero_dm_power(counts[: segment_spectra // 2 * 2]), edge) / n_segments
    middle = (BINS[:-1] + BINS[1:]) / 2
    gaussian = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    low = np.concatenate([[0.5 / (segment_spectra // 2 * 2)], edge[:-1]])
    return xr.Dataset(
        {
            "level": ("frequency", level, {"units": "counts"}),
            "sigma": ("frequency", sigma, {"units": "counts"}),
            "occupancy": ("frequency", occupancy, {"units": "1"}),
            "density": ("deviation", density, {"units": "1"}),
            "gaussian": ("deviation", gaussian, {"units": "1"}),
            "zero_dm_power": ("rate", power, {"units": "1"}),
        },
        coords={
            "frequency": ("frequency", header.frequency_mhz, {"units": "MHz"}),
            "deviation": ("deviation", middle, {"units": "1"}),
            "rate": ("rate", np.sqrt(low * edge) / header.sampling_time_s, {"units": "Hz"}),
        },
        attrs={"n_segments": n_segments, "segment_spectra": segment_spectra},
    )


def _zero_dm_power(counts: np.ndarray) -> np.ndarray:
    """Return the power of the sum over all channels, 1 where all are white noise, (frequency,)."""
    z = normalised(counts)
    total = z.sum(axis=1, dtype=float) / np.sqrt(max(1, z.shape[1]))
    return np.abs(np.fft.rfft(total - total.mean())) ** 2 / len(total)
