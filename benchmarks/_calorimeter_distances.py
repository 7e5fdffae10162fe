"""CaloChallenge's distances between sets of features of showers.

Frechet and kernel physics distance are those of Kansal et al. (arXiv:2211.10295), precision and recall
those of Kynkaanniemi et al. 2019 (arXiv:1904.06991), density and coverage those of Naeem et al. 2020
(arXiv:2002.09797).

Features are divided by the largest absolute value of the reference, as there. The Frechet distance of n
showers exceeds that of infinitely many by about b / n, and is extrapolated (Chong & Forsyth 2020,
arXiv:1911.07023). Subsets are drawn without putting back, so that, unlike in the published code, two
samples of one distribution give zero within the error, and values may be negative.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

# Both samples are cut into so many groups; subsets are unions of 3, 4, 6 and 12 of them.
_N_GROUPS, _UNIONS, _N_SHUFFLES = 12, (3, 4, 6, 12), 4
SHOWERS_PER_NUMBER = 4
KERNEL_DEGREE = 4
_N_BATCHES, _BATCH_SHOWERS = 10, 2000
N_NEIGHBOURS = 5


def scaled(
    sample: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both, divided by the largest absolute value of each number in the reference.

    A number that is always 0 there is divided by the largest of the sample.
    """
    largest, ours = np.abs(reference).max(axis=0), np.abs(sample).max(axis=0)
    largest = np.where(largest > 0, largest, np.where(ours > 0, ours, 1.0))
    return sample / largest, reference / largest


def frechet_distance(
    sample: NDArray[np.float64], reference: NDArray[np.float64], *, seed: int
) -> tuple[float, float]:
    """Return the Frechet physics distance, extrapolated to infinitely many showers, and its error.

    The error comes from leaving out each of 12 groups of showers in turn (jackknife, Tukey 1958). Both
    are not a number where there are less than 4 showers a feature: nothing could be extrapolated.

    Args:
        sample: Features, shape (shower, number).
        reference: Features of the reference, shape (other shower, number).
        seed: Of the drawing of subsets.

    Raises:
        ValueError: There are fewer than 24 showers of either.
    """
    n = min(len(sample), len(reference))
    if n < 2 * _N_GROUPS:
        raise ValueError(f"{n} showers are too few for a distance: {2 * _N_GROUPS} are needed")
    if n < SHOWERS_PER_NUMBER * sample.shape[1]:
        return np.nan, np.nan
    generator = np.random.default_rng([seed, 2])
    sample, reference = scaled(sample, reference)
    values, left_out = [], []
    for _ in range(_N_SHUFFLES):
        groups = [_groups(generator.permutation(each)[:n]) for each in (sample, reference)]
        values.append(_extrapolated(groups, _UNIONS))
        if not left_out:
            # Of 11 groups other unions can be made; whole ones are 11.
            fewer = [[np.delete(g, k, axis=0) for g in groups] for k in range(_N_GROUPS)]
            left_out = [_extrapolated(each, (3, 5, _N_GROUPS - 1)) for each in fewer]
    return float(np.mean(values)), float(np.sqrt((_N_GROUPS - 1) * np.var(left_out)))


def gaussian_distance(
    mean_a: NDArray[np.float64],
    covariance_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    covariance_b: NDArray[np.float64],
) -> float:
    """Return the squared Frechet distance of two Gaussians (Dowson & Landau 1982).

    >>> one = np.eye(2)
    >>> round(gaussian_distance(np.zeros(2), one, np.array([3.0, 0.0]), 4 * one), 9)
    11.0
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    shared = np.sqrt(np.maximum(cross, 0)).sum()
    spread = np.trace(covariance_a) + np.trace(covariance_b) - 2 * shared
    return float(((mean_a - mean_b) ** 2).sum() + spread)


def kernel_distance(
    sample: NDArray[np.float64], reference: NDArray[np.float64], *, seed: int
) -> tuple[float, float]:
    """Return the kernel physics distance and its error: squared maximum mean discrepancy, unbiased.

    The kernel is (x.y / d + 1)^4 in d features. Mean over ten batches that share no shower, and its
    error from their scatter.

    Raises:
        ValueError: There are fewer than 20 showers of either.
    """
    n = min(len(sample), len(reference))
    if n < 2 * _N_BATCHES:
        raise ValueError(f"{n} showers are too few for a distance: {2 * _N_BATCHES} are needed")
    generator = np.random.default_rng([seed, 3])
    sample, reference = scaled(sample, reference)
    size = min(n // _N_BATCHES, _BATCH_SHOWERS)
    orders = [generator.permutation(len(each)) for each in (sample, reference)]
    values = []
    for k in range(_N_BATCHES):
        a, b = (
            each[order[k * size : (k + 1) * size]]
            for each, order in zip((sample, reference), orders, strict=True)
        )
        values.append(_discrepancy(a, b))
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(_N_BATCHES))


def _discrepancy(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the unbiased squared maximum mean discrepancy (Gretton et al. 2012, equation 3)."""
    n, m = len(a), len(b)
    aa, bb, ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return (a @ b.T / a.shape[1] + 1) ** KERNEL_DEGREE


def _groups(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each group the sums from which mean and covariance follow, (group, 1 + d, 1 + d)."""
    size = len(values) // _N_GROUPS
    extended = np.concatenate([np.ones((len(values), 1)), values], axis=1)
    groups = extended[: size * _N_GROUPS].reshape(_N_GROUPS, size, -1)
    return np.einsum("gni,gnj->gij", groups, groups, optimize=True)


def _extrapolated(groups: list[NDArray[np.float64]], unions: tuple[int, ...]) -> float:
    """Return the distance at 1 / n = 0 from a straight line through those of unions of groups."""
    inverse, values, weights = [], [], []
    for size in unions:
        found, n = [], size * groups[0][0, 0, 0]
        for first in range(0, len(groups[0]) // size * size, size):
            parts = [each[first : first + size].sum(axis=0) for each in groups]
            found.append(gaussian_distance(*_moments(parts[0]), *_moments(parts[1])))
        inverse.append(1 / n)
        values.append(np.mean(found))
        weights.append(np.sqrt(len(found)))
    return float(np.polyfit(inverse, values, 1, w=weights)[1])


def _moments(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, mean = sums[0, 0], sums[0, 1:] / sums[0, 0]
    return mean, (sums[1:, 1:] - n * np.outer(mean, mean)) / (n - 1)


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
    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    spread[spread == 0] = np.inf
    sample, reference = (sample - mean) / spread, (reference - mean) / spread
    reach, own_reach = _reach(reference), _reach(sample)
    distance = cdist(sample, reference)
    n_within = (distance <= reach).sum(axis=1)
    shares = {
        "precision": n_within > 0,
        "recall": (distance <= own_reach[:, None]).any(axis=0),
        "density": n_within / N_NEIGHBOURS,
        "coverage": distance.min(axis=0) <= reach,
    }
    return {
        name: (float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))
        for name, each in shares.items()
    }


def _reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each shower to its fifth neighbour, itself not counted."""
    return np.sort(cdist(values, values), axis=1)[:, N_NEIGHBOURS].astype(float)
