"""Performers turn a score into sound: the sampled instruments, the GAN instrument and the WaveNet. Chapters 4 and 5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from musicai.audio import Audio, mu_law_decode
from musicai.gan import InstrumentGenerator
from musicai.notes import Melody, Note, Score, Track
from musicai.notes.score import SLACK
from musicai.performance.sampled import INSTRUMENTS, PROGRAMS, SR, as_score, limited, render, spans
from musicai.wavenet import ScoreWaveNet, sample

RELEASE = 0.5  # seconds of sound after the last note's end
Instruments = str | Mapping[str, str] | None


class Performer(Protocol):
    """Anything that plays a score: a function from a Score or Melody to an Audio.

    >>> def silence(score):
    ...     return Audio(torch.zeros(1, round(16_000 * score.seconds(score.duration))), 16_000)
    >>> performers: list[Performer] = [SampledPerformer("harp"), silence]
    >>> [performer(Melody.from_pitches([60, 62]).to_score()).seconds for performer in performers]
    [2.0, 1.0]

    A score without notes gives half a second of silence. Notes that a performer cannot play raise a ValueError.

    Chapter 5.
    """

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score."""


def perform(
    score: Score | Melody, instruments: Instruments = None, *,
    performer: str | Performer = "sampled", seed: int = 0, progress: bool = True,
) -> Audio:  # fmt: skip
    """Play a score with sampled or neural instruments.

    >>> tune = Melody.from_pitches([67, 69, 71, 72])
    >>> perform(tune, "violin")
    Audio(2 channels, 2.18 s at 16000 Hz)
    >>> perform(tune, "flute", performer="wavenet").save("flute.mp3")  # doctest: +SKIP

    Args:
        score: the score to play, including its tempo changes; or a Song, whose score is played.
        instruments: one name for all tracks, or a mapping from track names to instrument names. With None, and for
            tracks that the mapping leaves out, the track's General MIDI program decides (`PROGRAMS`).
        performer: "sampled" (including drums), "gan", "wavenet", or a `Performer` of your own.
        seed: the seed of a neural performer; the same seed gives the same sound.
        progress: whether a slow performer shows a progress bar.

    Returns: stereo from "sampled", mono from the others.

    Raises:
        ValueError: for an unknown performer, instrument or track name, or notes that the performer cannot play.

    Chapters 1, 4 and 5.
    """
    if not isinstance(performer, str):
        return performer(score)
    if performer == "sampled":
        return SampledPerformer(instruments)(score)
    if performer == "gan":
        return GANPerformer(instruments=instruments, seed=seed)(score)
    if performer == "wavenet":
        return WaveNetPerformer(instruments=instruments, seed=seed, progress=progress)(score)
    raise ValueError(f"there is no performer {performer!r}; choose from sampled, gan, wavenet")


@dataclass
class SampledPerformer:
    """Plays with the recorded notes in the wheel, including drums; see `render` for how.

    >>> SampledPerformer("harp")(Melody.from_pitches([60, 64, 67]))
    Audio(2 channels, 2.50 s at 16000 Hz)

    Args:
        instruments: one name for all tracks, or a mapping from track names to instrument names. With None, and for
            tracks that the mapping leaves out, the track's General MIDI program decides (`PROGRAMS`).

    Chapter 1.
    """

    instruments: Instruments = None

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in stereo."""
        score = as_score(score)
        programs = {id(track): PROGRAMS.index(name) for track, name in _cast(score, self.instruments, INSTRUMENTS)}
        tracks = [replace(track, program=programs.get(id(track), track.program)) for track in score.tracks]
        return Audio(render(replace(score, tracks=tracks)), SR)


@dataclass
class GANPerformer:
    """Plays with an instrument GAN, a new take for every note; drums are left out.

    >>> GANPerformer(instruments="flute")(Melody.from_pitches([67, 69]))
    Audio(1 channel, 1.20 s at 16000 Hz)

    Args:
        model: an InstrumentGenerator, or the name of one.
        instruments: as for `SampledPerformer`.
        seed: the seed of the takes.

    Chapter 4.
    """

    model: InstrumentGenerator | str = "instrument-gan"
    instruments: Instruments = None
    seed: int = 0

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in mono."""
        score, model, placed = as_score(score), _loaded(self.model, InstrumentGenerator), []
        for i, (track, name) in enumerate(_cast(score, self.instruments, model.instruments)):
            starts, ends = spans(score, track)
            pitches, velocities = zip(*((note.pitch, note.velocity) for note in track.notes), strict=True)
            seconds = np.maximum(ends - starts, 1) / SR
            sounds = model.render_notes(pitches, velocities, name, seconds, seed=self.seed + i)
            placed += zip(starts, sounds, strict=True)
        mix = torch.zeros(max((start + len(sound) for start, sound in placed), default=SR // 2))
        for start, sound in placed:
            mix[start : start + len(sound)] += sound.cpu()
        return Audio(limited(mix), SR)


@dataclass
class WaveNetPerformer:
    """Plays with a ScoreWaveNet, drawing each voice as a stream of its own; drums are left out.

    >>> player = WaveNetPerformer(instruments="flute", seconds=2.0)  # doctest: +SKIP
    >>> player(score).save("flute.wav")  # doctest: +SKIP

    The model has only heard instruments that play one note at a time. So each track is split into `voices`, each voice
    is a stream (they are drawn side by side, one per core), and the mix is their sum, scaled down only if it would
    exceed 0.98. Pitches outside the piano's 88 keys are left out.

    Args:
        model: a ScoreWaveNet, or the name of one.
        instruments: as for `SampledPerformer`.
        temperature: below 1 for more likely samples, which means less noise.
        seed: the seed of the uniform numbers.
        seconds: when to stop; None for half a second after the last note.
        precision: as in `sample`; "int8" is the fastest on a CPU.
        progress: whether to show a progress bar.

    Chapter 5.
    """

    model: ScoreWaveNet | str = "wavenet-renderer"
    instruments: Instruments = None
    temperature: float = 0.3
    seed: int = 0
    seconds: float | None = None
    precision: str = "float32"
    progress: bool = True

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in mono at the model's sample rate."""
        score, model = as_score(score), _loaded(self.model, ScoreWaveNet)
        cast, sr = _cast(score, self.instruments, model.config.instruments), model.config.sr
        if not cast:
            return Audio(torch.zeros(sr // 2), sr)
        end = score.seconds(max(note.end for note in score.pitched_notes))
        length = round(sr * (end + RELEASE if self.seconds is None else self.seconds))
        parts = [(Track(voice), name) for track, name in cast for voice in voices(track.notes)]
        given = [model.conditioning(replace(score, tracks=(part,)), name, length) for part, name in parts]
        conditioning = {key: torch.stack([torch.as_tensor(one[key]) for one in given]) for key in given[0]}
        how = {"temperature": self.temperature, "seed": self.seed, "precision": self.precision}
        drawn = sample(model, length, conditioning, streams=len(parts), progress=self.progress, **how)
        streams = drawn if model.config.mixtures else mu_law_decode(drawn, model.config.classes)
        return Audio(limited(streams.sum(0)), sr)


def voices(notes: Sequence[Note]) -> list[tuple[Note, ...]]:
    """Split overlapping notes into as few voices of one note at a time as possible.

    >>> low, high, later = Note(60, 0, 2), Note(67, 1, 1), Note(65, 2, 1)
    >>> [[note.pitch for note in voice] for voice in voices([low, high, later])]
    [[60], [67, 65]]

    Each note continues the free voice whose last pitch is nearest. A new voice starts only if no voice is free, so
    there are as many voices as notes that ever sound at once. Overlaps below 1e-6 beats are ignored.

    Args:
        notes: in any order.

    Returns: the notes of each voice, in order.

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


def _cast(score: Score, instruments: Instruments, known: Sequence[str]) -> list[tuple[Track, str]]:
    """Pair each track that has notes and is not drums with the name of its instrument."""
    tracks, chosen = [track for track in score.tracks if track.notes and not track.is_drum], instruments or {}
    if isinstance(chosen, str):
        chosen = dict.fromkeys((track.name for track in tracks), chosen)
    names = [chosen.get(track.name, PROGRAMS[track.program]) for track in tracks]
    if missing := sorted(chosen.keys() - {track.name for track in score.tracks}):
        raise ValueError(f"no track is called {missing[0]!r}; the score has {[track.name for track in tracks]}")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no instrument {unknown[0]!r}: choose instruments= from {', '.join(known)}")
    return list(zip(tracks, names, strict=True))


def _loaded(model, kind: type):
    return kind.from_pretrained(model) if isinstance(model, str) else model
