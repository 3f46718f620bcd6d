"""Casting: which instrument plays which part, by General MIDI's names or by the sound of a clip. Chapter 8."""

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache

from musicai.notes import Score
from musicai.notes.note import require
from musicai.performance.recognition import Clip, recognise_instrument
from musicai.performance.sampled import INSTRUMENTS, NAMES, PROGRAMS

Instruments = str | Mapping[str | int, str] | Sequence[str] | None


def find_instrument(name: str, known: Sequence[str] = ()) -> str:
    """Find the sampled instrument that plays a General MIDI instrument.

    >>> find_instrument("Acoustic Guitar (nylon)"), find_instrument("Viola"), find_instrument("guitar")
    ('nylon_guitar', 'violin', 'nylon_guitar')

    Args:
        name: one of General MIDI's 128 names or of our `INSTRUMENTS`, or a word of one of ours; capitals and
            punctuation don't matter.
        known: names that stand for themselves, such as those of a model of your own.

    Returns: one of `known` or of `INSTRUMENTS`.

    Raises:
        ValueError: for an unknown name; the message gives the nearest ones.

    Source: General MIDI level 1 (1991). Chapter 8.
    """
    table = _table() | {name: name for name in known}
    wanted = plain(str(name))
    if name not in table and wanted not in table:
        if short := [ours for ours in INSTRUMENTS if wanted in ours.split("_")]:
            return short[0]  # "guitar", "horn", "sax"
        near = [key for key in table if wanted and wanted in key] + difflib.get_close_matches(wanted, table, 4, 0.5)
        near = list(dict.fromkeys(near))[:4] or list(INSTRUMENTS)
        raise ValueError(f"no instrument {name!r}; the nearest are {', '.join(near)}")
    return table.get(name) or table[wanted]


def plain(name: str) -> str:
    """A name in lower case, with one underscore for whatever is between its words."""
    return re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")


@cache
def _table() -> dict[str, str]:
    return {plain(name): ours for name, ours in zip(NAMES, PROGRAMS, strict=True)} | {n: n for n in INSTRUMENTS}


def cast(
    score: Score, instruments: Instruments = None, known: Sequence[str] = (), like: Clip | None = None
) -> dict[int, str]:
    """Choose the instrument of each part that has notes and is not drums.

    >>> from musicai.notes import Note, Track
    >>> duo = Score((Track([Note(72, 0, 1)], name="melody"), Track([Note(48, 0, 1)], program=42)))
    >>> cast(duo, {"melody": "Flute"})
    {0: 'flute', 1: 'cello'}

    Args:
        score: whose parts are its tracks.
        instruments: one name for all parts, a list with a name for each, or a mapping from tracks (their names or
            indices) to names. Tracks that it leaves out, and all with None, play their General MIDI program.
        known: as in `find_instrument`.
        like: a clip of an instrument, which plays the melody: the track called "melody", or else the first.

    Returns: for each index into the score's tracks, an instrument.

    Raises:
        ValueError: if there is no such track or instrument.

    Chapter 8.
    """
    parts = {i: track for i, track in enumerate(score.tracks) if track.notes and not track.is_drum}
    if isinstance(instruments, str):
        instruments = dict.fromkeys(parts, instruments)
    elif not isinstance(instruments, Mapping):
        given = list(instruments or ())
        require(len(given) <= len(parts), f"{len(given)} instruments for {len(parts)} parts")
        instruments = dict(zip(parts, given, strict=False))
    titles = {track.name: i for i, track in parts.items()}
    for part in instruments:
        require(part in parts or part in titles, f"no part is called {part!r}; the score has {[*titles]}")
    chosen = {i: instruments.get(i, instruments.get(track.name)) for i, track in parts.items()}
    names = {i: find_instrument(name or PROGRAMS[parts[i].program], known) for i, name in chosen.items()}
    if like is not None and names:
        names[titles.get("melody", min(names))] = recognise_instrument(like)
    return names
