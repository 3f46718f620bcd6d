"""Batches and seeds by number: batch n and the random draws of step n depend only on the seed and on n.

So a resumed run can ask for batch 12,345 and get it at once, with the same items and random crops as in the run that
was killed, and with the same dropout masks and noise. Several processes each take their share of a global batch.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count

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
        key: the integers; different keys give unrelated draws.

    Chapters 3 to 5 and 7.
    """
    number = 0
    for part in key:
        number = number << 64 | part & (2**64 - 1)
    random.seed(number)  # this mixes all the bits, so the seeds it draws for the others differ from key to key
    number = random.getrandbits(63)
    # torch.manual_seed does the same in 160 us, and queues a call every time until CUDA is in use. This takes 8 us.
    torch.default_generator.manual_seed(number)
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002  (datasets in the wild draw from the global generator)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


class Batches:
    """Endless shuffled batches of a dataset: `batches[n]` is batch n, `for batch in batches` starts at 0.

    >>> batches = Batches(range(10), batch_size=4, seed=0)
    >>> batches[7].tolist() == batches[7].tolist()
    True

    Each epoch has its own permutation, and leaves out the items that would form a smaller last batch.

    Args:
        dataset: anything with `len` and `[index]`. It may draw random numbers (for a crop, say) from torch, numpy or
            random: each item is seeded by (seed, epoch, position in the epoch).
        batch_size: items per batch, summed over all processes; under `torchrun`, each process gets an equal share.
        seed: determines the order of the items and their random draws.
        collate: function from a list of items to a batch, as in torch.utils.data.DataLoader.

    Raises:
        ValueError: if the dataset does not fill a batch, or a batch cannot be split equally among the processes.

    Chapters 3 to 5 and 7.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int = 0, collate: Callable = default_collate):
        if not 1 <= batch_size <= len(dataset):
            raise ValueError(f"batch_size={batch_size} with {len(dataset)} items: it must be from 1 to that number")
        self.dataset, self.batch_size, self.seed, self.collate = dataset, batch_size, seed, collate
        self.per_epoch = len(dataset) // batch_size
        self.settings = {"items": len(dataset), "batch_size": batch_size, "seed": seed}  # what a checkpoint compares

    def __getitem__(self, n: int):
        """Batch n of this process, n = 0, 1, 2, ... without end; the global random generators are left unchanged."""
        epoch, place = divmod(n, self.per_epoch)
        base, order = _order(len(self.dataset), self.seed, epoch)
        rank, world = rank_and_world()
        if self.batch_size % world:
            raise ValueError(f"batch_size={self.batch_size}: {world} processes cannot share that equally")
        items = []
        with _generators_kept():
            for position in range(place * self.batch_size + rank, (place + 1) * self.batch_size, world):
                seed_all(base + position)
                items.append(self.dataset[int(order[position])])
            return self.collate(items)


@lru_cache(maxsize=4)
def _order(items: int, seed: int, epoch: int) -> tuple[int, np.ndarray]:
    """The seed of the first item of an epoch, and the order of its items."""
    rng = np.random.default_rng((seed, epoch))
    return int(rng.integers(2**62)), rng.permutation(items)


def numbered(batches: Iterable | Callable, start: int, seed: int) -> Iterator:
    """Yield batches start, start + 1, ... from any kind of `batches` that `fit` accepts."""
    function = batches.__getitem__ if isinstance(batches, Batches) else batches if callable(batches) else None
    endless = map(function, count(start)) if function else _round_and_round(batches)
    for n in count(start if function else 0):
        seed_all(seed, n, rank_and_world()[0], 0)  # a DataLoader draws its shuffles from the global generator
        batch = next(endless)
        if n >= start:  # a plain iterable cannot skip ahead, so read what the run has already seen and drop it
            yield batch


def _round_and_round(batches: Iterable) -> Iterator:
    dry = object()
    while (first := next(epoch := iter(batches), dry)) is not dry:
        yield first
        yield from epoch
    raise ValueError("batches has run out: pass Batches, a list, a DataLoader or a function of n")


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
