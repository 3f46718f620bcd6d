"""The pieces of the compiled sampler against NumPy in float64: products, functions with stated errors, the draw."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from musicai.sampling import kernel, sample
from musicai.sampling.elementwise import encode, exponentials, gate
from musicai.sampling.matvec import COLUMNS, matmat, matvec, pack, pack_rows
from musicai.sampling.packed import aligned
from musicai.sampling.products import HAS_BYTES, Bytes, Shorts
from musicai.wavenet import WaveNet


@njit(nogil=True)
def product(out, weight, rows, x, x_scale):
    matvec(out, 0, weight, 0, rows, 0, x, 0, x_scale, 0, len(x), len(out))


@njit(nogil=True)
def products(out, weight, rows, x, x_scale):
    n_in, n_out = len(x) // len(x_scale), len(out) // len(x_scale)
    matmat(out, 0, weight, 0, rows, 0, x, 0, x_scale, 0, n_in, n_out)


@njit(nogil=True)
def gates(z, out):
    gate(z, 0, len(out), np.float32(100), out)


@njit(nogil=True)
def exps(x, most, factor, out):
    exponentials(x, len(x), most, factor, out)


@njit(nogil=True)
def encoded(x, low, limit, out):
    scale = np.ones(1, np.float32)
    encode(x, 16, len(out), low, np.float32(limit), out, 0, scale, 0)
    return scale[0]


def bytes_of(x):
    """Whole numbers as `Bytes` takes them."""
    return (x.astype(int) + 2**7).astype(np.uint8)


FORMS = [("int8", 127, Shorts), ("int16", 2047, Shorts)] + [("int8", 127, Bytes)] * HAS_BYTES


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
        largest = 127 if form is Bytes else 5000
        q = rng.integers(-largest, largest + 1, (COLUMNS, n_in)).astype(np.int16)
        truth = scale.astype(float) * 1e-4 * (q.astype(int) @ whole.T.astype(int))
        inputs = bytes_of(q) if form is Bytes else q
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
        assert np.abs(whole / 100 - truth).max() < 0.5001 / 100
        bytes_ = np.zeros(4096, np.uint8)
        gates(np.concatenate([a, b]), bytes_)
        np.testing.assert_array_equal(bytes_, bytes_of(whole))


@pytest.mark.parametrize("limit", [100, 1000])
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
    return kernel.choose(padded, len(logits), u, float(temperature), float(top_p), np.zeros_like(padded))


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


def test_the_cache_has_a_function_for_each_precision():
    """One signature a name, so that processes that fill it at once write the same."""
    names = {run.py_func.__qualname__ for run in kernel.RUN.values()}
    assert names == {"run_float32", "run_int16", "run_int8"}


def test_a_place_that_cannot_be_written_is_no_error(monkeypatch):
    """A read-only installation compiles anew each time."""
    real, asked = kernel.njit, []

    def njit_without_a_place(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(kernel, "njit", njit_without_a_place)
    assert kernel._compiled("float32").py_func.__name__ == "run_float32"
    assert [options.get("cache", False) for options in asked] == [True, False]


@pytest.mark.skipif(not HAS_BYTES, reason="this machine has no vpdpbusd")
def test_bytes_and_shorts_draw_the_same(monkeypatch):
    """int8 gives the same samples on machines with and without the instruction."""
    torch.manual_seed(0)
    model = WaveNet(layers=8, stacks=2, residual_channels=24, skip_channels=40, end_channels=64, classes=64)
    found = []
    for has in (True, False):
        monkeypatch.setattr("musicai.sampling.products.HAS_BYTES", has)
        found.append(sample(model, 500, precision="int8", block=133, progress=False))
    assert torch.equal(*found)
