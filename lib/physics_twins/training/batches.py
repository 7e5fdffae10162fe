"""Batches whose contents follow from the seed and their number alone, so that any can be the first."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from physics_twins.training import random_states

_ORDER = 101  # keeps the random numbers of different uses apart


class Batches:
    """Shuffled batches without end; each epoch has its own order, what does not fill a batch waits."""

    def __init__(
        self,
        data: "Tensor | Sequence[Tensor] | Mapping[str, Tensor]",
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Prepare batches.

        Args:
            data: A tensor, or several of equal length in a sequence or by name.
            batch_size: Items of a batch, on all processes together.
            seed: Seed of the order.
            rank: Number of this process.
            world_size: Number of processes that share each batch.

        Raises:
            ValueError: The data are empty or of unequal lengths, fewer than a batch, or a batch cannot
                be shared equally.
        """
        tensors = data.values() if isinstance(data, Mapping) else data
        lengths = {len(data)} if isinstance(data, Tensor) else {len(tensor) for tensor in tensors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"data must have items, equally many everywhere; found {sorted(lengths)}")
        self.n_items = lengths.pop()
        if batch_size > self.n_items:
            raise ValueError(f"batch_size = {batch_size} is more than all {self.n_items} items")
        if batch_size % world_size:
            raise ValueError(f"batch_size = {batch_size} cannot be shared by {world_size} devices")
        self._data, self._size, self._seed = data, batch_size, seed
        self._rank, self._world_size, self._epoch = rank, world_size, -1

    def starting_at(self, step: int) -> Iterator[Any]:
        """Yield the batches from number `step` on: as the data are, items along the first axis."""
        for number in itertools.count(step):
            items, data = self.items(number), self._data
            if isinstance(data, Tensor):
                yield data[items]
            elif isinstance(data, Mapping):
                yield {name: tensor[items] for name, tensor in data.items()}
            else:
                yield tuple(tensor[items] for tensor in data)

    def items(self, step: int) -> list[int]:
        """Return the numbers of this process's items in the batch of a step."""
        epoch, place = divmod(step, self.n_items // self._size)
        if epoch != self._epoch:
            seed = random_states.derived_seed(self._seed, _ORDER, epoch)
            generator = torch.Generator().manual_seed(seed)
            self._epoch, self._order = epoch, torch.randperm(self.n_items, generator=generator).tolist()
        whole = self._order[place * self._size : (place + 1) * self._size]
        return whole[self._rank :: self._world_size]
