"""Audit a twin against Geant4 while showers come in, and stop whenever you like.

The test may be looked at after every shower: with a twin that is right, it is wrongly rejected with a
probability of at most `alpha`, however long one goes on and whenever one stops. See
`evaluating.betting` for the construction that proves it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from physics_twins.calorimeter.evaluating.betting import RankBet
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.evaluating.matching import nearest_in_conditions
from physics_twins.calorimeter.evaluating.prediction_powered import CorrectedMean, corrected_mean

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
# Showers of the twin that are averaged at each energy and angle.
_N_AVERAGED = 10


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


def audit(
    fire: Callable[[int, int], xr.Dataset],
    twin: xr.Dataset,
    *,
    seed: int,
    n_showers: int = 500,
    batch: int = 50,
    alpha: float = ALPHA,
    go_on: bool = False,
    on_batch: Callable[[Audit], None] | None = None,
) -> xr.Dataset:
    """Fire real showers in batches until the twin is rejected or enough have been seen.

    Args:
        fire: Returns real showers number `first` and following, `count` of them, in the form of
            `simulate`: for instance `simulate.part` with parameters, seed and client filled in.
        twin: The twin's showers, some thousand, for energies and angles drawn as the real ones are.
        seed: Of the random ranks among ties.
        n_showers: Real showers at most.
        batch: So many are fired at once.
        alpha: Largest probability of a false alarm, at any stopping time.
        go_on: Whether to go on after the twin is rejected, for a closer look at its bias.
        on_batch: Called with the test after each batch.

    Returns:
        `evidence` (n, the number of showers seen), `twin`, `corrected`, `error`, `low`, `high`
        (number), the twin's means and those that real showers correct them to, with 68 % intervals; the
        attributes `verdict`, `rejected_at` (0 where it is not), `rejected_by`, `alpha`; and what was
        audited, `energy_gev` and `theta_deg` (lowest, highest) and, where known, `absorber_mm`.
    """
    told = features(twin)
    test = Audit(_columns(told), seed=seed, alpha=alpha, weights=NUMBERS)
    seen = []
    for first in range(0, n_showers, batch):
        seen.append(features(fire(first, min(batch, n_showers - first))))
        is_rejected = test.add(_columns(seen[-1]))
        if on_batch:
            on_batch(test)
        if is_rejected and not go_on:
            break
    real: Any = xr.concat(seen, "shower", join="exact")
    units = {name: str(told[name].attrs["units"]) for name in NUMBERS}
    return _result(test, corrected_means(real, told), units).assign_attrs(_conditions(twin))


def last_audit(
    audits: Sequence[xr.Dataset], *, energy_gev: float, theta_deg: float, absorber_mm: float
) -> xr.Dataset | None:
    """Return the last of several audits that was made of showers like these; None where none was.

    Args:
        audits: From `audit`, the newest last.
        energy_gev: May lie 10 % outside the energies of the audit.
        theta_deg: May lie 2 degrees outside its angles.
        absorber_mm: May differ by 0.01 mm.
    """
    asked = {"energy_gev": energy_gev, "theta_deg": theta_deg}
    for found in reversed(audits):
        thick = float(found.attrs.get("absorber_mm", absorber_mm))
        ends = {name: found.attrs.get(name, (np.inf, -np.inf)) for name in asked}
        low = {"energy_gev": 0.9 * ends["energy_gev"][0], "theta_deg": ends["theta_deg"][0] - 2.0}
        high = {"energy_gev": 1.1 * ends["energy_gev"][1], "theta_deg": ends["theta_deg"][1] + 2.0}
        if abs(thick - absorber_mm) <= 0.01 and all(low[n] <= asked[n] <= high[n] for n in asked):
            return found
    return None


def corrected_means(
    real: xr.Dataset, twin: xr.Dataset, *, level: float = 0.68
) -> dict[str, CorrectedMean]:
    """Return the twin's means of a shower's numbers, corrected with real showers.

    The twin is taken as a function of energy and angle: the mean of ten of its showers of most similar
    conditions. Half of them make that function, the conditions of the others say where it is averaged.

    Args:
        real: From `features`.
        twin: Likewise.
        level: Probability that an interval covers.

    Raises:
        ValueError: There are fewer than two real showers, or fewer than 20 of the twin's.
    """
    if twin.sizes["shower"] < 2 * _N_AVERAGED:
        raise ValueError(f"twin has {twin.sizes['shower']} showers, expected {2 * _N_AVERAGED} or more")
    known, elsewhere = twin.isel(shower=slice(0, None, 2)), twin.isel(shower=slice(1, None, 2))
    here = nearest_in_conditions(real, known, _N_AVERAGED)
    there = nearest_in_conditions(elsewhere, known, _N_AVERAGED)
    measured, told, means = _columns(real), _columns(known), _columns(twin)
    found = {}
    for name, values in told.items():
        predicted = values[here].mean(axis=1), values[there].mean(axis=1)
        corrected = corrected_mean(measured[name], *predicted, level=level)
        found[name] = replace(corrected, twin=float(means[name].mean()))
    return found


def _conditions(twin: xr.Dataset) -> dict[str, Any]:
    """Return what the twin's showers were asked to be, or, where that is not known, what they are."""
    found: dict[str, Any] = {}
    for name, highest in (("energy_gev", "energy_max_gev"), ("theta_deg", "theta_max_deg")):
        low, high = twin.attrs.get(name), twin.attrs.get(highest)
        if low is None or high is None:
            low, high = float(twin[name].min()), float(twin[name].max())
        found[name] = [float(low), max(float(low), float(high))]
    if "absorber_mm" in twin.attrs:
        found["absorber_mm"] = float(twin.attrs["absorber_mm"])
    return found


def _columns(numbers: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    # A shower without any energy lies at 0, and its evidence counts.
    return {name: np.nan_to_num(numbers[name].values) for name in NUMBERS}


def _result(test: Audit, means: Mapping[str, CorrectedMean], units: Mapping[str, str]) -> xr.Dataset:
    names = {"twin": "twin", "corrected": "value", "error": "error", "low": "low", "high": "high"}
    variables: dict[str, Any] = {
        name: (
            "number",
            [getattr(mean, attribute) for mean in means.values()],
            {"units": "as in unit", "long_name": f"{name.capitalize()}, of a mean"},
        )
        for name, attribute in names.items()
    }
    about = {"units": "1", "long_name": "Evidence against the twin"}
    variables["evidence"] = ("n", test.course, about)
    coordinates = {
        "number": ("number", list(means)),
        "unit": ("number", [units[name] for name in means]),
        "n": ("n", np.arange(1, test.n_showers + 1), {"units": "1", "long_name": "Real showers"}),
    }
    facts = {"verdict": test.verdict, "alpha": test.alpha, "rejected_at": test.rejected_at or 0}
    return xr.Dataset(variables, coordinates, {**facts, "rejected_by": test.rejected_by})
