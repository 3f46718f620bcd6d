"""Performing a score: the bundled sampled instruments, the GAN instrument and the WaveNet. Chapters 1, 2, 4 and 5.

>>> from musicai.notes import Melody
>>> perform(Melody.from_pitches([60, 62, 64]), "flute")
Audio(2 channels, 1.68 s at 16000 Hz)

Every performer is a function from a score to a `musicai.audio.Audio` (the protocol `Performer`). `render` plays the
sampled instruments and returns bare samples; `voices` splits overlapping notes into lines of one note at a time.
"""

import musicai
from musicai.performance.distilled import DistilledInstrument
from musicai.performance.performers import GANPerformer, Performer, SampledPerformer, WaveNetPerformer, perform, voices
from musicai.performance.sampled import INSTRUMENTS, PROGRAMS, render

__all__ = musicai.exports(globals())
