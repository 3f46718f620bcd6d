"""Four voices in Bach's manner: his own voicings, chained so that every voice moves well. Chapter 7.

A hidden Markov model whose states are the 2,113 four-note chords of the training chorales, each as Bach wrote it. The
states of a beat are those with the melody's note on top. What they cost is counted in the chorales: which harmony
follows which, how Bach places its notes, and how far alto, tenor and bass move. Parallel fifths and octaves cost too
much to be worth it. A path knows the melody's next notes, as the chorale WaveNet of chapter 5 does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, islice, pairwise

import numpy as np

from musicai.data import JSBChorales
from musicai.notes import Melody, Note, Score, Track

from .harmony import SCALES, SLACK, best_path, foreign_tones, key_of, rhythm_of, smoothed, sounding, spans_of

VOICES = ("soprano", "alto", "tenor", "bass")
SOPRANO = (72, 93)  # where the chorales, which are in C here, have nearly all notes of the soprano
MIDDLE = 83  # of the soprano in the chorales, which lie an octave higher than they are sung
CHOIR = 52  # General MIDI program
PARALLEL, WRONG_THIRD, FOREIGN = 8.0, 50.0, 1.5  # nats; the last for each note outside the scale, as in `harmony`
PLACING, MOVING = 0.2, 0.4  # what both count for beside the harmony (chosen on the validation split)
STILL = 1.0  # what it costs to stay while the melody moves: the best paths would be stiller than Bach
BACKING = 3.0  # counts of the single harmonies that stand behind each row of steps
REACH = 12  # semitones: the widest move of a voice that is counted


@dataclass(frozen=True)
class VoiceTables:
    """What the chorales teach: N voicings of C harmonies, and log probabilities in major (row 0) and minor (row 1).

    >>> voice_tables().chords.shape  # doctest: +SKIP
    (2113, 4)

    Args:
        chords: (N, 4), MIDI pitches, the soprano first.
        harmony: (N,), which harmony each of them is: its bass and its pitch classes.
        placing: (N,), the voicing given the harmony.
        first: (2, C), the opening harmony.
        last: (2, C), the closing harmony.
        steps: (2, C, C), the next harmony given the last.
        moves: (2, 3, 25), the semitones, from -12 on, that alto, tenor and bass move while the soprano stays or moves.

    Chapter 7.
    """

    chords: np.ndarray
    harmony: np.ndarray
    placing: np.ndarray
    first: np.ndarray
    last: np.ndarray
    steps: np.ndarray
    moves: np.ndarray


def four_voices(
    melody: Melody, *, key: str | None = None, pickup: float = 0.0, temperature: float = 0.5, seed: int = 0
) -> Score:
    """Set a melody for soprano, alto, tenor and bass in the manner of Bach's chorales.

    >>> hymn = Melody.from_pitches([67, 67, 69, 71, 72, 71, 69, 67], key="G major")
    >>> [track.name for track in four_voices(hymn, temperature=0).tracks]
    ['soprano', 'alto', 'tenor', 'bass']

    There is one chord per beat (a dotted quarter in 6/8), below the melody's note at the beginning of the beat. The
    voices strike with the melody, and rest with it.

    Args:
        melody: the soprano, kept exactly; the other voices lie below it, in their usual range if possible.
        key: such as "D minor"; None for the melody's own key, estimated if it names none.
        pickup: how many beats come before the first full bar.
        temperature: 0 for the best path; up to 1 to draw from the model.
        seed: the seed of the draw.

    Returns: a score with tracks "soprano", "alto", "tenor" and "bass".

    Raises:
        ValueError: if the melody has no notes, or its key is neither given nor can be estimated.

    Source: Allan and Williams, "Harmonising chorales by probabilistic inference" (NIPS 2005). Chapter 7.
    """
    melody = melody if key is None else replace(melody, key=key)
    tonic, mode = key_of(melody)
    spans = beats_of(melody, pickup)
    up = 12 * round((MIDDLE - np.median(melody.pitches) + tonic) / 12) - tonic  # to C, where the chorales are
    states, scores, step = build_chain([(top + up, lowest + up) for *_, top, lowest in spans], mode)
    path = best_path(scores, step, temperature, seed)
    best = np.array([chords[i] for chords, i in zip(states, path, strict=True)])
    home = max(up, 6 + (up - 6) % 12)  # below a high melody, the other voices stay where they are at home
    return write_score(melody, spans, best - [up, home, home, home])


def beats_of(melody: Melody, pickup: float = 0.0) -> list[tuple[float, float, bool, int, int]]:
    """The beats in which a melody sounds: (start, end, whether voices strike, first pitch, lowest).

    A beat is a quarter or, in metres counted in eighths, what `rhythm_of` says. The voices strike where the melody
    does, and at the beginning of each bar.
    """
    bar, edges, found = sum(rhythm_of(melody.time_signature)), spans_of(melody, pickup)[0], []
    if melody.time_signature[1] <= 4:
        edges = np.unique([0.0, *np.arange(pickup % 1, melody.duration + 1 - SLACK)])
    for start, end in pairwise(edges.tolist()):
        if heard := sounding(melody, start, end):
            strikes = (start - pickup + SLACK) % bar < 2 * SLACK or any(note.start > start - SLACK for note in heard)
            found.append((start, min(end, melody.duration), strikes, heard[0].pitch, min(n.pitch for n in heard)))
    return found


def build_chain(tops: Sequence[tuple[int, int]], mode: str) -> tuple:
    """The states of each beat, (K, 4) pitches, their scores (K,), and the function that scores the steps between them.

    Args:
        tops: for each beat, the pitch that the soprano has in C, and the lowest that it has before the next beat.
        mode: one of `SCALES`.
    """
    tables, minor = voice_tables(), int(3 in SCALES[mode])
    states, chosen = zip(*(states_below(*top) for top in tops), strict=True)
    foreign = FOREIGN * foreign_tones(mode)
    scores = [PLACING * tables.placing[i] - foreign[x[:, 1:] % 12].sum(1) for x, i in zip(states, chosen, strict=True)]
    wrong = (states[0] % 12 == (4 if minor else 3)).any(1)  # the other mode's third
    scores[0] = scores[0] + tables.first[minor, tables.harmony[chosen[0]]] - WRONG_THIRD * wrong
    scores[-1] = scores[-1] + tables.last[minor, tables.harmony[chosen[-1]]]

    @cache
    def between(one: tuple[int, int], two: tuple[int, int]) -> np.ndarray:
        (x, i), (y, j) = states_below(*one), states_below(*two)
        way = np.clip(y[:, 1:] - x[:, None, 1:], -REACH, REACH)  # (K, L, 3)
        moves = tables.moves[int(one[0] != two[0]), np.arange(3), way + REACH].sum(-1)
        still = (way == 0).sum(-1) * (one[0] != two[0])
        steps = tables.steps[minor][np.ix_(tables.harmony[i], tables.harmony[j])]
        return steps + MOVING * (moves - STILL * still) - PARALLEL * parallels(x[:, None], y[None])

    return states, scores, lambda t: between(tops[t], tops[t + 1])


@cache
def states_below(top: int, lowest: int) -> tuple[np.ndarray, np.ndarray]:
    """The voicings (K, 4) with a given soprano whose alto is not above `lowest`, and their numbers in the tables.

    A soprano outside its range takes the chords of the octave inside: under a low one, they move down with it.
    """
    (low, high), chords = SOPRANO, voice_tables().chords
    home = min(max(top, low + (top - low) % 12), high - (high - top) % 12)
    here = np.flatnonzero(chords[:, 0] == home)
    moved = chords[here] - max(home - top, 0)
    moved[:, 0] = top
    fits = moved[:, 1] <= lowest
    return (moved[fits], here[fits]) if fits.any() else (moved, here)


def parallels(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """How many pairs of voices move in parallel fifths or octaves from one chord to the other.

    >>> parallels(np.array([67, 60, 55, 48]), np.array([69, 62, 57, 50])).item()  # all in step
    5
    """
    count = 0
    for a, b in combinations(range(one.shape[-1]), 2):
        before, after = (one[..., a] - one[..., b]) % 12, (two[..., a] - two[..., b]) % 12
        count = count + ((before == after) & ((after == 0) | (after == 7)) & (one[..., a] != two[..., a]))
    return count


def write_score(melody: Melody, spans: Sequence[tuple], pitches: np.ndarray) -> Score:
    """The melody over three voices (beats, 4); a voice that keeps its pitch while the melody holds a note is tied."""
    tracks, velocity = [Track(melody.notes, CHOIR, name=VOICES[0])], min(note.velocity for note in melody.notes)
    for name, line in zip(VOICES[1:], pitches.T[1:].tolist(), strict=True):
        notes: list[Note] = []
        for (start, end, strikes, *_), pitch in zip(spans, line, strict=True):
            last = notes[-1] if notes else None
            if last and not strikes and last.pitch == max(pitch, pitch % 12) and last.end > start - SLACK:
                notes[-1] = replace(last, duration=end - last.start)
            else:
                notes.append(Note(max(pitch, pitch % 12), start, end - start, max(1, velocity * 8 // 10)))
        tracks.append(Track(notes, CHOIR, name=name))
    return replace(melody.to_score(), tracks=tuple(tracks))


# ---- learning


@cache
def voice_tables() -> VoiceTables:
    """The tables learned from the training split of the chorales, once per process (a fraction of a second)."""
    return learn_voices(JSBChorales("train").rolls)


def learn_voices(rolls: Sequence[np.ndarray]) -> VoiceTables:
    """Collect four-note chords from rolls of chorales, and count what follows what.

    >>> learn_voices(JSBChorales("train").rolls).chords.shape  # doctest: +SKIP
    (2113, 4)

    Args:
        rolls: (frames, 88) each, of 0 and 1, with C as tonic; frames of fewer or more than four notes are left out.

    Returns: the chords, and the logs of the smoothed relative frequencies.

    Chapter 7.
    """
    full = [np.flatnonzero(roll.sum(1) == 4) for roll in rolls]
    pieces = [21 + roll[i].nonzero()[1].reshape(-1, 4)[:, ::-1] for roll, i in zip(rolls, full, strict=True)]
    chords, number, count = np.unique(np.concatenate(pieces), axis=0, return_inverse=True, return_counts=True)
    names: dict[tuple, int] = {}
    harmony = np.array([names.setdefault((x[3] % 12, frozenset(x % 12)), len(names)) for x in chords])
    size, kinds = len(names), iter(harmony[number.ravel()])
    alone, ends = np.full((2, size), 0.1), np.full((2, 2, size), 0.01)
    steps, moves = np.zeros((2, size, size)), np.full((2, 3, 2 * REACH + 1), 0.5)
    for x, frames in zip(pieces, full, strict=True):
        minor, kind = int((x % 12 == 3).sum() > (x % 12 == 4).sum()), np.fromiter(islice(kinds, len(x)), int)
        ends[[0, 1], minor, kind[[0, -1]]] += 1
        np.add.at(alone[minor], kind, 1)
        near = np.flatnonzero(np.diff(frames) == 1)
        np.add.at(steps[minor], (kind[near], kind[near + 1]), 1)
        way = np.clip(x[near + 1] - x[near], -REACH, REACH)
        np.add.at(moves, ((way[:, :1] != 0).astype(int), np.arange(3), way[:, 1:] + REACH), 1)
    steps = smoothed(steps, smoothed(alone)[:, None], BACKING)
    tables = count / np.bincount(harmony, count)[harmony], *smoothed(ends), steps, smoothed(moves)
    return VoiceTables(chords, harmony, *map(np.log, tables))
