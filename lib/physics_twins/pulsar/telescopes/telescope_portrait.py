"""What a recording looks like, channel by channel and altogether, to lay beside its look-alike's."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise

MAX_PORTRAIT_SAMPLES = 1 << 24
BINS = np.arange(-8.0, 24.25, 0.5)
BANDS_PER_OCTAVE = 3
DISTURBED_SIGMA = 5.5  # no noise makes a sample so high


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
        level, sigma, occupancy = np.zeros((3, header.n_channels))
        density, power = np.zeros(len(BINS) - 1), np.zeros((segment_spectra - 1) // 2)
        for n in range(n_segments):
            counts = finite(spectra.read(n * segment_spectra, segment_spectra))
            z, own_level, own_sigma = quiet_noise(counts, header.n_bits)
            level += own_level / n_segments
            sigma += own_sigma / n_segments
            occupancy += (z > DISTURBED_SIGMA).mean(axis=0) / n_segments
            alive = z[:, own_sigma > 0].clip(BINS[0], BINS[-1] - 1e-3)
            density += np.histogram(alive, BINS, density=True)[0] / n_segments
            power += _zero_dm_power(counts) / n_segments
    middle = (BINS[:-1] + BINS[1:]) / 2
    gaussian = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    rate_hz = np.arange(1, len(power) + 1) / segment_spectra / header.sampling_time_s
    # Power and frequency are means over thirds of an octave.
    band = np.floor(np.log2(rate_hz / rate_hz[0]) * BANDS_PER_OCTAVE).astype(int)
    n_in_band = np.bincount(band)
    rate_hz, power = (
        np.bincount(band, each)[n_in_band > 0] / n_in_band[n_in_band > 0] for each in (rate_hz, power)
    )
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
            "rate": ("rate", rate_hz, {"units": "Hz"}),
        },
        attrs={"n_segments": n_segments, "segment_spectra": segment_spectra},
    )


def _told(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _zero_dm_power(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the power of the sum over all channels, 1 where all are white noise, (frequency,)."""
    std = counts.std(axis=0, dtype=float)
    z = (counts - counts.mean(axis=0, dtype=float))[:, std > 0] / std[std > 0]
    total = z.sum(axis=1) / np.sqrt(max(1, z.shape[1]))
    return np.abs(np.fft.rfft(total)[1 : (len(total) + 1) // 2]) ** 2 / len(total)
