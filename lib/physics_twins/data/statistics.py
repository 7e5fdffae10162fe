"""Errors of shares, means, ensembles, areas under curves and statistics of any kind, for all twins."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def fraction(n_hits: ArrayLike, n: ArrayLike) -> tuple[Any, Any]:
    """Return which part of `n` was hit, and its standard error; not a number where `n` is 0.

    The error is that of Agresti and Coull (1998, Am. Stat. 52, 119), which is not zero at the ends. A
    coverage is such a fraction: of the intervals that hold the truth.

    Args:
        n_hits: Counts, of any shape.
        n: Of how many, of a shape that fits.

    >>> share, error = fraction(3, 4)
    >>> float(share), round(float(error), 3)
    (0.75, 0.171)
    """
    hits, total = np.asarray(n_hits, dtype=float), np.asarray(n, dtype=float)
    middle = (hits + 2) / (total + 4)
    error = np.where(total > 0, np.sqrt(middle * (1 - middle) / (total + 4)), np.nan)
    share = np.divide(hits, total, out=np.full(error.shape, np.nan), where=total > 0)
    return share[()], error[()]


def mean(values: ArrayLike) -> tuple[float, float]:
    """Return the mean of values and its standard error; what is not finite is left out.

    >>> mean([1.0, 3.0, float("nan")])
    (2.0, 1.0)
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    n = len(known)
    error = float(known.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return (float(known.mean()) if n else np.nan), error


def bootstrap(
    statistic: Callable[..., Any],
    *samples: NDArray[Any],
    seed: int | Sequence[int],
    n_draws: int = 200,
) -> tuple[Any, Any]:
    """Return a statistic and its scatter when the rows of each sample are drawn again (Efron 1979).

    Args:
        statistic: Called with the samples, returns a number or an array.
        samples: Events along the first dimension of each, all of them independent: each sample is drawn
            by itself. What belongs to one event are columns of one sample.
        seed: Of the drawing.
        n_draws: How often is drawn; the error is known to a part of 1/sqrt(2 n_draws).

    >>> value, error = bootstrap(np.mean, np.arange(100.0), seed=1)
    >>> float(value), bool(2.6 < error < 3.2)
    (49.5, True)
    """
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(*(each[rng.integers(len(each), size=len(each))] for each in samples))
        for _ in range(n_draws)
    ]
    return statistic(*samples), np.std(drawn, axis=0, ddof=1)


def auc(positive: ArrayLike, negative: ArrayLike) -> tuple[float, float]:
    """Return the chance that a positive event scores above a negative one, and its standard error.

    That is the area under the ROC curve: 0.5 is by chance. The error is that of DeLong et al. 1988
    (Biometrics 44, 837), for independent events.

    Args:
        positive: Scores, shape (event,).
        negative: Scores of the others.

    >>> auc([3.0, 4.0], [1.0, 2.0])[0]
    1.0
    """
    from scipy.stats import rankdata

    a, b = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    n, m = len(a), len(b)
    ranks = rankdata(np.concatenate([a, b]))
    above = (ranks[:n] - rankdata(a)) / m
    below = 1 - (ranks[n:] - rankdata(b)) / n
    variance = above.var(ddof=1) / n + below.var(ddof=1) / m
    return float(above.mean()), float(np.sqrt(variance))


def of_members(members: ArrayLike) -> NDArray[np.float64]:
    """Return the error of a mean over the members of an ensemble: their standard deviation.

    Members differ by the part of the data that each left out, and by the chance of their training,
    while what all have in common does not show. A jackknife counts the second too much, the error of
    independent members forgets the third. A single member tells nothing: 0.

    Args:
        members: What each member says, shape (member, ...).

    >>> float(of_members([1.0, 2.0, 3.0])), float(of_members([1.0]))
    (1.0, 0.0)
    """
    values = np.asarray(members, dtype=float)
    return np.std(values, axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
