"""What moves and flickers around an interferometer, and the channels that record it.

Every source is independent of the others, except that the angular motion has a part of the ground's. A
channel records its source with a floor of its own; a digital one is the source itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo import noise

MAINS_HZ = 50.0
LINE_HZ = 37.0
LASER_WAVELENGTH_UM = 1.064


@dataclass(frozen=True)
class Channel:
    """A source of disturbance as its channel records it.

    Attributes:
        name: Of the channel.
        unit: Of what it records.
        level: Amplitude spectral density of the source at `reference_hz`, in unit/sqrt(Hz).
        reference_hz: Frequency of `level`.
        slope: Power of the frequency that the density follows.
        corner_hz: Below it the density is flat.
        peaks: Frequency, half width in Hz and height over the rest, one for each resonance.
        floor: Amplitude spectral density of what the sensor adds, in unit/sqrt(Hz).
        line_hz: Frequency of a line of root mean square 1 unit instead; 0 for none.
        harmonics: Amplitudes of its harmonics, by number.
        wander_hz: By how much the line wanders.
    """

    name: str
    unit: str
    level: float = 0.0
    reference_hz: float = 10.0
    slope: float = 0.0
    corner_hz: float = 0.1
    peaks: tuple[tuple[float, float, float], ...] = ()
    floor: float = 0.0
    line_hz: float = 0.0
    harmonics: tuple[tuple[int, float], ...] = ((1, 1.0),)
    wander_hz: float = 0.0

    def asd(self, frequency_hz: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the source's amplitude spectral density without lines, in unit/sqrt(Hz)."""
        power = (frequency_hz**2 + self.corner_hz**2) / (self.reference_hz**2 + self.corner_hz**2)
        gain = 1 + sum(h / (1 + ((frequency_hz - f) / w) ** 2) for f, w, h in self.peaks)
        return self.level * power ** (self.slope / 2) * gain

    def source(self, n_samples: int, sample_rate_hz: float, seed: int) -> NDArray[np.floating]:
        """Return what the channel watches, without what its sensor adds, shape (time,)."""
        rng = noise.generator(seed, f"source {self.name}")
        if self.line_hz:
            shape = dict(self.harmonics)
            return noise.line(
                self.line_hz, shape, n_samples, sample_rate_hz, rng, wander_hz=self.wander_hz
            )
        return noise.coloured(self.asd, n_samples, sample_rate_hz, rng)

    def sensor_noise(self, n_samples: int, sample_rate_hz: float, seed: int) -> NDArray[np.floating]:
        """Return what the sensor adds, white, shape (time,)."""
        rng = noise.generator(seed, f"sensor {self.name}")
        return self.floor * np.sqrt(sample_rate_hz / 2) * rng.standard_normal(n_samples)


# Levels are of the order of what is published of sites in Europe; they only set the scale of a channel.
GROUND = Channel(
    "ENV_SEIS_N", "um s-1", 1e-2, 10, -1, 0.05, ((0.25, 0.08, 20), (16, 1.5, 4), (23, 2, 3)), 1e-5
)
ANGLE = Channel("ASC_DIFF_TX", "urad", 1e-4, 10, -1.5, 0.5, ((19, 3, 4), (31, 4, 6)), 2e-7)
LENGTH = Channel("LSC_MICH", "pm", 1e-2, 50, -0.5, 5, ((62, 8, 2),))
MAGNET = Channel("ENV_MAG_N", "nT", 1e-3, 50, -1, 5, ((180, 10, 2),), 2e-6)
MAINS = Channel(
    "ENV_MAINS", "V", line_hz=MAINS_HZ, harmonics=((1, 1.0), (2, 0.05), (3, 0.2)), wander_hz=0.01,
    floor=1e-5,
)  # fmt: skip
LINE = Channel("LSC_LINE", "V", line_hz=LINE_HZ, floor=1e-6)
BEAM = Channel("INJ_BPC_TX", "urad", 1e-4, 100, 0, 5, ((134, 4, 6), (213, 6, 5), (318, 8, 4)), 1e-6)
BENCH = Channel("SIB2_POS_X", "um", 5.0, 0.2, -4, 0.15, ((0.2, 0.05, 2),), 1e-4)
SOUND = Channel("ENV_MIC_CEB", "Pa", 1e-3, 50, -0.5, 5, ((88, 6, 3),), 2e-6)
WIND = Channel("ENV_WIND", "m s-1", 0.3, 0.1, -1, 0.02, (), 1e-2)
TEMPERATURE = Channel("ENV_TEMP", "K")  # its course is that of the couplings' drift
VIBRATION = (  # they witness glitches
    Channel("ENV_ACC_DET", "um s-2", 1e-2, 50, -0.3, 5, (), 1e-4),
    Channel("LSC_PSTAB", "1", 1e-8, 50, -0.3, 5, (), 1e-10),
)
COUPLED = (GROUND, ANGLE, LENGTH, MAGNET, MAINS, LINE, BEAM, BENCH, SOUND)
NAMED = {channel.name: channel for channel in COUPLED}

# A part of the angular motion is the ground's: urad for each um/s.
GROUND_TO_ANGLE = 2e-3


def sources(n_samples: int, sample_rate_hz: float, seed: int) -> dict[str, NDArray[np.floating]]:
    """Return what each coupled channel watches, by its name, each of shape (time,)."""
    found = {c.name: c.source(n_samples, sample_rate_hz, seed) for c in COUPLED}
    found[ANGLE.name] = found[ANGLE.name] + GROUND_TO_ANGLE * found[GROUND.name]
    return found


def idle(number: int) -> Channel:
    """Return a channel that watches something which never reaches the strain."""
    slope, corner_hz = (-1.0, 0.0, -0.5)[number % 3], (0.5, 5.0, 20.0)[number % 3]
    return Channel(f"ENV_IDLE_{number}", "V", 1e-3, 50, slope, corner_hz, (), 1e-5)
