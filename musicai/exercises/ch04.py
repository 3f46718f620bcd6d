"""Exercises of chapter 4, GANs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .framework import call, close, exercise, fail


@exercise(
    "04.1", value=True, hint="In that case the best discriminator outputs 1/2 everywhere; put that into its loss."
)
def stalemate() -> float:
    """The best discriminator's loss (cross-entropy, in nats) if generated data are just like real data?"""
    return float(np.log(4))


@stalemate.checker
def _(answer: Any) -> None:
    close(answer, 1.3862944, "Your loss")


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


@exercise(
    "04.2", hint="Compare each with their mean (p + q) / 2, which is zero only where both are; 0 log 0 counts as 0."
)
def jsd(p: np.ndarray, q: np.ndarray) -> float:
    """The Jensen-Shannon divergence, in nats, of two lists of probabilities; some may be zero."""
    m, total = (p + q) / 2, 0.0
    for one in (p, q):
        some = one > 0
        total += 0.5 * (one[some] * np.log(one[some] / m[some])).sum()
    return total


@jsd.checker
def _(answer: Callable[..., Any]) -> None:
    pairs = (
        ([0.5, 0.5], [0.5, 0.5]),
        ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1]),
        ([1.0, 0.0], [0.0, 1.0]),
        ([0, 0.4, 0.6], [0.1, 0.9, 0]),
    )
    for p, q in (map(np.array, pair) for pair in pairs):
        want = 0.5 * _kl(p, (p + q) / 2) + 0.5 * _kl(q, (p + q) / 2)
        close(call(answer, p.astype(float), q.astype(float)), want, f"The divergence of {p.tolist()} and {q.tolist()}")


@exercise(
    "04.3", hint="With s the sigmoid, the derivative of softplus(u) is s(u). Mind the signs: both losses are minimised."
)
def generator_slopes(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the minimax and the non-saturating generator loss in the logits `u` of generated sounds."""
    s = 1 / (1 + np.exp(-u))
    return -s, s - 1


@generator_slopes.checker
def _(answer: Callable[..., Any]) -> None:
    u = np.array([-8.0, -1.5, 0.0, 0.4, 3.0])
    got = call(answer, u.copy())
    if not isinstance(got, tuple | list) or len(got) != 2:
        fail("Return two things: the slopes of the minimax loss, then those of the non-saturating one.")
    s = 1 / (1 + np.exp(-u))
    close(got[0], -s, "The slope of log(1 - s(u))")
    close(got[1], s - 1, "The slope of -log s(u)", rtol=1e-3)


@exercise("04.4", hint="Every input sample adds a scaled copy of the kernel, `stride` samples after the previous one.")
def transposed_convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """The transposed convolution of `x` (N,) with `kernel` (K,), without padding: ((N - 1) stride + K,)."""
    y = np.zeros((len(x) - 1) * stride + len(kernel))
    for n, value in enumerate(x):
        y[n * stride : n * stride + len(kernel)] += value * kernel
    return y


def _transposed(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    stuffed = np.zeros((len(x) - 1) * stride + 1)
    stuffed[::stride] = x
    return np.convolve(stuffed, kernel)


@transposed_convolution.checker
def _(answer: Callable[..., Any]) -> None:
    rng = np.random.default_rng(4)
    for n, k, stride in ((4, 3, 1), (5, 4, 2), (3, 5, 4), (4, 2, 3)):
        x, kernel = rng.normal(size=n).round(2), rng.normal(size=k).round(2)
        got = call(answer, x.copy(), kernel.copy(), stride)
        close(got, _transposed(x, kernel, stride), f"With {n} samples, a kernel of {k} and stride {stride} the output")


@exercise("04.5", hint="np.pad(x, (left, right), mode='reflect') fills the gap; then cut out the same length again.")
def phase_shuffle(x: np.ndarray, shift: int) -> np.ndarray:
    """`x` (N,) moved `shift` samples to the right (left if negative), the gap filled by reflection; again (N,)."""
    padded = np.pad(x, (max(shift, 0), max(-shift, 0)), mode="reflect")
    return padded[: len(x)] if shift > 0 else padded[-len(x) :]


@phase_shuffle.checker
def _(answer: Callable[..., Any]) -> None:
    x = np.array([3.0, -1.0, 4.0, 1.5, -5.0, 9.0])
    reflected = np.pad(x, 2, mode="reflect")
    for shift in (0, 1, 2, -1, -2):
        got = call(answer, x.copy(), shift)
        close(got, reflected[2 - shift : 8 - shift], f"{x.tolist()} moved by {shift}")


@exercise(
    "04.6", hint="With w the angle between a and b, weight a by sin((1 - t) w) / sin(w) and b by sin(t w) / sin(w)."
)
def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """The point at `t` in [0, 1] on the arc from `a` to `b`, vectors (D,) of equal length; the length is kept."""
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    w = np.arccos(np.clip(cosine, -1, 1))
    if np.isclose(np.sin(w), 0):
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


@slerp.checker
def _(answer: Callable[..., Any]) -> None:
    up, side = np.array([0.0, 3.0]), np.array([3.0, 0.0])
    for t in (0.0, 0.25, 0.5, 1.0):
        arc = 3 * np.array([np.sin(t * np.pi / 2), np.cos(t * np.pi / 2)])
        close(call(answer, up.copy(), side.copy(), t), arc, f"A quarter circle at t = {t}")
    a, b = np.array([1.0, 2.0, 2.0]), np.array([-2.0, 1.0, 2.0])
    w = np.arccos(4 / 9)
    want = (np.sin(0.3 * w) * b + np.sin(0.7 * w) * a) / np.sin(w)
    close(call(answer, a.copy(), b.copy(), 0.3), want, "From (1, 2, 2) to (-2, 1, 2) at t = 0.3")
    close(call(answer, a.copy(), a.copy(), 0.5), a, "From a to a", rtol=1e-3)


@exercise("04.7", hint="trace((A B)^(1/2)) is the sum of the square roots of the eigenvalues of A B.")
def frechet(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """The squared Fréchet distance between two Gaussians with means (D,) and covariances (D, D)."""
    values = np.linalg.eigvals(cov_a @ cov_b).real
    root = np.sqrt(np.clip(values, 0, None)).sum()
    return ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root


@frechet.checker
def _(answer: Callable[..., Any]) -> None:
    rng = np.random.default_rng(7)
    one, far = np.zeros(2), np.array([3.0, 4.0])
    close(call(answer, one, np.eye(2), far, 4 * np.eye(2)), 27.0, "Two round Gaussians, 5 apart: the distance")
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    cov_a, cov_b = a @ a.T, b @ b.T
    root = np.linalg.svd(a.T @ b, compute_uv=False).sum()  # another way to the same trace
    want = 3.0 + np.trace(cov_a) + np.trace(cov_b) - 2 * root
    close(call(answer, np.ones(3), cov_a, np.zeros(3), cov_b), want, "Two tilted Gaussians: the distance")
