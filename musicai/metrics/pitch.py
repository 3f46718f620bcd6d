"""Did it play the pitch that was asked for, or all the notes of the score? Chapters 4 and 5.

For single notes there are our own estimator and an independent one. `transcribe`, also independent, hears any number of
voices, and `note_f1` compares its notes with the written ones.
"""

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from musicai.audio import frame, resample
from musicai.audio.features import dips, yin_difference
from musicai.extras import require
from musicai.notes import Note, Score, Track, midi_to_hz

from .features import as_labels, as_sounds, in_batches

# A pitch estimator takes sounds (batch, time) and their sample rate, and returns one frequency per sound in Hz
# (batch,), NaN if it finds none.
PitchEstimator = Callable[[Tensor, int], Tensor]
FMIN, FMAX = 27.5, 4400  # Hz: the piano's range, and a little more
FRAME, HOP, BIN = 0.128, 0.032, 10  # seconds, seconds, cents


def estimate_pitch(audio: Tensor, sr: int = 16_000) -> Tensor:
    """Estimate the fundamental frequency of each sound, taking it to be a single note.

    >>> estimate_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)).round()
    tensor([440.])

    YIN's difference function (de Cheveigne and Kawahara 2002) measures, for each frame and lag, how much the sound
    differs from itself that much later. Every dip is a candidate for the period. As in pYIN (Mauch and Dixon 2014),
    each threshold below which a dip may be accepted has a prior probability, Beta(2, 8), with which a frame votes for
    its candidates. pYIN then looks for a path through the frames; we add up all their votes instead, since a note keeps
    its pitch. Perfectly harmonic tones are found within 10 cents up to 2.5 kHz and within 20 above, where a period is
    only a few samples long.

    Args:
        audio: (batch, time) or (batch, 1, time), notes of about a second.
        sr: sample rate in Hz.

    Returns:
        (batch,) in Hz; NaN if nothing is periodic.

    Raises:
        ValueError: if the audio has a wrong shape or dtype, or is not finite.

    Chapter 4.
    """
    return in_batches(lambda x: _estimate(x, sr), as_sounds(audio), 16)


def pitch_errors(audio: Tensor, pitch: Tensor | float, sr=16_000, estimator: PitchEstimator | None = None) -> Tensor:
    """Measure how far each sound is from the pitch that was asked for, in cents.

    >>> pitch_errors(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000), 68).round()
    tensor([100.], dtype=torch.float64)

    Args:
        audio: (batch, time) or (batch, 1, time).
        pitch: MIDI numbers (batch,), or one for all.
        sr: sample rate in Hz.
        estimator: `pyin_pitch`, or your own; if None, `estimate_pitch`.

    Returns:
        (batch,) in cents; NaN if no pitch is found.

    Raises:
        ValueError: if a pitch is outside 0 to 127, or the audio has a wrong shape or dtype, or is not finite.

    Chapter 4.
    """
    x = as_sounds(audio)
    wanted = as_labels(pitch, len(x), "pitch", 127).double()
    found = (estimator or estimate_pitch)(x, sr)
    return 1200 * (found.double() / midi_to_hz(69)).log2() - 100 * (wanted - 69)


def pitch_accuracy(audio: Tensor, pitch: Tensor | float, sr=16_000, estimator: PitchEstimator | None = None) -> float:
    """The share of sounds whose pitch is within half a semitone of the one that was asked for.

    >>> t = torch.arange(16_000) / 16_000
    >>> pitch_accuracy(torch.stack([torch.sin(2 * torch.pi * f * t) for f in (440.0, 466.2)]), 69)
    0.5

    No estimator is right about every real note, so compare the result with the same estimator's on real notes (`judge`
    gives both). Octave errors count as errors.

    Args:
        audio: (batch, time) or (batch, 1, time).
        pitch: MIDI numbers (batch,), or one for all.
        sr: sample rate in Hz.
        estimator: `pyin_pitch`, or your own; if None, `estimate_pitch`.

    Returns:
        A share from 0 to 1.

    Raises:
        ValueError: as for `pitch_errors`.

    Source: raw pitch accuracy as in Poliner et al., "Melody transcription from music audio" (2007).
    Chapter 4.
    """
    errors = pitch_errors(audio, pitch, sr, estimator)
    return (errors.abs() <= 50).float().mean().item()  # cents; NaN is within nothing


def _estimate(x: Tensor, sr: int) -> Tensor:
    rate = sr * max(1, -(-6 * FMAX // sr))  # the highest pitch has at least 6 samples per period
    x = resample(x - x.mean(-1, keepdim=True), sr, rate)
    size = round(FRAME * rate)
    x = F.pad(x, (0, max(0, size - x.shape[-1])))
    d = yin_difference(frame(x, size, round(HOP * rate)), int(rate / FMIN) + 2)  # (B, frames, lags)
    votes, lags = _votes(d)
    f = rate / lags
    votes = torch.where((f >= FMIN) & (f <= FMAX), votes, 0.0).flatten(1)
    return _mode(f.flatten(1).clamp(FMIN, FMAX), votes)


def _votes(d: Tensor) -> tuple[Tensor, Tensor]:
    """The probability that each inner lag is the period, and the lags refined by parabolic interpolation."""
    depth, lags = dips(d)
    lowest = F.pad(depth.cummin(-1).values[..., :-1], (1, 0), value=1.0).clamp(max=1)
    votes = (_beta_cdf(lowest) - _beta_cdf(depth.clamp(max=1))).clamp(min=0)  # thresholds for which it is the first dip
    return votes, lags


def _beta_cdf(x: Tensor) -> Tensor:
    """The cumulative distribution of Beta(2, 8), pYIN's prior for the threshold, with mean 0.2."""
    return 1 - (1 - x) ** 8 * (1 + 8 * x)


def _mode(f: Tensor, votes: Tensor) -> Tensor:
    """The frequency (batch,) with the most votes within 30 cents, refined to the mean of the votes within 50 cents."""
    cents = 1200 * (f / FMIN).log2()
    bins = (cents / BIN).round().long()
    counts = votes.new_zeros(len(f), int(1200 / BIN * math.log2(FMAX / FMIN)) + 2).scatter_add(1, bins, votes)
    smooth = F.conv1d(counts[:, None], counts.new_tensor([[[1, 2, 3, 4, 3, 2, 1]]]), padding=3)
    peak = smooth[:, 0].argmax(1, keepdim=True) * BIN
    near = votes * ((cents - peak).abs() <= 50)
    return FMIN * 2 ** ((near * cents).sum(1) / near.sum(1) / 1200)  # 0 / 0 = NaN: nothing periodic


def pyin_pitch(audio: Tensor, sr: int = 16_000) -> Tensor:
    """Estimate the pitch with pYIN, an independent judge: the median over the voiced frames.

    >>> pyin_pitch(torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000))  # doctest: +SKIP
    tensor([440.])

    Needs librosa, from the `judges` or the `notebook` extra.

    Args:
        audio: (batch, time) or (batch, 1, time).
        sr: sample rate in Hz.

    Returns:
        (batch,) in Hz; NaN if no frame is voiced.

    Raises:
        ModuleNotFoundError: if librosa is missing; the message says how to install it.

    Source: Mauch and Dixon, "pYIN" (2014), as implemented by librosa.pyin.
    Chapter 4.
    """
    pyin = require("librosa", "judges", "pyin_pitch").pyin

    def one(x: Tensor) -> float:
        f, voiced, _ = pyin(x.numpy(), fmin=FMIN, fmax=min(FMAX, 0.49 * sr), sr=sr, frame_length=2048)
        return torch.from_numpy(f[voiced]).median().item() if voiced.any() else torch.nan

    return torch.tensor([one(x) for x in as_sounds(audio).cpu()])


# ---- many notes


class NoteF1(NamedTuple):
    """The result of `note_f1`, each number from 0 to 1.

    >>> NoteF1(precision=1.0, recall=0.5, f1=2 / 3).recall
    0.5

    Attributes:
        precision: the share of estimated notes that are right.
        recall: the share of written notes that were found.
        f1: their harmonic mean.

    Chapter 5.
    """

    precision: float
    recall: float
    f1: float


def note_f1(estimated: Score, reference: Score) -> NoteF1:
    """Measure how well the notes of one score match another's: precision, recall and F1.

    >>> from musicai.notes import Melody
    >>> scale = Melody.from_pitches([60, 62, 64, 65]).to_score()
    >>> note_f1(scale, scale).f1, note_f1(scale.transpose(12), scale).f1
    (1.0, 0.0)
    >>> note_f1(transcribe(audio, sr=16_000), scale)  # doctest: +SKIP

    An estimated note is right if it has the pitch of a written one and its onset is within 50 ms of that one's. Each
    note is matched at most once, and as many pairs are formed as possible. Offsets and drums do not count. No
    transcriber is right about every sound, so compare F1 with what the same one gets from a real recording of the
    notes.

    Args:
        estimated: what was heard, such as a score from `transcribe`.
        reference: what is written.

    Returns:
        Precision, recall and F1; all 0 if either score has no notes.

    Source: the onset-only measure of MIREX, as mir_eval.transcription with offset_ratio=None.
    Chapter 5.
    """
    if not estimated.pitched_notes or not reference.pitched_notes:
        return NoteF1(0.0, 0.0, 0.0)
    both = estimated, reference
    found, written = (np.array([(x.seconds(note.start), note.pitch) for note in x.pitched_notes]) for x in both)
    difference = np.abs(found[:, None] - written)  # (estimated, reference, 2): seconds and semitones
    close = (difference.round(4) <= (0.05, 0)).all(-1)
    pairs = int((maximum_bipartite_matching(csr_matrix(close)) >= 0).sum())
    return NoteF1(pairs / len(found), pairs / len(written), 2 * pairs / (len(found) + len(written)))


def transcribe(audio: Tensor, sr: int = 16_000) -> Score:
    """Transcribe a sound of any instrument and any number of voices with basic-pitch, an independent judge.

    >>> score = transcribe(audio)  # doctest: +SKIP
    >>> score.notes[0]  # 60 beats per minute, so beats are seconds  # doctest: +SKIP
    Note(pitch=60, start=0.0116, duration=0.5689, velocity=79)

    Its ceiling depends on the instrument: on clean sounds F1 is about 0.9 for a piano and 0.8 for a flute; it mistakes
    an organ's octaves for notes. Needs basic-pitch, whose own requirements fit few versions of Python, so install it
    without them: ``pip install 'musicai[judges]' && pip install --no-deps basic-pitch``.

    Args:
        audio: (time,), one channel.
        sr: sample rate in Hz.

    Returns:
        A score of one track at 60 beats per minute; notes are at least 0.13 s long.

    Raises:
        ModuleNotFoundError: if basic-pitch or something it needs is missing; the message says how to install it.
        ValueError: if there is not exactly one sound, or it is not finite.

    Source: Bittner et al., "A lightweight instrument-agnostic model for polyphonic note transcription and multipitch
    estimation" (2022), with its published weights and settings.
    Chapter 5.
    """
    x = as_sounds(audio)
    if len(x) > 1:
        raise ValueError(f"transcribe takes one sound (time,), not {tuple(x.shape)}: call it for each")
    heard = _heard(F.pad(x[0].cpu(), (0, max(0, sr - x.shape[1]))), sr) if x.any() else []  # it needs a few frames
    notes = (Note(int(pitch), start, end - start, max(1, round(127 * loud))) for start, end, pitch, loud, _ in heard)
    return Score((Track(tuple(notes)),), tempos=((0.0, 60.0),))


def _heard(x: Tensor, sr: int) -> list[tuple]:
    """basic-pitch's own (start, end, pitch, amplitude, bends) of each note."""
    with tempfile.TemporaryDirectory() as folder, _silenced():
        try:
            import onnxruntime  # noqa: F401  (without it, basic-pitch fails later with a worse message)
            from basic_pitch import FilenameSuffix, build_icassp_2022_model_path, inference
        except ModuleNotFoundError as error:
            advice = "pip install 'musicai[judges]' && pip install --no-deps basic-pitch"
            raise ModuleNotFoundError(f"{error}; to transcribe: {advice}", name=error.name) from None
        path = Path(folder) / "sound.wav"
        soundfile.write(path, x.numpy(), sr, subtype="FLOAT")
        return inference.predict(path, build_icassp_2022_model_path(FilenameSuffix.onnx))[-1]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silence basic-pitch, which prints for each file and warns about each library that it could use instead."""
    handlers, logging.root.handlers = logging.root.handlers, [logging.NullHandler()]
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(invalid="ignore"):  # 0 / 0 near silence
            yield
    finally:
        logging.root.handlers = handlers
