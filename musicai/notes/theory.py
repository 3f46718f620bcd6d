"""Names of notes and keys, pitch and frequency, and finding the key. Chapter 1 and 2.

>>> note_name(60), midi_to_hz(69), hz_to_midi(440.0)
('C4', 440.0, 69.0)
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from musicai.notes.score import Melody, Score

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# The spelling with the fewest accidentals, as printed music has it.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
# How well each step of the scale fits a key, as listeners judged it (Krumhansl 1990, p. 30).
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NAME = re.compile(r"([A-G])([#b]*)")


def midi_to_hz(pitch):
    """The frequency in Hz of a MIDI pitch (69 is 440 Hz); fractions, arrays and tensors are fine. Chapter 1."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def hz_to_midi(frequency):
    """The (fractional) MIDI pitch of a frequency in Hz, a number or an array. Chapter 1.

    Raises:
        ValueError: a frequency is not above 0.
    """
    frequency = np.asarray(frequency, dtype=float)
    if not np.all(frequency > 0):
        raise ValueError(f"frequency {frequency[~(frequency > 0)].flat[0]} Hz has no pitch; it must be above 0")
    pitch = 69 + 12 * np.log2(frequency / 440.0)
    return float(pitch) if pitch.ndim == 0 else pitch


def note_name(pitch: int) -> str:
    """`note_name(60)` is "C4": the name of a MIDI pitch, with sharps. Chapter 1.

    Raises:
        ValueError: the pitch is not a whole number from 0 to 127.
    """
    if pitch != int(pitch) or not 0 <= pitch <= 127:
        raise ValueError(f"pitch {pitch!r} is no MIDI pitch: they are the whole numbers 0 to 127")
    return f"{PITCH_CLASSES[int(pitch) % 12]}{int(pitch) // 12 - 1}"


def note_number(name: str) -> int:
    """`note_number("Bb3")` is 58: the MIDI pitch of a name, the inverse of `note_name`. Chapter 1.

    Raises:
        ValueError: the name is not a letter A to G, any # or b, and an octave.
    """
    match = re.fullmatch(r"([A-G][#b]*)(-?\d+)", name)
    if not match:
        raise ValueError(f'note name {name!r} is not like "C4", "F#3" or "Bb5"')
    letter, accidentals = match[1][0], match[1][1:]
    return _LETTERS[letter] + accidentals.count("#") - accidentals.count("b") + 12 * (int(match[2]) + 1)


def pitch_class(name: str) -> int:
    """`pitch_class("Bb")` is 10: the number 0..11 of a tonic's or pitch class's name."""
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f'pitch class {name!r} is not like "C", "F#" or "Bb"')
    return (_LETTERS[match[1]] + match[2].count("#") - match[2].count("b")) % 12


def transpose_key(key: str, semitones: int) -> str:
    """`transpose_key("D minor", 3)` is "F minor"; a key that is no tonic and mode becomes "" (unknown)."""
    tonic, _, mode = key.partition(" ")
    if semitones % 12 == 0 or not _NAME.fullmatch(tonic):
        return key if semitones % 12 == 0 else ""
    names = MAJOR_KEYS if mode in ("", "major") else MINOR_KEYS
    return f"{names[(pitch_class(tonic) + semitones) % 12]} {mode}".strip()


def pitch_class_weights(notes: Iterable) -> np.ndarray:
    """(12,): for how many beats each pitch class sounds."""
    weights = np.zeros(12)
    for note in notes:
        weights[note.pitch % 12] += note.duration
    return weights


def key_correlations(weights: np.ndarray) -> dict[str, float]:
    """The correlation of pitch-class weights (12,) with the profile of each of the 24 keys (Krumhansl 1990, ch. 4)."""
    scores = {}
    for profile, names, mode in ((MAJOR_PROFILE, MAJOR_KEYS, "major"), (MINOR_PROFILE, MINOR_KEYS, "minor")):
        for tonic, name in enumerate(names):
            scores[f"{name} {mode}"] = float(np.corrcoef(weights, np.roll(profile, tonic))[0, 1])
    return scores


def estimate_key(music: "Melody | Score") -> str:
    """`estimate_key(melody)` is a name such as "D minor": the Krumhansl-Schmuckler key. Chapter 2.

    The key whose listeners' profile correlates best with the beats that each pitch class sounds; drums do not count.
    Source: C. L. Krumhansl, *Cognitive Foundations of Musical Pitch*, Oxford 1990, chapter 4.

    Raises:
        ValueError: there are no pitched notes, or all twelve pitch classes sound equally long.
    """
    weights = pitch_class_weights(getattr(music, "pitched_notes", music.notes))
    if np.ptp(weights) == 0:
        raise ValueError(
            "no key to estimate: there are no pitched notes, or all twelve pitch classes sound equally long"
        )
    scores = key_correlations(weights)
    return max(scores, key=scores.get)
