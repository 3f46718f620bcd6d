"""The melody that a song starts from: its bars, its form, and how it would go in another key and metre. Chapter 7."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from musicai.composition.controls import (
    TICKS,
    Controls,
    beat_ticks,
    closeness,
    metric_levels,
    read_key,
    read_meter,
    refuse,
    scale_of,
    syncopation,
)
from musicai.notes import Melody, Note, Score, estimate_key, pitch_class, read_score
from musicai.notes.files import KINDS
from musicai.search import Match, read_query

SAME = 0.75  # closeness from which two sections count as one that repeats
# How much speaks for a bar line: long notes in strong places, syncopation, a note on each line, a strong last note, a
# pickup of an eighth or of a quarter, a long pickup, the tonic on the lines. This conditional logit was fitted to the
# bar lines of the folk corpus's training split; it finds 86 % of the pickups of its validation split.
PICKUP_WEIGHTS = np.array([5.7, -4.3, 3.4, 1.5, 1.9, 1.4, -5.3, 0.9])


def source_melody(source) -> Melody:
    """Take the melody out of whatever a song may start from, with a key and a metre.

    >>> source_melody("C4 D4 E4 F4 G4 C5").key
    'C major'

    Args:
        source: a Match, a Melody, a Score, the path of a file, or anything else that `read_query` takes.

    Returns: the melody; a recording is put on a grid of sixteenth notes, at a pace of about two notes per beat.

    Raises:
        ValueError: if there are no notes in it.
        FileNotFoundError: if there is no such file.

    Chapter 7.
    """
    if isinstance(source, Match):
        source = source.piece
    elif not isinstance(source, Melody | Score):
        try:
            named = any(str(source).lower().endswith(kind) for kind in KINDS)
            source = read_score(source) if named else _from_query(read_query(source))
        except (TypeError, AttributeError, OverflowError) as error:
            raise refuse("source", source, 'a Match, a Melody, a Score, notes such as "E4 F4 G4", or a file') from error
    melody = source.melody() if isinstance(source, Score) else source
    if not melody.notes:
        raise ValueError(f"the source {melody.name!r} has no notes to start from")
    rows = [(note.pitch, note.start, note.duration) for note in melody.notes]
    try:
        meter = read_meter(melody.time_signature)
    except ValueError:
        meter = (4, 4)
    return Melody(tuple(Note(*row) for row in rows), melody.name, _key_of(melody), melody.tempo, meter)


def _key_of(melody: Melody) -> str:
    try:
        return read_key(melody.key or estimate_key(melody))
    except ValueError:  # all twelve pitch classes sound equally long, or a mode that we do not know
        return "C major"


def _from_query(query) -> Melody:
    """The notes of a query, of which sung ones are neither in tune nor in time."""
    pitches = np.rint(query.pitches).astype(int)
    if query.starts is None:
        return Melody.from_pitches(pitches, 0.5)
    starts, ends = query.starts - query.starts[0], query.starts + query.durations - query.starts[0]
    if query.kind == "sound":
        pace = 0.5 / np.median(np.diff(starts)) if len(starts) > 1 else 1.0
        starts = np.rint(4 * pace * starts) / 4
        ends = np.append(np.minimum(np.rint(4 * pace * ends[:-1]) / 4, starts[1:]), starts[-1] + 1)
    notes = [Note(p, a, b - a) for p, a, b in zip(pitches.tolist(), starts, ends, strict=True) if b > a]
    return Melody(tuple(notes))


@lru_cache(64)
def find_pickup(melody: Melody) -> float:
    """Guess how many beats come before the first bar line.

    >>> find_pickup(Melody.from_pitches([67, 72, 72, 72, 74, 76], [1, 2, 1, 2, 1, 3], time_signature=(3, 4)))
    1.0

    Args:
        melody: with a key and a time signature.

    Returns: beats, less than a bar.

    Chapter 7.
    """
    levels, tonic = metric_levels(melody.time_signature), pitch_class(melody.key.split()[0])
    starts, bar = np.rint(melody.starts * TICKS).astype(int), len(levels)
    long, best = np.log2(melody.durations / np.median(melody.durations)), (-np.inf, 0.0)
    for pickup in range(0, bar, 6):
        level, lines = levels[(starts - pickup) % bar], np.arange(pickup, melody.duration * TICKS, bar)
        downbeats = np.isin(starts, lines)
        home = np.mean(melody.pitches[downbeats] % 12 == tonic) if downbeats.any() else 0.0
        shape = (np.isin(lines, starts).mean() if len(lines) else 0.0, level[-1] / levels.max())
        evidence = (np.mean(level * long), syncopation(melody, pickup / TICKS), *shape, pickup == 12, pickup == 24)
        best = max(best, (PICKUP_WEIGHTS @ (*evidence, pickup / bar, home), -pickup))
    return -best[1] / TICKS


@lru_cache(64)
def find_form(melody: Melody) -> tuple[str, ...]:
    """Find the form of a melody whose sections are equally long.

    >>> find_form(Melody.from_pitches([60, 62, 64, 60] * 8))
    ('A', 'A')

    Args:
        melody: with a key and a time signature; its repeats have to be written out.

    Returns: a letter for each section, with the same letter for those that are nearly the same.

    Chapter 7.
    """
    bars, beats, pickup = (
        count_bars(melody),
        4 * melody.time_signature[0] / melody.time_signature[1],
        find_pickup(melody),
    )
    for count in (n for n in range(2, 9) if bars % n == 0 and bars // n >= 4):
        span, labels, known = bars // count * beats, [], []
        for i in range(count):
            first = pickup + i * span
            part = [
                (n.pitch, n.start - first, n.duration) for n in melody.notes if -1e-6 <= n.start - first < span - 1e-6
            ]
            part = Melody(tuple(Note(p, max(0.0, a), d) for p, a, d in part))
            same = [label for label, other in known if closeness(part, other) >= SAME]
            labels.append(same[0] if same else chr(65 + len(known)))
            known += [] if same else [(labels[-1], part)]
        if len(known) < count:
            return tuple(labels)
    return ("A", "B") if bars % 2 == 0 and bars >= 8 else ("A",)


def count_bars(melody: Melody) -> int:
    """The number of bars of a melody from its first bar line on."""
    beats = 4 * melody.time_signature[0] / melody.time_signature[1]
    return max(1, int(np.ceil((melody.duration - find_pickup(melody)) / beats - 0.25)))


def lay_out(source: Melody, controls: Controls) -> Melody:
    """Carry a melody over to the key, metre, form and range of a song; repeats are not written out.

    >>> march = Melody.from_pitches([60, 62, 64, 65] * 2, key="C major", time_signature=(2, 4))
    >>> lay_out(march, Controls("D dorian", (6, 8), 100.0, 4, ("A",), (60, 80))).pitches.tolist()
    [62, 64, 65, 67, 62, 64, 65, 67]

    Each note keeps its place in the bar, as far as the new metre has it, and its step of the scale, in the nearest
    octave. Each section of the song takes its bars from the same section of the source, which starts over at its end.

    Args:
        source: with a key and a time signature.
        controls: of the song.

    Returns: the melody on the time axis of the sections as they are written.

    Chapter 7.
    """
    old, new = len(metric_levels(source.time_signature)), len(metric_levels(controls.meter))
    first = round(find_pickup(source) * TICKS)
    onsets = np.rint(source.starts * TICKS).astype(int) - first
    ends = np.rint((source.starts + source.durations) * TICKS).astype(int) - first
    pitches, count = _carry_pitches(source, controls), count_bars(source)
    rows, length = [], controls.bars_each * new
    for j, start in enumerate(_first_bars(source, controls)):
        section = []
        for i in range(controls.bars_each):
            line = (start + i) % count * old
            inside = np.flatnonzero(onsets // old == line // old)
            places = (onsets[inside] - line).tolist()
            for k, place, moved in zip(inside, places, move_onsets(places, old, controls.meter), strict=True):
                long = round((ends[k] - line - place) * new / old)
                rest = k + 1 < len(onsets) and ends[k] < onsets[k + 1]
                section.append([moved + i * new, moved + i * new + max(3, long) if rest else length, pitches[k]])
        section = section or [[0, length, pitches[0]]]
        section[0][0] = 0
        kept = [row for i, row in enumerate(section) if not i or section[i - 1][0] < row[0] < length]
        kept[-1][1] = length
        stops = [row[0] for row in kept[1:]] + [length]
        rows += [(p, j * length + a, min(b, stop) - a) for (a, b, p), stop in zip(kept, stops, strict=True)]
    notes = tuple(Note(int(p), a / TICKS, d / TICKS) for p, a, d in rows)
    return Melody(notes, source.name, controls.key, controls.tempo, controls.meter)


def play_out(written: Melody, controls: Controls) -> Melody:
    """Put the sections of a melody in the order in which they sound.

    Args:
        written: each section once, one after another.
        controls: with the form.

    Returns: the melody as it sounds.

    Chapter 7.
    """
    span, labels = controls.bars_each * 4 * controls.meter[0] / controls.meter[1], list(controls.sections)
    parts = [[n for n in written.notes if int((n.start + 1e-6) / span) == i] for i, _ in enumerate(labels)]
    moves = [(i - labels.index(label)) * span for i, label in enumerate(controls.form)]
    rows = [(n, move) for label, move in zip(controls.form, moves, strict=True) for n in parts[labels.index(label)]]
    return replace(written, notes=tuple(replace(n, start=n.start + move) for n, move in rows))


def _first_bars(source: Melody, controls: Controls) -> list[int]:
    """The bar of the source at which each section of the song begins."""
    form, labels = find_form(source), list(controls.sections)
    own = [form.index(label) * (count_bars(source) // len(form)) for label in sorted(set(form))]
    letters = list(dict.fromkeys(label[0] for label in labels))
    places = [letters.index(label[0]) for label in labels]
    return [own[i] if i < len(own) else i * controls.bars_each for i in places]


def move_onsets(ticks: list[int], old: int, meter: tuple[int, int]) -> list[int]:
    """Find places for a bar's onsets in another metre: in order, near where they were, strong if possible.

    >>> move_onsets([0, 12, 24, 36, 48, 60], 72, (4, 4))  # a bar of a jig becomes long-short-short
    [0, 24, 36, 48, 72, 84]

    Args:
        ticks: where the notes begin.
        old: ticks of the bar that they come from.
        meter: of the bar that they go to.

    Returns: ticks; the same if the bars are equally long.

    Chapter 7.
    """
    levels = metric_levels(meter)
    if old == (new := len(levels)) or not ticks:
        return ticks
    step = 12 if beat_ticks(meter) % 36 == 0 and len(ticks) <= new // 12 else 6
    step = step if len(ticks) <= new // step else 1
    grid = np.arange(0, new, step)
    after = grid[:, None] < grid  # (from, to)
    swing = np.array([[levels[a + 1 : b].max(initial=0) > levels[a] for b in grid] for a in grid])
    weak, back = 0.4 * (levels.max() - levels[grid]), []
    moves, best = np.where(after, 2.0 * swing, np.inf), weak + np.abs(grid - ticks[0] * new / old) / 12
    for tick in ticks[1:]:  # the Viterbi algorithm
        costs = best[:, None] + moves
        back.append(costs.argmin(0))
        best = costs.min(0) + weak + np.abs(grid - tick * new / old) / 12
    path = [int(best.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return grid[path[::-1]].tolist()


def _carry_pitches(source: Melody, controls: Controls) -> np.ndarray:
    """The same steps of another scale, in the octave in which most notes are in range; the others are folded."""
    name, mode = source.key.split()
    tonic, (low, high) = pitch_class(name), controls.range
    old, new = scale_of(mode), scale_of(controls.mode)
    steps = [max(i for i in range(7) if old[i] <= chroma) for chroma in range(12)]
    table = np.array(
        [
            new[i] + min(c - old[i], 0 if controls.strict else (*new, 12)[i + 1] - new[i] - 1)
            for c, i in enumerate(steps)
        ]
    )
    octaves, chromas = np.divmod(source.pitches - tonic, 12)
    pitches = 12 * octaves + table[chromas] + tonic + (controls.tonic - tonic + 6) % 12 - 6
    outside = [np.sum((pitches + 12 * k < low) | (pitches + 12 * k > high)) for k in range(-5, 6)]
    pitches += 12 * min(range(-5, 6), key=lambda k: (outside[k + 5], abs(k)))
    pitches += 12 * (np.maximum(0, -(-(low - pitches) // 12)) - np.maximum(0, -(-(pitches - high) // 12)))
    inside = np.array([p for p in range(low, high + 1) if (p - controls.tonic) % 12 in new])
    return np.where((pitches < low) | (pitches > high), inside[np.abs(inside[:, None] - pitches).argmin(0)], pitches)
