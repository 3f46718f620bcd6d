"""LLVM's portable vectors with Python's operators, and how to make functions of them that numba can call.

numba's own loops keep sums in memory and use half of the registers. With vectors we say what stays in a register; the
same lines become AVX-512, AVX2 or NEON.
"""

import inspect
from collections.abc import Callable, Iterator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # of the processor that numba compiles for
LANES = 16 if "+avx512bw" in FEATURES else 8  # float32 numbers in a register: 512 bits or 256
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)


def _operator(name: str) -> Callable:
    """Lane by lane, what LLVM calls `name` for integers and f`name` for floats."""

    def operate(self, other):
        if self.value.type.element != F32:
            return Vector(self.builder, getattr(self.builder, name)(self.value, self._like(other)))
        function = getattr(self.builder, "f" + name)
        return Vector(self.builder, function(self.value, self._like(other), flags=("contract",)))

    return operate


def _choice(sign: str) -> Callable:
    """Lane by lane, the float that is `sign` the other."""

    def choose(self, other):
        other = self._like(other)
        wanted = self.builder.fcmp_ordered(sign, self.value, other)
        return Vector(self.builder, self.builder.select(wanted, self.value, other))

    return choose


class Vector:
    """Numbers in a register, integers or floats; operators work lane by lane, also with a Python number."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value):
        self.builder, self.value = builder, value

    __add__, __sub__, __mul__, __truediv__ = _operator("add"), _operator("sub"), _operator("mul"), _operator("div")
    max, min = _choice(">"), _choice("<")

    def to(self, operation: str, kind: ir.Type) -> "Vector":
        """As numbers of another kind, by LLVM's "bitcast", "sext", "trunc" or "sitofp"."""
        return Vector(self.builder, getattr(self.builder, operation)(self.value, kind))

    def lanes(self, places: range) -> "Vector":
        """The numbers at these places."""
        order = ir.Constant(ir.VectorType(I32, len(places)), list(places))
        return Vector(self.builder, self.builder.shuffle_vector(self.value, self.value, order))

    def call(self, name: str, kind: ir.Type, *others: "Vector") -> "Vector":
        """What LLVM's function of this name gives for this vector and others: an instruction of one processor."""
        values = [one.value for one in (self, *others)]
        signature = ir.FunctionType(kind, [value.type for value in values])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return Vector(self.builder, self.builder.call(function, values))

    def _like(self, other) -> ir.Value:
        return other.value if isinstance(other, Vector) else every(other, self.value.type)


def every(number: float, kind: ir.VectorType) -> ir.Constant:
    """A constant in all lanes."""
    return ir.Constant(kind, [float(np.float32(number)) if kind.element == F32 else number] * kind.count)


class Memory:
    """An array from one of its numbers on. `dtype` is numba's type of these numbers."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value, dtype: types.Type):
        self.builder, self.pointer, self.dtype = builder, pointer, dtype

    def after(self, *counts: ir.Value | int) -> "Memory":
        """The same array, further on by so many numbers."""
        pointer = self.pointer
        for count in counts:
            pointer = self.builder.gep(pointer, [I64(count) if isinstance(count, int) else count])
        return Memory(self.builder, pointer, self.dtype)

    def load(self, kind: ir.Type = FLOATS) -> Vector:
        """The first numbers as a vector (or one number) of this kind."""
        pointer = self.builder.bitcast(self.pointer, kind.as_pointer())
        return Vector(self.builder, self.builder.load(pointer, align=self.dtype.bitwidth // 8))

    def spread(self, kind: ir.Type = FLOATS) -> Vector:
        """The first number in all lanes."""
        return spread(self.builder, self.load(kind.element).value)

    def store(self, vector: Vector) -> None:
        """Write a vector where the array begins."""
        pointer = self.builder.bitcast(self.pointer, vector.value.type.as_pointer())
        self.builder.store(vector.value, pointer, align=self.dtype.bitwidth // 8)


class Register:
    """A vector that loops change."""

    def __init__(self, vector: Vector):
        self.builder, self.place = vector.builder, cgutils.alloca_once(vector.builder, vector.value.type)
        self.set(vector)

    def get(self) -> Vector:
        """The vector as it is now."""
        return Vector(self.builder, self.builder.load(self.place))

    def set(self, vector: Vector) -> None:
        """Put another in its place."""
        self.builder.store(vector.value, self.place)


def spread(builder: ir.IRBuilder, number: ir.Value) -> Vector:
    """A number in all lanes."""
    first = builder.insert_element(ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined), number, I32(0))
    return Vector(builder, first).lanes([0] * LANES)


def each(builder: ir.IRBuilder, first: ir.Value | int, last: ir.Value, step: int = LANES) -> Iterator[ir.Value]:
    """for i in range(first, last, step): the code that is built for one turn runs for every i."""
    first = I64(first) if isinstance(first, int) else first
    with cgutils.for_range_slice(builder, first, last, I64(step)) as (place, _):
        yield place


def vectorised(build: Callable) -> Callable:
    """Make a function that numba can call out of `build(builder, *arguments)`, which writes its machine code.

    For an argument that is annotated as `Memory`, the caller gives an array and the place in it where to begin.
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

    typed.__name__, typed.__doc__ = build.__name__, build.__doc__
    positions = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("context", *names)]
    typed.__signature__ = inspect.Signature(positions)  # numba wants to know how many there are
    return intrinsic(typed)
