"""The melody that a song starts from: its bars, its form, and how it would go in another key and metre. Chapter 7."""

import json
import re
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from os.path import expanduser, isfile

import numpy as np

from musicai.composition.tunes import TICKS
from musicai.data.splits import title_key
from musicai.notes import Melody, Note, Score, pitch_class, read_score
from musicai.notes.keys import MAJOR_KEYS, MAJOR_PROFILE, MINOR_KEYS, MINOR_PROFILE
from musicai.search import Match, MelodyIndex, default_index, read_query
from musicai.search.queries import NOTATION, SOUND

from .controls import Controls, closeness, metric_levels, read_key, read_meter, refuse, scale_of, syncopation
from .harmony import best_path

SAME = 0.75  # closeness from which two sections count as one that repeats
# How much speaks for a bar line: long notes in strong places, syncopation, a note on each line, a strong last note, a
# pickup of an eighth or of a quarter, a long pickup, the tonic on the lines. This conditional logit was fitted to the
# bar lines of the folk corpus's training split; it finds 86 % of the pickups of its validation split.
PICKUP_WEIGHTS = np.array([5.7, -4.3, 3.4, 1.5, 1.9, 1.4, -5.3, 0.9])

# How much of the Essen folk songs' time each step of the scale takes, in percent, tonic first (Aarden 2003).
MAJOR_TUNES = (17.77, 0.15, 14.93, 0.16, 19.80, 11.36, 0.29, 22.06, 0.15, 8.15, 0.23, 4.95)
MINOR_TUNES = (18.26, 0.74, 14.05, 16.86, 0.70, 14.44, 0.70, 18.62, 4.57, 1.93, 7.38, 1.76)


def source_melody(source) -> Melody:
    """Take the melody out of whatever a song may start from, with a key and a metre.

    >>> source_melody("C4 D4 E4 F4 G4 C5").key
    'C major'

    Args:
        source: a Match, a Melody, a Score, a Song, the path of a file, or anything else that `read_query` takes.

    Returns: the melody; a recording is put on a grid of sixteenth notes, at a pace of about two notes per beat.

    Raises:
        ValueError: if there are no notes in it.
        FileNotFoundError: if there is no such file.

    Chapter 7.
    """
    given = source
    if isinstance(source, Match):
        source = source.piece
    elif isinstance(getattr(source, "melody", None), Melody):  # a Song
        source = source.melody
    elif not isinstance(source, Melody | Score):
        try:
            named = str(source).lower().endswith(NOTATION)
            source = read_score(source) if named else _from_query(read_query(source))
        except (TypeError, AttributeError, OverflowError) as error:
            raise refuse("source", source, 'a Match, a Melody, a Score, notes such as "E4 F4 G4", or a file') from error
    melody = source.melody() if isinstance(source, Score) else source
    if not melody.notes:
        raise ValueError(f"the source {melody.name or str(given)!r:.80} has no notes to start from")
    meter = _usable(read_meter, melody.time_signature, (4, 4))
    best = int(key_scores(melody).sum(0).argmax())
    guess = f"{MAJOR_KEYS[best]} major" if best < 12 else f"{MINOR_KEYS[best - 12]} minor"
    key = _usable(read_key, melody.key or guess, guess)
    silence = melody.notes[0].start // (4 * meter[0] / meter[1]) * (4 * meter[0] / meter[1])  # whole bars of rest
    notes = tuple(Note(note.pitch, note.start - silence, note.duration) for note in melody.notes)
    return Melody(notes, melody.name, key, melody.tempo, meter)


def _usable(read, value, usual):
    """What can be read from a value, or what is usual."""
    try:
        return read(value)
    except ValueError:
        return usual


def key_scores(melody: Melody) -> np.ndarray:
    """How well a melody fits each key, as listeners judge and as folk songs use the scale.

    Of held-out folk tunes, the sum of both finds the key from the first 16 notes in 82 % (either alone: 66 and 71 %).

    Args:
        melody: with at least one note.

    Returns: float64 (2, 24): correlations with either kind of profile, of C major to B major and C minor to B minor.

    Sources: Krumhansl, *Cognitive Foundations of Musical Pitch* (1990); Aarden, *Dynamic Melodic Expectancy* (2003).
    Chapter 7.
    """
    weights = np.bincount(melody.pitches % 12, melody.durations, minlength=12) + 1e-9 * np.arange(12)  # never constant
    kinds = ((MAJOR_PROFILE, MINOR_PROFILE), (MAJOR_TUNES, MINOR_TUNES))
    rows = [np.roll(profile, tonic) for kind in kinds for profile in kind for tonic in range(12)]
    return np.corrcoef(weights, rows)[0, 1:].reshape(2, 24)


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

    >>> waltz = Melody.from_pitches([67, 72, 72, 72, 74, 76], [1, 2, 1, 2, 1, 3], key="C major", time_signature=(3, 4))
    >>> find_pickup(waltz)
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

    >>> find_form(Melody.from_pitches([60, 62, 64, 60] * 8, key="C major"))
    ('A', 'A')

    Args:
        melody: with a key and a time signature; its repeats have to be written out.

    Returns: a letter for each section, with the same letter for those that are nearly the same.

    Chapter 7.
    """
    bars, bar, pickup = count_bars(melody), len(metric_levels(melody.time_signature)), find_pickup(melody)
    for count in (n for n in range(2, 9) if bars % n == 0 and bars // n >= 4):
        parts = cut(melody, bars // count * bar, count, pickup)
        alike = ([closeness(part, one) >= SAME for one in parts[:i]] for i, part in enumerate(parts))
        firsts = [[*earlier, True].index(True) for earlier in alike]
        if len(set(firsts)) < count:
            return tuple(chr(65 + sorted(set(firsts)).index(first)) for first in firsts)
    return ("A", "B") if bars % 2 == 0 and bars >= 8 else ("A",)


def cut(melody: Melody, span: int, count: int, first: float = 0.0) -> list[Melody]:
    """Cut a melody into equally long parts, with times from the beginning of each.

    Args:
        melody: what to cut; what comes before the first part, or after the last, is left out, and so is a note that
            lasts less than half a tick.
        span: ticks per part.
        count: the number of parts.
        first: the beat at which the first part begins.

    Returns: the parts.

    Chapter 7.
    """
    ticks = np.rint((np.stack([melody.starts, melody.starts + melody.durations], 1) - first) * TICKS).astype(int)
    rows = [(a // span, replace(note, start=a % span / TICKS, duration=(b - a) / TICKS))
            for note, (a, b) in zip(melody.notes, ticks.tolist(), strict=True) if b > a]  # fmt: skip
    return [replace(melody, notes=tuple(note for i, note in rows if i == k)) for k in range(count)]


def count_bars(melody: Melody) -> int:
    """The number of bars of a melody from its first bar line on."""
    beats = melody.duration - find_pickup(melody)
    return max(1, int(np.ceil(beats * TICKS / len(metric_levels(melody.time_signature)) - 0.25)))


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
    rows, length = [], controls.span
    for j, start in enumerate(_first_bars(source, controls)):
        section = []
        for i in range(length // new):
            line = (start + i) % count * old
            inside = np.flatnonzero(onsets // old == line // old)
            places = move_onsets((onsets[inside] - line).tolist(), old, controls.meter)
            stops = np.where(np.isin(ends[inside], onsets), length, (ends - onsets)[inside] * new // old)
            ends_at = [i * new + a + max(3, d) for a, d in zip(places, stops, strict=True)]
            section += map(list, zip([i * new + a for a in places], ends_at, pitches[inside], strict=True))
        section = section or [[0, length, pitches[0]]]
        section[0][0], section[-1][1] = 0, length
        after = [row[0] for row in section[1:]] + [length]
        pairs = [(*row, stop) for row, stop in zip(section, after, strict=True) if stop > row[0]]
        rows += [(pitch, j * length + a, min(b, stop) - a) for a, b, pitch, stop in pairs]
    notes = tuple(Note(int(p), a / TICKS, int(d) / TICKS) for p, a, d in rows)
    return Melody(notes, source.name, controls.key, controls.tempo, controls.meter)


def play_out(written: Melody, controls: Controls) -> Melody:
    """Put the sections of a melody in the order in which they sound.

    Args:
        written: each section once, one after another.
        controls: with the form.

    Returns: the melody as it sounds.

    Chapter 7.
    """
    labels = list(controls.sections)
    parts = dict(zip(labels, cut(written, controls.span, len(labels)), strict=True))
    rows = [(note, k * controls.span) for k, label in enumerate(controls.form) for note in parts[label].notes]
    return replace(written, notes=tuple(replace(n, start=round(n.start * TICKS + tick) / TICKS) for n, tick in rows))


def _first_bars(source: Melody, controls: Controls) -> list[int]:
    """The bar of the source at which each section of the song begins."""
    form, labels = find_form(source), list(controls.sections)
    own = [form.index(label) * (count_bars(source) // len(form)) for label in sorted(set(form))]
    letters = list(dict.fromkeys(label[0] for label in labels))
    places = [letters.index(label[0]) for label in labels]
    return [own[i] if i < len(own) else i * (controls.bars // len(controls.form)) for i in places]


def move_onsets(ticks: list[int], old: int, meter: tuple[int, int]) -> list[int]:
    """Find places for a bar's onsets in another metre: in order, near where they were, strong if possible.

    >>> move_onsets([0, 12, 24, 36, 48, 60], 72, (4, 4))  # a bar of a jig becomes short-short-long
    [0, 12, 24, 48, 60, 72]

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
    step = next(step for step in (12, 6, 1) if new >= step * len(ticks) and (step < 12 or new % 36 == 0))
    grid = np.arange(0, new, step)
    aims = np.abs(grid - np.array(ticks)[:, None] * new / old) / 12 + 0.4 * (levels.max() - levels[grid])
    swing = [[levels[a + 1 : b].max(initial=0) > levels[a] for b in grid] for a in grid]
    moves = np.where(grid[:, None] < grid, 2.0 * np.array(swing), np.inf)  # (from, to)
    return grid[best_path(-aims[::-1], lambda _: -moves.T)[::-1]].tolist()  # from the last note to the first


def _carry_pitches(source: Melody, controls: Controls) -> np.ndarray:
    """The same steps of another scale, in the octave in which most notes are in range; the others are folded."""
    name, mode = source.key.split()
    tonic, (low, high) = pitch_class(name), controls.range
    old, new = scale_of(mode), scale_of(controls.mode)
    steps = np.searchsorted(old, np.arange(12), side="right") - 1  # each semitone's step, and what is left above it
    room = np.diff([*new, 12])[steps] - 1
    table = np.array(new)[steps] + np.minimum(np.arange(12) - np.array(old)[steps], 0 if controls.strict else room)
    octaves, chromas = np.divmod(source.pitches - tonic, 12)
    pitches = 12 * octaves + table[chromas] + tonic + (controls.tonic - tonic + 6) % 12 - 6
    outside = [np.sum((pitches + 12 * k < low) | (pitches + 12 * k > high)) for k in range(-5, 6)]
    pitches += 12 * min(range(-5, 6), key=lambda k: (outside[k + 5], abs(k)))
    pitches += 12 * (np.maximum(0, -(-(low - pitches) // 12)) - np.maximum(0, -(-(pitches - high) // 12)))
    inside = np.array([p for p in range(low, high + 1) if (p - controls.tonic) % 12 in new])
    return np.where((pitches < low) | (pitches > high), inside[np.abs(inside[:, None] - pitches).argmin(0)], pitches)


# ---- naming a source


PITCHES = re.compile(r"(?:[A-G][#b]?\d\s+)*[A-G][#b]?\d", re.IGNORECASE)  # "E4 F#4": no tune is called so
COLLECTIONS = {"oneill": "oneills1850", "ryan": "ryansMammoth", "aird": "airdsAirs"}


def read_source(text: str, index: MelodyIndex | None = None) -> Melody | str:
    """Find the melody that a person means.

    >>> read_source("O'Neill 28").name  # doctest: +SKIP
    "O'Connell's Lamentation"

    Args:
        text: a number in a collection ("O'Neill 28", "Ryan 5", "Aird 12"), the id of a tune ("oneills1850/28"), a title
            ("Miss McLeod's Reel"), notes ("E4 E4 F4"), or the name of a file.
        index: the tunes; the default index if None.

    A title comes before notes: what reads as both, such as "Abba", is the tune if one is called so.

    Returns: the tune, or for notes and files the text as it is, which `read_query` can read.

    Raises:
        ValueError: if nothing fits; the message lists the nearest titles.
        FileNotFoundError: if there is no such file.

    Chapter 7.
    """
    text = text.strip()
    if not text:
        raise ValueError("the source is empty: give a title, notes or a file, or leave it out to start from nothing")
    if text.lower().endswith(NOTATION + SOUND):
        if not isfile(expanduser(text)):
            raise FileNotFoundError(f"{text}: no such file")
        return text
    if PITCHES.fullmatch(text):
        return text
    index = index or default_index()
    titles = index.titles()
    ids = {name: i for i, (name, _) in enumerate(titles)}
    number = re.fullmatch(r"(o.?neill|ryan|aird)\D*?(\d+)", text, re.IGNORECASE)
    if number:
        i = _numbered(COLLECTIONS[re.sub(r"\W", "", number[1].lower())], int(number[2]), ids)
    elif text in ids:
        i = ids[text]
    else:
        i = _titled(text, [title for _, title in titles])
    return text if i is None else index.read_line(int(np.searchsorted(index.lines.pieces, i)))[1]


def _numbered(collection: str, number: int, ids: dict[str, int]) -> int:
    """The tune with a number that is printed in the book; Ryan's tunes have none and are counted from 1."""
    ours = {name: i for name, i in ids.items() if name.startswith(collection)}
    if not ours:
        raise ValueError(f"{collection} is not among the tunes here; pip install 'musicai[corpus]' brings it")
    printed = {int(found[1]): i for name, i in ours.items() if (found := re.fullmatch(r"\D*\d*/0*(\d+)", name))}
    if len(printed) <= len(ours) / 2:
        printed = dict(enumerate(ours.values(), 1))
    if number not in printed:
        raise ValueError(f"{collection} has no tune {number}; its numbers go from {min(printed)} to {max(printed)}")
    return printed[number]


def _titled(text: str, titles: list[str]) -> int | None:
    """The first tune with that title, or None if the text is notes."""
    keys = [title_key(title) for title in titles]
    wanted = title_key(text) or text.lower()
    if wanted in keys:
        return keys.index(wanted)
    try:
        read_query(text)
        return None
    except ValueError:
        near = get_close_matches(wanted, sorted(set(keys) - {""}), n=3, cutoff=0.5)
        shown = " or ".join(f'"{titles[keys.index(key)]}"' for key in near) or "a title"
        raise ValueError(f'no tune is called "{text:.60}"; try {shown}, "O\'Neill 28", notes or a file') from None


def read_match(text: str) -> Melody:
    """Read the best match from what `musicai find --json` prints.

    >>> piece = '{"key": "C major", "tempo": 120, "time_signature": [4, 4], "notes": [[60, 0, 1]]}'
    >>> read_match(f'[{{"title": "One note", "piece": {piece}}}]').name
    'One note'

    Args:
        text: JSON.

    Returns: the tune of the first match.

    Raises:
        ValueError: if there is no match, or this is something else.

    Chapter 7.
    """
    try:
        match = json.loads(text)[0]
        piece, notes = match["piece"], tuple(Note(*row) for row in match["piece"]["notes"])
        return Melody(notes, match["title"], piece["key"], piece["tempo"], piece["time_signature"])
    except IndexError:
        raise ValueError("`musicai find --json` found nothing to start from") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not what `musicai find --json` prints ({error!r:.80})") from error
