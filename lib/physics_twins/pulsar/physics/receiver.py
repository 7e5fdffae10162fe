"""The receiving system: radiometer noise, bandpass, drifts, digitiser, and how stable it is."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import ReceiverParameters

# Step of a uniform quantiser, in standard deviations of the noise. 1 bit: only the sign is kept, so any
# step will do. 2 and 4 bits: the least distortion of Gaussian noise (J. Max 1960, IRE Trans. Inf.
# Theory 6, 7). 8 and 16 bits: as recorders set it, with headroom for bright pulses and interference.
STEP_SIGMA = {1: 1.0, 2: 0.9957, 4: 0.3352, 8: 1 / 16, 16: 1 / 256, 32: 1.0}
# Where the mean of the noise lies in the quantiser's range: below the middle, because signals only add.
MEAN = {1: 0.5, 2: 0.5, 4: 0.45, 8: 0.375, 16: 0.25, 32: 0.0}


def highest_count(n_bits: int) -> float:
    """Return the count at which the digitiser saturates; infinity where it stores floating point.

    >>> highest_count(2), highest_count(8), highest_count(32)
    (3.0, 255.0, inf)
    """
    return np.inf if n_bits == 32 else float(2**n_bits - 1)


def mean_count(n_bits: int) -> float:
    """Return the count that the mean of the noise is given.

    >>> mean_count(1), mean_count(8), mean_count(32)
    (0.5, 95.625, 0.0)
    """
    return 0.0 if n_bits == 32 else MEAN[n_bits] * highest_count(n_bits)


def sample_type(n_bits: int) -> type[np.generic]:
    """Return the type of array that holds the counts."""
    return {16: np.uint16, 32: np.float32}.get(n_bits, np.uint8)


def keeps_bandpass(n_bits: int) -> bool:
    """Return whether the bandpass stays in the data.

    With 8 bits or more it does, as in most recordings; with fewer, each channel is levelled first,
    since otherwise weak channels would fall between two steps.
    """
    return n_bits >= 8


N_POLARISATIONS = 2
NOTCH_GAIN = 0.03  # what a filter against a known transmitter lets through
NOTCH_FRACTION = 0.02  # of the band, for one filter
ATMOSPHERE_K = 275.0  # effective temperature of the air, as it radiates
# Timescales between which the baseline's power falls as 1/frequency.
BASELINE_S = (0.01, 100.0)


@dataclass(frozen=True, eq=False)
class Receiver:
    """What the receiving system and the digitiser do to each channel, in counts.

    A count is `level + gain * (power + noise + counts_per_jy * signal) - power + baseline`, rounded
    and cut to what `n_bits` hold. `noise` is Gaussian, with standard deviation `sigma`. The gain drifts
    around 1, the baseline around 0, both the same in all channels.

    Attributes:
        level: Mean of the noise, shape (channel,).
        sigma: Standard deviation of the noise, shape (channel,).
        counts_per_jy: Counts for a flux density of 1 Jy, shape (channel,).
        power: Counts that the system's own noise is worth, on which the gain acts, shape (channel,).
        baseline: Standard deviation of the 1/f baseline, shape (channel,).
        correlation: Of the noise with that in the channel before, at most 0.5, shape (channel,).
        gain_drift: Standard deviation of the gain.
        gain_drift_s: Time over which the gain drifts.
        baseline_s: Shortest and longest timescale of the baseline.
        sampling_s: Time from one spectrum to the next.
        n_bits: 1, 2, 4, 8, 16, or 32 for floating point.
    """

    level: NDArray[np.float32]
    sigma: NDArray[np.float32]
    counts_per_jy: NDArray[np.float32]
    power: NDArray[np.float32]
    baseline: NDArray[np.float32]
    correlation: NDArray[np.float32]
    gain_drift: float
    gain_drift_s: float
    baseline_s: tuple[float, float]
    sampling_s: float
    n_bits: int

    @property
    def n_channels(self) -> int:
        """Channels in a spectrum."""
        return len(self.level)


def receiver_of(parameters: ReceiverParameters, gain: NDArray[np.float64], sigma_jy: float) -> Receiver:
    """Return the receiver that parameters describe.

    Args:
        parameters: Temperatures, drifts, bits.
        gain: Bandpass, from `bandpass`, shape (channel,).
        sigma_jy: Standard deviation of the noise in one sample, from `sample_noise_jy`.
    """
    n_bits = parameters.n_bits
    kept = gain if keeps_bandpass(n_bits) else np.ones_like(gain)
    sigma = (kept / STEP_SIGMA[n_bits]).astype(np.float32)
    per_jy = sigma / np.float32(sigma_jy)
    return Receiver(
        level=np.full_like(sigma, mean_count(n_bits)),
        sigma=sigma,
        counts_per_jy=per_jy,
        power=per_jy * np.float32(system_jy(parameters)),
        baseline=per_jy * np.float32(parameters.baseline_jy),
        correlation=np.full_like(sigma, parameters.channel_correlation),
        gain_drift=parameters.gain_drift,
        gain_drift_s=parameters.gain_drift_s,
        baseline_s=BASELINE_S,
        sampling_s=parameters.sampling_time_us * 1e-6,
        n_bits=n_bits,
    )


def transmission(parameters: ReceiverParameters) -> float:
    """Return what part of a source's power the atmosphere lets through, in plane layers.

    >>> round(transmission(ReceiverParameters(zenith_opacity=0.1, elevation_deg=30.0)), 4)
    0.8187
    """
    return float(np.exp(-parameters.zenith_opacity / np.sin(np.radians(parameters.elevation_deg))))


def system_jy(parameters: ReceiverParameters) -> float:
    """Return the flux density that is worth all noise: of receiver, atmosphere and steady sources.

    The atmosphere radiates what it absorbs at its own temperature, and dims the sources (Wilson, Rohlfs
    & Huettemeister, Tools of Radio Astronomy, section 8.2).

    >>> system_jy(ReceiverParameters(system_temperature_k=21.0, gain_k_per_jy=1.5, background_jy=800.0))
    814.0
    """
    through = transmission(parameters)
    temperature_k = parameters.system_temperature_k + ATMOSPHERE_K * (1 - through)
    return temperature_k / parameters.gain_k_per_jy + parameters.background_jy * through


def sample_noise_jy(parameters: ReceiverParameters) -> float:
    """Return the standard deviation of the noise in one sample of one channel, in Jy."""
    return noise_sigma_jy(
        system_jy(parameters),
        channel_width_mhz=parameters.bandwidth_mhz / parameters.n_channels,
        sampling_s=1e-6 * parameters.sampling_time_us,
    )


def noise_sigma_jy(system_jy: float, *, channel_width_mhz: float, sampling_s: float) -> float:
    """Return the standard deviation of the noise in one sample, in Jy.

    Radiometer equation, Lorimer & Kramer, equation A1.21: what the system is worth (temperature over
    gain), over sqrt(n_pol * bandwidth * time).

    >>> round(noise_sigma_jy(14.0, channel_width_mhz=1.25, sampling_s=102.4e-6), 3)
    0.875
    """
    n_independent = N_POLARISATIONS * abs(channel_width_mhz) * 1e6 * sampling_s
    return float(system_jy / np.sqrt(n_independent))


def bandpass(
    frequency_mhz: NDArray[np.float64], ripple: float, rng: np.random.Generator, *, n_notches: int = 0
) -> NDArray[np.float64]:
    """Return the relative gain of each channel, shape (frequency,): roll-off at the edges and ripple.

    Args:
        frequency_mhz: Channel centres.
        ripple: Relative depth of the ripple.
        rng: Chooses the ripple's phases and the notches' places.
        n_notches: Filters that take out a fiftieth of the band each.
    """
    span_mhz = np.ptp(frequency_mhz) * (1 + 1 / len(frequency_mhz))
    position = (frequency_mhz - frequency_mhz.mean()) / span_mhz  # -0.5 to 0.5
    roll_off = 1 / (1 + (np.abs(position) / 0.49) ** 40)
    phases = rng.uniform(0, 2 * np.pi, 3)
    n_waves = np.array([2, 5, 11])[:, None]
    waves = np.cos(2 * np.pi * n_waves * position + phases[:, None]) / n_waves
    gain = roll_off * (1 + ripple * waves.sum(axis=0) / (1 / n_waves).sum())
    for centre in rng.uniform(-0.5, 0.5, n_notches):
        depth = 1 / (1 + (np.abs(position - centre) / (NOTCH_FRACTION / 2)) ** 8)
        gain *= 1 - (1 - NOTCH_GAIN) * depth
    return gain


def integrated_noise(observation: xr.Dataset) -> xr.DataArray:
    """Return the noise of the whole band after averaging, over that of the radiometer equation.

    White noise stays at 1. Drifts of gain and baseline do not average out: the curve leaves 1 where
    they take over, and longer averaging helps no more.

    Args:
        observation: From `simulate`; of it the receiver alone is used: `noise`, `gain`, `baseline`.

    Returns:
        Ratio of standard deviations, shape (doublings,), for averages over 1, 2, 4, ... spectra,
        down to 16 averages.
    """
    attributes = observation.attrs
    system_jy = attributes["system_jy"]
    gain = observation["gain"].values.astype(np.float64)
    series = gain * (observation["noise"].values.mean(axis=1, dtype=np.float64) + system_jy)
    series = series - system_jy + observation["baseline"].values
    limit_jy = attributes["noise_sigma_jy"] / np.sqrt(observation.sizes["frequency"])
    ratios = []
    while len(series) >= 16:
        ratios.append(series.std() / limit_jy * 2 ** (len(ratios) / 2))
        series = series[: len(series) // 2 * 2].reshape(-1, 2).mean(axis=1)
    doublings = {"long_name": "doublings_of_the_integration_time", "units": "1"}
    return xr.DataArray(
        ratios,
        coords={"doublings": ("doublings", np.arange(len(ratios)), doublings)},
        dims="doublings",
        attrs={"long_name": "noise_over_the_radiometer_equation", "units": "1"},
    )
