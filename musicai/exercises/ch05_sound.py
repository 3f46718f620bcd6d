"""Exercises of chapter 5's second notebook: a WaveNet over samples."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from scipy.special import log_ndtr

from .framework import Wrong, as_numbers, call, close, exercise


@exercise("05.6", "Sort by probability, largest first; keep a code while those before it have a mass below top_p.")
def nucleus(probs: np.ndarray, top_p: float) -> np.ndarray:
    """Keep the fewest codes of `probs` (Q,) with a mass of at least `top_p`, zero the others, renormalise."""
    order = np.argsort(-probs)
    before = np.cumsum(probs[order]) - probs[order]
    kept = np.zeros_like(probs)
    kept[order[before < top_p]] = probs[order[before < top_p]]
    return kept / kept.sum()


nucleus.cases("{} with top_p = {}", *((np.array([0.05, 0.3, 0.125, 0.5, 0.025]), p) for p in (0.4, 0.7, 0.9, 1.0)))


@exercise(
    "05.7", "As in the chapter; but each layer also mixes C numbers into its filter and its gate, R outputs each."
)
def products_of(layers: int, R: int, S: int, A: int, C: int, K: int) -> int:
    """Multiplications per sample of a cached WaveNet: kernel size 2, C conditioning numbers, a head of K Gaussians."""
    return layers * (2 * R * 2 * R + C * 2 * R + R * S) + (layers - 1) * R * R + S * A + A * 3 * K


_SHAPES = (1, 1, 1, 1, 1, 1), (20, 64, 128, 256, 0, 10), (27, 32, 32, 64, 32, 10)
products_of.cases("The products for layers, R, S, A, C, K = {}, {}, {}, {}, {}, {}", *_SHAPES, rtol=0)


@exercise("05.8", "To the right of the mean, mirror the interval: P(a..b) = P(-b..-a). Then use log_ndtr and log1p.")
def log_interval(a: float, b: float) -> float:
    """log P(a <= x < b) of a standard Gaussian, a < b, to 6 digits even where both lie 40 deviations out."""
    if a + b > 0:
        a, b = -b, -a
    return float(log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b))))


_INTERVALS = (-1.0, 1.0), (-0.3, 2.0), (-9.0, -8.0), (8.0, 9.0), (40.0, 40.5), (-40.5, -40.0)
log_interval.cases("log P({} <= x < {})", *_INTERVALS, rtol=1e-6)


@exercise("05.9", "Keep the last `dilation` inputs in a queue, at first zeros; each step takes one and puts one in.")
def flowing(samples: Iterator[float], old: float, new: float, dilation: int) -> Iterator[float]:
    """Yield old x[n - dilation] + new x[n] for each x[n] of an endless iterator, before taking the next."""
    queue = [0.0] * dilation
    for n, x in enumerate(samples):
        past, queue[n % dilation] = queue[n % dilation], x
        yield old * past + new * x


def _in_time(x: np.ndarray, got: list) -> Iterator[float]:
    """The inputs, each given only after the previous output."""
    for n, value in enumerate(x):
        if n > len(got):
            raise Wrong(f"It asked for input {n + 1} before giving output {len(got) + 1}: too late for real time.")
        yield float(value)


@flowing.checker
def _(answer):
    x = np.random.default_rng(5).normal(size=40).round(2)
    for old, new, dilation in ((0.0, 1.0, 1), (2.0, -1.0, 1), (0.5, 3.0, 4), (1.0, 0.25, 16)):
        got = []
        outputs = call(answer, _in_time(x, got), old, new, dilation)
        if not hasattr(outputs, "__next__"):
            raise Wrong("It should give its outputs one by one: use `yield`.")
        for value in islice(outputs, len(x)):
            got.append(as_numbers(value, "An output"))
        if not all(value.shape == () for value in got):
            raise Wrong("Each output should be one number.")
        want = list(flowing.solve(x, old, new, dilation))
        close(np.array(got), want, f"With old = {old}, new = {new}, dilation = {dilation} the output")
