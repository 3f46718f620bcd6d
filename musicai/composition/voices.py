"""Four voices in Bach's manner: his own voicings, chained so that every voice moves well. Chapter 7.

A hidden Markov model whose states are the 2,113 four-note chords of the training chorales, each as Bach wrote it. The
states of a beat are those with the melody's note on top. What they cost is counted in the chorales: which harmony
follows which, how Bach places its notes, and how far alto, tenor and bass move. Parallel fifths and octaves cost too
much to be worth it. Of several harmonisations drawn from this model, the chorale WaveNet chooses the likeliest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import torch

from musicai.composition.harmony import SCALES, best_path, key_of, rhythm_of, smoothed
from musicai.data import JSBChorales
from musicai.notes import Melody, Note, Score, Track
from musicai.wavenet import RollWaveNet

VOICES = ("soprano", "alto", "tenor", "bass")
SOPRANO = (72, 93)  # where the chorales, which are in C here, have nearly all notes of the soprano
MIDDLE = 83  # of the soprano in the chorales, which lie an octave higher than they are sung
CHOIR = 52  # General MIDI program
PARALLEL, WRONG_THIRD, FOREIGN = 8.0, 50.0, 1.5  # nats; the last for each note outside the scale, as in `harmony`
PLACING, MOVING = 0.2, 0.5  # what both count for beside the harmony (chosen on the validation split)
FEW = 30  # a note of the melody with fewer chords below it borrows those of the octave
DRAWS = 8
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


def four_voices(melody: Melody, *, key: str | None = None, temperature: float = 0.5, seed: int = 0) -> Score:
    """Set a melody for soprano, alto, tenor and bass in the manner of Bach's chorales.

    >>> hymn = Melody.from_pitches([67, 67, 69, 71, 72, 71, 69, 67], key="G major")
    >>> [track.name for track in four_voices(hymn, temperature=0).tracks]
    ['soprano', 'alto', 'tenor', 'bass']

    There is one chord per beat (a dotted quarter in 6/8), below the melody's note at the beginning of the beat. The
    voices strike with the melody, and rest with it.

    Args:
        melody: the soprano, kept exactly; the other voices lie below it, in their usual range if possible.
        key: such as "D minor"; None for the melody's own key, estimated if it names none.
        temperature: 0 for the single best path; otherwise eight are drawn, and the chorale WaveNet chooses one.
        seed: the seed of the draws.

    Returns: a score with tracks "soprano", "alto", "tenor" and "bass".

    Raises:
        ValueError: if the melody has no notes, or its key is neither given nor can be estimated.

    Source: Allan and Williams, "Harmonising chorales by probabilistic inference" (NIPS 2005). Chapter 7.
    """
    melody = melody if key is None else replace(melody, key=key)
    tonic, mode = key_of(melody)
    spans = beats_of(melody)
    up = 12 * round((MIDDLE - np.median(melody.pitches) + tonic) / 12) - tonic  # to C, where the chorales are
    states, scores, step = build_chain([(top + up, lowest + up) for *_, top, lowest in spans], mode)
    seeds = [(seed, i) for i in range(DRAWS if temperature else 1)]
    paths = [best_path(scores, step, temperature, each) for each in seeds]
    drawn = [np.array([chords[i] for chords, i in zip(states, path, strict=True)]) for path in paths]
    best = max(drawn, key=log_likelihood) if temperature else drawn[0]
    home = max(up, 6 + (up - 6) % 12)  # below a high melody, the other voices stay where they are at home
    return write_score(melody, spans, best - [up, home, home, home])


def beats_of(melody: Melody) -> list[tuple[float, float, bool, int, int]]:
    """The beats in which a melody sounds: (start, end, whether the voices strike, its first and lowest pitch).

    A beat is a quarter or, in metres counted in eighths, what `rhythm_of` says. Voices strike where the melody does, and
    at the beginning of each bar.
    """
    spans = rhythm_of(melody.time_signature)
    bar = sum(spans)
    lengths = spans if melody.time_signature[1] > 4 else [1.0] * int(bar)
    edges = [0.0]
    while edges[-1] < melody.duration - 1e-6:
        edges.append(edges[-1] + lengths[(len(edges) - 1) % len(lengths)])
    found = []
    for i, (start, end) in enumerate(pairwise(edges)):
        heard = [note for note in melody.notes if note.start < end - 1e-6 and note.end > start + 1e-6]
        if heard:
            strikes = i % len(lengths) == 0 or any(note.start > start - 1e-6 for note in heard)
            end = min(end, melody.duration)
            found.append((start, end, strikes, heard[0].pitch, min(note.pitch for note in heard)))
    return found


def build_chain(tops: Sequence[tuple[int, int]], mode: str) -> tuple:
    """The states of each beat, (K, 4) pitches, their scores (K,), and the function that scores the steps between them.

    Args:
        tops: for each beat, the pitch that the soprano has in C, and the lowest that it has before the next beat.
        mode: one of `SCALES`.
    """
    tables, minor = voice_tables(), int(3 in SCALES[mode])
    states, chosen = zip(*(states_below(*top) for top in tops), strict=True)
    foreign = ~np.isin(np.arange(12), SCALES[mode]) * FOREIGN * (mode not in ("major", "minor"))
    scores = [PLACING * tables.placing[i] - foreign[x[:, 1:] % 12].sum(1) for x, i in zip(states, chosen, strict=True)]
    scores[0] = scores[0] + tables.first[minor, tables.harmony[chosen[0]]]
    scores[0] -= WRONG_THIRD * (states[0] % 12 == (4 if minor else 3)).any(1)
    scores[-1] = scores[-1] + tables.last[minor, tables.harmony[chosen[-1]]]

    @cache
    def between(one: tuple[int, int], two: tuple[int, int]) -> np.ndarray:
        (x, i), (y, j) = states_below(*one), states_below(*two)
        way = y - x[:, None]  # (K, L, 4)
        moves = tables.moves[int(one[0] != two[0]), np.arange(3), np.clip(way[..., 1:], -REACH, REACH) + REACH]
        cost = PARALLEL * parallels(x[:, None], y[None])
        return tables.steps[minor][np.ix_(tables.harmony[i], tables.harmony[j])] + MOVING * moves.sum(-1) - cost

    return states, scores, lambda t: between(tops[t], tops[t + 1])


@cache
def states_below(top: int, lowest: int) -> tuple[np.ndarray, np.ndarray]:
    """The voicings (K, 4) with a given soprano whose alto is not above `lowest`, and their numbers in the tables."""
    chords = voice_tables().chords
    home = top - 12 * max(0, -(-(top - SOPRANO[1]) // 12)) + 12 * max(0, -(-(SOPRANO[0] - top) // 12))
    here = np.flatnonzero(chords[:, 0] == home)
    if len(here) < FEW:
        here = np.flatnonzero((chords[:, 0] - home) % 12 == 0)
    moved = chords[here] - (chords[here, :1] - min(home, top))
    moved[:, 0] = top
    low = moved[:, 1] <= lowest
    return (moved[low], here[low]) if low.any() else (moved, here)


def parallels(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """How many pairs of voices move in parallel fifths or octaves between two arrays of chords (..., 4).

    >>> parallels(np.array([67, 60, 55, 48]), np.array([69, 62, 57, 50])).item()  # all in step: two octaves, three fifths
    5
    """
    count = 0
    for a, b in combinations(range(one.shape[-1]), 2):
        before, after = (one[..., a] - one[..., b]) % 12, (two[..., a] - two[..., b]) % 12
        count = count + ((before == after) & ((after == 0) | (after == 7)) & (one[..., a] != two[..., a]))
    return count


@cache
def chorale_model() -> RollWaveNet:
    """The shipped chorale WaveNet, loaded once."""
    return RollWaveNet.from_pretrained("wavenet-chorales").eval()


def log_likelihood(chords: np.ndarray) -> float:
    """How likely the chorale WaveNet finds a harmonisation (beats, 4) in C, in nats."""
    roll = torch.zeros(88, len(chords))
    for t, pitches in enumerate(chords):
        roll[np.clip(pitches - 21, 0, 87), t] = 1
    return float(chorale_model().log_prob(roll).sum())


def write_score(melody: Melody, spans: Sequence[tuple], pitches: np.ndarray) -> Score:
    """The melody over three voices (beats, 4); a voice that keeps its pitch while the melody holds a note is tied."""
    tracks = [Track(melody.notes, CHOIR, name=VOICES[0])]
    for name, line in zip(VOICES[1:], pitches.T[1:], strict=True):
        notes: list[Note] = []
        for (start, end, strikes, *_), pitch in zip(spans, line.tolist(), strict=True):
            pitch = pitch if pitch >= 0 else pitch % 12
            if notes and not strikes and notes[-1].pitch == pitch and notes[-1].end > start - 1e-6:
                notes[-1] = replace(notes[-1], duration=end - notes[-1].start)
            else:
                notes.append(Note(pitch, start, end - start, max(1, min(n.velocity for n in melody.notes) * 8 // 10)))
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
    pieces = [
        21 + np.nonzero(roll[frames])[1].reshape(-1, 4)[:, ::-1] for roll, frames in zip(rolls, full, strict=True)
    ]
    chords, number, count = np.unique(np.concatenate(pieces), axis=0, return_inverse=True, return_counts=True)
    names = {}
    harmony = np.array([names.setdefault((x[3] % 12, frozenset(x % 12)), len(names)) for x in chords])
    size = len(names)
    alone, ends = np.full((2, size), 0.1), np.full((2, 2, size), 0.01)
    steps, moves = np.zeros((2, size, size)), np.full((2, 3, 2 * REACH + 1), 0.5)
    for x, frames, i in zip(
        pieces, full, np.split(number.ravel(), np.cumsum([len(x) for x in pieces])[:-1]), strict=True
    ):
        minor, kinds = int((x % 12 == 3).sum() > (x % 12 == 4).sum()), harmony[i]
        ends[[0, 1], minor, kinds[[0, -1]]] += 1
        np.add.at(alone[minor], kinds, 1)
        near = np.flatnonzero(np.diff(frames) == 1)
        np.add.at(steps[minor], (kinds[near], kinds[near + 1]), 1)
        way = np.clip(x[near + 1] - x[near], -REACH, REACH)
        np.add.at(moves, ((way[:, :1] != 0).astype(int), np.arange(3), way[:, 1:] + REACH), 1)
    steps = smoothed(steps, smoothed(alone)[:, None], 3.0)
    placing = count / np.bincount(harmony, count)[harmony]
    tables = placing, *smoothed(ends), steps, smoothed(moves)
    return VoiceTables(chords, harmony, *map(np.log, tables))
