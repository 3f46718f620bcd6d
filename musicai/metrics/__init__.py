"""How good, how varied, how new: judges of generated sound, each beside its ceiling on real sound. Chapters 4 and 5.

>>> scores = judge(generated, held_out, training)  # doctest: +SKIP
>>> print(report(scores))  # doctest: +SKIP

A judge may be wrong, so each was first asked about cases with a known answer: real against real, noise in steps,
another instrument, exact copies, copies that play later or softer, octave errors (`tests/test_metrics*.py`).
"""

from musicai.metrics.classifier import InstrumentClassifier, instrument_accuracy, instrument_classifier, timbre
from musicai.metrics.copies import Nearest, Novelty, nearest, novelty
from musicai.metrics.embeddings import levelled_log_mel, log_mel_statistics
from musicai.metrics.frechet import embed, frechet_audio_distance, frechet_distance, gaussian
from musicai.metrics.judging import MetricScore, Sounds, judge, report
from musicai.metrics.neighbours import (
    DensityCoverage,
    ModeCoverage,
    PrecisionRecall,
    density_coverage,
    mode_coverage,
    precision_recall,
)
from musicai.metrics.pitch import crepe_pitch, estimate_pitch, pitch_accuracy, pitch_errors, pyin_pitch
from musicai.metrics.transcription import HeardNote, NoteF1, note_f1, transcribe

__all__ = [
    "DensityCoverage",
    "HeardNote",
    "InstrumentClassifier",
    "MetricScore",
    "ModeCoverage",
    "Nearest",
    "NoteF1",
    "Novelty",
    "PrecisionRecall",
    "Sounds",
    "crepe_pitch",
    "density_coverage",
    "embed",
    "estimate_pitch",
    "frechet_audio_distance",
    "frechet_distance",
    "gaussian",
    "instrument_accuracy",
    "instrument_classifier",
    "judge",
    "levelled_log_mel",
    "log_mel_statistics",
    "mode_coverage",
    "nearest",
    "note_f1",
    "novelty",
    "pitch_accuracy",
    "pitch_errors",
    "precision_recall",
    "pyin_pitch",
    "report",
    "timbre",
    "transcribe",
]
