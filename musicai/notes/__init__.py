"""Notes, melodies, scores, piano rolls, MIDI, MusicXML, ABC; times in beats (quarter notes), pitches 0..127. Chapter 1.

>>> from musicai.notes import Melody, note_name
>>> scale = Melody.from_pitches([60, 62, 64], durations=[1, 0.5, 0.5])
>>> scale.transpose(2).intervals.tolist(), note_name(60)
([2, 2], 'C4')
"""

import musicai

from .abc import read_abc, write_abc
from .files import Engraving, engrave, read_score, write_score
from .keys import estimate_key, key_correlations, pitch_class, transpose_key
from .midi import MidiError, read_midi, write_midi
from .musicxml import read_musicxml, write_musicxml
from .notation import unfold_repeats
from .note import PITCH_CLASSES, Note, Track, hz_to_midi, midi_to_hz, note_name, note_number
from .score import Melody, Score

__all__ = musicai.exports(globals())
