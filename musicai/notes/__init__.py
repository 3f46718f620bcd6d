"""Notes, melodies, scores, piano rolls and MIDI; times in beats (quarter notes), pitches 0..127. Chapter 1.

>>> from musicai.notes import Melody, note_name
>>> scale = Melody.from_pitches([60, 62, 64], durations=[1, 0.5, 0.5])
>>> scale.transpose(2).intervals.tolist(), note_name(60)
([2, 2], 'C4')
"""

from musicai.notes.midi import MidiError, read_midi, write_midi
from musicai.notes.note import Note, Track
from musicai.notes.score import Melody, Score
from musicai.notes.theory import (
    PITCH_CLASSES,
    estimate_key,
    hz_to_midi,
    key_correlations,
    midi_to_hz,
    note_name,
    note_number,
    pitch_class,
    pitch_class_weights,
    transpose_key,
)

__all__ = [
    "PITCH_CLASSES",
    "Melody",
    "MidiError",
    "Note",
    "Score",
    "Track",
    "estimate_key",
    "hz_to_midi",
    "key_correlations",
    "midi_to_hz",
    "note_name",
    "note_number",
    "pitch_class",
    "pitch_class_weights",
    "read_midi",
    "transpose_key",
    "write_midi",
]
