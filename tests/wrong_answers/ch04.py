"""Plausible wrong answers to the exercises of chapter 4; the checker must refuse each of them."""

import numpy as np

from musicai.exercises.ch04 import covered as _coverage
from musicai.exercises.ch04 import transposed_convolution

_transposed = transposed_convolution.solve


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def _without_zeros(p: np.ndarray, q: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        m = (p + q) / 2
        return 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()


def _sigmoid(u: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-u))


def _share_of_made(real: np.ndarray, made: np.ndarray, k: int) -> float:
    to_real, to_made = (np.linalg.norm(real[:, None] - other, axis=2) for other in (real, made))
    return float((to_made <= np.sort(to_real, 1)[:, k, None]).any(0).mean())


WRONG = {
    "04.1": [
        0.5,
        0.6931472,
        1.3862944,
        -0.9547713,
        np.log(3) / 2 + np.log(3),
        "log 3",
    ],
    "04.2": [
        _without_zeros,
        lambda p, q: 0.5 * _kl(p, q + 1e-12) + 0.5 * _kl(q, p + 1e-12),
        lambda p, q: _kl(p, (p + q) / 2) + _kl(q, (p + q) / 2),
        lambda p, q: _kl(p, (p + q) / 2),
        lambda p, q: 0.5 * np.abs(p - q).sum(),
    ],
    "04.3": [
        lambda real, fake: (_sigmoid(real) - 1, _sigmoid(fake)),
        lambda real, fake: (_sigmoid(real) / len(real), (_sigmoid(fake) - 1) / len(real)),
        lambda real, fake: ((1 - _sigmoid(real)) / len(real), -_sigmoid(fake) / len(real)),
        lambda real, fake: (_sigmoid(fake) - 1) / len(real),
    ],
    "04.4": [
        lambda x, kernel, stride: np.convolve(np.repeat(x, stride), kernel),
        lambda x, kernel, stride: np.convolve(x, kernel)[::stride],
        lambda x, kernel, stride: _transposed(x, kernel[::-1], stride),
        lambda x, kernel, stride: _transposed(x, kernel, stride)[: len(x) * stride],
        lambda x, kernel, stride: np.outer(x, kernel).ravel(),
    ],
    "04.5": [
        lambda real, made, k: _coverage.solve(made, real, k),
        lambda real, made, k: _coverage.solve(real, made, k - 1),
        lambda real, made, k: _coverage.solve(real, made, k + 1),
        lambda real, made, k: 1.0,
        _share_of_made,
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
