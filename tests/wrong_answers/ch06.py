"""Plausible wrong answers to the exercises of chapter 6; the checker must refuse each of them."""

import numpy as np


def _in_place(query, tune):
    """Errors of the best stretch of the same length: nothing missing, nothing extra."""
    lengths = range(max(1, len(tune) - len(query) + 1))
    return min(sum(a != b for a, b in zip(query, tune[i:], strict=False)) for i in lengths)


def _whole(query, tune):
    """The edit distance to the whole tune."""
    D = np.zeros((len(query) + 1, len(tune) + 1), dtype=int)
    D[:, 0], D[0] = range(len(query) + 1), range(len(tune) + 1)
    for i, j in np.ndindex(len(query), len(tune)):
        D[i + 1, j + 1] = min(D[i, j] + (query[i] != tune[j]), D[i, j + 1] + 1, D[i + 1, j] + 1)
    return int(D[-1, -1])


def _least_squares(clip, file):
    speed, start = np.polyfit(clip, file, 1)
    return speed, start


def _median(clip, file):
    return 1.0, float(np.median(file - clip))


WRONG = {
    "06.1": [
        9 - 3,
        9 - 2,
        8,
        9,
    ],
    "06.2": [
        lambda rankings, right: np.mean([r[0] == one for r, one in zip(rankings, right, strict=True)]),
        lambda rankings, right: np.mean([one in r for r, one in zip(rankings, right, strict=True)]),
        lambda rankings, right: np.mean([1 / (1 + r.index(o)) for r, o in zip(rankings, right, strict=True) if o in r]),
        lambda rankings, right: 1 / np.mean([1 + r.index(o) for r, o in zip(rankings, right, strict=True) if o in r]),
    ],
    "06.3": [
        _in_place,
        _whole,
        lambda query, tune: len(query) - len(set(query) & set(tune)),
        lambda query, tune: 0 if any(tune[i : i + len(query)] == query for i in range(len(tune))) else len(query),
    ],
    "06.4": [
        lambda same, unrelated: np.log((same + 1) / (unrelated + 1)),
        lambda same, unrelated: np.log2((same + 1) / (same + 1).sum() / ((unrelated + 1) / (unrelated + 1).sum())),
        lambda same, unrelated: (same + 1) / (same + 1).sum() / ((unrelated + 1) / (unrelated + 1).sum()),
        lambda same, unrelated: np.log((same + 1) / (same + 1).sum()),
    ],
    "06.5": [
        _least_squares,
        _median,
        lambda clip, file: (1.0, float(file[0] - clip[0])),
        lambda clip, file: _least_squares(clip, file)[::-1],
    ],
    "06.6": [
        lambda audio, sr, tunes: next(iter(tunes)),
        lambda audio, sr, tunes: min(tunes, key=lambda name: len(tunes[name])),
        lambda audio, sr, tunes: 0,
    ],
}
