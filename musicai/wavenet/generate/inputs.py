"""What goes into a sampler beside the model: what it is conditioned on, and the uniform numbers. Chapter 5."""

import math
from collections.abc import Mapping
from copy import copy

import numpy as np
import torch
from torch import Tensor

from musicai.wavenet.model import WaveNet

CHUNK = 1024  # samples that share one seeded generator
NAMES = ("local", "instrument")


class Conditioning:
    """The conditioning of `streams` streams of `length` samples.

    Args:
        model: the WaveNet to condition.
        given: a mapping with "local", a tensor (local_channels, frames) for all streams or (streams, local_channels,
            frames), and "instrument", a number or int64 (streams,): those that the model has layers for, and no others.
        streams: how many sequences are drawn.
        length: samples of each.

    Raises:
        ValueError: a part is missing, unknown to the model or of the wrong length, or not finite; no such instrument.

    Chapter 5.
    """

    def __init__(self, model: WaveNet, given: Mapping | None, streams: int, length: int):
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"conditioning must be a mapping such as {{'local': ...}}; got a {type(given).__name__}")
        given = dict(given or {})
        for name in given.keys() - set(NAMES):
            raise ValueError(f"unknown conditioning {name!r}; there are {' and '.join(map(repr, NAMES))}")
        for name, layer in zip(NAMES, (model.upsample, model.instruments), strict=True):
            if (layer is None) != (given.get(name) is None):
                verb = "needs" if layer is not None else "takes no"
                raise ValueError(f"this model {verb} {name} conditioning; conditioning={{{name!r}: ...}}")
        self.model, self.factor = model, math.prod(model.config.upsample)
        self.margin = len(model.config.upsample) + 1  # frames beyond a block's own that its upsampling may look at
        self.local = self.instrument = None
        like = next(model.parameters())
        if model.upsample is not None:
            local = as_numbers("local conditioning", given["local"])
            local = local.expand(streams, *local.shape) if local.ndim == 2 else local
            model._check_local(streams, length, local)
            self.local = local.to(like)
        if model.instruments is not None:
            instrument = as_numbers("instrument", given["instrument"])
            instrument = instrument.long() if instrument.dtype in (torch.int8, torch.int16, torch.int32) else instrument
            instrument = instrument.expand(streams) if instrument.ndim == 0 else instrument
            model._check_instrument(streams, instrument)
            self.instrument = instrument.to(like.device)

    @property
    def constant(self) -> bool:
        """Whether it is the same at all times."""
        return self.local is None

    def select(self, stream: int) -> "Conditioning":
        """The conditioning of one stream alone."""
        one = copy(self)
        one.local = None if self.local is None else self.local[stream : stream + 1]
        one.instrument = None if self.instrument is None else self.instrument[stream : stream + 1]
        return one

    def block(self, start: int, stop: int) -> Tensor | None:
        """What the blocks see at samples [start, stop), as `WaveNet.condition` gives it: (streams, channels, T).

        Constant conditioning may be asked for at one sample only.
        """
        parts = []
        if self.local is not None:
            first = max(start // self.factor - self.margin, 0)
            frames = self.local[..., first : -(-stop // self.factor) + self.margin]
            offset = first * self.factor
            parts.append(self.model.upsampled(frames, self.instrument)[..., start - offset : stop - offset])
        if self.instrument is not None:
            parts.append(self.model.instruments(self.instrument)[..., None].expand(-1, -1, stop - start))
        return torch.cat(parts, dim=1) if parts else None


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


def as_numbers(name: str, value: object) -> Tensor:
    """A tensor of real numbers, or a ValueError that names what is not."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, such as a tensor; got {value!r:.60}") from error
    if tensor.is_complex():
        raise ValueError(f"{name} must be real numbers; got {tensor.dtype}")
    return tensor
