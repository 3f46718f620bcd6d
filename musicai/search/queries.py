"""What people search with, as one kind of query: typed notes, melodies, files of notes, or sound. Chapter 6."""

import math
import re
from dataclasses import dataclass
from itertools import accumulate
from numbers import Real
from os import PathLike
from os.path import expanduser, isfile  # which raise nothing where text is no path at all
from pathlib import Path

import numpy as np
import torch

from musicai.audio import Audio, load
from musicai.data.folders import AUDIO as SOUND
from musicai.notes import Melody, Score, note_number, read_score
from musicai.notes.abc import parse_tune
from musicai.notes.files import KINDS

from .contours import Contour, track_contour

NOTATION = tuple(KINDS)
EXCERPT = 12.0  # seconds: long recordings are cut into excerpts of this length ...
EXCERPTS = 6  # ... and at most this many of them, evenly spread, are used
EXAMPLES = 'note names such as "E4 E4 F4 G4", ABC such as "EEFG GFED", MIDI numbers such as "64 64 65 67", or a file'

_NAMED = re.compile(r"([A-Ga-g])(#|b|♯|♭)*-?\d")
_CLASS = re.compile(r"[A-G](#|b|♯|♭)*")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_ABC = re.compile(r"[A-Ga-gzxZ^_=,'/\d\s|:\[\]()<>.~{}-]+")


@dataclass(frozen=True, eq=False)
class Query:
    """A melody to look for: its notes, and for sound the contours of its pitch.

    >>> read_query("C4 D4 E4").pitches.tolist()
    [60.0, 62.0, 64.0]

    Args:
        pitches: float64 (notes,), MIDI numbers, fractional if they were sung.
        starts: float64 (notes,), onsets in beats or seconds, of which only the ratios count; None without a rhythm.
        durations: float64 (notes,) in the same unit, or None without a rhythm.
        contours: one for each excerpt of a recording; empty if the query is made of notes.
        name: what to call it in messages.

    Chapter 6.
    """

    pitches: np.ndarray
    starts: np.ndarray | None = None
    durations: np.ndarray | None = None
    contours: tuple[Contour, ...] = ()
    name: str = ""

    @property
    def kind(self) -> str:
        """What `musicai.search.confidence` calls it: "sound", "notes" (with rhythm) or "pitches"."""
        return "sound" if self.contours else "pitches" if self.starts is None else "notes"

    @property
    def length(self) -> float:
        """The seconds of a sound, or the number of notes."""
        return sum(contour.seconds for contour in self.contours) if self.contours else len(self.pitches)


def read_query(query) -> Query:
    """Turn whatever a person searches with into a `Query`.

    >>> read_query("EEFG GFED").starts.tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]

    Text is taken as note names if each word is one (`"E4 F#4"`; without octaves, `"E F# G"`, each note is put as close
    as possible to the one before), as MIDI numbers if each word is a number, as the path of a file if there is one, and
    as ABC otherwise.

    Args:
        query: text; a list of MIDI numbers or note names; a Melody or Score (its highest voice); the path of a sound,
            MIDI, MusicXML or ABC file; an Audio; a pair (audio, sample rate); a Contour; or a list of sounds, which are
            excerpts of one recording. A long recording is cut into excerpts.

    Returns: the query.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if nothing in it can be searched for; the message says what can.

    Chapter 6.
    """
    if isinstance(query, Query):
        return query
    if isinstance(query, Contour):
        return _from_contours([query], "the contour")
    if isinstance(query, Score | Melody):
        return _from_melody(query, "the melody")
    if isinstance(query, str | PathLike):
        return _read_text_or_file(query)
    if isinstance(query, Audio):
        query = query.samples, query.sr
    if isinstance(query, tuple) and len(query) == 2 and np.ndim(query[0]) > np.ndim(query[1]) == 0:
        return _from_contours(_contours(*query, "the sound"), "the sound")
    if isinstance(query, list | tuple | np.ndarray | torch.Tensor) and len(query):
        return _read_list(list(query))
    raise ValueError(f"cannot search for {query!r:.80}; give {EXAMPLES}")


def _read_list(items: list) -> Query:
    if all(isinstance(item, Real) or getattr(item, "shape", None) == () for item in items):
        return _from_pitches([float(item) for item in items], "the list")
    if all(isinstance(item, str) and _NAMED.fullmatch(item) for item in items):
        return _read_text(" ".join(items))
    excerpts = [item if isinstance(item, Query) else read_query(item) for item in items]
    if not all(excerpt.contours for excerpt in excerpts):
        raise ValueError("a list must hold MIDI numbers, note names, or sounds that are excerpts of one recording")
    return _from_contours([contour for excerpt in excerpts for contour in excerpt.contours], "the excerpts")


def _read_text_or_file(query: str | PathLike) -> Query:
    path = Path(expanduser(query))
    suffix = path.suffix.lower()
    if suffix in SOUND + NOTATION or isinstance(query, PathLike) or isfile(path):
        if suffix in SOUND:
            return _from_contours(_contours(*load(path, mono=True), path.name), path.name)
        if suffix in NOTATION:
            return _from_melody(read_score(path), path.name)
        raise ValueError(f"{path}: files to search with end in {', '.join(SOUND + NOTATION)}")
    return _read_text(str(query))


def _read_text(text: str) -> Query:
    words = text.replace(",", " , ").split() if re.search(r"\d\s*,|,\s*[A-G\d]", text) else text.split()
    words = [word for word in words if word != ","]
    shown = f'"{text:.60}"'
    if words and all(_NUMBER.fullmatch(word) for word in words):
        return _from_pitches([float(word) for word in words], shown)
    if words and all(_NAMED.fullmatch(word) for word in words) and len({word[0].isupper() for word in words}) == 1:
        return _from_pitches([_pitch(word) for word in words], shown)
    if words and all(_CLASS.fullmatch(word) for word in words):
        pitches = accumulate((_pitch(f"{word}4") for word in words), lambda last, new: last + (new - last + 6) % 12 - 6)
        return _from_pitches(list(pitches), shown)  # each as close as possible to the one before
    return _from_melody(_read_abc(text, shown), shown)


def _pitch(word: str) -> int:
    return note_number(word[0].upper() + word[1:].replace("♯", "#").replace("♭", "b"))


def _read_abc(text: str, shown: str) -> Melody:
    whole = re.search(r"^\s*K:", text, re.MULTILINE)
    if not whole and (not _ABC.fullmatch(text) or not re.search("[A-Ga-g]", text)):
        raise ValueError(f"{shown} is neither notes nor an existing file; give {EXAMPLES}")
    try:
        return Melody(parse_tune(text if whole else f"X:1\nL:1/8\nK:C\n{text}")["notes"])
    except ValueError as error:
        raise ValueError(f"{shown} cannot be read as ABC ({error}); give {EXAMPLES}") from error


def _from_pitches(pitches: list[float], name: str) -> Query:
    if outside := [pitch for pitch in pitches if not 0 <= pitch <= 127]:
        raise ValueError(f"pitch {outside[0]:g} in {name} is outside the MIDI range 0..127, where 60 is middle C")
    return Query(np.array(pitches, dtype=np.float64), name=name)


def _from_melody(piece: Melody | Score, name: str) -> Query:
    melody = piece.melody() if isinstance(piece, Score) else piece
    if not melody.notes:
        raise ValueError(f"{name} has no notes to search for")
    return Query(melody.pitches.astype(np.float64), melody.starts, melody.durations, name=name)


def _contours(audio, sr: int, name: str) -> list[Contour]:
    """Track the pitch of a sound, or of evenly spread excerpts if it is long."""
    wave = _mono(audio, sr, name)
    seconds = len(wave) / sr
    if seconds <= 2 * EXCERPT:
        return [track_contour(wave, sr, name)]
    firsts = np.linspace(0, seconds - EXCERPT, min(EXCERPTS, math.floor(seconds / EXCERPT))) * sr
    found, problem = [], None
    for first in firsts.astype(int):
        try:
            found.append(track_contour(wave[first : first + int(EXCERPT * sr)], sr, name))
        except ValueError as error:  # an excerpt without a melody; others may have one
            problem = error
    if not found:
        raise problem
    return found


def _mono(audio, sr: int, name: str) -> torch.Tensor:
    if not isinstance(sr, Real) or not sr >= 1000:
        raise ValueError(f"{name} needs a sample rate of at least 1000 Hz, as in (audio, 16000), not {sr!r:.40}")
    try:
        wave = torch.as_tensor(audio).detach().cpu()
    except TypeError as error:
        raise ValueError(f"{name} must be numbers, a tensor or an array of samples ({error})") from error
    if wave.is_complex() or wave.ndim not in (1, 2) or wave.numel() == 0:
        raise ValueError(f"{name} must hold real samples (time,) or (channels, time), not {tuple(wave.shape)}")
    return torch.atleast_2d(wave.float()).mean(0)


def _from_contours(contours: list[Contour], name: str) -> Query:
    pitches, starts, durations, _ = contours[0].notes()
    return Query(*(np.asarray(x, dtype=np.float64) for x in (pitches, starts, durations)), tuple(contours), name)
