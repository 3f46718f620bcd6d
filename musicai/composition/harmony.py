"""Chords for a melody: a hidden Markov model that learns from the Nottingham tunes. Chapter 7.

The hidden state is the chord of a span (half a bar of 4/4, a dotted quarter of 6/8, a bar of 3/4), counted from the
tonic. What we see is the melody. Both tables are counts: which chord follows which (`steps`), and which pitch classes
the melody sings over which chord (`sings`). The best chords are then the best path through the states.

>>> from musicai.notes import Melody
>>> tune = Melody.from_pitches([62, 66, 69, 67, 64, 61, 62], [1, 1, 2, 1, 1, 2, 4], key="D major")
>>> [chord.name for chord in add_chords(tune)]
['D', 'A7', 'D']
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

from musicai.composition.controls import scale_of
from musicai.data.catalogue import SHIPPED
from musicai.notes import Melody, Note, estimate_key, pitch_class
from musicai.notes.notation import MODES, name_in_key

QUALITIES = {"major": (0, 4, 7), "minor": (0, 3, 7), "seventh": (0, 4, 7, 10), "diminished": (0, 3, 6)}
SUFFIXES = dict(zip(QUALITIES, ("", "m", "7", "dim"), strict=True))
CHORDS = [(root, quality) for quality in QUALITIES for root in range(12)]  # the states; roots counted from the tonic
TONES = np.array([[(i - root) % 12 in QUALITIES[quality] for i in range(12)] for root, quality in CHORDS])
SCALES = {mode: set(scale_of(mode)) for mode in MODES}  # semitones above the tonic
FRAME = 0.5  # beats of a frame in Nottingham
SECTION, HALF = 8, 4  # bars after which folk tunes close, and half close
SLACK = 1e-6  # beats: rounding errors
TRUST = 0.8  # what the melody counts for: its notes are no independent witnesses (chosen on the validation split)
FOREIGN = 2.5  # nats that each note outside the scale costs a chord, in modes that Nottingham hardly has


@dataclass(frozen=True)
class ChordSpan:
    """A chord and how long it lasts.

    >>> chord = ChordSpan(0.0, 2.0, root=7, quality="seventh")
    >>> chord.name, chord.pitch_classes
    ('G7', (7, 11, 2, 5))

    Args:
        start: when it begins, in beats.
        end: when it ends, in beats.
        root: pitch class, 0 for C to 11 for B.
        quality: "major", "minor", "seventh" or "diminished".
        key: in which its name is spelled, or "" for sharps.

    Chapter 7.
    """

    start: float
    end: float
    root: int
    quality: str
    key: str = ""

    @property
    def name(self) -> str:
        """Such as "G7" or "Am"."""
        return name_in_key(60 + self.root, self.key)[:-1] + SUFFIXES[self.quality]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Its notes, the root first."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])


@cache
def load_tables(name: str) -> dict[str, np.ndarray]:
    """Load what `scripts/fit_harmony.py` counted: log probabilities in major (row 0) and minor (row 1).

    >>> {name: table.shape for name, table in load_tables("chords").items()}
    {'first': (2, 48), 'steps': (2, 6, 48, 48), 'sings': (2, 48, 12)}

    Args:
        name: "chords", from the training split of Nottingham: `first`, the opening chord; `steps`, the next chord given
            the last, for each place in the phrase (`place_of`); `sings`, the pitch class in the melody given the chord,
            at the beginning of a span (row 0) and after it (row 1). Or "voices", from the training split of the
            chorales, with C harmonies: `chords`, MIDI pitches (N, 4), the soprano first; `harmony` (N,), which harmony
            each of them is; `placing` (N,), the voicing given the harmony; `first` and `last` (2, C), the opening and
            the closing harmony; `steps` (2, C, C), the next harmony given the last; `moves` (2, 3, 25), the semitones,
            from -12 on, that alto, tenor and bass move while the soprano stays (row 0) or moves (row 1).

    Returns: the tables by name.

    Chapter 7.
    """
    with np.load(SHIPPED / "harmony" / f"{name}.npz") as file:
        return dict(file)


def add_chords(melody: Melody, *, pickup: float = 0.0, temperature: float = 0.0, seed: int = 0) -> list[ChordSpan]:
    """Find chords for a melody, in the style of the Nottingham tunes.

    >>> tune = Melody.from_pitches([67, 67, 69, 69, 71, 71, 72], [1, 1, 1, 1, 1, 1, 2], key="C major")
    >>> [chord.name for chord in add_chords(tune)]
    ['C', 'F', 'G7', 'C']

    Sections are taken to be eight bars long, counted from the end. In modes other than major and minor, the model
    prefers chords of the scale.

    Args:
        melody: in any key, mode and metre; if it names no key, the key is estimated.
        pickup: how many beats come before the first full bar.
        temperature: 0 for the best chords; up to 1 to draw from the model, likely chords most often.
        seed: the seed of the draw.

    Returns: the chords in order, from the first beat to the end of the last bar; neighbours differ.

    Raises:
        ValueError: if the melody has no notes, or its key is neither given nor can be estimated.

    Source: Allan and Williams, "Harmonising chorales by probabilistic inference" (NIPS 2005). Chapter 7.
    """
    tonic, mode = key_of(melody)
    edges, places = spans_of(melody, pickup)
    tables, row = load_tables("chords"), int(3 in SCALES[mode])
    scores = TRUST * evidence(melody, edges, tonic) - FOREIGN * TONES @ foreign_tones(mode)
    scores[0] += tables["first"][row]
    path = best_path(scores, lambda t: tables["steps"][row, places[t + 1]], temperature, seed)
    starts = [t for t in range(len(path)) if t == 0 or path[t] != path[t - 1]]
    found = [(*CHORDS[path[t]], *edges[[t, end]].tolist()) for t, end in pairwise([*starts, len(path)])]
    key = melody.key or estimate_key(melody)
    return [ChordSpan(start, end, (root + tonic) % 12, quality, key) for root, quality, start, end in found]


def key_of(melody: Melody) -> tuple[int, str]:
    """The tonic (a pitch class) and the mode (one of `SCALES`) of a melody, estimated if it names none.

    Raises ValueError if it has no notes, or its key is neither given nor can be estimated.
    """
    if not melody.notes:
        raise ValueError("a melody without notes cannot be harmonised; give one with at least one note")
    tonic, _, mode = (melody.key or estimate_key(melody)).partition(" ")
    return pitch_class(tonic), mode.lower() if mode.lower() in SCALES else "major"


def foreign_tones(mode: str) -> np.ndarray:
    """1 for each pitch class (12,), from the tonic, outside the scale; all 0 in major and minor, which are learned."""
    return np.array([n not in SCALES[mode] and mode not in ("major", "minor") for n in range(12)], dtype=float)


def rhythm_of(meter: tuple[int, int]) -> list[float]:
    """The harmonic rhythm of a metre: the lengths in beats of the spans that make up a bar.

    >>> rhythm_of((4, 4)), rhythm_of((6, 8)), rhythm_of((3, 4)), rhythm_of((7, 8))
    ([2.0, 2.0], [1.5, 1.5], [3.0], [2.0, 1.5])
    """
    count, unit = meter[0], 4 / meter[1]
    compound = count > 3 and count % 3 == 0
    parts = count // 3 if compound else min(count, max(1, int((count * unit + 0.5) // 2)))
    return [len(part) * unit for part in np.array_split(range(count), parts)]


def spans_of(melody: Melody, pickup: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The edges (T + 1,) of a melody's spans in beats, to the end of its last bar, and their places (T,)."""
    rhythm = rhythm_of(melody.time_signature)
    first = pickup % sum(rhythm)  # the first bar line
    before = int(first > 0)
    bars = max(1, int(np.ceil((melody.duration - first) / sum(rhythm) - SLACK)))
    edges = first + np.cumsum([-before * sum(rhythm), *rhythm * (before + bars)])
    places = [place_of(bar, i > 0) for bar in range(before + bars)[::-1] for i in range(len(rhythm))]
    silent = np.count_nonzero(edges[1:] < SLACK)  # spans of the pickup's bar that lie before the melody
    return np.maximum(edges[silent:], 0.0), np.array(places[silent:])


def place_of(bars_left: int, inside: bool) -> int:
    """The place of a span, 0 to 5: whether its bar closes or half closes a section, and whether it begins the bar."""
    return 2 * {0: 2, HALF: 1}.get(bars_left % SECTION, 0) + inside


def sounding(melody: Melody, start: float, end: float) -> list[Note]:
    """The notes of a melody that sound between two beats."""
    return [note for note in melody.notes if note.start < end - SLACK and note.end > start + SLACK]


def evidence(melody: Melody, edges: np.ndarray, tonic: int) -> np.ndarray:
    """The log probability (T, 48) of what the melody sings in each span under each chord, per half beat."""
    sung = np.eye(12)[(melody.pitches - tonic) % 12]  # (notes, 12)
    begin, end = melody.starts, melody.starts + melody.durations
    first = np.minimum(edges[:-1] + FRAME, edges[1:])
    scores = np.zeros((len(edges) - 1, len(CHORDS)))
    for left, right, table in zip((edges[:-1], first), (first, edges[1:]), load_tables("chords")["sings"], strict=True):
        shared = np.minimum(end, right[:, None]) - np.maximum(begin, left[:, None])
        scores += np.maximum(shared, 0) / FRAME @ sung @ table.T
    return scores


def best_path(
    scores: Sequence[np.ndarray], step: Callable[[int], np.ndarray], temperature: float = 0.0, seed: int = 0
) -> list[int]:
    """The best path through the states of a chain (Viterbi), or one drawn from it.

    >>> stay = np.log([[0.9, 0.1], [0.1, 0.9]])
    >>> best_path(np.log([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1]]), lambda t: stay)
    [0, 0, 0]

    First backwards: how good can (or, to draw, on average will) what follows each state be? Then forwards, choosing.

    Args:
        scores: the log score of each state at each time, (K_t,) each.
        step: `step(t)` are the log scores (K_t, K_t+1) of the steps from time t to t + 1.
        temperature: 0 for the best path; 1 to draw a path in proportion to its probability.
        seed: the seed of the draw.

    Returns: the state at each time.

    Source: Viterbi (1967); drawing backwards and forwards, as in Fruehwirth-Schnatter (1994). Chapter 7.
    """
    rng, ahead = np.random.default_rng(seed), [scores[-1]]
    for t in range(len(scores) - 2, -1, -1):
        after = step(t) + ahead[-1]
        ahead.append(scores[t] + (temperature * logsumexp(after / temperature, 1) if temperature else after.max(1)))
    ahead, path = ahead[::-1], []
    for t, after in enumerate(ahead):
        choice = after if t == 0 else after + step(t - 1)[path[-1]]
        path.append(int(np.argmax(choice + temperature * rng.gumbel(size=len(choice)))))  # the Gumbel-max trick
    return path
