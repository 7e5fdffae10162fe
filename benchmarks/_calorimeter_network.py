"""Can a network of CaloChallenge's size tell generated showers from real ones, by sums or by cells?

Two hidden layers without dropout, as there (512 wide for sums and moments, 2,048 for cells; Krause et
al. 2024, arXiv:2410.21611), learning from three fifths of the showers until the next fifth says to
stop; the last fifth is judged. Boosted trees see more in few showers: `_calorimeter_trees`.
"""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.calorimeter.evaluating.features import blocks_of, cells_of
from physics_twins.data import auc

if TYPE_CHECKING:
    from torch import Tensor, nn

FEATURES_HIDDEN, CELLS_HIDDEN = 512, 2048
BATCH, MAX_EPOCHS, PATIENCE = 250, 100, 8
LEARNING_RATE = 2e-4
LEAST = 20  # showers of either kind
# Cells across are summed three by three where a layer has 51 x 51.
_MERGED = 3
# Cells enter as log(1 + energy / this), which lets the many faint ones be seen.
_SOFT_MEV = 0.1


def tell_apart(
    sample: NDArray[np.floating],
    reference: NDArray[np.floating],
    *,
    seed: int,
    hidden: int = FEATURES_HIDDEN,
) -> tuple[float, float]:
    """Return the area under the curve (0.5 is by chance) and its standard error.

    The error is that of the showers judged; what another training would change is seen by another
    seed. The caller's random generators are left as they were.

    Args:
        sample: Numbers of the generated showers, shape (shower, number).
        reference: Numbers of the real ones, shape (other shower, number).
        seed: Of the parts, the network and the order of the data.
        hidden: Width of the two hidden layers.

    Raises:
        ValueError: There are fewer than `LEAST` showers of either.
    """
    import torch

    least = min(len(sample), len(reference))
    if least < LEAST:
        raise ValueError(f"{least} showers are too few to tell apart: {LEAST} are needed")
    values = np.concatenate([sample, reference]).astype(np.float32)
    is_made = np.repeat([True, False], [len(sample), len(reference)])
    used, watched, tested = _parts(is_made, seed)
    mean, spread = values[used].mean(axis=0), values[used].std(axis=0)
    spread[spread < 1e-6] = 1
    values -= mean  # in place: cells of 100,000 showers fill gigabytes
    values /= spread
    # Rare cells would otherwise enter as hundreds of standard deviations.
    seen = torch.from_numpy(np.clip(values, -10, 10, out=values))
    made = torch.from_numpy(is_made.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(values.shape[1], hidden)
        _fit(network, (seen[used], made[used]), (seen[watched], made[watched]))
    with torch.no_grad():
        scores = network(seen[tested])[:, 0].double().numpy()
    return auc(scores[is_made[tested]], scores[~is_made[tested]])


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


def _parts(is_made: NDArray[np.bool_], seed: int) -> list[NDArray[np.int64]]:
    """Return what is learnt from, what is watched and what is judged, each with both kinds alike."""
    generator = np.random.default_rng([seed, 4])
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for kind in (True, False):
        rows = generator.permutation(np.flatnonzero(is_made == kind))
        fifth = len(rows) // 5
        for part, chosen in zip(parts, np.split(rows, [3 * fifth, 4 * fifth]), strict=True):
            part.append(chosen)
    return [np.concatenate(part) for part in parts]


def _network(n_numbers: int, hidden: int) -> "nn.Sequential":
    from torch import nn

    layers = [nn.Linear(n_numbers, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, 1))


def _fit(
    network: "nn.Sequential", seen: tuple["Tensor", "Tensor"], watched: tuple["Tensor", "Tensor"]
) -> None:
    """Train until what is watched gets no better; leave the network with its best weights."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
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
