"""The compiled sampler for the CPU: each call draws a block of samples of one stream, and each core takes one stream.

Everything that happens to a sample is here, in order. The inputs of the network's matrices are float32, or integers
with one scale per vector.

A past tap of dilation d needs only the layer's input from d samples ago. So if d is a multiple of COLUMNS, the inputs
of COLUMNS samples are multiplied at once, and the weights are read once for all of them.
"""

import hashlib
from pathlib import Path
from types import FunctionType

import llvmlite
import numba
import numpy as np
import torch
from numba import njit
from torch import Tensor

from musicai.threads import Workers, jit
from musicai.wavenet._fast import vectors
from musicai.wavenet._fast.weights import Layout, aligned
from musicai.wavenet.generate.samplers import Conditioning, Draw
from musicai.wavenet.heads import TINY
from musicai.wavenet.model import WaveNet

AHEAD = 256  # samples whose conditioning is multiplied at once: few enough that it is still in the cache when read
STRIDE = 32  # classes skipped at once on the way to the one that is drawn
NOTHING, BIG_ENOUGH = np.float32(0), np.float32(3e38)
NO_RAW = np.zeros((0, 0), np.float32)

OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "nogil": True}
inline = njit(**OPTIONS)
within = njit(**OPTIONS | {"inline": "always"})  # by numba: a call would count references to arrays, one by one
reduce = njit(**OPTIONS | {"fastmath": {"contract", "nsz", "reassoc", "nnan"}})  # sums may be computed in any order


@reduce
def mass(p, start, stop):
    """The sum of p[start:stop]."""
    total = 0.0
    for i in range(start, stop):
        total += p[i]
    return total


@reduce
def largest(p, n):
    """The largest of p[:n]."""
    top = p[0]
    for i in range(1, n):
        top = max(top, p[i])
    return top


@inline
def nucleus(p, n, top_p):
    """`heads.keep_top_p`, in place."""
    wanted, before = top_p * mass(p, 0, n), 0.0
    for i in np.argsort(-p[:n], kind="mergesort"):  # the most likely first, and among equals the first
        if before >= wanted:
            p[i] = 0
        before += p[i]


@within
def choose(logits, n, u, temperature, top_p, p):
    """The first class whose cumulative probability exceeds u; the most likely class at temperature 0."""
    if temperature == 0:
        return np.argmax(logits[:n])
    vectors.exponentials(logits, 0, p, 0, n, largest(logits, n), 1 / temperature)
    if top_p < 1:
        nucleus(p, n, top_p)
    target, below, i = u * mass(p, 0, n), 0.0, 0
    while i + STRIDE < n:
        reached = below + mass(p, i, i + STRIDE)
        if reached > target:
            break
        below, i = reached, i + STRIDE
    while i < n and below + p[i] <= target:
        below, i = below + p[i], i + 1
    i = min(i, n - 1)
    while p[i] == 0:  # all the mass but a rounding error lies below
        i -= 1
    return i


@within
def draw(values, raw, n, uniforms, t, temperature, top_p, low, high, p):
    """Draw a sample from the output of the last layer: a code, or a value from a mixture of Gaussians."""
    k = choose(raw, n, uniforms[t, 0], temperature, top_p, p)
    if not values:
        return np.float64(k)
    log_scale = low + np.logaddexp(0, high - low - np.logaddexp(0, high - np.float64(raw[2 * n + k])))
    value = np.float64(raw[n + k]) + temperature * np.exp(min(log_scale, high)) * uniforms[t, 1]
    return min(max(value, -1.0), 1.0)


@inline
def past(weight, w, rows, m, ring, scale, row, place, dilation, taps, r, out, o):
    """Return where in `out`, after o, this sample's past taps have their products.

    They are computed for COLUMNS samples at once; a layer whose dilation is too short computes them sample by sample.
    """
    length, block = (taps - 1) * dilation, vectors.COLUMNS if dilation % vectors.COLUMNS == 0 else 1
    o += place % block * 2 * r
    if place % block:
        return o
    out[o : o + block * 2 * r] = 0
    for tap in range(taps - 1):
        back = place + tap * dilation
        back = row + (back - length if back >= length else back)
        if block == 1:
            vectors.matvec(out, o, weight, w, rows, m, ring, back * r, scale, back, r, 2 * r)
        else:
            vectors.matmat(out, o, weight, w, rows, m, ring, back * r, scale, back, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * 2 * r
    return o


@within
def network(model, state, cond, at):
    """Take one sample through the layers, from x[:R]; leaves the output of the last layer in z."""
    shape, limits, dilations, weight, rows, bias, _ = model
    ring, ring_scale, places, ahead, _, (x, z, _, q, q_scale) = state
    taps, r, s, a, k = shape[2:]
    v = n = b = row = 0
    w, m = len(dilations) * (taps - 1) * 2 * r * r, len(dilations) * (taps - 1) * 2 * 2 * r
    vectors.copy(bias, 0, x, r, s)
    b += s
    for layer in range(len(dilations)):
        place, length = places[layer], max((taps - 1) * dilations[layer], 1)
        o, here = layer * vectors.COLUMNS * 2 * r, row + place
        o = past(weight, v, rows, n, ring, ring_scale, row, place, dilations[layer], taps, r, ahead, o)
        v, n = v + (taps - 1) * 2 * r * r, n + (taps - 1) * 2 * 2 * r
        vectors.add(cond, at, ahead, o, 2 * r)
        vectors.encode(x, 0, ring, here * r, ring_scale, here, r, -BIG_ENOUGH, limits[0])
        vectors.matvec(ahead, o, weight, w, rows, m, ring, here * r, ring_scale, here, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * 2 * r
        places[layer] = place + 1 if place + 1 < length else 0
        vectors.gate(ahead, o, q, 0, r, limits[0])
        vectors.add(bias, b, x, 0, r)
        vectors.matvec(x, 0, weight, w, rows, m, q, 0, limits, 3, r, r + s)
        w, m, b, row, at = w + r * (r + s), m + 2 * (r + s), b + r, row + length, at + 2 * r
    vectors.encode(x, r, q, 0, q_scale, 0, s, NOTHING, limits[1])
    vectors.copy(bias, b, z, 0, a)
    vectors.matvec(z, 0, weight, w, rows, m, q, 0, q_scale, 0, s, a)
    w, m, b = w + s * a, m + 2 * a, b + a
    vectors.encode(z, 0, q, 0, q_scale, 0, a, NOTHING, limits[2])
    vectors.copy(bias, b, z, 0, k)
    vectors.matvec(z, 0, weight, w, rows, m, q, 0, q_scale, 0, a, k)


def run(model, state, cond, uniforms, choice, forced, samples, raw):
    """Fill `samples`, or follow the ones already there if they are forced; `raw` holds the outputs of the last layer.

    See `_Stream` and `Layout` for what the tuples hold.
    """
    shape, table, (temperature, top_p, low, high) = model[0], model[6], choice
    values, n, r = shape[0], shape[1], shape[3]
    last, (x, z, p, _, _) = state[4], state[5]
    step = 2 * r * len(model[2]) if len(cond) > 2 * r * len(model[2]) else 0
    for t in range(len(samples)):
        row, factor = (1, last[0]) if values else (1 + np.int64(last[0]), 1.0)
        for i in range(r):
            x[i] = table[i] + np.float32(factor) * table[row * r + i]
        network(model, state, cond, t * step)
        for i in range(raw.shape[1] if t < len(raw) else 0):
            raw[t, i] = z[i]
        if not forced:
            samples[t] = draw(values, z, n, uniforms, t, temperature, top_p, low, high, p)
        last[0] = samples[t]


def code_key(folder: Path = Path(__file__).parent) -> str:
    """Hash what the machine code depends on: all source files in this folder, numba, LLVM and the processor.

    numba's own cache looks only at the file of the compiled function, and would keep using outdated helpers.
    """
    versions = repr((numba.__version__, llvmlite.__version__, vectors.FEATURES)).encode()
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(versions + sources).hexdigest()[:12]


def jitted(precision: str, key: str):
    """`run` for one precision, cached on disk.

    Each precision and each version of the code has its own name, so a cache file can have only one possible content,
    even if several processes fill it at once.
    """
    own = FunctionType(run.__code__, run.__globals__, f"run_{precision}_{key}")
    own.__qualname__ = own.__name__
    return jit(**OPTIONS)(own)


RUN = {precision: jitted(precision, code_key()) for precision in ("float32", "int16", "int8")}


class Compiled:
    """Draws in compiled code, without Python between samples: one stream per core at a time, weights packed once.

    precision: "float32"; or "int16" (of which 12 bits are used) or "int8", with weights as integers with one scale per
    row, and their inputs as integers of 16 or 8 bits with one scale per vector. See `Sampler`.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor, precision: str):
        self.dtype, packed = previous.dtype, Layout(model, precision)
        self.streams = [_Stream(packed, conditioning.select(i), draw, float(x)) for i, x in enumerate(previous)]
        self.workers = Workers(torch.device("cpu"))

    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """See `Sampler.block`."""
        known = [None] * len(self.streams) if forced is None else forced
        pieces = zip(self.streams, uniforms, known, strict=True)
        done = self.workers.map(lambda piece: piece[0].block(start, *piece[1:]), pieces)
        return torch.from_numpy(np.stack(list(done))).to(self.dtype)

    def answers(self, forced: Tensor) -> Tensor:
        """The output of the head's linear layer at each sample of forced (streams, T): (streams, T, classes)."""
        raw = np.zeros((*forced.shape, self.streams[0].draw.head.linear.out_features), np.float32)
        for stream, known, place in zip(self.streams, forced, raw, strict=True):
            stream.block(0, torch.zeros(len(known), 1), known, place)
        return torch.from_numpy(raw)


class _Stream:
    """One stream: its ring buffers of past inputs, and its place in the conditioning."""

    def __init__(self, packed: Layout, conditioning: Conditioning, draw: Draw, previous: float):
        self.packed, self.conditioning, self.draw = packed, conditioning, draw
        single, number = np.float32, vectors.ARITHMETIC[packed.precision].dtype
        # Past inputs and their scales, the layers' positions in their rings, and products of the past taps.
        rings = aligned(packed.ring_rows * packed.r, number), aligned(packed.ring_rows, single)
        places = np.zeros(packed.layers, np.int64)
        ahead = aligned(packed.layers * vectors.COLUMNS * 2 * packed.r, single)
        work = tuple(aligned(packed.widest, kind) for kind in (single, single, single, number, single))
        self.state = *rings, places, ahead, np.array([previous]), work
        self.choice = tuple(map(float, (draw.temperature, draw.top_p or 1, *getattr(draw.head, "bounds", (0, 0)))))

    @torch.inference_mode()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None, raw: np.ndarray = NO_RAW) -> np.ndarray:
        samples = np.zeros(len(uniforms)) if forced is None else forced.double().numpy().copy()
        numbers, packed = uniforms.double().clone(), self.packed
        numbers[:, 1:] = torch.special.ndtri(numbers[:, 1:].clamp(TINY, 1 - TINY))  # normal numbers
        constant = self.conditioning.local is None
        h = self.conditioning.block(start, start + (1 if constant else len(samples)))
        for t in range(0, len(samples), AHEAD):
            near = slice(t, t + AHEAD)
            given = packed.weights.conditions(h if constant else h[..., near])
            read = packed.arrays, self.state, given.flatten().numpy(), numbers[near].numpy(), self.choice
            RUN[packed.precision](*read, forced is not None, samples[near], raw[near])
        return samples
