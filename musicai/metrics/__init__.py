"""How good, how varied, how new: judges of generated sound, each beside its ceiling on real sound. Chapters 4 and 5.

>>> scores = judge(generated, held_out, training)  # doctest: +SKIP
>>> print(report(scores))  # doctest: +SKIP

A judge can be wrong, so each was first tested on cases with a known answer: real against real, increasing noise, a
different instrument, exact copies, copies that are later or softer, octave errors (`tests/test_metrics*.py`).
"""

import musicai

from .features import InstrumentClassifier, instrument_accuracy, instrument_classifier, log_mel_statistics, timbre
from .judging import MetricScore, Sounds, judge, report
from .pitch import NoteF1, estimate_pitch, note_f1, pitch_accuracy, pitch_errors, pyin_pitch, transcribe
from .similarity import density_coverage, frechet_audio_distance, frechet_distance, mode_coverage, nearest, novelty

__all__ = musicai.exports(globals())
