"""Plausible wrong answers to the exercises of chapter 4; the checker must refuse each of them."""

import numpy as np

from musicai.exercises.ch04 import transposed_convolution

_transposed = transposed_convolution.solve


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def _without_zeros(p: np.ndarray, q: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        m = (p + q) / 2
        return 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()


WRONG = {
    "04.1": [
        0.5,
        0.6931472,
        0.0,
        -1.3862944,
        "log 4",
    ],
    "04.2": [
        _without_zeros,
        lambda p, q: 0.5 * _kl(p, q + 1e-12) + 0.5 * _kl(q, p + 1e-12),
        lambda p, q: _kl(p, (p + q) / 2) + _kl(q, (p + q) / 2),
        lambda p, q: _kl(p, (p + q) / 2),
        lambda p, q: 0.5 * np.abs(p - q).sum(),
    ],
    "04.3": [
        lambda u: (1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u))),
        lambda u: (1 / (1 + np.exp(-u)) - 1, -1 / (1 + np.exp(-u))),
        lambda u: (-np.log1p(np.exp(u)), np.log1p(np.exp(-u))),
        lambda u: -1 / (1 + np.exp(-u)),
    ],
    "04.4": [
        lambda x, kernel, stride: np.convolve(np.repeat(x, stride), kernel),
        lambda x, kernel, stride: np.convolve(x, kernel)[::stride],
        lambda x, kernel, stride: _transposed(x, kernel[::-1], stride),
        lambda x, kernel, stride: _transposed(x, kernel, stride)[: len(x) * stride],
        lambda x, kernel, stride: np.outer(x, kernel).ravel(),
    ],
    "04.5": [
        lambda x, shift: np.roll(x, shift),
        lambda x, shift: np.roll(x, -shift),
        lambda x, shift: np.pad(x, 2, mode="reflect")[2 + shift : 2 + shift + len(x)],
        lambda x, shift: np.pad(x, 2, mode="edge")[2 - shift : 2 - shift + len(x)],
        lambda x, shift: np.pad(x, 2)[2 - shift : 2 - shift + len(x)],
    ],
    "04.6": [
        lambda a, b, t: (1 - t) * a + t * b,
        lambda a, b, t: (c := (1 - t) * a + t * b) / np.linalg.norm(c),
        lambda a, b, t: (c := (1 - t) * a + t * b) / np.linalg.norm(c) * np.linalg.norm(a),
        lambda a, b, t: np.cos(t * np.pi / 2) * a + np.sin(t * np.pi / 2) * b,
    ],
    "04.7": [
        lambda ma, ca, mb, cb: ((ma - mb) ** 2).sum(),
        lambda ma, ca, mb, cb: ((ma - mb) ** 2).sum() + ((ca - cb) ** 2).sum(),
        lambda ma, ca, mb, cb: (
            np.sqrt(((ma - mb) ** 2).sum()) + np.trace(ca) + np.trace(cb) - 2 * np.sqrt(np.trace(ca @ cb))
        ),
        lambda ma, ca, mb, cb: ((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * np.sqrt(np.abs(ca @ cb))),
    ],
}
