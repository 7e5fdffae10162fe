"""One pulse as a model to be fitted, its samples and their slopes, and windows that it is fitted to.

A pulse is a Gaussian that dispersion delays and smears in each channel and that scattering gives an
exponential tail. Each sample receives the difference of the pulse's cumulative between its two ends, as
in `ism.smeared_cumulative`. Times are in ms here, so that all numbers of a fit are of similar size.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

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


# A window reaches so many lengths of the search's boxcar before and behind the pulse; scattering's tail
# lies behind it.
LENGTHS_BEFORE, LENGTHS_BEHIND = 2.0, 4.0
# By how much the DM that a window is cut with may be wrong.
DM_MARGIN_PC_CM3 = 1.5
# A channel's level is the mean of so long a part around its window; of fewer spectra it is not known.
LEVEL_S = 0.5
MIN_LEVEL_SPECTRA = 100
CLIP_SIGMA = 3.0
CLIPPED_STD = 0.98658  # of a Gaussian cut there, in its standard deviations


@dataclass(frozen=True)
class PulseWindows:
    """Cleaned samples around pulses, each channel later by the delay of one DM.

    Attributes:
        values: In standard deviations of the noise, 0 where removed, shape (pulse, channel, sample).
        delays: First sample of each channel, after the first of the highest, shape (channel,).
        start_s: Time of the first sample of the highest channel, shape (pulse,).
        band: The receiver.
        laws: How each of its channels sees a pulse.
    """

    values: NDArray[np.float32]
    delays: NDArray[np.int32]
    start_s: NDArray[np.float64]
    band: Band
    laws: ChannelLaws

    def __len__(self) -> int:
        return len(self.values)

    def chosen(self, which: ArrayLike) -> "PulseWindows":
        """Return some of the windows."""
        which = np.asarray(which)
        return replace(self, values=self.values[which], start_s=self.start_s[which])

    @classmethod
    def joined(cls, parts: list[Self]) -> "PulseWindows":
        """Return windows that were cut in the same way as one set."""
        values = np.concatenate([part.values for part in parts])
        start_s = np.concatenate([part.start_s for part in parts])
        return replace(parts[0], values=values, start_s=start_s)


def cut(
    data: NDArray[np.float32],
    band: Band,
    dm_pc_cm3: float,
    time_s: ArrayLike,
    boxcar_s: float,
    *,
    start_s: float = 0.0,
    laws: ChannelLaws | None = None,
) -> PulseWindows:
    """Cut windows around pulses.

    Args:
        data: Cleaned spectra as `cleaning.clean` returns them, shape (channel, time).
        band: The receiver.
        dm_pc_cm3: Dispersion measure of the track.
        time_s: Arrivals at the highest channel, shape (pulse,).
        boxcar_s: About the length of the pulses, tail included.
        start_s: Time of the first spectrum of `data`.
        laws: How each channel sees a pulse; by default with scattering of a thin screen.
    """
    times = (np.atleast_1d(np.asarray(time_s, dtype=float)) - start_s) / band.sampling_s
    margin = DM_MARGIN_PC_CM3 * band.delay_s_per_dm / 2
    before = int(np.ceil((LENGTHS_BEFORE * boxcar_s + margin) / band.sampling_s))
    behind = int(np.ceil((LENGTHS_BEHIND * boxcar_s + margin) / band.sampling_s))
    first = np.rint(times).astype(np.int64) - before
    delays = band.whole_delays(dm_pc_cm3)
    time = first[:, None, None] + delays[:, None] + np.arange(before + behind + 1)
    inside = (time >= 0) & (time < data.shape[1])
    channel = np.arange(len(delays))[:, None]
    values = np.where(inside, data[channel, time.clip(0, data.shape[1] - 1)], np.float32(0))
    half = round(LEVEL_S / 2 / band.sampling_s)
    _take_level_away(data, first, delays, half, values)
    starts_s = start_s + first.astype(np.float64) * band.sampling_s
    return PulseWindows(values, delays, starts_s, band, laws or ChannelLaws.of(band))


def _take_level_away(
    data: NDArray[np.float32],
    first: NDArray[np.int64],
    delays: NDArray[np.int32],
    half: int,
    values: NDArray[np.float32],
) -> None:
    """Subtract from each channel of a window the mean of what is beside all windows.

    The cleaning's running mean counts the pulses in: it leaves the level beside them below zero.
    """
    n_time, n_samples = data.shape[1], values.shape[2]
    for c, delay in enumerate(delays):
        starts, used = first + delay, data[c] != 0
        for start in starts:
            used[max(0, start) : max(0, start + n_samples)] = False
        total = np.cumsum(np.pad(np.where(used, data[c], 0), (1, 0)), dtype=float)
        count = np.cumsum(np.pad(used, (1, 0)))
        low, high = (starts - half).clip(0, n_time), (starts + n_samples + half).clip(0, n_time)
        n = count[high] - count[low]
        level = np.where(n < MIN_LEVEL_SPECTRA, 0, (total[high] - total[low]) / np.maximum(n, 1))
        values[:, c] -= np.where(values[:, c] != 0, level[:, None], 0)


def off_pulse_noise(
    data: NDArray[np.float32], template: NDArray[np.float64], delays: NDArray[np.int32]
) -> float:
    """Return the standard deviation of what a matched filter finds beside pulses.

    It is 1 in white noise of unit variance. Slow variations, and neighbouring channels that vary
    together, make it larger: by so much the errors of a fit grow.

    Args:
        data: Cleaned spectra, shape (channel, time).
        template: A pulse as `pulse_model.samples` returns it, shape (channel, sample).
        delays: First sample of each channel, shape (channel,).

    Returns:
        The standard deviation, and 1 where the data are too short to tell.
    """
    peak = template.sum(axis=0)
    core = np.flatnonzero(peak > 0.05 * peak.max())
    core = slice(int(core[0]), int(core[-1]) + 1)
    step = max(1, (core.stop - core.start) // 2)
    starts = np.arange(0, data.shape[1] - int(delays.max()) - template.shape[1], step)
    if len(starts) < 64:
        return 1.0
    product, square = np.zeros((2, len(starts)))
    sample = starts[:, None] + np.arange(core.start, core.stop)
    for row, own, delay in zip(data, template[:, core], delays, strict=True):
        part = row[sample + delay]
        product += part @ own
        square += (part != 0).astype(float) @ own**2
    found = product[square > 0] / np.sqrt(square[square > 0])
    centre, sigma = np.median(found), 1.4826 * np.median(np.abs(found - np.median(found)))
    for _ in range(3):  # pulses and interference are cut away
        core_values = found[np.abs(found - centre) < CLIP_SIGMA * sigma]
        centre, sigma = core_values.mean(), core_values.std() / CLIPPED_STD
    return float(sigma)
