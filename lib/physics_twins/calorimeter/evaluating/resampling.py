"""Errors of statistics of showers, by drawing whole showers again."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bootstrap(
    statistic: Callable[..., Any],
    *samples: NDArray[Any],
    seed: int | Sequence[int],
    n_draws: int = 200,
) -> tuple[Any, Any]:
    """Return a statistic and its scatter when the rows of each sample are drawn again (Efron 1979).

    Args:
        statistic: Called with the samples, returns a number or an array.
        samples: Events along the first dimension of each, all of them independent.
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
