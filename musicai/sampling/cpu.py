"""The compiled sampler: `musicai.sampling.kernel`, fed with a model's weights; each core takes a stream at a time."""

import math

import numpy as np
import torch
from torch import Tensor

from musicai.sampling.conditioning import Conditioning
from musicai.sampling.kernel import RUN
from musicai.sampling.matvec import COLUMNS
from musicai.sampling.naive import Draw
from musicai.sampling.packed import Packed, aligned, packed
from musicai.sampling.products import arithmetic
from musicai.threads import Workers
from musicai.wavenet import WaveNet
from musicai.wavenet.heads import TINY

AHEAD = 256  # samples whose conditioning is multiplied out at once: it should still be in the cache when it is read
NO_RAW = np.zeros((0, 0), np.float32)


class Compiled:
    """Streams in compiled code, without Python between samples: one stream a core at a time, weights packed once.

    precision: "float32"; "int16" (12 bits are used) or "int8" for the weights as whole numbers with a scale for each
    row, what they are multiplied with then being 16 or 8 bits with a scale for each vector. Chapter 5.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor, precision: str):
        self.dtype = previous.dtype
        weights = packed(model, precision)
        self.streams = [_Stream(weights, conditioning.select(i), draw, float(x)) for i, x in enumerate(previous)]
        self.workers = Workers(torch.device("cpu"))

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """Samples [start, start + T) for uniforms (streams, T, k): (streams, T). Known ones can be forced."""
        known = [None] * len(self.streams) if forced is None else forced
        pieces = list(zip(self.streams, uniforms, known, strict=True))
        done = list(self.workers.map(lambda piece: piece[0].block(start, *piece[1:]), pieces))
        return torch.from_numpy(np.stack(done)).to(self.dtype)

    def answers(self, forced: Tensor) -> Tensor:
        """What the head's linear layer gives at each sample of forced (streams, T): (streams, T, classes)."""
        raw = [np.zeros((forced.shape[1], s.outputs), np.float32) for s in self.streams]
        for stream, known, place in zip(self.streams, forced, raw, strict=True):
            stream.block(0, torch.zeros(len(known), stream.uniforms), known, place)
        return torch.from_numpy(np.stack(raw))


class _Stream:
    """One stream: its rings of past inputs, and its place in the conditioning."""

    def __init__(self, weights: Packed, conditioning: Conditioning, draw: Draw, previous: float):
        self.weights, self.conditioning = weights, conditioning
        self.outputs, self.uniforms = draw.head.linear.out_features, draw.head.uniforms
        r = int(weights.arrays[0][3])
        ring = aligned(weights.ring_rows * r, arithmetic(weights.precision).dtype)
        kinds = (np.float32, np.float32, np.float32, ring.dtype, np.float32)  # x, z, p, and q with its scale
        scratch = tuple(aligned(weights.widest, kind) for kind in kinds)
        self.state = (
            ring,
            aligned(weights.ring_rows, np.float32),
            np.zeros(weights.layers, np.int64),
            aligned(weights.layers * COLUMNS * 2 * r, np.float32),
            np.array([previous]),
            scratch,
        )
        top_p = 1.0 if draw.top_p is None else float(draw.top_p)
        self.choice = (float(draw.temperature), top_p, *map(float, weights.bounds))

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None, raw: np.ndarray = NO_RAW) -> np.ndarray:
        samples = np.zeros(len(uniforms)) if forced is None else forced.double().numpy().copy()
        numbers, run = _places(uniforms), RUN[self.weights.precision]
        h = self.conditioning.block(start, start + len(samples))
        for t in range(0, len(samples), AHEAD):
            near = slice(t, t + AHEAD)
            run(
                self.weights.arrays, self.state, self._given(h, near), numbers[near], self.choice,
                forced is not None, samples[near], raw[near],
            )  # fmt: skip
        return samples

    def _given(self, h: Tensor | None, near: slice) -> np.ndarray:
        """What conditioning and bias add to the layers, flat: a row for each sample, or one for all."""
        bias, matrix = self.weights.condition_bias, self.weights.condition
        if h is None:
            return bias.numpy()
        columns = h[0, :, :1] if self.conditioning.constant else h[0, :, near]
        return torch.addmm(bias, columns.T.float(), matrix).flatten().numpy()


def _places(uniforms: Tensor) -> np.ndarray:
    """Uniforms (T, k) as the kernel takes them: the second, a place in a Gaussian, as a standard normal number."""
    numbers = uniforms.double().clone()
    if numbers.shape[1] > 1:
        numbers[:, 1] = math.sqrt(2) * torch.erfinv(2 * numbers[:, 1].clamp(TINY, 1 - TINY) - 1)
    return numbers.numpy()
