"""Can a small network tell generated showers from real ones, by sums and moments, or by the cells?

It sees little: where every cell has 30 % of noise it says 0.51 on cells. `_calorimeter_trees` sees
more. Cross-fitted: each shower is scored by a network that has not seen it, and the area under the
curve (AUC) is taken among showers that one network scored.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating.features import blocks_of, cells_of
from physics_twins.data import auc

if TYPE_CHECKING:
    from torch import Tensor, nn

N_FOLDS = 3
HIDDEN, BATCH, MAX_EPOCHS, PATIENCE = 128, 128, 60, 8
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 1e-2, 0.2
# Cells across are summed three by three where a layer has 51 x 51.
_MERGED = 3
# Cells enter as log(1 + energy / this), which lets the many faint ones be seen.
_SOFT_MEV = 0.1


def tell_apart(
    sample: NDArray[np.floating],
    reference: NDArray[np.floating],
    *,
    seed: int,
    n_folds: int = N_FOLDS,
) -> tuple[float, float]:
    """Return the area under the curve (0.5 is by chance) and its standard error.

    Trained are networks of two hidden layers, as in CaloChallenge, but smaller: the smaller sets of
    showers here would be learnt by heart by more. A fifth of what is learnt from says when to stop. The
    caller's random generators are left as they were.

    Args:
        sample: Numbers of the generated showers, shape (shower, number).
        reference: Numbers of the real ones, shape (other shower, number).
        seed: Of the folds, the networks and the order of the data.
        n_folds: So many networks, each tested on its part.

    Raises:
        ValueError: There are fewer than 10 showers of either for each fold.
    """
    if min(len(sample), len(reference)) < 10 * n_folds:
        least = min(len(sample), len(reference))
        raise ValueError(f"{least} showers are too few to tell apart: {10 * n_folds} are needed")
    values = np.concatenate([sample, reference]).astype(np.float32)
    is_made = np.repeat([True, False], [len(sample), len(reference)])
    fold = _folds(is_made, n_folds, seed)
    parts = []
    for k in range(n_folds):
        tested = fold == k
        scores = _scores(values, is_made, ~tested, tested, seed=seed + k)
        parts.append(auc(scores[is_made[tested]], scores[~is_made[tested]]))
    areas, errors = np.array(parts).T
    return float(areas.mean()), float(np.sqrt((errors**2).sum()) / n_folds)


def voxel_matrix(showers: xr.Dataset) -> NDArray[np.float32]:
    """Return what a network sees of the cells, shape (shower, number).

    The logarithms of incident energy and of each cell, and visible over incident energy.
    Cells of a 51 x 51 layer are first summed three by three.
    """
    cells, rows, visible = cells_of(showers), [], []
    for block, _ in blocks_of(showers, cells):
        kept = _merged(block, showers.sizes["x"]) if cells.is_cartesian else block
        rows.append(np.log1p(kept.reshape(len(block), -1) / _SOFT_MEV))
        visible.append(block.sum(axis=(1, 2), dtype=float))
    incident = showers["energy_gev"].values
    share = np.concatenate(visible) / (1e3 * incident)
    ends = np.stack([np.log(incident), share], axis=1).astype(np.float32)
    return np.concatenate([ends, np.concatenate(rows)], axis=1)


def _merged(block: NDArray[np.float32], n_across: int) -> NDArray[np.float32]:
    if n_across % _MERGED:
        return block
    size = n_across // _MERGED
    shape = (len(block), block.shape[1], size, _MERGED, size, _MERGED)
    return block.reshape(shape).sum(axis=(3, 5))


def _folds(is_made: NDArray[np.bool_], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each shower, with equal parts of both kinds in each."""
    fold = np.zeros(len(is_made), dtype=np.int64)
    generator = np.random.default_rng([seed, 4])
    for kind in (True, False):
        rows = generator.permutation(np.flatnonzero(is_made == kind))
        fold[rows] = np.arange(len(rows)) % n_folds
    return fold


def _scores(
    values: NDArray[np.float32],
    is_made: NDArray[np.bool_],
    learnt: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Return the scores of the tested rows by a network that learnt from others."""
    import torch

    rows = np.random.default_rng([seed, 5]).permutation(np.flatnonzero(learnt))
    watched, used = np.split(rows, [len(rows) // 5])
    mean, spread = values[used].mean(axis=0), values[used].std(axis=0)
    spread[spread < 1e-6] = 1

    def prepared(chosen: NDArray[np.int64]) -> "Tensor":
        # Rare cells would otherwise enter as hundreds of standard deviations.
        return torch.from_numpy(np.clip((values[chosen] - mean) / spread, -10, 10))

    made = torch.from_numpy(is_made.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(values.shape[1])
        _fit(network, (prepared(used), made[used]), (prepared(watched), made[watched]))
    with torch.no_grad():
        return network(prepared(np.flatnonzero(tested)))[:, 0].double().numpy()


def _network(n_numbers: int) -> "nn.Sequential":
    from torch import nn

    hidden = [nn.Linear(n_numbers, HIDDEN), nn.Linear(HIDDEN, HIDDEN)]
    layers = [part for each in hidden for part in (each, nn.LeakyReLU(0.1), nn.Dropout(DROPOUT))]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, 1))


def _fit(
    network: "nn.Sequential", seen: tuple["Tensor", "Tensor"], watched: tuple["Tensor", "Tensor"]
) -> None:
    """Train until what is watched gets no better; leave the network with its best weights."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, best_state, since = np.inf, {}, 0
    for _ in range(MAX_EPOCHS):
        network.train()
        for batch in torch.randperm(len(seen[0])).split(BATCH):
            optimizer.zero_grad()
            loss(network(seen[0][batch])[:, 0], seen[1][batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            now = float(loss(network(watched[0])[:, 0], watched[1]))
        since += 1
        if now < best or not best_state:
            best, since = now, 0
            best_state = {name: each.clone() for name, each in network.state_dict().items()}
        if since >= PATIENCE:
            break
    network.load_state_dict(best_state)
