"""Means of real showers from few of them and many of a twin's, right whatever the twin's faults.

Angelopoulos et al. 2023 (Science 382, 669, arXiv:2301.09633), with the weight of arXiv:2311.01453: the
twin's mean, plus the mean difference between real showers and the twin's of the same energy and angle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm


@dataclass(frozen=True)
class CorrectedMean:
    """A mean, corrected with real showers.

    Attributes:
        value: The corrected mean.
        error: Its standard error.
        low: Lower end of the interval.
        high: Upper end.
        weight: How much the twin counts, 0 to 1; 0 leaves the mean of the real showers.
        twin: The twin's own mean.
    """

    value: float
    error: float
    low: float
    high: float
    weight: float
    twin: float

    @property
    def bias(self) -> float:
        """How much the twin's mean is too high."""
        return self.twin - self.value


def corrected_mean(
    measured: ArrayLike, predicted: ArrayLike, predicted_elsewhere: ArrayLike, *, level: float = 0.68
) -> CorrectedMean:
    """Return the mean of what real showers would give, with its interval.

    The interval holds for any twin, good or bad, once there are some tens of real showers; a good one
    makes it shorter than that of the real showers alone. The weight is the one of the least variance,
    cov(y, f) / ((1 + n / N) var f), cut to 0 to 1.

    Args:
        measured: Of n real showers, shape (n,).
        predicted: By the twin, under the same conditions, shape (n,).
        predicted_elsewhere: By the twin for N more drawings of the conditions, shape (N,).
        level: Probability that the interval covers.

    Raises:
        ValueError: Lengths differ, there are fewer than two of either, or `level` is not in (0, 1).
    """
    y, f, many = (np.asarray(v, dtype=float) for v in (measured, predicted, predicted_elsewhere))
    if y.shape != f.shape or y.ndim != 1:
        raise ValueError(f"predicted has shape {f.shape}, expected {y.shape}, one for each measured")
    if min(len(y), len(many)) < 2:
        raise ValueError(
            f"measured has {len(y)} and predicted_elsewhere {len(many)}: expected 2 or more"
        )
    if not 0 < level < 1:
        raise ValueError(f"level = {level:g} must be between 0 and 1")
    n, n_many = len(y), len(many)
    spread = float(np.concatenate([f, many]).var(ddof=1))
    shared = float(np.cov(y, f)[0, 1])
    weight = float(np.clip(shared / ((1 + n / n_many) * spread), 0, 1)) if spread > 0 else 0.0
    value = float(weight * many.mean() + (y - weight * f).mean())
    variance = weight**2 * many.var(ddof=1) / n_many + (y - weight * f).var(ddof=1) / n
    error = float(np.sqrt(variance))
    reach = float(norm.ppf(0.5 + level / 2)) * error
    return CorrectedMean(value, error, value - reach, value + reach, weight, float(many.mean()))
