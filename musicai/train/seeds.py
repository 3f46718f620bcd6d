"""Random numbers that are a pure function of where we are, so that nothing about them needs to be remembered.

Before step n, `fit` seeds every generator with (seed, n, rank). A run that was killed and resumed, or whose callbacks
drew random numbers of their own, therefore sees exactly the same dropout masks and noise as one that was not.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_all(*key: int) -> None:
    """Seed torch (CPU and GPU), numpy and random from integers: `seed_all(0)`, `seed_all(seed, step)`."""
    number = 0
    for part in key:
        number = number << 64 | part & (2**64 - 1)
    random.seed(number)  # its seeding mixes all the bits, so what it draws for the others differs from key to key
    _seed_torch_and_numpy(random.getrandbits(63))


def seed_from(number: int) -> None:
    """Seed every global generator with one number below 2**63."""
    random.seed(number)
    _seed_torch_and_numpy(number)


def _seed_torch_and_numpy(number: int) -> None:
    # torch.manual_seed does the same in 160 us, and queues a call each time while CUDA sleeps. This takes 8.
    torch.default_generator.manual_seed(number)
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002  (datasets in the wild draw from the global generator)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


@contextmanager
def kept_rng() -> Iterator[None]:
    """Leave the global CPU generators as they were before the block."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
