"""The E step's sums on an NVIDIA GPU, for many components: the two matrix products, on tensor cores.

Tensor cores multiply numbers of few digits. So a float32 number is written as the sum of three in bfloat16, and a
responsibility, which is rounded, as the sum of two; from their products come those of the numbers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

MEMORY = 200_000_000  # bytes, roughly
TOGETHER = 4096  # rows whose sums tensor cores add up; they round them down


def sum_features(x: Tensor, first: Tensor, second: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Sum features weighted by the responsibilities, and the log-likelihoods of the rows.

    Args:
        x: (rows, D), float32, contiguous.
        first: (P,), integers. Feature p is x_i x_j, i = first[p] and j = second[p], where x_D = 1.
        second: (P,).
        matrix: (K, P), float32, the coefficients of the features that give log(weight x density).

    Returns: the sums (P, K) and the total log-likelihood, both in float64.
    """
    (n, d), (k, p) = x.shape, matrix.shape
    size, width = triton.cdiv(k, 8) * 8, triton.cdiv(p, 8) * 8  # tensor cores read 16 bytes at a time
    a, b, c = in_three(pad(matrix, (0, width - p, 0, size - k)))
    coefficients = torch.cat([a, a, a, b, b, c], 1).T
    total, log_likelihoods = x.new_zeros(2 * size, 3 * width, dtype=torch.float64), x.new_empty(n)
    length = max(1, MEMORY // (12 * width + 8 * size) // TOGETHER) * TOGETHER
    length = min(length, triton.cdiv(n, TOGETHER) * TOGETHER)
    features = x.new_empty(length, 6 * width, dtype=torch.bfloat16)
    responsibilities = x.new_empty(length, 2 * size, dtype=torch.bfloat16)
    block = triton.next_power_of_2(size)
    with torch.cuda.device_of(x):  # which need not be the current one
        for start in range(0, n, length):
            part = x[start : start + length]
            groups = triton.cdiv(len(part), TOGETHER)
            f, r = features[: groups * TOGETHER], responsibilities[: groups * TOGETHER]
            _write_features[len(f) // 32, triton.cdiv(width, 64)](
                part, len(part), d, first, second, p, f, width, ROWS=32, WIDTH=64
            )
            joint, rows = product(f, coefficients), max(1, 2048 // block)
            _write_responsibilities[triton.cdiv(len(f), rows),](
                joint, len(part), len(f), k, r, size, log_likelihoods[start:], ROWS=rows, WIDTH=block
            )
            f, r = f[:, : 3 * width].unflatten(0, (groups, -1)), r.unflatten(0, (groups, -1))
            total += product(r.mT, f).sum(0, dtype=torch.float64)
    sums = total.unflatten(0, (2, size)).unflatten(2, (3, width)).sum((0, 2))
    return sums[:k, :p].T, log_likelihoods.sum(dtype=torch.float64)


def in_three(x: Tensor) -> list[Tensor]:
    """Write x (float32) as the sum of three tensors in bfloat16."""
    parts = []
    for _ in range(3):
        parts.append(x.bfloat16())
        x = x - parts[-1].float()
    return parts


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, both in bfloat16, in float32."""
    if not a.is_cuda:
        return a.float() @ b.float()
    return (torch.mm if a.dim() == 2 else torch.bmm)(a, b, out_dtype=torch.float32)


@triton.jit(do_not_specialize=["n", "d", "p"])
def _write_features(x, n, d, first, second, p, features, width, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Write the features' parts 1, 2, 3, 1, 2, 1 side by side; where there are no features or rows, write 0."""
    row, place = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    i, j = tl.load(first + place, mask=place < p, other=0), tl.load(second + place, mask=place < p, other=0)
    real = (row < n)[:, None] & (place < p)[None, :]
    at = x + row[:, None] * d
    value = tl.load(at + i[None, :], mask=real & (i < d)[None, :], other=1.0)
    value *= tl.load(at + j[None, :], mask=real & (j < d)[None, :], other=1.0)
    value = tl.where(real, value, 0.0)
    at, here = features + row.to(tl.int64)[:, None] * (6 * width) + place[None, :], (place < width)[None, :]
    a = value.to(tl.bfloat16)
    value -= a.to(tl.float32)
    b = value.to(tl.bfloat16)
    c = (value - b.to(tl.float32)).to(tl.bfloat16)
    tl.store(at, a, mask=here)
    tl.store(at + width, b, mask=here)
    tl.store(at + 2 * width, c, mask=here)
    tl.store(at + 3 * width, a, mask=here)
    tl.store(at + 4 * width, b, mask=here)
    tl.store(at + 5 * width, a, mask=here)


@triton.jit(do_not_specialize=["n", "end", "components"])
def _write_responsibilities(
    joint, n, end, components, responsibilities, size, log_likelihoods, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Write both parts of the responsibilities side by side, 0 for rows from n on, and the log-likelihoods."""
    row, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    here = (row < end)[:, None] & (k < size)[None, :]
    at = joint + row.to(tl.int64)[:, None] * size + k[None, :]
    x = tl.load(at, mask=here & (k < components)[None, :], other=float("-inf"))
    peak = tl.maximum(tl.max(x, 1), -1e38)  # rows after the end have none
    x = tl.exp(x - peak[:, None])
    mass = tl.sum(x, 1)
    tl.store(log_likelihoods + row, peak + tl.log(mass), mask=row < n)
    x *= tl.where(row < n, 1 / mass, 0.0)[:, None]
    a = x.to(tl.bfloat16)
    at = responsibilities + row.to(tl.int64)[:, None] * (2 * size) + k[None, :]
    tl.store(at, a, mask=here)
    tl.store(at + size, (x - a.to(tl.float32)).to(tl.bfloat16), mask=here)
