"""Sensitivities, range and inspirals against what LALSimulation 6.3 and gwpy 4.1 give."""

import numpy as np
import pytest

from physics_twins.virgo.sensitivity import (
    MPC_M,
    SOURCES,
    inspiral_range,
    noise_asd,
)
from physics_twins.virgo.signals import chirp_time, inspiral

# Amplitude spectral densities of LALSimulation (SimNoisePSDAdVO3LowT1800545, ...AdVO4T1800545,
# ...AdVDesignSensitivityP1200087, ...EinsteinTelescopeP1600143) between the knots of our tables.
BETWEEN_HZ = [11, 30, 71, 123, 251, 823, 1700]
LALSIMULATION = {
    "virgo_o3": [3.505e-21, 7.301e-23, 1.02e-23, 8.905e-24, 1.336e-23, 3.948e-23, 8.071e-23],
    "virgo_o4": [7.475e-22, 1.792e-23, 6.383e-24, 5.39e-24, 4.781e-24, 5.275e-24, 7.83e-24],
    "virgo_design": [7.475e-22, 1.792e-23, 6.383e-24, 5.39e-24, 4.781e-24, 5.275e-24, 7.83e-24],
    "einstein_telescope": [1.169e-24, 9.058e-25, 4.578e-25, 3.668e-25, 3.196e-25, 4.939e-25, 9.308e-25],
}


@pytest.mark.parametrize("detector", SOURCES)
def test_curves_follow_lalsimulation_between_their_knots(detector):
    np.testing.assert_allclose(noise_asd(BETWEEN_HZ, detector), LALSIMULATION[detector], rtol=0.01)


# gwpy.astro.sensemon_range of the same curves, from 10 Hz on; 1 % is what a spline leaves.
@pytest.mark.parametrize(("detector", "range_mpc"), [("virgo_o3", 63.195), ("virgo_o4", 127.979)])
def test_the_range_is_that_of_gwpy(detector, range_mpc):
    frequency_hz = np.arange(10, 2000, 0.0625)
    psd = noise_asd(frequency_hz, detector) ** 2
    assert inspiral_range(frequency_hz, psd) == pytest.approx(range_mpc, rel=0.01)


def test_noise_ten_times_as_strong_sees_a_tenth_as_far():
    frequency_hz = np.arange(10, 2000, 0.5)
    psd = noise_asd(frequency_hz, "virgo_o4") ** 2
    near, far = inspiral_range(frequency_hz, 100 * psd), inspiral_range(frequency_hz, psd)
    assert far == pytest.approx(10 * near)


# SimInspiralTaylorF2 of masses 1.6 and 1.3 at 1 Mpc, steps of 1/64 Hz: angle and modulus.
TAYLOR_F2 = {
    30: (1.0553, 1.78285e-21),
    50: (-2.2968, 9.82406e-22),
    80: (-1.4048, 5.67742e-22),
    120: (-0.4932, 3.53762e-22),
    200: (-0.6362, 1.94934e-22),
    400: (-0.8347, 8.68333e-23),
    800: (1.0195, 3.86798e-23),
}


def test_phase_and_amplitude_of_an_inspiral_are_those_of_lalsimulation():
    frequency_hz = np.array(list(TAYLOR_F2), dtype=float)
    angle, modulus = np.array(list(TAYLOR_F2.values())).T
    ours = inspiral(frequency_hz, 1.6, 1.3, from_hz=20.0) / MPC_M
    np.testing.assert_allclose(np.abs(ours), modulus, rtol=2e-5)  # of the constants
    turn = np.angle(ours * np.exp(-1j * angle))  # LALSimulation's phase of coalescence is another
    difference = np.angle(np.exp(1j * (turn - turn[0])))
    np.testing.assert_allclose(difference, 0, atol=0.01)  # of 3,400 radians; again of the constants


def test_an_inspiral_ends_at_time_zero_and_is_as_long_as_its_chirp_time():
    rate_hz, n_samples = 1024, 64 * 1024
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / rate_hz)
    strain = np.fft.irfft(inspiral(frequency_hz, 5.0, 5.0, from_hz=20.0))
    power = np.roll(strain, n_samples // 2) ** 2
    time_s = (np.arange(n_samples) - n_samples // 2) / rate_hz
    longest_s = chirp_time(5.0, 5.0, 20.0 * 2 ** (-1 / 8))
    inside = (time_s > -1.1 * longest_s) & (time_s < 0.05)
    assert power[inside].sum() > 0.999 * power.sum()
