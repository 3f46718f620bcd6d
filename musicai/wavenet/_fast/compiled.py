"""The compiled sampler: `kernel.py`, fed with a model's weights; each core takes one stream at a time."""

import math

import numpy as np
import torch
from torch import Tensor

from musicai.threads import Workers
from musicai.wavenet._fast.kernel import CODES, RUN, VALUES
from musicai.wavenet._fast.products import COLUMNS, arithmetic, pack, pack_rows
from musicai.wavenet._fast.weights import Weights
from musicai.wavenet.generate.samplers import Conditioning, Draw
from musicai.wavenet.heads import TINY
from musicai.wavenet.model import WaveNet

AHEAD = 256  # samples whose conditioning is multiplied out at once: it should still be in the cache when it is read
VECTOR, BLOCK = 16, 32  # channels are padded to whole vectors, the outputs of a matrix to whole blocks
LARGEST = {"int16": (2047, 32767), "int8": (127, 95)}  # the largest integers for weights, and for inputs
PAIR = 170  # of the sizes of two neighbouring int8 weights before they are rounded: (170 + 1) (95 + MIDDLE) < 2^15
NO_RAW = np.zeros((0, 0), np.float32)


class Compiled:
    """Streams in compiled code, without Python between samples: one stream a core at a time, weights packed once.

    precision: "float32"; "int16" (12 bits are used) or "int8" for the weights as integers with a scale for each row,
    and for their inputs as integers of 16 or 8 bits with a scale for each vector. See `Sampler`.
    """

    longest = 2**62

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor, precision: str):
        self.dtype, packed = previous.dtype, Layout(model, precision)
        self.streams = [_Stream(packed, conditioning.select(i), draw, float(x)) for i, x in enumerate(previous)]
        self.workers = Workers(torch.device("cpu"))

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        known = [None] * len(self.streams) if forced is None else forced
        pieces = list(zip(self.streams, uniforms, known, strict=True))
        done = list(self.workers.map(lambda piece: piece[0].block(start, *piece[1:]), pieces))
        return torch.from_numpy(np.stack(done)).to(self.dtype)

    def answers(self, forced: Tensor) -> Tensor:
        """What the head's linear layer gives at each sample of forced (streams, T): (streams, T, classes)."""
        raw = [np.zeros((forced.shape[1], s.draw.head.linear.out_features), np.float32) for s in self.streams]
        for stream, known, place in zip(self.streams, forced, raw, strict=True):
            stream.block(0, torch.zeros(len(known), stream.draw.head.uniforms), known, place)
        return torch.from_numpy(np.stack(raw))


class _Stream:
    """One stream: its rings of past inputs, and its place in the conditioning."""

    def __init__(self, packed: "Layout", conditioning: Conditioning, draw: Draw, previous: float):
        self.packed, self.conditioning, self.draw = packed, conditioning, draw
        r, layers, number = packed.r, packed.layers, arithmetic(packed.precision).dtype
        self.state = (
            aligned(packed.ring_rows * r, number),
            aligned(packed.ring_rows, np.float32),  # their scales
            np.zeros(layers, np.int64),  # where each layer is in its ring
            aligned(layers * COLUMNS * 2 * r, np.float32),  # what past taps give
            np.array([previous]),
            tuple(aligned(packed.widest, kind) for kind in (np.float32, np.float32, np.float32, number, np.float32)),
        )
        top_p = 1.0 if draw.top_p is None else float(draw.top_p)
        self.choice = (float(draw.temperature), top_p, *map(float, getattr(draw.head, "bounds", (0, 0))))

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None, raw: np.ndarray = NO_RAW) -> np.ndarray:
        samples = np.zeros(len(uniforms)) if forced is None else forced.double().numpy().copy()
        numbers, packed = uniforms.double().clone(), self.packed
        numbers[:, 1:] = math.sqrt(2) * torch.erfinv(2 * numbers[:, 1:].clamp(TINY, 1 - TINY) - 1)  # normal numbers
        h = self.conditioning.block(start, start + (1 if (self.conditioning.local is None) else len(samples)))
        for t in range(0, len(samples), AHEAD):
            near = slice(t, t + AHEAD)
            given = packed.weights.conditions(h if (self.conditioning.local is None) else h[..., near])
            RUN[packed.precision](
                packed.arrays, self.state, given.flatten().numpy(), numbers[near].numpy(), self.choice,
                forced is not None, samples[near], raw[near],
            )  # fmt: skip
        return samples


class Layout:
    """A model as the kernel reads it: flat, padded to whole vectors, in the order of use, past taps before all else.

    arrays: the kernel's tuple `model`: shape, limits, dilations, weight, rows, bias, table. The limits are the largest
    integers for R, S and A, and the scale of the gate's.
    """

    def __init__(self, model: WaveNet, precision: str):
        c, taps, classes = model.config, model.config.kernel_size, model.head.linear.out_features
        r, a, k = _up(c.residual_channels, VECTOR), _up(c.end_channels, BLOCK), _up(classes, BLOCK)
        s = _up(r + c.skip_channels, BLOCK) - r
        self.precision, self.layers, self.r, self.weights = precision, c.layers, r, Weights(model, r, s, a, k)
        w, dilations = self.weights, np.array([block.conv.dilation[0] for block in model.stack.blocks])
        self.ring_rows = int(np.maximum(dilations * (taps - 1), 1).sum())
        self.widest = max(2 * r, r + s, a, k)
        matrices = list(w.taps[:, :-1].reshape(-1, 2 * r, r))
        for tap, residual, skip in zip(w.taps[:, -1], w.residual, w.skip, strict=True):
            matrices += [tap.reshape(2 * r, r), torch.cat([residual, skip])]
        packed = [_pack(matrix.double().numpy(), precision) for matrix in (*matrices, w.output, w.head)]
        limits = [_limit(n, precision) for n in (r, s, a)]
        kind, count = (VALUES, c.mixtures) if c.mixtures else (CODES, c.classes)
        self.arrays = (
            np.array([kind, count, taps, r, s, a, k]),
            np.array([*limits, 1 / limits[0]], np.float32),
            dilations,
            _flat([weight for weight, _ in packed]),
            _flat([rows for _, rows in packed]),
            _flat([bias.numpy() for bias in (w.skip_bias, w.residual_bias, w.output_bias, w.head_bias)]),
            _flat([w.input.numpy()]),
        )


def aligned(n: int, dtype: type | str) -> np.ndarray:
    """Zeros that begin where a line of the cache does: a vector that straddles two is read at half the speed."""
    size = n * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype)


def _pack(matrix: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (out, in) as `matvec` reads it: float32, or integers with what belongs to their rows."""
    numbers = arithmetic(precision)
    if precision == "float32":
        return pack(matrix.astype(np.float32), numbers.unit), np.zeros(2 * len(matrix), np.float32)
    scale = np.maximum(np.abs(matrix).max(1), 1e-30) / LARGEST[precision][0]
    if precision == "int8":
        scale = np.maximum(scale, np.abs(matrix).reshape(len(matrix), -1, 2).sum(2).max(1) / PAIR)
    whole = np.rint(matrix / scale[:, None]).astype(np.int16 if numbers.unit == 2 else np.int8)
    return pack(whole, numbers.unit), pack_rows(scale, whole)


def _limit(n_in: int, precision: str) -> int:
    """The largest integer for what a matrix is multiplied with: n_in products must fit in 32 bits."""
    most, largest = LARGEST.get(precision, (1, 1))
    return min(largest, (2**31 - 1) // (n_in * most))


def _flat(parts: list[np.ndarray]) -> np.ndarray:
    out = aligned(sum(part.size for part in parts), parts[0].dtype)
    out[:] = np.concatenate([part.ravel() for part in parts])
    return out


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
