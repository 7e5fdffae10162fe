"""Diffractive scintillation: a pulsar brightens and fades in frequency and time.

Light reaches us on many ways through a thin screen, each a little longer than the straight one and
changing while the screen drifts by. Their sum has an intensity with an exponential distribution. Ways
whose delay has an exponential distribution give it a Lorentzian autocorrelation in frequency, ways
whose Doppler rates are normal a Gaussian one in time (Cordes & Rickett 1998, ApJ 507, 846).
"""

import numpy as np
from numpy.typing import NDArray

N_WAYS = 128
SEED_KEY = 2


class Screen:
    """A thin screen between the pulsar and us.

    Args:
        frequency_mhz: Channel centres, shape (channel,).
        bandwidth_mhz: Half width at half maximum of the autocorrelation in frequency, at the mean
            frequency; it grows as frequency to `index`.
        timescale_s: Time at which the autocorrelation falls to 1/e.
        index: 4 for a thin screen, 4.4 for Kolmogorov turbulence.
        seed: Of the ways.
    """

    def __init__(
        self,
        frequency_mhz: NDArray[np.float64],
        bandwidth_mhz: float,
        timescale_s: float,
        *,
        index: float,
        seed: int,
    ) -> None:
        rng = np.random.default_rng([seed, SEED_KEY])
        self._turn = rng.uniform(0, 2 * np.pi, N_WAYS)
        self._rate = rng.normal(0, 1 / timescale_s, N_WAYS)  # rad / s
        delay = rng.exponential(1 / bandwidth_mhz, N_WAYS)  # rad / MHz
        middle_mhz = frequency_mhz.mean()
        # The delay falls as frequency^-index: its integral over frequency is the phase.
        ratio = frequency_mhz / middle_mhz
        stretched_mhz = middle_mhz * (ratio ** (1 - index) - 1) / (1 - index)
        self._ways = np.exp(1j * np.outer(delay, stretched_mhz)).astype(np.complex64)  # (way, channel)

    def intensity(self, time_s: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return how much brighter than on average the pulsar is, shape (time, channel)."""
        phase = np.exp(1j * (np.outer(time_s, self._rate) + self._turn)).astype(np.complex64)
        field = phase @ self._ways / np.float32(np.sqrt(N_WAYS))
        return (field.real**2 + field.imag**2).astype(np.float32)
