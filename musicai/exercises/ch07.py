"""Exercises of chapter 7, composing."""

from itertools import pairwise, product

import numpy as np

from .framework import Wrong, call, exercise

CHORDS = {"I": {0, 4, 7}, "IV": {0, 5, 9}, "V": {2, 7, 11}}
TUNES = [
    [67, 69, 71, 67, 69, 71, 72, 74, 71, 67],
    [74, 71, 67, 69, 71, 69, 67, 64, 62],
    [62, 67, 69, 71, 67, 69, 74, 72],
]


@exercise("07.1", hint="Each bit that a note saves doubles the tune's probability; log10(2) is 0.301.")
def power_of_ten() -> float:
    """One model needs 3.1 bits per note and another 1.9. The second finds a 96-note tune 10**x likelier; what is x?"""
    return 96 * (3.1 - 1.9) * float(np.log10(2))


power_of_ten.cases("Your power of ten", rtol=0.01)


@exercise("07.2", hint="Put all pairs of neighbours into a set; each symbol's share is how many of them end in it.")
def continuation(line: list[int], symbols: int) -> np.ndarray:
    """Kneser and Ney's distribution (symbols,): the share of the different pairs of neighbours in `line` that end in
    each of the symbols 0, 1, ..., symbols - 1."""
    ends = [b for _, b in set(pairwise(line))]
    return np.bincount(ends, minlength=symbols) / len(ends)


continuation.cases("The distribution for {0}", ([0, 1, 0, 1, 0, 1, 2, 1, 3], 5), ([1, 0, 2, 0, 3, 0, 1, 1, 0], 4))


@exercise("07.3", hint="Try the last `order` notes, then one fewer, down to none; stop at the first with followers.")
def back_off_composer(tunes: list[list[int]], start: list[int], order: int, chances: list[float]) -> list[int]:
    """Continue `start` by one pitch per number in `chances`. List what follows the last `order` pitches wherever they
    stand in `tunes`, in order; if nothing does, back off to one pitch fewer. Take item int(chance * len(list))."""
    line = list(start)
    for chance in chances:
        for n in range(min(order, len(line)), -1, -1):
            past = line[len(line) - n :]
            after = [tune[i + n] for tune in tunes for i in range(len(tune) - n) if tune[i : i + n] == past]
            if after:
                break
        line.append(after[int(chance * len(after))])
    return line


back_off_composer.cases(
    "The melody composed from {1} with order {2}",
    *((TUNES, start, order, np.random.default_rng(order).random(12).tolist())
      for order, start in enumerate(([60], [67], [67, 69], [71, 67, 69], [50, 74, 71]))),
)  # fmt: skip


@exercise("07.4", hint="Make a set of each melody's notes; F1 is twice the number in common over the sum of the sizes.")
def closeness(melody: list[tuple[float, int]], source: list[tuple[float, int]]) -> float:
    """The F1 of the notes that both have: 1 for the same melody, 0 for nothing in common. Melodies are lists of
    (start, pitch)."""
    one, other = set(melody), set(source)
    return 2 * len(one & other) / (len(one) + len(other))


_SOURCE = [(0.0, 67), (1.0, 69), (1.5, 71), (2.0, 67), (3.0, 64)]
_TUNES = _SOURCE, [(0.5, 67), (1.0, 69), (1.5, 72), (2.0, 67)], [(start + 4, pitch) for start, pitch in _SOURCE]
_TUNES += ([*_SOURCE, (4.0, 60), (5.0, 60), (6.0, 60)],)
closeness.cases("The closeness of {0} to {1}", *((tune, _SOURCE) for tune in _TUNES))


@exercise("07.5", hint="Keep the best score of a path to each state, and the state before it; then walk back.")
def viterbi(start: np.ndarray, move: np.ndarray, seen: np.ndarray) -> list[int]:
    """The likeliest path of states, from logs: start (K,), move (K, K) from row to column, seen (T, K) per moment."""
    score, came = start + seen[0], []
    for now in seen[1:]:
        ways = score[:, None] + move
        came.append(ways.argmax(0))
        score = ways.max(0) + now
    path = [int(score.argmax())]
    for back in came[::-1]:
        path.append(int(back[path[-1]]))
    return path[::-1]


def _model(states: int, moments: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random logs, in which neither the start nor what is seen first may be ignored."""
    start, move, seen = (_rng.normal(0, 2, shape) for shape in (states, (states, states), (moments, states)))
    (seen[0] if states == 3 else start)[(start + seen[0]).argmin()] += 30
    return start, move, seen


_rng = np.random.default_rng(7)
viterbi.cases("The path for start = {}, move = {} and seen = {}", _model(2, 1), _model(3, 5), _model(5, 20), atol=0)


@exercise("07.6", hint="With three chords, you may simply try all sequences that obey the rules, and keep the best.")
def harmonise(bars: list[list[tuple[int, float]]]) -> list[str]:
    """One chord per bar, so that as many beats as possible fall on its tones, in any octave: "I" (0, 4, 7), "IV"
    (5, 9, 0) or "V" (7, 11, 2). Bars are lists of (semitones above the tonic, beats). Begin and end with I; IV must
    never follow V."""
    choices = [sequence for sequence in product(CHORDS, repeat=len(bars)) if not _broken_rule(sequence, bars)]
    return list(max(choices, key=lambda sequence: _beats_on_chord(sequence, bars)))


def _broken_rule(chords, bars) -> str | None:
    if len(chords) != len(bars) or not all(isinstance(chord, str) and chord in CHORDS for chord in chords):
        return 'Give one chord per bar, "I", "IV" or "V".'
    if chords[0] != "I" or chords[-1] != "I":
        return "The first and the last chord must be I."
    return "IV follows V." if ("V", "IV") in pairwise(chords) else None


def _beats_on_chord(chords, bars) -> float:
    return sum(b for chord, bar in zip(chords, bars, strict=True) for tone, b in bar if tone % 12 in CHORDS[chord])


@harmonise.checker
def _(answer):
    rng = np.random.default_rng(9)
    for count in (1, 2, 4, 6, 7, 8):
        tones, beats = rng.choice([-8, -5, 0, 2, 5, 9, 11, 14, 16], (count, 3)), rng.choice([0.25, 1, 3], (count, 3))
        bars = [list(zip(*bar, strict=True)) for bar in zip(tones.tolist(), beats.tolist(), strict=True)]
        got = call(answer, [list(bar) for bar in bars])
        if why := _broken_rule(got, bars):
            raise Wrong(f"With {count} bar{'s'[: count - 1]}: {why}")
        best, reached = (_beats_on_chord(chords, bars) for chords in (harmonise(bars), got))
        if reached < best:
            raise Wrong(f"With {count} bars, your chords hold {reached:g} beats of the melody; {best:g} are possible.")
