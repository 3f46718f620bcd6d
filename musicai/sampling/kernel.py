"""The sampler for the CPU: a block of samples of one stream in one call, compiled by numba. Chapter 5.

Everything that a sample needs is here, in the order in which it is computed. Numbers that the network's matrices are
multiplied with are of the weights' kind: float32, or int16 or int8 with one scale for each vector.

A past tap of dilation d needs no more than the input of d samples ago. So where d is COLUMNS or more, those of COLUMNS
samples are multiplied out at once, and their weights are read once for all.
"""

from types import FunctionType

import numpy as np
from numba import njit

from musicai.sampling.elementwise import add, as_float, copy, encode, exponentials, gate
from musicai.sampling.matvec import COLUMNS, matmat, matvec

CODES, VALUES = 0, 1  # what a sample is: a class, or a number drawn from a mixture of Gaussians
STRIDE = 32  # classes that are passed by at once on the way to the one that is drawn
NOTHING, BIG_ENOUGH = np.float32(0), np.float32(3e38)

OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "nogil": True}
inline = njit(**OPTIONS)
within = njit(**OPTIONS | {"inline": "always"})  # by numba: a call counts references to arrays, one by one
reduce = njit(**OPTIONS | {"fastmath": {"contract", "nsz", "reassoc", "nnan"}})  # sums in any order


@reduce
def mass_of(p, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += p[i]
    return total


@reduce
def mass_above(p, n, least):
    total = 0.0
    for i in range(n):
        total += p[i] if p[i] >= least else NOTHING
    return total


@inline
def keep_top_p(p, n, top_p):
    """Put all but the likeliest, which together have top_p of the mass, to 0. Of equals, the first are kept."""
    wanted, bits = top_p * mass_of(p, 0, n), np.int32(0)
    for k in range(30, -1, -1):  # the largest float32 above which there is enough, bit by bit
        trial = np.int32(bits | 1 << k)
        if mass_above(p, n, as_float(trial)) >= wanted:
            bits = trial
    edge = as_float(bits)
    before = mass_above(p, n, as_float(np.int32(bits + 1)))
    for i in range(n):
        if p[i] < edge:
            p[i] = 0
        elif p[i] == edge:
            if before >= wanted:
                p[i] = 0
            before += edge


@reduce
def largest(logits, n):
    top = logits[0]
    for i in range(1, n):
        top = max(top, logits[i])
    return top


@within
def choose(logits, n, u, temperature, top_p, p):
    """The first class whose cumulative probability is above u; the likeliest at temperature 0."""
    top = largest(logits, n)
    if temperature == 0:
        best = 0
        while logits[best] < top:
            best += 1
        return best
    exponentials(logits, n, top, np.float32(1 / temperature), p)
    if top_p < 1:
        keep_top_p(p, n, top_p)
    target, below, i = u * mass_of(p, 0, n), 0.0, 0
    while i + STRIDE < n:
        reached = below + mass_of(p, i, i + STRIDE)
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
    return (x if x > 0 else 0.0) + np.log1p(np.exp(-abs(x)))


@within
def draw(kind, raw, n, uniforms, t, temperature, top_p, bounds, p):
    """A sample from the last layer's answer."""
    k = choose(raw, n, uniforms[t, 0], temperature, top_p, p)
    if kind == CODES:
        return np.float64(k)
    low, high = bounds
    log_scale = low + softplus(high - low - softplus(high - np.float64(raw[2 * n + k])))
    scale = np.exp(log_scale if log_scale < high else high)
    value = np.float64(raw[n + k]) + temperature * scale * uniforms[t, 1]
    return -1.0 if value < -1 else (1.0 if value > 1 else value)


@inline
def front(kind, table, previous, x, n):
    """x[:n] from the sample before."""
    if kind == CODES:
        copy(table, np.int64(previous) * n, n, x, 0)
    else:
        for i in range(n):
            x[i] = table[i] * np.float32(previous) + table[n + i]


@inline
def past(weight, w, row_scale, m, ring, ring_scale, row, place, dilation, taps, r, out, o):
    """Where in `out` is what this sample's past taps give, after o; each COLUMNS samples, those of all are computed.

    A layer whose dilation is too short for that computes them sample by sample.
    """
    rows, block = (taps - 1) * dilation, COLUMNS if dilation % COLUMNS == 0 else 1
    o += place % block * 2 * r
    if place % block:
        return o
    out[o : o + block * 2 * r] = 0
    for tap in range(taps - 1):
        back = place + tap * dilation
        back = row + (back - rows if back >= rows else back)
        if block == 1:
            matvec(out, o, weight, w, row_scale, m, ring, back * r, ring_scale, back, r, 2 * r)
        else:
            matmat(out, o, weight, w, row_scale, m, ring, back * r, ring_scale, back, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * r
    return o


@within
def network(model, state, cond, at):
    """One sample through the layers, from x[:R]; leaves the last layer's answer in z."""
    shape, limits, dilations, weight, row_scale, bias, _ = model
    ring, ring_scale, places, ahead, _, (x, z, _, q, q_scale) = state
    taps, r, s, a, k = shape[2:]
    v = n = b = row = 0
    w, m = len(dilations) * (taps - 1) * 2 * r * r, len(dilations) * (taps - 1) * 2 * r
    copy(bias, 0, s, x, r)
    b += s
    for layer in range(len(dilations)):
        place, rows = places[layer], max((taps - 1) * dilations[layer], 1)
        o = layer * COLUMNS * 2 * r
        o = past(weight, v, row_scale, n, ring, ring_scale, row, place, dilations[layer], taps, r, ahead, o)
        v, n = v + (taps - 1) * 2 * r * r, n + (taps - 1) * 2 * r
        add(cond, at, 2 * r, ahead, o)
        encode(x, 0, r, -BIG_ENOUGH, limits[0], ring, (row + place) * r, ring_scale, row + place)
        matvec(ahead, o, weight, w, row_scale, m, ring, (row + place) * r, ring_scale, row + place, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * r
        places[layer] = place + 1 if place + 1 < rows else 0
        gate(ahead, o, r, limits[0], q)
        add(bias, b, r, x, 0)
        matvec(x, 0, weight, w, row_scale, m, q, 0, limits, 3, r, r + s)
        w, m, b, row, at = w + r * (r + s), m + r + s, b + r, row + rows, at + 2 * r
    encode(x, r, s, NOTHING, limits[1], q, 0, q_scale, 0)
    copy(bias, b, a, z, 0)
    matvec(z, 0, weight, w, row_scale, m, q, 0, q_scale, 0, s, a)
    w, m, b = w + s * a, m + a, b + a
    encode(z, 0, a, NOTHING, limits[2], q, 0, q_scale, 0)
    copy(bias, b, k, z, 0)
    matvec(z, 0, weight, w, row_scale, m, q, 0, q_scale, 0, a, k)


def run(model, state, cond, uniforms, choice, forced, samples, raw):
    """Fill samples, or follow those that are there if they are forced; raw holds the last layer's answers.

    See `musicai.sampling.packed` and `musicai.sampling.cpu` for what the tuples hold.
    """
    shape, table, (temperature, top_p, low, high) = model[0], model[6], choice
    kind, n, r = shape[0], shape[1], shape[3]
    last, (x, z, p, _, _) = state[4], state[5]
    step = 2 * r * len(model[2]) if len(cond) > 2 * r * len(model[2]) else 0
    for t in range(len(samples)):
        front(kind, table, last[0], x, r)
        network(model, state, cond, t * step)
        for i in range(raw.shape[1] if t < len(raw) else 0):
            raw[t, i] = z[i]
        if not forced:
            samples[t] = draw(kind, z, n, uniforms, t, temperature, top_p, (low, high), p)
        last[0] = samples[t]


def _compiled(precision):
    """`run` for one precision, with a cache on disk where one can be written.

    Each precision is a function of its own name, so that a file of the cache has only one possible content, also where
    several processes fill it at once.
    """
    own = FunctionType(run.__code__, run.__globals__, f"run_{precision}")
    own.__qualname__ = own.__name__
    try:
        return njit(cache=True, **OPTIONS)(own)
    except RuntimeError:  # nowhere to put it: a read-only installation without a home
        return njit(**OPTIONS)(own)


RUN = {precision: _compiled(precision) for precision in ("float32", "int16", "int8")}
