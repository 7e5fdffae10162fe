"""Steps in gain or level that all channels make in the same instant, taken out of the spectra.

A step is no pulse: a dispersed one never begins in three quarters of the band at once. Left in, it is
found by every wide filter, and the baseline that follows it hides what is near.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.searching.cells import CELL, N_LEVEL, Cells, level_and_noise, measure_cells

N_SUBBANDS = 16
# Level before and after is compared over so many cells, and over so few at the ends of a block.
REACH_CELLS, LEAST_CELLS = 24, 4
# So long at least it stays, where a wide pulse has gone.
LASTING_CELLS = 96
# Between near cells all subbands together must move by so many of their standard deviations.
NEAR_SIGMA = 3.0
# Three quarters of the subbands must move by so many standard deviations of their own, in one
# direction.
STEP_SIGMA = 2.0
MAX_STEPS = 16  # in a block
# No interference counts for more in a cell's mean, in its standard deviations.
MAX_EXCESS = 4.0
# A channel whose own step is that far from the common one has something of its own.
OWN_SIGMA = 5.0


def measured(spectra: NDArray[Any], **options: Any) -> tuple[NDArray[Any], Cells]:
    """Return spectra without steps, and their cells, see `measure_cells`.

    Args:
        spectra: Counts, shape (time, channel), at least four cells long.
        options: Those of `measure_cells`.
    """
    cells = measure_cells(spectra, **options)
    found = steps(cells)
    if not found:
        return spectra, cells
    level, sigma = cells.level.copy(), cells.sigma.copy()
    cuts = [_instant(spectra, level, sigma, step) for step in found]
    spectra = _without(spectra, sigma, [0, *sorted(set(cuts)), len(spectra)])
    return spectra, measure_cells(spectra, **options)


def steps(cells: Cells) -> list[int]:
    """Return the cells before which all channels step up or down, ascending."""
    good = np.flatnonzero(~cells.bad_channel & (cells.sigma > 0))
    n_cells = len(cells.excess)
    if len(good) < N_SUBBANDS or n_cells < 2 * LEAST_CELLS:
        return []
    edges = np.linspace(0, len(good), N_SUBBANDS + 1).astype(int)[:-1]
    cut = cells.excess[:, good].clip(-MAX_EXCESS, MAX_EXCESS)
    means = np.add.reduceat(cut, edges, axis=1) / np.diff([*edges, len(good)])
    noise = np.median(np.abs(np.diff(means, axis=0)), axis=0) * _SIGMA_OF_DIFFERENCES
    means /= np.maximum(noise, 1e-9)
    height = _heights(means)
    found: list[int] = []
    for n in np.argsort(-height):
        if height[n] == 0 or len(found) == MAX_STEPS:
            break
        if all(abs(n - other) > LEAST_CELLS for other in found) and _lasts(means, n):
            found.append(int(n))
    return sorted(found)


# Median of the absolute difference of two unit Gaussians, inverted.
_SIGMA_OF_DIFFERENCES = 1 / (0.6745 * np.sqrt(2))


def _heights(means: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return by how much most subbands step before each cell, in standard deviations, else 0.

    Args:
        means: Mean excess in standard deviations of itself, shape (cell, subband).
    """
    n = len(means)
    total = np.zeros((n + 1, means.shape[1]))
    np.cumsum(means, axis=0, out=total[1:])
    at = np.arange(LEAST_CELLS, n - LEAST_CELLS + 1)
    first, last = np.maximum(at - REACH_CELLS, 0), np.minimum(at + REACH_CELLS, n)
    n_before, n_after = (at - first)[:, None], (last - at)[:, None]
    change = (total[last] - total[at]) / n_after - (total[at] - total[first]) / n_before
    change /= np.sqrt(1 / n_before + 1 / n_after)
    out = np.zeros(n)
    out[at] = np.where(_is_common(change), np.abs(change.mean(axis=1)), 0)
    return out


def _lasts(means: NDArray[np.floating], n: int) -> bool:
    """Return whether a step before cell `n` is neither a change that soon comes back nor a slow one.

    The one moves a mean, where a step moves the lower and the upper quartiles as far; the other is
    small between cells that are near, as the wings of a wide pulse that is in many subbands.
    """
    before, after = means[max(0, n - LASTING_CELLS) : n], means[n : n + LASTING_CELLS]
    moved = after.mean(axis=0) - before.mean(axis=0)
    quartiles = [np.quantile(part, [0.25, 0.75], axis=0) for part in (after, before)]
    shared = (quartiles[0] - quartiles[1]) * np.sign(moved.mean())
    least = shared.min(axis=0).mean()
    near = means[n + 1 : n + LEAST_CELLS].mean() - means[max(0, n - LEAST_CELLS) : n - 1].mean()
    near *= np.sign(moved.mean())
    noise = np.sqrt(2 / (LEAST_CELLS - 1) / means.shape[1])
    return bool(min(least, near) > 0.5 * abs(moved.mean()) and near > NEAR_SIGMA * noise)


def _is_common(change: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where three quarters of the subbands move, and in one direction, shape (cell,)."""
    quarter = change.shape[1] // 4
    ordered = np.sort(change, axis=1)
    return (ordered[:, quarter] > STEP_SIGMA) | (ordered[:, -1 - quarter] < -STEP_SIGMA)


def _instant(
    spectra: NDArray[Any], level: NDArray[np.float32], sigma: NDArray[np.float32], cell: int
) -> int:
    """Return the first spectrum after a step that is near the beginning of a cell."""
    good = sigma > 0
    first, last = max(0, (cell - 3) * CELL), min(len(spectra), (cell + 3) * CELL)
    near = (spectra[first:last, good].astype(np.float32) - level[good]) / sigma[good]
    series = near.clip(-MAX_EXCESS, MAX_EXCESS).mean(axis=1, dtype=np.float64)
    n = len(series)
    total, at = np.cumsum(series), np.arange(1, n)
    # The cut that leaves least variance on both sides.
    explained = total[:-1] ** 2 / at + (total[-1] - total[:-1]) ** 2 / (n - at)
    return first + 1 + int(explained.argmax())


def _without(spectra: NDArray[Any], sigma: NDArray[np.float32], cuts: list[int]) -> NDArray[np.float32]:
    """Return spectra whose stretches between cuts have the level and noise of the longest one."""
    out = spectra.astype(np.float32)
    stretches = [slice(a, b) for a, b in pairwise(cuts) if b > a]
    states = [_state(out[stretch]) for stretch in stretches]
    longest = max(range(len(stretches)), key=lambda k: stretches[k].stop - stretches[k].start)
    level, noise, _ = states[longest]
    good = (sigma > 0) & (noise > 0)
    unit = np.where(good, noise, 1)
    for stretch, (own_level, own_noise, n) in zip(stretches, states, strict=True):
        change = (own_level - level) / unit
        common = np.median(change[good]) if good.any() else 0.0
        near = np.abs(change - common) < max(OWN_SIGMA * 1.25 / np.sqrt(n), 0.25 * abs(common))
        change = np.where(near, change, common).astype(np.float32)
        ratio = float(np.median((own_noise / unit)[good])) if good.any() else 1.0
        out[stretch] = level + (out[stretch] - level - change * unit) / max(ratio, 1e-3)
    return out


def _state(part: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Return level and noise of each channel in a stretch, and from how many spectra."""
    some = part[:: max(1, len(part) // N_LEVEL)]
    return *level_and_noise(some), len(some)
