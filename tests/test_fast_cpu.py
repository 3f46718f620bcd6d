"""The pieces of the compiled sampler against NumPy in float64: products, functions with stated errors, the draw."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from musicai.wavenet._fast import compiled
from musicai.wavenet._fast.vectors import (
    BYTE,
    COLUMNS,
    HAS_BYTES,
    MIDDLE,
    SHORT,
    encode,
    exponentials,
    gate,
    matmat,
    matvec,
    pack,
    pack_rows,
)
from musicai.wavenet._fast.weights import LARGEST, _pack, aligned


@njit(nogil=True)
def product(out, weight, rows, x, x_scale):
    matvec(out, 0, weight, 0, rows, 0, x, 0, x_scale, 0, len(x), len(out))


@njit(nogil=True)
def products(out, weight, rows, x, x_scale):
    n_in, n_out = len(x) // len(x_scale), len(out) // len(x_scale)
    matmat(out, 0, weight, 0, rows, 0, x, 0, x_scale, 0, n_in, n_out)


@njit(nogil=True)
def gates(z, out):
    gate(z, 0, out, 0, len(out), LIMIT)


@njit(nogil=True)
def exps(x, most, factor, out):
    exponentials(x, 0, out, 0, len(x), most, factor)


@njit(nogil=True)
def encoded(x, low, limit, out):
    scale = np.ones(1, np.float32)
    encode(x, 16, out, 0, scale, 0, len(out), low, np.float32(limit))
    return scale[0]


def bytes_of(x):
    """Integers as products of bytes take them."""
    return (x.astype(int) + MIDDLE).astype(np.uint8)


LIMIT = np.float32(95)
FORMS = [("int16", 2047, SHORT)] + [("int8", 85, BYTE)] * HAS_BYTES


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_matvec_and_matmat_are_the_product(eights, blocks, seed):
    rng, n_in, n_out = np.random.default_rng(seed), 8 * eights, 32 * blocks
    start = rng.standard_normal((COLUMNS, n_out)).astype(np.float32)
    weight, x = (rng.standard_normal((n, n_in)).astype(np.float32) for n in (n_out, COLUMNS))
    both_are(start, start + x.astype(float) @ weight.T, pack(weight, 1), np.ones(0, np.float32), x)
    scale, nothing = rng.random(n_out).astype(np.float32), np.zeros((COLUMNS, n_out), np.float32)
    for kind, most, form in FORMS:
        whole = rng.integers(-most, most + 1, (n_out, n_in)).astype(kind)
        largest = 95 if form is BYTE else 5000
        q = rng.integers(-largest, largest + 1, (COLUMNS, n_in)).astype(np.int16)
        truth = scale.astype(float) * 1e-4 * (q.astype(int) @ whole.T.astype(int))
        inputs = bytes_of(q) if form is BYTE else q
        both_are(nothing, truth, pack(whole, form.unit), pack_rows(scale, whole.astype(float)), inputs)


def both_are(start, truth, weight, rows, x):
    """`matvec` for each row of x, and `matmat` for all."""
    out, scale = start.copy(), np.full(COLUMNS, 1e-4, np.float32)
    for row, vector in zip(out, x, strict=True):
        product(row, weight, rows, vector, scale)
    np.testing.assert_allclose(out, truth, rtol=1e-5, atol=1e-4)
    out = start.copy().ravel()
    products(out, weight, rows, x.ravel(), scale)
    np.testing.assert_allclose(out, truth.ravel(), rtol=1e-5, atol=1e-4)


def test_exp_is_within_its_stated_error():
    x, out = np.linspace(-87, 87, 65536, dtype=np.float32), np.zeros(65536, np.float32)
    exps(x, np.float32(0), np.float32(1), out)
    assert np.abs(out / np.exp(x.astype(float)) - 1).max() < 2e-7
    x[:5] = 0, -1e30, 1e30, 3, 5
    exps(x, np.float32(0), np.float32(1), out)
    assert out[0] == 1
    assert 0 < out[1] < 2e-38
    assert np.isfinite(out[2])
    exps(x, np.float32(5), np.float32(2), out)
    np.testing.assert_allclose(out[3:5], [np.exp(-4), 1], rtol=2e-7)


def test_gate_is_within_its_stated_error():
    rng = np.random.default_rng(0)
    for width in (0.1, 3, 30, 3000):
        a, b = (rng.uniform(-width, width, 4096).astype(np.float32) for _ in range(2))
        out, whole = np.zeros(4096, np.float32), np.zeros(4096, np.int16)
        gates(np.concatenate([a, b]), out)
        with np.errstate(over="ignore"):
            truth = np.tanh(a.astype(float)) / (1 + np.exp(-b.astype(float)))
        assert np.abs(out - truth).max() < 3e-7
        gates(np.concatenate([a, b]), whole)
        assert np.abs(whole / LIMIT - truth).max() < 0.5001 / LIMIT
        bytes_ = np.zeros(4096, np.uint8)
        gates(np.concatenate([a, b]), bytes_)
        np.testing.assert_array_equal(bytes_, bytes_of(whole))


@pytest.mark.parametrize("limit", [95, 1000])
@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e20])
def test_encode_keeps_a_share_of_the_largest(factor, limit):
    x = (np.random.default_rng(0).standard_normal(64) * factor).astype(np.float32)
    for low in (-3e38, 0):
        truth = np.maximum(x[16:48], low)
        whole, bytes_, same = (np.zeros(32, kind) for kind in (np.int16, np.uint8, np.float32))
        scale = encoded(x, np.float32(low), limit, whole)
        assert np.abs(whole).max() == limit
        assert np.abs(whole * scale - truth).max() <= 0.501 * scale
        if limit < 128:
            assert encoded(x, np.float32(low), limit, bytes_) == np.float32(scale)
            np.testing.assert_array_equal(bytes_, bytes_of(whole))
        encoded(x, np.float32(low), limit, same)
        np.testing.assert_array_equal(same, truth)
    encoded(np.zeros(64, np.float32), np.float32(0), limit, whole)
    assert not whole.any()


def chosen(logits, u, temperature=1.0, top_p=1.0):
    padded = np.full(-(-len(logits) // 16) * 16, 1e9, np.float32)  # what lies beyond must not matter
    padded[: len(logits)] = logits
    return compiled.choose(padded, len(logits), u, float(temperature), float(top_p), np.zeros_like(padded))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.floats(0, 0.999999), st.floats(0.05, 1), st.floats(0.3, 3), st.integers(0, 2**32 - 1))
def test_choose_inverts_the_cumulative_distribution(n, u, top_p, temperature, seed):
    logits = np.random.default_rng(seed).standard_normal(n).astype(np.float32) * 4
    p = np.exp((logits - logits.max()).astype(float) / temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= top_p]] = 0
    edges = np.cumsum(p) / p.sum()
    if np.abs(edges - u).min() < 1e-5 or np.abs(before - top_p).min() < 1e-5:
        return  # a tie: rounding decides
    assert chosen(logits, u, temperature, top_p) == (edges <= u).sum()


def test_choose_at_the_edges():
    assert chosen([0, 5, 1], 0.99, temperature=0) == 1
    assert chosen([0, 0, 0, 0], 0.0) == 0
    assert chosen([0, 0, 0, 0], 0.25) == 1  # the cumulative probability must be above u
    assert chosen([0, 0, 0, 0], 1 - 1e-16) == 3
    assert chosen([-1e30, 0, -1e30], 1 - 1e-16) == 1
    assert [chosen([0, 0, 0, 0], u, top_p=0.5) for u in (0, 0.49, 0.51, 0.99)] == [0, 0, 1, 1]  # of equals, the first
    assert chosen([0, 9, 0], 0.0, top_p=1e-9) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_weights_begin_on_a_line_of_the_cache(dtype):
    assert aligned(1001, dtype).ctypes.data % 64 == 0
    assert aligned(1001, dtype).shape == (1001,)


def test_products_of_bytes_do_not_saturate():
    """vpmaddubsw adds two products in 16 bits: the largest integers, in the worst order, must still fit."""
    rng = np.random.default_rng(0)
    for matrix in (np.ones((64, 32)), rng.standard_normal((64, 32)), rng.standard_normal((64, 32)) ** 5):
        weight, _ = _pack(matrix, "int8")
        pairs = np.abs(weight.astype(int)).reshape(-1, 2).sum(1)
        assert pairs.max() * (LARGEST["int8"][1] + MIDDLE) < 2**15
        assert np.abs(weight).max() > 60  # and yet the bits are used
    x = np.full((COLUMNS, 32), 95, np.int16)
    weight, rows = pack(np.full((64, 32), 85, np.int8), 4), pack_rows(np.ones(64), np.full((64, 32), 85))
    if HAS_BYTES:
        both_are(
            np.zeros((COLUMNS, 64), np.float32), np.full((COLUMNS, 64), 32 * 95 * 85 * 1e-4), weight, rows, bytes_of(x)
        )


def test_the_cache_has_a_function_for_each_precision():
    """One signature a name, so that processes that fill it at once write the same."""
    names = {run.py_func.__qualname__ for run in compiled.RUN.values()}
    assert names == {f"run_{precision}_{compiled.code_key()}" for precision in ("float32", "int16", "int8")}


def test_changing_a_helper_changes_what_the_cache_is_asked_for(tmp_path):
    """numba itself looks at the file of `run` alone, and drew with an old `gate` after a new one was written."""
    here = Path(compiled.__file__).parent
    for path in here.glob("*.py"):
        shutil.copy(path, tmp_path)
    assert compiled.code_key(tmp_path) == compiled.code_key()
    keys = {compiled.code_key()}
    for path in sorted(tmp_path.glob("*.py")):
        path.write_text(path.read_text().replace("1.0", "1.01") + "\n")
        keys.add(compiled.code_key(tmp_path))
    assert len(keys) == 1 + len(list(here.glob("*.py")))


PROCESSORS = {  # as this machine is, if numba may use only some of what it has
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "no products of bytes": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"},
}
SCRIPT = """
import hashlib, sys, torch
from musicai.wavenet import WaveNet, sample
from musicai.wavenet._fast import compiled, vectors
torch.manual_seed(0)
model = WaveNet(layers=8, stacks=2, residual_channels=24, skip_channels=40, end_channels=64, classes=64)
codes = sample(model, 500, precision="int8", block=133, progress=False)
code = "".join(compiled.RUN["int8"].inspect_asm().values())
print(vectors.HAS_BYTES, vectors.HAS_DOT, "vpmaddubsw" in code, "zmm" in code or "vpdpbusd" in code, codes.tolist())
"""


@pytest.mark.skipif(not HAS_BYTES, reason="this machine has no products of bytes")
def test_int8_draws_the_same_on_every_processor(tmp_path):
    """By vpdpbusd, by vpmaddubsw and by products of 16 bits: sums of integers are exact."""
    found = {}
    for name, features in PROCESSORS.items():
        environment = os.environ | features | {"NUMBA_CACHE_DIR": str(tmp_path / name.split()[0])}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        found[name] = done.stdout.split(maxsplit=4)
    assert found["AVX2"][:4] == ["True", "False", "True", "False"]
    assert found["no products of bytes"][:4] == ["False", "False", "False", "False"]
    assert len({codes for *_, codes in found.values()}) == 1
