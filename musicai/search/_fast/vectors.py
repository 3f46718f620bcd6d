"""Vectors as wide as the processor's. Chapter 6."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def use_widest(_):
    """Compile the loops of the function that calls this for 512 bits, where LLVM would make do with 256.

    It does so because early processors with 512 bits slowed down by it. Its interface in Python knows no such
    attribute, hence the detour.
    """

    def generate(context, builder, signature, args):
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def prefetch(_, address):
    """Ask for the line of memory at an address, which will be needed soon."""

    def generate(context, builder, signature, args):
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [builder.inttoptr(args[0], byte), *(ir.Constant(number, i) for i in (0, 2, 1))])
        return context.get_dummy_value()

    return types.none(address), generate
