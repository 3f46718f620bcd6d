"""Batch n is a pure function of the seed and n."""

import random
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from musicai.train import Batches, seed_all
from musicai.train import batches as batches_module
from musicai.train.batches import numbered


class Crops(Dataset):
    """Items with random draws of three kinds, as a random crop would make."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return {"index": index, "draws": torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])}  # noqa: NPY002


def same(a, b):
    return torch.equal(a["index"], b["index"]) and torch.equal(a["draws"], b["draws"])


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 11), st.integers(0, 2**40))
def test_an_epoch_holds_every_item_at_most_once_in_batches_of_one_size(batch_size, per_epoch, rest, seed):
    items = batch_size * per_epoch + rest % batch_size
    batches = Batches(range(items), batch_size, seed=seed)
    for epoch in range(2):
        found = [batches[n].tolist() for n in range(epoch * per_epoch, (epoch + 1) * per_epoch)]
        assert {len(batch) for batch in found} == {batch_size}
        assert len({i for batch in found for i in batch}) == batch_size * per_epoch
        assert set().union(*found) <= set(range(items))


def test_batches_are_the_same_in_any_order_of_asking():
    straight = list(islice(iter(Batches(Crops(), 4, seed=3)), 8))
    jumping = Batches(Crops(), 4, seed=3)
    for n in (7, 0, 5, 2, 2, 6):
        assert same(jumping[n], straight[n])


def test_epochs_and_seeds_differ_in_order_and_in_draws():
    first, second, other = Batches(Crops(), 11)[0], Batches(Crops(), 11)[1], Batches(Crops(), 11, seed=1)[0]
    for a, b in [(first, second), (first, other)]:
        assert not torch.equal(a["index"], b["index"])
        assert not torch.isin(a["draws"], b["draws"]).any()


def test_two_processes_share_each_batch_draws_included(monkeypatch):
    whole = Batches(Crops(), 4, seed=2)[5]
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(batches_module, "rank_and_world", lambda rank=rank: (rank, 2))
        shares.append(Batches(Crops(), 4, seed=2)[5])
    together = torch.cat([share["draws"] for share in shares])
    assert sorted(together.tolist()) == sorted(whole["draws"].tolist())
    assert len(shares[0]["index"]) == len(shares[1]["index"]) == 2


def test_a_batch_that_cannot_be_shared_equally_is_an_error(monkeypatch):
    monkeypatch.setattr(batches_module, "rank_and_world", lambda: (0, 2))
    with pytest.raises(ValueError, match="batch_size=3: 2 processes cannot share"):
        Batches(range(9), 3)[0]


def test_looking_at_a_batch_leaves_the_random_generators_alone():
    seed_all(1)
    expected = torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
    seed_all(1)
    Batches(Crops(), 4)[3]
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]  # noqa: NPY002


@pytest.mark.parametrize("batch_size", [0, -1, 12])
def test_settings_that_make_no_batch_are_errors(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size} with 11 items"):
        Batches(range(11), batch_size)


def test_negative_batch_numbers_are_errors():
    with pytest.raises(ValueError, match="non-negative"):
        Batches(range(4), 2)[-1]


def make_loader():
    return torch.utils.data.DataLoader(Crops(), batch_size=4, shuffle=True)


@pytest.mark.parametrize("make", [make_loader, lambda: Batches(Crops(), 4), lambda: lambda n: Batches(Crops(), 4)[n]])
def test_every_kind_of_source_starts_again_where_it_was(make):
    straight = list(islice(numbered(make(), 0, seed=9), 9))
    seed_all(123)  # whatever the new process did before
    for a, b in zip(islice(numbered(make(), 5, seed=9), 4), straight[5:], strict=True):
        assert same(a, b)


def test_a_source_that_runs_dry_is_an_error():
    with pytest.raises(ValueError, match="run out"):
        list(islice(numbered(iter([1, 2]), 0, seed=0), 3))
