from itertools import chain

import pytest
import torch

from physics_twins.training import random_states
from physics_twins.training.batches import Batches


def first(batches, step, n):
    iterator = batches.starting_at(step)
    return [next(iterator) for _ in range(n)]


def test_each_epoch_brings_every_item_once_in_another_order():
    batches = Batches(torch.arange(20), batch_size=5, seed=3)
    epochs = [torch.cat(first(batches, 4 * n, 4)).tolist() for n in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("step", [1, 4, 6])
def test_any_batch_can_be_the_first(step):
    through = first(Batches(torch.arange(20), batch_size=5, seed=3), 0, 8)[step]
    torch.rand(3)
    (alone,) = first(Batches(torch.arange(20), batch_size=5, seed=3), step, 1)
    assert torch.equal(alone, through)


def test_batches_leave_the_global_generators_alone():
    random_states.seed_all(1)
    expected = torch.rand(1)
    random_states.seed_all(1)
    first(Batches(torch.arange(20), batch_size=5, seed=3), 0, 2)
    assert torch.rand(1) == expected


def test_shares_of_several_processes_make_up_the_batch():
    whole = Batches(torch.arange(20), batch_size=6, seed=3).items(2)
    shares = [
        Batches(torch.arange(20), batch_size=6, seed=3, rank=n, world_size=3).items(2) for n in range(3)
    ]
    assert sorted(chain(*shares)) == sorted(whole)
    assert {len(share) for share in shares} == {2}


def test_data_keep_their_form():
    pair = (torch.arange(8), torch.arange(8) * 2)
    (one,) = first(Batches(pair, batch_size=4, seed=1), 0, 1)
    (named,) = first(Batches(dict(zip("ab", pair, strict=True)), batch_size=4, seed=1), 0, 1)
    assert torch.equal(one[0] * 2, one[1])
    assert torch.equal(named["a"], one[0])
    assert torch.equal(named["b"], one[1])


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (torch.zeros(0), {}, "equally many everywhere"),
        ((torch.zeros(4), torch.zeros(5)), {}, r"found \[4, 5\]"),
        (torch.zeros(3), {}, "batch_size = 4 is more than all 3 items"),
        (torch.zeros(9), {"world_size": 3}, "cannot be shared by 3 devices"),
    ],
)
def test_data_that_make_no_batches_are_refused(data, options, words):
    with pytest.raises(ValueError, match=words):
        Batches(data, batch_size=4, seed=1, **options)
