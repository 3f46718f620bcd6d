"""Names of notes and keys, pitch and frequency, and finding the key. Chapter 1 and 2.

>>> note_name(60), midi_to_hz(69), hz_to_midi(440.0)
('C4', 440.0, 69.0)
"""

import re
from collections.abc import Iterable

import numpy as np

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
    """The frequency of a MIDI pitch.

    >>> midi_to_hz(69)
    440.0

    Args:
        pitch: MIDI number, whole or fractional; a number, an array or a tensor.

    Returns: frequency in Hz, in the shape of `pitch`.

    Chapter 1.
    """
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def hz_to_midi(frequency):
    """The (fractional) MIDI pitch of a frequency.

    >>> hz_to_midi(440.0)
    69.0

    Args:
        frequency: in Hz, above 0; a number or an array.

    Returns: MIDI pitch, a float or a float64 array in the shape of `frequency`.

    Raises:
        ValueError: a frequency is not above 0.

    Chapter 1.
    """
    frequency = np.asarray(frequency, dtype=float)
    if not np.all(frequency > 0):
        raise ValueError(f"frequency {frequency[~(frequency > 0)].flat[0]} Hz has no pitch; it must be above 0")
    pitch = 69 + 12 * np.log2(frequency / 440.0)
    return float(pitch) if pitch.ndim == 0 else pitch


def note_name(pitch: int) -> str:
    """The name of a MIDI pitch, with sharps.

    >>> note_name(60)
    'C4'

    Args:
        pitch: a whole number from 0 to 127.

    Returns: pitch class and octave.

    Raises:
        ValueError: the pitch is not a whole number from 0 to 127.

    Chapter 1.
    """
    if not 0 <= pitch <= 127 or pitch != int(pitch):
        raise ValueError(f"pitch {pitch!r} is not a MIDI pitch, a whole number from 0 to 127")
    return f"{PITCH_CLASSES[int(pitch) % 12]}{int(pitch) // 12 - 1}"


def note_number(name: str) -> int:
    """The MIDI pitch of a name, the inverse of `note_name`.

    >>> note_number("Bb3")
    58

    Args:
        name: a letter A to G, any number of # or b, and an octave.

    Returns: MIDI pitch.

    Raises:
        ValueError: the name is not like that.

    Chapter 1.
    """
    match = re.fullmatch(r"([A-G])([#b]*)(-?\d+)", name)
    if not match:
        raise ValueError(f'note name {name!r} is not like "C4", "F#3" or "Bb5"')
    return _semitones(match) + 12 * (int(match[3]) + 1)


def pitch_class(name: str) -> int:
    """The number of a tonic's or pitch class's name.

    >>> pitch_class("Bb")
    10

    Args:
        name: a letter A to G and any number of # or b.

    Returns: 0 (C) to 11 (B).

    Raises:
        ValueError: the name is not like that.

    Chapter 2.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError(f'pitch class {name!r} is not like "C", "F#" or "Bb"')
    return _semitones(match) % 12


def _semitones(match: re.Match) -> int:
    return _LETTERS[match[1]] + match[2].count("#") - match[2].count("b")


def transpose_key(key: str, semitones: int) -> str:
    """The name of a key moved by semitones, spelled with the fewest accidentals.

    >>> transpose_key("D minor", 3)
    'F minor'

    Args:
        key: a tonic and a mode.
        semitones: how far to move it.

    Returns: the moved key; "" (unknown) if `key` does not begin with a tonic.

    Chapter 1.
    """
    tonic, _, mode = key.partition(" ")
    if semitones % 12 == 0 or not _NAME.fullmatch(tonic):
        return key if semitones % 12 == 0 else ""
    names = MAJOR_KEYS if mode in ("", "major") else MINOR_KEYS
    return f"{names[(pitch_class(tonic) + semitones) % 12]} {mode}".strip()


def pitch_class_weights(notes: Iterable) -> np.ndarray:
    """For how many beats each pitch class sounds.

    >>> from musicai.notes import Melody
    >>> pitch_class_weights(Melody.from_pitches([60, 72, 64]).notes)[[0, 4]].tolist()
    [2.0, 1.0]

    Args:
        notes: things with a `pitch` and a `duration`.

    Returns: float64 (12,), in beats, C first.

    Chapter 2.
    """
    weights = np.zeros(12)
    for note in notes:
        weights[note.pitch % 12] += note.duration
    return weights


def key_correlations(weights: np.ndarray) -> dict[str, float]:
    """The correlation of pitch-class weights with the profile of each of the 24 keys.

    >>> scores = key_correlations(np.array(MAJOR_PROFILE))
    >>> round(scores["C major"], 6)
    1.0

    Args:
        weights: (12,), C first.

    Returns: correlations from -1 to 1 by the name of the key.

    Krumhansl, *Cognitive Foundations of Musical Pitch* (1990), chapter 4. Chapter 2.
    """
    scores = {}
    for profile, names, mode in ((MAJOR_PROFILE, MAJOR_KEYS, "major"), (MINOR_PROFILE, MINOR_KEYS, "minor")):
        for tonic, name in enumerate(names):
            scores[f"{name} {mode}"] = float(np.corrcoef(weights, np.roll(profile, tonic))[0, 1])
    return scores


def estimate_key(music) -> str:
    """The key whose profile correlates best with the beats that each pitch class sounds (Krumhansl-Schmuckler).

    >>> from musicai.notes import Melody
    >>> estimate_key(Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72]))
    'C major'

    Args:
        music: a Melody or a Score; drums do not count.

    Returns: a name such as "D minor".

    Raises:
        ValueError: there are no pitched notes, or all twelve pitch classes sound equally long.

    Krumhansl, *Cognitive Foundations of Musical Pitch* (1990), chapter 4. Chapter 2.
    """
    weights = pitch_class_weights(getattr(music, "pitched_notes", music.notes))
    if np.ptp(weights) == 0:
        raise ValueError("no key to estimate: no pitched notes, or all twelve pitch classes sound equally long")
    scores = key_correlations(weights)
    return max(scores, key=scores.get)
