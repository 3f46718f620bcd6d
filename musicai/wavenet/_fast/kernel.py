"""The sampler for the CPU: a block of samples of one stream in one call, compiled by numba.

Everything that happens to a sample is here, in order. The inputs of the network's matrices are float32, or integers
with one scale for each vector.

A past tap of dilation d needs only the layer's input of d samples ago. So where d is a multiple of COLUMNS, those of
COLUMNS samples are multiplied at once, and their weights are read once for all.
"""

import hashlib
from pathlib import Path
from types import FunctionType

import llvmlite
import numba
import numpy as np
from numba import njit

from musicai.wavenet._fast.products import COLUMNS, matmat, matvec
from musicai.wavenet._fast.vectors import FEATURES, add, copy, encode, exponentials, gate

CODES, VALUES = 0, 1  # what a sample is: a class, or a number drawn from a mixture of Gaussians
STRIDE = 32  # classes that are passed by at once on the way to the one that is drawn
NOTHING, BIG_ENOUGH = np.float32(0), np.float32(3e38)

OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "nogil": True}
inline = njit(**OPTIONS)
within = njit(**OPTIONS | {"inline": "always"})  # by numba: a call counts references to arrays, one by one
reduce = njit(**OPTIONS | {"fastmath": {"contract", "nsz", "reassoc", "nnan"}})  # sums in any order


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


@reduce
def mass_from(p, bits, n, least):
    """The sum of all p whose bits, read as an integer, are at least `least`."""
    total = 0.0
    for i in range(n):
        total += p[i] if bits[i] >= least else NOTHING
    return total


@inline
def nucleus(p, n, top_p):
    """`heads.keep_top_p`, in place and without sorting: the bits of floats above 0 have the floats' order."""
    wanted, bits, edge = top_p * mass(p, 0, n), p.view(np.int32), np.int32(0)
    for k in range(30, -1, -1):  # the largest number from which on there is enough, bit by bit
        trial = np.int32(edge | 1 << k)
        if mass_from(p, bits, n, trial) >= wanted:
            edge = trial
    before = mass_from(p, bits, n, edge + 1)
    for i in range(n):
        if bits[i] < edge or (bits[i] == edge and before >= wanted):  # of equals, the first are kept
            p[i] = 0
        elif bits[i] == edge:
            before += p[i]


@within
def choose(logits, n, u, temperature, top_p, p):
    """The first class whose cumulative probability is above u; the likeliest at temperature 0."""
    top = largest(logits, n)
    if temperature == 0:
        best = 0
        while logits[best] < top:
            best += 1
        return best
    exponentials(logits, 0, p, 0, n, top, 1 / temperature)
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
    while p[i] == 0:  # all but a rounding error of the mass is below
        i -= 1
    return i


@inline
def softplus(x):
    """log(1 + e^x)."""
    return (x if x > 0 else 0.0) + np.log1p(np.exp(-abs(x)))


@within
def draw(kind, raw, n, uniforms, t, temperature, top_p, bounds, p):
    """A sample from the answer of the last layer."""
    k = choose(raw, n, uniforms[t, 0], temperature, top_p, p)
    if kind == CODES:
        return np.float64(k)
    low, high = bounds
    log_scale = low + softplus(high - low - softplus(high - np.float64(raw[2 * n + k])))
    scale = np.exp(min(log_scale, high))
    value = np.float64(raw[n + k]) + temperature * scale * uniforms[t, 1]
    return min(max(value, -1.0), 1.0)


@inline
def embed(kind, table, previous, x, n):
    """x[:n] from the sample before."""
    if kind == CODES:
        copy(table, np.int64(previous) * n, x, 0, n)
    else:
        for i in range(n):
            x[i] = table[i] * np.float32(previous) + table[n + i]


@inline
def past(weight, w, rows, m, ring, scale, row, place, dilation, taps, r, out, o):
    """Where in `out` is what this sample's past taps give, after o; every COLUMNS samples, those of all are computed.

    A layer whose dilation is too short for that computes them sample by sample.
    """
    length, block = (taps - 1) * dilation, COLUMNS if dilation % COLUMNS == 0 else 1
    o += place % block * 2 * r
    if place % block:
        return o
    out[o : o + block * 2 * r] = 0
    for tap in range(taps - 1):
        back = place + tap * dilation
        back = row + (back - length if back >= length else back)
        if block == 1:
            matvec(out, o, weight, w, rows, m, ring, back * r, scale, back, r, 2 * r)
        else:
            matmat(out, o, weight, w, rows, m, ring, back * r, scale, back, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * 2 * r
    return o


@within
def network(model, state, cond, at):
    """One sample through the layers, from x[:R]; leaves the answer of the last layer in z."""
    shape, limits, dilations, weight, rows, bias, _ = model
    ring, ring_scale, places, ahead, _, (x, z, _, q, q_scale) = state
    taps, r, s, a, k = shape[2:]
    v = n = b = row = 0
    w, m = len(dilations) * (taps - 1) * 2 * r * r, len(dilations) * (taps - 1) * 2 * 2 * r
    copy(bias, 0, x, r, s)
    b += s
    for layer in range(len(dilations)):
        place, length = places[layer], max((taps - 1) * dilations[layer], 1)
        o, here = layer * COLUMNS * 2 * r, row + place
        o = past(weight, v, rows, n, ring, ring_scale, row, place, dilations[layer], taps, r, ahead, o)
        v, n = v + (taps - 1) * 2 * r * r, n + (taps - 1) * 2 * 2 * r
        add(cond, at, ahead, o, 2 * r)
        encode(x, 0, ring, here * r, ring_scale, here, r, -BIG_ENOUGH, limits[0])
        matvec(ahead, o, weight, w, rows, m, ring, here * r, ring_scale, here, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * 2 * r
        places[layer] = place + 1 if place + 1 < length else 0
        gate(ahead, o, q, 0, r, limits[0])
        add(bias, b, x, 0, r)
        matvec(x, 0, weight, w, rows, m, q, 0, limits, 3, r, r + s)
        w, m, b, row, at = w + r * (r + s), m + 2 * (r + s), b + r, row + length, at + 2 * r
    encode(x, r, q, 0, q_scale, 0, s, NOTHING, limits[1])
    copy(bias, b, z, 0, a)
    matvec(z, 0, weight, w, rows, m, q, 0, q_scale, 0, s, a)
    w, m, b = w + s * a, m + 2 * a, b + a
    encode(z, 0, q, 0, q_scale, 0, a, NOTHING, limits[2])
    copy(bias, b, z, 0, k)
    matvec(z, 0, weight, w, rows, m, q, 0, q_scale, 0, a, k)


def run(model, state, cond, uniforms, choice, forced, samples, raw):
    """Fill samples, or follow those that are there if they are forced; raw holds the answers of the last layer.

    See `musicai.wavenet._fast.compiled` for what the tuples hold.
    """
    shape, table, (temperature, top_p, low, high) = model[0], model[6], choice
    kind, n, r = shape[0], shape[1], shape[3]
    last, (x, z, p, _, _) = state[4], state[5]
    step = 2 * r * len(model[2]) if len(cond) > 2 * r * len(model[2]) else 0
    for t in range(len(samples)):
        embed(kind, table, last[0], x, r)
        network(model, state, cond, t * step)
        for i in range(raw.shape[1] if t < len(raw) else 0):
            raw[t, i] = z[i]
        if not forced:
            samples[t] = draw(kind, z, n, uniforms, t, temperature, top_p, (low, high), p)
        last[0] = samples[t]


def code_key(folder: Path = Path(__file__).parent) -> str:
    """Names what machine code depends on: all source files of this folder, numba, LLVM and the processor.

    numba's own cache looks at the file of the compiled function only, and would go on using old helpers.
    """
    digest = hashlib.sha256(repr((numba.__version__, llvmlite.__version__, FEATURES)).encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def compiled(precision: str, key: str):
    """`run` for one precision, with a cache on disk where one can be written.

    Each precision and each version of the code has a name of its own, so that a file of the cache has only one possible
    content, also where several processes fill it at once.
    """
    own = FunctionType(run.__code__, run.__globals__, f"run_{precision}_{key}")
    own.__qualname__ = own.__name__
    try:
        return njit(cache=True, **OPTIONS)(own)
    except RuntimeError:  # nowhere to put it: a read-only installation without a home
        return njit(**OPTIONS)(own)


RUN = {precision: compiled(precision, code_key()) for precision in ("float32", "int16", "int8")}
