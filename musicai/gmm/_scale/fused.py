"""The E step's sums on an NVIDIA GPU.

For few components there is one kernel that keeps densities and responsibilities. In memory, they would be written and
read several times per step. Measured on an H200, a whole step with diagonal covariances takes 1.9 ms for 1 million rows
(D = 64, K = 64; 5.1 ms with the products of torch, in the same process), 10 ms for 10 million (34 ms), and 26 ms for
100 million (D = 16, K = 64); the kernel alone takes 0.8 ms in the first case.

For many components there are the two matrix products, on tensor cores. These multiply numbers of few digits. So a
float32 number is written as the sum of three in bfloat16, and a responsibility, which is rounded, as the sum of two;
from their products come those of the numbers. Measured on an H200, a step with diagonal covariances for 1 million rows
(D = 128, K = 1024) takes 23 ms (38 ms with the products of torch, in the same process), and its log-likelihood differs
from that in float64 by 3e-6 of its size.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

MOST = 64  # components, and also features of a row
PROGRAMS = 264  # two for each processor of an H100, or three if rows are short: as many as it runs at a time
PRECISION = "bf16x6"  # a number is the sum of three in bfloat16, and tensor cores add the six products that matter


def sum_features(rows: Tensor, shift: Tensor, scale: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Sum squares, features and 1 weighted by the responsibilities, and the log-likelihoods of the rows.

    Args:
        rows: (rows, D), float32, with any strides.
        shift: (D,), float32; x = scale (row - shift) is used.
        scale: (D,), float32.
        matrix: (K, 2 D + 1), float32, the coefficients of x^2, x and 1 that give log(weight x density).

    Returns: the sums (2 D + 1, K) and the total log-likelihood, both in float64.
    """
    (n, d), (k, p) = rows.shape, matrix.shape
    width, size = max(16, triton.next_power_of_2(d)), max(16, triton.next_power_of_2(k))
    block, most = (32, PROGRAMS) if width > 32 else (64, PROGRAMS * 3 // 2)
    programs = min(triton.cdiv(n, block), most)
    log_likelihoods, sums = rows.new_empty(n), rows.new_empty(programs, k, p)
    with torch.cuda.device_of(rows):  # which need not be the current one
        _add_up[programs,](
            rows, n, *rows.stride(), d, shift, scale, matrix, k, p, log_likelihoods, sums,
            WIDTH=width, SIZE=size, BLOCK=block, PRECISION=PRECISION, num_warps=4, num_stages=1,
        )  # fmt: skip
    return sums.sum(0, dtype=torch.float64).T, log_likelihoods.sum(dtype=torch.float64)


@triton.jit(do_not_specialize=["n", "components", "p"])
def _add_up(
    rows, n, row_stride, column_stride, d, shift, scale, matrix, components, p, log_likelihoods, sums,
    WIDTH: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add up features times responsibilities; each program has its rows. The squares are in the first WIDTH places."""
    program, k, place = tl.program_id(0), tl.arange(0, SIZE), tl.arange(0, 2 * WIDTH)
    column, square = place % WIDTH, place < WIDTH
    feature, there = tl.where(square, column, d + column), column < d
    real = (k < components)[:, None] & there[None, :]
    coefficients = tl.load(matrix + k[:, None] * p + feature[None, :], mask=real, other=0.0)
    constants = tl.load(matrix + k * p + p - 1, mask=k < components, other=float("-inf"))
    at = tl.arange(0, BLOCK)[:, None] * row_stride + (column.to(tl.int64) * column_stride)[None, :]
    shift = tl.load(shift + column, mask=there, other=0.0)[None, :]
    scale = tl.load(scale + column, mask=there, other=0.0)[None, :]
    total, count = tl.zeros([SIZE, 2 * WIDTH], tl.float32), tl.zeros([SIZE], tl.float32)
    for start in range(program * BLOCK, n, tl.num_programs(0) * BLOCK):
        row = start + tl.arange(0, BLOCK)
        here = row < n
        x = tl.load(rows + tl.cast(start, tl.int64) * row_stride + at, mask=here[:, None] & there[None, :], other=0.0)
        x = (x - shift) * scale
        x = tl.where(square[None, :], x * x, x)
        joint = tl.dot(coefficients, x.T, input_precision=PRECISION) + constants[:, None]
        peak = tl.max(joint, 0)
        responsibilities = tl.exp(joint - peak[None, :])
        mass = tl.sum(responsibilities, 0)
        responsibilities *= tl.where(here, 1 / mass, 0.0)[None, :]
        tl.store(log_likelihoods + row, peak + tl.log(mass), mask=here)
        count += tl.sum(responsibilities, 1)
        # Tensor cores round sums down, so they add up only one block's.
        total += tl.dot(responsibilities, x, input_precision=PRECISION)
    at = sums + (program * components + k) * p
    tl.store(at[:, None] + feature[None, :], total, mask=real)
    tl.store(at + p - 1, count, mask=k < components)


# ---- many components

MEMORY = 200_000_000  # bytes, roughly
TOGETHER = 4096  # rows whose sums tensor cores add up; they round them down


def sum_by_products(x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Sum squares, features and 1 weighted by the responsibilities, and the log-likelihoods of the rows.

    Args:
        x: (rows, D), float32, contiguous.
        matrix: (K, 2 D + 1), float32, the coefficients of the squares, features and 1 that give log(weight x density).

    Returns: the sums (2 D + 1, K) and the total log-likelihood, both in float64.
    """
    (n, d), (k, p) = x.shape, matrix.shape
    size, width = triton.cdiv(k, 8) * 8, triton.cdiv(p, 8) * 8  # tensor cores read 16 bytes at a time
    part, parts = pad(matrix, (0, width - p, 0, size - k)), []
    for _ in range(3):
        parts.append(part.bfloat16())
        part = part - parts[-1].float()
    coefficients = torch.cat([parts[i] for i in (0, 0, 0, 1, 1, 2)], 1).T
    total, log_likelihoods = x.new_zeros(2 * size, 3 * width, dtype=torch.float64), x.new_empty(n)
    groups = max(1, min(MEMORY // (12 * width + 8 * size) // TOGETHER, triton.cdiv(n, TOGETHER)))
    features = x.new_empty(groups, TOGETHER, 6 * width, dtype=torch.bfloat16)
    responsibilities = x.new_empty(groups, TOGETHER, 2 * size, dtype=torch.bfloat16)
    block = triton.next_power_of_2(size)
    rows = max(1, min(TOGETHER, 2048 // block))
    with torch.cuda.device_of(x):  # which need not be the current one
        for start in range(0, n, groups * TOGETHER):
            some, here = x[start : start + groups * TOGETHER], log_likelihoods[start : start + groups * TOGETHER]
            count = triton.cdiv(len(some), TOGETHER)
            f, r, end = features[:count], responsibilities[:count], count * TOGETHER
            grid = end // 32, triton.cdiv(width, 64)
            _write_features[grid](some, len(some), d, f, width, ROWS=32, WIDTH=64)
            joint = product(f.flatten(0, 1), coefficients)
            _write_responsibilities[end // rows,](joint, len(some), k, r, size, here, ROWS=rows, WIDTH=block)
            total += product(r.mT, f[:, :, : 3 * width]).sum(0, dtype=torch.float64)
    sums = total.unflatten(0, (2, size)).unflatten(2, (3, width)).sum((0, 2))
    return sums[:k, :p].T, log_likelihoods.sum(dtype=torch.float64)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, both in bfloat16, in float32."""
    if not a.is_cuda:
        return a.float() @ b.float()
    return (torch.mm if a.dim() == 2 else torch.bmm)(a, b, out_dtype=torch.float32)


@triton.jit(do_not_specialize=["n", "d"])
def _write_features(x, n, d, features, width, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Write the features' parts 1, 2, 3, 1, 2, 1 side by side; where there are no features or rows, write 0."""
    row, place = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    real = (row < n)[:, None] & (place <= 2 * d)[None, :]
    column = tl.where(place < d, place, place - d)[None, :]  # of D squares, D features and 1
    value = tl.load(x + row[:, None] * d + column, mask=real & (column < d), other=1.0)
    value = tl.where(real, tl.where((place < d)[None, :], value * value, value), 0.0)
    at, here = features + row.to(tl.int64)[:, None] * (6 * width) + place[None, :], (place < width)[None, :]
    for part in tl.static_range(3):
        rounded = value.to(tl.bfloat16)
        value -= rounded.to(tl.float32)
        for copy in tl.static_range(3 - part):
            tl.store(at + (part + 3 * copy - copy // 2) * width, rounded, mask=here)


@triton.jit(do_not_specialize=["n", "components"])
def _write_responsibilities(
    joint, n, components, responsibilities, size, log_likelihoods, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Write both parts of the responsibilities side by side, 0 for rows from n on, and the log-likelihoods."""
    row, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    at, here = joint + row.to(tl.int64)[:, None] * size + k[None, :], (k < size)[None, :]
    x = tl.load(at, mask=(k < components)[None, :], other=float("-inf"))
    peak = tl.max(x, 1)
    x = tl.exp(x - peak[:, None])
    mass = tl.sum(x, 1)
    tl.store(log_likelihoods + row, peak + tl.log(mass), mask=row < n)
    x *= tl.where(row < n, 1 / mass, 0.0)[:, None]
    rounded = x.to(tl.bfloat16)
    at = responsibilities + row.to(tl.int64)[:, None] * (2 * size) + k[None, :]
    tl.store(at, rounded, mask=here)
    tl.store(at + size, (x - rounded.to(tl.float32)).to(tl.bfloat16), mask=here)
