"""How sure are we? The probability that the best match is right, and when to say "not in here". Chapter 6.

A logistic regression on what is known about the best match, fitted by `scripts/fit_search.py` to queries whose tune was
in the index and to others whose tune was not.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

KINDS = ("pitches", "notes", "sound")


def measure_margin(score: float, others: Sequence[float], kind: str = "notes") -> float:
    """How much higher a score is than what other tunes reach by chance: than the mean of the next four.

    A single runner-up may be a version of the tune that nobody knows to be one; four hardly ever are.

    >>> measure_margin(20.0, [12.0, 9.0, 8.0, 7.0, 6.0]), measure_margin(20.0, [12.0]), measure_margin(20.0, [])
    (11.0, 8.0, 20.0)

    Args:
        score: of a match.
        others: those of other tunes, best first. If there are fewer than four, their mean counts; if none, 0.
        kind: of query. Of costs of warping, only the next one counts.

    Returns: the difference.

    Chapter 6.
    """
    return score - float(np.mean(others[: 1 if kind == "sound" else 4] or 0.0))


def features(score: float, margin: float, notes: float, size: int, kind: str = "notes") -> np.ndarray:
    """What the probability depends on.

    >>> features(24.0, 6.0, 12, 4248).round(1)
    array([ 1. , 2. , 24. , 6. , 1.9, 2.5, 8.4])

    Args:
        score: of the best match, higher is better: nats from `align_all` or `weigh`, or minus the cost of warping.
        margin: how much higher it is than those of the next tunes, as `measure_margin` says.
        notes: in the query; for sound, its length in seconds.
        size: how many lines were searched.
        kind: of query. Of costs of warping, not the difference to the next tunes counts but the ratio.

    Returns: (7,), or (5,) for sound, among them a constant.

    Chapter 6.
    """
    margin, length = max(margin, 0.0), max(notes, 1)
    if kind == "sound":
        cost = 0.01 + max(-score, 0.0)
        return np.log([np.e, cost, (cost + margin) / cost, length, max(size, 1)])
    return np.array([1.0, score / length, score, margin, np.log1p(margin), np.log(length), np.log(max(size, 1))])


def probability(score: float, margin: float, notes: float, size: int, kind: str = "notes") -> float:
    """Estimate how likely it is that the best match is right.

    >>> probability(60.0, 30.0, 16, 4248) > 0.9 > 0.5 > probability(10.0, 0.1, 8, 4248)
    True

    Args:
        score, margin, notes, size: as for `features`.
        kind: of query: "pitches", "notes" (with rhythm) or "sound".

    Returns: from 0 to 1; calibrated, so that of all matches with probability 0.8, about four in five are right.

    Raises:
        ValueError: for an unknown kind.

    Chapter 6.
    """
    logit = features(score, margin, notes, size, kind) @ np.array(_fitted(kind)["coefficients"])
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def threshold(kind: str = "notes", notes: float = 12) -> float:
    """The probability below which a match is marked as unlikely.

    At most 1 % of the queries whose tune is not in the index get above it.

    >>> 0 < threshold() < 1
    True

    Args:
        kind: of query: "pitches", "notes" (with rhythm) or "sound".
        notes: in the query; for sound, its length in seconds.

    Returns: from 0 to 1.

    Raises:
        ValueError: for an unknown kind.

    Chapter 6.
    """
    constant, slope = _fitted(kind)["threshold"]
    return float(1 / (1 + np.exp(-constant - slope * np.log(max(notes, 1)))))


@cache
def _fitted(kind: str) -> dict:
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is not one of {', '.join(KINDS)}")
    return json.loads(Path(__file__).with_name("fitted.json").read_text())["confidence"][kind]
