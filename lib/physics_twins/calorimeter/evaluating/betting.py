"""Anytime-valid test that two streams are alike: a bet on ranks that nobody can win by waiting.

A pool of the twin's values is given. Each real value, as it comes, is ranked among the pool and the
real values before it. While real and twin are alike, all these values are exchangeable, so that the
ranks, with ties and gaps filled at random, are independent and uniform, exactly, whatever the
distribution (Vovk, Nouretdinov & Gammerman 2003, conformal martingales). A gambler bets on their
Gaussian quantiles z: for each of some shifts d and widths w he holds an equal part of 1 and multiplies
it by N(z; d, w) / N(z; 0, 1). Each factor has expectation 1, so his wealth is a martingale, and by
Ville's inequality passes 1 / alpha with probability alpha at most, at whatever time one looks and stops
(Ramdas et al. 2023, Stat. Sci. 38, 576; Shekhar & Ramdas 2023, arXiv:2112.09162). If the streams differ
it grows exponentially.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtri

# What the gambler expects: shifts and widths in standard deviations of the twin.
SHIFTS = (-3.0, -1.7, -1.0, -0.6, -0.35, -0.2, 0.0, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)
WIDTHS = (0.5, 0.71, 1.0, 1.41, 2.0)


class RankBet:
    """The wealth of one who bets that a number of real showers is not distributed as the twin's.

    Its logarithm starts at 0.
    """

    def __init__(self, pool: NDArray[np.float64], *, seed: int) -> None:
        """Begin with a wealth of 1.

        Args:
            pool: Values of the twin, independent drawings, shape (shower,).
            seed: Of the random ranks among ties.

        Raises:
            ValueError: There are fewer than 20 values, or one is not a number.
        """
        pool = np.sort(np.asarray(pool, dtype=float))
        if len(pool) < 20 or not np.isfinite(pool).all():
            raise ValueError(f"pool has {np.isfinite(pool).sum()} finite values, expected 20 or more")
        self._pool = pool
        self._seen = np.zeros(0)
        self._generator = np.random.default_rng(seed)
        shift, width = (grid.ravel() for grid in np.meshgrid(SHIFTS, WIDTHS))
        bets = (shift != 0) | (width != 1)  # the others cannot win
        self._shift, self._width = shift[bets], width[bets]
        self._log_parts = np.full(bets.sum(), -np.log(bets.sum()))

    @property
    def n_seen(self) -> int:
        """Real values seen."""
        return len(self._seen)

    @property
    def log_wealth(self) -> float:
        """Logarithm of the wealth."""
        return float(np.asarray(logsumexp(self._log_parts)))

    def add(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take real values in, in their order; return the logarithm of the wealth after each.

        Raises:
            ValueError: A value is not a number.
        """
        values = np.atleast_1d(np.asarray(values, dtype=float))
        if not np.isfinite(values).all():
            raise ValueError(
                f"real value {self.n_seen + int((~np.isfinite(values)).argmax())} is not finite"
            )
        z = ndtri(self._uniform(values))[:, None]
        gains = (z**2 - ((z - self._shift) / self._width) ** 2) / 2 - np.log(self._width)
        course = self._log_parts + np.cumsum(gains, axis=0)
        if len(course):
            self._log_parts = course[-1]
        return np.asarray(logsumexp(course, axis=1), dtype=float)

    def _uniform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is uniform between 0 and 1 and independent if real and twin are alike."""
        before = len(self._seen)
        self._seen = np.concatenate([self._seen, values])
        earlier = np.tri(len(self._seen), k=-1, dtype=bool)[before:]
        below = np.searchsorted(self._pool, values) + ((self._seen < values[:, None]) & earlier).sum(1)
        same = np.searchsorted(self._pool, values, side="right") - np.searchsorted(self._pool, values)
        same += ((self._seen == values[:, None]) & earlier).sum(1)
        n_others = len(self._pool) + before + np.arange(len(values))
        # The value itself is one of `same + 1` equal ones. A draw is never 0 or 1 exactly.
        drawn = np.clip(self._generator.random(len(values)), 1e-12, 1 - 1e-12)
        return (below + drawn * (same + 1)) / (n_others + 1)
