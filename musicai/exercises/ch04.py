"""Exercises of chapter 4, GANs."""

import numpy as np

from .framework import exercise


@exercise("04.1", "In that case the best discriminator outputs 1/2 everywhere; put that into its loss.")
def stalemate() -> float:
    """The best discriminator's loss (cross-entropy, in nats) if generated data are just like real data?"""
    return float(np.log(4))


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


@exercise("04.3", "With s the sigmoid, the derivative of softplus(u) is s(u). Mind the signs: both are minimised.")
def generator_slopes(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the minimax and the non-saturating generator loss in the logits `u` of generated sounds."""
    s = 1 / (1 + np.exp(-u))
    return -s, s - 1


generator_slopes.cases("Your two rows of gradients at u = {}", (np.array([-4.0, -1.5, 0.0, 0.4, 3.0]),))


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


@exercise("04.5", "np.pad(x, (left, right), mode='reflect') fills the gap; then cut out the same length again.")
def phase_shuffle(x: np.ndarray, shift: int) -> np.ndarray:
    """`x` (N,) moved `shift` samples to the right (left if negative), the gap filled by reflection; again (N,)."""
    padded = np.pad(x, (max(shift, 0), max(-shift, 0)), mode="reflect")
    return padded[: len(x)] if shift > 0 else padded[-len(x) :]


phase_shuffle.cases("{} moved by {}", *((np.array([3.0, -1.0, 4.0, 1.5, -5.0, 9.0]), n) for n in (0, 1, 2, -1, -2)))


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
