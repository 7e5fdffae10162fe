"""What nearest neighbours say: are generated showers among the real ones, all of them, or copies?

Precision and recall of Kynkaanniemi et al. 2019 (arXiv:1904.06991), density and coverage of Naeem et
al. 2020 (arXiv:2002.09797), and how often a shower of the training set is given out again.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

N_NEIGHBOURS = 5
# A shower counts as copied where it is closer to the training set than 99 % of real unseen showers.
COPY_QUANTILE = 0.01
_N_SIMILAR = 50
_BLOCK = 1000


def manifold_scores(
    sample: NDArray[np.float64], reference: NDArray[np.float64]
) -> dict[str, tuple[float, float]]:
    """Return precision, recall, density and coverage, each with its standard error.

    Both are first brought to mean 0 and standard deviation 1 of the reference. Errors are those of a
    mean over showers, with the neighbourhoods held fixed.

    Args:
        sample: Features, shape (shower, number).
        reference: Features of the reference, shape (other shower, number).

    Raises:
        ValueError: There are no more than five showers of either.
    """
    if min(len(sample), len(reference)) <= N_NEIGHBOURS:
        raise ValueError(f"{min(len(sample), len(reference))} showers are too few: expected 6 or more")
    sample, reference = standardised(sample, reference), standardised(reference, reference)
    reach, own_reach = _reach(reference), _reach(sample)
    within, is_recalled = [], np.zeros(len(reference), dtype=bool)
    nearest = np.full(len(reference), np.inf)
    for here, distance in _distances(sample, reference):
        within.append((distance <= reach).sum(axis=1))
        is_recalled |= (distance <= own_reach[here, None]).any(axis=0)
        nearest = np.minimum(nearest, distance.min(axis=0))
    n_within = np.concatenate(within)
    shares = {
        "precision": n_within > 0,
        "recall": is_recalled,
        "density": n_within / N_NEIGHBOURS,
        "coverage": nearest <= reach,
    }
    return {
        name: (float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))
        for name, each in shares.items()
    }


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
    unseen = _nearest(standardised(held_out, training), standardised(training, training))
    closest = _nearest(standardised(sample, training), standardised(training, training))
    scale = _typical(unseen, held_out_gev)
    ratio = closest / scale(energy_gev)
    limit = np.quantile(unseen / scale(held_out_gev), COPY_QUANTILE)
    share = float((ratio < limit).mean())
    own = max(share, 1 / len(ratio)) * (1 - share) / len(ratio)
    where = COPY_QUANTILE * (1 - COPY_QUANTILE) / len(unseen)
    return share, float(np.sqrt(own + where))


def standardised(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values in standard deviations of the reference from its mean; constants become 0."""
    spread = reference.std(axis=0)
    return np.divide(
        values - reference.mean(axis=0), spread, out=np.zeros(values.shape), where=spread > 0
    )


def _typical(distance: NDArray[np.float64], energy_gev: NDArray[np.float64]):
    """Return a function of energy: the median distance of the showers of most similar energy."""
    order = np.argsort(energy_gev, kind="stable")
    energies, distances = np.log(energy_gev[order]), distance[order]
    n = min(_N_SIMILAR, len(order))

    def median(at_gev: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = np.searchsorted(energies, np.log(at_gev))
        first = np.clip(middle - n // 2, 0, len(order) - n)
        running = np.median(np.lib.stride_tricks.sliding_window_view(distances, n), axis=1)
        return np.maximum(running[first], np.finfo(float).tiny)

    return median


def _nearest(sample: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([distance.min(axis=1) for _, distance in _distances(sample, others)])


def _reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each shower to its fifth neighbour, itself not counted."""
    found = [
        np.partition(distance, N_NEIGHBOURS, axis=1)[:, N_NEIGHBOURS]
        for _, distance in _distances(values, values)
    ]
    return np.concatenate(found)


def _distances(
    sample: NDArray[np.float64], others: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of rows and their distances to all others, shape (row, other)."""
    norms = (others**2).sum(axis=1)
    for first in range(0, len(sample), _BLOCK):
        here = slice(first, first + _BLOCK)
        rows = sample[here]
        square = (rows**2).sum(axis=1)[:, None] + norms - 2 * rows @ others.T
        yield here, np.sqrt(np.maximum(square, 0.0))
