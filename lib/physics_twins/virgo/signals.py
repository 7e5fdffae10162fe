"""Inspirals of compact binaries, by the stationary phase approximation."""

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo.sensitivity import (
    LOWEST_HZ,
    MPC_M,
    SOLAR_MASS_S,
    inspiral_amplitude,
    last_stable_orbit,
)


def chirp_time(mass_1_msun: float, mass_2_msun: float, from_hz: float) -> float:
    """Return how long an inspiral lasts from a frequency on, to leading order, in s.

    >>> round(chirp_time(1.4, 1.4, 20.0), 1)
    157.9
    """
    total_s, ratio = _total_and_ratio(mass_1_msun, mass_2_msun)
    return 5 / (256 * ratio) * total_s * (np.pi * total_s * from_hz) ** (-8 / 3)


def inspiral(
    frequency_hz: NDArray[np.floating], mass_1_msun: float, mass_2_msun: float, *, from_hz: float
) -> NDArray[np.complex128]:
    """Return the Fourier transform of an inspiral at 1 m, in m/Hz; at 1 Mpc divide by `MPC_M`.

    The phase is that of TaylorF2 to 3.5 post-Newtonian orders without spin (Buonanno et al. 2009, Phys.
    Rev. D 80, 084043, equation 3.18), the amplitude Newtonian, the orientation the best one. It ends at
    the last stable orbit; merger and ringdown are left out. The coalescence is at time 0.

    Args:
        frequency_hz: 0 or more, shape (frequency,).
        mass_1_msun: In the detector's frame.
        mass_2_msun: In the detector's frame.
        from_hz: Below it, it fades out within an octave's eighth.
    """
    total_s, ratio = _total_and_ratio(mass_1_msun, mass_2_msun)
    last_hz = last_stable_orbit(mass_1_msun + mass_2_msun)
    inside = (frequency_hz > from_hz * 2 ** (-1 / 8)) & (frequency_hz <= last_hz)
    v = (np.pi * total_s * frequency_hz[inside]) ** (1 / 3)
    phase = 3 / (128 * ratio * v**5) * _phase_series(v, ratio) - np.pi / 4
    fade = np.clip(np.log2(frequency_hz[inside] / from_hz) * 8 + 1, 0, 1)
    fade = np.sin(0.5 * np.pi * fade) ** 2
    found = np.zeros(frequency_hz.shape, np.complex128)
    amplitude = inspiral_amplitude(frequency_hz[inside], mass_1_msun, mass_2_msun)
    found[inside] = fade * amplitude * np.exp(-1j * phase)
    return found


def waveform(
    mass_1_msun: float, mass_2_msun: float, detector: str, sample_rate_hz: float, *, longest_s: float
) -> NDArray[np.floating]:
    """Return an inspiral at 1 Mpc that coalesces in the middle of its window, shape (time,).

    Args:
        mass_1_msun: In the detector's frame.
        mass_2_msun: In the detector's frame.
        detector: It begins a quarter above its `LOWEST_HZ`, or later.
        sample_rate_hz: Of the series.
        longest_s: It lasts no longer.
    """
    masses, from_hz = (mass_1_msun, mass_2_msun), 1.25 * LOWEST_HZ[detector]
    while chirp_time(*masses, from_hz) > longest_s:
        from_hz *= 1.02
    n_window = 2 * round((chirp_time(*masses, 0.9 * from_hz) + 1) * sample_rate_hz)
    spectrum = inspiral(np.fft.rfftfreq(n_window, 1 / sample_rate_hz), *masses, from_hz=from_hz)
    return np.roll(np.fft.irfft(spectrum, n_window), n_window // 2) * sample_rate_hz / MPC_M


def _total_and_ratio(mass_1_msun: float, mass_2_msun: float) -> tuple[float, float]:
    """Return the total mass in s and the symmetric mass ratio."""
    total_msun = mass_1_msun + mass_2_msun
    return SOLAR_MASS_S * total_msun, mass_1_msun * mass_2_msun / total_msun**2


def _phase_series(v: NDArray[np.floating], ratio: float) -> NDArray[np.floating]:
    """Return the post-Newtonian series of the phase in the velocity, 1 to leading order."""
    pi, log_v, last = np.pi, np.log(v), np.log(6**-0.5)
    fourth = 15293365 / 508032 + 27145 / 504 * ratio + 3085 / 72 * ratio**2
    fifth = pi * (38645 / 756 - 65 / 9 * ratio) * (1 + 3 * (log_v - last))
    sixth = 11583231236531 / 4694215680 - 640 / 3 * pi**2 + 76055 / 1728 * ratio**2
    sixth += (-15737765635 / 3048192 + 2255 / 12 * pi**2) * ratio - 127825 / 1296 * ratio**3
    sixth = sixth - 6848 / 21 * (np.euler_gamma + np.log(4) + log_v)
    seventh = pi * (77096675 / 254016 + 378515 / 1512 * ratio - 74045 / 756 * ratio**2)
    low = 1 + (3715 / 756 + 55 / 9 * ratio) * v**2 - 16 * pi * v**3 + fourth * v**4
    return low + fifth * v**5 + sixth * v**6 + seventh * v**7
