"""Does the sound hold the notes of the score? A transcriber's notes beside the written ones. Chapter 5."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from musicai.metrics.inputs import as_sounds
from musicai.notes import Score

SHORTEST = 0.1277  # seconds: basic-pitch's own default
INSTALL = "pip install 'musicai[judges]' && pip install --no-deps basic-pitch"


class HeardNote(NamedTuple):
    """A note in seconds: when it starts and ends, its MIDI pitch, and how strong it is, 0 to 1."""

    start: float
    end: float
    pitch: float
    amplitude: float = 1.0


class NoteF1(NamedTuple):
    """The share of estimated notes that are right, of written notes that were found, and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def note_f1(
    estimated: Score | Sequence[HeardNote], reference: Score | Sequence[HeardNote], onset_tolerance: float = 0.05
) -> NoteF1:
    """How well one list of notes matches another: precision, recall and F1, 0 to 1.

    >>> from musicai.notes import Melody
    >>> scale = Melody.from_pitches([60, 62, 64, 65]).to_score()
    >>> note_f1(scale, scale).f1, note_f1(scale.transpose(12), scale).f1
    (1.0, 0.0)
    >>> note_f1(transcribe(audio, sr=16_000), scale)  # doctest: +SKIP

    An estimated note is right if its onset lies within `onset_tolerance` of a written one's and its pitch within half
    a semitone; each note serves once, and as many pairs are made as can be. When a note ends does not count.

    No transcriber is right about all sounds: read F1 beside what the same one gets from real sound of the same notes.

    Args:
        estimated, reference: a `musicai.notes.Score`, whose drums do not count, or notes in seconds.
        onset_tolerance: in seconds, rounded to 0.1 ms.

    Returns:
        All 0 where either holds no note.

    Raises:
        ValueError: a note that is not finite, or a tolerance below 0.

    Source: the onset-only measure of MIREX, as mir_eval.transcription with offset_ratio=None. Chapter 5.
    """
    if not onset_tolerance >= 0:
        raise ValueError(f"onset_tolerance must be 0 or more, in seconds; got {onset_tolerance}")
    found, written = _starts_and_pitches(estimated, "estimated"), _starts_and_pitches(reference, "reference")
    if not len(found) or not len(written):
        return NoteF1(0.0, 0.0, 0.0)
    apart = np.abs(found[:, None] - written)  # (estimated, reference, 2): seconds and semitones
    near = (apart[..., 0].round(4) <= onset_tolerance) & (apart[..., 1] <= 0.5)
    pairs = int((maximum_bipartite_matching(csr_matrix(near)) >= 0).sum())
    return NoteF1(pairs / len(found), pairs / len(written), 2 * pairs / (len(found) + len(written)))


def _starts_and_pitches(notes: Score | Sequence[HeardNote], name: str) -> np.ndarray:
    """(notes, 2): seconds, MIDI."""
    if isinstance(notes, Score):
        notes = [HeardNote(notes.seconds(n.start), notes.seconds(n.end), n.pitch) for n in notes.pitched_notes]
    table = np.array([(note[0], note[2]) for note in notes], dtype=float).reshape(-1, 2)
    bad = np.flatnonzero(~np.isfinite(table).all(1))
    if len(bad):
        raise ValueError(f"{name} note {bad[0]} is not finite: {notes[bad[0]]}")
    return table


def transcribe(audio: Tensor, sr: int = 16_000, shortest: float = SHORTEST) -> list[HeardNote]:
    """The notes that basic-pitch hears in a sound, by start; it knows no instrument, and hears many at once.

    >>> transcribe(musicai.performance.render(score).mean(0))[0]  # doctest: +SKIP
    HeardNote(start=0.0116, end=0.5805, pitch=60, amplitude=0.62)

    Its ceiling depends on the instrument: F1 on clean sounds is about 0.9 for a piano and 0.8 for a flute; of an organ
    it takes the octaves for notes. Needs basic-pitch, whose own requirements fit few Pythons, so that it is installed
    without them: ``pip install 'musicai[judges]' && pip install --no-deps basic-pitch``.

    Args:
        audio: (time,), one channel. sr: sample rate in Hz.
        shortest: seconds; shorter notes are dropped.

    Raises:
        ModuleNotFoundError: basic-pitch or what it needs is missing; says what to type.
        ValueError: several sounds, none, or one that is not finite.

    Source: Bittner et al., "A lightweight instrument-agnostic model for polyphonic note transcription and multipitch
    estimation" (2022), with its published weights and settings. Chapter 5.
    """
    x = as_sounds(audio)
    if len(x) > 1:
        raise ValueError(f"transcribe takes one sound (time,), not {tuple(x.shape)}: call it for each")
    if not x.any():
        return []
    inference, model = _basic_pitch()
    x = torch.nn.functional.pad(x[0].cpu(), (0, max(0, sr - x.shape[1])))  # it needs some frames
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "sound.wav"
        soundfile.write(path, x.numpy(), sr, subtype="FLOAT")
        *_, heard = inference.predict(path, model, minimum_note_length=1000 * shortest)
    return sorted(HeardNote(float(start), float(end), int(pitch), float(a)) for start, end, pitch, a, _ in heard)


@cache
def _basic_pitch() -> tuple[ModuleType, object]:
    """Its module `inference`, and its network as onnxruntime runs it."""
    try:
        with _quiet():
            import onnxruntime  # noqa: F401  (basic-pitch would go on without it, to a worse message)
            from basic_pitch import FilenameSuffix, build_icassp_2022_model_path, inference

            return inference, inference.Model(build_icassp_2022_model_path(FilenameSuffix.onnx))
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; to hear notes: {INSTALL}", name=error.name) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """It prints for each file, and warns of each library that it could use too."""
    handlers, below = logging.root.handlers[:], logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):  # 0 / 0 near silence
            yield
    finally:
        logging.disable(below)
        logging.root.handlers[:] = handlers
