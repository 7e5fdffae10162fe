"""Separation power of histograms: 0 where they agree, 1 where they share no bin.

S = 1/2 sum (p - q)^2 / (p + q) (Diefenbacher et al. 2020, arXiv:2009.03796). A finite number of showers
makes it positive even between two samples of one distribution; what scatter adds is subtracted here.
"""

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import bootstrap

N_BINS, N_BOOTSTRAPS = 50, 200
# In emptier bins the subtraction of scatter would not be exact enough.
BIN_SHOWERS = 20


def separation(
    sample: NDArray[np.float64],
    reference: NDArray[np.float64],
    *,
    seed: int,
    n_bins: int = N_BINS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the separation power of each quantity and of their mean, with standard errors.

    Bins hold equal parts of the reference; two more are for what lies below and above all of it. The
    mean's error respects that the quantities of a shower hang together: whole showers are drawn again.

    Args:
        sample: Shape (shower, quantity); what is not a number has a bin of its own.
        reference: Shape (other shower, quantity).
        seed: Of the bootstrap.
        n_bins: At most; fewer where values repeat, or with fewer than 20 showers of the reference each.

    Returns:
        Values and errors, shape (quantity + 1,), the mean last.
    """
    n_bins = min(n_bins, max(len(reference) // BIN_SHOWERS, 2))
    edges = [bin_edges(column, n_bins) for column in reference.T]
    binned = [_binned(each, edges, n_bins) for each in (sample, reference)]

    def between(*drawn: NDArray[np.intp]) -> NDArray[np.float64]:
        return _separation(*(_shares(each, n_bins) for each in drawn))

    return bootstrap(between, *binned, seed=[seed, 1], n_draws=N_BOOTSTRAPS)


def bin_edges(reference: NDArray[np.float64], n_bins: int = N_BINS) -> NDArray[np.float64]:
    """Return edges that cut a reference sample into equal parts, fewer where values repeat.

    Two more bins, below the first edge and above the last, are for what the reference never is.

    >>> bin_edges(np.arange(9.0), 4)
    array([0., 2., 4., 6., 8.])
    """
    known = reference[np.isfinite(reference)]
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.linspace(0, 1, n_bins + 1)))


def _binned(
    values: NDArray[np.float64], edges: list[NDArray[np.float64]], n_bins: int
) -> NDArray[np.int64]:
    """Return the number of each value's bin; not a number goes to the one after the last."""
    columns = []
    for column, inner in zip(values.T, edges, strict=True):
        place = np.searchsorted(inner, column, side="right")
        columns.append(np.where(np.isfinite(column), place, n_bins + 2))
    return np.stack(columns, axis=1)


def _shares(binned: NDArray[np.int64], n_bins: int) -> tuple[NDArray[np.float64], int]:
    """Return the part of the showers in each bin, shape (quantity, bin), and their number."""
    n_quantities, width = binned.shape[1], n_bins + 3
    flat = binned + width * np.arange(n_quantities)
    counts = np.bincount(flat.ravel(), minlength=n_quantities * width)
    return counts.reshape(n_quantities, width) / len(binned), len(binned)


def _separation(
    a: tuple[NDArray[np.float64], int], b: tuple[NDArray[np.float64], int]
) -> NDArray[np.float64]:
    (p, n), (q, m) = a, b
    # The unbiased variance of a share p of n is p (1 - p) / (n - 1).
    scatter = p * (1 - p) / (n - 1) + q * (1 - q) / (m - 1)
    both = p + q
    terms = np.divide((p - q) ** 2 - scatter, both, out=np.zeros_like(both), where=both > 0)
    each = 0.5 * terms.sum(axis=1)
    return np.append(each, each.mean())
