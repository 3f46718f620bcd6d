"""Plausible wrong answers to the exercises of chapter 3; the checker must refuse each of them."""

import numpy as np

from musicai.exercises.ch03 import MEANS, STDS, WEIGHTS, responsibilities


def _responsibilities(x: np.ndarray) -> np.ndarray:
    return responsibilities.solve(x, WEIGHTS, MEANS, STDS)


def _log_joint(x: np.ndarray) -> np.ndarray:
    return np.log(WEIGHTS / STDS) - 0.5 * np.log(2 * np.pi) - 0.5 * ((x[:, None] - MEANS) / STDS) ** 2


def _direct(x: np.ndarray, weights: np.ndarray, means: np.ndarray, stds: np.ndarray) -> np.ndarray:
    joint = weights / stds * np.exp(-0.5 * ((x[:, None] - means) / stds) ** 2)
    with np.errstate(invalid="ignore"):
        return joint / joint.sum(1, keepdims=True)


def _stratified(weights, means, stds, n, rng):
    counts = np.round(weights * n).astype(int)
    return rng.permutation(rng.normal(np.repeat(means, counts), np.repeat(stds, counts)))


def _global_random(weights, means, stds, n, rng):
    k = np.random.choice(len(weights), size=n, p=weights)  # noqa: NPY002
    return np.random.normal(means[k], stds[k])  # noqa: NPY002


def _fixed_noise(weights, means, stds, n, rng):
    k = rng.choice(len(weights), size=n, p=weights)
    return means[k] + stds[k] * np.random.default_rng(0).standard_normal(n)


WRONG = {
    "03.1": [
        1848,
        3367,
        327,
        1840,
        "1847",
    ],
    "03.2": [
        lambda x, mean, std: -0.5 * ((x - mean) / std) ** 2,
        lambda x, mean, std: -np.log(std) - 0.5 * np.log(2 * np.pi) - 0.5 * (x - mean) ** 2 / std,
        lambda x, mean, std: np.log(1e-300 + np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))),
    ],
    "03.3": [
        _direct,
        lambda x, weights, means, stds: _responsibilities(x).T,
        lambda x, weights, means, stds: np.eye(3)[_responsibilities(x).argmax(1)],
        lambda x, weights, means, stds: np.exp(_log_joint(x)),
    ],
    "03.4": [
        lambda x, r: (r.sum(0), r.T @ x / r.sum(0), np.ones(3)),
        lambda x, r: (r.mean(0), r.T @ x / len(x), np.ones(3)),
        lambda x, r: (r.mean(0), r.T @ x / r.sum(0), (r * (x[:, None] - r.T @ x / r.sum(0)) ** 2).sum(0) / r.sum(0)),
        lambda x, r: (np.full(3, 1 / 3), r.T @ x / r.sum(0), np.ones(3)),
        lambda x, r: r.mean(0),
    ],
    "03.5": [
        lambda log_likelihood, n, k, d: -2 * log_likelihood + 2 * (k - 1 + 2 * k * d),
        lambda log_likelihood, n, k, d: -2 * log_likelihood + np.log(n) * (k + 2 * k * d),
        lambda log_likelihood, n, k, d: -2 * n * log_likelihood + np.log(n) * (k - 1 + 2 * k * d),
        lambda log_likelihood, n, k, d: log_likelihood - np.log(n) * (k - 1 + 2 * k * d),
    ],
    "03.6": [
        lambda weights, means, stds, n, rng: rng.normal(weights @ means, 1.5, n),
        lambda weights, means, stds, n, rng: rng.normal(means, stds, (n, 3)) @ weights,
        lambda weights, means, stds, n, rng: rng.normal(means[k := rng.integers(3, size=n)], stds[k]),
        lambda weights, means, stds, n, rng: means[rng.choice(3, size=n, p=weights)],
        _stratified,
        _global_random,
        _fixed_noise,
        lambda weights, means, stds, n, rng: np.sort(rng.normal(means[k := rng.choice(3, size=n, p=weights)], stds[k])),
    ],
    "03.7": [
        lambda scores, penalty: scores.argmax(1),
        lambda scores, penalty: np.full(len(scores), scores.sum(0).argmax()),
        lambda scores, penalty: np.repeat([0, 2, 1], 5),
    ],
}
