"""Plausible wrong answers to the exercises of chapter 1; the checker must refuse each of them."""

from itertools import chain, islice, pairwise

import numpy as np


def _swap_neighbours(items, size, rng):
    for item in items:
        yield from chain(islice(items, 1), [item])


def _block_by_block(items, size, rng):
    while block := list(islice(items, size)):
        yield from rng.permutation(block).tolist()


def _buffered(items, size, draw, shuffle):
    waiting = list(islice(items, size))
    for item in items:
        i = int(draw(len(waiting)))
        yield waiting[i]
        waiting[i] = item
    yield from list(shuffle(waiting))


def _unshuffled_tail(items, size, rng):
    return _buffered(items, size, rng.integers, list)


def _global_random(items, size, rng):
    return _buffered(items, size, np.random.randint, np.random.permutation)


def _fixed_tail(items, size, rng):
    return _buffered(items, size, rng.integers, np.random.default_rng(0).permutation)


def _reads_ahead(items, size, rng):
    everything = list(items)
    yield from _unshuffled_tail(iter(everything), size, rng)


def _folded(tune):
    return (np.diff(tune) % 12).tolist()


def _kinds(tunes):
    return {tuple(np.diff(tune)) for tune in tunes}


WRONG = {
    "01.1": [
        5_292_000,
        84_672_000,
        176_400,
        "10584000",
        -10_584_000,
    ],
    "01.2": [
        lambda frequency, sr: frequency % sr,
        lambda frequency, sr: abs(sr - frequency),
        lambda frequency, sr: min(frequency, sr / 2),
        lambda frequency, sr: None,
    ],
    "01.3": [
        lambda y, mu: y,
        lambda y, mu: ((1 + mu) ** np.abs(y) - 1) / mu,
        lambda y, mu: ((1 + mu) ** y - 1) / mu,
        lambda y, mu: np.sign(y) * np.log1p(mu * np.abs(y)) / np.log1p(mu),
        lambda y, mu: np.array([np.sign(v) * ((1 + mu) ** abs(v) - 1) / mu for v in y.ravel()]),  # one dimension only
    ],
    "01.4": [
        lambda pitches: "*" + "".join("U" if b > a else "D" for a, b in pairwise(pitches)),
        lambda pitches: "".join("U" if b >= a else "D" for a, b in pairwise(pitches)),
        lambda pitches: "".join("DUR"[0 if b > a else 1 if b < a else 2] for a, b in pairwise(pitches)),
        lambda pitches: list("RURURD"),
    ],
    "01.5": [
        lambda tune, query: any(tune[i : i + len(query)] == query for i in range(len(tune))),
        lambda tune, query: set(np.diff(query)) <= set(np.diff(tune)),
        lambda tune, query: np.diff(query).tolist() == np.diff(tune).tolist()[: len(query) - 1],
        lambda tune, query: True,
        lambda tune, query: str(np.diff(query).tolist())[1:-1] in str(np.diff(tune).tolist()),
    ],
    "01.6": [
        lambda train, test: sum(tune in train for tune in test) / len(test),
        lambda train, test: sum(tuple(np.diff(tune)) in {tuple(np.diff(t)) for t in train} for tune in test),
        lambda train, test: (
            sum(tuple(np.diff(tune)) in {tuple(np.diff(t)) for t in train} for tune in test) / len(train)
        ),
        lambda train, test: sum(len(tune) in map(len, train) for tune in test) / len(test),
        lambda train, test: np.mean([any(_folded(a) == _folded(b) for a in train) for b in test]),
        lambda train, test: len(_kinds(test) & _kinds(train)) / len(_kinds(test)),
    ],
    "01.7": [
        lambda items, size, rng: iter(rng.permutation(list(items)).tolist()),
        lambda items, size, rng: iter(items),
        lambda items, size, rng: islice(items, size),
        lambda items, size, rng: [next(items)] * 40,
        _swap_neighbours,
        _unshuffled_tail,
        _fixed_tail,
        _global_random,
        _reads_ahead,
        _block_by_block,
    ],
}
