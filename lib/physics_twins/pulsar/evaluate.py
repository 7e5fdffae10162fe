"""Compare what a search found with what a simulation put in."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import fraction, mean


def evaluate(observation: xr.Dataset, result: xr.Dataset) -> xr.Dataset:
    """Match the candidates labelled `pulse` with the pulses of a simulated observation.

    A candidate matches a pulse where its track stays within its own width of the pulse's throughout the
    band; of several that match one pulse the strongest counts, and the others are false. Only pulses
    whose whole track lies inside the observation count as to be found; the others may be found, and
    then count neither way.

    Args:
        observation: From `simulate`.
        result: From `infer` on it.

    Returns:
        For each pulse `pulse_snr_ideal`, `complete`, and of the candidate that matches it `snr`,
        `dm_error_pc_cm3` and `time_error_s`, not a number where none does (pulse). For each
        candidate `matched`: the number of the pulse, or -1 for a false alarm or another label
        (candidate). `n_false`: candidates labelled `pulse` that match none. And `value` and `error`
        (who, metric), ours and the limit: recall, and the S/N found over that of a matched filter;
        `figures.table` prints them.
    """
    dm_pc_cm3 = float(observation.attrs["dm_pc_cm3"])
    delay_s_per_dm = float(result.attrs["delay_s_per_dm"])
    pulse_time_s = observation["pulse_time_s"].values
    matched = _match(result, pulse_time_s, dm_pc_cm3, delay_s_per_dm)
    found = {name: np.full(len(pulse_time_s), np.nan) for name in ("snr", "dm", "time")}
    for n in np.flatnonzero(matched >= 0):
        pulse = matched[n]
        found["snr"][pulse] = result["snr"].values[n]
        found["dm"][pulse] = result["dm_pc_cm3"].values[n] - dm_pc_cm3
        found["time"][pulse] = result["time_s"].values[n] - pulse_time_s[pulse]
    last_s = pulse_time_s + dm_pc_cm3 * delay_s_per_dm
    n_false = int(((matched < 0) & (result["label"].values == "pulse")).sum())
    complete = last_s <= observation["time"].values[-1]
    ideal = observation["pulse_snr_ideal"].values
    return _told(found["snr"][complete], ideal[complete]).assign(
        {
            "pulse_snr_ideal": observation["pulse_snr_ideal"],
            "complete": ("pulse", complete, {"units": "1"}),
            "snr": ("pulse", found["snr"], {"units": "1"}),
            "dm_error_pc_cm3": ("pulse", found["dm"], {"units": "pc cm-3"}),
            "time_error_s": ("pulse", found["time"], {"units": "s"}),
            "matched": ("candidate", matched, {"units": "1"}),
            "n_false": ((), n_false, {"units": "1"}),
        }
    )


def _told(snr: NDArray[np.float64], ideal: NDArray[np.float64]) -> xr.Dataset:
    """Return what was found of whole pulses, beside the limit."""
    ours = np.array([fraction(np.isfinite(snr).sum(), len(snr)), mean(snr / ideal)])
    limit = [[np.nan, np.nan], [1.0, 0.0]]
    titles = ["Whole pulses found", "S/N found over that of a matched filter"]
    told = np.array([ours, limit])  # (who, metric, value or error)
    return xr.Dataset(
        {
            "value": (("who", "metric"), told[..., 0], {"units": "1"}),
            "error": (("who", "metric"), told[..., 1], {"units": "1"}),
        },
        {
            "who": ["ours", "limit"],
            "metric": ["recall", "snr_ratio"],
            "title": ("metric", titles),
            "unit": ("metric", ["1", "1"]),
        },
    )


def _match(
    result: xr.Dataset, pulse_time_s: NDArray[np.float64], dm_pc_cm3: float, delay_s_per_dm: float
) -> NDArray[np.int64]:
    """Return for each candidate the pulse it is of, -1 for none, shape (candidate,)."""
    matched = np.full(result.sizes["candidate"], -1)
    for n in range(len(matched)):
        if result["label"].values[n] != "pulse" or not len(pulse_time_s):
            continue
        early_s = result["time_s"].values[n] - pulse_time_s  # at the highest channel
        dm_error = result["dm_pc_cm3"].values[n] - dm_pc_cm3
        late_s = early_s + dm_error * delay_s_per_dm  # at the lowest
        farthest_s = np.maximum(np.abs(early_s), np.abs(late_s))
        best = int(farthest_s.argmin())
        if farthest_s[best] <= result["width_s"].values[n] and best not in matched:
            matched[n] = best
    return matched
