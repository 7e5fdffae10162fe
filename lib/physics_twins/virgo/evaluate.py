"""Compare subtractions with an oracle's: what they removed, and what harm they did."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal

from physics_twins.data import fraction
from physics_twins.virgo.accounting import EDGE_S, frames_made_worse, removed_by_band
from physics_twins.virgo.oracle import oracle
from physics_twins.virgo.sensitivity import inspiral_range

Series = NDArray[np.floating]

LIMIT = "oracle"
_TITLES = {
    "worst": ("Coupled power removed, worst band", "1"),
    "median": ("Coupled power removed, median band", "1"),
    "change": ("Power of the strain, largest change of a band", "1"),
    "louder": ("Seconds made louder by more than 5 %", "1"),
    "range": ("Range to binary neutron stars, 12 to 400 Hz", "Mpc"),
}
_RANGE_HZ = (12.0, 400.0)


def evaluate(stretch: xr.Dataset, subtracted: Mapping[str, Series], *, from_s: float) -> xr.Dataset:
    """Return subtractions side by side, and the oracle's.

    Args:
        stretch: From `simulate`.
        subtracted: What each method took away, by the method's name, shape (time,).
        from_s: Where the part begins that filters were not fitted to.

    Returns:
        `value` and `error` (who, metric), which `figures.table` prints, and for each band `of_limit`,
        `of_limit_error`, `removed`, `removed_error`, `strain_change` and its error (who, band).
    """
    limit = oracle(stretch)
    everybody = {**subtracted, LIMIT: limit}
    accounts = [removed_by_band(stretch, each, limit, from_s=from_s) for each in everybody.values()]
    pairs = zip(accounts, everybody.values(), strict=True)
    rows = [_numbers(stretch, account, each, from_s) for account, each in pairs]
    titles, units = zip(*_TITLES.values(), strict=True)
    words: dict[str, Any] = {"title": ("metric", list(titles)), "unit": ("metric", list(units))}
    kept = ("of_limit", "removed", "strain_change")
    bands = xr.concat(accounts, "who")[[n for name in kept for n in (name, f"{name}_error")]]
    for name, values in zip(("value", "error"), np.moveaxis(np.array(rows), -1, 0), strict=True):
        bands[name] = (("who", "metric"), values, {"units": "as in unit"})
    return bands.assign_coords(who=list(everybody), metric=list(_TITLES), **words)


def binary_range(stretch: xr.Dataset, strain: Series, *, from_s: float) -> float:
    """Return the range to binary neutron stars of a strain as it is, 12 to 400 Hz, in Mpc.

    From its mean spectrum: a median one would hide seconds in which a subtraction fails.

    Args:
        stretch: With its times.
        strain: Shape (time,).
        from_s: Where to begin.
    """
    rate_hz, time_s = float(stretch.attrs["sample_rate_hz"]), stretch["time"].values
    inside = (time_s >= from_s) & (time_s < time_s[-1] - EDGE_S)
    n_part = min(8 * int(rate_hz), int(inside.sum()))
    frequency_hz, psd = signal.welch(strain[inside], rate_hz, nperseg=n_part)
    used = (frequency_hz >= _RANGE_HZ[0]) & (frequency_hz <= min(_RANGE_HZ[1], 0.45 * rate_hz))
    return inspiral_range(frequency_hz[used], psd[used])


def _numbers(
    stretch: xr.Dataset, account: xr.Dataset, subtracted: Series, from_s: float
) -> list[tuple[float, float]]:
    """Return value and error of each metric."""
    removed, change = account["removed"].values, account["strain_change"].values
    worst, middle = int(removed.argmin()), int(np.argsort(removed)[len(removed) // 2])
    chosen = (("removed", worst), ("removed", middle), ("strain_change", int(change.argmax())))
    share = fraction(*frames_made_worse(stretch, subtracted, from_s=from_s))
    return [
        *((float(account[name][n]), float(account[f"{name}_error"][n])) for name, n in chosen),
        (float(share[0]), float(share[1])),
        (binary_range(stretch, stretch["strain"].values - subtracted, from_s=from_s), 0.0),
    ]
