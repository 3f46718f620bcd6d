"""Exercises of chapter 3, Gaussian mixtures."""

import numpy as np

from .framework import Wrong, as_numbers, call, close, exercise

WEIGHTS, MEANS, STDS = np.array([0.5, 0.3, 0.2]), np.array([-1.0, 0.5, 3.0]), np.array([0.4, 1.0, 0.2])


@exercise("03.1", "A symmetric D x D matrix has D (D + 1) / 2 free entries; the weights sum to one.")
def free_numbers() -> int:
    """How many free parameters does a mixture of 8 Gaussians in 20 dimensions have, with full covariances?"""
    return 8 * (20 * 21 // 2) + 8 * 20 + 7


@exercise("03.2", "Take the logarithm on paper first. The product becomes a sum, and nothing is left to underflow.")
def log_gaussian(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    """The log density of a Gaussian at `x`, of any shape; finite even a thousand `std` away from the mean."""
    return -np.log(std) - 0.5 * np.log(2 * np.pi) - 0.5 * ((x - mean) / std) ** 2


_POINTS, _GAUSSIANS = np.array([-2.0, 0.0, 0.7, 900.0]), ((0.0, 1.0), (0.7, 0.25), (-3.0, 2.0))
log_gaussian.cases("The log density with mean {1} and std {2}", *((_POINTS, *gaussian) for gaussian in _GAUSSIANS))


@exercise("03.3", "Work with logarithms, and subtract each row's maximum before you take the exponential.")
def responsibilities(x: np.ndarray, weights: np.ndarray, means: np.ndarray, stds: np.ndarray) -> np.ndarray:
    """The E step: (N, K) for data `x` (N,) and K Gaussians; rows sum to one, even for an x far from all of them."""
    joint = np.log(weights) - np.log(stds) - 0.5 * ((x[:, None] - means) / stds) ** 2
    shares = np.exp(joint - joint.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


responsibilities.cases("Your answer for x = {}", (np.array([-1, 0.2, 1.5, 3.1, -300, 500]), WEIGHTS, MEANS, STDS))


@exercise("03.4", "Sum r for the counts, average with r / count, and measure the spread around the new means.")
def m_step(x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The M step: weights, means and stds, each (K,), from data `x` (N,) and responsibilities `r` (N, K)."""
    count = r.sum(0)
    means = (r * x[:, None]).sum(0) / count
    stds = np.sqrt((r * (x[:, None] - means) ** 2).sum(0) / count)
    return count / len(x), means, stds


_X = np.array([-1.4, -0.8, -0.9, 0.1, 0.8, 2.9, 3.2, 1.2])
m_step.cases("Your answer (weights, means, stds)", (_X, responsibilities.solve(_X, WEIGHTS, MEANS, STDS)))


@exercise("03.5", "-2 log likelihood + log(N) per free parameter: K - 1 weights, K D means, K D variances.")
def bic(log_likelihood: float, n: int, k: int, d: int) -> float:
    """The BIC of a diagonal mixture: `log_likelihood` of all `n` rows, `k` components, `d` dimensions."""
    return -2 * log_likelihood + np.log(n) * (k - 1 + 2 * k * d)


bic.cases("The BIC of {2} components in {3} dimensions", (-1234.5, 500, 3, 2), (10.0, 80, 1, 19), (-9e4, 1749, 12, 38))


@exercise("03.6", "First draw a component for each sample with rng.choice(..., p=weights), then one Gaussian number.")
def draw(weights: np.ndarray, means: np.ndarray, stds: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` samples (n,) of the mixture."""
    component = rng.choice(len(weights), size=n, p=weights)
    return means[component] + stds[component] * rng.standard_normal(n)


@draw.checker
def _(answer):
    n = 20_000
    got = as_numbers(call(answer, WEIGHTS, MEANS, STDS, n, np.random.default_rng(5)), "Your samples")
    if got.shape != (n,) or (np.diff(got) >= 0).all():
        raise Wrong(f"There should be {n} samples in one row and in random order; the shape of yours is {got.shape}.")
    for low, high, share in ((-9, -0.4, 0.522), (-0.4, 2.3, 0.267), (2.3, 9, 0.211)):
        close(np.mean((got > low) & (got < high)), share, f"The share from {low} to {high}", rtol=0, atol=0.015)
    close(got[got > 2.3].std(), 0.22, "The spread of the third component", rtol=0, atol=0.05)
    few = [_fifty(answer, seed) for seed in range(100)]
    differ = len({value for samples in few for value in samples.flat}) > 4_000
    differ &= np.var([(samples > 2.3).sum() for samples in few]) > 4
    if not differ or not np.array_equal(few[0], _fifty(answer, 0)):
        raise Wrong("How many samples each component gives should vary by chance, and `rng` alone should decide.")


def _fifty(answer, seed: int) -> np.ndarray:
    return as_numbers(call(answer, WEIGHTS, MEANS, STDS, 50, np.random.default_rng(seed)), "Your samples")


@exercise("03.7", "Keep the best score of a path that ends in each class; at each frame compare staying and switching.")
def best_path(scores: np.ndarray, penalty: float) -> np.ndarray:
    """The labels (T,) that maximise the sum of their `scores` (T, C) minus `penalty` per change of label."""
    best, came = scores[0], np.zeros(scores.shape, dtype=int)
    for t in range(1, len(scores)):
        jump = best.max() - penalty
        came[t] = np.where(best >= jump, np.arange(len(best)), best.argmax())
        best = np.maximum(best, jump) + scores[t]
    path = [int(best.argmax())]
    for t in range(len(scores) - 1, 0, -1):
        path.append(int(came[t, path[-1]]))
    return np.array(path[::-1])


_SCORES = np.random.default_rng(3).normal(size=(15, 3)) + 1.5 * np.eye(3)[np.repeat([0, 2, 1], 5)]  # no two paths tie
best_path.cases("Your path with penalty {1}", *((_SCORES, penalty) for penalty in (0.0, 1.0, 4.0, 1e6)))
