"""The receiving system: radiometer noise, bandpass and digitiser."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

N_POLARISATIONS = 2

# Step of a uniform quantiser, in standard deviations of the noise. 2 and 4 bits: the least
# distortion of Gaussian noise (J. Max 1960, IRE Trans. Inf. Theory 6, 7). 8 and 16 bits: as
# recorders set it, with headroom for bright pulses and interference.
QUANTISER_STEP_SIGMA = {2: 0.9957, 4: 0.3352, 8: 1 / 16, 16: 1 / 256}
# Where the mean of the noise lies in the quantiser's range: below the middle, because signals only add.
QUANTISER_MEAN = {2: 0.5, 4: 0.45, 8: 0.375, 16: 0.25}


def noise_sigma_jy(
    system_temperature_k: float, gain_k_per_jy: float, *, channel_width_mhz: float, sampling_s: float
) -> float:
    """Return the standard deviation of the noise in one sample, in Jy.

    Radiometer equation, Lorimer & Kramer, equation A1.21: Tsys / (G sqrt(n_pol * bandwidth * time)).

    >>> round(noise_sigma_jy(21.0, 1.5, channel_width_mhz=1.25, sampling_s=102.4e-6), 3)
    0.875
    """
    n_independent = N_POLARISATIONS * abs(channel_width_mhz) * 1e6 * sampling_s
    return float(system_temperature_k / gain_k_per_jy / np.sqrt(n_independent))


def radiometer_noise(
    shape: tuple[int, int], sigma_jy: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return Gaussian noise around zero, in Jy, shape (time, frequency)."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma_jy)


def bandpass(
    frequency_mhz: NDArray[np.float64], ripple: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the relative gain of each channel, shape (frequency,): roll-off at the edges and ripple.

    Args:
        frequency_mhz: Channel centres.
        ripple: Relative depth of the ripple.
        rng: Chooses the ripple's phases.
    """
    span_mhz = np.ptp(frequency_mhz) * (1 + 1 / len(frequency_mhz))
    position = (frequency_mhz - frequency_mhz.mean()) / span_mhz  # -0.5 to 0.5
    roll_off = 1 / (1 + (np.abs(position) / 0.49) ** 40)
    phases = rng.uniform(0, 2 * np.pi, 3)
    n_waves = np.array([2, 5, 11])[:, None]
    waves = np.cos(2 * np.pi * n_waves * position + phases[:, None]) / n_waves
    return roll_off * (1 + ripple * waves.sum(axis=0) / (1 / n_waves).sum())


def digitise(
    flux_jy: NDArray[np.float32], gain: NDArray[np.float64], sigma_jy: float, n_bits: int
) -> NDArray[Any]:
    """Return what the recorder stores for a flux density around the system's level.

    With 8 bits or more the bandpass stays in the data, as in most recordings; with fewer, each channel
    is levelled first, since otherwise weak channels would fall between two steps.

    Args:
        flux_jy: Noise, pulses and interference, shape (time, frequency), in Jy around zero.
        gain: Bandpass, shape (frequency,).
        sigma_jy: Standard deviation of the noise.
        n_bits: 1, 2, 4, 8, 16 (unsigned integers, saturating) or 32 (floating point, not quantised).

    Returns:
        Counts, shape (time, frequency).
    """
    level = flux_jy / np.float32(sigma_jy)
    if n_bits == 1:
        return (level > 0).astype(np.uint8)
    if n_bits >= 8:
        level *= gain.astype(np.float32)
    if n_bits == 32:
        return level
    levels = 2**n_bits
    mean = QUANTISER_MEAN[n_bits] * (levels - 1)
    counts = np.rint(level / np.float32(QUANTISER_STEP_SIGMA[n_bits]) + np.float32(mean))
    return np.clip(counts, 0, levels - 1).astype(np.uint16 if n_bits == 16 else np.uint8)
