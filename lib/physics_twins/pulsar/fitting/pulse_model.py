"""One pulse as a model to be fitted: its samples, and their slopes with each parameter.

A pulse is a Gaussian that dispersion delays and smears in each channel and that scattering gives an
exponential tail. Each sample receives the difference of the pulse's cumulative between its two ends, as
in `ism.smeared_cumulative`. Times are in ms here, so that all numbers of a fit are of similar size.
"""

import math
from dataclasses import dataclass
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import (
    MIN_TAIL_SIGMA,
    SIGMA_PER_FWHM,
    Band,
    channel_smearing,
    dispersion_delay,
    scattering_time,
)

# Columns of the normal equations: the fluence, which is linear, and what gives the pulse its shape.
FLUENCE, TIME, DM, SQUARED_WIDTH, SCATTERING = range(5)
N_COLUMNS = 5
THIN_SCREEN = 4.0
# Further out than this, in standard deviations and in scattering times, is less than 1e-8 of a pulse.
EDGE_SIGMA, EDGE_TAILS = 6.0, 18.0
# Smearing is a box. Where its variance is below this part of the rest, a Gaussian of that variance
# gives the same pulse to better than 1e-3 of its height.
BOX_ABOVE = 0.1
# A Gaussian narrower than this part of a sample cannot be told from one that has no width.
MIN_SIGMA_SAMPLES = 0.02


@dataclass(frozen=True)
class ChannelLaws:
    """How each channel sees a pulse, shape (channel,).

    Attributes:
        delay_ms: Delay after the highest channel, for a DM of 1 pc cm-3.
        smearing_ms: Delay across the channel, for a DM of 1 pc cm-3.
        scattering: Scattering time over that at 1 GHz.
        flux: Fluence over that in the middle of the band.
        sampling_ms: Time from one spectrum to the next.
    """

    delay_ms: NDArray[np.float64]
    smearing_ms: NDArray[np.float64]
    scattering: NDArray[np.float64]
    flux: NDArray[np.float64]
    sampling_ms: float

    @classmethod
    def of(cls, band: Band, parameters: ObservationParameters | None = None) -> Self:
        """Return the laws for a receiver of two channels or more.

        Args:
            band: The receiver.
            parameters: Say with which powers of the frequency the scattering time falls, and the
                fluence goes; by default as behind a thin screen, and not at all.
        """
        scattering = parameters.scattering_index if parameters else THIN_SCREEN
        spectrum = parameters.spectral_index if parameters else 0.0
        frequency_mhz = band.frequency_mhz
        highest_mhz = float(frequency_mhz[0])
        channel_width_mhz = (highest_mhz - float(frequency_mhz[-1])) / (len(frequency_mhz) - 1)
        smearing_s = channel_smearing(frequency_mhz, 1.0, channel_width_mhz=channel_width_mhz)
        return cls(
            1e3 * dispersion_delay(frequency_mhz, 1.0, reference_mhz=highest_mhz),
            1e3 * smearing_s,
            scattering_time(frequency_mhz, 1.0, scattering),
            (frequency_mhz / np.sqrt(highest_mhz * frequency_mhz[-1])) ** spectrum,
            1e3 * band.sampling_s,
        )

    @property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """The four laws, for functions that numba compiles."""
        return self.delay_ms, self.smearing_ms, self.scattering, self.flux


def squared_sigma(width_ms: float) -> float:
    """Return the variance, in ms^2, of a Gaussian of a full width at half maximum."""
    return (width_ms * SIGMA_PER_FWHM) ** 2


def samples(
    laws: ChannelLaws, shape: NDArray[np.float64], delays: NDArray[np.int32], n_samples: int
) -> NDArray[np.float64]:
    """Return what a pulse of unit fluence leaves in each sample, shape (channel, sample).

    Args:
        laws: The channels.
        shape: Arrival time after the first sample of the highest channel (ms), DM (pc cm-3), variance
            of the Gaussian (ms^2), scattering time at 1 GHz (ms).
        delays: First sample of each channel, after the first of the highest, shape (channel,).
        n_samples: Samples in each channel.
    """
    out = np.empty((len(delays), n_samples))
    _samples(laws.arrays, laws.sampling_ms, np.asarray(shape, dtype=float), delays, out)
    return out


def normal_equations(
    laws: ChannelLaws,
    shapes: NDArray[np.float64],
    delays: NDArray[np.int32],
    values: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the products of a unit pulse and its slopes with each other and with the data.

    Args:
        laws: The channels.
        shapes: One row per pulse, as `shape` of `samples`, shape (pulse, 4).
        delays: As in `samples`.
        values: Data in standard deviations of the noise, 0 where there is none,
            shape (pulse, channel, sample).

    Returns:
        Products of columns, shape (pulse, 5, 5), and with the data, (pulse, 5). The first column is
        the pulse itself, the others its slopes with the four numbers of its shape.
    """
    products = np.zeros((len(values), N_COLUMNS, N_COLUMNS))
    projections = np.zeros((len(values), N_COLUMNS))
    _accumulate(laws.arrays, laws.sampling_ms, shapes, delays, values, products, projections)
    return products, projections


@numba.njit(cache=True, nogil=True)
def _tailed(x, variance, tau):  # pragma: no cover
    """Return a tailed Gaussian at x: its cumulative, density, and slopes with x and with tau.

    The slope of the cumulative with the variance is half that of the density with x; that with tau is
    minus the density convolved with the tail once more (from the characteristic function).
    """
    sigma = math.sqrt(variance)
    u = x / sigma
    if u < -EDGE_SIGMA:
        return 0.0, 0.0, 0.0, 0.0
    if u > EDGE_SIGMA and x > EDGE_SIGMA * sigma + EDGE_TAILS * tau:
        return 1.0, 0.0, 0.0, 0.0
    gauss = math.exp(-0.5 * u * u) / (sigma * 2.5066282746310002)
    cumulative = 0.5 * math.erfc(-0.7071067811865476 * u)
    if tau < MIN_TAIL_SIGMA * sigma:
        slope = -u / sigma * gauss
        bend = (u * u - 1) / variance * gauss
        twice = gauss - 2 * tau * slope
        cumulative -= tau * (gauss - tau * slope)
        return cumulative, gauss - tau * slope, slope - tau * bend, twice
    z = 0.7071067811865476 * (sigma / tau - u)
    if z > 10:  # asymptotic series of exp(z^2) erfc(z), to 3e-9
        y = 0.5 / (z * z)
        scaled = (1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y)))) / (z * 1.7724538509055159)
        density = math.exp(-0.5 * u * u) * scaled / (2 * tau)
    else:
        ratio = sigma / tau
        density = math.exp(ratio * (0.5 * ratio - u)) * math.erfc(z) / (2 * tau)
    slope = (gauss - density) / tau
    twice = ((x - variance / tau) * density + variance * gauss / tau) / tau
    return cumulative - tau * density, density, slope, twice


@numba.njit(cache=True, nogil=True)
def _integral(x, variance, tau):  # pragma: no cover
    """Return integrals: of the cumulative, the density, its slope, and the twice tailed density."""
    cumulative, density, slope, twice = _tailed(x, variance, tau)
    gauss = density + tau * slope  # what the tail was made of
    integral = x * (cumulative + tau * density) + variance * gauss - tau * cumulative
    return integral, cumulative, density, cumulative - tau * twice


@numba.njit(cache=True, nogil=True)
def _smeared(x, variance, tau, smearing):  # pragma: no cover
    """Return what `_tailed` does after smearing over a time, and the slope with that time."""
    added = smearing * smearing / 12
    if added < BOX_ABOVE * (variance + tau * tau):
        cumulative, density, slope, twice = _tailed(x, variance + added, tau)
        return cumulative, density, slope, twice, slope * smearing / 12
    i1, f1, d1, h1 = _integral(x + smearing / 2, variance, tau)
    i0, f0, d0, h0 = _integral(x - smearing / 2, variance, tau)
    cumulative = (i1 - i0) / smearing
    with_smearing = ((f1 + f0) / 2 - cumulative) / smearing
    density, slope, twice = (f1 - f0) / smearing, (d1 - d0) / smearing, (h1 - h0) / smearing
    return cumulative, density, slope, twice, with_smearing


@numba.njit(cache=True, nogil=True)
def _samples(laws, dt, shape, delays, out):  # pragma: no cover
    delay_ms, smearing, scattering, spectrum = laws
    time, dm, squared, tau = shape
    floor = (MIN_SIGMA_SAMPLES * dt) ** 2
    for c in range(len(delays)):
        variance, smear = squared + floor, smearing[c] * dm
        tail = tau * scattering[c]
        flux = spectrum[c]
        start = (delays[c] - 0.5) * dt - time - delay_ms[c] * dm
        before = _smeared(start, variance, tail, smear)[0]
        for k in range(out.shape[1]):
            after = _smeared(start + (k + 1) * dt, variance, tail, smear)[0]
            out[c, k] = flux * (after - before)
            before = after


@numba.njit(cache=True, nogil=True, fastmath=True)
def _accumulate(laws, dt, shapes, delays, values, products, projections):  # pragma: no cover
    delay_ms, smearing, scattering, spectrum = laws
    n_pulses, n_channels, n_samples = values.shape
    floor = (MIN_SIGMA_SAMPLES * dt) ** 2
    row = np.empty(N_COLUMNS)
    for p in range(n_pulses):
        time, dm, squared, tau = shapes[p]
        for c in range(n_channels):
            variance, smear = squared + floor, smearing[c] * dm
            tail = tau * scattering[c]
            flux = spectrum[c]
            start = (delays[c] - 0.5) * dt - time - delay_ms[c] * dm
            f0, f1, f2, f3, f4 = _smeared(start, variance, tail, smear)
            for k in range(n_samples):
                g0, g1, g2, g3, g4 = _smeared(start + (k + 1) * dt, variance, tail, smear)
                value = values[p, c, k]
                if value != 0 and g0 > 0 and f0 < 1:
                    d1, d2 = flux * (g1 - f1), flux * (g2 - f2)
                    row[0] = flux * (g0 - f0)
                    row[1] = -d1
                    row[2] = -d1 * delay_ms[c] + flux * (g4 - f4) * smearing[c]
                    row[3] = 0.5 * d2
                    row[4] = -flux * (g3 - f3) * scattering[c]
                    for i in range(N_COLUMNS):
                        projections[p, i] += row[i] * value
                        for j in range(i, N_COLUMNS):
                            products[p, i, j] += row[i] * row[j]
                f0, f1, f2, f3, f4 = g0, g1, g2, g3, g4
        for i in range(N_COLUMNS):
            for j in range(i):
                products[p, i, j] = products[p, j, i]
