"""Plausible wrong answers to the exercises of chapter 5; the checker must refuse each of them."""

from collections.abc import Callable

import numpy as np

from musicai.exercises.ch05 import drawn_at, joint_log_prob, lags_seen, longest_copy


def _underflowing(logit: Callable[[np.ndarray], float], frame: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        p = [1 / (1 + np.exp(-logit(frame[:n]))) for n in range(len(frame))]
        return float(np.log(np.prod([q if down else 1 - q for q, down in zip(p, frame, strict=True)])))


def _across(piece: list[int], corpus: list[list[int]]) -> int:
    return longest_copy.solve(piece, [[x for other in corpus for x in other]])


def _with_gaps(piece: list[int], corpus: list[list[int]]) -> int:
    best = 0
    for other in corpus:
        table = np.zeros((len(piece) + 1, len(other) + 1), int)
        for i, x in enumerate(piece):
            for j, y in enumerate(other):
                table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
        best = max(best, int(table[-1, -1]))
    return best


def _in_this_key(piece: list[int], corpus: list[list[int]]) -> int:
    runs = {tuple(other[i:j]) for other in corpus for j in range(len(other) + 1) for i in range(j)}
    return max((j - i for j in range(len(piece) + 1) for i in range(j) if tuple(piece[i:j]) in runs), default=0)


def _sharp(p: np.ndarray, temperature: float) -> np.ndarray:
    return p ** (1 / temperature) / (p ** (1 / temperature)).sum()


WRONG = {
    "05.1": [
        90,
        46,
        61,
        45,
        4096,
    ],
    "05.2": [
        lambda f, length: [k for k in range(length) if f(np.eye(length)[0])[k] != 0],
        lambda f, length: list(range(length)),
        lambda f, length: list(range(1 + max(lags_seen.solve(f, length)))),
        lambda f, length: [k + 1 for k in lags_seen.solve(f, length)],
    ],
    "05.3": [
        lambda logit, frame: sum(-np.logaddexp(0, -logit(frame[:0]) if d else logit(frame[:0])) for d in frame),
        lambda logit, frame: sum(-np.logaddexp(0, -logit(frame[:n])) for n, d in enumerate(frame) if d),
        lambda logit, frame: -joint_log_prob.solve(logit, frame),
        _underflowing,
    ],
    "05.4": [
        _sharp,
        lambda joint, temperature: joint,
        lambda joint, temperature: joint ** (1 / temperature),
        lambda joint, temperature: drawn_at.solve(joint, 1 / temperature),
        lambda joint, temperature: drawn_at.solve(joint.T, temperature).T,
    ],
    "05.5": [
        _across,
        _with_gaps,
        lambda piece, corpus: len(set(piece) & {x for other in corpus for x in other}),
        lambda piece, corpus: int(piece in corpus) * len(piece),
        _in_this_key,
    ],
}
