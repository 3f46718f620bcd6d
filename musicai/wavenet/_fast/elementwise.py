"""What the compiled sampler does to vectors between the products: gate, exponentials, rounding to integers.

All lengths are multiples of 16. Where `out` holds int16, int8 or uint8 (see `products.py`), numbers are multiplied by
a limit or a scale, and rounded.
"""

from llvmlite import ir
from numba import types

from musicai.wavenet._fast.vectors import F32, FLOATS, INTS, LANES, Memory, Register, Vector, each, spread, vectorised

MIDDLE = 96  # added to the inputs of int8 weights, -95 to 95, it gives bytes without a sign
ROUND = 1.5 * 2**23  # added to a float32 below 2^22, it leaves its nearest integer in the low bits
LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
LN2_HIGH = 0.693359375  # ln 2 in two parts: few bits, so that a multiple of it is exact, and the rest
# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, from r^0 up: our own fit, which leaves a relative error of 3e-9 in exp.
SERIES = (0.49999994, 0.1666652, 0.04166839, 0.00836878, 0.00138145)
MOST = 87.0  # e^87 is still a float32
MUCH = 1e18  # 1 / (1 + MUCH) is 0 beside a float32's own error, and MUCH^2 is still a float32
TINY = 1e-30  # keeps a vector of zeros from being divided by zero


@vectorised
def copy(builder, source: Memory, target: Memory, n):
    """copy(source, i, target, o, n): target[o : o + n] = source[i : i + n], float32."""
    for i in each(builder, 0, n):
        target.after(i).store(source.after(i).load())


@vectorised
def add(builder, source: Memory, target: Memory, n):
    """add(source, i, target, o, n): target[o : o + n] += source[i : i + n], float32."""
    for i in each(builder, 0, n):
        target.after(i).store(target.after(i).load() + source.after(i).load())


@vectorised
def exponentials(builder, x: Memory, out: Memory, n, most, factor):
    """exponentials(x, i, out, o, n, most, factor): out[o:] = exp((x[i : i + n] - most) factor), within 2e-7."""
    most, factor = spread(builder, most), spread(builder, factor)
    for i in each(builder, 0, n):
        out.after(i).store(_exp((x.after(i).load() - most) * factor))


@vectorised
def gate(builder, z: Memory, out: Memory, r, limit):
    """gate(z, i, out, o, r, limit): out[o:] = tanh(z[i : i + r]) sigmoid(z[i + r : i + 2 r]), within 3e-7.

    Where out holds integers, they are the rounded multiples by `limit`.
    """
    limit = spread(builder, limit)
    for i in each(builder, 0, r):
        filtered, gate = z.after(i).load(), z.after(i, r).load()
        a, b = _exp(filtered * -2.0).min(MUCH), _exp(gate * -1.0).min(MUCH)
        _put(out.after(i), (a * -1.0 + 1.0) / ((a + 1.0) * (b + 1.0)), limit)


@vectorised
def encode(builder, x: Memory, out: Memory, scale: Memory, n, low, limit):
    """encode(x, i, out, o, scale, s, n, low, limit): out[o:] = max(x[i : i + n], low) as `matvec` takes it.

    Of integers the largest becomes `limit`, and scale[s] is what to multiply them by to have x again. float32 stays as
    it is, and needs no scale.
    """
    low, up = spread(builder, low), None
    if out.dtype != types.float32:
        largest = Register(spread(builder, F32(0.0)))
        for i in each(builder, 0, n):
            value = x.after(i).load().max(low)
            largest.set(value.max(value * -1.0).max(largest.get()))
        size, limit = _largest_lane(largest.get()) + TINY, spread(builder, limit)
        scale.store((size / limit).lanes(range(1)))
        up = limit / size
    for i in each(builder, 0, n):
        _put(out.after(i), x.after(i).load().max(low), up)


def _largest_lane(vector: Vector) -> Vector:
    """The largest number of a vector, in all lanes."""
    width = LANES
    while width > 1:
        width //= 2
        vector = vector.lanes(range(width)).max(vector.lanes(range(width, 2 * width)))
    return vector.lanes([0] * LANES)


def _exp(x: Vector) -> Vector:
    """e^x = 2^k e^r, with k an integer and |r| <= ln(2) / 2."""
    x = x.min(MOST).max(-MOST)
    rounded = x * LOG2E + ROUND
    k = rounded - ROUND
    r = k * -(LN2 - LN2_HIGH) + (k * -LN2_HIGH + x)
    series = r * SERIES[-1] + SERIES[-2]
    for term in SERIES[-3::-1]:
        series = series * r + term
    power = (r * r) * series + r + 1.0
    exponent = rounded.to("bitcast", INTS) * 2**23 + 127 * 2**23
    return power * exponent.to("bitcast", FLOATS)


def _put(target: Memory, value: Vector, scale: Vector | None) -> None:
    """Store a vector as it is; or times scale, rounded, as small integers."""
    if target.dtype == types.float32:
        target.store(value)
        return
    whole = (value * scale + ROUND).to("bitcast", INTS)
    if target.dtype == types.uint8:
        whole = whole + MIDDLE
    target.store(whole.to("trunc", ir.VectorType(ir.IntType(target.dtype.bitwidth), LANES)))
