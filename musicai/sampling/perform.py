"""A whole score by a WaveNet that plays one note at a time: its voices drawn side by side, and mixed. Chapter 5."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from musicai.audio import mu_law_decode
from musicai.notes import Melody, Note, Score, Track
from musicai.sampling.sample import sample
from musicai.wavenet import ScoreWaveNet

RELEASE = 0.5  # seconds after the last note's end
PEAK = 0.98
SLACK = 1e-6  # beats: what sums of fractions such as 1/3 may miss


def perform(
    model: ScoreWaveNet,
    score: Score | Melody,
    instrument: str | Sequence[str] | None = None,
    temperature: float = 0.3,
    *,
    seconds: float | None = None,
    **how,
) -> Tensor:
    """Play a whole score: float32 (time,) at the model's sample rate.

    >>> model = ScoreWaveNet.from_pretrained("wavenet-renderer")  # doctest: +SKIP
    >>> audio = perform(model, score, "flute")  # doctest: +SKIP
    >>> save("score.wav", audio, model.config.sr)  # doctest: +SKIP

    The model has heard instruments that play one note at a time. So each track is split into such `voices`, each voice
    is a stream of its own (drawn side by side, one a core), and the mix is their sum. Only if it would pass 0.98 is it
    scaled down to that, all of it by one factor, so nothing is distorted. Drum tracks, and pitches off the piano's 88
    keys, are left out.

    Args:
        model: a ScoreWaveNet. score: tempo changes are followed.
        instrument: a name of `model.config.instruments` for all tracks, or one for each track that is not drums; None
            for the model's first.
        temperature: below 1, likelier samples are preferred: less noise.
        seconds: where to stop; None: half a second after the last note, for its release.
        how: record, progress, top_p, seed, method, precision, block, as `musicai.sampling.sample` takes them.

    Raises:
        TypeError: the model hears no score.
        ValueError: no such instrument, names and tracks that differ in number, nothing to play, or an argument that
            `sample` refuses.

    Chapter 5.
    """
    if not isinstance(model, ScoreWaveNet):
        raise TypeError(f"model must be a ScoreWaveNet, which hears a score; got {type(model).__name__}")
    score = score.to_score() if isinstance(score, Melody) else score
    parts = _parts(score, _names(model, score, instrument))
    length = _length(score, parts, seconds, model.config.sr)
    given = [model.conditioning(replace(score, tracks=(part,)), name, length) for part, name in parts]
    conditioning = {
        "local": torch.stack([one["local"] for one in given]),
        "instrument": torch.tensor([one["instrument"] for one in given]),
    }
    drawn = sample(model, length, conditioning, streams=len(parts), temperature=temperature, **how)
    audio = (drawn if model.config.mixtures else mu_law_decode(drawn, model.config.classes)).sum(0)
    return audio / (torch.linalg.vector_norm(audio, torch.inf) / PEAK).clamp(min=1)


def voices(notes: Sequence[Note]) -> list[tuple[Note, ...]]:
    """Notes that overlap, split into voices that have one note at a time, as few as can be.

    >>> low, high, later = Note(60, 0, 2), Note(67, 1, 1), Note(65, 2, 1)
    >>> [[note.pitch for note in voice] for voice in voices([low, high, later])]
    [[60], [67, 65]]

    Each note goes on with the voice that is free and was last at the nearest pitch; a new voice begins only where none
    is free, so there are as many as the largest number of notes at once. An overlap of 1e-6 beats is none.
    Chapter 5.
    """
    found: list[list[Note]] = []
    for note in Track(notes).notes:  # by start, then pitch
        free = [voice for voice in found if voice[-1].end <= note.start + SLACK]
        if free:
            min(free, key=lambda voice: abs(voice[-1].pitch - note.pitch)).append(note)
        else:
            found.append([note])
    return [tuple(voice) for voice in found]


def _names(model: ScoreWaveNet, score: Score, instrument: str | Sequence[str] | None) -> list[str]:
    """An instrument for each track that is not drums."""
    count = sum(not track.is_drum for track in score.tracks)
    if instrument is None or isinstance(instrument, str):
        return [instrument or model.config.instruments[0]] * count
    if len(instrument) != count:
        raise ValueError(f"{len(instrument)} instruments for {count} tracks that are not drums: {list(instrument)}")
    return list(instrument)


def _parts(score: Score, names: list[str]) -> list[tuple[Track, str]]:
    """Each voice as a track, and who plays it."""
    pitched = [track for track in score.tracks if not track.is_drum]
    parts = [(Track(voice), name) for track, name in zip(pitched, names, strict=True) for voice in voices(track.notes)]
    if not parts:
        raise ValueError("the score has no notes to play; drums do not count")
    return parts


def _length(score: Score, parts: list[tuple[Track, str]], seconds: float | None, sr: int) -> int:
    """Samples to draw."""
    if seconds is None:
        seconds = score.seconds(max(note.end for part, _ in parts for note in part.notes)) + RELEASE
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be above 0, and finite; got {seconds}")
    return max(1, round(sr * seconds))
