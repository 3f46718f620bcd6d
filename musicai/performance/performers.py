"""Performers turn a score into sound: the sampled instruments, the GAN instrument and the WaveNet. Chapters 4 and 5."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from musicai.audio import Audio, mu_law_decode
from musicai.gan import InstrumentGenerator
from musicai.notes import Melody, Note, Score, Track
from musicai.performance.programs import INSTRUMENTS, PROGRAMS
from musicai.performance.sampled import PEAK, SR, as_score, render, spans
from musicai.wavenet import ScoreWaveNet, sample

RELEASE = 0.5  # seconds of sound after the last note's end
SLACK = 1e-6  # beats: the rounding error of sums of fractions such as 1/3
Instruments = str | Sequence[str] | Mapping[str, str] | None  # see `perform`


class Performer(Protocol):
    """Anything that plays a score: a function from a Score or Melody to an Audio.

    >>> def silence(score):
    ...     return Audio(torch.zeros(1, round(16_000 * score.seconds(score.duration))), 16_000)
    >>> perform(Melody.from_pitches([60, 62]).to_score(), performer=silence)
    Audio(1 channel, 1.00 s at 16000 Hz)

    A score without notes gives silence. Notes that a performer cannot play raise a ValueError.

    Args:
        score: when called, a Score or Melody. (A protocol is not constructed itself, so its args and kwargs are none.)

    Chapter 5.
    """

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score."""


def perform(
    score: Score | Melody,
    instruments: Instruments = None,
    *,
    performer: str | Performer = "sampled",
    seed: int = 0,
    progress: bool = True,
) -> Audio:
    """Play a score with sampled or neural instruments.

    >>> tune = Melody.from_pitches([67, 69, 71, 72])
    >>> perform(tune, "violin")
    Audio(2 channels, 2.18 s at 16000 Hz)
    >>> perform(tune, "flute", performer="wavenet").save("flute.mp3")  # doctest: +SKIP

    Args:
        score: tempo changes are followed.
        instruments: one name for all tracks, one for each track that is not drums, or a mapping from the tracks' names;
            None, and tracks that the mapping leaves out, use the tracks' General MIDI programs (`PROGRAMS`).
        performer: "sampled" (drums too), "gan", "wavenet", or any `Performer` of your own.
        seed: of what a neural performer draws; the same seed gives the same sound.
        progress: whether a slow performer shows a progress bar.

    Returns: stereo from "sampled", mono from the others.

    Raises:
        ValueError: for an unknown performer, instrument or track name, or notes that the performer cannot play.

    Chapter 5.
    """
    if not isinstance(performer, str):
        if instruments is not None:
            raise ValueError("give the instruments to your performer; perform(..., instruments) is for those by name")
        return performer(score)
    makers = {
        "sampled": lambda: SampledPerformer(instruments),
        "gan": lambda: GANPerformer(instruments=instruments, seed=seed),
        "wavenet": lambda: WaveNetPerformer(instruments=instruments, seed=seed, progress=progress),
    }
    if performer not in makers:
        raise ValueError(f"no performer {performer!r}; choose from {', '.join(makers)}")
    return makers[performer]()(score)


@dataclass
class SampledPerformer:
    """Plays with the recorded notes in the wheel, drums too; `render` says how.

    >>> SampledPerformer("harp", sr=44_100)(Melody.from_pitches([60, 64, 67]))
    Audio(2 channels, 2.50 s at 44100 Hz)

    Args:
        instruments: as in `perform`.
        sr: sample rate in Hz.

    Chapter 1.
    """

    instruments: Instruments = None
    sr: int = 16_000

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in stereo."""
        score = as_score(score)
        programs = {id(track): PROGRAMS.index(name) for track, name in _cast(score, self.instruments, INSTRUMENTS)}
        tracks = [replace(track, program=programs.get(id(track), track.program)) for track in score.tracks]
        return (
            Audio(render(replace(score, tracks=tracks), self.sr), self.sr)
            if score.notes
            else Audio(torch.zeros(2, round(RELEASE * self.sr)), self.sr)
        )


@dataclass
class GANPerformer:
    """Plays with an instrument GAN, every note another take; drums are left out.

    >>> GANPerformer(instruments="flute")(Melody.from_pitches([67, 69]))
    Audio(1 channel, 1.20 s at 16000 Hz)

    Args:
        model: an InstrumentGenerator, or the name of one.
        instruments: as in `perform`.
        seed: of the takes.
        release: seconds from the end of a note to silence.

    Chapter 4.
    """

    model: InstrumentGenerator | str = "instrument-gan"
    instruments: Instruments = None
    seed: int = 0
    release: float = 0.2

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in mono."""
        score, model, placed = as_score(score), _loaded(self.model, InstrumentGenerator), []
        for i, (track, name) in enumerate(_cast(score, self.instruments, model.instruments, drums=False)):
            starts, ends = spans(score, track)
            pitches, velocities = zip(*((note.pitch, note.velocity) for note in track.notes), strict=True)
            seconds = np.maximum(ends - starts, 1) / SR
            sounds = model.render_notes(pitches, velocities, name, seconds, seed=self.seed + i, release=self.release)
            placed += zip(starts, sounds, strict=True)
        mix = torch.zeros(max((start + len(sound) for start, sound in placed), default=round(RELEASE * SR)))
        for start, sound in placed:
            mix[start : start + len(sound)] += sound.cpu()
        return Audio(_limited(mix), SR)


@dataclass
class WaveNetPerformer:
    """Plays with a ScoreWaveNet, each voice drawn as a stream of its own; drums are left out.

    >>> player = WaveNetPerformer(instruments="flute", seconds=2.0)  # doctest: +SKIP
    >>> player(score).save("flute.wav")  # doctest: +SKIP

    The model has only heard instruments that play one note at a time. So each track is split into `voices`, each voice
    is a stream (they are drawn side by side, one per core), and the mix is their sum. Only if it would exceed 0.98 is
    it scaled down. Pitches off the piano's 88 keys are left out.

    Args:
        model: a ScoreWaveNet, or the name of one.
        instruments: as in `perform`.
        temperature: below 1 for more likely samples, which means less noise.
        seed: of the uniform numbers.
        seconds: where to stop; None: half a second after the last note.
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
        cast, sr = _cast(score, self.instruments, model.config.instruments, drums=False), model.config.sr
        if not cast:
            return Audio(torch.zeros(round(RELEASE * sr)), sr)
        end = score.seconds(max(note.end for note in score.pitched_notes))
        seconds = end + RELEASE if self.seconds is None else self.seconds
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be a finite number above 0; got {seconds}")
        length = max(1, round(sr * seconds))
        parts = [(Track(voice), name) for track, name in cast for voice in voices(track.notes)]
        given = [model.conditioning(replace(score, tracks=(part,)), name, length) for part, name in parts]
        conditioning = {key: torch.stack([torch.as_tensor(one[key]) for one in given]) for key in given[0]}
        how = {"temperature": self.temperature, "seed": self.seed, "precision": self.precision}
        drawn = sample(model, length, conditioning, streams=len(parts), progress=self.progress, **how)
        streams = drawn if model.config.mixtures else mu_law_decode(drawn, model.config.classes)
        return Audio(_limited(streams.sum(0)), sr)


def voices(notes: Sequence[Note]) -> list[tuple[Note, ...]]:
    """Split overlapping notes into voices that have one note at a time, as few as possible.

    >>> low, high, later = Note(60, 0, 2), Note(67, 1, 1), Note(65, 2, 1)
    >>> [[note.pitch for note in voice] for voice in voices([low, high, later])]
    [[60], [67, 65]]

    Each note continues the free voice whose last pitch is nearest. A new voice starts only if none is free, so there
    are as many voices as the largest number of notes at once. Overlaps below 1e-6 beats are ignored.

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


def _cast(score: Score, instruments: Instruments, known: Sequence[str], drums: bool = True) -> list[tuple[Track, str]]:
    """Each track with notes that is not drums, and who plays it; without `drums`, a score of drums alone is refused."""
    tracks = [track for track in score.tracks if not track.is_drum]
    names = [PROGRAMS[track.program] for track in tracks]
    if isinstance(instruments, Mapping):
        if missing := sorted(instruments.keys() - {track.name for track in tracks}):
            raise ValueError(f"no track is called {missing[0]!r}; the score has {[track.name for track in tracks]}")
        names = [instruments.get(track.name, name) for track, name in zip(tracks, names, strict=True)]
    elif instruments is not None:
        names = [instruments] * len(tracks) if isinstance(instruments, str) else list(instruments)
        if len(names) != len(tracks):
            raise ValueError(f"{len(names)} instruments for {len(tracks)} tracks that are not drums: {names}")
    if not drums and score.notes and not score.pitched_notes:
        raise ValueError("the score has only drums, which this performer does not play")
    cast = [(track, name) for track, name in zip(tracks, names, strict=True) if track.notes]
    for _, name in cast:
        if name not in known:
            raise ValueError(f"no instrument {name!r}: this performer plays {', '.join(known)}; choose instruments=...")
    return cast


def _loaded(model, kind: type):
    model = kind.from_pretrained(model) if isinstance(model, str) else model
    if not isinstance(model, kind):
        raise TypeError(f"model must be of class {kind.__name__}, or the name of one; got {type(model).__name__}")
    return model


def _limited(mix: Tensor) -> Tensor:
    return mix / (torch.linalg.vector_norm(mix, torch.inf) / PEAK).clamp(min=1)
