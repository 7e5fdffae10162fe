"""What a recording's counts mean: how many of them a jansky is worth in each channel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.formats.spectra import Spectra
from physics_twins.pulsar.physics.receiver import noise_sigma_jy
from physics_twins.pulsar.searching.missing import finite
from physics_twins.pulsar.telescopes.quiet_noise import quiet_noise

# The noise is measured in so many parts, evenly spaced, of at most so many spectra.
N_PARTS = 8
PART_SPECTRA = 2048


@dataclass(frozen=True)
class Calibration:
    """The noise of a recording, in counts and in Jy, without interference.

    Attributes:
        level: Mean, in counts, shape (channel,).
        sigma: Standard deviation, in counts, shape (channel,); 0 where a channel is constant.
        sigma_jy: Standard deviation, in Jy, shape (channel,).
    """

    level: NDArray[np.float64]
    sigma: NDArray[np.float64]
    sigma_jy: NDArray[np.float64]

    @property
    def counts_per_jy(self) -> NDArray[np.float64]:
        """Counts that a flux density of 1 Jy adds, shape (channel,)."""
        return self.sigma / self.sigma_jy


def calibrate_spectra(spectra: Spectra, *, sefd_jy: float | NDArray[np.float64]) -> Calibration:
    """Return what a recording's counts mean, by the radiometer equation.

    The noise of one sample is the system equivalent flux density over sqrt(n_pol * bandwidth * time)
    (Lorimer & Kramer, equation A1.21). In counts it is measured, as median over parts of the recording.

    Args:
        spectra: The open recording.
        sefd_jy: System equivalent flux density, system temperature over gain, of the telescope or of
            each channel, the highest frequency first.

    Raises:
        ValueError: `sefd_jy` is not positive or has the wrong length, or no channel varies.
    """
    header = spectra.header
    sefd = np.asarray(sefd_jy, dtype=float)
    if sefd.shape not in ((), (header.n_channels,)):
        raise ValueError(
            f"sefd_jy: {sefd.size} values, expected 1 or one for each of {header.n_channels} channels"
        )
    if not (np.isfinite(sefd) & (sefd > 0)).all():
        wrong = sefd[~(np.isfinite(sefd) & (sefd > 0))].flat[0] if sefd.ndim else float(sefd)
        raise ValueError(
            f"sefd_jy = {wrong:g} Jy: must be positive; it is system temperature over gain, which no"
            " file states"
        )
    length = min(PART_SPECTRA, spectra.n_spectra)
    starts = np.unique(np.linspace(0, spectra.n_spectra - length, N_PARTS).astype(int))
    parts = [quiet_noise(finite(spectra.read(start, length)), spectra.n_bits)[1:] for start in starts]
    level, sigma = (np.median(column, axis=0) for column in zip(*parts, strict=True))
    if not (sigma > 0).any():
        raise ValueError(f"{spectra.name}: data: no channel varies")
    one_jy = noise_sigma_jy(
        1.0,
        1.0,
        channel_width_mhz=header.channel_width_mhz,
        sampling_s=header.sampling_time_s,
    )
    return Calibration(level, sigma, np.broadcast_to(one_jy * sefd, sigma.shape).copy())
