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


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**40), st.booleans())
def test_an_epoch_holds_every_item_once(items, batch_size, seed, shuffle):
    batches = Batches(range(items), batch_size, seed=seed, shuffle=shuffle, drop_last=False)
    for epoch in range(2):
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        epoch_items = [int(i) for n in numbers for i in batches[n]]
        assert sorted(epoch_items) == list(range(items))
        assert shuffle or epoch_items == list(range(items))


@given(st.integers(5, 40), st.integers(1, 5), st.integers(0, 99))
def test_dropping_the_last_keeps_all_batches_equally_large(items, batch_size, n):
    assert len(Batches(range(items), batch_size)[n]) == batch_size


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
    with pytest.raises(ValueError, match="3 items, which 2 processes"):
        Batches(range(9), 3)[0]


def test_looking_at_a_batch_leaves_the_random_generators_alone():
    seed_all(1)
    expected = torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
    seed_all(1)
    Batches(Crops(), 4)[3]
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]  # noqa: NPY002


@pytest.mark.parametrize(
    "bad", [{"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": 12}, {"batch_size": 2, "seed": -1}]
)
def test_settings_that_make_no_batch_are_errors(bad):
    with pytest.raises(ValueError, match="batch"):
        Batches(range(11), **bad)


def test_negative_batch_numbers_are_errors():
    with pytest.raises(IndexError):
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
    with pytest.raises(ValueError, match="run dry"):
        list(islice(numbered(iter([1, 2]), 0, seed=0), 3))
