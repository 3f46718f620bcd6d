"""What people search with, as one kind of query: typed notes, melodies, files of notes, or sound. Chapter 6."""

import math
import re
import unicodedata
from dataclasses import dataclass
from itertools import accumulate, pairwise
from numbers import Real
from os import PathLike
from os.path import expanduser, isfile  # which raise nothing where text is no path at all
from pathlib import Path

import numpy as np

from musicai.data.catalogue import AUDIO as SOUND
from musicai.notes import Melody, Score, note_number, read_score
from musicai.notes.abc import parse_tune
from musicai.notes.files import READABLE

from .contours import Contour, track_contour

NOTATION = tuple(READABLE)
EXCERPT = 12.0  # seconds: long recordings are cut into excerpts of this length ...
EXCERPTS = 6  # ... and at most this many of them, evenly spread, are used
EXAMPLES = 'note names such as "E4 E4 F4 G4", ABC such as "EEFG GFED", MIDI numbers such as "64 64 65 67", or a file'

SYLLABLES = {"do": "C", "ut": "C", "re": "D", "ré": "D", "mi": "E", "fa": "F", "sol": "G", "so": "G", "la": "A"}
SYLLABLES |= {"si": "B", "ti": "B", "h": "B"}  # h as in German, where B is B flat
SIGNS = {"♯": "#", "is": "#", "♭": "b", "es": "b", "s": "b", "♮": "", "𝄪": "##", "𝄫": "bb"}
RESTS = ("", "r", "R", "z")

_NAME = re.compile(r"((?i:do|ut|re|ré|mi|fa|sol|so|la|si|ti|[a-h]))((?:[#b♯♭♮𝄪𝄫]|is|es|(?<=[EeAa])s)*)(-?\d)?")
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

    def part(self, first: int, last: int) -> "Query":
        """Return the notes from number `first` up to, but not including, `last`."""
        rhythm = (None if x is None else x[first:last] for x in (self.starts, self.durations))
        return Query(self.pitches[first:last], *rhythm, name=self.name)


def read_query(query) -> Query:
    """Turn whatever a person searches with into a `Query`.

    >>> read_query("EEFG GFED").starts.tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]

    Text is taken as note names if each word is one: `"E4 F#4"`, `"E4 Fis4 H4"` as in German, or `"mi fa# si"`. Without
    octaves each note is put as close as possible to the one before. It is taken as MIDI numbers if each word is a
    number, as the path of a file if there is one, and as ABC otherwise.

    Args:
        query: text; a list of MIDI numbers or note names; a Melody, Match, Song or Score (its highest voice); the path
            of a sound, MIDI, MusicXML or ABC file; an Audio; a pair (audio, sample rate); a Contour; or a list of
            sounds, which are excerpts of one recording. A long recording is cut into excerpts.

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
    query = getattr(query, "piece", query)  # of a Match
    query = query if isinstance(query, Score) else getattr(query, "melody", query)  # of a Song
    if isinstance(query, Score | Melody):
        return _from_melody(query, "the melody")
    if isinstance(query, str | PathLike):
        return _read_text_or_file(query)
    if hasattr(query, "samples") and hasattr(query, "sr"):  # an Audio, without loading torch to know
        query = query.samples, query.sr
    if hasattr(query, "recurse") and hasattr(query, "write"):  # a music21 stream
        return _from_melody(read_score(query.write("musicxml")), "the stream")
    if isinstance(query, tuple | list) and len(query) == 2:
        for audio, sr in (query, query[::-1]):  # soundfile and librosa give the rate last, scipy first
            array = isinstance(audio, list | np.ndarray) or hasattr(audio, "detach")  # of a tensor
            if array and np.ndim(audio) and isinstance(sr, Real | str):
                return _from_contours(_contours(audio, sr, "the sound"), "the sound")
    if (isinstance(query, list | tuple | range | np.ndarray) or hasattr(query, "detach")) and len(query):
        return _read_list(list(query))
    raise ValueError(f"cannot search for {query!r:.80}; give {EXAMPLES}")


def _read_list(items: list) -> Query:
    texts = [isinstance(item, str) for item in items]
    if all(texts) and (names := read_names(" ".join(items))):
        return _from_pitches(names, "the list")
    if not any(texts) and all(isinstance(item, Real) or getattr(item, "shape", None) == () for item in items):
        return _from_pitches([float(item) for item in items], "the list")
    excerpts = [item if isinstance(item, Query) else read_query(item) for item in items]
    if not all(excerpt.contours for excerpt in excerpts):
        raise ValueError("a list must hold MIDI numbers, note names, or sounds that are excerpts of one recording")
    return _from_contours([contour for excerpt in excerpts for contour in excerpt.contours], "the excerpts")


def _read_text_or_file(query: str | PathLike) -> Query:
    path = Path(expanduser(query))
    suffix = path.suffix.lower()
    if suffix in SOUND + NOTATION or isinstance(query, PathLike) or isfile(path):
        if suffix in SOUND:
            from musicai.audio import load

            return _from_contours(_contours(*load(path, mono=True), path.name), path.name)
        if suffix in NOTATION:
            return _from_melody(read_score(path), path.name)
        known = ", ".join(SOUND + NOTATION)
        raise ValueError(f"{path}: files to search with end in {known}; ffmpeg can convert other sounds to .wav")
    return _read_text(str(query))


def _read_text(text: str) -> Query:
    shown, plain = f'"{text:.60}"', unicodedata.normalize("NFKC", text)
    bare = re.sub("[\"']", "", plain.strip(" []()")) if plain.strip()[:1] in tuple("[(") else plain  # a printed list
    words = re.split(r"[\s,;]+", bare.strip(" ,;\n"))
    if all(_NUMBER.fullmatch(word) for word in words):
        return _from_pitches([float(word) for word in words], shown)
    if (pitches := read_names(bare)) is not None:
        return _from_pitches(pitches, shown)
    return _from_melody(_read_abc(text, shown), shown)


def read_names(text: str) -> list[int] | None:
    """Read note names as people write them: English, German, or syllables.

    >>> read_names("d4 f#4"), read_names("D4 Fis4"), read_names("re4 fa♯4"), read_names("G4 H4 B4")
    ([62, 66], [62, 66], [62, 66], [67, 71, 70])

    Args:
        text: the names, with spaces, commas, semicolons or bar lines between them. Without octaves, each note is put as
            close as possible to the one before. Beside an H, B is B flat.

    Returns: MIDI pitches, or None if the text is anything else, or rather ABC.

    Chapter 6.
    """
    marked = re.search(r"\||\w[-–][^\W\d]", text)  # bar lines and dashes, which ABC has too
    words = [word for word in re.split(r"[\s,;|]+|(?<=\w)[-–](?=[^\W\d])", text) if word not in RESTS]
    found = [_NAME.fullmatch(word) for word in words]
    if not words or not all(found) or len({word[0].isupper() for word in words}) > 1:
        return None
    german = any(name[1] in "Hh" for name in found)
    letters = [SYLLABLES.get(name[1].lower(), name[1].upper()) for name in found]
    signs = [re.sub("is|es|[s♯♭♮𝄪𝄫]", lambda x: SIGNS[x[0]], m[2]) or "b" * (german and m[1] in "Bb") for m in found]
    numbered = {bool(name[3]) for name in found}
    pitches = [note_number(f"{a}{b}{name[3] or 4}") for a, b, name in zip(letters, signs, found, strict=True)]
    if numbered == {False}:
        near = accumulate(pitches, lambda last, new: last + (new - last + 6) % 12 - 6)  # as close as possible
        return None if marked else list(near)
    leaps = [abs(b - a) for a, b in pairwise(pitches)]  # in ABC the numbers are lengths, which make no melody
    return None if numbered == {True, False} or (marked and max(leaps, default=0) > 12) else pitches


def _read_abc(text: str, shown: str) -> Melody:
    whole = re.search(r"^\s*K:", text, re.MULTILINE)
    if not whole and (not _ABC.fullmatch(re.sub('"[^"]*"', "", text)) or not re.search("[A-Ga-g]", text)):
        raise ValueError(f"{shown} is neither notes nor an existing file; give {EXAMPLES}")
    try:
        return Melody(parse_tune(text if whole else f"X:1\nL:1/8\nK:C\n{text}")["notes"])
    except ValueError as error:
        raise ValueError(f"{shown} cannot be read as ABC ({error}); give {EXAMPLES}") from error


def _from_pitches(pitches: list[float], name: str) -> Query:
    if outside := [pitch for pitch in pitches if not 0 <= pitch <= 127]:
        way_out = "60 is middle C; for a sound, give (audio, sample rate)"
        raise ValueError(f"pitch {outside[0]:g} in {name} is outside the MIDI range 0..127, where {way_out}")
    return Query(np.array(pitches, dtype=np.float64), name=name)


def _from_melody(piece: Melody | Score, name: str) -> Query:
    melody = piece.melody() if isinstance(piece, Score) else piece
    if not melody.notes:
        raise ValueError(f"{name} has no notes to search for, apart from drums")
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


def _mono(audio, sr: int, name: str):
    import torch

    if not isinstance(sr, Real) or not sr >= 1000:
        raise ValueError(f"{name} needs a sample rate of at least 1000 Hz, as in (audio, 16000), not {sr!r:.40}")
    try:
        wave = torch.as_tensor(audio).detach().cpu()
    except TypeError as error:
        raise ValueError(f"{name} must be numbers, a tensor or an array of samples ({error})") from error
    if wave.is_complex() or wave.ndim not in (1, 2) or wave.numel() == 0:
        raise ValueError(f"{name} must hold real samples (time,) or (channels, time), not {tuple(wave.shape)}")
    wave = torch.atleast_2d(wave.float())
    return wave.mean(0 if wave.shape[0] < wave.shape[1] else 1)  # soundfile and scipy give (time, channels)


def _from_contours(contours: list[Contour], name: str) -> Query:
    pitches, starts, durations, _ = contours[0].notes()
    return Query(*(np.asarray(x, dtype=np.float64) for x in (pitches, starts, durations)), tuple(contours), name)
