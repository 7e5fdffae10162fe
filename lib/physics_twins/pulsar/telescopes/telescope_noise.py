"""The noise of a telescope, fitted: levels, tails, colour, correlated channels, common baseline.

A channel's noise is level + sigma * shape(g), with g a Gaussian process that has a power spectrum of
its own, is correlated with other channels by links (filters that overlap, aliases at the edge of a
subband) and shares with all channels a baseline: changes that are smooth across the band, of gain, of
system temperature, of the mains. Such a process can have any marginal distribution and any correlation
(Grigoriu 1995, Applied Non-Gaussian Processes, chapter 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import median_filter
from scipy.special import ndtri

from physics_twins.pulsar.telescopes.levelling import unlevelled
from physics_twins.pulsar.telescopes.marginals import LEAST_CLEAN, SHAPE_NODES, fit_shapes, gaussianised
from physics_twins.pulsar.telescopes.quiet_noise import FINE_BITS

N_MODES = 12  # of the baseline across the band, at most
N_SUBBANDS = 64
CELL_SPECTRA = 16
MODE_MARGIN = 1.2
BANDS_PER_OCTAVE = 4
MODE_BANDS_PER_OCTAVE = 6
# A number of one channel is kept where it lies so many standard errors from that of all channels.
SIGNIFICANT = 4.0
LINK_SIGMA = 5.5
N_NEIGHBOURS = 3
NEIGHBOUR_WINDOW = 65  # channels over which the correlation of near neighbours is averaged


@dataclass(frozen=True)
class Noise:
    """What the noise is without interference, in numbers.

    Attributes:
        level: Middle, in counts, shape (channel,).
        sigma: Width, in counts, shape (channel,).
        shape: Quantiles of (value - level) / sigma at `SHAPE_NODES`, shape (channel, node).
        edge: Upper ends of the spectra's bands, in cycles per spectrum, shape (band,).
        spectrum: Power of g over that of white noise, shape (channel, band).
        mode: Patterns of the baseline over the band, orthonormal, shape (channel, mode).
        mode_edge: Upper ends of the baseline's bands, in cycles per spectrum, shape (mode band,).
        mode_spectrum: Power of each baseline mode over that of white noise, shape (mode, mode band).
        link: Pairs of channels that are correlated, the lower number first, shape (link, 2).
        correlation: Of each link, shape (link,).
    """

    level: NDArray[np.float64]
    sigma: NDArray[np.float64]
    shape: NDArray[np.float64]
    edge: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    mode: NDArray[np.float64]
    mode_edge: NDArray[np.float64]
    mode_spectrum: NDArray[np.float64]
    link: NDArray[np.int64]
    correlation: NDArray[np.float64]


def fit_noise(
    z: NDArray[np.float32],
    clean: NDArray[np.bool_],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
    *,
    n_bits: int,
    n_levelled: int = 0,
) -> Noise:
    """Return the noise of normalised spectra.

    Args:
        z: (value - level) / sigma, shape (segment, time, channel).
        clean: Which of them hold no interference, of the same shape.
        level: In counts, shape (channel,).
        sigma: In counts, shape (channel,).
        n_bits: With fewer than 8, level and sigma are those of the noise before it was digitised.
        n_levelled: Spectra that were levelled together, 0 for none; the fit is of what was before.
    """
    n_segments, n_time, n_channels = z.shape
    coverage = clean.mean(axis=(0, 1))
    scarce = coverage < LEAST_CLEAN
    if n_bits < FINE_BITS:
        shape, g, kept = np.tile(SHAPE_NODES, (n_channels, 1)), *_standardised(z, clean, level, sigma)
    else:
        shape = fit_shapes(z, clean)
        g, kept = gaussianised(z, shape), np.ones(n_channels)
    g = np.where(clean, g, np.float32(0))
    basis = baseline_modes(g, ~scarce)
    power, mode_power, matrix = _moments(g, basis)
    power, mode_power = (unlevelled(each, n_levelled) for each in (power, mode_power))
    link, correlation = _links(matrix / np.mean(kept), n_segments * n_time * 7 // 8, scarce)
    edge, mode_edge = bands(n_time, BANDS_PER_OCTAVE), bands(n_time, MODE_BANDS_PER_OCTAVE)
    # What the links alone give a mode, whose own channels are white.
    linked = 2 * correlation @ (basis[link[:, 0]] * basis[link[:, 1]])
    white = 1 + linked * np.mean(kept)
    mode_spectrum = np.maximum(band_means(mode_power, mode_edge).T - white[:, None], 0) / np.mean(kept)
    spectrum = band_means(power, edge).T / np.maximum(coverage, LEAST_CLEAN)[:, None]
    spectrum = 1 + (spectrum - 1) / kept[:, None]
    spectrum -= basis**2 @ band_means(expand(mode_spectrum, mode_edge, n_time).T, edge).T
    spectrum = _pooled_where_alike(spectrum, edge, n_segments * n_time, scarce)
    # g must not be wider than what its marginal distribution was measured for.
    width = np.diff(np.append(0, edge)) * 2
    spectrum /= np.maximum(spectrum @ width, 1)[:, None]
    return Noise(
        level, sigma, shape, edge, spectrum, basis, mode_edge, mode_spectrum, link, correlation
    )


def baseline_modes(g: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return patterns over the band in which channels change together, orthonormal (channel, mode).

    The first is the same in all channels. The others are those principal components of slow changes in
    subbands that no white noise has (Marchenko & Pastur 1967).

    Args:
        g: White but for what is looked for, shape (segment, time, channel).
        present: Which channels count, shape (channel,).
    """
    subbands = [part for part in np.array_split(np.flatnonzero(present), N_SUBBANDS) if len(part)]
    if not subbands:
        return np.zeros((g.shape[2], 1))
    n_cells = g.shape[1] // CELL_SPECTRA
    cells = (
        g[:, : n_cells * CELL_SPECTRA].reshape(-1, CELL_SPECTRA, g.shape[2]).sum(axis=1, dtype=float)
    )
    slow = np.stack(
        [cells[:, part].sum(axis=1) / np.sqrt(CELL_SPECTRA * len(part)) for part in subbands]
    )
    constant = np.sqrt([len(part) / present.sum() for part in subbands])
    slow -= np.outer(constant, constant @ slow)
    values, vectors = np.linalg.eigh(slow @ slow.T / slow.shape[1])
    most = (1 + np.sqrt(len(subbands) / slow.shape[1])) ** 2
    kept = vectors[:, values > MODE_MARGIN * most][:, ::-1][:, : N_MODES - 1]
    modes = np.zeros((g.shape[2], 1 + kept.shape[1]))
    for part, weights in zip(subbands, np.column_stack([constant, kept]), strict=True):
        modes[part] = weights / np.sqrt(len(part))
    return modes


def bands(n_time: int, per_octave: int) -> NDArray[np.float64]:
    """Return upper ends of bands from one cycle in `n_time` spectra up to 1/2, in cycles per spectrum.

    >>> bands(64, 1) * 64
    array([ 1.5,  2.5,  4.5,  8.5, 16.5, 32.5])
    """
    n = int(np.ceil(np.log2(n_time / 2) * per_octave))
    bins = np.unique(np.rint(2 ** (np.arange(n + 1) / per_octave)).clip(max=n_time // 2))
    return (bins + 0.5) / n_time


def band_means(power: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of a power spectrum over each band, without frequency 0, shape (band, ...)."""
    n_time = 2 * (len(power) - 1)
    stops = np.rint(edge * n_time + 0.5).astype(int)
    starts = np.concatenate([[1], stops[:-1]])
    sums = np.add.reduceat(power[: stops[-1]], starts, axis=0)
    return sums / (stops - starts).reshape(-1, *[1] * (power.ndim - 1))


def expand(
    spectrum: NDArray[np.float64], edge: NDArray[np.float64], n_time: int
) -> NDArray[np.float64]:
    """Return a spectrum given in bands at each frequency of a transform, shape (..., frequency)."""
    frequency = np.arange(n_time // 2 + 1) / n_time
    return spectrum[..., np.searchsorted(edge, frequency).clip(max=len(edge) - 1)]


def _standardised(
    z: NDArray[np.float32],
    clean: NDArray[np.bool_],
    level: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return coarse noise with variance 1 and what share of a correlation the digitiser kept.

    That share is the squared correlation of the noise before and after (Price 1958, to first order).
    """
    n = np.maximum(clean.sum(axis=(0, 1)), 1)
    mean = (z * clean).sum(axis=(0, 1)) / n
    std = np.sqrt((((z - mean) * clean) ** 2).sum(axis=(0, 1)) / n)
    std = np.where(std > 0, std, 1).astype(np.float32)
    counts = np.unique(np.rint(z * sigma + level))
    steps = (counts[:-1] + counts[1:])[:, None] / 2
    density = np.exp(-(((steps - level) / sigma) ** 2) / 2) / np.sqrt(2 * np.pi)
    kept = ((density * np.diff(counts)[:, None]).sum(axis=0) / (std * sigma)) ** 2
    return ((z - mean) / std).astype(np.float32), kept.clip(0.1, 1)


def _moments(
    g: NDArray[np.float32], modes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return power (frequency, channel), that of the baseline's modes, and correlations of channels.

    The latter are those of fast changes, from which the baseline is absent.
    """
    n_time, n_channels = g.shape[1:]
    basis = modes.astype(np.float32)
    power = np.zeros((n_time // 2 + 1, n_channels))
    mode_power = np.zeros((n_time // 2 + 1, basis.shape[1]))
    covariance = np.zeros((n_channels, n_channels))
    for part in g:
        transformed = np.asarray(rfft(part, axis=0)) / np.sqrt(n_time)
        power += np.abs(transformed) ** 2 / len(g)
        mode_power += np.abs(transformed @ basis) ** 2 / len(g)
        fast = transformed[n_time // 16 :]
        covariance += (fast.conj().T @ fast).real / len(g)
    width = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    return power, mode_power, covariance / np.outer(width, width)


def _links(
    matrix: NDArray[np.float64], n_values: int, scarce: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs of channels whose noise is correlated, and how much.

    Near neighbours are averaged over channels around them; of the others only what stands out counts.
    """
    error = 1 / np.sqrt(n_values)
    matrix = np.where(scarce[:, None] | scarce, 0, np.triu(matrix, 1))
    kept = np.where(np.abs(matrix) > LINK_SIGMA * error, matrix, 0)
    for offset in range(1, min(N_NEIGHBOURS, len(matrix) - 1) + 1):
        diagonal = np.diag(matrix, offset)
        smooth = median_filter(diagonal, NEIGHBOUR_WINDOW, mode="reflect")
        differs = np.abs(diagonal - smooth) > SIGNIFICANT * error
        everywhere = float(np.median(diagonal))
        if abs(everywhere) < error / np.sqrt(len(diagonal)):
            everywhere = 0.0
        local = np.abs(smooth - everywhere) > 3 * error / np.sqrt(NEIGHBOUR_WINDOW)
        usual = np.where(local, smooth, everywhere)
        np.fill_diagonal(kept[:, offset:], np.where(differs, diagonal, usual))
    first, second = np.nonzero(kept)
    return np.stack([first, second], axis=1), kept[first, second]


def _pooled_where_alike(
    spectrum: NDArray[np.float64], edge: NDArray[np.float64], n_values: int, scarce: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return spectra in which a value that chance explains is that of all channels together."""
    width = np.diff(np.concatenate([[0.0], edge]))
    n_bins = np.maximum(width * n_values, 1)
    others = spectrum[~scarce] if not scarce.all() else np.ones_like(spectrum)
    # The median of power in n bins of white noise lies below its mean (Wilson & Hilferty 1931).
    pooled = np.maximum(np.median(others, axis=0) / (1 - 1 / (9 * n_bins)) ** 3, 1e-3)
    # Power in n bins of white noise is known to 1 / sqrt(n), with a long upper tail.
    excess = (spectrum / pooled - 1) * np.sqrt(n_bins)
    unlike = np.abs(excess) > SIGNIFICANT * (1 + 1 / np.sqrt(n_bins))
    unlike |= _remembering(spectrum, pooled, edge, n_values)[:, None]
    return np.maximum(np.where(unlike & ~scarce[:, None], spectrum, pooled), 1e-3)


def _remembering(
    spectrum: NDArray[np.float64], pooled: NDArray[np.float64], edge: NDArray[np.float64], n_values: int
) -> NDArray[np.bool_]:
    """Return the channels that keep a spectrum of their own because of their lag-1 autocorrelation.

    Each channel's is known to 1 / sqrt(n). So many are kept, those that differ most, that what is kept
    and new noise together have the 95th percentile that was seen.
    """
    low = np.concatenate([[0.0], edge[:-1]])
    cosine = np.sin(2 * np.pi * edge) - np.sin(2 * np.pi * low)  # 2 pi times its integral
    lag1 = spectrum @ cosine / (2 * np.pi * np.maximum(spectrum @ (edge - low), 1e-9))
    usual = float(pooled @ cosine / (2 * np.pi * (pooled @ (edge - low))))
    apart = np.abs(lag1 - usual) * np.sqrt(n_values)
    noise = ndtri((np.arange(64) + 0.5) / 64) / np.sqrt(n_values)
    wanted = np.percentile(lag1, 95)
    limits = np.arange(0.5, 5.01, 0.25)
    given = [
        np.percentile((np.where(apart > k, lag1, usual)[:, None] + noise).ravel(), 95) for k in limits
    ]
    return apart > limits[int(np.argmin(np.abs(np.array(given) - wanted)))]
