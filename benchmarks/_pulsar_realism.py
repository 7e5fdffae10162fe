"""How far look-alikes are from recordings that telescopes were fitted to; part of `pulsar.py`.

Called by itself it prints the five statistics side by side: `python benchmarks/_pulsar_realism.py`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import xarray as xr

from _table import Figure, Skipped, this_machine
from physics_twins.data import find_data_file
from physics_twins.pulsar.distinguish import distinguish
from physics_twins.pulsar.files import open_observation
from physics_twins.pulsar.lookalike import lookalike
from physics_twins.pulsar.realism import compare, realism
from physics_twins.pulsar.telescope import fit_telescope

FILES = {"ASKAP": "pulsar/askap_frb_28.fil", "Parkes": "pulsar/parkes_8bit_1.fil"}
# One fit and one look-alike for each; none was used while the fit was developed.
SEEDS = (20261, 20262, 20263)
N_SEGMENTS = 8  # of a look-alike, in lengths of the recording
ASKED = 1.5


@dataclass(frozen=True)
class Likeness:
    """What one recording and its look-alikes have in common.

    Attributes:
        table: As from `realism.compare`, over all seeds; `synthetic_error` includes their scatter.
        halves: Of the recording's first half with its second: how well it knows its own statistics.
        held_out: Of the second half with look-alikes of a telescope fitted to the first.
        auc: Area under the curve of a classifier of frames, and its error over folds and seeds.
        control: The same of a look-alike as long as the recording against others: a perfect match.
    """

    table: pd.DataFrame
    halves: pd.DataFrame
    held_out: pd.DataFrame
    auc: tuple[float, float]
    control: tuple[float, float]


@cache
def likeness(name: str) -> Likeness:
    """Return how alike a real file and its look-alikes are."""
    path = find_data_file(FILES[name])
    if path is None:
        raise Skipped(f"{FILES[name]} is not here: twins data fetch {FILES[name]}")
    with open_observation(path) as file:
        whole = file.dataset().sortby("frequency", ascending=False)
    real, length = realism(whole), whole.sizes["time"]
    made, aucs, controls = [], [], []
    for seed in SEEDS:
        model = fit_telescope(whole, seed=seed)
        alike = lookalike(model, N_SEGMENTS * length, seed=seed + 100)
        made.append(realism(alike, segment_spectra=length))
        aucs.append(distinguish(whole, alike, segment_spectra=length))
        other = lookalike(model, length, seed=seed + 200)
        controls.append(distinguish(other, alike, segment_spectra=length).auc)
    folds = np.mean([each.error for each in aucs])  # the recording is the same in all
    auc = [each.auc for each in aucs]
    half = length // 2
    first, second = (whole.isel(time=part) for part in (slice(half), slice(length - half, None)))
    halves = compare(realism(second), realism(first))
    return Likeness(
        compare(real, _together(made)),
        halves,
        compare(realism(second), _together([_of_half(first, seed) for seed in SEEDS])),
        (float(np.mean(auc)), float(np.hypot(folds, np.std(auc, ddof=1) / np.sqrt(len(auc))))),
        (float(np.mean(controls)), float(np.std(controls, ddof=1) / np.sqrt(len(controls)))),
    )


def _of_half(first: xr.Dataset, seed: int) -> xr.Dataset:
    length = first.sizes["time"]
    alike = lookalike(fit_telescope(first, seed=seed), N_SEGMENTS * length, seed=seed + 100)
    return realism(alike, segment_spectra=length)


def _together(made: list[xr.Dataset]) -> xr.Dataset:
    """Return the mean of several measured statistics, with its error."""
    values = np.array([each["value"].values for each in made])
    errors = np.array([each["error"].values for each in made])
    n = len(made)
    error = np.hypot(values.std(axis=0, ddof=1), np.sqrt((errors**2).mean(axis=0))) / np.sqrt(n)
    return made[0].assign(value=("statistic", values.mean(axis=0)), error=("statistic", error))


def realism_ratio() -> Figure:
    """Largest factor of the five statistics between a real file and its look-alikes, for each file.

    In the order of `FILES`. At most 1.5, the reference, is asked.
    """
    worst = [_worst(likeness(name).table) for name in FILES]
    values, errors = (list(column) for column in zip(*worst, strict=True))
    return Figure(values, errors, "", ASKED, this_machine(), SEEDS)


def realism_held_out() -> Figure:
    """The same of a half of the recording that the fit has not seen.

    The reference is the recording against itself: the largest factor between its two halves.
    """
    worst = [_worst(likeness(name).held_out) for name in FILES]
    own = [_worst(likeness(name).halves)[0] for name in FILES]
    values, errors = (list(column) for column in zip(*worst, strict=True))
    reference = ", ".join(f"{each:.3g}" for each in own)
    return Figure(values, errors, "", reference, this_machine(), SEEDS)


def realism_auc() -> Figure:
    """Area under the curve of a classifier that tells real frames from look-alikes, for each file.

    At most 0.6 is aimed at; the reference is what it gets where there is nothing to tell.
    """
    pairs = [likeness(name).auc for name in FILES]
    control = ", ".join(f"{likeness(name).control[0]:.2f}" for name in FILES)
    values, errors = (list(column) for column in zip(*pairs, strict=True))
    return Figure(values, errors, "", control, this_machine(), SEEDS)


def _worst(table: pd.DataFrame) -> tuple[float, float]:
    row = table.loc[table["factor"].idxmax()]
    return float(row["factor"]), float(row["factor_error"])


def side_by_side() -> str:
    """Return all that is known of each file as text."""
    parts = []
    for name in FILES:
        found = likeness(name)
        parts += [f"{name}: recording and look-alikes", found.table.round(3).to_string(), ""]
        parts += [f"{name}: its second half and its first", found.halves.round(3).to_string(), ""]
        parts += [f"{name}: its second half and look-alikes of its first"]
        parts += [found.held_out.round(3).to_string(), ""]
        parts += [f"{name}: area under the curve {found.auc[0]:.2f} +- {found.auc[1]:.2f}"]
        parts += [f"{name}: where nothing differs {found.control[0]:.2f} +- {found.control[1]:.2f}", ""]
    return "\n".join(parts)


BENCHMARKS = {
    "realism_ratio": realism_ratio,
    "realism_held_out": realism_held_out,
    "realism_auc": realism_auc,
}

if __name__ == "__main__":
    print(side_by_side())
