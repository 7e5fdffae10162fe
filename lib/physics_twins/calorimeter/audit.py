"""Audit a twin against Geant4 while showers come in, and stop whenever you like.

The test may be looked at after every shower: with a twin that is right, it is wrongly rejected with a
probability of at most `alpha`, however long one goes on and whenever one stops. See
`evaluating.betting` for the construction that proves it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from physics_twins.calorimeter.evaluating.betting import RankBet
from physics_twins.calorimeter.evaluating.features import features

ALPHA = 0.05
# Numbers of a shower that are compared, and how much of the wealth is first bet on each.
NUMBERS: Mapping[str, float] = {
    "response": 0.4,
    "depth_mm": 0.12,
    "length_mm": 0.12,
    "radius_mm": 0.12,
    "spread_mm": 0.12,
    "empty": 0.12,
}
_MAX_LOG_WEALTH = 700.0  # what still is a finite number


class Audit:
    """A sequential test of a twin on several numbers of a shower at once.

    Attributes:
        alpha: Largest probability of a false alarm, at any stopping time.
        n_showers: Real showers seen.
        rejected_at: Shower at which the twin was rejected; None while it is not.
        rejected_by: Number with the most evidence at that shower.
        course: Wealth after each shower, shape (shower,).
    """

    def __init__(
        self,
        twin: Mapping[str, ArrayLike],
        *,
        seed: int,
        alpha: float = ALPHA,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Begin without evidence.

        Args:
            twin: Numbers of the twin's showers by name, each of shape (shower,): drawn independently,
                with energies and angles distributed as those of the real showers to come.
            seed: Of the random ranks among ties.
            alpha: Largest probability of a false alarm.
            weights: How much is bet on each number; equal parts by default.

        Raises:
            ValueError: `alpha` is not between 0 and 1, there is no number, a weight is not positive or
                missing, or a number has fewer than 20 finite values.
        """
        if not 0 < alpha < 1:
            raise ValueError(f"alpha = {alpha:g} must be between 0 and 1")
        if not twin:
            raise ValueError("twin has no numbers: expected at least one, such as response")
        parts = np.array([(weights or {}).get(name, 0.0 if weights else 1.0) for name in twin])
        if not (parts > 0).all():
            raise ValueError(f"weights must be positive for {', '.join(twin)}: found {parts.tolist()}")
        self.alpha, self.names = alpha, tuple(twin)
        self._log_weights = np.log(parts / parts.sum())
        self._bets = [
            RankBet(np.asarray(pool, dtype=float), seed=seed + n)
            for n, pool in enumerate(twin.values())
        ]
        self.course: NDArray[np.float64] = np.zeros(0)
        self.rejected_at: int | None = None
        self.rejected_by = ""

    @property
    def n_showers(self) -> int:
        """Real showers seen."""
        return len(self.course)

    @property
    def wealth(self) -> float:
        """Evidence against the twin: 1 at the start; it is rejected from 1 / alpha upwards."""
        return float(self.course[-1]) if self.n_showers else 1.0

    def add(self, real: Mapping[str, ArrayLike]) -> bool:
        """Take real showers in, in their order; return whether the twin is rejected by now.

        Raises:
            ValueError: A number is missing, lengths differ, or a value is not finite.
        """
        if missing := [name for name in self.names if name not in real]:
            raise ValueError(f"{', '.join(missing)} is missing in the real showers")
        columns = [np.atleast_1d(np.asarray(real[name], dtype=float)) for name in self.names]
        if len({len(column) for column in columns}) != 1:
            raise ValueError(f"{', '.join(self.names)} must be of one length")
        wealth = np.stack([bet.add(c) for bet, c in zip(self._bets, columns, strict=True)])
        parts = wealth + self._log_weights[:, None]
        before = self.n_showers
        together = np.asarray(logsumexp(parts, axis=0), dtype=float)
        now = np.exp(np.minimum(together, _MAX_LOG_WEALTH))
        self.course = np.concatenate([self.course, now])
        if self.rejected_at is None and (over := self.course[before:] >= 1 / self.alpha).any():
            first = int(over.argmax())
            self.rejected_at = before + first + 1
            self.rejected_by = self.names[int(parts[:, first].argmax())]
        return self.rejected_at is not None

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.rejected_at is None:
            return f"not rejected after {self.n_showers} showers"
        return f"rejected here: at shower {self.rejected_at}, by {self.rejected_by}"


def audit(pieces: Iterable[xr.Dataset], twin: xr.Dataset, *, seed: int) -> xr.Dataset:
    """Compare real showers with a twin's as they come, until the twin is rejected or there are no more.

    Args:
        pieces: Real showers in the form of `simulate`, some at a time.
        twin: The twin's showers, some thousand, for energies and angles drawn as the real ones are.
        seed: Of the random ranks among ties.

    Returns:
        `evidence` (n, the number of showers seen); the attributes `verdict`, `rejected_at` (0 where it
        is not), `rejected_by`, `alpha`.
    """
    test = Audit(_columns(twin), seed=seed, weights=NUMBERS)
    for piece in pieces:
        if test.add(_columns(piece)):
            break
    n = np.arange(1, test.n_showers + 1)
    about = {"units": "1", "long_name": "Evidence against the twin"}
    facts = {"verdict": test.verdict, "alpha": test.alpha, "rejected_at": test.rejected_at or 0}
    return xr.Dataset(
        {"evidence": ("n", test.course, about)},
        {"n": ("n", n, {"units": "1", "long_name": "Real showers"})},
        {**facts, "rejected_by": test.rejected_by},
    )


def _columns(showers: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    numbers = features(showers)
    # A shower without any energy lies at 0, and its evidence counts.
    return {name: np.nan_to_num(numbers[name].values) for name in NUMBERS}
