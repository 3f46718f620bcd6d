"""Expression: what players add to the notes. Swelling phrases, accents on the beat, breathing timing. Chapter 8."""

from dataclasses import replace

import numpy as np

from musicai.notes import Note, Score
from musicai.notes.note import real, require
from musicai.notes.score import SLACK

PHRASE = 4  # bars
SWELL, ACCENT, CHANCE = 7.0, 5.0, 1.5  # steps of velocity: of a phrase, of a downbeat, and at random
RUSH, WAVER = 0.03, 0.05  # beats: how early the middle of a phrase comes, and how far a beat is off at most
LONGEST_WAVER, SPREAD = 0.008, 0.006  # seconds: the same limit, and how far apart the notes of a chord begin


def humanize_score(score: Score, amount: float, seed: int = 0) -> Score:
    """Let a score sound played rather than counted: louder and softer, a little earlier and later.

    >>> from musicai.notes import Melody
    >>> scale = Melody.from_pitches([60, 62, 64, 65]).to_score()
    >>> [note.velocity for note in humanize_score(scale, 1.0).notes]
    [78, 74, 78, 79]

    Phrases of four bars swell by up to seven steps of velocity and press forward a little towards their middle.
    Downbeats are five steps louder, and notes off the beat five steps softer. Beats are up to 8 ms early or late, in
    all parts alike, so the parts stay together; the notes of a chord begin up to 6 ms apart. Every note keeps its place
    in the order, and notes that did not overlap still do not.

    Args:
        score: of any number of parts.
        amount: from 0, which changes nothing, to 1; every deviation is proportional to it.
        seed: the seed of what is left to chance.

    Returns: a score of the same notes.

    Raises:
        ValueError: if the amount is not from 0 to 1.

    Source: after the phrase arcs and accents in Friberg, Bresin and Sundberg, "Overview of the KTH rule system for
    musical performance" (2006), much simplified. Chapter 8.
    """
    require(0 <= real(amount, "humanize") <= 1, f"humanize must be from 0 to 1, not {amount!r}")
    notes = [(i, note) for i, track in enumerate(score.tracks) for note in track.notes]
    if not amount or not notes:
        return score
    rng = np.random.default_rng(seed)
    starts, ends, velocities = np.array([(note.start, note.end, note.velocity) for _, note in notes]).T
    chance = CHANCE * rng.standard_normal(len(notes)).clip(-2, 2)
    velocities = velocities + amount * (dynamics(score, starts) + chance)
    late = lateness(score, rng)
    apart = rng.random(len(notes)) * spread(score, starts, ends)
    starts = score.beats(score.seconds(starts) + amount * (late(starts) + apart))
    lasting = score.beats(score.seconds(ends) + amount * late(ends)) - starts
    rows = zip(notes, starts.tolist(), lasting.tolist(), velocities.round().clip(1, 127).tolist(), strict=True)
    played = [[] for _ in score.tracks]
    for (i, note), *heard in rows:
        played[i].append(Note(note.pitch, *heard))
    tracks = (replace(track, notes=notes) for track, notes in zip(score.tracks, played, strict=True))
    return replace(score, tracks=tuple(tracks))


def metre_at(score: Score, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each beat: bars since the last time signature, beats since the bar line, and beats to a pulse."""
    begin, number, unit = np.array(score.time_signatures).T
    pulse = np.where((number % 3 == 0) & (number > 3), 12, 4) / unit  # three units in 6/8, 9/8 and 12/8
    bar = 4 * number / unit
    i = np.searchsorted(begin, beats + SLACK, "right") - 1
    since = np.maximum(beats - begin[i], 0)
    return since / bar[i], (since + SLACK) % bar[i], pulse[i]


def dynamics(score: Score, beats: np.ndarray) -> np.ndarray:
    """How much louder to play at these beats, in steps of velocity."""
    bars, within, pulse = metre_at(score, beats)
    swell = 2 * np.sin(np.pi * (bars / PHRASE % 1) ** 1.2) - 1  # loudest a little after the middle
    accent = np.where(within < 2 * SLACK, 1, np.where((within + SLACK) % pulse < 4 * SLACK, 0, -1))
    return SWELL * swell + ACCENT * accent


def lateness(score: Score, rng: np.random.Generator):
    """A function from beats to the seconds by which they come late, never so uneven that a later beat comes first."""
    grid = np.arange(np.ceil(score.duration) + 2)
    pace = np.diff(score.seconds(grid), append=0)  # seconds per beat
    pace[-1] = pace[-2]
    waver = np.minimum(WAVER * pace, LONGEST_WAVER) * rng.uniform(-1, 1, len(grid)) * (grid > 0)
    late = waver - RUSH * pace * np.sin(np.pi * metre_at(score, grid)[0] / PHRASE) ** 2
    return lambda beats: np.interp(beats, grid, late)


def spread(score: Score, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many seconds late a note may start: well before its end and the next note's start."""
    order = np.unique(starts)
    gaps = np.diff(order, append=np.inf)
    gaps[gaps < SLACK] = 0  # the same time but for rounding
    limit = np.minimum(order[np.searchsorted(order, starts)] + gaps[np.searchsorted(order, starts)], ends)
    return np.minimum(SPREAD, (score.seconds(limit) - score.seconds(starts)) / 8)
