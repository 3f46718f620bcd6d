"""Exercises of chapter 4, GANs."""

import numpy as np

from .framework import exercise


@exercise(
    "04.1", "Where only real sounds are, D is 1. Where both are, q is twice p: take D* there, then both averages."
)
def half_missing() -> float:
    """The best discriminator's loss, in nats, if G plays only one of two equally common hills?"""
    return float(np.log(3) / 2 + np.log(3 / 2))


half_missing.cases("Your answer", rtol=1e-3)


@exercise("04.2", "Compare each with their mean (p + q) / 2, which is zero only where both are; 0 log 0 counts as 0.")
def jsd(p: np.ndarray, q: np.ndarray) -> float:
    """The Jensen-Shannon divergence, in nats, of two lists of probabilities; some may be zero."""
    m, total = (p + q) / 2, 0.0
    for one in (p, q):
        some = one > 0
        total += 0.5 * (one[some] * np.log(one[some] / m[some])).sum()
    return total


_PAIRS = [[[0.5, 0.5]] * 2, [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [[1, 0], [0, 1]], [[0, 0.4, 0.6], [0.1, 0.9, 0]]]
jsd.cases("The divergence of {} and {}", *(tuple(np.array(pair, dtype=float)) for pair in _PAIRS))


@exercise(
    "04.3", "With s the sigmoid, the slope of softplus(u) is s(u), that of softplus(-u) is s(u) - 1; divide by N."
)
def discriminator_slopes(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the logistic discriminator's loss in the logits (N,) of N real and of N generated sounds."""
    u = np.array([real, fake])
    return (1 / (1 + np.exp(-u)) - [[1], [0]]) / len(real)


_LOGITS = np.array([-4.0, -1.5, 0.0, 0.4, 3.0])
discriminator_slopes.cases("Your two rows of gradients for the logits {} and {}", (_LOGITS, _LOGITS[::-1] - 0.5))


@exercise("04.4", "Every input sample adds a scaled copy of the kernel, `stride` samples after the previous one.")
def transposed_convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """The transposed convolution of `x` (N,) with `kernel` (K,), without padding: ((N - 1) stride + K,)."""
    y = np.zeros((len(x) - 1) * stride + len(kernel))
    for n, value in enumerate(x):
        y[n * stride : n * stride + len(kernel)] += value * kernel
    return y


_rng = np.random.default_rng(4)
_SIZES = (4, 3, 1), (5, 4, 2), (3, 5, 4), (4, 2, 3)
_INPUTS = ((_rng.normal(size=n), _rng.normal(size=k), stride) for n, k, stride in _SIZES)
transposed_convolution.cases("The output for x = {}, kernel = {} and stride {}", *_INPUTS)


@exercise(
    "04.5",
    "Sort each real point's distances to all real points: the first is its own, 0; the k-th other is at index k.",
)
def covered(real: np.ndarray, made: np.ndarray, k: int) -> float:
    """The share of `real` (N, D) with a point of `made` (M, D) no farther than their k-th nearest other real point."""
    to_real, to_made = (np.linalg.norm(real[:, None] - other, axis=2) for other in (real, made))
    return float((to_made.min(1) <= np.sort(to_real, 1)[:, k]).mean())


_CROWD = _rng.normal(size=(7, 2)).round(1), _rng.normal(size=(3, 2)).round(1)
_LINE = np.array([[0.0], [1.0], [3.0], [10.0]]), np.array([[1.5], [1.5], [8.5]])
covered.cases("The coverage of {} by {} with k = {}", *((*_CROWD, k) for k in (1, 2, 4)), (*_LINE, 1), (*_LINE, 2))


@exercise("04.6", "With w the angle between a and b, weight a by sin((1 - t) w) / sin(w) and b by sin(t w) / sin(w).")
def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """The point at `t` in [0, 1] on the arc from `a` to `b`, vectors (D,) of equal length; the length is kept."""
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    w = np.arccos(np.clip(cosine, -1, 1))
    if np.isclose(np.sin(w), 0):
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


_UP, _SIDE, _A, _B = np.array([0.0, 3.0]), np.array([3.0, 0.0]), np.array([1.0, 2.0, 2.0]), np.array([-2.0, 1.0, 2.0])
_WALKS = *((_UP, _SIDE, t) for t in (0.0, 0.25, 0.5, 1.0)), (_A, _B, 0.3), (_A, _A, 0.5)
slerp.cases("From {} to {} at t = {} the point", *_WALKS)


@exercise("04.7", "trace((A B)^(1/2)) is the sum of the square roots of the eigenvalues of A B.")
def frechet(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """The squared Fréchet distance between two Gaussians with means (D,) and covariances (D, D)."""
    values = np.linalg.eigvals(cov_a @ cov_b).real
    root = np.sqrt(np.clip(values, 0, None)).sum()
    return ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root


_COVARIANCES = [np.eye(2), 4 * np.eye(2), *(m @ m.T for m in _rng.normal(size=(2, 3, 3)))]
_FAR = np.zeros(2), _COVARIANCES[0], np.array([3.0, 4.0]), _COVARIANCES[1]
_NEAR = np.ones(3), _COVARIANCES[2], np.zeros(3), _COVARIANCES[3]
frechet.cases("The distance between Gaussians with means {0} and {2} and covariances {1} and {3}", _FAR, _NEAR)
