"""Exercises of chapter 5's first notebook: a WaveNet over the frames of a piano roll."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from scipy.special import log_ndtr

from .framework import Wrong, as_numbers, call, close, exercise


@exercise("05.1", "Each layer adds (kernel_size - 1) times its dilation to the one frame you start with.")
def reach() -> int:
    """How many inputs does one output see after 3 stacks of dilations 1, 2, 4, 8 with kernel size 3?"""
    return 1 + (3 - 1) * 3 * (1 + 2 + 4 + 8)


@exercise("05.2", "Change one input at a time, k steps before the last, and see whether the last output differs.")
def lags_seen(f: Callable[[np.ndarray], np.ndarray], length: int) -> list[int]:
    """The sorted lags k at which outputs of `f` (N,) -> (N,) depend on inputs k steps earlier; use N = `length`."""
    x, n = np.random.default_rng(0).normal(size=length), length - 1
    before = f(x.copy())
    lags = []
    for k in range(length):
        changed = x.copy()
        changed[n - k] += 1.0
        if f(changed)[n] != before[n]:
            lags.append(k)
    return lags


def _taps(lags: list[int], bend: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A causal function with these lags, each with a different weight."""

    def f(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        y = np.zeros(len(x))
        for i, k in enumerate(lags):
            y[k:] += (0.7 - 0.2 * i) * x[: len(x) - k]
        return bend(y)

    return f


_FUNCTIONS = ([0, 1], np.tanh), ([0, 4, 8], np.tanh), ([1, 2, 3], lambda y: y), ([0, 15], np.sin), ([3], np.exp)
lags_seen.cases("Your list of lags", *((_taps(*function), 16) for function in _FUNCTIONS), rtol=0)


@exercise("05.3", "Go through the keys in order: log s(u) if it is down, log (1 - s(u)) if it is up; add them all.")
def joint_log_prob(logit: Callable[[np.ndarray], float], frame: np.ndarray) -> float:
    """log p(frame) for 0s and 1s (K,); `logit(above)` is the logit of the key that follows the keys `above` (n,)."""
    total = 0.0
    for n, down in enumerate(frame):
        u = logit(frame[:n])
        total += -np.logaddexp(0, -u if down else u)
    return total


def _some_logit(above: np.ndarray) -> float:
    """Depends on how many keys, and which, lie above."""
    if len(above) and not np.isin(above, (0, 1)).all():
        raise ValueError("keys are 0 or 1")
    return 1.5 - 0.9 * len(above) + 2.0 * float(np.sum(above)) + 0.7 * float(np.dot(above, np.arange(len(above))))


_FRAMES = ((_some_logit, np.array([(i >> n) & 1 for n in range(4)], dtype=float)) for i in range(16))
joint_log_prob.cases("log p of the frame {1}", *_FRAMES, (lambda above: -800.0, np.array([1.0, 0.0])))


@exercise("05.4", "Sharpen p(a) on its own, then each row p(b | a) on its own, and multiply.")
def drawn_at(joint: np.ndarray, temperature: float) -> np.ndarray:
    """The distribution drawn from, shaped like `joint` (A, B), if first p(a) and then p(b | a) are sharpened."""
    first = joint.sum(1)
    second = joint / first[:, None]
    first, second = first ** (1 / temperature), second ** (1 / temperature)
    return (first / first.sum())[:, None] * second / second.sum(1, keepdims=True)


_TABLES = np.array([[0.4, 0.0], [0.3, 0.3]]), np.array([[0.1, 0.2, 0.1], [0.05, 0.5, 0.05]])
drawn_at.cases("With p(a, b) = {} at temperature {} the table", *((p, t) for p in _TABLES for t in (1.0, 0.5, 2.0)))


@exercise("05.5", "Subtract a run's first pitch from all of it: runs that are equal but for the key then become equal.")
def longest_copy(piece: list[int], corpus: list[list[int]]) -> int:
    """The length of the longest run in `piece` that, in some key, also occurs without a gap in a piece of `corpus`."""
    for length in range(len(piece), 0, -1):
        mine, *others = (
            {tuple(x - one[i] for x in one[i : i + length]) for i in range(len(one) - length + 1)}
            for one in (piece, *corpus)
        )
        if any(mine & other for other in others):
            return length
    return 0


_BROKEN = ([1, 2, 4, 7], [[1, 2], [4, 7]]), ([1, 3, 6], [[1, 2, 3, 4, 6]])  # not across two pieces, not with gaps
_WHOLE = ([60, 62, 64, 65, 67], [[69, 67, 69, 71, 72], [50, 55]]), ([7, 7, 7], [[5] * 5]), ([4, 2, 1], [[1, 2, 4]])
_NOTHING = ([60, 65], [[3], []]), ([], [[1, 2]]), ([60, 64], [])
longest_copy.cases("The longest copy for piece = {} and corpus = {}", *_BROKEN, *_WHOLE, *_NOTHING)


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
