"""The machine code of the compiled sampler: LLVM's portable vectors with Python operators, and functions on them.

numba's own loops keep sums in memory and use half of the registers. With vectors we say what stays in a register; the
same lines become AVX-512, AVX2 or NEON. First come the functions between the products, such as the gate, for lengths
that are multiples of 16. Then comes what the sampler spends its time on, matrix times vector: a block of outputs stays
in registers while its weights stream past once, in the order in which `pack` lays them out. Integer sums are exact, so
all kinds of integer arithmetic give bit-identical results.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # of the processor numba compiles for
LANES = 16 if "+avx512bw" in FEATURES else 8  # float32 numbers in a register of 512 or 256 bits
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
MIDDLE = 96  # added to the inputs of int8 weights, -95 to 95, it gives unsigned bytes
ROUND = 1.5 * 2**23  # added to a float32 below 2^22, it leaves the nearest integer in the low bits
LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
LN2_HIGH = 0.693359375  # ln 2 in two parts: few bits, so that a multiple of it is exact, and the rest
# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, from r^0 up: our own fit, which leaves a relative error of 3e-9 in exp.
SERIES = (0.49999994, 0.1666652, 0.04166839, 0.00836878, 0.00138145)
MOST = 87.0  # e^87 is still a float32
MUCH = 1e18  # 1 / (1 + MUCH) is negligible in float32, and MUCH^2 is still a float32
TINY = 1e-30  # keeps a vector of zeros from being divided by zero
COLUMNS = 4  # vectors that `matmat` multiplies by: each weight is read once for all of them
WIDE = (64, 32)  # outputs per block: as many wide blocks as fit, then narrow ones
SHORTS, BYTES = ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(ir.IntType(8), 4 * LANES)
HAS_BYTES = "+avx2" in FEATURES  # products of bytes by vpmaddubsw
HAS_DOT = ("+avx512vnni" if LANES == 16 else "+avxvnni") in FEATURES  # vpdpbusd, which does more at once
BY_TWO = "llvm.x86.avx512.pmaddubs.w.512" if LANES == 16 else "llvm.x86.avx2.pmadd.ub.sw"
BY_FOUR = "llvm.x86.avx512.pmaddw.d.512" if LANES == 16 else "llvm.x86.avx2.pmadd.wd"


def _operator(name: str) -> Callable:
    """Lane by lane, what LLVM calls `name` for integers and f`name` for floats."""

    def operate(self, other):
        prefix, flags = ("f", ("contract",)) if self.value.type.element == F32 else ("", ())
        return Vector(self.builder, getattr(self.builder, prefix + name)(self.value, self._like(other), flags=flags))

    return operate


class Vector:
    """Numbers in a register, integers or floats; operators work lane by lane, and accept a Python number."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value):
        self.builder, self.value = builder, value

    __add__, __sub__, __mul__, __truediv__ = _operator("add"), _operator("sub"), _operator("mul"), _operator("div")

    def max(self, other) -> "Vector":
        """Lane by lane, the larger of two floats."""
        return self.call(f"llvm.maxnum.v{LANES}f32", FLOATS, Vector(self.builder, self._like(other)))

    def min(self, other) -> "Vector":
        """Lane by lane, the smaller of two floats."""
        return self.call(f"llvm.minnum.v{LANES}f32", FLOATS, Vector(self.builder, self._like(other)))

    def to(self, operation: str, kind: ir.Type) -> "Vector":
        """Convert to another kind of number by LLVM's "bitcast", "sext", "trunc" or "sitofp"."""
        return Vector(self.builder, getattr(self.builder, operation)(self.value, kind))

    def lanes(self, places: range) -> "Vector":
        """The numbers at these places."""
        order = ir.Constant(ir.VectorType(I32, len(places)), list(places))
        return Vector(self.builder, self.builder.shuffle_vector(self.value, self.value, order))

    def call(self, name: str, kind: ir.Type, *others: "Vector") -> "Vector":
        """What LLVM's function of this name returns for this vector and others: often one processor instruction."""
        values = [one.value for one in (self, *others)]
        signature = ir.FunctionType(kind, [value.type for value in values])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        flags = ("nnan",) if kind in (F32, FLOATS) else ()
        return Vector(self.builder, self.builder.call(function, values, fastmath=flags))

    def _like(self, other) -> ir.Value:
        return other.value if isinstance(other, Vector) else every(other, self.value.type)


def every(number: float, kind: ir.VectorType) -> ir.Constant:
    """A constant in all lanes."""
    return ir.Constant(kind, [float(np.float32(number)) if kind.element == F32 else number] * kind.count)


class Memory:
    """An array from one of its elements on. `dtype` is numba's type of the elements."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value, dtype: types.Type):
        self.builder, self.pointer, self.dtype = builder, pointer, dtype

    def after(self, *counts: ir.Value | int) -> "Memory":
        """The same array, starting this many elements later."""
        pointer = self.pointer
        for count in counts:
            pointer = self.builder.gep(pointer, [I64(count) if isinstance(count, int) else count])
        return Memory(self.builder, pointer, self.dtype)

    def load(self, kind: ir.Type = FLOATS) -> Vector:
        """The first elements as a vector (or a single number) of this kind."""
        pointer = self.builder.bitcast(self.pointer, kind.as_pointer())
        return Vector(self.builder, self.builder.load(pointer, align=self.dtype.bitwidth // 8))

    def spread(self, kind: ir.Type = FLOATS) -> Vector:
        """The first element in all lanes."""
        return spread(self.builder, self.load(kind.element).value)

    def store(self, vector: Vector) -> None:
        """Write a vector to the start of the array."""
        pointer = self.builder.bitcast(self.pointer, vector.value.type.as_pointer())
        self.builder.store(vector.value, pointer, align=self.dtype.bitwidth // 8)


def register(vector: Vector) -> Memory:
    """A place for a vector that a loop changes; LLVM keeps it in a register."""
    place = Memory(vector.builder, cgutils.alloca_once(vector.builder, vector.value.type), types.float32)
    place.store(vector)
    return place


def spread(builder: ir.IRBuilder, number: ir.Value) -> Vector:
    """A number in all lanes."""
    first = builder.insert_element(ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined), number, I32(0))
    return Vector(builder, first).lanes([0] * LANES)


def each(builder: ir.IRBuilder, last: ir.Value, step: int = LANES, first: ir.Value | None = None) -> Iterator[ir.Value]:
    """for i in range(first, last, step): the code built for one iteration runs for every i."""
    with cgutils.for_range_slice(builder, first or I64(0), last, I64(step)) as (place, _):
        yield place


def vectorised(build: Callable) -> Callable:
    """Make a function that numba can call from `build(builder, *arguments)`, which writes its machine code.

    For an argument annotated as `Memory`, the caller passes an array and the index in it to start from.
    """
    names = []
    for name, parameter in list(inspect.signature(build).parameters.items())[1:]:
        names += [name, f"{name}_start"] if parameter.annotation is Memory else [name]

    def typed(_, *kinds):
        wide = {types.Integer: types.int64, types.Float: types.float32}
        return types.void(*(wide.get(type(kind), kind) for kind in kinds)), write

    def write(context, builder, signature, values):
        given, arguments = iter(zip(signature.args, values, strict=True)), []
        for kind, value in given:
            if isinstance(kind, types.Array):
                start = context.make_array(kind)(context, builder, value).data
                value = Memory(builder, builder.gep(start, [next(given)[1]]), kind.dtype)
            arguments.append(value)
        build(builder, *arguments)
        return context.get_dummy_value()

    positions = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("context", *names)]
    typed.__signature__ = inspect.Signature(positions)  # numba wants to know how many there are
    return intrinsic(typed)


@vectorised
def copy(builder, source: Memory, target: Memory, n):
    """copy(source, i, target, o, n): target[o : o + n] = source[i : i + n], float32."""
    for i in each(builder, n):
        target.after(i).store(source.after(i).load())


@vectorised
def add(builder, source: Memory, target: Memory, n):
    """add(source, i, target, o, n): target[o : o + n] += source[i : i + n], float32."""
    for i in each(builder, n):
        target.after(i).store(target.after(i).load() + source.after(i).load())


@vectorised
def exponentials(builder, x: Memory, out: Memory, n, most, factor):
    """exponentials(x, i, out, o, n, most, factor): out[o:] = exp((x[i : i + n] - most) factor), within 2e-7."""
    most, factor = spread(builder, most), spread(builder, factor)
    for i in each(builder, n):
        out.after(i).store(_exp((x.after(i).load() - most) * factor))


@vectorised
def gate(builder, z: Memory, out: Memory, r, limit):
    """gate(z, i, out, o, r, limit): out[o:] = tanh(z[i : i + r]) sigmoid(z[i + r : i + 2 r]), within 3e-7.

    If out holds integers, they are the values times `limit`, rounded.
    """
    limit = spread(builder, limit)
    for i in each(builder, r):
        filtered, gate = z.after(i).load(), z.after(i, r).load()
        a, b = _exp(filtered * -2.0).min(MUCH), _exp(gate * -1.0).min(MUCH)
        _put(out.after(i), (a * -1.0 + 1.0) / ((a + 1.0) * (b + 1.0)), limit)


@vectorised
def encode(builder, x: Memory, out: Memory, scale: Memory, n, low, limit):
    """encode(x, i, out, o, scale, s, n, low, limit): out[o:] = max(x[i : i + n], low) in the form `matvec` takes.

    If out holds integers, the largest becomes `limit`, and multiplying them by scale[s] recovers x. float32 stays as it
    is and needs no scale.
    """
    low, up = spread(builder, low), None
    if out.dtype != types.float32:
        largest = register(spread(builder, F32(0.0)))
        for i in each(builder, n):
            value = x.after(i).load().max(low)
            largest.store(value.max(value * -1.0).max(largest.load()))
        top = largest.load().call(f"llvm.vector.reduce.fmax.v{LANES}f32", F32)
        size, limit = spread(builder, top.value) + TINY, spread(builder, limit)
        scale.store((size / limit).lanes(range(1)))
        up = limit / size
    for i in each(builder, n):
        _put(out.after(i), x.after(i).load().max(low), up)


def _exp(x: Vector) -> Vector:
    """e^x = 2^k e^r, with k an integer and |r| <= ln(2) / 2."""
    x = x.min(MOST).max(-MOST)
    rounded = x * LOG2E + ROUND
    k = rounded - ROUND
    r = k * -(LN2 - LN2_HIGH) + (k * -LN2_HIGH + x)
    series = r * SERIES[-1] + SERIES[-2]
    for term in SERIES[-3::-1]:
        series = series * r + term
    exponent = rounded.to("bitcast", INTS) * 2**23 + 127 * 2**23
    return ((r * r) * series + r + 1.0) * exponent.to("bitcast", FLOATS)


def _put(target: Memory, value: Vector, scale: Vector | None) -> None:
    """Store a vector as it is, or multiplied by scale and rounded to small integers."""
    if target.dtype == types.float32:
        target.store(value)
        return
    whole = (value * scale + ROUND).to("bitcast", INTS)
    if target.dtype == types.uint8:
        whole = whole + MIDDLE
    target.store(whole.to("trunc", ir.VectorType(ir.IntType(target.dtype.bitwidth), LANES)))


class Arithmetic(NamedTuple):
    """A way to multiply: `plus(sums, weights, inputs)` adds the next products to a vector of sums."""

    unit: int  # inputs that are multiplied side by side, for each sum
    dtype: type  # of the inputs
    kind: ir.VectorType  # of weights and inputs in a register
    plus: Callable[[Vector, Vector, Vector], Vector]


def _plus_shorts(sums: Vector, weights: Vector, x: Vector) -> Vector:
    """Two by two: LLVM recognises it as vpmaddwd, or vpdpwssd if the processor has it."""
    both = ir.VectorType(I32, 2 * LANES)
    products = weights.to("sext", both) * x.to("sext", both)
    return sums + (products.lanes(range(0, 2 * LANES, 2)) + products.lanes(range(1, 2 * LANES, 2)))


def _plus_bytes(sums: Vector, weights: Vector, x: Vector) -> Vector:
    """Four by four: vpdpbusd, or vpmaddubsw and vpmaddwd if there is only AVX2.

    Both multiply a signed byte by an unsigned one. So x is kept as x + MIDDLE, and MIDDLE times the sum of a row's
    weights is subtracted at the end. vpmaddubsw needs the sum of two products to fit in 16 bits: `weights.PAIR`.
    """
    if HAS_DOT:
        fours = x.to("bitcast", INTS), weights.to("bitcast", INTS)
        return sums.call(f"llvm.x86.avx512.vpdpbusd.{32 * LANES}", INTS, *fours)
    return sums + x.call(BY_TWO, SHORTS, weights).call(BY_FOUR, INTS, Vector(x.builder, every(1, SHORTS)))


FLOATING = Arithmetic(1, np.float32, FLOATS, lambda sums, weights, x: sums + weights * x)
SHORT = Arithmetic(2, np.int16, SHORTS, _plus_shorts)
BYTE = Arithmetic(4, np.uint8, BYTES, _plus_bytes)
BY_INPUT = {types.float32: FLOATING, types.int16: SHORT, types.uint8: BYTE}
# The fastest for each precision on this processor.
ARITHMETIC = {"float32": FLOATING, "int16": SHORT, "int8": BYTE if HAS_BYTES else SHORT}


def pack(weight: np.ndarray, unit: int) -> np.ndarray:
    """Flatten weights (out, in) in the order in which they are read; `unit` inputs lie side by side.

    The order is by block of outputs, then by input, then by output within the block. `out` must be a multiple of 32.
    """
    edge, inner = len(weight) // WIDE[0] * WIDE[0], (weight.shape[1] // unit, unit)
    parts = zip(WIDE, (weight[:edge], weight[edge:]), strict=True)
    return np.concatenate([part.reshape(-1, wide, *inner).swapaxes(1, 2).ravel() for wide, part in parts])


def pack_rows(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What goes with rows of integer weights, flat: for each vector their scales, then what to subtract again."""
    away = (MIDDLE * weight.sum(1)).astype(np.int32)
    both = scale.astype(np.float32), away.view(np.float32)
    return np.stack([part.reshape(-1, LANES) for part in both], axis=1).ravel()


def _product(columns, builder, out: Memory, weight: Memory, rows: Memory, x: Memory, scale: Memory, n_in, n_out):
    """matvec(out, o, weight, w, rows, 2 r, x, i, scale, s, n_in, n_out): out[o:] += weight @ x[i:], see `pack`.

    float32 weights go with float32 x, and scales are not used. int16 or int8 weights go with x from `encode`: each
    output is then its row's scale x scale[s] x an exact integer sum. n_in must be a multiple of 8, n_out of 32.
    `matmat` does the same for COLUMNS consecutive vectors in x, with their scales from s on and their sums from o on.
    """
    tall, broad = (LANES // 4, columns) if columns > 1 else (WIDE[0], 1)  # as many sums as fit in the registers
    first = I64(0)
    for wide in WIDE:
        last, vectors = builder.and_(n_out, I64(-wide)), range(wide // LANES)
        for o in each(builder, last, wide, first):
            near = weight.after(builder.mul(o, n_in)), rows.after(o, o)
            for c, v in product(range(0, columns, broad), range(0, len(vectors), tall)):
                outs = [out.after(o, builder.mul(n_out, I64(c + i))) for i in range(broad)]
                ins = [x.after(builder.mul(n_in, I64(c + i))) for i in range(broad)]
                _tile(vectors[v : v + tall], wide, outs, *near, ins, scale.after(c), n_in)
        first = last


def _tile(vectors, wide, outs, weight, rows, ins, scale, n_in):
    """Some vectors of a block of outputs: the sums stay in registers while the weights stream past."""
    builder, numbers = weight.builder, BY_INPUT[ins[0].dtype]
    sums_of = FLOATS if numbers is FLOATING else INTS
    sums = [[register(Vector(builder, every(0, sums_of))) for _ in ins] for _ in vectors]
    for j in each(builder, n_in, numbers.unit):
        values = [x.after(j).spread(sums_of).to("bitcast", numbers.kind) for x in ins]
        near = weight.after(builder.mul(j, I64(wide)))
        for v, row in zip(vectors, sums, strict=True):
            weights = near.after(v * numbers.unit * LANES).load(numbers.kind)
            for total, value in zip(row, values, strict=True):
                total.store(numbers.plus(total.load(sums_of), weights, value))
    for v, row in zip(vectors, sums, strict=True):
        for c, (out, total) in enumerate(zip(outs, row, strict=True)):
            result = total.load(sums_of)
            if numbers is BYTE:
                result = result - rows.after((2 * v + 1) * LANES).load(INTS)
            if numbers is not FLOATING:
                result = result.to("sitofp", FLOATS) * (scale.after(c).spread() * rows.after(2 * v * LANES).load())
            target = out.after(v * LANES)
            target.store(target.load() + result)


matvec, matmat = (vectorised(partial(_product, columns)) for columns in (1, COLUMNS))
