"""Count what harmonies follow each other: in Nottingham for chords, in the chorales for four voices. Chapter 7.

python scripts/fit_harmony.py musicai/data/shipped/harmony
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from musicai.composition.harmony import CHORDS, QUALITIES, place_of
from musicai.composition.voices import REACH
from musicai.data import JSBChorales, Nottingham

BACKING, TIED = 100.0, 1000.0  # counts of the more general table that stand behind each row of steps, and of notes
HARMONY = 3.0  # counts of the single harmonies that stand behind each row of the voices' steps


def learn_chords(rolls: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Count chords and melody notes in rolls of melodies with chords.

    >>> from musicai.data import Nottingham
    >>> tables = learn_chords(Nottingham("train").rolls)  # doctest: +SKIP

    Args:
        rolls: (frames, 88) each, of 0 and 1; a frame is half a beat, and the tonic is C, or A in minor.

    Returns: the logs of the smoothed relative frequencies.

    Chapter 7.
    """
    first, alone = np.full((2, len(CHORDS)), 0.1), np.full((2, len(CHORDS)), 0.5)
    steps, sings = np.zeros((2, 6, len(CHORDS), len(CHORDS))), np.zeros((2, len(CHORDS), 12))
    for roll in rolls:
        chords, melody = label_chords(roll)
        if (grid := find_bars(chords, melody)) is None:
            continue
        minor, tonic = mode_of(chords)
        spans, notes, places = split_spans(chords, melody, tonic, *grid)
        known = np.flatnonzero(spans >= 0)
        both = known[np.isin(known + 1, known)]
        first[minor, spans[known[0]]] += 1
        np.add.at(alone[minor], spans[known], 1)
        np.add.at(steps[minor], (places[both + 1], spans[both], spans[both + 1]), 1)
        for table, part in zip(sings, (notes[:, :1], notes[:, 1:]), strict=True):
            span, frame = ((part >= 0) & (spans >= 0)[:, None]).nonzero()
            np.add.at(table, (spans[span], part[span, frame]), 1)
    anywhere = smoothed(steps.sum(1), smoothed(alone)[:, None], BACKING)
    tied = np.stack([_by_root(table) for table in sings])
    tables = smoothed(first), smoothed(steps, anywhere[:, None], BACKING), smoothed(sings, tied, TIED)
    return dict(zip(("first", "steps", "sings"), map(np.log, tables), strict=True))


def label_chords(roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chord (an index of `CHORDS`) and the pitch class of the melody in each frame of a roll (frames, 88).

    Both are -1 where no chord is recognised. Nottingham's chords are in root position, below the melody, with their
    notes as close as possible.
    """
    down = np.pad(np.asarray(roll, bool), ((0, 0), (0, 12)))
    lowest, highest = down.argmax(1), 87 - down[:, 87::-1].argmax(1)
    chords = np.full(len(down), -1)
    for i, steps in enumerate(QUALITIES.values()):  # a seventh overrules the triad in it
        here = np.all([down[np.arange(len(down)), lowest + step] for step in steps], axis=0)
        here &= highest > lowest + steps[-1]
        chords[here] = 12 * i + (lowest[here] + 21) % 12
    return chords, np.where(chords >= 0, (highest + 21) % 12, -1)


def find_bars(chords: np.ndarray, melody: np.ndarray) -> tuple[int, int, int] | None:
    """Where chords change is where spans begin: (frames per span, spans per bar, first frame), or None if unclear."""
    changes = 1 + np.flatnonzero((np.diff(chords) != 0) & (chords[1:] >= 0) & (chords[:-1] >= 0))
    if len(changes) < 4:
        return None
    share, period, first = max((np.mean(changes % p == i), p, i) for p in (4, 6) for i in range(p))
    if share < 0.6:
        return None
    struck = np.bincount((1 + np.flatnonzero(np.diff(melody)) - first) % 6, minlength=6)
    jig = 2 * struck[3] > struck[2] + struck[4]  # 6/8 begins notes in the middle of the bar, 3/4 on its beats
    return (4, 2, first) if period == 4 else (3, 2, first) if jig else (6, 1, first)


def mode_of(chords: np.ndarray) -> tuple[int, int]:
    """Whether a tune is in minor, and its tonic: the most frequent of the chords C, C minor and A minor."""
    counts = {chord: (chords == chord).sum() for chord in (0, 12, 21)}
    best = max(counts, key=counts.get)
    return int(best > 0), best % 12


def split_spans(chords, melody, tonic: int, size: int, per_bar: int, first: int) -> tuple[np.ndarray, ...]:
    """Each span's most frequent chord (T,), its melody (T, size), both from the tonic, and its place (T,)."""
    count = (len(chords) - first) // size
    chords, notes = (x[first : first + count * size].reshape(count, size) for x in (chords, melody))
    modes = [np.bincount(row[row >= 0], minlength=1).argmax() if (row >= 0).any() else -1 for row in chords]
    modes = np.array([state if state < 0 else state // 12 * 12 + (state - tonic) % 12 for state in modes], int)
    left = np.arange(count)[::-1]  # spans that follow: tunes end with a bar
    places = [place_of(n // per_bar, n % per_bar < per_bar - 1) for n in left]
    return modes, np.where(notes >= 0, (notes - tonic) % 12, -1), np.array(places, int)


def _by_root(counts: np.ndarray) -> np.ndarray:
    """Relative frequencies from counts (48, 12), counted from the root and shared by all chords of a quality."""
    shared = np.empty_like(counts)
    for start in range(0, len(counts), 12):
        total = sum(np.roll(counts[start + root], -root) for root in range(12)) + 1
        shared[start : start + 12] = [np.roll(total, root) / total.sum() for root in range(12)]
    return shared


def smoothed(counts: np.ndarray, prior: np.ndarray | float = 0.0, strength: float = 0.0) -> np.ndarray:
    """Relative frequencies along the last axis, with `strength` counts spread as in `prior` added."""
    return (counts + strength * prior) / (counts.sum(-1, keepdims=True) + strength)


def learn_voices(rolls: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Collect four-note chords from rolls of chorales, and count what follows what.

    >>> learn_voices(JSBChorales("train").rolls)["chords"].shape  # doctest: +SKIP
    (2113, 4)

    Args:
        rolls: (frames, 88) each, of 0 and 1, with C as tonic; frames of fewer or more than four notes are left out.

    Returns: the chords, and the logs of the smoothed relative frequencies.

    Chapter 7.
    """
    full = [np.flatnonzero(roll.sum(1) == 4) for roll in rolls]
    pieces = [21 + roll[i].nonzero()[1].reshape(-1, 4)[:, ::-1] for roll, i in zip(rolls, full, strict=True)]
    chords, number, count = np.unique(np.concatenate(pieces), axis=0, return_inverse=True, return_counts=True)
    kinds_of: dict[tuple, int] = {}
    harmony = np.array([kinds_of.setdefault((x[3] % 12, frozenset(x % 12)), len(kinds_of)) for x in chords])
    size, kinds = len(kinds_of), iter(harmony[number.ravel()])
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
    steps = smoothed(steps, smoothed(alone)[:, None], HARMONY)
    tables = count / np.bincount(harmony, count)[harmony], *smoothed(ends), steps, smoothed(moves)
    names = ("placing", "first", "last", "steps", "moves")
    return {"chords": chords, "harmony": harmony, **dict(zip(names, map(np.log, tables), strict=True))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write chords.npz and voices.npz")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "chords.npz", **learn_chords(Nottingham("train").rolls))
    np.savez_compressed(folder / "voices.npz", **learn_voices(JSBChorales("train").rolls))
