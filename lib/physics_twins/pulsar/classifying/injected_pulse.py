"""One pulse of a stated signal-to-noise ratio, put into spectra whose noise is 1."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.tracks import pulse_track
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
    part = pulse_track(
        frequency_mhz,
        sampling_s,
        channel_width_mhz=channel_width_mhz if pulse.smeared else 0.0,
        time_s=arrival * sampling_s,
        dm_pc_cm3=pulse.dm_pc_cm3,
        width_ms=pulse.width_ms,
        scattering_ms=pulse.scattering_ms,
    )
    profile = part.values
    signal = profile if pulse.spectrum is None else profile * pulse.spectrum
    signal = signal * (pulse.snr * np.sqrt(np.sum(profile**2)) / np.sum(profile * signal))
    row, channel, values = replace(part, values=signal).within(0, len(spectra))
    spectra[row, channel] += values.astype(np.float32)


def _scintillation(n_channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random spectrum: exponential flux in knots as far apart as the scintles are wide."""
    n_knots = max(2, int(n_channels / np.exp(rng.uniform(np.log(4), np.log(n_channels)))))
    knots = rng.exponential(size=n_knots + 1)
    scintles = np.interp(np.linspace(0, n_knots, n_channels), np.arange(n_knots + 1), knots)
    depth = rng.uniform(0, 1)
    return (1 - depth) + depth * scintles
