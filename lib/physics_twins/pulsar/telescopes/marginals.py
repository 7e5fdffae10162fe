"""Marginal distributions of channels' noise, kept as quantiles, and the way from them to a Gaussian."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

# Standard normal quantiles, equally spaced, at which a distribution is kept.
SHAPE_NODES = np.linspace(-4.0, 4.0, 33)
# Where fewer values than this lie beyond a node it is not measured but extrapolated.
MIN_TAIL_VALUES = 5
MAX_SHAPE_VALUES = 1 << 21
# A channel has a distribution of its own where its tails are so many standard errors from the others'.
SIGNIFICANT = 4.0
# A channel with less clean data than this is given the distribution of all the others.
LEAST_CLEAN = 0.3


def fit_shapes(z: NDArray[np.float32], clean: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each channel's quantiles, those of all channels together where its tails are theirs.

    Args:
        z: Normalised spectra, shape (segment, time, channel).
        clean: Which of them hold no interference, of the same shape.

    Returns:
        Quantiles at `SHAPE_NODES`, shape (channel, node).
    """
    n_channels = z.shape[2]
    own = np.tile(SHAPE_NODES, (n_channels, 1))
    tails = np.full((n_channels, 2), np.nan)
    for channel in range(n_channels):
        values = z[:, :, channel][clean[:, :, channel]].astype(float)
        if len(values) >= LEAST_CLEAN * z[:, :, 0].size and values.std() > 0:
            own[channel] = _quantiles(values)
            centred = (values - values.mean()) / values.std()
            error = np.sqrt(np.array([6, 24]) / len(values))  # of skewness and kurtosis
            tails[channel] = np.array([np.mean(centred**3), np.mean(centred**4) - 3]) / error
    measured = np.isfinite(tails[:, 0])
    if not measured.any():
        return own
    apart = (np.abs(tails - np.median(tails[measured], axis=0)) > SIGNIFICANT).any(axis=1)
    alike = measured & ~apart
    if not alike.any():
        return own
    together = z[:, :, alike][clean[:, :, alike]]
    common = _quantiles(together[:: -(-len(together) // MAX_SHAPE_VALUES)].astype(float))
    return np.where((measured & apart)[:, None], own, common)


def gaussianised(z: NDArray[np.float32], shape: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the Gaussian values g of z = shape(g), z of shape (..., channel)."""
    g = np.empty_like(z)
    for channel, quantiles in enumerate(shape):
        g[..., channel] = _interpolated(z[..., channel], quantiles, SHAPE_NODES)
    return g


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles at `SHAPE_NODES`, beyond what is measured with the slope before."""
    quantiles = np.quantile(values, ndtr(SHAPE_NODES))
    measured = np.flatnonzero(ndtr(-np.abs(SHAPE_NODES)) * len(values) >= MIN_TAIL_VALUES)
    for end, inner in ((measured[-1], measured[-4]), (measured[0], measured[3])):
        slope = (quantiles[end] - quantiles[inner]) / (SHAPE_NODES[end] - SHAPE_NODES[inner])
        beyond = np.sign(SHAPE_NODES[end]) * (SHAPE_NODES - SHAPE_NODES[end]) > 0
        quantiles[beyond] = quantiles[end] + slope * (SHAPE_NODES - SHAPE_NODES[end])[beyond]
    return quantiles


def _interpolated(x: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """Interpolate linearly; beyond the ends go on with the mean slope of the three steps before."""
    rising = np.maximum.accumulate(before) + 1e-6 * np.arange(len(before))
    y = np.interp(x, rising, after)
    for end, inner, outside in ((-1, -4, x > rising[-1]), (0, 3, x < rising[0])):
        slope = (after[end] - after[inner]) / (rising[end] - rising[inner])
        y[outside] += slope * (x[outside] - rising[end])
    return y
