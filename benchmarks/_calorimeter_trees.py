"""A judge with power: boosted trees that tell showers apart by some 250 plain numbers of each.

The numbers hold what sums and moments do not: how many cells have which energy, how many are hit in
each layer and ring, how often neighbours both are, how energy lies around the axis. What the judge can
see is shown on showers of Geant4 that are damaged in a stated way.
"""

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from physics_twins.data import auc

N_TREES, N_LEAVES, LEARNING_RATE, N_FOLDS = 400, 15, 0.06, 4
THRESHOLD_MEV = 0.01515
# Cells are counted by their energy, four bins to a decade.
SPECTRUM_MEV = np.append(np.geomspace(THRESHOLD_MEV, 1000.0, 20), np.inf)
HARMONICS = (1, 2, 3)
BLOCK_SHOWERS = 250


def told(one: NDArray[np.float32], other: NDArray[np.float32], *, seed: int) -> tuple[float, float]:
    """Return how well trees tell two sets apart: the area under the curve, and its error.

    Each shower is scored by trees that have not seen it. The error is that of the showers tested;
    what another training would change is seen by another seed only.

    Args:
        one: From `numbers`.
        other: Likewise, of particles of the same distribution, each with its own.
        seed: Of the folds.
    """
    generator = np.random.default_rng(seed)
    fold = [generator.permutation(len(each)) % N_FOLDS for each in (one, other)]
    areas = []
    for k in range(N_FOLDS):
        learnt = np.concatenate([one[fold[0] != k], other[fold[1] != k]])
        kind = np.repeat([1, 0], [(f != k).sum() for f in fold])
        trees = HistGradientBoostingClassifier(
            max_iter=N_TREES,
            max_leaf_nodes=N_LEAVES,
            learning_rate=LEARNING_RATE,
            early_stopping=False,  # pyright: ignore[reportArgumentType] (told by sklearn's default alone)
            random_state=seed,
        ).fit(learnt, kind)
        scores = [trees.decision_function(s[f == k]) for s, f in zip((one, other), fold, strict=True)]
        areas.append(auc(*scores))
    values, errors = np.array(areas).T
    return float(values.mean()), float(np.sqrt((errors**2).sum()) / N_FOLDS)


def numbers(showers: xr.Dataset) -> NDArray[np.float32]:
    """Return the numbers of showers in cylindrical cells, shape (shower, number)."""
    cells = showers["showers"].transpose("shower", "depth", "angle", "radius")
    blocks = [
        _described(np.asarray(cells[first : first + BLOCK_SHOWERS].values, dtype=np.float32))
        for first in range(0, cells.sizes["shower"], BLOCK_SHOWERS)
    ]
    found = np.concatenate(blocks)
    energy = showers["energy_gev"].values
    found[:, 0] /= 1e3 * energy
    return np.column_stack([energy, showers["theta_deg"].values, found]).astype(np.float32)


def _described(cells: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the numbers of a block of showers, the visible energy in MeV first."""
    n = len(cells)
    hit = cells > 0
    rings = cells.sum(axis=2, dtype=float)  # (shower, layer, ring)
    whole = np.maximum(rings.sum(axis=(1, 2)), THRESHOLD_MEV)[:, None]
    layers, radial = rings.sum(axis=2) / whole, rings.sum(axis=1) / whole
    parts = [whole, layers, radial, hit.sum(axis=(2, 3)), hit.sum(axis=(1, 2))]
    shower, value = np.nonzero(hit)[0], cells[hit]
    place = shower * (len(SPECTRUM_MEV) - 1) + np.searchsorted(SPECTRUM_MEV[1:-1], value, side="right")
    counts = np.bincount(place, minlength=n * (len(SPECTRUM_MEV) - 1))
    parts.append(counts.reshape(n, -1))
    # Neighbours that are both hit: around the axis by ring and layer, in depth and in radius by ring.
    around = hit & np.roll(hit, 1, axis=2)
    parts += [around.sum(axis=(1, 2)), around.sum(axis=(2, 3))]
    parts.append((hit[:, 1:] & hit[:, :-1]).sum(axis=(1, 2)))
    parts.append((hit[..., 1:] & hit[..., :-1]).sum(axis=(1, 2)))
    # How unlike neighbours are, and how much of a ring's energy one cell has.
    of_ring = np.maximum(rings.sum(axis=1), THRESHOLD_MEV)
    away = np.abs(cells - np.roll(cells, 1, axis=2)).sum(axis=(1, 2), dtype=float)
    parts.append(away / of_ring)
    parts.append(
        cells.max(axis=2).sum(axis=1, dtype=float) / np.maximum(rings.sum(axis=1), THRESHOLD_MEV)
    )
    angle = 2 * np.pi * (np.arange(cells.shape[2]) + 0.5) / cells.shape[2]
    for m in HARMONICS:
        wave = np.exp(1j * m * angle).astype(np.complex64)
        turned = np.einsum("slar,a->slr", cells, wave)
        parts.append(np.abs(turned.sum(axis=1)) / of_ring)
        parts.append((np.abs(turned).sum(axis=(1, 2)) / whole[:, 0])[:, None])
    depth = np.arange(layers.shape[1])
    mean = layers @ depth
    parts.append(np.stack([mean, layers @ depth**2 - mean**2, cells.max(axis=(1, 2, 3))], axis=1))
    return np.concatenate([np.asarray(each, dtype=float) for each in parts], axis=1)


def noise(share: float) -> Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]:
    """Return a damage: every cell times 1 + `share` of a Gaussian; what is below threshold is empty."""

    def damage(cells: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
        factor = 1 + share * generator.normal(size=cells.shape).astype(np.float32)
        return _cut((cells * factor).astype(np.float32))

    return damage


def turned(cells: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return showers each of whose layers is turned around the axis, by any number of cells."""
    n_angles = cells.shape[2]
    by = generator.integers(n_angles, size=cells.shape[:2])[..., None]
    return np.take_along_axis(cells, ((np.arange(n_angles) + by) % n_angles)[..., None], axis=2)


def shuffled(cells: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return showers the cells of each of whose rings have changed places."""
    return generator.permuted(cells, axis=2)


def bent(cells: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return showers whose faint cells are 5 % fainter, and whose bright ones are 5 % brighter.

    The one goes over into the other between 0.1 and 10 MeV. What is changed is the energy above the
    threshold, so that no cell vanishes; then the cells of each ring of a layer are brought back to what
    they had together.
    """
    del generator
    beyond = np.maximum(cells - THRESHOLD_MEV, 0).astype(float)
    changed = beyond * (1 + 0.05 * np.clip(np.log10(np.maximum(cells, THRESHOLD_MEV)), -1, 1))
    before, after = (each.sum(axis=2, keepdims=True) for each in (beyond, changed))
    changed *= np.divide(before, after, out=np.ones_like(before), where=after > 0)
    return np.where(cells > 0, THRESHOLD_MEV + changed, 0).astype(np.float32)


def _cut(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(cells >= THRESHOLD_MEV, cells, np.float32(0))


DAMAGES: Mapping[str, Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]] = {
    "cell noise 10 %": noise(0.1),
    "cell noise 30 %": noise(0.3),
    "layers turned": turned,
    "cells of a ring shuffled": shuffled,
    "cell spectrum bent by 5 %": bent,
}


def damaged(showers: xr.Dataset, name: str, *, seed: int) -> xr.Dataset:
    """Return showers with one of `DAMAGES`."""
    array = showers["showers"].transpose("shower", "depth", "angle", "radius")
    made = DAMAGES[name](array.values, np.random.default_rng(seed))
    return showers.assign(showers=(array.dims, made))
