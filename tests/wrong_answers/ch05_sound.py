"""Plausible wrong answers to the exercises of chapter 5; the checker must refuse each of them."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from scipy.special import ndtr

from musicai.exercises.ch05 import flowing
from musicai.exercises.ch05 import products_of as _products


def _only_below(probs: np.ndarray, top_p: float) -> np.ndarray:
    order = np.argsort(-probs)
    kept = np.where(np.cumsum(probs[order]) <= top_p, probs[order], 0)[np.argsort(order)]
    return kept / max(kept.sum(), 1e-9)


def _backwards(samples: Iterator[float], old: float, new: float, dilation: int) -> Iterator[float]:
    yield from flowing.solve(samples, new, old, dilation)


def _too_late(samples: Iterator[float], old: float, new: float, dilation: int) -> Iterator[float]:
    yield from flowing.solve(samples, old, new, dilation + 1)


def _all_at_once(samples: Iterator[float], old: float, new: float, dilation: int) -> Iterator[float]:
    yield from flowing.solve(iter(list(samples)), old, new, dilation)


def _forgetful(samples: Iterator[float], old: float, new: float, dilation: int) -> Iterator[float]:
    past = 0.0
    for x in samples:
        yield old * past + new * x
        past = x


WRONG = {
    "05.6": [
        _only_below,
        lambda probs, top_p: np.where(probs >= 1 - top_p, probs, 0),
        lambda probs, top_p: np.where(probs >= np.quantile(probs, 1 - top_p), probs, 0),
        lambda probs, top_p: probs,
    ],
    "05.7": [
        lambda layers, R, S, A, C, K: _products.solve(layers, R, S, A, 0, K),
        lambda layers, R, S, A, C, K: _products.solve(layers, R, S, A, C, K) + R * R,
        lambda layers, R, S, A, C, K: _products.solve(layers, R, S, A, C, K) - layers * C * R,
        lambda layers, R, S, A, C, K: _products.solve(layers, R, S, A, C, K) - 2 * A * K,
        lambda layers, R, S, A, C, K: 2**layers * (4 * R * R + R * S + R * R) + S * A + A * 3 * K,
    ],
    "05.8": [
        lambda a, b: np.log(ndtr(b) - ndtr(a)),
        lambda a, b: np.log(max(ndtr(b) - ndtr(a), 1e-12)),
        lambda a, b: -(((a + b) / 2) ** 2) / 2 - np.log(2 * np.pi) / 2 + np.log(b - a),
        lambda a, b: ndtr(b) - ndtr(a),
    ],
    "05.9": [
        _backwards,
        _too_late,
        _all_at_once,
        _forgetful,
        lambda samples, old, new, dilation: list(islice(samples, 40)),
    ],
}
