"""What the ionised interstellar medium does: dispersion, smearing, scattering, scintillation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, erfcx, ndtr

# Lorimer & Kramer, Handbook of Pulsar Astronomy: delay = K * dm / frequency^2.
DISPERSION_MHZ2_CM3_S_PER_PC = 4148.808
# Standard deviation of a Gaussian over its full width at half maximum.
SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))

# A scattering tail shorter than this, in standard deviations of the pulse, changes it by less.
MIN_TAIL_SIGMA = 1e-3
MIN_BOX_SIGMA = 0.02


def dispersion_delay(
    frequency_mhz: ArrayLike, dm_pc_cm3: ArrayLike, *, reference_mhz: float
) -> NDArray[np.float64]:
    """Return how much later than at `reference_mhz` a pulse arrives at each frequency, in seconds.

    Args:
        frequency_mhz: Frequencies, all positive; broadcast against `dm_pc_cm3`.
        dm_pc_cm3: Dispersion measure.
        reference_mhz: Frequency whose delay is zero.

    Raises:
        ValueError: A frequency is not positive.

    >>> dispersion_delay([700.0, 1400.0], 100.0, reference_mhz=1400.0).round(3)
    array([0.635, 0.   ])
    """
    frequency_mhz = np.asarray(frequency_mhz, dtype=float)
    if not (frequency_mhz > 0).all():
        raise ValueError(f"frequency_mhz must be positive, lowest is {frequency_mhz.min()} MHz")
    slope = DISPERSION_MHZ2_CM3_S_PER_PC * (frequency_mhz**-2.0 - float(reference_mhz) ** -2.0)
    return slope * np.asarray(dm_pc_cm3, dtype=float)


@dataclass(frozen=True)
class Band:
    """What a search needs to know of the receiver.

    Attributes:
        frequency_mhz: Channel centres, the highest first, shape (channel,).
        sampling_s: Time from one spectrum to the next.
    """

    frequency_mhz: NDArray[np.float64]
    sampling_s: float

    @property
    def delay_s_per_dm(self) -> float:
        """Delay across the band for a DM of 1 pc cm-3."""
        low, high = self.frequency_mhz[-1], self.frequency_mhz[0]
        return float(dispersion_delay(low, 1.0, reference_mhz=high))

    def delays(self, dm_pc_cm3: ArrayLike) -> NDArray[np.float64]:
        """Return delays after the highest channel in samples, shape (channel,), or (dm, channel).

        >>> delays = Band(np.linspace(1530, 1210, 257), 102.4e-6).delays(56.77)
        >>> float(delays[0]), round(float(delays[-1] - delays[-2]), 2)
        (0.0, 3.24)
        """
        dm_pc_cm3, highest_mhz = np.asarray(dm_pc_cm3)[..., None], self.frequency_mhz[0]
        delay_s = dispersion_delay(self.frequency_mhz, dm_pc_cm3, reference_mhz=highest_mhz)
        return delay_s / self.sampling_s

    def whole_delays(self, dm_pc_cm3: ArrayLike) -> NDArray[np.int32]:
        """Return `delays` in whole samples."""
        return np.rint(self.delays(dm_pc_cm3)).astype(np.int32)


def channel_smearing(
    frequency_mhz: ArrayLike, dm_pc_cm3: float, *, channel_width_mhz: float
) -> NDArray[np.float64]:
    """Return the dispersion delay across one channel, in seconds, shape (channel,).

    The receiver does not correct it, so every channel sees a pulse smeared by this much.

    >>> channel_smearing([1210.0], 56.7, channel_width_mhz=1.25).round(6)
    array([0.000332])
    """
    frequency_mhz = np.asarray(frequency_mhz, dtype=float)
    half_mhz = abs(channel_width_mhz) / 2
    k_dm = DISPERSION_MHZ2_CM3_S_PER_PC * dm_pc_cm3
    return k_dm * ((frequency_mhz - half_mhz) ** -2.0 - (frequency_mhz + half_mhz) ** -2.0)


def scattering_time(
    frequency_mhz: ArrayLike, scattering_s: float, index: float = 4.0
) -> NDArray[np.float64]:
    """Return the scattering time, in seconds, where it is `scattering_s` at 1 GHz.

    A thin screen gives frequency^-4, Kolmogorov turbulence frequency^-4.4 (Lorimer & Kramer, section
    4.2.2); `index` is that number without its sign.

    >>> scattering_time([500.0, 1000.0], 0.002)
    array([0.032, 0.002])
    """
    return scattering_s * (np.asarray(frequency_mhz, dtype=float) / 1000.0) ** -index


def pulse_profile(
    time_s: ArrayLike, width_s: ArrayLike, scattering_s: ArrayLike
) -> NDArray[np.float64]:
    """Return a Gaussian pulse convolved with an exponential tail, normalised to unit area, in 1/s.

    Args:
        time_s: Time from the centre of the Gaussian; broadcast against the others.
        width_s: Full width at half maximum of the Gaussian.
        scattering_s: Time constant of the tail; 0 gives the Gaussian alone.

    >>> pulse_profile([0.0], 0.001, 0.0).round(1)
    array([939.4])
    """
    sigma_s = np.asarray(width_s, dtype=float) * SIGMA_PER_FWHM
    scattering_s = np.asarray(scattering_s, dtype=float)
    x, sigma_s, tau_s = np.broadcast_arrays(np.asarray(time_s, dtype=float), sigma_s, scattering_s)
    gauss = np.exp(-0.5 * (x / sigma_s) ** 2) / (sigma_s * np.sqrt(2 * np.pi))
    if not scattering_s.any():
        return gauss
    tail = tau_s > MIN_TAIL_SIGMA * sigma_s
    safe_tau_s = np.where(tail, tau_s, sigma_s)
    # Exponentially modified Gaussian; erfcx stays finite where exp times erfc would not.
    z = (sigma_s / safe_tau_s - x / sigma_s) / np.sqrt(2)
    profile = np.exp(-0.5 * (x / sigma_s) ** 2) / (2 * safe_tau_s)
    early = z > 0
    late = ~early
    profile[early] *= erfcx(z[early])
    decay = 0.5 * (sigma_s[late] / safe_tau_s[late]) ** 2 - x[late] / safe_tau_s[late]
    profile[late] = np.exp(decay) * (1 - erf(z[late])) / (2 * safe_tau_s[late])
    return np.where(tail, profile, gauss)


def pulse_cumulative(
    time_s: ArrayLike, width_s: ArrayLike, scattering_s: ArrayLike
) -> NDArray[np.float64]:
    """Return the part of the pulse of `pulse_profile` that has arrived by a time, 0 to 1.

    The difference between the two ends of a sample is what that sample receives.

    >>> pulse_cumulative([-0.01, 0.0, 0.01], 0.001, 0.0).round(3)
    array([0. , 0.5, 1. ])
    """
    x, sigma_s, tau_s = np.broadcast_arrays(
        np.asarray(time_s, dtype=float),
        np.asarray(width_s, dtype=float) * SIGMA_PER_FWHM,
        np.asarray(scattering_s, dtype=float),
    )
    gauss = ndtr(x / sigma_s)
    tail = tau_s > MIN_TAIL_SIGMA * sigma_s
    if not tail.any():
        return gauss
    # Exponentially modified Gaussian: its distribution is the Gaussian's less tau times the density.
    return np.where(tail, gauss - tau_s * pulse_profile(time_s, width_s, scattering_s), gauss)


def smeared_cumulative(
    time_s: ArrayLike, width_s: ArrayLike, scattering_s: ArrayLike, smear_s: ArrayLike
) -> NDArray[np.float64]:
    """Return `pulse_cumulative` of a pulse that is smeared evenly over a time besides, 0 to 1.

    Args:
        time_s: Time from the centre of the Gaussian; broadcast against the others.
        width_s: Full width at half maximum of the Gaussian.
        scattering_s: Time constant of the tail.
        smear_s: Time over which a channel spreads the pulse, from `channel_smearing`.

    >>> smeared_cumulative([-0.01, 0.0, 0.01], 0.001, 0.0, 0.005).round(3)
    array([0. , 0.5, 1. ])
    """
    sigma_s = np.asarray(width_s, dtype=float) * SIGMA_PER_FWHM
    # A box much shorter than the pulse changes nothing, but would divide by nearly zero.
    half_s = np.maximum(np.asarray(smear_s, dtype=float), MIN_BOX_SIGMA * sigma_s) / 2
    middle_s = np.asarray(time_s, dtype=float)
    late, early = (_arrived_so_far(middle_s + side * half_s, width_s, scattering_s) for side in (1, -1))
    return (late - early) / (2 * half_s)


def _arrived_so_far(
    time_s: NDArray[np.float64], width_s: ArrayLike, scattering_s: ArrayLike
) -> NDArray[np.float64]:
    """Return the integral of `pulse_cumulative` up to a time, in s."""
    sigma_s = np.asarray(width_s, dtype=float) * SIGMA_PER_FWHM
    tau_s = np.asarray(scattering_s, dtype=float)
    x = time_s / sigma_s
    gauss = time_s * ndtr(x) + sigma_s * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    tail = tau_s > MIN_TAIL_SIGMA * sigma_s
    if not tail.any():
        return gauss
    # The Gaussian's distribution less tau times the density is the distribution: so with integrals.
    return gauss - np.where(tail, tau_s, 0.0) * pulse_cumulative(time_s, width_s, scattering_s)


def snr_ratio_at_dm_error(
    dm_error_pc_cm3: ArrayLike, width_s: float, band_delay_s: float
) -> NDArray[np.float64]:
    """Return how much of its S/N a Gaussian pulse keeps when dedispersed at a wrong DM.

    Cordes & McLaughlin 2003, ApJ 596, 1142, equations 12 and 13, written with the delay across the
    band so that it also holds for wide bands.

    Args:
        dm_error_pc_cm3: Difference from the true DM.
        width_s: Full width at half maximum.
        band_delay_s: Delay across the band for a DM of 1 pc cm-3.

    >>> snr_ratio_at_dm_error([0.0, 1.0], 0.001, 0.001).round(3)
    array([1.  , 0.81])
    """
    swept_s = np.abs(np.asarray(dm_error_pc_cm3, dtype=float)) * band_delay_s
    zeta = np.maximum(np.sqrt(np.log(2)) * swept_s / width_s, 1e-9)
    return np.sqrt(np.pi) / 2 * erf(zeta) / zeta


N_WAYS = 128
SEED_KEY = 2


class Screen:
    """A thin screen between the pulsar and us: diffractive scintillation in frequency and time.

    Light reaches us on many ways, each a little longer than the straight one and changing while the
    screen drifts by. Their sum has an intensity with an exponential distribution. Ways whose delay has
    an exponential distribution give it a Lorentzian autocorrelation in frequency, ways whose Doppler
    rates are normal a Gaussian one in time (Cordes & Rickett 1998, ApJ 507, 846).

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
