"""Uniform numbers that are a pure function of (seed, stream, time): what every sampler draws with."""

import numpy as np
import torch
from torch import Tensor

CHUNK = 1024  # samples that share one seeded generator


class Uniforms:
    """Uniform numbers in [0, 1), `k` a sample: from a seed, or given ones, (streams, length, k) or (streams, length).

    Those of a seed do not depend on how many streams there are, how long they are, or where a run was interrupted.

    Raises ValueError for given ones of another shape or outside [0, 1).
    """

    def __init__(self, seed: int, streams: int, length: int, k: int, given: Tensor | np.ndarray | None = None):
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed must be a whole number, 0 or more; got {seed!r}")
        self.seed, self.streams, self.k = int(seed), streams, k
        self.given = None if given is None else _checked(torch.as_tensor(given), streams, length, k)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Those of samples [start, stop): (streams, stop - start, k), float64."""
        if self.given is not None:
            return self.given[:, start:stop]
        first = start // CHUNK
        chunks = [self._chunk(number) for number in range(first, -(-stop // CHUNK))]
        return torch.cat(chunks, dim=1)[:, start - first * CHUNK : stop - first * CHUNK]

    def _chunk(self, number: int) -> Tensor:
        keys = [np.random.SeedSequence([self.seed, stream, number]) for stream in range(self.streams)]
        drawn = [np.random.Generator(np.random.PCG64(key)).random((CHUNK, self.k)) for key in keys]
        return torch.from_numpy(np.stack(drawn))


def _checked(given: Tensor, streams: int, length: int, k: int) -> Tensor:
    shapes = {(streams, length, k)} | ({(streams, length)} if k == 1 else set())
    if tuple(given.shape) not in shapes:
        raise ValueError(
            f"uniforms have shape {tuple(given.shape)}; {streams} streams of {length} samples need "
            f"{' or '.join(map(str, sorted(shapes, key=len)))}"
        )
    given = given.detach().to("cpu", torch.float64).reshape(streams, length, k)
    if not ((given >= 0) & (given < 1)).all():
        raise ValueError("uniforms must lie in [0, 1)")
    return given
