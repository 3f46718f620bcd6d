"""Batches and seeds by number: batch n and the draws of step n depend on the seed and on n, and on nothing else.

So a resumed run asks for batch 12,345 and has it at once, with the same items and the same random crops as the run
that was killed, and sees the same dropout masks and noise. Two processes each take their share of a global batch.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from musicai.train.distributed import rank_and_world


def seed_all(*key: int) -> None:
    """Seed torch (CPU and GPU), numpy and random from any number of integers.

    >>> seed_all(0, 12)  # seed 0, step 12
    >>> first = torch.rand(2)
    >>> seed_all(0, 12)
    >>> bool((torch.rand(2) == first).all())
    True

    Args:
        key: the integers; other keys give other, unrelated draws.

    Chapters 3 to 5.
    """
    number = 0
    for part in key:
        number = number << 64 | part & (2**64 - 1)
    random.seed(number)  # its seeding mixes all the bits, so what it draws for the others differs from key to key
    number = random.getrandbits(63)
    # torch.manual_seed does the same in 160 us, and queues a call each time while CUDA sleeps. This takes 8.
    torch.default_generator.manual_seed(number)
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002  (datasets in the wild draw from the global generator)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


class Batches:
    """Endless batches of a dataset: `batches[n]` is batch n, `for batch in batches` starts at 0 and never ends.

    >>> batches = Batches(range(10), batch_size=4, seed=0)
    >>> batches[7].tolist() == batches[7].tolist()
    True

    Args:
        dataset: anything with `len` and `[index]`. Its random draws (a crop) may come from torch, numpy or random:
            each item is seeded by (seed, epoch, position in the epoch).
        batch_size: items per batch, over all processes together; under `torchrun` each process gets an equal share.
        seed: decides the order of the items and their random draws.
        shuffle: a fresh permutation each epoch, or else the dataset's own order.
        drop_last: leave out the last, smaller batch of each epoch.
        collate: list of items -> batch, as in torch.utils.data.DataLoader.

    Raises:
        ValueError: if an epoch would hold no batch, or a batch cannot be shared equally.

    Chapters 3 to 5.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        collate: Callable[[list], Any] = default_collate,
    ):
        if batch_size != int(batch_size) or batch_size < 1 or seed != int(seed) or seed < 0:
            raise ValueError(f"batch_size={batch_size}, seed={seed}: give whole numbers, of 1 or more and of 0 or more")
        if len(dataset) < (batch_size if drop_last else 1):
            raise ValueError(f"{len(dataset)} items make no batch of {batch_size}: lower it, or set drop_last=False")
        self.dataset, self.batch_size, self.seed, self.shuffle = dataset, batch_size, seed, shuffle
        self.drop_last, self.collate = drop_last, collate
        self.per_epoch = len(dataset) // batch_size if drop_last else -(-len(dataset) // batch_size)
        self._epoch: tuple[int, np.ndarray, int] | None = None

    def __getitem__(self, n: int) -> Any:
        """Batch n of this process, n = 0, 1, 2, ... without end; the global random generators stay as they are."""
        if n < 0:
            raise IndexError(f"batches are numbered from 0, not {n}")
        with _generators_kept():
            return self.seeded(n)

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, count())

    def keys(self, n: int) -> list[tuple[int, int]]:
        """The items of batch n that belong to this process: the index of each and the seed of its random draws."""
        epoch, place = divmod(n, self.per_epoch)
        order, base = self._order(epoch)
        positions = range(place * self.batch_size, min((place + 1) * self.batch_size, len(order)))
        rank, world = rank_and_world()
        if len(positions) % world:
            advice = f"choose a batch_size that {world} divides, and drop_last=True"
            raise ValueError(f"batch {n} has {len(positions)} items, which {world} processes cannot share; {advice}")
        return [(int(order[p]), base + p) for p in positions[rank::world]]

    def describe(self) -> dict[str, Any]:
        """What decides the order of the data; kept in a checkpoint and compared on resume."""
        names = ("batch_size", "seed", "shuffle", "drop_last")
        return {"items": len(self.dataset), **{name: getattr(self, name) for name in names}}

    def seeded(self, n: int) -> Any:
        """Batch n, leaving the global generators seeded: for `fit`, which seeds them anyway."""
        items = []
        for index, seed in self.keys(n):
            seed_all(seed)
            items.append(self.dataset[index])
        return self.collate(items)

    def _order(self, epoch: int) -> tuple[np.ndarray, int]:
        if self._epoch is None or self._epoch[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            base = int(rng.integers(2**62))
            indices = np.arange(len(self.dataset))
            self._epoch = epoch, rng.permutation(indices) if self.shuffle else indices, base
        return self._epoch[1:]


def numbered(batches: Iterable | Callable[[int], Any], start: int, seed: int) -> Iterator[Any]:
    """Batches start, start + 1, ... of whatever `fit` was given; see there for what that may be."""
    function = batches.seeded if isinstance(batches, Batches) else batches if callable(batches) else None
    endless = map(function, count(start)) if function else _round_and_round(batches)
    for n in count(start if function else 0):
        seed_all(seed, n, rank_and_world()[0], 0)  # a DataLoader draws its shuffles from the global generator
        batch = next(endless)
        if n >= start:  # a plain iterable cannot jump: what the run has already seen is read again and dropped
            yield batch


def _round_and_round(batches: Iterable) -> Iterator[Any]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise ValueError("batches has run dry: pass Batches, a list, a DataLoader or a function of n")


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave the global CPU generators as they were before the block."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
