"""How often a shower of the training set is given out again."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# A shower counts as copied where it is closer to the training set than 99 % of real unseen showers.
COPY_QUANTILE = 0.01
_N_SIMILAR = 50
_BLOCK = 1000


def copying_rate(
    sample: NDArray[np.float64],
    held_out: NDArray[np.float64],
    training: NDArray[np.float64],
    *,
    energy_gev: NDArray[np.float64],
    held_out_gev: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the part of the showers that are closer to a training shower than 99 % of unseen ones.

    One in a hundred where nothing was copied, 1 where everything was. A distance is measured in the
    median of those of the 50 unseen showers of most similar energy.

    Args:
        sample: Features of the showers in question, shape (shower, number).
        held_out: Features of real showers that are not in the training set.
        training: Features of the training set.
        energy_gev: Incident energies of the sample, shape (shower,).
        held_out_gev: Those of the unseen showers.

    Returns:
        The part, and its error: that of the share, and of where the 1 % begin.
    """
    mean, spread = training.mean(axis=0), training.std(axis=0)
    spread[spread == 0] = np.inf  # what is always the same says nothing
    known = (training - mean) / spread
    closest, unseen = (_nearest((each - mean) / spread, known) for each in (sample, held_out))
    order = np.argsort(held_out_gev, kind="stable")
    n = min(_N_SIMILAR, len(order))
    running = np.median(np.lib.stride_tricks.sliding_window_view(unseen[order], n), axis=1)

    def in_typical(distance: NDArray[np.float64], at_gev: NDArray[np.float64]) -> NDArray[np.float64]:
        first = np.searchsorted(held_out_gev[order], at_gev) - n // 2
        return distance / np.maximum(running[first.clip(0, len(order) - n)], np.finfo(float).tiny)

    ratio = in_typical(closest, energy_gev)
    limit = np.quantile(in_typical(unseen, held_out_gev), COPY_QUANTILE)
    share = float((ratio < limit).mean())
    own = max(share, 1 / len(ratio)) * (1 - share) / len(ratio)
    where = COPY_QUANTILE * (1 - COPY_QUANTILE) / len(unseen)
    return share, float(np.sqrt(own + where))


def _nearest(sample: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each shower's distance to the nearest of others, some showers at a time."""
    blocks = range(0, len(sample), _BLOCK)
    return np.concatenate([cdist(sample[n : n + _BLOCK], others).min(axis=1) for n in blocks])
