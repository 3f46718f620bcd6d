"""Arithmetic on bit planes: bit 0 of 512 numbers, bit 1 of them, and so on, added and compared as circuits do it.

Rows of bits are given by their addresses. All this is written for LLVM rather than as loops, because a compiler that
gets loops doesn't see that they are single instructions for vectors.
"""

from functools import wraps

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicai.search._scale.planes import BITS, WORDS

WORTH, DIGITS = 3, 7  # bits of a worth, and of a total
SLIP = 3  # what it costs to slip by a place
I32, I64, LINE = ir.IntType(32), ir.IntType(64), ir.VectorType(ir.IntType(64), WORDS)


class _Circuit:
    """What the circuits below are made of."""

    def __init__(self, builder):
        self.builder = builder

    def place(self, address, row, kind=LINE):
        address = self.builder.add(address, ir.Constant(I64, row * 8 * (WORDS if kind is LINE else 1)))
        return self.builder.inttoptr(address, kind.as_pointer())

    def load(self, address, row=0, kind=LINE):
        return self.builder.load(self.place(address, row, kind), align=8)

    def store(self, value, address, row=0):
        self.builder.store(value, self.place(address, row), align=8)

    def repeat(self, address, word):
        """One word of memory, in all words of a row."""
        none, zeros = ir.Constant(LINE, ir.Undefined), ir.Constant(ir.VectorType(I32, WORDS), [0] * WORDS)
        first = self.builder.insert_element(none, self.load(address, word, I64), ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, none, zeros)

    def choose(self, which, a, b):
        return self.builder.or_(self.builder.and_(which, a), self.builder.and_(self.builder.not_(which), b))

    def add(self, x, y, *z):
        """The sum of two or three bits, and what is carried."""
        differ = self.builder.xor(x, y)
        return (self.builder.xor(differ, *z), self.choose(differ, *z, x)) if z else (differ, self.builder.and_(x, y))

    def less(self, a, b):
        less = ir.Constant(LINE, None)
        for x, y in zip(a, b, strict=True):
            less = self.choose(self.builder.xor(x, y), y, less)
        return less

    def larger(self, a, b):
        less = self.less(a, b)
        return [self.choose(less, y, x) for x, y in zip(a, b, strict=True)]


def _compiled(function):
    """Make something that compiled code can call of a function that builds a circuit between addresses."""

    @wraps(function)
    def declare(_, *addresses):
        def generate(context, builder, signature, args):
            found = function(_Circuit(builder), *args)
            return context.get_dummy_value() if found is None else found

        found = types.int64 if "return" in function.__annotations__ else types.none
        return found(*[types.int64] * len(addresses)), generate

    return intrinsic(declare)


@_compiled
def use_widest(circuit):
    """Compile the loops of the function that calls this for 512 bits, where LLVM would make do with 256.

    It does so because early processors with 512 bits slowed down by it. Its interface in Python knows no such
    attribute, hence the detour.
    """
    set.add(circuit.builder.function.attributes, '"prefer-vector-width"="512"')


@_compiled
def fetch(circuit, row):
    """Ask for all bits of a row of symbols, so that they are at hand when they are needed."""
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I32, I32, I32])
    prefetch = circuit.builder.module.declare_intrinsic("llvm.prefetch.p0", (), kind)
    for bit in range(BITS):
        hint = (ir.Constant(I32, number) for number in (0, 2, 1))
        circuit.builder.call(prefetch, [circuit.place(row, bit * WORDS, I64), *hint])


@_compiled
def agree(circuit, row, bits, wanted, out):
    """In which places the five bits that lie so many bytes behind `row` are as wanted."""
    differ = ir.Constant(LINE, None)
    for k in range(5):
        bit = circuit.load(circuit.builder.add(row, circuit.load(bits, k, I64)))
        differ = circuit.builder.or_(differ, circuit.builder.xor(bit, circuit.repeat(wanted, k)))
    circuit.store(circuit.builder.not_(differ), out)


@_compiled
def add(circuit, total, first, second, third, fourth, worths, out):
    """Totals, and what four rows are worth where their bits are set: for each, WORTH words of no or all bits."""
    columns = [[circuit.load(total, digit)] for digit in range(DIGITS)]
    for number, row in enumerate(circuit.load(row) for row in (first, second, third, fourth)):
        for bit in range(WORTH):
            columns[bit].append(circuit.builder.and_(row, circuit.repeat(worths, WORTH * number + bit)))
    for digit, (column, carries) in enumerate(zip(columns, [*columns[1:], []], strict=True)):
        while len(column) > 1:
            one, carry = circuit.add(*column[:3])
            column[:3] = [one]
            carries.append(carry)
        circuit.store(column[0], out, digit)


@_compiled
def slip(circuit, before, here, after, out):
    """The best of the totals before, here, and after; those here get SLIP more, instead of the others less."""
    before, here, after = ([circuit.load(row, digit) for digit in range(DIGITS)] for row in (before, here, after))
    more, carry, ones = [], ir.Constant(LINE, None), ir.Constant(LINE, [-1] * WORDS)
    for digit, bit in enumerate(here):
        one, carry = circuit.add(bit, carry, *[ones] * (SLIP >> digit & 1))
        more.append(one)
    for digit, bit in enumerate(circuit.larger(more, circuit.larger(before, after))):
        circuit.store(bit, out, digit)


@_compiled
def reach(circuit, total, least, out) -> int:
    """Which totals are at least what DIGITS words say; return a number that is 0 if none are."""
    totals, limits = zip(*((circuit.load(total, k), circuit.repeat(least, k)) for k in range(DIGITS)), strict=True)
    found = circuit.builder.not_(circuit.less(totals, limits))
    circuit.store(found, out)
    reduce, kind = f"llvm.vector.reduce.or.v{WORDS}i64", ir.FunctionType(I64, [LINE])
    return circuit.builder.call(circuit.builder.module.declare_intrinsic(reduce, (), kind), [found])
