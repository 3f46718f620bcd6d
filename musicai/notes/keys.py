"""Keys: their names, transposition and estimation. Chapters 1 and 2.

>>> transpose_key("D minor", 3), pitch_class("Bb")
('F minor', 10)
"""

import re

import numpy as np

from musicai.notes.note import note_number, require

# The spelling with the fewest accidentals, as in printed music.
MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
# How well each step of the scale fits a key, as listeners judged it (Krumhansl 1990, p. 30).
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def pitch_class(name: str) -> int:
    """Convert the name of a tonic or pitch class to its number.

    >>> pitch_class("Bb")
    10

    Args:
        name: a letter from A to G followed by any number of # or b.

    Returns: 0 (C) to 11 (B).

    Raises:
        ValueError: if the name does not have that form.

    Chapter 2.
    """
    return note_number(f"{name}0") % 12


def transpose_key(key: str, semitones: int) -> str:
    """Transpose the name of a key, spelling the result with the fewest accidentals.

    >>> transpose_key("D minor", 3)
    'F minor'

    Args:
        key: a tonic and a mode, such as "D minor".
        semitones: how far to move it.

    Returns: the transposed key, or "" (unknown) if `key` does not begin with a tonic.

    Chapter 1.
    """
    tonic, _, mode = key.partition(" ")
    if semitones % 12 == 0 or not re.fullmatch("[A-G][#b]*", tonic):
        return key if semitones % 12 == 0 else ""
    names = MAJOR_KEYS if mode in ("", "major") else MINOR_KEYS
    return f"{names[(pitch_class(tonic) + semitones) % 12]} {mode}".strip()


def key_correlations(weights: np.ndarray) -> dict[str, float]:
    """Correlate pitch-class weights with the profile of each of the 24 keys.

    >>> scores = key_correlations(np.array(MAJOR_PROFILE))
    >>> round(scores["C major"], 6)
    1.0

    Args:
        weights: (12,), C first.

    Returns: a dict from the name of each key to its correlation, from -1 to 1.

    Krumhansl, *Cognitive Foundations of Musical Pitch* (1990), chapter 4. Chapter 2.
    """
    scores = {}
    for profile, names, mode in ((MAJOR_PROFILE, MAJOR_KEYS, "major"), (MINOR_PROFILE, MINOR_KEYS, "minor")):
        for tonic, name in enumerate(names):
            scores[f"{name} {mode}"] = float(np.corrcoef(weights, np.roll(profile, tonic))[0, 1])
    return scores


def estimate_key(music) -> str:
    """Find the key whose profile best correlates with how long each pitch class sounds (Krumhansl-Schmuckler).

    >>> from musicai.notes import Melody
    >>> estimate_key(Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72]))
    'C major'

    Args:
        music: a Melody or a Score; drums are ignored.

    Returns: the name of the key, such as "D minor".

    Raises:
        ValueError: if there are no pitched notes, or all twelve pitch classes sound equally long.

    Krumhansl, *Cognitive Foundations of Musical Pitch* (1990), chapter 4. Chapter 2.
    """
    notes = getattr(music, "pitched_notes", music.notes)
    classes = np.array([note.pitch % 12 for note in notes], dtype=int)
    weights = np.bincount(classes, [note.duration for note in notes], minlength=12)
    require(np.ptp(weights) > 0, "no key: no pitched notes, or all twelve pitch classes sound equally long")
    scores = key_correlations(weights)
    return max(scores, key=scores.get)
