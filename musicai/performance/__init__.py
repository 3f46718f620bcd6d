"""Performing a score: recorded, adversarial and autoregressive instruments, expression and mixing. Chapters 1 to 5, 8.

>>> from musicai.notes import Melody
>>> perform(Melody.from_pitches([60, 62, 64]), "flute")
Audio(2 channels, 2.41 s at 16000 Hz)

    score  --humanize_score-->  score  --cast-->  an instrument for each part  --performers-->  stems  --mix-->  stereo

Every performer is a function from a score to a `musicai.audio.Audio` (the protocol `Performer`). `render` plays the
sampled instruments and returns bare samples; `voices` splits overlapping notes into lines of one note at a time.
"""

import musicai
from musicai.performance.casting import cast, find_instrument, recognise_instrument
from musicai.performance.distilled import DistilledInstrument
from musicai.performance.expression import humanize_score
from musicai.performance.mixing import add_room, limiter, loudness, master, mix, place, room, seats, true_peaks
from musicai.performance.performers import GANPerformer, Performer, SampledPerformer, WaveNetPerformer, perform, voices
from musicai.performance.sampled import INSTRUMENTS, PROGRAMS, render

__all__ = musicai.exports(globals())
