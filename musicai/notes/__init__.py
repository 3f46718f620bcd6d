"""Notes, melodies, scores, piano rolls and MIDI; times in beats (quarter notes), pitches 0..127. Chapter 1.

>>> from musicai.notes import Melody, note_name
>>> scale = Melody.from_pitches([60, 62, 64], durations=[1, 0.5, 0.5])
>>> scale.transpose(2).intervals.tolist(), note_name(60)
([2, 2], 'C4')
"""

from .midi import MidiError, read_midi, write_midi
from .note import Note, Track
from .score import Melody, Score
from .theory import PITCH_CLASSES, estimate_key, hz_to_midi, key_correlations, midi_to_hz

# isort: split
from .theory import note_name, note_number, pitch_class, pitch_class_weights, transpose_key

__all__ = ["Melody", "MidiError", "Note", "Score", "Track", "read_midi", "write_midi"]
__all__ += ["PITCH_CLASSES", "estimate_key", "hz_to_midi", "key_correlations", "midi_to_hz"]
__all__ += ["note_name", "note_number", "pitch_class", "pitch_class_weights", "transpose_key"]
