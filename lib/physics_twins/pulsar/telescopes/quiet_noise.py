"""Level and width of each channel's noise, as if there were no interference, from recorded counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from physics_twins.pulsar.formats.spectra import Spectra
from physics_twins.pulsar.physics.receiver import noise_sigma_jy
from physics_twins.pulsar.searching.cells import CELL, MIN_CELLS, measure_cells
from physics_twins.pulsar.searching.missing import finite

# With fewer bits the steps are so coarse that the noise between them has to be inferred.
FINE_BITS = 8


def quiet_noise(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return (counts - level) / sigma, level and sigma of the noise before it was digitised.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.

    Returns:
        Normalised samples, shape (time, channel); level and sigma in counts, shape (channel,). Of a
        channel that is constant sigma is 0.
    """
    if n_bits < FINE_BITS:
        level, sigma = levels_of_coarse_counts(counts, n_bits)
        sigma = np.where(np.ptp(counts, axis=0) > 0, sigma, 0)
        return ((counts - level) / np.where(sigma > 0, sigma, 1)).astype(np.float32), level, sigma
    if len(counts) < MIN_CELLS * CELL:
        level, sigma = counts.mean(axis=0, dtype=float), counts.std(axis=0, dtype=float)
    else:
        cells = measure_cells(counts, drift=0.0)
        level, sigma = cells.level.astype(float), cells.sigma.astype(float)
    z = (counts - level) * np.where(sigma > 0, 1 / np.where(sigma > 0, sigma, 1), 0)
    return z.astype(np.float32), level, sigma


def levels_of_coarse_counts(
    counts: NDArray[Any], n_bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return level and sigma of Gaussian noise that was rounded to few bits, each of shape (channel,).

    How many values lie below each step, seen as a normal quantile, is a straight line. Of 1 bit, which
    has one step, sigma is taken as 1/2.

    Args:
        counts: Shape (time, channel).
        n_bits: Bits in a sample.
    """
    steps = np.arange(2**n_bits - 1) + 0.5
    below = np.stack([(counts < step).mean(axis=0) for step in steps])
    quantile = ndtri(below.clip(0.5 / len(counts), 1 - 0.5 / len(counts)))  # (step, channel)
    # Steps in the middle are counted best: the error of a quantile grows as 1 / density.
    weight = np.exp(-(quantile**2)) * (np.abs(quantile) < 3)
    weight += 1e-12
    if n_bits == 1:
        return 0.5 - 0.5 * quantile[0], np.full(counts.shape[1], 0.5)
    total = weight.sum(axis=0)
    x = (weight * quantile).sum(axis=0) / total
    y = (weight * steps[:, None]).sum(axis=0) / total
    slope = (weight * (quantile - x) * (steps[:, None] - y)).sum(axis=0)
    sigma = slope / np.maximum((weight * (quantile - x) ** 2).sum(axis=0), 1e-12)
    sigma = np.where(sigma > 1e-3, sigma, 0.5)
    return y - sigma * x, sigma


# The noise is measured in so many parts, evenly spaced, of at most so many spectra.
N_PARTS = 8
PART_SPECTRA = 2048


@dataclass(frozen=True)
class Calibration:
    """The noise of a recording, in counts and in Jy, without interference.

    Attributes:
        level: Mean, in counts, shape (channel,).
        sigma: Standard deviation, in counts, shape (channel,); 0 where a channel is constant.
        sigma_jy: Standard deviation, in Jy.
    """

    level: NDArray[np.float64]
    sigma: NDArray[np.float64]
    sigma_jy: float

    @property
    def counts_per_jy(self) -> NDArray[np.float64]:
        """Counts that a flux density of 1 Jy adds, shape (channel,)."""
        return self.sigma / self.sigma_jy

    def snr_ideal(self, counts: NDArray[np.float64]) -> float:
        """Return the S/N of the filter matched to what is added, shape (time, channel)."""
        alive = self.sigma > 0
        return float(np.sqrt(np.square(counts[:, alive] / self.sigma[alive]).sum()))


def calibrate_spectra(spectra: Spectra, *, sefd_jy: float) -> Calibration:
    """Return what a recording's counts mean, by the radiometer equation.

    The noise of one sample is the system equivalent flux density over sqrt(n_pol * bandwidth * time)
    (Lorimer & Kramer, equation A1.21). In counts it is measured, as median over parts of the recording.

    Args:
        spectra: The open recording.
        sefd_jy: System equivalent flux density, system temperature over gain.

    Raises:
        ValueError: `sefd_jy` is not positive, or no channel varies.
    """
    if not 0 < sefd_jy < np.inf:
        raise ValueError(
            f"sefd_jy = {sefd_jy:g} Jy: must be positive; it is system temperature over gain, which no"
            " file states"
        )
    length = min(PART_SPECTRA, spectra.n_spectra)
    starts = np.unique(np.linspace(0, spectra.n_spectra - length, N_PARTS).astype(int))
    parts = [quiet_noise(finite(spectra.read(start, length)), spectra.n_bits)[1:] for start in starts]
    level, sigma = (np.median(column, axis=0) for column in zip(*parts, strict=True))
    if not (sigma > 0).any():
        raise ValueError(f"{spectra.name}: data: no channel varies")
    header = spectra.header
    sigma_jy = noise_sigma_jy(
        sefd_jy,
        1.0,
        channel_width_mhz=header.channel_width_mhz,
        sampling_s=header.sampling_time_s,
    )
    return Calibration(level, sigma, sigma_jy)
