"""One pulse of a stated signal-to-noise ratio, put into spectra whose noise is 1."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import (
    channel_smearing,
    dispersion_delay,
    pulse_profile,
    scattering_time,
)
from physics_twins.pulsar.verb_parameters import WindowParameters


@dataclass(frozen=True)
class Pulse:
    """A dispersed pulse.

    Attributes:
        snr: What a filter matched to its profile in every channel finds over its whole sweep. The
            filter's spectrum is flat, since no search knows how a pulse scintillates.
        dm_pc_cm3: Dispersion measure.
        width_ms: Full width at half maximum, as emitted.
        scattering_ms: Scattering time at 1 GHz.
        smeared: Whether the dispersion within a channel widens it.
        spectrum: Relative strength in each channel, shape (frequency,); None is flat.
    """

    snr: float
    dm_pc_cm3: float
    width_ms: float
    scattering_ms: float = 0.0
    smeared: bool = False
    spectrum: NDArray[np.float64] | None = None


def draw_pulse(parameters: WindowParameters, rng: np.random.Generator, n_channels: int = 256) -> Pulse:
    """Return a random pulse: S/N and width log-uniform, DM uniform."""
    p = parameters
    snr, width_ms = (
        float(np.exp(rng.uniform(np.log(low), np.log(high))))
        for low, high in ((p.snr_min, p.snr_max), (p.width_min_ms, p.width_max_ms))
    )
    dm_pc_cm3 = float(rng.uniform(p.dm_min_pc_cm3, p.dm_max_pc_cm3))
    if p.pulse_kind == "plain":
        return Pulse(snr, dm_pc_cm3, width_ms)
    scattering_ms = float(width_ms * max(0.0, rng.uniform(-1, 1)))
    spectrum = _scintillation(n_channels, rng)
    return Pulse(snr, dm_pc_cm3, width_ms, scattering_ms, smeared=True, spectrum=spectrum)


def paint_pulse(
    spectra: NDArray[np.float32],
    pulse: Pulse,
    arrival: float,
    frequency_mhz: NDArray[np.float64],
    sampling_s: float,
    channel_width_mhz: float,
) -> None:
    """Add a pulse to spectra in place; what lies beyond their end is lost.

    Args:
        spectra: In standard deviations of the noise, shape (time, frequency), highest frequency first.
        pulse: Which.
        arrival: Where its peak without scattering arrives in the highest channel, in samples.
        frequency_mhz: Channel centres, shape (frequency,).
        sampling_s: Time from one spectrum to the next.
        channel_width_mhz: Width of a channel.
    """
    delay_s = dispersion_delay(frequency_mhz, pulse.dm_pc_cm3, reference_mhz=float(frequency_mhz[0]))
    width_s = np.full(len(frequency_mhz), pulse.width_ms * 1e-3)
    if pulse.smeared:
        smear_s = channel_smearing(frequency_mhz, pulse.dm_pc_cm3, channel_width_mhz=channel_width_mhz)
        # Smearing acts as a box; its variance adds to the Gaussian's.
        width_s = np.hypot(width_s, smear_s * np.sqrt(8 * np.log(2) / 12))
    tau_s = scattering_time(frequency_mhz, pulse.scattering_ms * 1e-3)
    before = int(1.8 * width_s.max() / sampling_s) + 1
    after = int((1.8 * width_s.max() + 6 * tau_s.max()) / sampling_s) + 1
    peak = arrival + delay_s / sampling_s  # (frequency,)
    row = np.rint(peak).astype(int) + np.arange(-before, after + 1)[:, None]  # (window, frequency)
    profile = pulse_profile((row - peak) * sampling_s, width_s, tau_s)
    signal = profile if pulse.spectrum is None else profile * pulse.spectrum
    signal = signal * (pulse.snr * np.sqrt(np.sum(profile**2)) / np.sum(profile * signal))
    inside = (row >= 0) & (row < len(spectra))
    column = np.broadcast_to(np.arange(len(frequency_mhz)), row.shape)
    spectra[row[inside], column[inside]] += signal[inside].astype(np.float32)


def _scintillation(n_channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random spectrum: exponential flux in knots as far apart as the scintles are wide."""
    n_knots = max(2, int(n_channels / np.exp(rng.uniform(np.log(4), np.log(n_channels)))))
    knots = rng.exponential(size=n_knots + 1)
    scintles = np.interp(np.linspace(0, n_knots, n_channels), np.arange(n_knots + 1), knots)
    depth = rng.uniform(0, 1)
    return (1 - depth) + depth * scintles
