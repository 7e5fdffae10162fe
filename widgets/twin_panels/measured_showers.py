"""Measured showers of a file beside a panel's curves: mean profiles, and how far those are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physics_twins.calorimeter.files import open_showers
from physics_twins.calorimeter.model import ShowerFlow
from physics_twins.calorimeter.projections import profiles
from physics_twins.data import Estimate

MOST = 10_000  # showers of a file that are read while one waits
PROFILES = ("longitudinal", "lateral")
# Of the mean's largest value: where a profile has less, few showers have anything, and errors mislead.
LEAST_PART = 0.01
# Nine in ten pairs of 300 showers of one flow lie between: slices rise and fall together.
SAME = (0.3, 1.5)


@dataclass(frozen=True)
class MeasuredShowers:
    """Showers of a file.

    Attributes:
        path: The file.
        known: From `projections.profiles`; `theta_deg` is no number where the file does not tell it.
        is_all: Whether these are all of the file's.
    """

    path: Path
    known: xr.Dataset
    is_all: bool

    @property
    def in_words(self) -> str:
        """What was found, and what to do with it."""
        energies = self.known["energy_gev"].values
        first = "" if self.is_all else "The first "
        return (
            f"{first}{len(energies)} showers of {energies.min():.3g} to {energies.max():.3g} GeV: move"
            " the sliders until the flow's mean, blue, lies on the points."
        )

    @property
    def knows_angles(self) -> bool:
        """Whether the file tells its particles' angles."""
        return bool(np.isfinite(self.known["theta_deg"].values).all())


def read(path: Path, flow: ShowerFlow) -> MeasuredShowers:
    """Return the showers of a file that a flow's energies and angles hold.

    Args:
        path: In any format that `open_showers` knows.
        flow: Whose cells they have.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, of no known format, of other cells, or holds no such showers.
    """
    parts: list[xr.Dataset] = []
    n, is_all = 0, True
    for block in open_showers(path, flow.parameters):
        parts.append(profiles(block))
        n += block.sizes["shower"]
        if n >= MOST:
            is_all = False
            break
    options: Any = {"join": "override", "combine_attrs": "override"}
    known = xr.concat(parts, "shower", **options) if parts else None
    inside = np.zeros(0, bool)
    if known is not None:
        inside = np.ones(n, bool)
        for name in ("energy_gev", "theta_deg"):
            low, high = flow.ranges[name]
            values = known[name].values
            inside &= np.isnan(values) | ((values >= low) & (values <= high))
    if known is None or not inside.any():
        low, high = flow.ranges["energy_gev"]
        raise ValueError(
            f"{path}: none of {n} showers is of {low:g} to {high:g} GeV and up to"
            f" {flow.ranges['theta_deg'][1]:g} deg, for which this flow was trained"
        )
    return MeasuredShowers(path, known.isel(shower=inside), is_all)


def means(known: xr.Dataset) -> xr.Dataset:
    """Return the mean of profiles from `projections.profiles`, and with `_error` its standard error."""
    n = known.sizes["shower"]
    made = {}
    for name in PROFILES:
        made[name] = known[name].mean("shower")
        made[f"{name}_error"] = known[name].std("shower", ddof=1) / np.sqrt(n)
    return xr.Dataset(made)


def distances(measured: xr.Dataset, twin: xr.Dataset) -> dict[str, float]:
    """Return chi squared per point between mean profiles, by profile; errors of both count.

    Where all of one sees more than all of the other, that is taken out: no slider moves a gain.

    Args:
        measured: From `means`.
        twin: Likewise, on the same cells.
    """
    found = {}
    gain = float(measured["longitudinal"].sum() / twin["longitudinal"].sum())
    for name in PROFILES:
        ours, error = (measured[each].values / gain for each in (name, f"{name}_error"))
        twins, other = (twin[each].values for each in (name, f"{name}_error"))
        told = np.maximum(ours, twins)
        filled = told > LEAST_PART * told.max()
        away = (ours - twins)[filled] ** 2 / (error**2 + other**2)[filled]
        found[name] = float(away.mean())
    return found


def distance_in_words(measured: xr.Dataset, twin: xr.Dataset) -> str:
    """Return how far a twin's profiles are from measured ones, and how much more these see.

    Args:
        measured: From `projections.profiles`.
        twin: Likewise.
    """
    away = distances(means(measured), means(twin))
    return (
        f"They see {_ratio(measured, twin).text} of what the flow's do; that taken out, χ² per point is"
        f" {away['longitudinal']:.3g} along the path, {away['lateral']:.3g} away from it"
        f" ({SAME[0]} to {SAME[1]} where nothing differs)."
    )


def _ratio(measured: xr.Dataset, twin: xr.Dataset) -> Estimate:
    """Return what all cells of measured showers see over what the twin's do."""
    sums = [each["longitudinal"].sum("depth").values for each in (measured, twin)]
    ours, twins = (float(each.mean()) for each in sums)
    parts = [float(each.std(ddof=1)) / np.sqrt(len(each)) / each.mean() for each in sums]
    return Estimate.of(ours / twins, ours / twins * float(np.hypot(*parts)))
