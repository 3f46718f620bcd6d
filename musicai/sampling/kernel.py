"""The sampler for the CPU: a block of samples of one stream in one call, compiled by numba. Chapter 5.

Everything that a sample needs is here, in the order in which it is computed. Numbers that the network's matrices are
multiplied with are either float32, or, where the weights are int8 or int16, int16 with one scale for each vector.
"""

from types import FunctionType

import numpy as np
from numba import njit, types
from numba.extending import overload

from musicai.sampling.matvec import as_float, matvec

CODES, VALUES = 0, 1  # what a sample is: a class, or a number drawn from a mixture of Gaussians
LOG2E, LN2 = np.float32(1.4426950408889634), 0.6931471805599453
LN2_HIGH = np.float32(0.693359375)  # ln 2 in two parts: few bits, so that a multiple of it is exact, and the rest
LN2_LOW = np.float32(LN2 - 0.693359375)
# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2; the relative error that this leaves in exp is 3e-9 (our own fit).
E2, E3, E4, E5, E6 = (np.float32(c) for c in (0.49999994, 0.1666652, 0.04166839, 0.00836878, 0.00138145))
ONE, TWICE, BIG, MUCH = np.float32(1), np.float32(-2), np.float32(87), np.float32(1e18)
NOTHING, BIG_ENOUGH = np.float32(0), np.float32(3e38)

OPTIONS = {"fastmath": {"contract", "nsz"}, "error_model": "numpy", "nogil": True}
inline = njit(**OPTIONS)
reduce = njit(**OPTIONS | {"fastmath": {"contract", "nsz", "reassoc", "nnan"}})  # sums in any order


@inline
def exp(x):
    """e^x in float32, within 2e-7 of it relatively; x is taken to lie in [-87, 87]."""
    x = -BIG if x < -BIG else (BIG if x > BIG else x)
    k = np.int32(np.int32(x * LOG2E + np.float32(128.5)) - 128)  # the nearest whole number; a cast cuts off
    r = (x - np.float32(k) * LN2_HIGH) - np.float32(k) * LN2_LOW
    series = E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))
    return (ONE + (r + r * r * series)) * as_float(np.int32((k + 127) << 23))


@reduce
def largest(x, first, n, low):
    """The largest size of max(x[first : first + n], low)."""
    most = NOTHING
    for i in range(n):
        size = abs(x[first + i] if x[first + i] > low else low)
        most = size if size > most else most
    return most


def encode(x, first, n, low, limit, out):
    """Put max(x[first:first + n], low) into out as what `matvec` multiplies with; returns its scale."""
    raise NotImplementedError("compiled code only")


@overload(encode, jit_options=OPTIONS)
def _encode(x, first, n, low, limit, out):
    def as_it_is(x, first, n, low, limit, out):
        for i in range(n):
            out[i] = x[first + i] if x[first + i] > low else low
        return ONE

    def whole_numbers(x, first, n, low, limit, out):
        most = largest(x, first, n, low) + np.float32(1e-30)
        up = limit / most
        for i in range(n):
            out[i] = np.int16(np.rint((x[first + i] if x[first + i] > low else low) * up))
        return most / limit

    return as_it_is if out.dtype == types.float32 else whole_numbers


@inline
def gated(f, g):
    """tanh(f) sigmoid(g), within 3e-7; one division for both."""
    a, b = exp(TWICE * f), exp(-g)
    a, b = a if a < MUCH else MUCH, b if b < MUCH else MUCH
    return (ONE - a) / ((ONE + a) * (ONE + b))


def gate(filtered, gates, limit, out):
    """Put tanh(filtered) sigmoid(gates) into out as `encode` would; the scale is ONE / limit for all."""
    raise NotImplementedError("compiled code only")


@overload(gate, jit_options=OPTIONS)
def _gate(filtered, gates, limit, out):
    def as_it_is(filtered, gates, limit, out):
        for i in range(len(filtered)):
            out[i] = gated(filtered[i], gates[i])

    def whole_numbers(filtered, gates, limit, out):
        for i in range(len(filtered)):
            out[i] = np.int16(np.rint(gated(filtered[i], gates[i]) * limit))

    return as_it_is if out.dtype == types.float32 else whole_numbers


@reduce
def mass_above(p, n, least):
    total = 0.0
    for i in range(n):
        total += p[i] if p[i] >= least else NOTHING
    return total


@inline
def keep_top_p(p, n, top_p):
    """Put all but the likeliest, which together have top_p of the mass, to 0. Of equals, the first are kept."""
    wanted, bits = top_p * mass_above(p, n, NOTHING), np.int32(0)
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


@inline
def choose(logits, n, u, temperature, top_p, p):
    """The first class whose cumulative probability is above u; the likeliest at temperature 0."""
    best = 0
    for i in range(n):
        if logits[i] > logits[best]:
            best = i
    if temperature == 0:
        return best
    top, cold = logits[best], np.float32(1 / temperature)
    for i in range(n):
        p[i] = exp((logits[i] - top) * cold)
    if top_p < 1:
        keep_top_p(p, n, top_p)
    target, sum_, last = u * mass_above(p, n, NOTHING), 0.0, best
    for i in range(n):
        sum_ += p[i]
        if sum_ > target:
            return i
        last = i if p[i] > 0 else last
    return last


@inline
def softplus(x):
    return (x if x > 0 else 0.0) + np.log1p(np.exp(-abs(x)))


@inline
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
        row = np.int64(previous) * n
        for i in range(n):
            x[i] = table[row + i]
    else:
        for i in range(n):
            x[i] = table[i] * np.float32(previous) + table[n + i]


@inline
def network(model, state, cond):
    """One sample through the layers, from x[:R]; leaves the last layer's answer in z."""
    shape, limits, dilations, weight, row_scale, bias, _ = model
    ring, ring_scale, places, _, (x, z, _, q) = state
    taps, r, s, a, k = shape[2:]
    w = m = b = row = 0
    for i in range(s):
        x[r + i] = bias[i]
    b += s
    for layer in range(len(dilations)):
        rows = (taps - 1) * dilations[layer]
        place = places[layer]
        for i in range(2 * r):
            z[i] = cond[layer * 2 * r + i]
        for tap in range(taps - 1):  # the oldest first: its row is the one that this sample takes over
            back = place + tap * dilations[layer]
            back = row + (back - rows if back >= rows else back)
            matvec(z, 0, weight, w, row_scale, m, ring, back * r, ring_scale[back], r, 2 * r)
            w, m = w + r * 2 * r, m + 2 * r
        scale = encode(x, 0, r, -BIG_ENOUGH, limits[0], q)
        matvec(z, 0, weight, w, row_scale, m, q, 0, scale, r, 2 * r)
        w, m = w + r * 2 * r, m + 2 * r
        if rows:
            for i in range(r):
                ring[(row + place) * r + i] = q[i]
            ring_scale[row + place] = scale
            places[layer] = place + 1 if place + 1 < rows else 0
        gate(z[:r], z[r : 2 * r], limits[0], q)
        for i in range(r):
            x[i] += bias[b + i]
        matvec(x, 0, weight, w, row_scale, m, q, 0, ONE / limits[0], r, r + s)
        w, m, b, row = w + r * (r + s), m + r + s, b + r, row + rows
    scale = encode(x, r, s, NOTHING, limits[1], q)
    for i in range(a):
        z[i] = bias[b + i]
    matvec(z, 0, weight, w, row_scale, m, q, 0, scale, s, a)
    w, m, b = w + s * a, m + a, b + a
    scale = encode(z, 0, a, NOTHING, limits[2], q)
    for i in range(k):
        z[i] = bias[b + i]
    matvec(z, 0, weight, w, row_scale, m, q, 0, scale, a, k)


def run(model, state, cond, uniforms, choice, forced, samples, raw):
    """Fill samples, or follow those that are there if they are forced; raw holds the last layer's answers.

    See `musicai.sampling.packed` and `musicai.sampling.cpu` for what the tuples hold.
    """
    shape, table, (temperature, top_p, low, high) = model[0], model[6], choice
    kind, n, r = shape[0], shape[1], shape[3]
    last, (x, z, p, _) = state[3], state[4]
    for t in range(len(samples)):
        front(kind, table, last[0], x, r)
        network(model, state, cond[t if len(cond) > 1 else 0])
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
