"""Plausible wrong answers to the exercises of chapter 7; the checker must refuse each of them."""

from itertools import pairwise, product

import numpy as np

from musicai.exercises.ch07 import viterbi  # right, until it is given something else

CHORDS = {"I": {0, 4, 7}, "IV": {0, 5, 9}, "V": {2, 7, 11}}


def _composer(back_off=True, shortest=False, unique=False):
    """A composer that gives up instead of backing off, starts with the shortest past, or forgets the counts."""

    def compose(tunes, start, order, chances):
        line = list(start)
        for chance in chances:
            lengths = range(min(order, len(line)), -1, -1)
            for n in reversed(lengths) if shortest else lengths:
                past = line[len(line) - n :]
                after = [tune[i + n] for tune in tunes for i in range(len(tune) - n) if tune[i : i + n] == past]
                after = list(dict.fromkeys(after)) if unique else after
                if after or not back_off:
                    break
            line.append(after[int(chance * len(after))] if after else line[-1])
        return line

    return compose


def _greedy(start, move, seen):
    """The best state of each moment, given the last."""
    path = [int((start + seen[0]).argmax())]
    for now in seen[1:]:
        path.append(int((move[path[-1]] + now).argmax()))
    return path


def _anywhere(start, move, seen):
    """The best path, whatever it costs to begin there."""
    return viterbi(np.zeros_like(start), move, seen)


def _backwards(start, move, seen):
    """Moves from column to row."""
    return viterbi(start, move.T, seen)


def _bar_by_bar(bars):
    """The best chord of each bar, whatever the rules say."""
    return [max(CHORDS, key=lambda chord: sum(beats for tone, beats in bar if tone in CHORDS[chord])) for bar in bars]


def _by(worth):
    """Within the rules, the best chords for another idea of what a note is worth."""

    def harmonise(bars):
        allowed = (
            chords
            for chords in product(CHORDS, repeat=len(bars))
            if chords[0] == chords[-1] == "I" and ("V", "IV") not in pairwise(chords)
        )

        def total(chords):
            return sum(worth(*note, CHORDS[c]) for c, bar in zip(chords, bars, strict=True) for note in bar)

        return list(max(allowed, key=total))

    return harmonise


def _mended(bars):
    """Bar by bar, with I at both ends and wherever IV would follow V."""
    chords = _bar_by_bar(bars)
    chords[0] = chords[-1] = "I"
    for i in range(1, len(chords)):
        if (chords[i - 1], chords[i]) == ("V", "IV"):
            chords[i] = "I"
    return chords


WRONG = {
    "07.1": [96 * 1.2, 1.2 * np.log10(2), 96 * 1.2 * np.log(2), 10 ** (1.2 * np.log10(2)), 3.1 / 1.9],
    "07.2": [
        lambda line, symbols: np.bincount(line, minlength=symbols) / len(line),
        lambda line, symbols: np.bincount(line[1:], minlength=symbols) / (len(line) - 1),
        lambda line, symbols: (
            np.bincount([a for a, _ in set(pairwise(line))], minlength=symbols) / len(set(pairwise(line)))
        ),
        lambda line, symbols: np.bincount([b for _, b in set(pairwise(line))], minlength=symbols) / len(set(line)),
    ],
    "07.3": [
        _composer(back_off=False),
        _composer(shortest=True),
        _composer(unique=True),
        lambda tunes, start, order, chances: list(start),
    ],
    "07.4": [
        lambda melody, source: len(set(melody) & set(source)) / len(set(source)),
        lambda melody, source: len(set(melody) & set(source)) / len(set(melody)),
        lambda melody, source: len(set(melody) & set(source)) / len(set(melody) | set(source)),
        lambda melody, source: len({p for _, p in melody} & {p for _, p in source}) / len({p for _, p in source}),
    ],
    "07.5": [
        _greedy,
        _anywhere,
        lambda start, move, seen: viterbi(start - seen[0], move, seen),
        _backwards,
        lambda start, move, seen: seen.argmax(1).tolist(),
        lambda start, move, seen: [0] * len(seen),
    ],
    "07.6": [
        _bar_by_bar,
        _mended,
        _by(lambda tone, _beats, chord: tone % 12 in chord),
        _by(lambda tone, beats, chord: beats * (tone in chord)),
        lambda bars: ["I"] * len(bars),
        lambda bars: "I" * len(bars),
    ],
}
