"""Four voices in Bach's manner: his own voicings, chained so that every voice moves well. Chapter 7.

A hidden Markov model whose states are the 2,113 four-note chords of the training chorales, each as Bach wrote it. The
states of a beat are those with the melody's note on top. What they cost is counted in the chorales: which harmony
follows which, how Bach places its notes, and how far alto, tenor and bass move. Parallel fifths and octaves cost too
much to be worth it. A path knows the melody's next notes, as the chorale WaveNet of chapter 5 does not.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np

from musicai.notes import Melody, Note, Score, Track

from .harmony import SCALES, SLACK, best_path, foreign_tones, key_of, load_tables, rhythm_of, sounding, spans_of

VOICES = ("soprano", "alto", "tenor", "bass")
SOPRANO = (72, 93)  # where the chorales, which are in C here, have nearly all notes of the soprano
MIDDLE = 83  # of the soprano in the chorales, which lie an octave higher than they are sung
CHOIR = 52  # General MIDI program
PARALLEL, WRONG_THIRD, FOREIGN = 8.0, 50.0, 1.5  # nats; the last for each note outside the scale, as in `harmony`
PLACING, MOVING = 0.2, 0.4  # what both count for beside the harmony (chosen on the validation split)
STILL = 1.0  # what it costs to stay while the melody moves: the best paths would be stiller than Bach
REACH = 12  # semitones: the widest move of a voice that is counted


def four_voices(melody: Melody, *, pickup: float = 0.0, temperature: float = 0.5, seed: int = 0) -> Score:
    """Set a melody for soprano, alto, tenor and bass in the manner of Bach's chorales.

    >>> hymn = Melody.from_pitches([67, 67, 69, 71, 72, 71, 69, 67], key="G major")
    >>> [track.name for track in four_voices(hymn, temperature=0).tracks]
    ['soprano', 'alto', 'tenor', 'bass']

    There is one chord per beat (a dotted quarter in 6/8), below the melody's note at the beginning of the beat. The
    voices strike with the melody, and rest with it.

    Args:
        melody: the soprano, kept exactly; the other voices lie below it, in their usual range if possible.
        pickup: how many beats come before the first full bar.
        temperature: 0 for the best path; up to 1 to draw from the model.
        seed: the seed of the draw.

    Returns: a score with tracks "soprano", "alto", "tenor" and "bass".

    Raises:
        ValueError: if the melody has no notes, or names no key and none can be estimated.

    Source: Allan and Williams, "Harmonising chorales by probabilistic inference" (NIPS 2005). Chapter 7.
    """
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
    tables, minor = load_tables("voices"), int(3 in SCALES[mode])
    placing, harmony = tables["placing"], tables["harmony"]
    states, chosen = zip(*(states_below(*top) for top in tops), strict=True)
    foreign = FOREIGN * foreign_tones(mode)
    scores = [PLACING * placing[i] - foreign[x[:, 1:] % 12].sum(1) for x, i in zip(states, chosen, strict=True)]
    wrong = (states[0] % 12 == (4 if minor else 3)).any(1)  # the other mode's third
    scores[0] = scores[0] + tables["first"][minor, harmony[chosen[0]]] - WRONG_THIRD * wrong
    scores[-1] = scores[-1] + tables["last"][minor, harmony[chosen[-1]]]

    @cache
    def between(one: tuple[int, int], two: tuple[int, int]) -> np.ndarray:
        (x, i), (y, j) = states_below(*one), states_below(*two)
        way = np.clip(y[:, 1:] - x[:, None, 1:], -REACH, REACH)  # (K, L, 3)
        moves = tables["moves"][int(one[0] != two[0]), np.arange(3), way + REACH].sum(-1)
        still = (way == 0).sum(-1) * (one[0] != two[0])
        steps = tables["steps"][minor][np.ix_(harmony[i], harmony[j])]
        return steps + MOVING * (moves - STILL * still) - PARALLEL * parallels(x[:, None], y[None])

    return states, scores, lambda t: between(tops[t], tops[t + 1])


@cache
def states_below(top: int, lowest: int) -> tuple[np.ndarray, np.ndarray]:
    """The voicings (K, 4) with a given soprano whose alto is not above `lowest`, and their numbers in the tables.

    A soprano outside its range takes the chords of the octave inside: under a low one, they move down with it.
    """
    (low, high), chords = SOPRANO, load_tables("voices")["chords"]
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
