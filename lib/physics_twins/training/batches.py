"""Batches whose contents follow from the seed and their number alone, so that any can be the first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from physics_twins.training import random_states

_ORDER, _ITEMS, _LOADER = 101, 102, 103  # keep the random numbers of different uses apart


class Batches:
    """Shuffled batches without end; each epoch has its own order, and what does not fill a batch waits.

    An item of a dataset may draw random numbers, from any global generator: they belong to its batch,
    whatever was drawn before.
    """

    def __init__(
        self,
        data: "Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Dataset[Any]",
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        processes: int = 0,
    ) -> None:
        """Prepare batches.

        Args:
            data: A tensor, or several of equal length in a sequence or by name, or a dataset with
                `len` and items by number.
            batch_size: Items of a batch, on all processes together.
            seed: Seed of order and items.
            rank: Number of this process.
            world_size: Number of processes that share each batch.
            processes: Further processes that load the items.

        Raises:
            ValueError: The data are empty or of unequal lengths, fewer than a batch, or a batch cannot
                be shared equally.
        """
        self.n_items = _length(data)
        if batch_size > self.n_items:
            raise ValueError(f"batch_size = {batch_size} is more than all {self.n_items} items")
        if batch_size % world_size:
            raise ValueError(f"batch_size = {batch_size} cannot be shared by {world_size} devices")
        self._data, self._size, self._seed = data, batch_size, seed
        self._rank, self._world_size, self._processes = rank, world_size, processes

    def starting_at(self, step: int) -> Iterator[Any]:
        """Return the batches from number `step` on: as the data are, items along the first axis."""
        # Its own generator, because a DataLoader's iterator draws one number, else from the global one.
        generator = torch.Generator().manual_seed(random_states.derived_seed(self._seed, _LOADER))
        loader = DataLoader(
            _Numbered(self._data, (self._seed, _ITEMS, self._rank)),
            batch_sampler=_Order(self, step),  # pyright: ignore[reportArgumentType]
            collate_fn=_as_it_is,
            num_workers=self._processes,
            generator=generator,
        )
        return iter(loader)

    def items(self, step: int) -> list[int]:
        """Return the numbers of this process's items in the batch of a step."""
        epoch, place = divmod(step, self.n_items // self._size)
        if epoch != getattr(self, "_epoch", None):
            seed = random_states.derived_seed(self._seed, _ORDER, epoch)
            generator = torch.Generator().manual_seed(seed)
            self._epoch, self._order = epoch, torch.randperm(self.n_items, generator=generator).tolist()
        whole = self._order[place * self._size : (place + 1) * self._size]
        return whole[self._rank :: self._world_size]


class _Order:
    """For each step its number and the numbers of its items."""

    def __init__(self, batches: Batches, step: int) -> None:
        self._batches, self._step = batches, step

    def __iter__(self) -> Iterator[list[int]]:
        step = self._step
        while True:
            yield [step, *self._batches.items(step)]
            step += 1


class _Numbered(Dataset[Any]):
    """Data of which whole batches are taken, with random numbers of their own."""

    def __init__(self, data: Any, key: tuple[int, ...]) -> None:
        self._data, self._key = data, key

    def __getitems__(self, numbers: list[int]) -> Any:
        step, *items = numbers
        if isinstance(self._data, Dataset):
            with random_states.kept():
                random_states.seed_all(*self._key, step)
                return default_collate([self._data[item] for item in items])
        if isinstance(self._data, Tensor):
            return self._data[items]
        if isinstance(self._data, Mapping):
            return {name: tensor[items] for name, tensor in self._data.items()}
        return tuple(tensor[items] for tensor in self._data)


def _as_it_is(batch: Any) -> Any:
    return batch


def _length(data: Any) -> int:
    if isinstance(data, Tensor | Dataset):
        lengths = {len(data)}  # pyright: ignore[reportArgumentType]
    else:
        lengths = {len(t) for t in (data.values() if isinstance(data, Mapping) else data)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"data must have items, equally many everywhere; found {sorted(lengths)}")
    return lengths.pop()
