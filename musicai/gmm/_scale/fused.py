"""The E step's sums on an NVIDIA GPU: two Triton kernels that keep densities and responsibilities in registers.

In memory, they would be written and read several times per step. The features are held as two halves: the columns and
their squares, or, if the products of columns were already computed, all the features cut in two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

PRECISION = "tf32x3"  # a number is the sum of two that tensor cores can multiply, of 22 bits together
COMPONENTS = 64  # the most per program


def sum_features(columns: Tensor, shift: Tensor, scale: Tensor, matrix: Tensor, squares: bool) -> tuple[Tensor, Tensor]:
    """Sum the features weighted by the responsibilities, and the log-likelihoods of the rows.

    Args:
        columns: (rows, D), float32, with any strides.
        shift: (D,), float32. The features are made of scale (columns - shift), unless they are the columns.
        scale: (D,), float32.
        matrix: (K, P), float32, the coefficients of the features that give log(weight x density).
        squares: whether the P features are the squares of the D columns, these themselves and 1, or only columns and 1.

    Returns: the sums (P, K) and the total log-likelihood, both in float64.
    """
    (rows, d), (k, p) = columns.shape, matrix.shape
    width = max(16, triton.next_power_of_2(d if squares else (d + 1) // 2))
    size = min(COMPONENTS, max(16, triton.next_power_of_2(k)))
    block, chunks = 32 if width > 32 else 64, triton.cdiv(k, size)
    processors = torch.cuda.get_device_properties(columns.device).multi_processor_count if columns.is_cuda else 1
    programs = min(triton.cdiv(rows, block), max(1, 2 * processors // chunks))
    log_likelihoods, sums = columns.new_empty(rows), columns.new_empty(programs, k, p)
    given = columns, rows, *columns.stride(), d, shift, scale, matrix, k, p, log_likelihoods
    how = {"WIDTH": width, "SIZE": size, "BLOCK": block, "SQUARES": squares, "PRECISION": PRECISION}
    how |= {"num_warps": 8 if width > 64 else 4, "num_stages": 1}
    with torch.cuda.device_of(columns):  # which need not be the current one
        if chunks > 1:
            _find_likelihoods[(triton.cdiv(rows, block),)](*given, **how)
        _add_up[programs, chunks](*given, sums, ONE=chunks == 1, **how)
    return sums.sum(0, dtype=torch.float64).T, log_likelihoods.sum(dtype=torch.float64)


@triton.jit
def _features(columns, start, here, row_stride, column_stride, d, shift, scale,
              WIDTH: tl.constexpr, BLOCK: tl.constexpr, SQUARES: tl.constexpr):  # fmt: skip
    """Both halves of the features of rows start, start + 1, ...: (BLOCK, WIDTH) each."""
    columns += tl.cast(start, tl.int64) * row_stride
    column = tl.arange(0, WIDTH)
    at = columns + tl.arange(0, BLOCK)[:, None] * row_stride + (column.to(tl.int64) * column_stride)[None, :]
    x = tl.load(at, mask=here[:, None] & (column < d)[None, :], other=0.0)
    if SQUARES:
        x -= tl.load(shift + column, mask=column < d, other=0.0)[None, :]
        x *= tl.load(scale + column, mask=column < d, other=0.0)[None, :]
        y = x * x
    else:
        at += tl.cast(column_stride, tl.int64) * WIDTH
        y = tl.load(at, mask=here[:, None] & (column + WIDTH < d)[None, :], other=0.0)
    return x, y


@triton.jit
def _coefficients(k, matrix, components, p, d, WIDTH: tl.constexpr, SQUARES: tl.constexpr):
    """Those of both halves (SIZE, WIDTH) and of the 1 (SIZE,): -inf for components that don't exist."""
    column, at, real = tl.arange(0, WIDTH)[None, :], matrix + k[:, None] * p, (k < components)[:, None]
    if SQUARES:  # they come first among the features
        x = tl.load(at + d + column, mask=real & (column < d), other=0.0)
        y = tl.load(at + column, mask=real & (column < d), other=0.0)
    else:
        x = tl.load(at + column, mask=real & (column < d), other=0.0)
        y = tl.load(at + WIDTH + column, mask=real & (column + WIDTH < d), other=0.0)
    return x, y, tl.load(matrix + k * p + p - 1, mask=k < components, other=float("-inf"))


@triton.jit
def _joint(x, y, for_x, for_y, constant, PRECISION: tl.constexpr):
    """log(weight x density) of components at rows: (SIZE, BLOCK)."""
    joint = tl.dot(for_x, x.T, input_precision=PRECISION) + constant[:, None]
    return tl.dot(for_y, y.T, joint, input_precision=PRECISION)


@triton.jit(do_not_specialize=["rows", "components", "p"])
def _find_likelihoods(
    columns, rows, row_stride, column_stride, d, shift, scale, matrix, components, p, log_likelihoods,
    WIDTH: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, SQUARES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the log-likelihood of each row. A program goes through all components for BLOCK rows."""
    start = tl.program_id(0) * BLOCK
    row = start + tl.arange(0, BLOCK)
    x, y = _features(columns, start, row < rows, row_stride, column_stride, d, shift, scale, WIDTH, BLOCK, SQUARES)
    peak, mass = tl.full([BLOCK], float("-inf"), tl.float32), tl.zeros([BLOCK], tl.float32)
    for first in range(0, components, SIZE):
        k = first + tl.arange(0, SIZE)
        for_x, for_y, constant = _coefficients(k, matrix, components, p, d, WIDTH, SQUARES)
        joint = _joint(x, y, for_x, for_y, constant, PRECISION)
        higher = tl.maximum(peak, tl.max(joint, 0))
        mass = mass * tl.exp(peak - higher) + tl.sum(tl.exp(joint - higher[None, :]), 0)
        peak = higher
    tl.store(log_likelihoods + row, peak + tl.log(mass), mask=row < rows)


@triton.jit(do_not_specialize=["rows", "components", "p"])
def _add_up(
    columns, rows, row_stride, column_stride, d, shift, scale, matrix, components, p, log_likelihoods, sums,
    WIDTH: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, SQUARES: tl.constexpr, PRECISION: tl.constexpr,
    ONE: tl.constexpr,
):  # fmt: skip
    """Add up features times responsibilities; each program has its rows and SIZE components, or ONE has them all."""
    program, k, column = tl.program_id(0), tl.program_id(1) * SIZE + tl.arange(0, SIZE), tl.arange(0, WIDTH)
    for_x, for_y, constant = _coefficients(k, matrix, components, p, d, WIDTH, SQUARES)
    total_x, total_y = tl.zeros([SIZE, WIDTH], tl.float32), tl.zeros([SIZE, WIDTH], tl.float32)
    count = tl.zeros([SIZE], tl.float32)
    for start in range(program * BLOCK, rows, tl.num_programs(0) * BLOCK):
        row = start + tl.arange(0, BLOCK)
        here = row < rows
        x, y = _features(columns, start, here, row_stride, column_stride, d, shift, scale, WIDTH, BLOCK, SQUARES)
        joint = _joint(x, y, for_x, for_y, constant, PRECISION)
        if ONE:
            peak = tl.max(joint, 0)
            likelihood = peak + tl.log(tl.sum(tl.exp(joint - peak[None, :]), 0))
            tl.store(log_likelihoods + row, likelihood, mask=here)
        else:
            likelihood = tl.load(log_likelihoods + row, mask=here, other=0.0)
        responsibilities = tl.where(here[None, :], tl.exp(joint - likelihood[None, :]), 0.0)
        count += tl.sum(responsibilities, 1)
        # Tensor cores round each partial sum down, so they only sum up one block.
        total_x += tl.dot(responsibilities, x, input_precision=PRECISION)
        total_y += tl.dot(responsibilities, y, input_precision=PRECISION)
    at, real = sums + (program * components + k)[:, None] * p + column[None, :], (k < components)[:, None]
    tl.store(at + (d if SQUARES else 0), total_x, mask=real & (column < d)[None, :])
    tl.store(at + (0 if SQUARES else WIDTH), total_y, mask=real & (column + (0 if SQUARES else WIDTH) < d)[None, :])
    tl.store(sums + (program * components + k) * p + p - 1, count, mask=k < components)
