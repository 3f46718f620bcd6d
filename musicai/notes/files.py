"""Scores in files of any kind, chosen by their endings. Chapter 6."""

import os
from pathlib import Path

from musicai.notes.abc import read_abc_score, write_abc
from musicai.notes.midi import read_midi, write_midi
from musicai.notes.musicxml import read_musicxml, write_musicxml
from musicai.notes.score import Melody, Score

MIDI, XML, ABC = (read_midi, write_midi), (read_musicxml, write_musicxml), (read_abc_score, write_abc)
KINDS = {".mid": MIDI, ".midi": MIDI, ".musicxml": XML, ".xml": XML, ".mxl": XML, ".abc": ABC}


def read_score(path: str | os.PathLike, expand_repeats: bool = False) -> Score:
    """Read a score from a MIDI, MusicXML or ABC file.

    >>> read_score("song.musicxml")  # doctest: +SKIP

    Args:
        path: a file that ends in .mid, .midi, .musicxml, .xml, .mxl or .abc; of several tunes in an ABC file, the
            first is read (`read_abc` reads all).
        expand_repeats: whether to write out repeats in MusicXML and ABC, as they are played.

    Returns: the score.

    Raises:
        ValueError: if the ending is another, or the file cannot be read; the message names it.
        OSError: if there is no such file.

    Chapter 6.
    """
    read = _kind(path)[0]
    return read(path) if read is read_midi else read(path, expand_repeats)


def write_score(path: str | os.PathLike, score: Score | Melody) -> None:
    """Write a score or a melody as a MIDI, MusicXML or ABC file.

    >>> write_score("song.mxl", Melody.from_pitches([60, 62, 64]))  # doctest: +SKIP

    Args:
        path: the file, which ends in .mid, .midi, .musicxml, .xml, .mxl or .abc.
        score: the music.

    Raises:
        ValueError: if the ending is another, or that kind of file cannot hold the score.
        OSError: if the file cannot be written.

    Chapter 6.
    """
    _kind(path)[1](path, score)


def _kind(path: str | os.PathLike) -> tuple:
    name = os.fsdecode(path)
    if (suffix := Path(name).suffix.lower()) not in KINDS:
        raise ValueError(f"{name}: a score's name ends in {', '.join(KINDS)}, not in {suffix!r}")
    return KINDS[suffix]
