"""How sensitive a detector is: its noise without what witnesses explain, and how far it sees.

Curves are tabulated from those that the collaborations publish for simulations; a cubic spline through
the logarithms follows them within 3 % from 10 Hz to 4 kHz, except at their narrow thermal lines (of the
suspensions, 438 Hz for Virgo), which are left out. The O4 curve of 2018 is that of the design within
0.1 %, except near 17 Hz, where the design has a bump.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

FREQUENCIES_HZ = (
    2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 60, 80, 100, 150, 200, 300,
    500, 1000, 2000, 4000,
)  # fmt: skip
# Amplitude spectral densities at these frequencies, in 1e-24 / sqrt(Hz).
ASD_1E24 = {
    "virgo_o3": (
        124150, 83361, 55973, 37583, 25235, 16944, 11377, 5129.1, 2477.7, 1022.1, 501.93, 330.25,
        228.53, 140.97, 93.145, 58.573, 40.079, 29.412, 21.642, 17.092, 12.42, 9.3439, 8.725,
        9.5717, 11.308, 15.454, 24.468, 47.777, 94.849, 189.2,
    ),
    "virgo_o4": (
        28600, 19034, 12667, 8430.3, 5610.5, 3733.8, 2484.9, 1100.6, 527.06, 222.13, 109.92,
        73.11, 50.307, 31.706, 21.913, 15.135, 11.718, 9.8513, 8.5386, 7.7671, 6.9048, 6.0997,
        5.6853, 5.1643, 4.9163, 4.7123, 4.7422, 5.6999, 8.8604, 16.315,
    ),
    "virgo_design": (
        28623, 19047, 12675, 8434.5, 5612.7, 3735, 2485.4, 1100.6, 527.06, 223.86, 124.67, 73.109,
        50.307, 31.706, 21.912, 15.135, 11.718, 9.8513, 8.5386, 7.7671, 6.9048, 6.0997, 5.6853,
        5.1643, 4.9163, 4.7123, 4.7422, 5.6999, 8.8604, 16.315,
    ),
    "einstein_telescope": (
        26.683, 13.636, 6.9685, 3.5611, 1.9711, 1.3497, 1.1845, 1.1596, 1.1722, 1.1435, 1.0189,
        0.93989, 0.87004, 0.82412, 0.86689, 0.92483, 0.87904, 0.78233, 0.6747, 0.59864, 0.50953,
        0.43112, 0.39331, 0.34698, 0.32706, 0.32005, 0.3636, 0.57709, 1.0875, 2.1514,
    ),
}  # fmt: skip
SOURCES = {
    "virgo_o3": "LIGO-T1800545, Advanced Virgo O3 low",
    "virgo_o4": "LIGO-T1800545, Advanced Virgo O4",
    "virgo_design": "LIGO-P1200087, Advanced Virgo design",
    "einstein_telescope": "LIGO-P1600143, Einstein Telescope D",
}
# Below it the strain is filtered away, as in what a detector publishes.
LOWEST_HZ = {"virgo_o3": 8.0, "virgo_o4": 8.0, "virgo_design": 8.0, "einstein_telescope": 3.0}

SPEED_OF_LIGHT_M_S = 299_792_458.0
SOLAR_MASS_S = 4.925_490_947e-6  # G M / c^3, IAU 2015 nominal
MPC_M = 3.085_677_581e22
ORIENTATION = 2.2648  # horizon over range, averaged over sky and orientation (Finn & Chernoff 1993)


def noise_asd(frequency_hz: ArrayLike, detector: str) -> NDArray[np.floating]:
    """Return the amplitude spectral density of a detector's noise, one-sided, in 1/sqrt(Hz).

    Args:
        frequency_hz: 0 or more, any shape; above 4 kHz the curve goes on with its slope.
        detector: A key of `SOURCES`. Below its `LOWEST_HZ` the noise falls with the fourth power.

    >>> f"{noise_asd(100.0, 'virgo_o4'):.4g}"
    '5.685e-24'
    """
    frequency_hz, lowest_hz = np.asarray(frequency_hz, dtype=float), LOWEST_HZ[detector]
    table = CubicSpline(np.log(FREQUENCIES_HZ), np.log(ASD_1E24[detector]), bc_type="natural")
    inside = np.clip(frequency_hz, lowest_hz, FREQUENCIES_HZ[-1])
    slope = float(table(np.log(FREQUENCIES_HZ[-1]), 1))
    above = (np.maximum(frequency_hz, inside) / inside) ** slope
    below = (np.minimum(frequency_hz, lowest_hz) / lowest_hz) ** 4
    return 1e-24 * np.exp(table(np.log(inside))) * above * below


def inspiral_range(
    frequency_hz: ArrayLike, psd: ArrayLike, *, mass_1_msun: float = 1.4, mass_2_msun: float = 1.4
) -> float:
    """Return to which distance a binary is seen with S/N 8, averaged over the sky, in Mpc.

    Args:
        frequency_hz: Evenly spaced, shape (frequency,); the integral is over these, up to the last
            stable orbit. Cosmology is left out.
        psd: One-sided power spectral density in 1/Hz, shape (frequency,).
        mass_1_msun: In solar masses.
        mass_2_msun: In solar masses.
    """
    frequency_hz, psd = np.asarray(frequency_hz, dtype=float), np.asarray(psd, dtype=float)
    used = (frequency_hz > 0) & (frequency_hz <= last_stable_orbit(mass_1_msun + mass_2_msun))
    strain_m = inspiral_amplitude(frequency_hz[used], mass_1_msun, mass_2_msun)
    snr_m = np.sqrt(4 * np.trapezoid(strain_m**2 / psd[used], frequency_hz[used]))
    return float(snr_m / 8 / ORIENTATION / MPC_M)


def inspiral_amplitude(
    frequency_hz: NDArray[np.floating], mass_1_msun: float, mass_2_msun: float
) -> NDArray[np.floating]:
    """Return the Fourier amplitude of the best oriented inspiral times its distance, in m/Hz."""
    chirp_s = SOLAR_MASS_S * chirp_mass(mass_1_msun, mass_2_msun)
    level = np.sqrt(5 / 24) * np.pi ** (-2 / 3) * chirp_s ** (5 / 6) * SPEED_OF_LIGHT_M_S
    return level * frequency_hz ** (-7 / 6)


def chirp_mass(mass_1_msun: float, mass_2_msun: float) -> float:
    """Return the chirp mass in the unit of the masses.

    >>> round(chirp_mass(1.4, 1.4), 4)
    1.2188
    """
    return (mass_1_msun * mass_2_msun) ** 0.6 / (mass_1_msun + mass_2_msun) ** 0.2


def last_stable_orbit(total_mass_msun: float) -> float:
    """Return the frequency of gravitational waves at the last stable orbit of a test mass, in Hz.

    >>> round(last_stable_orbit(2.8))
    1570
    """
    return 1 / (6**1.5 * np.pi * SOLAR_MASS_S * total_mass_msun)
